"""Fits the scorers of sentences and answers: linear, cross-fitted, on questions with their answers.

Two scorers: one from the features of any question and sentence (`fit_plain`), one that also uses what answered similar
questions before. A question's experts are fitted without its document, and its gate is opened with its own words and
without them: so the calibration matches new documents, with known questions and with new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from coterie.engines.linear import fit_ngrams
from coterie.learning.calibration import accept_threshold
from coterie.learning.dataset import Row
from coterie.learning.measure import LookUp
from coterie.tasks.answer.features import ENCODED, LEXICAL, WHOLE, encoded_features
from coterie.tasks.answer.model import passages_of
from coterie.tasks.answer.reader import MOST_CITED, likely_rows, survey
from coterie.tasks.answer.rows import TOPIC, holds_answer
from coterie.tasks.answer.scoring import (
    KNOWN,
    OUTCOME,
    PLACES,
    SAME,
    AnswerConfidence,
    AnswerScorer,
    ExpertGate,
    Experts,
    Known,
    LinearScore,
    answer_directions,
    cited_rows,
    fit_metric,
    mix_kinds,
    open_gate,
    outcome_features,
    place_odds,
    place_of,
)
from coterie.text.segmentation import plain
from coterie.types import Label, Task

# --- The questions of an `answer` job with the sentences that were found for them: what its scorers are fitted on.

_AT_LEAST = 20
"""Rows between two reports of progress."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AnsweredQuestion:
    """One question and what was found for it."""

    row: Row
    words: Floats  # (S, len(LEXICAL))
    ranks: tuple[int, ...]
    texts: np.ndarray  # (S,) int, positions in `Corpus.texts`
    starts: np.ndarray  # (S,) int, where each begins in its document
    answers: np.ndarray  # (S,) bool

    @property
    def stated(self) -> bool:
        """Whether the documents answer it, found or not."""
        return bool(self.row.labels or self.row.evidence)

    def take(self, rows: Floats) -> AnsweredQuestion:
        """Return the question with some of its sentences, by their places (K,)."""
        ranks = tuple(self.ranks[row] for row in rows)
        return replace(
            self,
            words=self.words[rows],
            ranks=ranks,
            texts=self.texts[rows],
            starts=self.starts[rows],
            answers=self.answers[rows],
        )

    @property
    def columns(self) -> dict[str, Floats]:
        """The word features by name, (S,) each."""
        return dict(zip(LEXICAL, self.words.T, strict=True))


@dataclass(kw_only=True, eq=False)
class AnswerCorpus:
    """Questions; each text of a sentence is stored once."""

    asked: list[AnsweredQuestion] = field(default_factory=list)
    texts: dict[str, int] = field(default_factory=dict)
    vectors: Floats | None = None  # (U, D)
    questions: Mapping[str, Floats] = field(default_factory=dict)
    """Encodings (D,) of the questions, by their text."""

    @property
    def topics(self) -> list[str]:
        """The topic of each question: that of the data, where given, else its own words."""
        return [str(question.row.columns.get(TOPIC) or plain(question.row.text)) for question in self.asked]

    def groups(self) -> list[object]:
        """Return the group of each question; questions of one group are not independent."""
        return [question.row.group or question.row.text for question in self.asked]

    def narrowed(self) -> AnswerCorpus:
        """Return the corpus with only the sentences that a reader without experts looks at."""
        return replace(self, asked=[question.take(likely_rows(question.words)) for question in self.asked])

    def encode(self, encode: Callable[[Sequence[str]], Floats]) -> None:
        """Encode every sentence and question once."""
        texts = list(self.texts)
        self.vectors = encode(texts)
        question_texts = list(dict.fromkeys(question.row.text for question in self.asked))
        self.questions = dict(zip(question_texts, encode(question_texts), strict=True))


async def gather_corpus(
    rows: Sequence[Row], look_up: LookUp, *, label: Label, advance: Callable[[int], None]
) -> AnswerCorpus:
    """Retrieve passages for every question and cut them into sentences. Questions without passages are left out."""
    corpus = AnswerCorpus()
    for number, row in enumerate(rows, start=1):
        task = Task(text=row.text, columns=row.columns or None, label=label, clearance=label)
        passages = passages_of(await look_up(task), task)
        seen = survey(row.text, passages)
        if number % _AT_LEAST == 0:
            advance(_AT_LEAST)
        if not seen.sentences:
            continue
        corpus.asked.append(
            AnsweredQuestion(
                row=row,
                words=seen.words.astype(np.float32),
                ranks=tuple(seen.ranks),
                texts=np.array([corpus.texts.setdefault(text, len(corpus.texts)) for text in seen.texts]),
                starts=seen.starts,
                answers=np.array(
                    [
                        holds_answer(row, sentence.passage.document, sentence.start, sentence.end, sentence.text)
                        for sentence in seen.sentences
                    ],
                    dtype=bool,
                ),
            )
        )
    return corpus


Floats = np.ndarray
Columns = list[dict[str, Floats]]
"""For each question, its sentences' features by name, (S,) each."""

FEWEST_ANSWERED = 5
"""Answered questions of a topic from which the topic has an expert."""
FOLDS = 4
_WORD_C, _VECTOR_C = 10.0, 3.0
_HARD, _ANY = 2_500, 1_500
"""Sentences of a topic's questions, and of any question, that are negative examples of an expert."""
_SILENT = -6.0  # log-odds of a topic whose expert has nothing to learn from
_NEVER = 99.0
_USUAL = OUTCOME.index("usual")
_OF_WORDING = np.isin(OUTCOME, ("length", *WHOLE))
"""Features that are ignored where questions have experts.

With a few dozen wordings, each asked a hundred times, a scorer would learn which of them were answered.
"""


class FittedScorer(NamedTuple):
    """A scorer, and its cross-fitted results for each question."""

    scorer: AnswerScorer
    right: Floats  # (N,) probability that the best sentence answers
    stated: Floats  # (N,) probability that the documents answer
    best: np.ndarray  # (N,) bool, whether it does
    sound: np.ndarray  # (N,) bool, whether every sentence cited does
    usual: Floats | None = None  # (K,), see `Experts.usual`; None without experts


def features_of(corpus: AnswerCorpus, *, encoded: bool) -> Columns:
    """Return the features of every sentence."""
    return [_columns(corpus, question, encoded=encoded) for question in corpus.asked]


def _columns(corpus: AnswerCorpus, question: AnsweredQuestion, *, encoded: bool) -> dict[str, Floats]:
    if not encoded or corpus.vectors is None:
        return question.columns
    cosines = corpus.vectors[question.texts] @ corpus.questions[question.row.text]
    return question.columns | dict(zip(ENCODED, encoded_features(question.ranks, cosines).T, strict=True))


def deal(corpus: AnswerCorpus, seed: int) -> np.ndarray:  # (N,)
    """Return a fold for each question; questions of one group are in the same fold."""
    groups = corpus.groups()
    names = sorted({str(group) for group in groups})
    order = np.random.default_rng(seed).permutation(len(names))
    fold = {name: int(position) % FOLDS for name, position in zip(names, order, strict=True)}
    return np.array([fold[str(group)] for group in groups])


def fit_scorer(
    corpus: AnswerCorpus,
    columns: Columns,
    folds: np.ndarray,
    *,
    precision: float,
    familiar: Familiar | None = None,
) -> FittedScorer:
    """Fit the scorer of some features on all questions; each question's own figures are cross-fitted.

    Args:
        corpus: The questions.
        columns: Their sentences' features.
        folds: (N,) which of them are held back together.
        precision: Share of right ones that sentences cited beside the best one must have.
        familiar: How each question's experts were chosen and what they predict, where there are any.
    """
    gates = None if familiar is None else familiar.gates
    names = tuple(name for name in (*LEXICAL, *ENCODED, *KNOWN) if name in columns[0] and name not in WHOLE)
    features = [np.column_stack([column[name] for name in names]) for column in columns]
    owners = np.repeat(folds, [len(feature) for feature in features])
    stacked = np.vstack(features).astype(np.float64)
    answers = np.concatenate([question.answers for question in corpus.asked])
    scores: list[Floats] = [np.empty(0)] * len(features)
    mixed = np.zeros(len(features))
    for fold in np.unique(folds):
        line = fit_line(names, stacked[owners != fold], answers[owners != fold])
        for number in np.flatnonzero(folds == fold).tolist():
            scores[number] = line.of(features[number])
            if familiar is not None:
                row = int(scores[number].argmax())
                kinds = familiar.by_kind(number, row)
                mixed[number] = mix_kinds(line, features[number][row], kinds, familiar.gates[number].shares)
    before = np.array([gate.nearest >= SAME for gate in gates] if gates is not None else [False] * len(columns))
    also = _beside(corpus, scores, precision, before, anew=gates is not None)
    outcomes = _outcomes(columns, scores, [also[bool(again)] for again in before], gates, mixed)
    best = np.array([bool(question.answers[row.argmax()]) for question, row in zip(corpus.asked, scores, strict=True)])
    sound = np.array(
        [
            is_sound(question, row, also[bool(again)])
            for question, row, again in zip(corpus.asked, scores, before, strict=True)
        ]
    )
    stated = np.array([question.stated for question in corpus.asked])
    usual = None
    if gates is not None:
        usual, outcomes[:, _USUAL] = _usual(outcomes, best, folds, gates, before)
    lines, probable = _sureness(outcomes, (best, stated), before, folds)
    new = lines.get(False) or lines[True]
    scorer = AnswerScorer(
        sentence=fit_line(names, stacked, answers),
        right=new.right,
        stated=new.stated,
        also=also.get(False, _NEVER),
        again=lines.get(True),
        also_again=also.get(True),
    )
    return FittedScorer(scorer=scorer, right=probable[0], stated=probable[1], best=best, sound=sound, usual=usual)


def _sureness(
    outcomes: Floats, true: tuple[np.ndarray, np.ndarray], before: np.ndarray, folds: np.ndarray
) -> tuple[dict[bool, AnswerConfidence], Floats]:  # (2, N)
    """Fit the confidence of answers, separately for questions asked before and new ones; return cross-fitted values."""
    lines: dict[bool, AnswerConfidence] = {}
    probable = np.zeros((2, len(outcomes)))  # that it answers, that anything does
    for again in {bool(again) for again in before}:
        own = before == again
        lines[again] = AnswerConfidence(*(fit_line(OUTCOME, outcomes[own], line[own]) for line in true))
        probable[:, own] = [_cross_fitted(outcomes[own], line[own], folds[own]) for line in true]
    return lines, probable


def is_sound(question: AnsweredQuestion, scores: Floats, also: float) -> bool:
    """Return whether every sentence cited for these scores (S,) answers: a wrong one beside a right one misleads."""
    return bool(question.answers[cited_rows(scores, also, MOST_CITED)].all())


def _outcomes(
    columns: Columns, scores: Sequence[Floats], also: Sequence[float], gates: Sequence[ExpertGate] | None, mixed: Floats
) -> Floats:
    rows = []
    for number, (columns_of_question, own) in enumerate(zip(columns, scores, strict=True)):
        gate = gates[number] if gates is not None else None
        nearest, agreed = (gate.nearest, float(gate.shares.max())) if gate is not None else (0.0, 0.0)
        cited = cited_rows(own, also[number], MOST_CITED)
        seen = outcome_features(
            own, columns_of_question, cited, nearest=nearest, agreed=agreed, mixed=float(mixed[number])
        )
        rows.append(seen if gates is None else np.where(_OF_WORDING, 0.0, seen))
    return np.vstack(rows)


def fit_line(
    names: Sequence[str],
    features: Floats,  # (N, F)
    right: np.ndarray,  # (N,) bool
    *,
    strength: float = 1.0,
    weights: Floats | None = None,  # (N,)
) -> LinearScore:
    """Fit logistic regression on standardised features, and return it as a line of the raw features.

    Args:
        names: Names of the features, in order.
        features: A row for each example.
        right: The target.
        strength: scikit-learn's `C`.
        weights: Weight of each example; None for equal weights.
    """
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread < 1e-6, 1.0, spread)
    if right.all() or not right.any():
        odds = np.log((right.sum() + 1) / ((~right).sum() + 1))
        return LinearScore(names=tuple(names), weights=np.zeros(len(names)), bias=float(odds))
    model = LogisticRegression(C=strength, max_iter=500)
    model.fit((features - mean) / spread, right, sample_weight=None if weights is None else weights / weights.mean())
    coefficients = np.asarray(model.coef_[0] / spread, dtype=np.float64)
    return LinearScore(names=tuple(names), weights=coefficients, bias=float(model.intercept_[0] - coefficients @ mean))


def _cross_fitted(features: Floats, right: np.ndarray, folds: np.ndarray) -> Floats:
    probable = np.zeros(len(features))
    for fold in np.unique(folds):
        line = fit_line(OUTCOME, features[folds != fold], right[folds != fold])
        probable[folds == fold] = 1 / (1 + np.exp(-line.of(features[folds == fold])))
    return probable


def _usual(
    outcomes: Floats, best: np.ndarray, folds: np.ndarray, gates: Sequence[ExpertGate], before: np.ndarray
) -> tuple[Floats, Floats]:  # (K,), (N,)
    """Return the extra log-odds of answers to each kind of question, and for each question those by other folds.

    Fitted on questions with known words, so that the kind is known: with a few dozen wordings, a fit would learn
    which of them were misunderstood.
    """
    own, shares = before if before.any() else ~before, np.stack([gate.shares for gate in gates])
    kinds, right, fold = shares[own].argmax(axis=1), best[own], folds[own]
    looks = logit(_cross_fitted(outcomes[own], right, fold))

    def fit(rows: np.ndarray) -> Floats:
        shares_ = [
            _offset(looks[rows & (kinds == kind)], right[rows & (kinds == kind)]) for kind in range(shares.shape[1])
        ]
        return np.array(shares_)

    seen = np.zeros(len(best))
    for held_fold in np.unique(folds):
        seen[folds == held_fold] = shares[folds == held_fold] @ fit(fold != held_fold)
    return fit(np.ones(len(right), dtype=bool)), seen


def _offset(log_odds: Floats, right: np.ndarray) -> float:  # (M,), (M,)
    """Return the offset that calibrates log-odds, shrunk towards 0: Newton's steps."""
    offset = 0.0
    for _ in range(_STEPS):
        probable = expit(log_odds + offset)
        slope = float((probable * (1 - probable)).sum()) + _DRAWN
        offset += (float((right - probable).sum()) - _DRAWN * offset) / slope
    return offset


def _beside(
    corpus: AnswerCorpus, scores: Sequence[Floats], precision: float, before: np.ndarray, *, anew: bool
) -> dict[bool, float]:
    """Return the log-odds for citing sentences beside the best one, for questions (N,) asked before and for new ones.

    That is where such sentences were right often enough, in both parts. For new words (`anew`) that must be proven over
    topics: in a misunderstood question, the sentences beside the answer are wrong as well, for every document.
    """
    parts = [bool(part) for part in np.unique(before)]
    by_part = {again: _ranked_beside(corpus, scores, before == again) for again in parts}
    least = max(_often_right(values, right, precision) for values, right, _ in by_part.values())
    if not anew or False not in by_part:
        return dict.fromkeys(parts, least)
    values, right, owners = (array[by_part[False][0] >= least] for array in by_part[False])
    topics = np.array(corpus.topics)[owners]
    shown = accept_threshold(values, right, target_risk=1 - precision, groups=topics.tolist()).value
    return {again: least for again in parts if again} | {False: _NEVER if shown is None else shown}


def _ranked_beside(
    corpus: AnswerCorpus, scores: Sequence[Floats], own: np.ndarray
) -> tuple[Floats, np.ndarray, np.ndarray]:  # own (N,) bool -> three of (M,)
    """Return every sentence beside the best one, for some of the questions: log-odds, correctness, question number."""
    numbers = np.flatnonzero(own).tolist()
    rows = {number: np.delete(np.arange(len(scores[number])), scores[number].argmax()) for number in numbers}
    values = np.concatenate([scores[number][rows[number]] for number in numbers])
    right = np.concatenate([corpus.asked[number].answers[rows[number]] for number in numbers])
    return values, right, np.repeat(numbers, [len(rows[number]) for number in numbers])


def _often_right(values: Floats, right: np.ndarray, precision: float) -> float:  # (M,), (M,)
    """Return the lowest log-odds from which sentences are right so often."""
    order = np.argsort(-values, kind="stable")
    shares = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(shares >= precision)
    good = good[good >= _FEWEST_BESIDE] if len(good) else good
    return float(values[order[good[-1]]]) if len(good) else _NEVER


_DRAWN, _STEPS = 4.0, 8
"""Strength of the prior that a kind is like the others, and the number of Newton steps."""
_FEWEST_BESIDE = 20  # sentences that the share must be of


# --- What answered such questions before -------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Familiar:
    """The experts, and their cross-fitted results for each question, without its document.

    A question occurs twice: in words that training has seen, and in words that it has not. A question of a topic
    without an expert occurs once: its words are unknown to the experts.
    """

    experts: Experts
    corpus: AnswerCorpus
    columns: Columns
    folds: np.ndarray  # (M,)
    gates: list[ExpertGate]
    by_kind: Callable[[int, int], Floats]
    """The prediction of each kind's expert for a sentence (len(KNOWN), K), by numbers of question and row."""


def fit_experts(
    corpus: AnswerCorpus, folds: np.ndarray, *, seed: int, advance: Callable[[int], None]
) -> Familiar | None:
    """Fit an expert for each topic that was answered often enough; None if there is none, or nothing was encoded."""
    if corpus.vectors is None:
        return None
    topics = corpus.topics
    answered = {
        topic: sum(
            bool(question.answers.any()) for question, own in zip(corpus.asked, topics, strict=True) if own == topic
        )
        for topic in dict.fromkeys(topics)
    }
    kept = [topic for topic, count in answered.items() if count >= FEWEST_ANSWERED]
    if not kept:
        return None
    work = _Work(corpus=corpus, topics=topics, kept={topic: index for index, topic in enumerate(kept)}, seed=seed)
    whole = work.fit(np.ones(len(corpus.asked), dtype=bool), advance)
    texts = [question.row.text for question in corpus.asked]
    every = range(len(texts))
    looks = [*((number, True) for number in every if topics[number] in kept), *((number, False) for number in every)]
    opened = {
        (text, is_known): work.gate(text, seen=is_known) for is_known in (True, False) for text in dict.fromkeys(texts)
    }
    gates = [opened[texts[number], is_known] for number, is_known in looks]
    numbers = np.array([number for number, _ in looks])
    seen = [corpus.asked[number] for number in numbers]
    columns: Columns = [{}] * len(looks)
    of_fold: dict[int, Experts] = {}
    for fold in np.unique(folds).tolist():
        experts = of_fold[fold] = work.fit(folds != fold, advance)
        weights = {id(gate): experts.word_weights.astype(np.float32) @ gate.shares for gate in opened.values()}
        for at in np.flatnonzero(folds[numbers] == fold):
            gate = gates[at]
            seen[at], columns[at] = work.look(experts, seen[at], gate, weights[id(gate)])
    return Familiar(
        experts=whole,
        corpus=replace(corpus, asked=seen),
        columns=columns,
        folds=folds[numbers],
        gates=gates,
        by_kind=lambda number, row: work.by_kind(of_fold[int(folds[numbers[number]])], seen[number], row),
    )


class _Work:
    """The experts' training data: sentences that answered a topic's questions, and sentences that did not."""

    def __init__(self, *, corpus: AnswerCorpus, topics: Sequence[str], kept: Mapping[str, int], seed: int) -> None:
        self.corpus, self.topics, self.kept, self.seed = corpus, topics, kept, seed
        self.vectors = corpus.vectors if corpus.vectors is not None else np.empty((0, 0))
        self.names = list(corpus.texts)
        texts = self.names
        self.ngrams = fit_ngrams(
            texts, unit="word", shortest=1, longest=2, at_least=2 if len(texts) > _ANY else 1, at_most=30_000
        )
        encoded = [self.ngrams.encode(text) for text in texts]
        starts = np.concatenate([[0], np.cumsum([len(vector.indices) for vector in encoded])])
        self.words = csr_matrix(
            (
                np.concatenate([vector.values for vector in encoded]).astype(np.float64),
                np.concatenate([vector.indices for vector in encoded]),
                starts,
            ),
            shape=(len(texts), len(self.ngrams.terms)),
        )
        kinds_of_texts = dict.fromkeys(
            (question.row.text, topic) for question, topic in zip(corpus.asked, topics, strict=True)
        )
        known_kinds = [(text, kept[topic]) for text, topic in kinds_of_texts if topic in kept]
        self.asked = [text for text, _ in known_kinds]
        questions = np.stack([corpus.questions[text] for text in self.asked])
        metric = fit_metric(questions, self.vectors)
        answers = answer_directions([metric.of(self.vectors[sorted(ids)]) for ids in self._answering()])
        self.known = Known.of(questions, np.array([kind for _, kind in known_kinds], dtype=np.int32), answers, metric)

    def _answering(self) -> list[set[int]]:
        """Return by kind the sentences that answered it."""
        texts_by_kind: list[set[int]] = [set() for _ in self.kept]
        for question, topic in zip(self.corpus.asked, self.topics, strict=True):
            if topic in self.kept:
                texts_by_kind[self.kept[topic]].update(question.texts[question.answers].tolist())
        return texts_by_kind

    def gate(self, question: str, *, seen: bool) -> ExpertGate:
        """Return the gate of a question: in words that training has seen, or as if it had not."""
        vector = self.corpus.questions[question]
        return open_gate(vector, self.known if seen else self.known.take(self._others(question)))

    def _others(self, question: str) -> np.ndarray:  # (Q,) bool
        """Return the known questions without this one and without one of each other kind that has several.

        If this question were left out alone, its own kind would be recognised from fewer questions than the others,
        which does not happen to a new question.
        """
        own, kinds = np.array([text == question for text in self.asked]), self.known.kinds
        drawn = np.random.default_rng([self.seed, *question.encode()]).random(len(own))
        order = np.lexsort((drawn, kinds))
        last = order[np.append(np.diff(kinds[order]) > 0, True)]  # one of each kind
        several = np.bincount(kinds)[kinds[last]] > 1
        kept = ~own
        kept[last[several & ~np.isin(kinds[last], kinds[own])]] = False
        return kept if kept.any() else np.ones(len(own), dtype=bool)

    def look(
        self, experts: Experts, question: AnsweredQuestion, gate: ExpertGate, weights: Floats
    ) -> tuple[AnsweredQuestion, dict[str, Floats]]:  # weights (G,)
        """Return the sentences and their features that a reader with these experts uses, as `Reader` does it.

        `weights` are those of words.
        """
        words = self.words[question.texts] @ weights + float(experts.word_bias @ gate.shares)
        by_position = experts.by_place(gate.shares, question.starts)
        rows = likely_rows(question.words, words + by_position if gate.familiar > 0.0 else None)
        narrowed = question.take(rows)
        known_scores = (words[rows], experts.by_vectors(gate.shares, self.vectors[narrowed.texts]), by_position[rows])
        return narrowed, _columns(self.corpus, narrowed, encoded=True) | dict(zip(KNOWN, known_scores, strict=True))

    def by_kind(self, experts: Experts, question: AnsweredQuestion, row: int) -> Floats:  # (len(KNOWN), K)
        """Return the prediction of each kind's expert for a sentence, as `Experts.by_kind` does."""
        text, position = int(question.texts[row]), int(place_of(question.starts[row : row + 1])[0])
        words = self.words[text]
        scores = words.data @ experts.word_weights[words.indices].astype(np.float32)
        return experts.each_kind(scores, position, self.vectors[text])

    def fit(self, seen: np.ndarray, advance: Callable[[int], None]) -> Experts:
        """Fit experts on the questions that are seen (N,)."""
        vectors = self.vectors
        count, random = len(self.kept), np.random.default_rng(self.seed)
        word_weights, vector_weights = np.zeros((len(self.ngrams.terms), count)), np.zeros((vectors.shape[1], count))
        word_bias, vector_bias = np.full(count, _SILENT), np.full(count, _SILENT)
        of_topic: list[list[int]] = [[] for _ in range(count)]
        everything: set[int] = set()
        for number in np.flatnonzero(seen):
            everything.update(self.corpus.asked[number].texts.tolist())
            kind = self.kept.get(self.topics[int(number)])
            if kind is not None:
                of_topic[kind].append(int(number))
        pool = np.array(sorted(everything))
        for kind in range(count):
            rows, right = self._examples(of_topic[kind], random.permutation(pool)[:_ANY])
            if right.any() and not right.all():
                for matrix, weights, bias, strength in (
                    (self.words, word_weights, word_bias, _WORD_C),
                    (vectors, vector_weights, vector_bias, _VECTOR_C),
                ):
                    model = LogisticRegression(C=strength, solver="liblinear", random_state=0).fit(matrix[rows], right)
                    weights[:, kind], bias[kind] = model.coef_[0], model.intercept_[0]
            advance(1)
        return Experts(
            questions=self.known.questions.astype(np.float16),
            kinds=self.known.kinds,
            ngrams=self.ngrams,
            word_weights=word_weights.astype(np.float16),
            word_bias=word_bias.astype(np.float32),
            vector_weights=vector_weights.astype(np.float16),
            vector_bias=vector_bias.astype(np.float32),
            answers=self.known.answers.astype(np.float16),
            places=np.stack([self._places(numbers) for numbers in of_topic]),
            metric=self.known.metric,
            usual=np.zeros(count),
        )

    def _places(self, numbers: Sequence[int]) -> Floats:
        """Return the log-odds of the positions of answers in their documents."""
        answered, shown = np.zeros(len(PLACES) + 1), np.zeros(len(PLACES) + 1)
        for number in numbers:
            places = place_of(self.corpus.asked[number].starts)
            np.add.at(shown, places, 1)
            np.add.at(answered, places[self.corpus.asked[number].answers], 1)
        return place_odds(answered, shown)

    def _examples(self, numbers: Sequence[int], pool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return positions of sentences and whether they answer; of those that do not, the likeliest are included."""
        right: set[int] = set()
        shown: dict[int, float] = {}
        for number in numbers:
            question = self.corpus.asked[number]
            right.update(question.texts[question.answers].tolist())
            promise = question.words[:, LEXICAL.index("covered_near")] + question.words[:, LEXICAL.index("rank")]
            for text, value in zip(question.texts.tolist(), promise.tolist(), strict=True):
                shown[text] = max(shown.get(text, 0.0), value)
        hard = sorted((text for text in shown if text not in right), key=lambda text: (-shown[text], text))[:_HARD]
        wrong = list(dict.fromkeys([*hard, *(text for text in pool.tolist() if text not in right)]))
        rows = np.array([*sorted(right), *wrong])
        return rows, np.arange(len(rows)) < len(right)

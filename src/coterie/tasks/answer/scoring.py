"""From what is seen of sentences to how likely each answers, and how sure it is that the best one does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from coterie.engines.features import NgramFeatures, stored_array
from coterie.learning.numerics import expit, logit, logsumexp
from coterie.tasks.answer.features import ENCODED, LEXICAL, WHOLE

Floats = np.ndarray

KNOWN: tuple[str, ...] = ("expert_words", "expert_vectors", "expert_place")
"""What is said by what answered such questions before."""
OUTCOME: tuple[str, ...] = (
    "top",  # log-odds of the best sentence
    "gap",  # to the best one that is not cited with it
    "rivals",  # log of the sum of the odds of the best eight
    "covered",  # of the best sentence
    "covered_heading",
    "covered_passage",
    "cosine",  # 0 where nothing is encoded
    "nearest",  # cosine to the nearest question that training has seen; 0 where that does not matter
    "agreed",  # how far the known questions agree on the kind of the question
    "fits",  # of the best sentence
    "unfit",
    "bare",
    "length",
    *WHOLE,
    "mixed",  # log-odds of the best sentence, where the question may be of several kinds: see `mix_kinds`
    "usual",  # how much surer answers to such a kind of question are than they look: see `Experts.usual`
)
"""What is seen of an answer as a whole."""
_FIT = OUTCOME[9:-2]
_RIVALS = 8
"""So few, so that the number of sentences found does not count."""
_FAR = 12.0
"""Log-odds are cut at this distance from 0."""
_LEAST = 1e-4
"""Probabilities are cut at this distance from 0 and 1."""


@dataclass(frozen=True, kw_only=True)
class LinearScore:
    """A linear function of named features."""

    names: tuple[str, ...]
    weights: Floats  # (F,)
    bias: float

    def of(self, features: Floats) -> Floats:  # (N, F) -> (N,)
        """Log-odds, within bounds."""
        return np.asarray(np.clip(features @ self.weights + self.bias, -_FAR, _FAR))

    def describe(self) -> dict[str, object]:
        """As JSON."""
        return {"weights": dict(zip(self.names, self.weights.tolist(), strict=True)), "bias": self.bias}

    @classmethod
    def restore(cls, stored: Mapping[str, Any], names: Sequence[str]) -> LinearScore:
        """What `describe` told; a feature that it did not have yet counts nothing.

        Raises `LookupError`, `TypeError` or `ValueError` if it has others.
        """
        weights, bias = stored["weights"], float(stored["bias"])
        if not set(weights) <= set(names):
            raise ValueError(f"its features are {sorted(weights)}, not {sorted(names)}")
        values = np.array([float(weights.get(name, 0.0)) for name in names])
        if not (np.isfinite(values).all() and isfinite(bias)):
            raise ValueError("a weight is not finite")
        return cls(names=tuple(names), weights=values, bias=bias)


class AnswerConfidence(NamedTuple):
    """How sure an answer is."""

    right: LinearScore
    """Log-odds that the best sentence answers."""
    stated: LinearScore
    """Log-odds that the documents answer at all, whatever was found."""


@dataclass(frozen=True, kw_only=True)
class AnswerScorer:
    """Scores sentences, and answers made of them."""

    sentence: LinearScore
    """Log-odds that a sentence answers."""
    right: LinearScore
    """Log-odds that the best one does."""
    stated: LinearScore
    """Log-odds that the documents answer at all, whatever was found."""
    also: float
    """Log-odds from which further sentences are cited beside the best one."""
    again: AnswerConfidence | None = None
    """`right` and `stated` of questions in words that training has seen; None where they are as of any other."""
    also_again: float | None = None
    """`also` of such questions; likewise."""

    def beside(self, *, again: bool) -> float:
        """Log-odds from which further sentences are cited for a question that was asked before, or for a new one."""
        return self.also_again if again and self.also_again is not None else self.also

    def outcomes(self, *, again: bool) -> AnswerConfidence:
        """What tells how sure an answer is, to a question that was asked before or to a new one."""
        return self.again if again and self.again is not None else AnswerConfidence(self.right, self.stated)

    def describe(self) -> dict[str, object]:
        """As JSON."""
        lines = {name: getattr(self, name).describe() for name in ("sentence", "right", "stated")}
        again = {} if self.again is None else {name: line.describe() for name, line in self.again._asdict().items()}
        beside = {"also": self.also} | ({} if self.also_again is None else {"also_again": self.also_again})
        return lines | beside | ({"again": again} if again else {})

    @classmethod
    def restore(cls, stored: Mapping[str, Any]) -> AnswerScorer:
        """What `describe` told. Raises `LookupError`, `TypeError` or `ValueError`."""
        names = set(stored["sentence"]["weights"])
        features = [name for name in (*LEXICAL, *ENCODED, *KNOWN) if name in names]
        return cls(
            sentence=LinearScore.restore(stored["sentence"], features),
            right=LinearScore.restore(stored["right"], OUTCOME),
            stated=LinearScore.restore(stored["stated"], OUTCOME),
            also=float(stored["also"]),
            again=AnswerConfidence(
                **{name: LinearScore.restore(stored["again"][name], OUTCOME) for name in AnswerConfidence._fields}
            )
            if "again" in stored
            else None,
            also_again=float(stored["also_again"]) if "also_again" in stored else None,
        )


def mix_kinds(line: LinearScore, features: Floats, kinds: Floats, shares: Floats) -> float:
    """Log-odds that a sentence answers, by the law of total probability over the kinds that the question may be of.

    `line` has the kinds' log-odds mixed, and so is sure where the likeliest kind alone is. A sentence that answers
    whatever is meant is surer than one that answers what is probably meant.

    Args:
        line: Of a sentence's features, `KNOWN` among them.
        features: (F,) those of the sentence.
        kinds: (len(KNOWN), K) what the expert of each kind says of it.
        shares: (K,) how likely the question is of each.
    """
    places = [line.names.index(name) for name in KNOWN]
    weights = line.weights[places]
    rest = float(features @ line.weights - features[places] @ weights) + line.bias
    probable = float(shares @ expit(np.clip(rest + weights @ kinds, -_FAR, _FAR)))
    return float(logit(np.clip(probable, _LEAST, 1 - _LEAST)))


def cited_rows(scores: Floats, also: float, most: int) -> list[int]:
    """Which sentences are cited: the best one and, up to `most` in all, others that are likely too; best first."""
    ranked = [int(row) for row in np.argsort(-scores, kind="stable")]
    return ranked[:1] + [row for row in ranked[1:most] if scores[row] >= also]


def outcome_features(
    scores: Floats,
    columns: Mapping[str, Floats],
    cited: Sequence[int],
    *,
    nearest: float = 0.0,
    agreed: float = 0.0,
    mixed: float = 0.0,
    usual: float = 0.0,
) -> Floats:  # (len(OUTCOME),)
    """What is seen of an answer.

    Args:
        scores: (S,) log-odds of the sentences.
        columns: Features by name, (S,) each; one that is missing counts as 0.
        cited: The rows cited, best first.
        nearest: Cosine to the nearest question that training has seen.
        agreed: The largest share of a kind in the question.
        mixed: See `mix_kinds`.
        usual: See `Experts.usual`.
    """
    others = np.delete(scores, list(cited))
    best = cited[0]
    seen, last = (
        [float(columns[name][best]) if name in columns else 0.0 for name in names] for names in (OUTCOME[3:7], _FIT)
    )
    gap = scores[best] - (others.max() if len(others) else -_FAR)
    rivals = float(logsumexp(np.sort(scores)[-_RIVALS:]))
    return np.array([scores[best], gap, rivals, *seen, nearest, agreed, *last, mixed, usual])


def probability(log_odds: float) -> float:
    """Of log-odds."""
    return float(expit(log_odds))


# --- Which kind of question one is: the known questions and what answered them vote.
#
# In the very words of a known question it is of that one's kind. In other words it is often nearer to what answers it
# than to how it was asked before, so the answers count most. Both are compared after whitening (shrunken towards the
# plain cosine), by how sentences of the documents differ: what all sentences of contracts have in common tells no two
# questions about contracts apart.

SAME = 0.98
"""Cosine from which two questions are taken to be in the same words: stored encodings are rounded."""
_SHRINKAGE = 1.0
"""How much of the mean variance is added to the variance in each direction."""
_STRANGE, _FAMILIAR = 0.4, 0.6
"""Cosines to the nearest known question up to which the experts are not heard, and from which only they are."""


class ExpertGate(NamedTuple):
    """Whom to listen to about a question."""

    shares: Floats  # (K,), which sum to 1
    nearest: float
    """Cosine to the nearest known question."""

    @property
    def familiar(self) -> float:
        """How far the experts are listened to, 0 to 1."""
        return float(np.clip((self.nearest - _STRANGE) / (_FAMILIAR - _STRANGE), 0.0, 1.0))


class Metric(NamedTuple):
    """How encodings are compared."""

    centre: Floats  # (D,)
    scale: Floats  # (D, D)
    asked: float = 5.0
    """What the likeness to a kind's questions counts, and what that to its answers: fitted on questions about CUAD's
    training contracts, each with its wording left out (docs/history/log.md)."""
    answered: float = 22.0

    def of(self, vectors: Floats) -> Floats:  # (..., D) -> (..., D)
        """Vectors whose products are the likeness of what they encode."""
        return _unit((vectors - self.centre) @ self.scale)


def fit_metric(questions: Floats, sentences: Floats) -> Metric:  # (Q, D), (S, D)
    """The metric of questions about documents with such sentences."""
    values, axes = np.linalg.eigh(np.cov(sentences, rowvar=False, bias=True))
    values = np.maximum(values, 0.0)
    stretch = 1.0 / np.sqrt(values + _SHRINKAGE * max(float(values.mean()), 1e-9))
    return Metric(questions.mean(axis=0), (axes * stretch) @ axes.T)


def plain_metric(dimension: int) -> Metric:
    """The one that leaves encodings as they are, with the weights of versions that know no other."""
    return Metric(np.zeros(dimension), np.eye(dimension), asked=20.0, answered=10.0)


class Known(NamedTuple):
    """The questions that training has seen, and what is known of their K kinds."""

    questions: Floats  # (Q, D), as they are encoded
    kinds: Floats  # (Q,), the kind of each, from 0
    answers: Floats  # (K, D), where the answers of each kind lie, by the metric
    metric: Metric
    compared: Floats  # (Q, D), the questions by the metric

    @classmethod
    def of(cls, questions: Floats, kinds: Floats, answers: Floats, metric: Metric) -> Known:
        """The same, with the questions compared by the metric."""
        return cls(questions, kinds, answers, metric, metric.of(questions))

    def take(self, rows: Floats) -> Known:  # (Q,) bool
        """Some of the questions."""
        return self._replace(questions=self.questions[rows], kinds=self.kinds[rows], compared=self.compared[rows])


def open_gate(question: Floats, known: Known) -> ExpertGate:  # (D,)
    """The share of each kind in a question: by its nearest question, by all of its questions, and by its answers."""
    cosines, count, kinds = known.questions @ question, len(known.answers), known.kinds
    closest = float(cosines.max())
    if closest >= SAME:
        shares = np.bincount(kinds[cosines >= SAME], minlength=count).astype(np.float64)
        return ExpertGate(shares / shares.sum(), closest)
    metric = known.metric
    question = metric.of(question)
    alike = known.compared @ question
    nearest = np.full(count, -np.inf)
    np.maximum.at(nearest, kinds, alike)
    mean = np.bincount(kinds, weights=alike, minlength=count) / np.maximum(np.bincount(kinds, minlength=count), 1)
    votes = metric.asked * (nearest + mean) / 2 + metric.answered * (known.answers @ question)
    votes = np.exp(votes - votes.max())
    return ExpertGate(votes / votes.sum(), closest)


def answer_directions(vectors: Sequence[Floats]) -> Floats:  # (K, D)
    """Where the answers of each kind lie, away from the mean of all kinds.

    Args:
        vectors: By kind the encodings (A, D) of what answered it, by the metric; zero where that is nothing.
    """
    means = _unit(np.stack([each.mean(axis=0) if len(each) else np.zeros(each.shape[1]) for each in vectors]))
    return _unit(means - means.mean(axis=0))


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))


# --- What answered such questions before: a linear model for each kind of question that training has seen often.
#
# Which kind a question is, its gate says. A mixture of linear experts with a fixed gate (after Jacobs et al. 1991,
# "Adaptive Mixtures of Local Experts").

_DRAWN = 5.0
"""Answers that stand where any sentence does, counted beside those that were seen."""
PLACES = (150, 400, 1_000, 3_000, 10_000, 40_000)
"""Characters of a document that part its places: a title stands among the first, a signature far behind."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Experts:
    """Linear models of what answers each of K kinds of question."""

    questions: Floats  # (Q, D), encodings of questions that training has seen
    kinds: Floats  # (Q,) int, the kind of each
    ngrams: NgramFeatures
    word_weights: Floats  # (G, K)
    word_bias: Floats  # (K,)
    vector_weights: Floats  # (D, K)
    vector_bias: Floats  # (K,)
    answers: Floats  # (K, D), unit vectors or zero, by the metric: the direction in which the answers of each lie
    places: Floats  # (K, len(PLACES) + 1), log-odds of an answer for standing there
    metric: Metric
    usual: Floats  # (K,)
    """By how many log-odds the best sentence of each kind answers more often than it looks, where words were known."""

    def gate(self, question: Floats) -> ExpertGate:  # (D,)
        """Whom to listen to about a question."""
        return open_gate(question, self.known)

    @cached_property
    def known(self) -> Known:
        """What the gate knows."""
        questions, answers = self.questions.astype(np.float32), self.answers.astype(np.float32)
        return Known.of(questions, self.kinds, answers, self.metric)

    def scores(
        self, shares: Floats, texts: Sequence[str], starts: Floats, vectors: Floats
    ) -> Floats:  # (S, len(KNOWN))
        """Log-odds from words, encodings (S, D) and places (S,), for kinds of these shares (K,)."""
        found = (self.by_words(shares, texts), self.by_vectors(shares, vectors), self.by_place(shares, starts))
        return np.column_stack(found)

    def by_kind(self, text: str, start: int, vector: Floats) -> Floats:  # (D,) -> (len(KNOWN), K)
        """What `scores` would be of one sentence, were the question of each kind alone."""
        indices, values = self.ngrams.encode(text)
        place = int(place_of(np.array([start]))[0])
        return self.each_kind(values @ self.word_weights[indices].astype(np.float32), place, vector)

    def each_kind(self, words: Floats, place: int, vector: Floats) -> Floats:  # (K,), (D,) -> (len(KNOWN), K)
        """The same, from what the words of the sentence add up to for each kind, and from its place's number."""
        vectors = vector @ self.vector_weights.astype(np.float32)
        return np.stack([words + self.word_bias, vectors + self.vector_bias, self.places[:, place].astype(np.float32)])

    def by_place(self, shares: Floats, starts: Floats) -> Floats:  # (K,), (S,) -> (S,)
        """Log-odds from where sentences begin in their documents."""
        return np.asarray((shares @ self.places.astype(np.float32))[place_of(starts)])

    def by_words(self, shares: Floats, texts: Sequence[str]) -> Floats:  # (K,) -> (S,)
        """Log-odds from words alone."""
        weights, bias = self.word_weights.astype(np.float32) @ shares, float(self.word_bias @ shares)
        encoded = (self.ngrams.encode(text) for text in texts)
        return np.array([bias + float(values @ weights[indices]) for indices, values in encoded])

    def by_vectors(self, shares: Floats, vectors: Floats) -> Floats:  # (K,), (S, D) -> (S,)
        """Log-odds from encodings."""
        weights = self.vector_weights.astype(np.float32) @ shares
        return np.asarray(vectors @ weights + float(self.vector_bias @ shares))

    def store(self) -> tuple[dict[str, object], dict[str, Floats]]:
        """The JSON description and the arrays that restore it."""
        arrays: dict[str, Floats] = {
            "experts.questions": self.questions.astype(np.float16),
            "experts.kinds": self.kinds.astype(np.int32),
            "experts.idf": self.ngrams.idf,
            "experts.word_weights": self.word_weights.astype(np.float16),
            "experts.word_bias": self.word_bias.astype(np.float32),
            "experts.vector_weights": self.vector_weights.astype(np.float16),
            "experts.vector_bias": self.vector_bias.astype(np.float32),
            "experts.answers": self.answers.astype(np.float16),
            "experts.places": self.places.astype(np.float16),
            "experts.centre": self.metric.centre.astype(np.float32),
            "experts.scale": self.metric.scale.astype(np.float16),
            "experts.usual": self.usual.astype(np.float32),
        }
        return {"ngrams": self.ngrams.describe()}, arrays

    @classmethod
    def restore(cls, description: Mapping[str, Any], arrays: Mapping[str, Floats]) -> Experts:
        """What `store` was asked of. Raises `ValueError` if the parts do not fit each other."""
        ngrams = NgramFeatures.restore(description["ngrams"], arrays, "experts.idf")
        questions = stored_array(arrays, "experts.questions", None, None)
        kinds = stored_array(arrays, "experts.kinds", len(questions))
        bias = stored_array(arrays, "experts.word_bias", None)
        if len(questions) == 0 or kinds.dtype != np.int32 or kinds.min() < 0 or kinds.max() >= len(bias):
            raise ValueError("its questions are of kinds that it does not have")
        answers, places = np.zeros((len(bias), questions.shape[1])), np.zeros((len(bias), len(PLACES) + 1))
        if "experts.answers" in arrays:  # versions of before did without
            answers = stored_array(arrays, "experts.answers", *answers.shape)
            places = stored_array(arrays, "experts.places", *places.shape)
        usual = np.zeros(len(bias))
        if "experts.usual" in arrays:  # likewise
            usual = stored_array(arrays, "experts.usual", len(bias))
        metric = plain_metric(questions.shape[1])  # versions of before have no other
        if "experts.scale" in arrays:
            centre = stored_array(arrays, "experts.centre", *metric.centre.shape)
            metric = Metric(centre, stored_array(arrays, "experts.scale", *metric.scale.shape).astype(np.float32))
        return cls(
            questions=questions,
            kinds=kinds,
            ngrams=ngrams,
            word_weights=stored_array(arrays, "experts.word_weights", len(ngrams.terms), len(bias)),
            word_bias=bias,
            vector_weights=stored_array(arrays, "experts.vector_weights", questions.shape[1], len(bias)),
            vector_bias=stored_array(arrays, "experts.vector_bias", len(bias)),
            answers=answers,
            places=places,
            metric=metric,
            usual=usual,
        )


def place_of(starts: Floats) -> Floats:  # (S,) -> (S,) int
    """Which of the places of a document each character stands in."""
    return np.searchsorted(PLACES, starts, side="right")


def place_odds(answered: Floats, shown: Floats) -> Floats:
    """Log-odds of an answer for standing in each place, drawn to nothing where little was seen.

    Args:
        answered: (B,) how often an answer stood there.
        shown: (B,) how often any sentence did.
    """
    usual = (shown + 1) / (shown + 1).sum()
    return np.asarray(np.log((answered + _DRAWN * usual) / (answered.sum() + _DRAWN) / usual))

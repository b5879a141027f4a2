"""Computes from features how likely each sentence answers, and the confidence that the best one does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from coterie.engines.linear import NgramFeatures, stored_array
from coterie.learning.calibration import expit, logit, logsumexp, softmax
from coterie.tasks.answer.features import ENCODED, LEXICAL, WHOLE

Floats = np.ndarray

KNOWN: tuple[str, ...] = ("expert_words", "expert_vectors", "expert_place")
"""Features from what answered similar questions before."""
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
"""Features of an answer as a whole."""
_FIT = OUTCOME[9:-2]
_RIVALS = 8
"""Sentences that count as rivals: so few that the number of sentences found has no effect."""
_FAR = 12.0
"""Log-odds are clipped at this distance from 0."""
_LEAST = 1e-4
"""Probabilities are clipped at this distance from 0 and 1."""


@dataclass(frozen=True, kw_only=True)
class LinearScore:
    """A linear function of named features."""

    names: tuple[str, ...]
    weights: Floats  # (F,)
    bias: float

    def of(self, features: Floats) -> Floats:  # (N, F) -> (N,)
        """Return the log-odds, within bounds."""
        return np.asarray(np.clip(features @ self.weights + self.bias, -_FAR, _FAR))

    def describe(self) -> dict[str, object]:
        """Return the function as JSON."""
        return {"weights": dict(zip(self.names, self.weights.tolist(), strict=True)), "bias": self.bias}

    @classmethod
    def restore(cls, stored: Mapping[str, Any], names: Sequence[str]) -> LinearScore:
        """Restore the result of `describe`; a feature that did not exist at the time has weight 0.

        Raises `LookupError`, `TypeError` or `ValueError` if it has other features.
        """
        weights, bias = stored["weights"], float(stored["bias"])
        if not set(weights) <= set(names):
            raise ValueError(f"its features are {sorted(weights)}, not {sorted(names)}")
        values = np.array([float(weights.get(name, 0.0)) for name in names])
        if not (np.isfinite(values).all() and isfinite(bias)):
            raise ValueError("a weight is not finite")
        return cls(names=tuple(names), weights=values, bias=bias)


class AnswerConfidence(NamedTuple):
    """The lines for the confidence of an answer."""

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
    """Log-odds that the best sentence answers."""
    stated: LinearScore
    """Log-odds that the documents answer at all, whatever was found."""
    also: float
    """Log-odds from which further sentences are cited beside the best one."""
    again: AnswerConfidence | None = None
    """`right` and `stated` for questions in words that training has seen; None where they are the same."""
    also_again: float | None = None
    """`also` for questions in words that training has seen; None where it is the same."""

    def beside(self, *, again: bool) -> float:
        """Return the log-odds for further citations, for a question asked before or for a new one."""
        return self.also_again if again and self.also_again is not None else self.also

    def outcomes(self, *, again: bool) -> AnswerConfidence:
        """Return the confidence lines, for a question asked before or for a new one."""
        return self.again if again and self.again is not None else AnswerConfidence(self.right, self.stated)

    def describe(self) -> dict[str, object]:
        """Return the scorer as JSON."""
        lines = {name: getattr(self, name).describe() for name in ("sentence", "right", "stated")}
        again = {} if self.again is None else {name: line.describe() for name, line in self.again._asdict().items()}
        beside = {"also": self.also} | ({} if self.also_again is None else {"also_again": self.also_again})
        return lines | beside | ({"again": again} if again else {})

    @classmethod
    def restore(cls, stored: Mapping[str, Any]) -> AnswerScorer:
        """Restore the result of `describe`. Raises `LookupError`, `TypeError` or `ValueError`."""
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
    """Return the log-odds that a sentence answers, by the law of total probability over the question's possible kinds.

    `line` mixes the kinds' log-odds, and so is confident where the likeliest kind alone is. A sentence that answers
    whatever is meant is more certain than one that answers what is probably meant.

    Args:
        line: The line of a sentence's features, `KNOWN` among them.
        features: (F,) the features of the sentence.
        kinds: (len(KNOWN), K) the prediction of each kind's expert.
        shares: (K,) probability of each kind.
    """
    places = [line.names.index(name) for name in KNOWN]
    weights = line.weights[places]
    rest = float(features @ line.weights - features[places] @ weights) + line.bias
    probable = float(shares @ expit(np.clip(rest + weights @ kinds, -_FAR, _FAR)))
    return float(logit(np.clip(probable, _LEAST, 1 - _LEAST)))


def cited_rows(scores: Floats, also: float, most: int) -> list[int]:
    """Return the rows of cited sentences: the best one and, up to `most` in all, other likely ones; best first."""
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
    """Return the features of an answer.

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
    """Return the probability of log-odds."""
    return float(expit(log_odds))


# --- Which kind of question one is: the known questions and what answered them vote.
#
# In the very words of a known question it is of that one's kind. In other words it is often nearer to what answers it
# than to how it was asked before, so the answers count most. Both are compared after whitening (shrunken towards the
# plain cosine), by how sentences of the documents differ: what all sentences of contracts have in common tells no two
# questions about contracts apart.

SAME = 0.98
"""Cosine from which two questions count as having the same words: stored encodings are rounded."""
_SHRINKAGE = 1.0
"""Share of the mean variance that is added to the variance in each direction."""
_STRANGE, _FAMILIAR = 0.4, 0.6
"""Cosines to the nearest known question up to which the experts are ignored, and from which they decide alone."""


class ExpertGate(NamedTuple):
    """The weights of the experts for a question."""

    shares: Floats  # (K,), which sum to 1
    nearest: float
    """Cosine to the nearest known question."""

    @property
    def familiar(self) -> float:
        """Weight of the experts, 0 to 1."""
        return float(np.clip((self.nearest - _STRANGE) / (_FAMILIAR - _STRANGE), 0.0, 1.0))


class Metric(NamedTuple):
    """The metric by which encodings are compared."""

    centre: Floats  # (D,)
    scale: Floats  # (D, D)
    asked: float = 5.0
    """Weight of the similarity to a kind's questions, and of that to its answers.

    Fitted on questions about CUAD's training contracts, each with its wording left out (docs/history/log.md).
    """
    answered: float = 22.0

    def of(self, vectors: Floats) -> Floats:  # (..., D) -> (..., D)
        """Return vectors whose products are the similarity of what they encode."""
        return _unit((vectors - self.centre) @ self.scale)


def fit_metric(questions: Floats, sentences: Floats) -> Metric:  # (Q, D), (S, D)
    """Fit the metric of questions about documents with such sentences."""
    values, axes = np.linalg.eigh(np.cov(sentences, rowvar=False, bias=True))
    values = np.maximum(values, 0.0)
    stretch = 1.0 / np.sqrt(values + _SHRINKAGE * max(float(values.mean()), 1e-9))
    return Metric(questions.mean(axis=0), (axes * stretch) @ axes.T)


def plain_metric(dimension: int) -> Metric:
    """Return the metric that leaves encodings unchanged, with the weights of versions that know no other."""
    return Metric(np.zeros(dimension), np.eye(dimension), asked=20.0, answered=10.0)


class Known(NamedTuple):
    """The questions that training has seen, and the data of their K kinds."""

    questions: Floats  # (Q, D), as they are encoded
    kinds: Floats  # (Q,), the kind of each, from 0
    answers: Floats  # (K, D), where the answers of each kind lie, by the metric
    metric: Metric
    compared: Floats  # (Q, D), the questions by the metric

    @classmethod
    def of(cls, questions: Floats, kinds: Floats, answers: Floats, metric: Metric) -> Known:
        """Create the data, with the questions transformed by the metric."""
        return cls(questions, kinds, answers, metric, metric.of(questions))

    def take(self, rows: Floats) -> Known:  # (Q,) bool
        """Return some of the questions."""
        return self._replace(questions=self.questions[rows], kinds=self.kinds[rows], compared=self.compared[rows])


def open_gate(question: Floats, known_questions: Known) -> ExpertGate:  # (D,)
    """Return the share of each kind in a question: by its nearest question, by all of its questions, by its answers."""
    cosines, count, kinds = known_questions.questions @ question, len(known_questions.answers), known_questions.kinds
    closest = float(cosines.max())
    if closest >= SAME:
        shares = np.bincount(kinds[cosines >= SAME], minlength=count).astype(np.float64)
        return ExpertGate(shares / shares.sum(), closest)
    metric = known_questions.metric
    question = metric.of(question)
    alike = known_questions.compared @ question
    nearest = np.full(count, -np.inf)
    np.maximum.at(nearest, kinds, alike)
    mean = np.bincount(kinds, weights=alike, minlength=count) / np.maximum(np.bincount(kinds, minlength=count), 1)
    votes = metric.asked * (nearest + mean) / 2 + metric.answered * (known_questions.answers @ question)
    return ExpertGate(softmax(votes), closest)


def answer_directions(vectors: Sequence[Floats]) -> Floats:  # (K, D)
    """Return the direction of the answers of each kind, relative to the mean of all kinds.

    Args:
        vectors: By kind the encodings (A, D) of what answered it, by the metric; zero where that is nothing.
    """
    means = _unit(np.stack([vector.mean(axis=0) if len(vector) else np.zeros(vector.shape[1]) for vector in vectors]))
    return _unit(means - means.mean(axis=0))


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))


# --- What answered such questions before: a linear model for each kind of question that training has seen often.
#
# Which kind a question is, its gate says. A mixture of linear experts with a fixed gate (after Jacobs et al. 1991,
# "Adaptive Mixtures of Local Experts").

_DRAWN = 5.0
"""Prior count of answers at the average position, added to the observed ones."""
PLACES = (150, 400, 1_000, 3_000, 10_000, 40_000)
"""Boundaries, in characters, of the positions in a document: a title is in the first, a signature far behind."""


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
    """Log-odds by which the best sentence of each kind answers more often than predicted, where words were known."""

    def gate(self, question: Floats) -> ExpertGate:  # (D,)
        """Return the weights of the experts for a question."""
        return open_gate(question, self.known)

    @cached_property
    def known(self) -> Known:
        """The data that the gate uses."""
        questions, answers = self.questions.astype(np.float32), self.answers.astype(np.float32)
        return Known.of(questions, self.kinds, answers, self.metric)

    def scores(
        self, shares: Floats, texts: Sequence[str], starts: Floats, vectors: Floats
    ) -> Floats:  # (S, len(KNOWN))
        """Return log-odds from words, encodings (S, D) and places (S,), for kinds with these shares (K,)."""
        score_columns = (self.by_words(shares, texts), self.by_vectors(shares, vectors), self.by_place(shares, starts))
        return np.column_stack(score_columns)

    def by_kind(self, text: str, start: int, vector: Floats) -> Floats:  # (D,) -> (len(KNOWN), K)
        """Return the result of `scores` for one sentence, for each kind alone."""
        indices, values = self.ngrams.encode(text)
        position = int(place_of(np.array([start]))[0])
        return self.each_kind(values @ self.word_weights[indices].astype(np.float32), position, vector)

    def each_kind(self, words: Floats, position: int, vector: Floats) -> Floats:  # (K,), (D,) -> (len(KNOWN), K)
        """Return the same from the sum of the sentence's word weights for each kind, and from its place's number."""
        vectors = vector @ self.vector_weights.astype(np.float32)
        return np.stack(
            [words + self.word_bias, vectors + self.vector_bias, self.places[:, position].astype(np.float32)]
        )

    def by_place(self, shares: Floats, starts: Floats) -> Floats:  # (K,), (S,) -> (S,)
        """Return log-odds from where sentences begin in their documents."""
        return np.asarray((shares @ self.places.astype(np.float32))[place_of(starts)])

    def by_words(self, shares: Floats, texts: Sequence[str]) -> Floats:  # (K,) -> (S,)
        """Return log-odds from words alone."""
        weights, bias = self.word_weights.astype(np.float32) @ shares, float(self.word_bias @ shares)
        encoded = (self.ngrams.encode(text) for text in texts)
        return np.array([bias + float(values @ weights[indices]) for indices, values in encoded])

    def by_vectors(self, shares: Floats, vectors: Floats) -> Floats:  # (K,), (S, D) -> (S,)
        """Return log-odds from encodings."""
        weights = self.vector_weights.astype(np.float32) @ shares
        return np.asarray(vectors @ weights + float(self.vector_bias @ shares))

    def store(self) -> tuple[dict[str, object], dict[str, Floats]]:
        """Return the JSON description and the arrays that restore the experts."""
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
        """Restore the result of `store`. Raises `ValueError` if the parts do not fit each other."""
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
    """Return the number of the place in the document that each character is in."""
    return np.searchsorted(PLACES, starts, side="right")


def place_odds(answered: Floats, shown: Floats) -> Floats:
    """Return log-odds of an answer for each place, shrunk towards 0 where there are few observations.

    Args:
        answered: (B,) how often an answer was there.
        shown: (B,) how often any sentence was there.
    """
    usual = (shown + 1) / (shown + 1).sum()
    return np.asarray(np.log((answered + _DRAWN * usual) / (answered.sum() + _DRAWN) / usual))

"""Which kind of question one is: the known questions and what answered them vote.

In the very words of a known question it is of that one's kind. In other words it is often nearer to what answers it
than to how it was asked before, so the answers count most. Both are compared after whitening (shrunken towards the
plain cosine), by how sentences of the documents differ: what all sentences of contracts have in common tells no two
questions about contracts apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Floats = np.ndarray

SAME = 0.98
"""Cosine from which two questions are taken to be in the same words: stored encodings are rounded."""
_SHRINKAGE = 1.0
"""How much of the mean variance is added to the variance in each direction."""
_STRANGE, _FAMILIAR = 0.4, 0.6
"""Cosines to the nearest known question up to which the experts are not heard, and from which only they are."""


class Gate(NamedTuple):
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
    training contracts, each with its wording left out (docs/log.md)."""
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


def open_gate(question: Floats, known: Known) -> Gate:  # (D,)
    """The share of each kind in a question: by its nearest question, by all of its questions, and by its answers."""
    cosines, count, kinds = known.questions @ question, len(known.answers), known.kinds
    closest = float(cosines.max())
    if closest >= SAME:
        shares = np.bincount(kinds[cosines >= SAME], minlength=count).astype(np.float64)
        return Gate(shares / shares.sum(), closest)
    metric = known.metric
    question = metric.of(question)
    alike = known.compared @ question
    nearest = np.full(count, -np.inf)
    np.maximum.at(nearest, kinds, alike)
    mean = np.bincount(kinds, weights=alike, minlength=count) / np.maximum(np.bincount(kinds, minlength=count), 1)
    votes = metric.asked * (nearest + mean) / 2 + metric.answered * (known.answers @ question)
    votes = np.exp(votes - votes.max())
    return Gate(votes / votes.sum(), closest)


def answer_directions(vectors: Sequence[Floats]) -> Floats:  # (K, D)
    """Where the answers of each kind lie, away from the mean of all kinds.

    Args:
        vectors: By kind the encodings (A, D) of what answered it, by the metric; zero where that is nothing.
    """
    means = _unit(np.stack([each.mean(axis=0) if len(each) else np.zeros(each.shape[1]) for each in vectors]))
    return _unit(means - means.mean(axis=0))


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))

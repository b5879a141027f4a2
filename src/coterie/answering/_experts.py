"""What answered such questions before: a linear model for each kind of question that training has seen often.

Which kind a question is, its gate says. A mixture of linear experts with a fixed gate (after Jacobs et al. 1991,
"Adaptive Mixtures of Local Experts").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from coterie.engines import NgramFeatures, stored_array

from ._gate import Gate, Known, Metric, open_gate, plain_metric

Floats = np.ndarray

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

    def gate(self, question: Floats) -> Gate:  # (D,)
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

"""Finds sentences of a long text that may state a field: a linear score per field, from n-grams, place, encoding."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from coterie.engines.features import NgramFeatures, stored_array
from coterie.text.language import language_of
from coterie.text.segmentation import Span, sentences

# --- A long text as sentences and words, each with its place: what is ranked and what is tagged.
#
# Contracts come with hard line breaks inside sentences, headings without a full stop and lists of clauses: a sentence
# ends at a blank line, and at `.`, `;` or `:` where the next word begins like a new one. A sentence that is too long to
# be one is cut at white space.

_NUMBER = re.compile(r"(?<!\d)(?<!\d[.,])(?:\d{1,3}(?:[.,]\d{3})+(?:[.,]\d+)?|\d+[.,]\d+)(?![.,]?\d)")
_DIGITS = 40
"""Characters around a span that are searched for the rest of a number."""
_WORD = re.compile(r"\w+(?:['\u2019]\w+)?|[^\w\s]")
_LONGEST = 600
"""Most characters of a sentence."""


TextRange = Span
"""A span of a text, in characters."""


@dataclass(frozen=True)
class TokenizedText:
    """A text with its sentences and words, which are cut on first use."""

    text: str

    language: str = ""
    """The language of the text; detected where it is empty."""

    @cached_property
    def spoken(self) -> str:
        """The language of the text; English if the detection is uncertain."""
        return self.language or language_of(self.text, "en")

    @cached_property
    def sentences(self) -> list[Span]:
        """All non-blank spans of the text, in order."""
        return sentences(self.text, language=self.spoken, clauses=True, longest=_LONGEST)

    def whole(self, span: TextRange) -> TextRange:
        """Extend a span to the whole of a number that it cuts: never the 7 of 7.5, nor the 200 of 1,200."""
        start, end = span
        for number in _NUMBER.finditer(self.text, max(0, start - _DIGITS), end + _DIGITS):
            if number.start() < end < number.end() or number.start() < start < number.end():
                start, end = min(start, number.start()), max(end, number.end())
        return TextRange(start, end)

    def words(self, span: TextRange) -> list[TextRange]:
        """Return the words and signs of a span."""
        return [TextRange(*match.span()) for match in _WORD.finditer(self.text, span.start, span.end)]


PLACES = 24
"""Number of features of a sentence's place."""
_HEADS = (150, 400, 1_000, 2_500, 6_000, 15_000, 40_000)
_TAILS = (300, 1_000, 3_000, 8_000)
_NEAR = 3  # sentences at the beginning that are told apart

Floats = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Ranker:
    """Scores each sentence of a document for each field."""

    ngrams: NgramFeatures
    weights: Floats  # (G + PLACES, F), of the n-grams and then the places
    bias: Floats  # (F,)
    vectors: Floats | None = None  # (D, F), of a sentence's encoding
    vector_bias: Floats | None = None  # (F,)
    shares: Floats | None = None  # (2, F), of the first score and of the encoding's

    def scores(self, document: TokenizedText) -> Floats:  # (S, F)
        """Return log-odds of each sentence from words and place."""
        places = place_features(document)  # (S, PLACES)
        total = places @ self.weights[len(self.ngrams.terms) :].astype(np.float32) + self.bias
        for row, sentence in enumerate(document.sentences):
            indices, values = self.ngrams.encode(document.text[sentence.start : sentence.end])
            total[row] += values @ self.weights[indices].astype(np.float32)
        return np.asarray(total, dtype=np.float64)

    def with_vectors(self, scores: Floats, vectors: Floats) -> Floats:  # (K, F), (K, D) -> (K, F)
        """Return scores of sentences whose encodings are known."""
        if self.vectors is None or self.vector_bias is None or self.shares is None:
            return scores
        return np.asarray(self.shares[0] * scores + self.shares[1] * (vectors @ self.vectors + self.vector_bias))

    def store(self) -> tuple[dict[str, object], dict[str, Floats]]:
        """Return the JSON description and the arrays that restore it."""
        arrays = {"rank.idf": self.ngrams.idf, "rank.weights": self.weights, "rank.bias": self.bias}
        if self.vectors is not None and self.vector_bias is not None and self.shares is not None:
            arrays |= {
                "rank.vectors": self.vectors,
                "rank.vector_bias": self.vector_bias,
                "rank.shares": self.shares,
            }
        return {"ngrams": self.ngrams.describe()}, arrays

    @classmethod
    def restore(cls, description: Mapping[str, Any], arrays: Mapping[str, Floats], fields: int) -> Ranker:
        """Restore the result of `store`. Raises `ValueError` if the parts do not fit each other."""
        ngrams = NgramFeatures.restore(description["ngrams"], arrays, "rank.idf")
        vectors = stored_array(arrays, "rank.vectors", None, fields) if "rank.vectors" in arrays else None
        return cls(
            ngrams=ngrams,
            weights=stored_array(arrays, "rank.weights", len(ngrams.terms) + PLACES, fields),
            bias=stored_array(arrays, "rank.bias", fields),
            vectors=vectors,
            vector_bias=None if vectors is None else stored_array(arrays, "rank.vector_bias", fields),
            shares=None if vectors is None else stored_array(arrays, "rank.shares", 2, fields),
        )


def place_features(document: TokenizedText) -> Floats:  # (S, PLACES)
    """Return ones and zeros: how far each sentence is from the beginning and the end, how long it is."""
    sentences, length = document.sentences, len(document.text)
    features = np.zeros((len(sentences), PLACES), dtype=np.float32)
    heads, tails = len(_HEADS) + 1, len(_TAILS) + 1
    for row, sentence in enumerate(sentences):
        features[row, sum(sentence.start >= edge for edge in _HEADS)] = 1
        features[row, heads + sum(length - sentence.end >= edge for edge in _TAILS)] = 1
        features[row, heads + tails + min(4, (sentence.end - sentence.start) // 80)] = 1
        if row < _NEAR:
            features[row, heads + tails + 5 + row] = 1
    return features


def best_rows(scores: Sequence[float] | Floats, most: int) -> list[int]:  # (S,)
    """Return numbers of the highest scores, best first."""
    return [int(row) for row in np.argsort(-np.asarray(scores), kind="stable")[:most]]

"""The texts of an `extract` job, cut once, with what they state by sentence and by word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from coterie.data import Dataset, Span
from coterie.extraction import Document, Place

from ._extract_fields import spans_of

Ints = np.ndarray
Bools = np.ndarray


@dataclass(frozen=True)
class Corpus:
    """Documents with the places of their fields."""

    documents: Sequence[Document]
    spans: Sequence[Sequence[tuple[Span, ...]]]
    """For each document and field the places where it is stated; none where it is not."""
    folds: Ints  # (N,)
    seed: int

    @classmethod
    def of(cls, data: Dataset, fields: Sequence[str], folds: Ints, seed: int) -> Corpus:
        """The documents of a data set."""
        return cls(
            documents=[Document(row.text) for row in data.rows],
            spans=[[spans_of(row, name) for name in fields] for row in data.rows],
            folds=folds,
            seed=seed,
        )

    @property
    def fields(self) -> int:
        """How many there are."""
        return len(self.spans[0])

    @cached_property
    def ends(self) -> Ints:  # (N + 1,)
        """Where each document's sentences begin among those of all."""
        return np.concatenate([[0], np.cumsum([len(each.sentences) for each in self.documents])]).astype(np.int64)

    @cached_property
    def owners(self) -> Ints:  # (S,)
        """The document of each sentence."""
        return np.repeat(np.arange(len(self.documents)), np.diff(self.ends))

    @cached_property
    def states(self) -> Bools:  # (S, F)
        """Whether each sentence states a field, or a part of what is stated."""
        found = np.zeros((int(self.ends[-1]), self.fields), dtype=bool)
        for number, document in enumerate(self.documents):
            starts = np.array([sentence.start for sentence in document.sentences])
            ends = np.array([sentence.end for sentence in document.sentences])
            for name, spans in enumerate(self.spans[number]):
                for span in spans:
                    found[self.ends[number] : self.ends[number + 1], name] |= (starts < span.end) & (ends > span.start)
        return found

    def of_document(self, scores: np.ndarray, number: int) -> np.ndarray:
        """The rows of one document's sentences."""
        return scores[self.ends[number] : self.ends[number + 1]]


def tag_words(places: Sequence[Place], spans: Sequence[Span]) -> Ints:  # (T,)
    """The tag of each word: 1 where a stated value begins, 2 where it goes on, 0 outside."""
    starts = np.array([place.start for place in places])
    ends = np.array([place.end for place in places])
    tags = np.zeros(len(places), dtype=np.int64)
    for span in spans:
        inside = np.flatnonzero((starts < span.end) & (ends > span.start))
        if len(inside) and not tags[inside].any():
            tags[inside] = 2
            tags[inside[0]] = 1
    return tags

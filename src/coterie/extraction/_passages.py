"""What an encoder reads of a long text: the sentences that are likely for any field, neighbours together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ._chain import TAGS
from ._document import Document, Place

_LONGEST = 1_000
"""Characters of a passage, unless one sentence has more."""
_SUREST = 10.0
"""Log-odds of a tag against `outside` are cut here: an encoder's are as sure as they are because they are many."""

Floats = np.ndarray


def passages(document: Document, rows: Sequence[int]) -> list[Place]:
    """Sentences of these numbers, in order, joined where they are neighbours and short enough."""
    found: list[Place] = []
    before = -1
    for row in rows:
        sentence = document.sentences[row]
        if found and row == before + 1 and sentence.end - found[-1].start <= _LONGEST:
            found[-1] = Place(found[-1].start, sentence.end)
        else:
            found.append(sentence)
        before = row
    return found


@dataclass(frozen=True)
class ReadTags:
    """What an encoder says of the tokens of a document's passages, in the text's order."""

    starts: np.ndarray  # (T,) the character at which each token begins
    odds: Floats  # (T, F, 2) log-odds of `begins` and `goes on` against `outside`

    @classmethod
    def of(cls, places: Sequence[Place], offsets: Sequence[np.ndarray], logits: Sequence[Floats], fields: int) -> Self:
        """From a tagger's outputs.

        Args:
            places: The passages.
            offsets: For each of them (T, 2), counted from its beginning.
            logits: For each of them (T, F * 3).
            fields: How many there are.
        """
        starts = [np.zeros(0), *(place.start + each[:, 0] for place, each in zip(places, offsets, strict=True))]
        scores = np.concatenate([np.zeros((0, fields * TAGS)), *logits]).reshape(-1, fields, TAGS)
        odds = scores[:, :, 1:] - scores[:, :, :1]
        return cls(np.concatenate(starts).astype(np.int64), np.clip(odds, -_SUREST, _SUREST))

    def of_words(self, words: Sequence[Place], field: int) -> Floats:  # (W, 2)
        """The log-odds of each word's first token, for one field."""
        if not len(self.starts):
            return np.full((len(words), TAGS - 1), -_SUREST)
        return np.asarray(self.odds[first_tokens(self.starts, words), field])


def first_tokens(starts: np.ndarray, words: Sequence[Place]) -> np.ndarray:  # (T,) -> (W,)
    """For each word the number of the token that it begins in."""
    found = np.searchsorted(starts, [word.start for word in words], side="right") - 1
    return np.asarray(np.maximum(found, 0))

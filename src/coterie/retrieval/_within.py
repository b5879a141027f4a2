"""Ranking the chunks of one document: few enough to be compared one by one, without an index.

Words weigh by their rarity in this document (BM25, Robertson and Zaragoza 2009), so nothing outside it counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

from ._fusion import fuse
from ._keyword import analyse, rarity

_SATURATION, _LENGTH = 1.2, 0.75  # tantivy's


class Worded(Protocol):
    """A chunk with its words, whichever shelf it is from."""

    @property
    def heading(self) -> str:
        """The headings it stands under."""
        ...

    @property
    def text(self) -> str:
        """What it says."""
        ...


W = TypeVar("W", bound=Worded)


def rank_within(rows: Sequence[W], query: str, vectors: np.ndarray, vector: np.ndarray | None) -> list[tuple[W, float]]:
    """Chunks by words and, where the query's encoding is known, by meaning; best first.

    Args:
        rows: The document's chunks.
        query: What is looked for.
        vectors: (N, D) the chunks' encodings.
        vector: (D,) the query's.
    """
    by_words = _keyword_scores(rows, query)
    rankings = [[row for row in _ranked(by_words) if by_words[row] > 0]]
    if vector is not None and rows:
        rankings.append(_ranked(vectors @ vector))
    fused = fuse(rankings)
    return [(rows[place], score) for place, score in fused.items()]


def _ranked(scores: np.ndarray) -> list[int]:
    return [int(row) for row in np.argsort(-scores, kind="stable")]


def _keyword_scores(rows: Sequence[Worded], query: str) -> np.ndarray:  # (N,)
    words = [Counter(analyse(f"{row.heading} {row.text}")) for row in rows]
    lengths = np.array([each.total() for each in words], dtype=float)
    norms = _SATURATION * (1 - _LENGTH + _LENGTH * lengths / max(float(lengths.mean()) if len(rows) else 1.0, 1.0))
    scores = np.zeros(len(rows))
    for term in dict.fromkeys(analyse(query)):
        times = np.array([each[term] for each in words], dtype=float)
        if found := int((times > 0).sum()):
            scores += rarity(found, len(rows)) * times * (1 + _SATURATION) / (times + norms)
    return scores

"""The nearest of many unit vectors: exact where there are few, by their signs first where there are many.

With many vectors the sign of each component (against the mean) is compared first, 64 at a time; the cosine is computed
for the nearest thousands only (Charikar 2002; "binary quantisation with rescoring"). Unlike a graph this is built in no
time, finds the same whatever the order of insertion, and keeps nothing of what was taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

EXACT = 8192
"""Up to so many vectors each is compared."""
_RESCORED = 1200
"""So many of the nearest by sign are compared exactly; five times as many as are asked for, if that is more."""


class Nearest(NamedTuple):
    """Rows of an index and their cosines, nearest first."""

    rows: np.ndarray  # (K,) int64
    cosines: np.ndarray  # (K,) float32


class VectorIndex:
    """Unit vectors, read from a file without loading it whole. Safe to use from several threads."""

    def __init__(self, vectors: np.ndarray) -> None:  # (N, D) float32
        """Index them. What is mapped from a file stays there: only what is compared is read."""
        self._vectors = vectors
        count, self._dimension = vectors.shape
        self._exact = count <= EXACT
        if self._exact:
            self._small = np.array(vectors, dtype=np.float32)
        else:
            self._mean = np.asarray(np.mean(vectors, axis=0, dtype=np.float32))  # (D,)
            self._signs = _signs(vectors, self._mean)  # (W, N) uint64

    @classmethod
    def open(cls, path: Path) -> VectorIndex:
        """The index of an `.npy` file."""
        return cls(np.load(path, mmap_mode="r", allow_pickle=False))

    def search(self, query: np.ndarray, limit: int) -> Nearest:  # query (D,)
        """The nearest by cosine, of equals the one with the lowest row."""
        if self._exact:
            return _best(np.arange(len(self._small)), self._small @ query, limit)
        rows = self._near(query, max(_RESCORED, 5 * limit))
        return _best(rows, self._vectors[rows] @ query, limit)

    def _near(self, query: np.ndarray, count: int) -> np.ndarray:  # (>= count,)
        """Rows whose signs are nearest to the query's; those at the last distance all come in."""
        own = _signs(query[None, :], self._mean)[:, 0]  # (W,)
        distances = np.zeros(self._signs.shape[1], dtype=np.uint16)
        for word, signs in zip(own, self._signs, strict=True):
            distances += np.bitwise_count(signs ^ word)
        within = np.bincount(distances).cumsum()
        return np.flatnonzero(distances <= np.searchsorted(within, min(count, len(distances))))


def _signs(vectors: np.ndarray, mean: np.ndarray, step: int = 8192) -> np.ndarray:  # (W, N) uint64
    """Which components are above the mean, 64 a word, words of one place side by side."""
    count, dimension = vectors.shape
    packed = np.zeros((count, -(-dimension // 64) * 8), dtype=np.uint8)
    for start in range(0, count, step):
        bits = np.packbits(vectors[start : start + step] > mean, axis=1)
        packed[start : start + step, : bits.shape[1]] = bits
    return np.ascontiguousarray(packed.view(np.uint64).T)


def _best(rows: np.ndarray, cosines: np.ndarray, limit: int) -> Nearest:
    if len(rows) > limit > 0:
        # Equal cosines at the edge: all of them are sorted, so that which stay does not depend on the partition.
        least = np.partition(cosines, len(cosines) - limit)[len(cosines) - limit]
        kept = np.flatnonzero(cosines >= least)
        rows, cosines = rows[kept], cosines[kept]
    order = np.argsort(-cosines, kind="stable")[:limit]  # rows come in their order, so equals stay in it
    return Nearest(rows[order], cosines[order])


# --- One ranking out of several, by rank alone.

Key = TypeVar("Key", int, tuple[int, int, int])

FUSION_K = 10
"""How little the first ranks stand out: chosen on SciFact's training claims, where 60, the method's own, finds less."""


def fuse(
    rankings: Sequence[Sequence[Key]], *, k: float = FUSION_K, weights: Sequence[float] | None = None
) -> dict[Key, float]:
    """Reciprocal rank fusion (Cormack, Clarke, Buettcher 2009): the sum of `weight / (k + rank)` over the rankings.

    Args:
        rankings: Keys, best first.
        k: How little the first ranks stand out.
        weights: What each ranking counts; all the same by default.

    Returns:
        Scores by key, best first; of equals the lowest key first. A score depends on nothing but the ranks.
    """
    scores: dict[Key, float] = {}
    for ranking, weight in zip(rankings, weights or [1.0] * len(rankings), strict=True):
        for rank, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0.0) + weight / (k + rank)
    ordered = sorted(
        sorted(scores), key=scores.__getitem__, reverse=True
    )  # stable: of equals the lowest key stays first
    return {key: scores[key] for key in ordered}

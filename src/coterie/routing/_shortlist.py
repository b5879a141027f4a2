"""Which specialists are worth comparing a text with, when there are very many.

Comparing with every example of a thousand specialists would take milliseconds and grow with each of them. A text is
first compared with a sketch of each specialist: its centroids along the axes in which all centroids differ most. Only
the nearest specialists are looked at closely.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._profile import Profile, products

MOST_COMPARED = 32
"""Specialists that a text is compared with closely; with 150 of them, 999 of 1,000 texts keep their best one."""
_MOST_JUDGED = 8
"""Specialists that a piece that a text might have is compared with, of very many."""
_ROWS_LOOKED_AT = 8
"""Of the pieces that a text might have, so many say which of very many specialists they may be for."""
_AXES = 96
"""Along so many axes the 32 nearest of 1,000 specialists hold the best one as often as along all 384."""


class Shortlist:
    """Finds the specialists that may be the best for a text, and says roughly how like each of them pieces are."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        centroids = [profile.centroids() for profile in profiles]
        counts = np.array([len(each) for each in centroids], dtype=np.int64)
        self._count = len(profiles)
        self._centroids = np.vstack(centroids) if centroids else np.empty((0, 0), dtype=np.float32)  # (C, D)
        self._known = np.flatnonzero(counts)
        """Those of which something is known."""
        self._ends = np.cumsum(counts)
        self._starts = self._ends - counts
        self._axes = _axes(self._centroids) if self._count > MOST_COMPARED else None  # (D, A)
        self._sketch = self._centroids @ self._axes if self._axes is not None else None  # (C, A)

    def nearest(self, vectors: np.ndarray) -> np.ndarray:  # (T, D) -> (S',)
        """Positions of the specialists to compare the texts with, ascending: those nearest to any of them."""
        if self._count <= MOST_COMPARED:
            return np.arange(self._count)
        return self._closest(vectors, MOST_COMPARED)

    def judge(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # (M, D) -> (M, S'), (S',)
        """Cosine of each vector to the nearest centroid of each specialist, and which these are: all, or those near."""
        which = self._known
        if self._count > MOST_COMPARED:
            which = self._closest(vectors[:: max(1, len(vectors) // _ROWS_LOOKED_AT)], _MOST_JUDGED)
        if not len(which):
            return np.empty((len(vectors), 0), dtype=np.float32), which
        if len(which) == len(self._known):
            centroids, starts = self._centroids, self._starts[which]
        else:
            lengths = self._ends[which] - self._starts[which]
            starts = np.cumsum(lengths) - lengths
            centroids = self._centroids[np.arange(lengths.sum()) + np.repeat(self._starts[which] - starts, lengths)]
        return np.asarray(np.maximum.reduceat(products(vectors, centroids), starts, axis=1)), which

    def _closest(self, vectors: np.ndarray, most: int) -> np.ndarray:  # (S',)
        """Those that are nearest to one of the vectors, by the sketch; ascending."""
        if self._axes is None or self._sketch is None or not len(self._known):
            return self._known
        likeness = np.maximum.reduceat(
            products(vectors @ self._axes, self._sketch), self._starts[self._known], axis=1
        )  # (T, S)
        most = min(most, likeness.shape[1])
        chosen = np.argpartition(-likeness, most - 1, axis=1)[:, :most]
        return np.asarray(self._known[np.unique(chosen)])


def _axes(centroids: np.ndarray) -> np.ndarray:  # (C, D) -> (D, A)
    """The axes along which there is most of the centroids."""
    _, axes = np.linalg.eigh(centroids.T @ centroids)
    return np.ascontiguousarray(axes[:, ::-1][:, :_AXES], dtype=np.float32)

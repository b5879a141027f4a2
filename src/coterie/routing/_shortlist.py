"""Which specialists are worth comparing a text with, when there are very many.

Comparing with every example of a thousand specialists would take milliseconds and grow with each of them. A text is
first compared with each specialist's centroids; only the nearest specialists are looked at closely.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._profile import Profile

MOST_COMPARED = 32
"""Specialists that a text is compared with closely; with 150 of them, 999 of 1,000 texts keep their best one."""
_ROWS_LOOKED_AT = 8
"""Of the pieces that a text might have, so many say which of very many specialists they may be for."""


class Shortlist:
    """Finds the specialists that may be the best for a text, and says roughly how like each of them pieces are."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        centroids = [profile.centroids() for profile in profiles]
        counts = [len(each) for each in centroids]
        self._count = len(profiles)
        self._centroids = np.vstack(centroids) if centroids else np.empty((0, 0), dtype=np.float32)  # (C, D)
        self._known = np.flatnonzero(counts)
        """Those of which something is known."""
        self._ends = np.cumsum(counts)
        self._starts = self._ends - counts

    def nearest(self, vectors: np.ndarray) -> list[int]:  # (T, D)
        """Positions of the specialists to compare the texts with, ascending: those nearest to any of them."""
        if self._count <= MOST_COMPARED:
            return list(range(self._count))
        return [int(position) for position in self._closest(vectors)]

    def judge(self, vectors: np.ndarray) -> np.ndarray:  # (M, D) -> (M, S)
        """Cosine of each vector to the nearest centroid of each specialist; of very many, of those that come near."""
        if self._count <= MOST_COMPARED:
            return self._likeness(vectors, self._known)
        looked_at = vectors[:: max(1, len(vectors) // _ROWS_LOOKED_AT)]
        return self._likeness(vectors, self._closest(looked_at))

    def _closest(self, vectors: np.ndarray) -> np.ndarray:  # (S',)
        likeness = self._likeness(vectors, self._known)  # (T, S)
        most = min(MOST_COMPARED, likeness.shape[1])
        chosen = np.argpartition(-likeness, most - 1, axis=1)[:, :most]
        return np.asarray(self._known[np.unique(chosen)])

    def _likeness(self, vectors: np.ndarray, which: np.ndarray) -> np.ndarray:  # (M, D), (S',) -> (M, S')
        if not len(which):
            return np.empty((len(vectors), 0), dtype=np.float32)
        if len(which) == len(self._known):
            centroids, starts = self._centroids, self._starts[which]
        else:
            lengths = self._ends[which] - self._starts[which]
            centroids = np.concatenate([self._centroids[self._starts[s] : self._ends[s]] for s in which])
            starts = np.cumsum(lengths) - lengths
        return np.asarray(np.maximum.reduceat(vectors @ centroids.T, starts, axis=1))

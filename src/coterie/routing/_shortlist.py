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


class Shortlist:
    """Finds the specialists that may be the best for a text."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        self._count = len(profiles)
        if self._count <= MOST_COMPARED:
            return
        centroids = [profile.centroids() for profile in profiles]
        self._centroids = np.vstack(centroids)  # (C, D)
        self._owners = np.repeat(np.arange(self._count), [len(each) for each in centroids])

    def nearest(self, vectors: np.ndarray) -> list[int]:  # (T, D)
        """Positions of the specialists to compare the texts with, ascending: those nearest to any of them."""
        if self._count <= MOST_COMPARED:
            return list(range(self._count))
        cosines = vectors @ self._centroids.T  # (T, C)
        best = np.full((self._count, len(vectors)), -1.0)
        np.maximum.at(best, self._owners, cosines.T)
        chosen = np.argpartition(-best, MOST_COMPARED - 1, axis=0)[:MOST_COMPARED]
        return sorted(set(chosen.ravel().tolist()))

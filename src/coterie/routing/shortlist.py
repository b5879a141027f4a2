"""Which specialists are worth comparing a text with, when there are very many.

Comparing with every example of a thousand specialists would take milliseconds and grow with each of them. A text is
first compared with a sketch of each specialist: its centroids along the axes in which all centroids differ most. Only
the nearest specialists are looked at closely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from coterie.routing.profile import NEIGHBOURS, Compared, Profile, products

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


# --- The examples of all specialists in one block, so that a text is compared with dozens of them in one go.

_LARGE = 512
"""Examples of a specialist that is compared by itself: beside small ones its row would be mostly padding."""
_NOTHING = -1.0
"""The cosine to what is not there."""


class Bank:
    """Compares texts with many profiles. `profiles` are the ones given, their vectors views of the block."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        counts = np.array([len(profile.vectors) for profile in profiles], dtype=np.int64)
        ends = np.cumsum(counts)
        known = [profile.vectors for profile in profiles if len(profile.vectors)]
        block = np.vstack(known) if known else np.empty((0, 0), dtype=np.float32)  # (N, D)
        self.profiles = tuple(
            replace(profile, vectors=block[end - count : end]) if count else profile
            for profile, count, end in zip(profiles, counts, ends, strict=True)
        )
        self.cold = np.array([profile.cold for profile in profiles], dtype=bool)  # (S,)
        self._counts = counts
        self._starts = ends - counts
        self._block = block
        crowding = [profile.crowding for profile in profiles if len(profile.vectors)]
        self._crowding = np.concatenate(crowding).astype(np.float32) if crowding else np.empty(0)  # (N,)

    def compare(self, vectors: np.ndarray, which: np.ndarray) -> Compared:  # (T, D), (S',) -> each (T, S')
        """How like each of these specialists each text is, as `Profile.compare` says it of one."""
        shape = len(vectors), len(which)
        together = Compared(np.empty(shape), np.empty(shape, dtype=np.int64), np.empty(shape))
        columns = np.arange(len(which))
        large = self._counts[which] > _LARGE
        for column in columns[large]:
            for whole, part in zip(together, self.profiles[which[column]].compare(vectors), strict=True):
                whole[:, column] = part
        small = columns[~large]
        if len(small):
            for whole, part in zip(together, self._padded(vectors, which[small]), strict=True):
                whole[:, small] = part
        return together

    def _padded(self, vectors: np.ndarray, which: np.ndarray) -> Compared:  # (T, D), (S',) -> each (T, S')
        """The same for small ones: a row of cosines each, filled up with nothing."""
        counts = self._counts[which]
        places = np.arange(max(NEIGHBOURS, int(counts.max())))
        there = places < counts[:, None]  # (S', W)
        found = (self._starts[which, None] + places)[there]  # (K,)
        known, crowding = self._block[found], self._crowding[found]
        cosines = np.full((len(vectors), *there.shape), _NOTHING, dtype=np.float32)
        for row, vector in enumerate(vectors if len(known) else ()):
            cosines[row][there] = known @ vector
        nearest = cosines.argmax(axis=2)
        closest = np.take_along_axis(cosines, nearest[..., None], axis=2)[..., 0]
        if crowding.any():  # none is, where all are cold
            lowered = np.zeros(there.shape, dtype=np.float32)
            lowered[there] = crowding
            cosines -= lowered
        mean = np.partition(cosines, -NEIGHBOURS, axis=2)[..., -NEIGHBOURS:].mean(axis=2)
        # Who has too few examples to be typical of is judged by the nearest one; all others have enough of them.
        return Compared(np.where(self.cold[which], closest, mean), np.where(counts > 0, nearest, -1), closest)

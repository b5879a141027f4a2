"""The examples of all specialists in one block, so that a text is compared with dozens of them in one go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ._profile import NEIGHBOURS, Compared, Profile

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

"""What tells the specialists apart: directions in which their examples differ most from those of the others.

The nearest examples say how like a specialist a text is; where two have like examples, they say little about which
of the two it is for. A linear discriminant (Fisher 1936; regularised, Friedman 1989) looks at nothing but that. It is a
closed form of means and second moments, so it is there in a fraction of a second whenever the specialists change, and
every specialist weighs the same, however many examples it has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._profile import Profile

_SHRINKAGE = 7e-4
"""Share of the total moment that is added in every direction. This and `WEIGHT` were chosen on the half `dev` of
`benchmarks/compound`: of nine specialists the best is the right one in .9787 of texts without, in .9880 with it."""
WEIGHT = 0.3
"""What the discriminant counts beside the similarity."""
_MOST_ROWS = 20_000
"""Examples that are looked at, of all specialists together."""
_FEWEST_ROWS = 20
"""Examples of each that are looked at nevertheless."""


class Discriminant:
    """Tells specialists apart."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        known = [profile.vectors for profile in profiles if len(profile.vectors)]
        self._weights = None
        if len(known) < 2:
            return
        most = max(_FEWEST_ROWS, _MOST_ROWS // len(known))
        dimension = known[0].shape[1]
        means = np.zeros((len(profiles), dimension), dtype=np.float32)
        moment = np.zeros((dimension, dimension), dtype=np.float32)
        for row, profile in enumerate(profiles):
            vectors = profile.vectors
            if not len(vectors):
                continue
            means[row] = vectors.mean(axis=0)
            looked_at = vectors[:: -(-len(vectors) // most)]
            moment += looked_at.T @ looked_at / len(looked_at)
        moment[np.diag_indices(dimension)] += _SHRINKAGE * len(known)
        self._weights = np.ascontiguousarray(np.linalg.solve(moment, means.T).T)  # (S, D)

    def scores(self, vectors: np.ndarray, which: Sequence[int] | np.ndarray) -> np.ndarray:  # (T, D) -> (T, S')
        """How much each text is like these specialists and unlike the others, about 0 to 1."""
        if self._weights is None:
            return np.zeros((len(vectors), len(which)))
        return np.asarray(vectors @ self._weights[np.asarray(which)].T)

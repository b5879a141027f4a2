"""Whether a text is anybody's at all: a conformal p-value, by the specialist's own examples and all others'.

How like a specialist a text must be to be one of its own, its examples say: each is as like the others as it would be
if it were a text (Bates et al. 2023, "Testing for outliers with conformal p-values"). Thirty examples say that only
roughly, and likeness is measured by what lies around each example, so it means about the same for everybody: the
examples of all specialists together, each specialist weighing the same, stand in for those that one has not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ._profile import COLD_SIMILARITY, NEAR_COPY, Profile

_SHARED = 3000.0
"""Examples of a specialist from which on its own say more than everybody's. Between 50 and 400 it is a matter of taste:
with more, fewer texts of nobody pass, and a specialist unlike the others loses more of its own (docs/log.md)."""
_MOST_ROWS = 8_000
"""Examples whose typicality is looked at, of all specialists together."""
_FEWEST_ROWS = 4
"""Of each specialist nevertheless."""
CLEAR = 1.5
"""Standing from which a text is clearly somebody's. A near copy of an example has it, and what is like a specialist
with too few examples to know more."""


class Typicality(NamedTuple):
    """How typical texts are of specialists; each (T, S')."""

    p_value: np.ndarray
    """Share of the examples that are less like their specialist, its own counting most."""
    standing: np.ndarray
    """The same in units of what a request needs: from 1 on it is in scope."""


class Scope:
    """Says how typical texts are of specialists."""

    def __init__(self, profiles: Sequence[Profile], *, false_rejection: float) -> None:
        self._profiles = profiles
        self._false_rejection = false_rejection
        self._cold = np.array([profile.cold for profile in profiles], dtype=bool)  # (S,)
        warm = [profile.typical for profile in profiles if not profile.cold]
        most = max(_FEWEST_ROWS, _MOST_ROWS // max(1, len(warm)))
        kept = [_spread(typical, most) for typical in warm]
        together = np.concatenate(kept) if kept else np.empty(0)
        weights = np.concatenate([np.full(len(each), 1 / len(each) / len(kept)) for each in kept]) if kept else together
        order = np.argsort(together)
        self._typical = together[order]  # (N,)
        self._share = np.minimum(np.concatenate([[0.0], np.cumsum(weights[order])]), 1.0)  # (N + 1,)

    def typicality(self, which: np.ndarray, similarity: np.ndarray, closest: np.ndarray) -> Typicality:
        """How typical texts are of some specialists.

        Args:
            which: (S',) their positions among the profiles.
            similarity: (T, S') each text's to each of them.
            closest: (T, S') cosine to the nearest example.
        """
        share = self._false_rejection
        everybody = self._share[np.searchsorted(self._typical, similarity, side="right")]
        columns = [self._own(position, similarity[:, column]) for column, position in enumerate(which)]
        counts = np.array([len(self._profiles[position].typical) for position in which])
        p_value = (counts * np.stack(columns, axis=1) + _SHARED * everybody) / (counts + _SHARED)
        p_value = np.where(closest >= NEAR_COPY, np.maximum(p_value, CLEAR * share), p_value)
        cold = self._cold[which]
        inside = cold & (similarity >= COLD_SIMILARITY)
        p_value = np.where(cold, np.where(inside, np.clip(similarity, share, 1.0), 0.0), p_value)
        return Typicality(p_value, np.where(inside, np.maximum(p_value / share, CLEAR), p_value / share))

    def _own(self, position: int, similarity: np.ndarray) -> np.ndarray:  # (T,) -> (T,)
        """The share of a specialist's own examples that are less like it."""
        typical = self._profiles[position].typical
        return np.searchsorted(typical, similarity, side="right") / max(1, len(typical))


def _spread(values: np.ndarray, most: int) -> np.ndarray:  # (N,), ascending -> (at most M,)
    """Some of them, evenly."""
    return values[np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).astype(np.int64))]

"""Whether a text is anybody's at all: how typical it is of a specialist, and of what the whole network knows.

A specialist's own spread says whether a text is one of its own: a conformal p-value. Where its examples are of many
kinds, that is nearly anything; where they are much alike, it is hardly anything. So a text is also measured by the
examples of all specialists together: how many of them are less like their own specialist than the text is like this
one. What is hardly typical of its own must be clearly typical there, and the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ._discriminant import WEIGHT, Discriminant
from ._profile import COLD_SIMILARITY, SURE_SIMILARITY, Profile, nearest_mean

_PIECE = 1 / 6
"""Of the typicality that a request needs, what a piece needs that says more than the whole does: that it was cut out of
one is a reason to believe in it, and with two pieces one of them would be untypical twice as often."""
_POOLED = 0.5
"""Of `false_rejection`, the share of all examples that must be less typical than a text."""
_MOST_LOST = 2.0
"""Times `false_rejection` that a specialist may lose of its own texts for not being typical of all."""
_WELL_POOLED = 3.0
"""Times `false_rejection`, the share of all examples from which on a text may be as untypical of its specialist's own
as a piece. With these three, texts of nobody that somebody is asked about fell from .21 to .09 on the half `dev` of
`benchmarks/compound` (a hundred), and .971 instead of .972 of the others are asked about."""
_BESIDE = (0.8, 4.0, 1.5)
"""Times `false_rejection`, what adds a specialist to another: so typical of all in scope, so typical of its own, or so
typical of all out of it. Chosen on that half and on the half of the texts of `benchmarks/injection` that is for it."""
_JOINED = 2 / 3
"""The same of a piece before or behind words that say that something else is asked, however typical of its own."""
_ALONE = 2.0
"""Times `false_rejection`, how typical of all a piece must be that is asked about although the whole is nobody's."""
_FEWEST_POOLED = 200
"""Examples of a specialist below which the network's measure says nothing of it: what tells the specialists apart has
learned so few by heart, and they score more for it than any other text can. Its own examples decide alone."""
_MOST_ROWS = 4_000
"""Examples whose scores are looked at, of all specialists together."""
_FEWEST_ROWS = 4
"""Of each specialist nevertheless."""


class Typicality(NamedTuple):
    """How typical texts are of specialists; each (T, S')."""

    p_value: np.ndarray
    """Share of the specialist's own examples that are less typical of it."""
    pooled: np.ndarray
    """Share of all specialists' examples that score less for their own."""
    in_scope: np.ndarray
    plausible: np.ndarray
    """A piece of a request may be for the specialist."""
    adds: np.ndarray
    """A piece may add the specialist to those that other pieces are for."""
    joins: np.ndarray
    """The same where words say that something else is asked."""
    alone: np.ndarray
    """A piece may be all that is asked of a text that is nobody's."""


class Scope:
    """Says how typical texts are of specialists."""

    def __init__(self, profiles: Sequence[Profile], discriminant: Discriminant, *, false_rejection: float) -> None:
        self._profiles = profiles
        self._false_rejection = false_rejection
        self._cold = np.array([profile.cold for profile in profiles], dtype=bool)  # (S,)
        self._few = np.array([len(profile.typical) < _FEWEST_POOLED for profile in profiles], dtype=bool)  # (S,)
        many = np.flatnonzero(~self._few).tolist()
        most = max(_FEWEST_ROWS, _MOST_ROWS // max(1, len(many)))
        found = [_own_scores(profiles[position], discriminant, position, most) for position in many]
        self._scores = np.sort(np.concatenate(found)) if found else np.empty(0)  # (N,)

    def typicality(self, which: np.ndarray, similarity: np.ndarray, scores: np.ndarray) -> Typicality:
        """How typical texts are of some specialists.

        Args:
            which: (S',) their positions among the profiles.
            similarity: (T, S') each text's to each of them.
            scores: (T, S') the similarity, and what tells the specialists apart.
        """
        share = self._false_rejection
        own = np.stack([self._own(position, similarity[:, column]) for column, position in enumerate(which)], axis=1)
        pooled = np.searchsorted(self._scores, scores, side="right") / max(1, len(self._scores))
        pooled = np.where(self._few[which], own, pooled)
        sure = similarity >= SURE_SIMILARITY
        own = np.where(sure, np.maximum(own, share), own)
        plausible = own >= _PIECE * share
        inside = sure | ((own >= share) & ((pooled >= _POOLED * share) | (own >= _MOST_LOST * share)))
        inside |= plausible & (pooled >= _WELL_POOLED * share)
        pooled_in, typical, pooled_out = (times * share for times in _BESIDE)
        adds = sure | (inside & ((pooled >= pooled_in) | (own >= typical))) | (plausible & (pooled >= pooled_out))
        joins = adds | (plausible & (pooled >= _JOINED * share))
        found = Typicality(own, pooled, inside, plausible, adds, joins, inside & (pooled >= _ALONE * share))
        return self._with_cold(found, self._cold[which], similarity) if self._cold[which].any() else found

    def _own(self, position: int, similarity: np.ndarray) -> np.ndarray:  # (T,) -> (T,)
        """The share of a specialist's own examples that are less typical of it."""
        typical = self._profiles[position].typical
        return np.searchsorted(typical, similarity, side="right") / max(1, len(typical))

    def _with_cold(self, found: Typicality, cold: np.ndarray, similarity: np.ndarray) -> Typicality:  # cold (S',)
        """The same where some have too few examples to know: those are in scope from a fixed similarity on."""
        inside = similarity >= COLD_SIMILARITY
        p_value = np.where(inside, np.clip(similarity, self._false_rejection, 1.0), 0.0)
        instead = (p_value, inside.astype(np.float64), *[inside] * 5)
        return Typicality(*(np.where(cold, one, other) for one, other in zip(instead, found, strict=True)))


def _own_scores(profile: Profile, discriminant: Discriminant, position: int, most: int) -> np.ndarray:  # (at most M,)
    """What some examples of a specialist score for it, each as if it were not one of them."""
    rows = np.unique(np.linspace(0, len(profile.typical) - 1, min(most, len(profile.typical))).astype(np.int64))
    vectors = profile.vectors[rows]
    cosines = vectors @ profile.vectors.T
    cosines[np.arange(len(rows)), rows] = -1.0
    likeness = nearest_mean(cosines)
    # Examples of one document are like each other; what is typical was worked out without that. The order stays.
    likeness[np.argsort(likeness)] = np.quantile(profile.typical, np.linspace(0, 1, len(rows)))
    return np.asarray(likeness + WEIGHT * discriminant.scores(vectors, [position])[:, 0])

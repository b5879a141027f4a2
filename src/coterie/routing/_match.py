"""How texts fit specialists, and when a request comes apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ._profile import Profile


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """How one text fits one specialist."""

    similarity: float
    """Mean cosine to its nearest examples."""
    p_value: float
    """Share of the specialist's examples that are less typical of it, 0 to 1."""
    in_scope: bool
    profile: Profile
    vector: np.ndarray  # (D,)

    @property
    def words(self) -> str:
        """How well it fits, for reasons."""
        if self.profile.cold:
            return f"similarity {self.similarity:.2f}"
        return f"more typical than {self.p_value:.0%} of its own examples"

    @property
    def nearest(self) -> str:
        """The label or hint of the nearest example."""
        return self.profile.nearest(self.vector)

    @property
    def closest(self) -> float:
        """Cosine to the nearest example or hint."""
        return float((self.profile.vectors @ self.vector).max(initial=-1.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class Match:
    """How one text fits every specialist that it was compared with."""

    text: str
    vector: np.ndarray  # (D,)
    fits: Mapping[str, Fit]
    truncated: bool = False
    """`vector` is of the text's beginning only."""
    small_talk: str | None = None
    """The greeting or the like that it is."""

    @cached_property
    def _ranked(self) -> tuple[str, ...]:
        """Specialists, those in scope first, the most similar first."""
        return tuple(sorted(self.fits, key=self._rank, reverse=True))

    def _rank(self, name: str) -> tuple[bool, float]:
        return self.fits[name].in_scope, self.fits[name].similarity

    @property
    def name(self) -> str:
        """The specialist it fits best."""
        return self._ranked[0]

    @property
    def best(self) -> Fit:
        """How it fits that one."""
        return self.fits[self.name]

    @property
    def in_scope(self) -> bool:
        """Whether it fits anybody."""
        return self.small_talk is None and self.best.in_scope

    @property
    def second(self) -> str | None:
        """The specialist it fits second best."""
        return self._ranked[1] if len(self._ranked) > 1 else None


def choose(matches: Sequence[Match]) -> list[Match]:
    """The matches to ask about: the whole request, or its pieces when they belong to different specialists.

    Args:
        matches: The whole request's match first, then those of its pieces in order, if it has several.
    """
    whole, pieces = matches[0], [match for match in matches[1:] if match.in_scope]
    if len({match.name for match in pieces}) < 2:
        return [whole]
    if any(match.best.similarity <= whole.fits[match.name].similarity for match in pieces):
        return [whole]  # a piece that says less alone than in its place is no request of its own
    return pieces

"""Sensitivity: the one order that governance, context and engines share. Its face is `coterie.types`."""

from __future__ import annotations

from enum import StrEnum


class Label(StrEnum):
    """How sensitive something is. Ordered: `public < internal < confidential < restricted`."""

    PUBLIC = "public"
    """Anyone may see it."""
    INTERNAL = "internal"
    """Anyone inside the organisation may see it."""
    CONFIDENTIAL = "confidential"
    """Named people and machines may see it; personal data belongs here or above."""
    RESTRICTED = "restricted"
    """Never leaves this process in clear: secrets, health, credentials."""

    @property
    def rank(self) -> int:
        """Position in the order, 0 for `public`."""
        return _LABEL_RANKS[self.value]

    def __lt__(self, other: str) -> bool:
        return self.rank < Label(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Label(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Label(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Label(other).rank


_LABEL_RANKS = {"public": 0, "internal": 1, "confidential": 2, "restricted": 3}

"""Sensitivity labels and their order, shared by governance, context and engines."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


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

    _rank: int

    @property
    def rank(self) -> int:
        """Position in the order, 0 for `public`."""
        return self._rank

    def __lt__(self, other: str) -> bool:
        return self._rank < _rank_of(other)

    def __le__(self, other: str) -> bool:
        return self._rank <= _rank_of(other)

    def __gt__(self, other: str) -> bool:
        return self._rank > _rank_of(other)

    def __ge__(self, other: str) -> bool:
        return self._rank >= _rank_of(other)


def _rank_of(label: str) -> int:
    return (label if isinstance(label, Label) else Label(label)).rank


for _position, _label in enumerate(Label):
    _label._rank = _position  # noqa: SLF001 - looked up for every entry of a session: no dictionary, no property


class Labelled(Protocol):
    """What carries a label, and may know what it would be without the personal data in it."""

    @property
    def label(self) -> Label | None:
        """Sensitivity; None where nothing is said."""
        ...

    @property
    def impersonal(self) -> Label | None:
        """Sensitivity without the personal data; None for the same."""
        ...


def impersonal(*things: Labelled) -> Label:
    """The highest label of some things, each without the personal data in it; one without any label is `restricted`.

    What does not say takes its label: to know nothing lowers nothing.
    """
    return max(each.impersonal or each.label or Label.RESTRICTED for each in things)


@dataclass(frozen=True, kw_only=True)
class Release:
    """An order to lower the label of what somebody asks; written into trace and audit log with its reason."""

    to: Label
    because: str
    """Why, in the words of who orders it, who is named beside it. No content: it is kept for ever."""

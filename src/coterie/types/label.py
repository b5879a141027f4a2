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
        """The position in the order, from 0 for `public`."""
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
    """A value with a label, and perhaps the label without the personal data in it."""

    @property
    def label(self) -> Label | None:
        """Sensitivity; None if it is not known."""
        ...

    @property
    def label_without_pii(self) -> Label | None:
        """Sensitivity without the personal data; None if it is the same."""
        ...


def label_without_pii(*things: Labelled) -> Label:
    """Return the highest label of several values, each without its personal data.

    A value that does not know this label counts with its own label, and a value without a label as `restricted`.
    """
    return max(thing.label_without_pii or thing.label or Label.RESTRICTED for thing in things)


@dataclass(frozen=True, kw_only=True)
class Release:
    """An order to lower the label of a request. Trace and audit log record it with its reason."""

    to: Label
    because: str
    """Reason in the words of the principal, who is recorded too. It must not hold content: it is kept for ever."""

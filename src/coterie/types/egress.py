"""What leaves this machine: one record a prompt, from before its first byte to what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from coterie.types.label import Label

NOT_SENT = "not_sent"
"""Outcome of an egress that was announced, and of which nothing left."""


@dataclass(frozen=True, kw_only=True)
class Egress:
    """One prompt that leaves this machine, and what came of it. The egress gate makes it before the first byte."""

    id: str
    engine: str
    label: Label
    """Of what leaves: with pseudonyms, that without the personal data they stand for."""
    rule: str
    """Of the verdict that let it out."""
    pseudonymised: bool
    characters: int
    digest: str = ""
    """Keyed hash of the text; empty without an audit log."""
    outcome: str = NOT_SENT
    """`answered`, `cancelled`, `not_sent`, or the code of the error that ended the call."""
    text: str = ""
    """What left. It is content: stored only if content is kept, and shown on request only."""

    @property
    def sent(self) -> bool:
        """Whether it may have left."""
        return self.outcome != NOT_SENT

"""What leaves this machine: one record a prompt, from before its first byte to what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from coterie.types.label import Label

NOT_SENT = "not_sent"
"""Outcome of an egress that was announced, and of which nothing left."""
EGRESS_IN_STREAM = "in-stream"
"""What the head of a stream says in place of what is not known yet: the summary, or a relayed answer's outcome."""


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


def summarise_egress(egress: Iterable[Egress]) -> str:
    """What left this machine, in the same words at every door; `none` for nothing.

    For example `large;label=internal;pseudonymised=yes;outcome=answered;prompts=2`, more of them behind a comma.
    """
    left = Counter((e.engine, e.label.value, e.pseudonymised, e.outcome) for e in egress if e.sent)
    described = (
        f"{engine};label={label};pseudonymised={'yes' if hidden else 'no'};outcome={outcome};prompts={many}"
        for (engine, label, hidden, outcome), many in left.items()
    )
    return ", ".join(described) or "none"


def note_egress(error: BaseException, egress: Mapping[str, Egress] | None) -> None:
    """Note on an error what had left when it was raised, for whoever tells the caller of it."""
    error.__dict__["egress"] = summarise_egress((egress or {}).values())


def noted_egress(error: BaseException) -> str:
    """What had left when an error was raised; `none` for one that was raised before anything was asked."""
    return str(error.__dict__.get("egress", "none"))

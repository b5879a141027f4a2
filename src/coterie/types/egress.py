"""What leaves this machine: one record per prompt, made before its first byte and completed with its outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from coterie.types.label import Label

NOT_SENT = "not_sent"
"""Outcome of an egress that was announced, but of which no byte left."""
EGRESS_IN_STREAM = "in-stream"
"""Placeholder in the head of a stream for a value that is not known yet.

It stands for the summary, or for a relayed answer's outcome.
"""


@dataclass(frozen=True, kw_only=True)
class Egress:
    """One prompt that leaves this machine, and its outcome. The egress gate makes it before the first byte."""

    id: str
    engine: str
    label: Label
    """Label of the text that leaves: with pseudonyms, the label without the personal data they replace."""
    rule: str
    """Rule of the verdict that allowed it."""
    pseudonymised: bool
    characters: int
    digest: str = ""
    """Keyed hash of the text; empty without an audit log."""
    outcome: str = NOT_SENT
    """`answered`, `cancelled`, `not_sent`, or the code of the error that ended the call."""
    text: str = ""
    """The text that left. It is content: stored only if content is kept, and shown on request only."""

    @property
    def sent(self) -> bool:
        """Whether any of it may have left."""
        return self.outcome != NOT_SENT


def summarise_egress(egress: Iterable[Egress]) -> str:
    """Return a summary of what left this machine, the same in every interface; `none` for nothing.

    For example `large;label=internal;pseudonymised=yes;outcome=answered;prompts=2`; several are separated by commas.
    """
    left = Counter((e.engine, e.label.value, e.pseudonymised, e.outcome) for e in egress if e.sent)
    described = (
        f"{engine};label={label};pseudonymised={'yes' if hidden else 'no'};outcome={outcome};prompts={many}"
        for (engine, label, hidden, outcome), many in left.items()
    )
    return ", ".join(described) or "none"


def note_egress(error: BaseException, egress: Mapping[str, Egress] | None, *, trace: str = "") -> None:
    """Note on an error what had left when it was raised, for the code that reports it to the caller.

    Args:
        error: The error.
        egress: What had left, by id.
        trace: Id of the request's trace; empty if none is kept.
    """
    error.__dict__ |= {"egress": summarise_egress((egress or {}).values()), "trace": trace}


def noted_trace(error: BaseException) -> str:
    """Return the id of the trace of a request that ended with an error; empty if none is kept."""
    return str(error.__dict__.get("trace", ""))


def noted_egress(error: BaseException) -> str:
    """Return what had left when an error was raised; `none` if it was raised before any prompt was sent."""
    return str(error.__dict__.get("egress", "none"))

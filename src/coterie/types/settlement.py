"""Settlement of a request, feedback, audit events, and summaries of sessions and requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from coterie.types.label import Label

if TYPE_CHECKING:
    from coterie.types.context import Entry, Scalar
    from coterie.types.trace import Trace


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """Everything that one request writes to the store, in one transaction."""

    trace: Trace
    entries: Sequence[Entry] = ()
    """New entries of the session's context; empty without a session."""
    texts: Sequence[str] = ()
    """Texts of the request: a store that keeps no content repeats none of them."""


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """A caller's judgement of an answer: a thumb, the right value, a comment."""

    trace_id: str
    time: float
    """Seconds since the epoch."""
    tenant: str = "default"
    key: str = ""
    """Id of the API key of the caller; empty without one."""
    specialist: str = ""
    """Specialist whose finding is judged; empty for the whole answer."""
    thumb: Literal["up", "down"] | None = None
    value: Scalar | tuple[str, ...] = None
    """The right value; None if it is not given."""
    comment: str = ""

    def names(self, value: Scalar | tuple[str, ...]) -> bool:
        """Return whether a finding's value is the right value.

        One label equals a list of that label, and labels have no order.
        """
        return _as_set(value) == _as_set(self.value)


def _as_set(value: Scalar | tuple[str, ...]) -> frozenset[Scalar]:
    return frozenset(value) if isinstance(value, tuple) else frozenset([value])


@dataclass(frozen=True, kw_only=True)
class AuditEvent:
    """An action or decision for the audit log. It holds hashes of content, never content."""

    kind: str
    """Name of the action, such as `request`, `promote` or `erase`."""
    time: float
    """Seconds since the epoch."""
    tenant: str = ""
    """Tenant that the event belongs to; empty for none."""
    about: Mapping[str, object] = field(default_factory=dict)
    """Details, as values of JSON."""


@dataclass(frozen=True, kw_only=True)
class SessionSummary:
    """A remembered conversation without its content."""

    id: str
    tenant: str
    began: float
    """Time of the oldest entry, in seconds since the epoch; `used` without entries."""
    used: float
    """Time of the last request."""
    turns: int
    """Number of messages of the user."""
    entries: int
    label: Label
    """Highest label of its entries."""


@dataclass(frozen=True, kw_only=True)
class LedgerSummary:
    """Totals of settled requests."""

    requests: int
    accepted: int
    abstained: int
    escalated: int
    p50_ms: float | None
    p95_ms: float | None
    joules: float
    joules_kind: Literal["measured", "estimated"]
    cost: Decimal | None
    counterfactual_cost: Decimal | None

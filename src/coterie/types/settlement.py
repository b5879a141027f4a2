"""What one request leaves behind, who pays, and what the audit log is told."""

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
    """Everything one request leaves behind, stored in one transaction."""

    trace: Trace
    entries: Sequence[Entry] = ()
    """New lines of the session's context; empty when the request names no session."""


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """What somebody says of an answer: a thumb, the value that would have been right, a comment."""

    trace_id: str
    time: float
    """Seconds since the epoch."""
    tenant: str = "default"
    key: str = ""
    """Id of the key that it came with; empty without one."""
    specialist: str = ""
    """Whose finding is meant; empty for the whole answer."""
    thumb: Literal["up", "down"] | None = None
    value: Scalar | tuple[str, ...] = None
    """What would have been right; None where nothing is said of that."""
    comment: str = ""

    def names(self, found: Scalar | tuple[str, ...]) -> bool:
        """Whether a value that was found is the one that would have been right.

        One label is the same as a list of it alone, and labels have no order.
        """
        return _as_set(found) == _as_set(self.value)


def _as_set(value: Scalar | tuple[str, ...]) -> frozenset[Scalar]:
    return frozenset(value) if isinstance(value, tuple) else frozenset([value])


@dataclass(frozen=True, kw_only=True)
class AuditEvent:
    """Something that was done or decided, for the audit log: never what was said, only hashes of it."""

    kind: str
    """What was done, such as `request`, `promote` or `erase`."""
    time: float
    """Seconds since the epoch."""
    tenant: str = ""
    """Whose it is; empty where it is nobody's."""
    about: Mapping[str, object] = field(default_factory=dict)
    """What is to be known of it, as JSON would write it."""


@dataclass(frozen=True, kw_only=True)
class SessionSummary:
    """A remembered conversation, without what was said in it."""

    id: str
    tenant: str
    began: float
    """Time of its oldest entry, seconds since the epoch; `used` where it has none."""
    used: float
    """When it was asked in last."""
    turns: int
    """Messages of the asker."""
    entries: int
    label: Label
    """Of its most sensitive entry."""


@dataclass(frozen=True, kw_only=True)
class LedgerSummary:
    """Totals over settled requests."""

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

"""What one request writes to a store, and what pages and reports read from it: summaries, pages of requests, totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

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


Grouping = Literal["hour", "day", "tenant", "specialist", "model"]
"""Key by which the ledger is totalled. A request counts for each of its specialists and models."""


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """Totals of one hour, day, tenant, specialist or model. Unknown costs are counted separately and never as 0."""

    key: str
    """The day (UTC, `2026-11-25`), or the name; `network` is the overhead of the network."""
    requests: int = 0
    accepted: int = 0
    """Requests answered without the generalist; for a specialist, accepted findings."""
    abstained: int = 0
    escalated: int = 0
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    cpu_seconds: float = 0.0
    joules: float = 0.0
    joules_low: float = 0.0
    joules_high: float = 0.0
    joules_measured: float = 0.0
    """The measured part of `joules`."""
    cost: Decimal = Decimal(0)
    """Sum of the known costs."""
    unpriced: int = 0
    """Number of requests (for a specialist or model: steps) with unknown cost."""
    counterfactual_cost: Decimal = Decimal(0)
    """Cost of the generalist for the `compared` requests; 0 by specialist and model."""
    compared_cost: Decimal | None = Decimal(0)
    """Actual cost of the `compared` requests; None if one is unknown."""
    compared: int = 0
    """Number of requests with a known counterfactual."""
    judged: int = 0
    """Number of requests with feedback on whether the answer is right."""
    correct: int = 0
    judged_joules: float = 0.0
    judged_cost: Decimal | None = Decimal(0)
    """Cost of the judged requests; None if one is unknown."""
    p50_ms: float | None = None
    p95_ms: float | None = None

    @property
    def answered(self) -> int:
        """Number of requests that got an answer."""
        return self.accepted + self.escalated


@dataclass(frozen=True, kw_only=True)
class SiteSummary:
    """One typed question over all calls that asked it. Cost and energy are equal shares of those calls'."""

    site: str
    """Fingerprint of the question."""
    name: str = ""
    """Name given by the last caller."""
    kind: str = ""
    """`choice`, `predicate` or `score`; empty if the last trace is erased."""
    options: tuple[str, ...] = ()
    instructions: str = ""
    """The question in words, or its length where content is not kept."""
    asked: int = 0
    accepted: int = 0
    zero_shot: int = 0
    answered_by: Mapping[str, int] = field(default_factory=dict)
    """Number of answers by specialist, `[models]` key or `encoder`."""
    joules: float = 0.0
    cost: Decimal = Decimal(0)
    """Sum of the known costs."""
    unpriced: int = 0
    """Number of answers of unknown cost."""
    last: float = 0.0
    """Time of the last call, in seconds since the epoch."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """Time, energy and cost of one training of a specialist."""

    specialist: str
    version: str
    time: float
    """Time of its end, in seconds since the epoch."""
    seconds: float
    cpu_seconds: float
    joules: float
    joules_kind: Literal["measured", "estimated"] = "estimated"
    cost: Decimal | None = None
    """Cost; None if it is unknown."""


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The ledger of a store, totalled."""

    total: LedgerRow
    rows: tuple[LedgerRow, ...]
    """A row for each key, in order; hours and days without a request are left out."""
    trainings: tuple[Training, ...] = ()
    """All recorded trainings, oldest first."""
    began: float | None = None
    """Admission time of the first request, in seconds since the epoch; None without requests."""


@dataclass(frozen=True, kw_only=True)
class RequestFilter:
    """Which requests of a tenant a page lists, the newest first."""

    tenant: str
    status: str = ""
    """`accepted`, `abstained` or `escalated`; empty for all."""
    specialist: str = ""
    """Only requests for which this specialist has a finding."""
    session: str = ""
    label: str = ""
    judged: str = ""
    """`right`, `wrong`: only requests with such feedback; empty for all."""
    after: tuple[float, str] | None = None
    """Time and id of the last request of the page before; None for the first page."""
    limit: int = 50


@dataclass(frozen=True, kw_only=True)
class RequestLine:
    """One request in a list: figures and names, no content."""

    id: str
    time: float
    session: str | None
    label: str
    status: str
    milliseconds: float
    joules: float
    joules_kind: str
    cost: Decimal | None
    counterfactual_cost: Decimal | None
    findings: tuple[tuple[str, bool, float], ...] = ()
    """Specialist, whether its finding was accepted, and its confidence."""
    correct: bool | None = None
    """Whether feedback says that it was right; None without feedback."""


@dataclass(frozen=True, kw_only=True)
class RequestPage:
    """A page of requests."""

    lines: tuple[RequestLine, ...]
    after: tuple[float, str] | None = None
    """Where the next page begins; None if there is no older request."""
    complete: bool = True
    """False if the page ended because it examined its limit of requests, not because it was full."""


@dataclass(frozen=True, kw_only=True)
class SessionPage:
    """A page of sessions, the one used last first."""

    sessions: tuple[SessionSummary, ...]
    after: tuple[float, str] | None = None


class Opinion(NamedTuple):
    """Feedback on an answer, with the fields that the agreement of people is computed from."""

    request: str
    key: str
    """Id of the caller's API key; empty without one."""
    value: str | None
    """The right answer, as JSON; None if it was not given."""
    correct: int


TotalsPart = Literal["times", "tenants", "specialists", "models", "latencies"]
"""A part of `Totals` that is read only where a page shows it."""
TOTALS_PARTS: tuple[TotalsPart, ...] = ("times", "tenants", "specialists", "models", "latencies")


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Totals of a period, from the rows of its hours and days."""

    total: LedgerRow
    times: tuple[LedgerRow, ...]
    """Totals by day, or by hour: `2026-11-25`, `2026-11-25 13:00`, in UTC."""
    tenants: tuple[LedgerRow, ...] = ()
    specialists: tuple[LedgerRow, ...] = ()
    models: tuple[LedgerRow, ...] = ()
    recent: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Number of requests of each hour by specialist, the oldest first."""
    summed: bool = True
    """False while an earlier ledger is still being added up: the figures cover what has been added."""

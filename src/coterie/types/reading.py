"""What pages and reports read from a store: requests page by page, and totals of the ledger over periods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, NamedTuple

from coterie.types.settlement import SessionSummary

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

"""What pages and reports read of a store: requests page by page, and totals over stretches of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, NamedTuple

from coterie.types.ledger import LedgerRow
from coterie.types.settlement import SessionSummary


@dataclass(frozen=True, kw_only=True)
class RequestFilter:
    """Which requests of a tenant a page lists, the newest first."""

    tenant: str
    status: str = ""
    """`accepted`, `abstained` or `escalated`; empty for all."""
    specialist: str = ""
    """Only requests for which this specialist found something."""
    session: str = ""
    label: str = ""
    judged: str = ""
    """`right`, `wrong`: only requests of which somebody said so; empty for all."""
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
    """Whether somebody said that it was right; None if nobody did."""


@dataclass(frozen=True, kw_only=True)
class RequestPage:
    """A page of requests."""

    lines: tuple[RequestLine, ...]
    after: tuple[float, str] | None = None
    """Where the next page begins; None if there is nothing older."""
    complete: bool = True
    """False if the page ended because so many requests were looked through, not because it was full."""


@dataclass(frozen=True, kw_only=True)
class SessionPage:
    """A page of sessions, the one used last first."""

    sessions: tuple[SessionSummary, ...]
    after: tuple[float, str] | None = None


class Opinion(NamedTuple):
    """What somebody said of an answer, as far as people's agreement is computed on it."""

    request: str
    key: str
    """Id of their key; empty without one."""
    value: str | None
    """What would have been right, as JSON; None where they did not say."""
    correct: int


TotalsPart = Literal["times", "tenants", "specialists", "models", "latencies"]
"""A part of `Totals` that is read only where a page shows it."""
TOTALS_PARTS: tuple[TotalsPart, ...] = ("times", "tenants", "specialists", "models", "latencies")


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What a stretch of time adds up to, from the rows of its hours and days."""

    total: LedgerRow
    times: tuple[LedgerRow, ...]
    """By day, or by hour: `2026-11-25`, `2026-11-25 13:00`, in UTC."""
    tenants: tuple[LedgerRow, ...] = ()
    specialists: tuple[LedgerRow, ...] = ()
    models: tuple[LedgerRow, ...] = ()
    recent: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By specialist, how many requests each hour had, the oldest first."""
    summed: bool = True
    """False while an earlier ledger is still being added up: figures are of what is."""

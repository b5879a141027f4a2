"""Totals of the ledger by hour, day, tenant, specialist or model."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Grouping = Literal["hour", "day", "tenant", "specialist", "model"]
"""By what the ledger is added up. Specialists and models share requests: their counts add up to more than all."""


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """Totals of one day, tenant, specialist or model. What is not known is counted apart and never taken for 0."""

    key: str
    """The day (UTC, `2026-11-25`), or the name; `network` is the network's own work."""
    requests: int = 0
    accepted: int = 0
    """Answered here; of a specialist, findings that were accepted."""
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
    """Of `joules`, those that were measured."""
    cost: Decimal = Decimal(0)
    """Of what has a known cost."""
    unpriced: int = 0
    """Requests, of a specialist or model its steps, whose cost is not known."""
    counterfactual_cost: Decimal = Decimal(0)
    """Of the requests that could be compared; 0 by specialist and model."""
    compared_cost: Decimal | None = Decimal(0)
    """What those cost; None where that is not known."""
    compared: int = 0
    """Requests whose counterfactual is known."""
    judged: int = 0
    """Requests of which somebody said whether the answer was right."""
    correct: int = 0
    judged_joules: float = 0.0
    judged_cost: Decimal | None = Decimal(0)
    """What the judged ones cost; None where that is not known of one."""
    p50_ms: float | None = None
    p95_ms: float | None = None

    @property
    def answered(self) -> int:
        """Those that were answered by somebody."""
        return self.accepted + self.escalated


@dataclass(frozen=True, kw_only=True)
class Training:
    """What one training of a specialist took."""

    specialist: str
    version: str
    time: float
    """When it ended, seconds since the epoch."""
    seconds: float
    cpu_seconds: float
    joules: float
    joules_kind: Literal["measured", "estimated"] = "estimated"
    cost: Decimal | None = None
    """None when it is not known."""


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What a store's ledger adds up to."""

    total: LedgerRow
    rows: tuple[LedgerRow, ...]
    """By key, in its order; days without a request are left out."""
    trainings: tuple[Training, ...] = ()
    """All that were written down, oldest first."""
    began: float | None = None
    """When the first of the requests was admitted, seconds since the epoch; None of none."""

"""The totals as JSON for `coterie report --json`."""

from __future__ import annotations

from decimal import Decimal

from coterie.types import LedgerSummary

_PLACES = 9


def summary_json(summary: LedgerSummary, *, currency: str) -> dict[str, str | int | float | None]:
    """The shape scripts may rely on.

    Amounts are JSON numbers rounded to nine decimal places, for scripts that add and compare; the ledger
    itself keeps exact decimals. An unknown amount is null, never 0.

    Args:
        summary: Totals from the store.
        currency: What the amounts are in.
    """
    return {
        "requests": summary.requests,
        "accepted": summary.accepted,
        "abstained": summary.abstained,
        "escalated": summary.escalated,
        "p50_ms": _rounded(summary.p50_ms, 3),
        "p95_ms": _rounded(summary.p95_ms, 3),
        "joules": round(summary.joules, _PLACES),
        "joules_kind": summary.joules_kind,
        "cost": _rounded(summary.cost, _PLACES),
        "counterfactual_cost": _rounded(summary.counterfactual_cost, _PLACES),
        "currency": currency,
    }


def format_money(amount: Decimal | None, currency: str) -> str:
    """An amount for people: three significant digits, never in scientific notation; `unknown` when it is."""
    if amount is None:
        return "unknown"
    places = max(2, 2 - amount.adjusted()) if amount else 2
    return f"{amount:.{places}f} {currency}"


def _rounded(value: float | Decimal | None, places: int) -> float | None:
    return None if value is None else round(float(value), places)

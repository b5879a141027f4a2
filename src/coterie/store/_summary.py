"""Totals over the ledger, computed in SQL; money is added up as decimal numbers."""

from __future__ import annotations

import math
import sqlite3
from decimal import Decimal

from coterie.types import LedgerSummary


def select_summary(connection: sqlite3.Connection, *, since: float) -> LedgerSummary:
    """Totals over the requests admitted at or after `since`. Call it in a transaction: it reads several times."""
    counts = dict(
        connection.execute("SELECT status, count(*) FROM requests WHERE time >= ? GROUP BY status", (since,)).fetchall()
    )
    joules, estimated = connection.execute(
        "SELECT total(joules), total(joules_kind != 'measured') FROM requests WHERE time >= ?", (since,)
    ).fetchone()
    requests = sum(counts.values())
    return LedgerSummary(
        requests=requests,
        accepted=counts.get("accepted", 0),
        abstained=counts.get("abstained", 0),
        escalated=counts.get("escalated", 0),
        p50_ms=_percentile(connection, 0.50, requests, since),
        p95_ms=_percentile(connection, 0.95, requests, since),
        joules=joules,
        joules_kind="measured" if requests and not estimated else "estimated",
        cost=_money(connection, "cost", since),
        # No request says whether there is a generalist to compare with, so of none nothing is known.
        counterfactual_cost=_money(connection, "counterfactual_cost", since) if requests else None,
    )


def _percentile(connection: sqlite3.Connection, share: float, requests: int, since: float) -> float | None:
    """The smallest time that at least `share` of the requests did not exceed (nearest rank), None without any."""
    if not requests:
        return None
    row = connection.execute(
        "SELECT milliseconds FROM requests WHERE time >= ? ORDER BY milliseconds LIMIT 1 OFFSET ?",
        (since, math.ceil(share * requests) - 1),
    ).fetchone()
    return float(row[0])


def _money(connection: sqlite3.Connection, column: str, since: float) -> Decimal | None:
    """The sum of a column of amounts, None as soon as one is unknown."""
    total = Decimal(0)
    amounts = connection.execute(
        f"SELECT {column}, count(*) FROM requests WHERE time >= ? GROUP BY {column}",  # noqa: S608  # constants of this module
        (since,),
    )
    for amount, count in amounts:
        if amount is None:
            return None
        total += Decimal(amount) * count
    return total

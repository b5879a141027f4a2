"""Totals over the ledger, computed in SQL; money is added up as decimal numbers."""

from __future__ import annotations

import math
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from coterie.store.rows import dicts
from coterie.types import Grouping, Ledger, LedgerRow, LedgerSummary, Training


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


# --- The ledger added up by hour, day, tenant, specialist or model, in one pass, money as decimal numbers.

_FIGURES = "tokens_in, tokens_cached, tokens_out, cpu_seconds, joules, joules_low, joules_high, joules_kind, cost"
_SUMMED = ("tokens_in", "tokens_cached", "tokens_out", "cpu_seconds", "joules")
_COLUMN = {"specialist": "producer", "model": "engine"}


def select_ledger(connection: sqlite3.Connection, *, since: float, by: Grouping) -> Ledger:
    """Totals over the requests admitted at or after `since`. Call it in a transaction: it reads several times."""
    judged = _Judgements(connection, since)
    total, rows = _Sum(), defaultdict[str, _Sum](_Sum)
    began = None
    requests = connection.execute(
        f"SELECT id, time, tenant, status, milliseconds, counterfactual_cost, {_FIGURES} FROM requests "  # noqa: S608 - our names
        "WHERE time >= ?",
        (since,),
    )
    for request in dicts(requests):
        began = request["time"] if began is None else min(began, request["time"])
        sums = (total,) if by in _COLUMN else (total, rows[_key(request, by)])
        for each in sums:
            each.add_request(request, judged.of(request["id"]))
    if by in _COLUMN:
        rows = _by_step(connection, since, by, judged)
    return Ledger(
        total=total.row("total"),
        rows=tuple(each.row(key) for key, each in sorted(rows.items())),
        trainings=tuple(
            Training(**{**row, "cost": None if row["cost"] is None else Decimal(row["cost"])})
            for row in dicts(connection.execute("SELECT * FROM trainings ORDER BY time"))
        ),
        began=began,
    )


def _by_step(connection: sqlite3.Connection, since: float, by: Grouping, judged: _Judgements) -> defaultdict[str, _Sum]:
    """Sums of steps, with what a specialist found."""
    rows = defaultdict[str, _Sum](_Sum)
    figures = ", ".join(f"steps.{name}" for name in _FIGURES.split(", "))
    steps = connection.execute(
        f"SELECT steps.request, {_COLUMN[by]} AS key, {figures} FROM steps "  # noqa: S608 - our names
        "JOIN requests ON id = request WHERE time >= ?",
        (since,),
    )
    for step in dicts(steps):
        about = judged.of(step["request"], step["key"]) if by == "specialist" else judged.of(step["request"])
        rows[step["key"]].add_step(step, about)
    if by == "specialist":
        for request, specialist, accepted in connection.execute(
            "SELECT request, specialist, accepted FROM findings JOIN requests ON id = request WHERE time >= ?", (since,)
        ):
            rows[specialist].add_finding(request, judged.of(request, specialist), accepted=bool(accepted))
    return rows


class _Sum:
    """One row in the making."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = defaultdict(int)
        self.figures: dict[str, float] = defaultdict(float)
        self.cost = self.counterfactual = Decimal(0)
        self.compared_cost: Decimal | None = Decimal(0)
        self.judged_cost: Decimal | None = Decimal(0)
        self.milliseconds: list[float] = []
        self.requests: set[str] = set()
        self.judged: dict[str, bool] = {}

    def add_request(self, row: Mapping[str, Any], right: bool | None) -> None:  # noqa: FBT001 - three-valued
        """One request's row of the ledger."""
        self.counts["requests"] += 1
        self.counts[row["status"]] += 1
        self.milliseconds.append(row["milliseconds"])
        self._add(row, row["id"], right)
        if row["counterfactual_cost"] is not None:
            self.counts["compared"] += 1
            self.counterfactual += Decimal(row["counterfactual_cost"])
            self.compared_cost = _plus(self.compared_cost, row["cost"])

    def add_step(self, row: Mapping[str, Any], right: bool | None) -> None:  # noqa: FBT001 - three-valued
        """One step of a specialist or model."""
        self.requests.add(row["request"])
        self._add(row, row["request"], right)

    def add_finding(self, request: str, right: bool | None, *, accepted: bool) -> None:  # noqa: FBT001 - three-valued
        """One finding of a specialist."""
        self.requests.add(request)
        if right is not None:
            self.judged[request] = right
        self.counts["accepted" if accepted else "abstained"] += 1

    def _add(self, row: Mapping[str, Any], request: str, right: bool | None) -> None:  # noqa: FBT001 - three-valued
        for name in _SUMMED:
            self.figures[name] += row[name]
        for end in ("joules_low", "joules_high"):
            self.figures[end] += row["joules"] if row[end] is None else row[end]
        if row["joules_kind"] == "measured":
            self.figures["joules_measured"] += row["joules"]
        if row["cost"] is None:
            self.counts["unpriced"] += 1
        else:
            self.cost += Decimal(row["cost"])
        if right is not None:
            self.judged[request] = right
            self.figures["judged_joules"] += row["joules"]
            self.judged_cost = _plus(self.judged_cost, row["cost"])

    def row(self, key: str) -> LedgerRow:
        """The finished row."""
        counts, figures = self.counts, self.figures
        return LedgerRow(
            key=key,
            requests=counts["requests"] or len(self.requests),
            accepted=counts["accepted"],
            abstained=counts["abstained"],
            escalated=counts["escalated"],
            tokens_in=int(figures["tokens_in"]),
            tokens_cached=int(figures["tokens_cached"]),
            tokens_out=int(figures["tokens_out"]),
            cpu_seconds=figures["cpu_seconds"],
            joules=figures["joules"],
            joules_low=figures["joules_low"],
            joules_high=figures["joules_high"],
            joules_measured=figures["joules_measured"],
            cost=self.cost,
            unpriced=counts["unpriced"],
            counterfactual_cost=self.counterfactual,
            compared_cost=self.compared_cost,
            compared=counts["compared"],
            judged=len(self.judged),
            correct=sum(self.judged.values()),
            judged_joules=figures["judged_joules"],
            judged_cost=self.judged_cost,
            p50_ms=_percentile_breakdown(sorted(self.milliseconds), 0.50),
            p95_ms=_percentile_breakdown(sorted(self.milliseconds), 0.95),
        )


class _Judgements:
    """Whether answers were right, by what was said of them.

    The newest word about the whole answer counts. Without one, the answer was right if every finding that was spoken
    of was. Of a specialist, the newest word about its finding counts; without one, that about the whole answer, if it
    was its alone.
    """

    def __init__(self, connection: sqlite3.Connection, since: float) -> None:
        self._said: dict[str, dict[str, bool]] = defaultdict(dict)
        for request, specialist, correct in connection.execute(
            "SELECT request, specialist, correct FROM feedback JOIN requests ON id = request "
            "WHERE requests.time >= ? AND correct IS NOT NULL ORDER BY feedback.time",
            (since,),
        ):
            self._said[request][specialist] = bool(correct)
        self._answered: dict[str, set[str]] = defaultdict(set)
        if self._said:
            for request, specialist in connection.execute(
                "SELECT request, specialist FROM findings WHERE accepted AND request IN (SELECT request FROM feedback)"
            ):
                self._answered[request].add(specialist)

    def of(self, request: str, specialist: str = "") -> bool | None:
        """Of a whole answer, or of one specialist's finding; None where nobody said."""
        said = self._said.get(request)
        if said is None:
            return None
        if not specialist:
            return said[""] if "" in said else all(said.values())
        if specialist in said:
            return said[specialist]
        return said.get("") if self._answered[request] == {specialist} else None


def insert_training(connection: sqlite3.Connection, training: Training) -> None:
    """Write one down."""
    cost = None if training.cost is None else str(training.cost)
    figures = (training.time, training.seconds, training.cpu_seconds, training.joules)
    connection.execute(
        "INSERT INTO trainings VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (training.specialist, training.version, *map(float, figures), training.joules_kind, cost),
    )


def _plus(total: Decimal | None, amount: str | None) -> Decimal | None:
    return None if total is None or amount is None else total + Decimal(amount)


def _percentile_breakdown(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of them do not exceed (nearest rank); None of none."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


def _key(request: Mapping[str, Any], by: Grouping) -> str:
    """The row that a request is added to: its day or hour (UTC), or its tenant."""
    if by == "tenant":
        return str(request["tenant"])
    return datetime.fromtimestamp(request["time"], UTC).strftime("%Y-%m-%d %H:00" if by == "hour" else "%Y-%m-%d")

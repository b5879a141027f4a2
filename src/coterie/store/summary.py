"""Totals over the ledger, computed in SQL; money is added up as decimal numbers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from coterie.store.rollups import (
    DAY,
    Kind,
    Rollup,
    Stretch,
    added_up,
    bucket_of,
    count_requests,
    is_whole,
    percentile_of,
    select_latencies,
    select_rollups,
    stretches,
    sum_latencies,
    sum_rollups,
)
from coterie.store.rows import dicts
from coterie.store.statements import DatabaseConnection
from coterie.types import (
    TOTALS_PARTS,
    Grouping,
    Ledger,
    LedgerRow,
    LedgerSummary,
    Totals,
    TotalsPart,
    Training,
    Usage,
)

EXACT = 10_000
"""Requests up to which a ledger is added up row by row.

Above, its rows by hour and day are used, and percentiles are within 1%.
"""


def select_summary(connection: DatabaseConnection, *, since: float, exact: int = EXACT) -> LedgerSummary:
    """Return totals over the requests admitted at or after `since`.

    Call it in a transaction: it reads several times.
    """
    rolled = _rolled(connection, since, exact)
    if rolled is not None:
        total = _rolled_sums(connection, rolled, "day")[0].row("total")
        return LedgerSummary(
            requests=total.requests,
            accepted=total.accepted,
            abstained=total.abstained,
            escalated=total.escalated,
            p50_ms=total.p50_ms,
            p95_ms=total.p95_ms,
            joules=total.joules,
            joules_kind="measured" if total.joules_measured == total.joules else "estimated",
            cost=None if total.unpriced else total.cost,
            counterfactual_cost=None if total.compared < total.requests else total.counterfactual_cost,
        )
    counts = dict(
        connection.execute("SELECT status, count(*) FROM requests WHERE time >= ? GROUP BY status", (since,)).fetchall()
    )
    joules, estimated = connection.execute(
        "SELECT coalesce(sum(joules), 0.0), count(CASE WHEN joules_kind <> 'measured' THEN 1 END) FROM requests "
        "WHERE time >= ?",
        (since,),
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


def _percentile(connection: DatabaseConnection, share: float, requests: int, since: float) -> float | None:
    """Return the smallest time that at least `share` of the requests did not exceed (nearest rank); None if none."""
    if not requests:
        return None
    row = connection.execute(
        "SELECT milliseconds FROM requests WHERE time >= ? ORDER BY milliseconds LIMIT 1 OFFSET ?",
        (since, math.ceil(share * requests) - 1),
    ).fetchone()
    return float(row[0])


def _money(connection: DatabaseConnection, column: str, since: float) -> Decimal | None:
    """Return the sum of a column of amounts; None as soon as one is unknown."""
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


def select_ledger(connection: DatabaseConnection, *, since: float, by: Grouping, exact: int = EXACT) -> Ledger:
    """Return totals over the requests admitted at or after `since`.

    Call it in a transaction: it reads several times.
    """
    rolled = _rolled(connection, since, exact)
    if rolled is None:
        judged = _Judgements(connection, since)
        total, rows = _by_request(connection, since, math.inf, by, judged)
        if by in _COLUMN:
            rows = _by_step(connection, since, math.inf, by, judged)
    else:
        total, rows = _rolled_sums(connection, rolled, by)
        _add_judged(connection, rolled.first, by, total, rows)
    (began,) = connection.execute("SELECT min(time) FROM requests WHERE time >= ?", (since,)).fetchone()
    return Ledger(
        total=total.row("total"),
        rows=tuple(sums.row(key) for key, sums in sorted(rows.items())),
        trainings=tuple(
            Training(**{**row, "cost": None if row["cost"] is None else Decimal(row["cost"])})
            for row in dicts(connection.execute("SELECT * FROM trainings ORDER BY time"))
        ),
        began=began,
    )


def _by_request(
    connection: DatabaseConnection, since: float, until: float, by: Grouping, judged: _Judgements
) -> tuple[_Sum, defaultdict[str, _Sum]]:
    """Return sums of requests, row by row."""
    total, rows = _Sum(), defaultdict[str, _Sum](_Sum)
    requests = connection.execute(
        f"SELECT id, time, tenant, status, milliseconds, counterfactual_cost, {_FIGURES} FROM requests "  # noqa: S608 - our names
        "WHERE time >= ? AND time < ?",
        (since, until),
    )
    for request in dicts(requests):
        sums = (total,) if by in _COLUMN else (total, rows[_key(request["time"], request["tenant"], by)])
        for summed in sums:
            summed.add_request(request, judged.of(request["id"]))
    return total, rows


def _by_step(
    connection: DatabaseConnection, since: float, until: float, by: Grouping, judged: _Judgements
) -> defaultdict[str, _Sum]:
    """Return sums of steps, with the findings of specialists."""
    rows = defaultdict[str, _Sum](_Sum)
    figures = ", ".join(f"steps.{name}" for name in _FIGURES.split(", "))
    steps = connection.execute(
        f"SELECT steps.request, {_COLUMN[by]} AS key, {figures} FROM steps "  # noqa: S608 - our names
        "JOIN requests ON id = request WHERE time >= ? AND time < ?",
        (since, until),
    )
    for step in dicts(steps):
        about = judged.of(step["request"], step["key"]) if by == "specialist" else judged.of(step["request"])
        rows[step["key"]].add_step(step, about)
    if by == "specialist":
        for request, specialist, accepted in connection.execute(
            "SELECT request, specialist, accepted FROM findings JOIN requests ON id = request "
            "WHERE time >= ? AND time < ?",
            (since, until),
        ):
            rows[specialist].add_finding(request, judged.of(request, specialist), accepted=bool(accepted))
    return rows


# --- The same from the rows of hours and days.


class _Rolled(NamedTuple):
    """The start of the hourly rows in a stretch of time."""

    since: float
    first: float
    """The first whole hour; requests before it are added up row by row."""


def _rolled(connection: DatabaseConnection, since: float, exact: int) -> _Rolled | None:
    """Return where the hourly rows begin; None if there are few requests, or the rows lack some of them."""
    if not is_whole(connection):
        return None
    limit = connection.execute(
        "SELECT coalesce(sum(requests), 0) FROM rollups WHERE span = ? AND kind = 'request' AND start >= ?",
        (DAY, since // DAY * DAY),
    ).fetchone()
    return None if limit[0] <= exact else _Rolled(since, next(stretches(since)).first)


def _rolled_sums(connection: DatabaseConnection, rolled: _Rolled, by: Grouping) -> tuple[_Sum, defaultdict[str, _Sum]]:
    """Return sums of the rows by hour and day, and of the requests before the first whole hour; without judgements."""
    judged = _Judgements(connection, rolled.since, until=rolled.first)
    total, rows = _by_request(connection, rolled.since, rolled.first, by, judged)
    if by in _COLUMN:
        rows = _by_step(connection, rolled.since, rolled.first, by, judged)
    for stretch in stretches(rolled.first, hours=by == "hour"):
        for row in select_rollups(connection, "request", stretch):
            total.add_rollup(row)
            if by not in _COLUMN:
                rows[_key(row.start, row.tenant, by)].add_rollup(row)
        for start, tenant, bucket, n in select_latencies(connection, stretch):
            total.buckets[bucket] += n
            if by not in _COLUMN:
                rows[_key(start, tenant, by)].buckets[bucket] += n
        if by in _COLUMN:
            for row in select_rollups(connection, "specialist" if by == "specialist" else "model", stretch):
                rows[row.name].add_rollup(row)
    return total, rows


def _add_judged(
    connection: DatabaseConnection, since: float, by: Grouping, total: _Sum, rows: defaultdict[str, _Sum]
) -> None:
    """Add feedback on answers; only the requests with feedback are read."""
    judged = _Judgements(connection, since)
    for request, time, tenant, joules, cost in connection.execute(
        f"SELECT id, time, tenant, joules, cost FROM requests WHERE id IN ({_JUDGED}) AND time >= ?",  # noqa: S608 - ours
        (since,),
    ):
        for summed in (total,) if by in _COLUMN else (total, rows[_key(time, tenant, by)]):
            summed.add_judged(request, judged.of(request), joules, cost)
    if by not in _COLUMN:
        return
    for request, key, joules, cost in connection.execute(
        f"SELECT request, {_COLUMN[by]}, steps.joules, steps.cost FROM steps JOIN requests ON id = request "  # noqa: S608 - ours
        f"WHERE request IN ({_JUDGED}) AND time >= ?",
        (since,),
    ):
        rows[key].add_judged(request, judged.of(request, key if by == "specialist" else ""), joules, cost)
    if by == "specialist":
        for request, specialist in connection.execute(
            f"SELECT request, specialist FROM findings JOIN requests ON id = request WHERE request IN ({_JUDGED}) "  # noqa: S608 - ours
            "AND time >= ?",
            (since,),
        ):
            rows[specialist].add_judged(request, judged.of(request, specialist), 0.0, "0")


_JUDGED = "SELECT request FROM feedback WHERE correct IS NOT NULL"


class _Sum:
    """A row of the ledger under construction."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = defaultdict(int)
        self.figures: dict[str, float] = defaultdict(float)
        self.cost = self.counterfactual = Decimal(0)
        self.compared_cost: Decimal | None = Decimal(0)
        self.judged_cost: Decimal | None = Decimal(0)
        self.milliseconds: list[float] = []
        self.buckets: dict[int, int] = defaultdict(int)
        self.requests: set[str] = set()
        self.judged: dict[str, bool] = {}

    def add_request(self, row: Mapping[str, Any], right: bool | None) -> None:  # noqa: FBT001 - three-valued
        """Add one request's row of the ledger."""
        self.counts["requests"] += 1
        self.counts[row["status"]] += 1
        self.milliseconds.append(row["milliseconds"])
        self._add(row, row["id"], right)
        if row["counterfactual_cost"] is not None:
            self.counts["compared"] += 1
            self.counterfactual += Decimal(row["counterfactual_cost"])
            self.compared_cost = _plus(self.compared_cost, row["cost"])

    def add_step(self, row: Mapping[str, Any], right: bool | None) -> None:  # noqa: FBT001 - three-valued
        """Add one step of a specialist or model."""
        self.requests.add(row["request"])
        self._add(row, row["request"], right)

    def add_finding(self, request: str, right: bool | None, *, accepted: bool) -> None:  # noqa: FBT001 - three-valued
        """Add one finding of a specialist."""
        self.requests.add(request)
        if right is not None:
            self.judged[request] = right
        self.counts["accepted" if accepted else "abstained"] += 1

    def add_rollup(self, row: Rollup) -> None:
        """Add the sums of an hour or a day."""
        for name in ("requests", "accepted", "abstained", "escalated", "unpriced", "compared"):
            self.counts[name] += int(getattr(row, name))
        for name in (*_SUMMED, "joules_low", "joules_high", "joules_measured"):
            self.figures[name] += float(getattr(row, name))
        self.cost += added_up(row.cost)
        self.counterfactual += added_up(row.counterfactual)
        if row.compared_unpriced:
            self.compared_cost = None
        elif self.compared_cost is not None:
            self.compared_cost += added_up(row.compared_cost)

    def add_judged(self, request: str, right: bool | None, joules: float, cost: str | None) -> None:  # noqa: FBT001 - three-valued
        """Add the usage of a request, or of a step of it, whose answer has feedback on whether it was right."""
        if right is not None:
            self.judged[request] = right
            self.figures["judged_joules"] += joules
            self.judged_cost = _plus(self.judged_cost, cost)

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
        self.add_judged(request, right, row["joules"], row["cost"])

    def row(self, key: str) -> LedgerRow:
        """Return the finished row."""
        counts, figures = self.counts, self.figures
        return LedgerRow(
            key=key,
            requests=counts["requests"] + len(self.requests),
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
            p50_ms=self._percentile(0.50),
            p95_ms=self._percentile(0.95),
        )

    def _percentile(self, share: float) -> float | None:
        if not self.buckets:
            return _percentile_breakdown(sorted(self.milliseconds), share)
        for duration in self.milliseconds:
            self.buckets[bucket_of(duration)] += 1
        self.milliseconds = []
        return percentile_of(self.buckets, share)


class _Judgements:
    """Whether answers were right, by their feedback.

    The newest feedback on the whole answer counts. Without one, the answer was right if every finding with feedback was
    right. For a specialist, the newest feedback on its finding counts; without one, that on the whole answer, if the
    specialist alone gave the answer.
    """

    def __init__(self, connection: DatabaseConnection, since: float, until: float = math.inf) -> None:
        self._said: dict[str, dict[str, bool]] = defaultdict(dict)
        for request, specialist, correct in connection.execute(
            "SELECT request, specialist, correct FROM feedback JOIN requests ON id = request "
            "WHERE requests.time >= ? AND requests.time < ? AND correct IS NOT NULL ORDER BY feedback.time",
            (since, until),
        ):
            self._said[request][specialist] = bool(correct)
        self._answered: dict[str, set[str]] = defaultdict(set)
        if self._said:
            for request, specialist in connection.execute(
                "SELECT request, specialist FROM findings "
                "WHERE accepted = 1 AND request IN (SELECT request FROM feedback)"
            ):
                self._answered[request].add(specialist)

    def of(self, request: str, specialist: str = "") -> bool | None:
        """Return whether a whole answer, or one specialist's finding, was right; None without feedback."""
        judgements = self._said.get(request)
        if judgements is None:
            return None
        if not specialist:
            return judgements[""] if "" in judgements else all(judgements.values())
        if specialist in judgements:
            return judgements[specialist]
        return judgements.get("") if self._answered[request] == {specialist} else None


def training_of(usage: Usage, *, specialist: str, version: str, time: float) -> Training:
    """Return the training, as the ledger has it, that took this usage and ended at `time` (seconds since the epoch)."""
    return Training(
        specialist=specialist,
        version=version,
        time=time,
        seconds=usage.milliseconds / 1000,
        cpu_seconds=usage.cpu_seconds,
        joules=usage.joules,
        joules_kind=usage.joules_kind,
        cost=usage.cost,
    )


def insert_training(connection: DatabaseConnection, training: Training) -> None:
    """Record a training."""
    cost = None if training.cost is None else str(training.cost)
    figures = (training.time, training.seconds, training.cpu_seconds, training.joules)
    connection.execute(
        "INSERT INTO trainings VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (training.specialist, training.version, *map(float, figures), training.joules_kind, cost),
    )


def _plus(total: Decimal | None, amount: str | None) -> Decimal | None:
    return None if total is None or amount is None else total + Decimal(amount)


def _percentile_breakdown(ordered: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least `share` of them do not exceed (nearest rank); None if there are none."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


def _key(time: float, tenant: str, by: Grouping) -> str:
    """Return the row that a request is added to: its day or hour (UTC), or its tenant."""
    if by == "tenant":
        return tenant
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:00" if by == "hour" else "%Y-%m-%d")


_MOST_TIMES = 400
"""Most hours or days in a sparkline of recent activity."""


def select_totals(
    connection: DatabaseConnection,
    *,
    since: float,
    until: float,
    tenant: str | None,
    hours: bool,
    parts: Collection[TotalsPart] = TOTALS_PARTS,
    name: str | None = None,
) -> Totals:
    """Return totals of whole hours and days, from their rows alone, for a page.

    Args:
        connection: In a transaction.
        since: The first second; an hour that begins before it is left out.
        until: The end.
        tenant: The tenant; None for all tenants.
        hours: Whether the times are hours, not days.
        parts: The parts to read beside the total.
        name: The specialist or model; None for all.
    """
    sums = _TotalSums()
    for stretch in stretches(since, until, hours=hours):
        sums.add_requests(connection, stretch, tenant, parts, by="hour" if hours else "day")
        for kind, rows in sums.kinds.items():
            if f"{kind}s" in parts:
                for row in sum_rollups(connection, kind, stretch, by="name", tenant=tenant, name=name):
                    rows[row.name].add_rollup(row)
        if "specialists" in parts:
            for who, start, n in count_requests(connection, "specialist", stretch, tenant=tenant, name=name):
                sums.recent[who][start] = int(n)
    return Totals(
        total=sums.total.row("total"),
        times=_rows(sums.times),
        tenants=_rows(sums.tenants),
        specialists=_rows(sums.kinds["specialist"]),
        models=_rows(sums.kinds["model"]),
        recent=_recent(sums.recent, since, 3600 if hours else int(DAY)),
        summed=is_whole(connection),
    )


class _TotalSums:
    """The running sums of `select_totals`."""

    def __init__(self) -> None:
        self.total = _Sum()
        self.times: defaultdict[str, _Sum] = defaultdict(_Sum)
        self.tenants: defaultdict[str, _Sum] = defaultdict(_Sum)
        self.kinds: dict[Kind, defaultdict[str, _Sum]] = {"specialist": defaultdict(_Sum), "model": defaultdict(_Sum)}
        self.recent: dict[str, dict[int, int]] = defaultdict(dict)

    def add_requests(
        self,
        connection: DatabaseConnection,
        stretch: Stretch,
        tenant: str | None,
        parts: Collection[TotalsPart],
        *,
        by: Grouping,
    ) -> None:
        """Add requests and latencies: in all, by time, by tenant."""
        days = list(sum_rollups(connection, "request", stretch, by="start", tenant=tenant))
        names = {row.start: _key(row.start, "", by) for row in days} if "times" in parts else {}
        for row in days:
            self.total.add_rollup(row)
            if names:
                self.times[names[row.start]].add_rollup(row)
        if "tenants" in parts:
            for row in sum_rollups(connection, "request", stretch, by="tenant", tenant=tenant):
                self.tenants[row.tenant].add_rollup(row)
        if "latencies" in parts:
            for start, bucket, n in sum_latencies(connection, stretch, tenant=tenant, times=bool(names)):
                self.total.buckets[bucket] += int(n)
                if names:
                    self.times[names[start]].buckets[bucket] += int(n)


def _recent(starts_by_name: Mapping[str, Mapping[int, int]], since: float, step: int) -> dict[str, tuple[int, ...]]:
    """Return the requests of each hour or day, also of those without one."""
    newest = max((start for counts in starts_by_name.values() for start in counts), default=0)
    starts = range(max(int(since // step), newest // step - _MOST_TIMES) * step, newest + 1, step)
    return {name: tuple(counts.get(start, 0) for start in starts) for name, counts in starts_by_name.items()}


def _rows(sums: Mapping[str, _Sum]) -> tuple[LedgerRow, ...]:
    return tuple(summed.row(key) for key, summed in sorted(sums.items()))

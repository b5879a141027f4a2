"""The ledger added up by hour and by day, for reports and the console.

Each settlement adds to a row for its hour and one for its day: for all requests of its tenant, for each specialist and
for each model. Money is added as decimal numbers. Latencies are counted in buckets that are 2% wide, so a percentile
read from them is at most 1% off.

In PostgreSQL a settlement adds itself, in its own transaction. In a SQLite file the sums follow later. The last request
in the sums is written with them, in one transaction, so each request counts once even if a process is killed. A reader
of sums first has the new settlements added up; no request waits for that.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from coterie.store.statements import DatabaseConnection, insert_many

HOUR, DAY = 3600, 86_400
Kind = Literal["request", "specialist", "model"]
PIECE = 2000
"""Requests of an earlier Coterie that one step adds up, in some 50 ms."""
_GROWTH = math.log(1.02)
_COUNTS = ("requests", "accepted", "abstained", "escalated", "tokens_in", "tokens_cached", "tokens_out")
_FIGURES = ("cpu_seconds", "joules", "joules_low", "joules_high", "joules_measured")
_FURTHER = ("unpriced", "compared", "compared_unpriced")
_MONEY = ("cost", "counterfactual", "compared_cost")
SUMMED = (*_COUNTS, *_FIGURES, *_FURTHER)
COLUMNS = (*SUMMED, *_MONEY)
"""Columns of a row after its key."""
_KEY = ("span", "kind", "start", "tenant", "name")
_INTO = f"rollups ({', '.join((*_KEY, *COLUMNS))})"
_ADD = (
    f" ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET "
    f"{', '.join(f'{name} = rollups.{name} + excluded.{name}' for name in SUMMED)}, "
)
_ADD_MONEY = ", ".join(f"{name} = plus_money(rollups.{name}, excluded.{name})" for name in _MONEY)
"""SQL that adds money with a PostgreSQL function. A Python function in SQLite would take the GIL for each amount."""
_SET_MONEY = ", ".join(
    f"{name} = CASE excluded.{name} WHEN '0' THEN rollups.{name} ELSE excluded.{name} END" for name in _MONEY
)
_COUNT = " ON CONFLICT (span, start, tenant, bucket) DO UPDATE SET n = latencies.n + excluded.n"


def create_tables(connection: DatabaseConnection) -> None:
    """Create the tables and the indexes of pages, and note what is still to be added up."""
    numbers = ", ".join(
        [f"{name} INTEGER NOT NULL" for name in (*_COUNTS, *_FURTHER)] + [f"{name} REAL NOT NULL" for name in _FIGURES]
    )
    money = ", ".join(f"{name} TEXT NOT NULL" for name in _MONEY)
    connection.execute(
        "CREATE TABLE rollups (span INTEGER NOT NULL, kind TEXT NOT NULL, start INTEGER NOT NULL, "
        f"tenant TEXT NOT NULL, name TEXT NOT NULL, {numbers}, {money}, "
        "PRIMARY KEY (span, kind, start, tenant, name)) WITHOUT ROWID"
    )
    connection.execute(
        "CREATE TABLE latencies (span INTEGER NOT NULL, start INTEGER NOT NULL, tenant TEXT NOT NULL, "
        "bucket INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (span, start, tenant, bucket)) WITHOUT ROWID"
    )
    if not isinstance(connection, sqlite3.Connection):
        connection.execute(
            "CREATE FUNCTION plus_money(text, text) RETURNS text LANGUAGE sql IMMUTABLE "
            "RETURN CAST(CAST($1 AS numeric) + CAST($2 AS numeric) AS text)"
        )
    connection.execute("CREATE TABLE rollup_backfill (time REAL NOT NULL, id TEXT NOT NULL, until REAL NOT NULL)")
    connection.execute("CREATE INDEX requests_by_tenant ON requests (tenant, time, id)")
    connection.execute("CREATE INDEX requests_by_status ON requests (tenant, status, time, id)")
    connection.execute("CREATE INDEX sessions_by_tenant ON sessions (tenant, used, id)")
    (newest,) = connection.execute("SELECT max(time) FROM requests").fetchone()
    if newest is not None:
        connection.execute("INSERT INTO rollup_backfill VALUES (?, '', ?)", (-math.inf, newest))


# --- Writing.


def bucket_of(milliseconds: float) -> int:
    """Return the bucket of a latency."""
    return math.floor(math.log(max(milliseconds, 0.01)) / _GROWTH)


def latency_of(bucket: int) -> float:
    """Return the middle of a bucket, in milliseconds."""
    return math.exp((bucket + 0.5) * _GROWTH)


class Additions:
    """The amounts that some requests add to the rows of their hours and days."""

    def __init__(self) -> None:
        self._figures = defaultdict[tuple[str, int, str, str], list[Sequence[Any]]](list)
        """Of hours, by kind, start, tenant and name: what is to be added up, in the order of `COLUMNS`."""
        self._latencies = Counter[tuple[int, str, int]]()
        """Of hours, by start, tenant and bucket."""

    def add(self, request: Sequence[Any], steps: Iterable[Sequence[Any]], findings: Iterable[Sequence[Any]]) -> None:
        """Add one request: its row of `requests`, and its rows of `steps` and `findings`; it counts once for each."""
        row = _Request(*request)
        start, tenant, figures = int(row.time // HOUR * HOUR), row.tenant, self._figures
        compared: tuple[Any, ...] = (0, 0, _money(row.cost), 0, 0)
        if row.counterfactual is not None:
            compared = (1, row.cost is None, compared[2], _money(row.counterfactual), compared[2])
        figures["request", start, tenant, ""].append((1, *_STATUS.get(row.status, _NEITHER), *_used(row), *compared))
        self._latencies[start, tenant, bucket_of(row.milliseconds)] += 1
        seen: set[tuple[str, int, str, str]] = set()
        for step in map(_Step._make, steps):
            used = (*_NEITHER, *_used(step), 0, 0, _money(step.cost), 0, 0)
            for key in (("specialist", start, tenant, step.producer), ("model", start, tenant, step.engine)):
                figures[key].append((key not in seen, *used))
                seen.add(key)
        for _, _, name, accepted, *_ in findings:
            key = ("specialist", start, tenant, name)
            figures[key].append((key not in seen, accepted, 1 - accepted, *_UNUSED))
            seen.add(key)

    def write(self, connection: DatabaseConnection) -> None:
        """Add all amounts to the tables."""
        figures = defaultdict[tuple[Any, ...], list[Sequence[Any]]](list)
        for (kind, start, tenant, name), added in self._figures.items():
            figures[HOUR, kind, start, tenant, name] += added
            figures[DAY, kind, start // DAY * DAY, tenant, name] += added
        # In one order, so that writers wait in no circle.
        summed = ((key, [*map(sum, zip(*figures[key], strict=True))]) for key in sorted(figures))
        rows = [(*key, *sums[:_FIRST_MONEY], *map(str, sums[_FIRST_MONEY:])) for key, sums in summed]
        if isinstance(connection, sqlite3.Connection) and rows:
            insert_many(connection, _INTO, _with_money(connection, rows), _ADD + _SET_MONEY)
        else:
            insert_many(connection, _INTO, rows, _ADD + _ADD_MONEY)
        latencies = Counter({(HOUR, *key): n for key, n in self._latencies.items()})
        for (start, tenant, bucket), n in self._latencies.items():
            latencies[DAY, start // DAY * DAY, tenant, bucket] += n
        insert_many(connection, "latencies", [(*key, n) for key, n in sorted(latencies.items())], _COUNT)


def _used(row: _Request | _Step) -> tuple[Any, ...]:
    """Return tokens, energy and whether the price is unknown: the columns from `tokens_in` to `unpriced`."""
    joules, low, high = row.joules, row.joules_low, row.joules_high
    ends = (joules if low is None else low, joules if high is None else high)
    measured = joules if row.joules_kind == "measured" else 0.0
    tokens = (row.tokens_in, row.tokens_cached, row.tokens_out)
    return (*tokens, row.cpu_seconds, joules, *ends, measured, row.cost is None)


def _money(amount: str | None) -> Decimal | int:
    return 0 if amount is None else Decimal(amount)


def _with_money(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the rows with the money in the table added to theirs: there is no other writer in this transaction.

    All stored amounts are read as one row, in one step of a statement; a row that adds no money is left unchanged.
    """
    nothing, first, keys = ("0",) * len(_MONEY), len(rows[0]) - len(_MONEY), len(_KEY)
    paid = [row for row in rows if row[first:] != nothing]
    if not paid:
        return list(rows)
    values = [value for row in paid for value in row[:keys]]
    (text,) = connection.execute(_selection(len(paid)), values).fetchone()
    known_rows = {tuple(row[:keys]): row[keys:] for row in json.loads(text)}
    return [
        (*row[:first], *map(_plus, row[first:], before)) if (before := known_rows.get(row[:keys])) else row
        for row in rows
    ]


@lru_cache(maxsize=256)
def _selection(rows: int) -> str:
    """Return the statement that reads the money of `rows` rows; the same object each time, as in `insert_many`."""
    keys, places = ", ".join(_KEY), ", ".join([f"({', '.join('?' * len(_KEY))})"] * rows)
    shown = f"json_group_array(json_array({keys}, {', '.join(_MONEY)}))"
    return f"WITH wanted ({keys}) AS (VALUES {places}) SELECT {shown} FROM wanted CROSS JOIN rollups USING ({keys})"  # noqa: S608 - no value is in it


def _plus(added: str, before: str) -> str:
    return before if added == "0" else str(Decimal(added) + Decimal(before))


class _Request(NamedTuple):
    """A row of `requests`, in the order of its columns."""

    id: str
    time: float
    tenant: str
    session: str | None
    label: str
    status: str
    tokens_in: int
    tokens_out: int
    milliseconds: float
    cpu_seconds: float
    joules: float
    joules_kind: str
    cost: str | None
    counterfactual: str | None
    tokens_cached: int
    joules_low: float | None
    joules_high: float | None


class _Step(NamedTuple):
    """A row of `steps`, in the order of its columns."""

    request: str
    position: int
    producer: str
    engine: str
    tokens_in: int
    tokens_out: int
    milliseconds: float
    cpu_seconds: float
    joules: float
    joules_kind: str
    cost: str | None
    tokens_cached: int
    joules_low: float | None
    joules_high: float | None


_NEITHER = (0, 0, 0)
_STATUS = {"accepted": (1, 0, 0), "abstained": (0, 1, 0), "escalated": (0, 0, 1)}
_FIRST_MONEY = len(SUMMED)
_UNUSED = (0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0, 0)
"""Values that a finding adds, after the counts of requests, accepted and abstained."""


# --- How far a file is added up.


def create_mark(connection: DatabaseConnection) -> None:
    """Switch a file to sums that follow later; sums that an earlier Coterie left unfinished are started again.

    A process of an earlier Coterie may still have the file open while a fleet is replaced. The view tells that process
    that the whole ledger is still to be added up. It then leaves the sums to others and cannot add them up itself.
    """
    if not adds_later(connection):
        return
    begun = connection.execute("SELECT 1 FROM rollup_backfill").fetchone() is not None
    connection.execute("DROP TABLE rollup_backfill")
    connection.execute("CREATE VIEW rollup_backfill AS SELECT -9e999 AS time, '' AS id, 9e999 AS until")
    if begun:
        connection.execute("DELETE FROM rollups")
        connection.execute("DELETE FROM latencies")
    connection.execute("CREATE TABLE summed (upto INTEGER NOT NULL, earlier INTEGER NOT NULL)")
    (newest,) = connection.execute("SELECT coalesce(max(rowid), 0) FROM requests").fetchone()
    connection.execute("INSERT INTO summed VALUES (?, ?)", (0 if begun else newest, newest))


def adds_later(connection: DatabaseConnection) -> bool:
    """Return whether sums follow later: one thread writes a file, and has time for it now and then."""
    return isinstance(connection, sqlite3.Connection)


def is_whole(connection: DatabaseConnection) -> bool:
    """Return whether the sums contain all of an earlier Coterie's ledger."""
    return not adds_later(connection) or _mark(connection)[0] >= _mark(connection)[1]


def _mark(connection: DatabaseConnection) -> tuple[int, int]:
    """Return the row ids of the last request in the sums and of the last request of an earlier Coterie.

    No request is ever deleted. Therefore the row ids keep the order of settlement, also after the file is rewritten.
    """
    upto, earlier = connection.execute("SELECT upto, earlier FROM summed").fetchone()
    return upto, earlier


def add_up(connection: DatabaseConnection, *, piece: int = PIECE) -> bool:
    """Add up the next requests that the sums lack, in a transaction; return whether more may be left."""
    if not adds_later(connection):
        return False
    upto, _ = _mark(connection)
    requests = connection.execute(
        "SELECT rowid, * FROM requests WHERE rowid > ? ORDER BY rowid LIMIT ?", (upto, piece)
    ).fetchall()
    if not requests:
        return False
    stretch, parts = (upto, requests[-1][0]), dict[tuple[str, str], list[Sequence[Any]]]()
    for table in ("steps", "findings"):
        for row in connection.execute(
            f"SELECT {table}.* FROM requests JOIN {table} ON request = id "  # noqa: S608 - our names
            "WHERE requests.rowid > ? AND requests.rowid <= ?",
            stretch,
        ).fetchall():
            parts.setdefault((table, row[0]), []).append(row)
    additions = Additions()
    for _, *request in requests:
        additions.add(request, *(parts.get((table, request[0]), ()) for table in ("steps", "findings")))
    additions.write(connection)
    connection.execute("UPDATE summed SET upto = ?", stretch[1:])
    return len(requests) == piece


def catch_up(connection: DatabaseConnection, *, piece: int) -> bool:
    """Run `add_up` in a transaction of its own, if there is any request to add."""
    behind = "SELECT 1 FROM requests WHERE rowid > (SELECT upto FROM summed) LIMIT 1"
    if not adds_later(connection) or connection.execute(behind).fetchone() is None:
        return False  # without a lock
    connection.execute("BEGIN IMMEDIATE")
    try:
        more = add_up(connection, piece=piece)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return more


# --- Reading.


class Rollup(NamedTuple):
    """A row of the table `rollups`."""

    start: int
    tenant: str
    name: str
    requests: int
    accepted: int
    abstained: int
    escalated: int
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    cpu_seconds: float
    joules: float
    joules_low: float
    joules_high: float
    joules_measured: float
    unpriced: int
    compared: int
    compared_unpriced: int
    cost: str
    counterfactual: str
    compared_cost: str


class Stretch(NamedTuple):
    """A stretch of time that rows of one span cover."""

    span: int
    first: int
    until: float


def stretches(since: float, until: float = math.inf, *, hours: bool = False) -> Iterator[Stretch]:
    """Cover a time with whole days, and whole hours around them; the rest at the ends is not covered.

    Args:
        since: The first second; an hour that begins earlier is left out.
        until: The end, not included. Infinity includes the hour and the day that are not over.
        hours: Whether to use hours alone.
    """
    first = _up(since, HOUR)
    last = until if until == math.inf else until // HOUR * HOUR
    if hours:
        yield Stretch(HOUR, first, last)
        return
    day = _up(since, DAY)
    end = last if last == math.inf else last // DAY * DAY
    if day >= end:
        yield Stretch(HOUR, first, last)
        return
    if first < day:
        yield Stretch(HOUR, first, day)
    yield Stretch(DAY, day, end)
    if end < last:
        yield Stretch(HOUR, int(end), last)


def _up(time: float, span: int) -> int:
    return 0 if time <= 0 else math.ceil(time / span) * span


def select_rollups(connection: DatabaseConnection, kind: Kind, stretch: Stretch) -> Iterator[Rollup]:
    """Return the rows of a kind in a stretch of time, of all tenants."""
    where, values = _within(stretch)
    rows = connection.execute(
        f"SELECT start, tenant, name, {', '.join(COLUMNS)} FROM rollups "  # noqa: S608 - our names
        f"WHERE kind = ? AND {where} ORDER BY start, tenant, name",
        (kind, *values),
    )
    return map(Rollup._make, rows)


def sum_rollups(
    connection: DatabaseConnection,
    kind: Kind,
    stretch: Stretch,
    *,
    by: Literal["start", "tenant", "name"],
    tenant: str | None,
    name: str | None = None,
) -> Iterator[Rollup]:
    """Return the rows of a kind in a stretch of time, summed by the database; each amount is a list with spaces."""
    where, values = _within(stretch, tenant, name)
    key = ", ".join(column if column == by else f"min({column})" for column in _KEY[2:])
    joined = "group_concat" if isinstance(connection, sqlite3.Connection) else "string_agg"
    amounts = ", ".join(f"{joined}({column}, ' ')" for column in _MONEY)
    rows = connection.execute(
        f"SELECT {key}, {', '.join(f'sum({column})' for column in SUMMED)}, {amounts} FROM rollups "  # noqa: S608 - our names
        f"WHERE kind = ? AND {where} GROUP BY {by}",
        (kind, *values),
    )
    return map(Rollup._make, rows)


def added_up(amounts: str) -> Decimal:
    """Return the sum of amounts that are separated by spaces."""
    return sum(map(Decimal, amounts.split()), Decimal(0))


def count_requests(
    connection: DatabaseConnection, kind: Kind, stretch: Stretch, *, tenant: str | None, name: str | None = None
) -> Iterator[tuple[str, int, int]]:
    """Return name, start and requests of the rows of a kind in a stretch of time."""
    where, values = _within(stretch, tenant, name)
    return iter(
        connection.execute(
            f"SELECT name, start, sum(requests) FROM rollups WHERE kind = ? AND {where} GROUP BY name, start",  # noqa: S608 - our names
            (kind, *values),
        )
    )


def sum_latencies(
    connection: DatabaseConnection, stretch: Stretch, *, tenant: str | None, times: bool = True
) -> Iterator[tuple[int, int, int]]:
    """Return start, bucket and count of latencies in a period, summed over tenants, unless `times` over times."""
    where, values = _within(stretch, tenant)
    start, by = ("start", "start, bucket") if times else ("min(start)", "bucket")
    query = f"SELECT {start}, bucket, sum(n) FROM latencies WHERE {where} GROUP BY {by}"  # noqa: S608 - our names
    return iter(connection.execute(query, values))


def _within(stretch: Stretch, tenant: str | None = None, name: str | None = None) -> tuple[str, tuple[object, ...]]:
    """Return a condition on rows, and its values."""
    given = {"tenant": tenant, "name": name}
    further = "".join(f" AND {key} = ?" for key, value in given.items() if value is not None)
    values: tuple[object, ...] = (stretch.span, stretch.first, min(stretch.until, 2.0**62))
    return f"span = ? AND start >= ? AND start < ?{further}", (
        *values,
        *(value for value in given.values() if value is not None),
    )


def select_latencies(connection: DatabaseConnection, stretch: Stretch) -> Iterator[tuple[int, str, int, int]]:
    """Return start, tenant, bucket and count of the latencies in a stretch of time."""
    where, values = _within(stretch)
    return iter(connection.execute(f"SELECT start, tenant, bucket, n FROM latencies WHERE {where}", values))  # noqa: S608 - our names


def percentile_of(buckets: dict[int, int], share: float) -> float | None:
    """Return the latency that at least `share` of the requests do not exceed, within 1%; None without requests."""
    total = sum(buckets.values())
    rank = math.ceil(share * total)
    for bucket in sorted(buckets):
        rank -= buckets[bucket]
        if rank <= 0:
            return latency_of(bucket)
    return None

"""The figures of budgets in a SQLite file or a PostgreSQL database that processes share. It knows no limit.

Each budget has one row a span, or a piece of a sliding span: what was taken, what processes hold, and the
most expensive request. What a dead process held counts as taken, since its usage is unknown. On one host the
system tells which process is dead; on several, a process is dead if it has not reported for half a minute.
Held amounts count like taken ones, so an error about that spends nothing twice.
"""

from __future__ import annotations

import math
import os
import secrets
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from coterie.errors import CoterieError, StoreError
from coterie.store.rows import dicts
from coterie.store.statements import DatabaseConnection, columns_of
from coterie.types import Amount

if TYPE_CHECKING:
    from coterie.runtime.postgres import PostgresAddress, PostgresConnection


# --- The spans of budgets: a minute and an hour slide, a day and a month are those of the clock, in UTC.
#
# A span that slides is counted in sixty pieces and the one that has begun: never more than a limit in any minute, and
# what was taken is free again a minute and at most a second later. In a minute of the clock a caller could take a limit
# at its end and another at the beginning of the next.

EVER = "0"
"""The single piece of a budget that never starts anew.

It sorts before every date, so a budget that becomes daily is free of it, and a daily one that becomes
permanent has all its days behind it.
"""
_CLOCK = {"day": "%Y-%m-%d", "month": "%Y-%m", "ever": EVER}
_SLIDING = {"minute": ("%Y-%m-%dT%H:%M:%S", 1), "hour": ("%Y-%m-%dT%H:%M", 60)}
"""The name format of a piece of a sliding span, and its length in seconds."""
_PIECES = 60


class BudgetSpan(NamedTuple):
    """The part of a budget's time that counts at a moment. Names of pieces sort by time."""

    per: str
    now: str
    """The piece in which current usage is counted: a calendar span has only one."""
    since: str
    """The first piece that counts."""
    seconds: float
    """The moment, in seconds since the epoch."""

    @property
    def slides(self) -> bool:
        """Whether the span slides: earlier pieces leave it one by one."""
        return self.per in _SLIDING

    @property
    def name(self) -> str:
        """Readable name of the span: `2026-11-25`, `the last minute`."""
        return f"the last {self.per}" if self.slides else "ever" if self.now == EVER else self.now

    def wait(self, piece: str | None) -> float | None:
        """Return the seconds until a piece no longer counts, or a calendar span ends; None for never."""
        now = datetime.fromtimestamp(self.seconds, UTC)
        match self.per:
            case "minute" | "hour":
                if piece is None:
                    return None
                began = datetime.fromisoformat(piece).replace(tzinfo=UTC)
                ends = began + timedelta(seconds=(_PIECES + 1) * _SLIDING[self.per][1])
            case "day":
                ends = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
            case "month":
                first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
                ends = (first + timedelta(days=32)).replace(day=1)
            case _:
                return None
        return (ends - now).total_seconds()


@lru_cache(maxsize=64)
def piece_of(per: str, second: int) -> str:
    """Return the piece of a span that counts usage in a second; cached, since each call of a model asks."""
    return span_of(per, second).now


def span_of(per: str, seconds: float) -> BudgetSpan:
    """Return the span that counts at a moment, in seconds since the epoch."""
    now = datetime.fromtimestamp(seconds, UTC)
    if per not in _SLIDING:
        name = now.strftime(_CLOCK[per])
        return BudgetSpan(per, name, name, seconds)
    form, width = _SLIDING[per]
    since = now - timedelta(seconds=_PIECES * width)
    return BudgetSpan(per, now.strftime(form), since.strftime(form), seconds)


NANO = Decimal(10) ** 9
MICRO = 1_000_000
_UNITS = ("tokens", "nano", "micro", "requests")
_COLUMNS = (*_UNITS, *(f"held_{unit}" for unit in _UNITS))
_TAKEN = {unit: f"coalesce({unit}, 0) + coalesce(held_{unit}, 0)" for unit in _UNITS}
"""SQL for what counts of each unit."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spent (
    budget TEXT, period TEXT, requests INTEGER DEFAULT 0, tokens INTEGER DEFAULT 0, nano INTEGER DEFAULT 0,
    held_tokens INTEGER DEFAULT 0, held_nano INTEGER DEFAULT 0, PRIMARY KEY (budget, period)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (
    id INTEGER PRIMARY KEY, owner INTEGER, budget TEXT, period TEXT, tokens INTEGER, nano INTEGER
);
"""
_LATER = {
    "spent": ("micro", "held_micro", "most_micro", "held_requests"),
    "held": ("micro", "requests", "expires"),
}
"""Columns that tables of earlier versions lack."""
_LEASE = 30
"""Seconds without a report after which a process of another host counts as dead."""
_COMPARED, _ALIKE = 10.0, 1.0
"""Seconds between two comparisons with the server's clock, and by which accurate clocks may differ."""

_OPENED: set[Path] = set()
"""Files that this process has opened: holdings in any other file belong to an earlier process with its number."""


class LimitRow(NamedTuple):
    """The state of one budget in one span."""

    taken: Amount = Amount()
    held: Amount = Amount()

    @property
    def counted(self) -> Amount:
        """Amount that is not left: taken and held."""
        return self.taken + self.held


class BudgetStorage(ABC):
    """Storage of the figures. All methods are called in a thread."""

    owner: int
    """Identifies the rows of this process."""
    exact: bool
    """Whether a rarely used budget is written at once instead of within a second."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[DatabaseConnection]:
        """Open a transaction that excludes other writers. Raises `StoreError`."""

    def common(self, seconds: float) -> float:
        """Return a moment of this machine's clock in the clock of all sharers; a file belongs to one machine."""
        return seconds

    @abstractmethod
    def close(self) -> None:
        """Close the storage. A second call does nothing."""

    def hold(self, connection: DatabaseConnection, budget: str, period: str, amount: Amount, number: int | None) -> int:
        """Hold an amount for this process, in the row of this number if it still exists; return the row's number.

        The number of a deleted row may belong to another budget by now, also within one transaction.
        """
        _add(connection, budget, period, {f"held_{unit}": value for unit, value in amount._asdict().items()})
        changes = ", ".join(f"{unit} = {unit} + ?" for unit in _UNITS)
        if number is not None:
            changed = f"UPDATE held SET {changes} WHERE id = ? AND owner = ? AND budget = ? AND period = ?"  # noqa: S608
            if connection.execute(changed, (*amount, number, self.owner, budget, period)).rowcount:
                return number
        inserted = connection.execute(
            "INSERT INTO held (owner, budget, period, tokens, nano, micro, requests) VALUES (?, ?, ?, ?, ?, ?, ?) "
            "RETURNING id",
            (self.owner, budget, period, *amount),
        )
        return int(inserted.fetchall()[0][0])


class BudgetFile(BudgetStorage):
    """A file that processes of one host share."""

    exact = True

    def __init__(self, path: Path, is_alive: Callable[[int], bool] | None = None) -> None:
        """Take the path; the first transaction creates the file. `is_alive` returns whether a process is alive."""
        self._path, self._is_alive = path, is_alive or process_is_alive
        self.owner = os.getpid()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def writing(self) -> Iterator[DatabaseConnection]:
        """Open a transaction that excludes other writers. Raises `StoreError`."""
        with self._lock:
            try:
                connection = self._connection = self._connection or self._open()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise StoreError(
                    f"Cannot write the budgets in {str(self._path)!r}: {error}.",
                    hint="Nothing is spent that is not counted: free space on the disk, or make the file writable.",
                ) from error

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # SQLite says why it cannot be opened; its own files take the mode of this one
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10.0)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            self._prepare(connection)
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        declare(connection)
        connection.execute("UPDATE OR IGNORE spent SET period = ? WHERE period = 'ever'", (EVER,))
        connection.execute("UPDATE held SET period = ? WHERE period = 'ever'", (EVER,))
        path = self._path.resolve()
        for number, owner in connection.execute("SELECT id, owner FROM held").fetchall():
            # In a container the next process has the number of the one that was killed.
            before = owner == os.getpid() and path not in _OPENED
            if before or not self._is_alive(owner):
                count_as_taken(connection, number)
        _OPENED.add(path)


class BudgetDatabase(BudgetStorage):
    """Tables of a PostgreSQL database that processes of any host share."""

    exact = False

    def __init__(self, address: PostgresAddress, *, local: Callable[[], float] = time.time) -> None:
        """Take the database; tables are created at the first transaction. `local` is this machine's clock."""
        self._address, self._local = address, local
        self._ahead, self._compared = 0.0, -math.inf
        self.owner = secrets.randbits(62)
        self._lock = threading.Lock()
        self._connection: PostgresConnection | None = None

    @contextmanager
    def writing(self) -> Iterator[DatabaseConnection]:
        """Open a transaction that excludes other writers. Raises `StoreError`."""
        with self._lock:
            try:
                connection = self._connection = self._connection or self._open()
                connection.execute("BEGIN IMMEDIATE")
                connection.lock("budgets")
                yield connection
                self._keep(connection)
                connection.execute("COMMIT")
            except BaseException as error:
                self._give_up()
                if isinstance(error, CoterieError) or not isinstance(error, Exception):
                    raise
                raise self._address.explain(error) from error

    def common(self, seconds: float) -> float:
        """Return a moment in the server's clock: a host with a wrong clock would count in pieces of its own.

        It would also drop pieces that are not over for others.
        """
        return seconds + self._ahead

    def close(self) -> None:
        """Close the connection. A second call does nothing."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _open(self) -> PostgresConnection:
        connection = self._address.connect()
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.lock("budgets")
            connection.make_schema()
            declare(connection)
            self._compare(connection)
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _compare(self, connection: PostgresConnection) -> None:
        """Measure how far the server's clock is ahead; small differences of accurate clocks are ignored."""
        ((server,),) = connection.execute("SELECT CAST(extract(epoch FROM clock_timestamp()) AS FLOAT)").fetchall()
        self._compared = self._local()
        ahead = server - self._compared
        self._ahead = ahead if abs(ahead) > _ALIKE else 0.0

    def _keep(self, connection: PostgresConnection) -> None:
        """Report that this process lives, and count the holdings of dead processes, by the server's clock."""
        if not 0 <= self._local() - self._compared < _COMPARED:
            self._compare(connection)
        now = "CAST(extract(epoch FROM now()) AS BIGINT)"
        connection.execute(f"UPDATE held SET expires = {now} + ? WHERE owner = ?", (_LEASE, self.owner))  # noqa: S608
        gone = connection.execute(f"SELECT id FROM held WHERE expires < {now} AND owner <> ?", (self.owner,))  # noqa: S608
        for (number,) in gone.fetchall():
            count_as_taken(connection, number)

    def _give_up(self) -> None:
        """Roll back the transaction; drop a connection that cannot even do that."""
        connection = self._connection
        try:
            if connection is not None and connection.in_transaction:
                connection.execute("ROLLBACK")
        except Exception:  # noqa: BLE001 - of the library: the connection is of no use
            self._connection = None
            if connection is not None:
                connection.close()


def declare(connection: DatabaseConnection) -> None:
    """Create the tables, or add the columns that they lack."""
    for statement in filter(str.strip, _SCHEMA.split(";")):
        connection.execute(statement)
    for table, columns in _LATER.items():
        column_names = {name for name, _ in columns_of(connection, table)}
        for column in columns:
            if column not in column_names:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} INTEGER DEFAULT 0")


def row(connection: DatabaseConnection, budget: str, since: str) -> LimitRow:
    """Return the state of a budget in all pieces from one on; all 0 if nothing was taken."""
    sums = ", ".join(f"coalesce(sum({column}), 0) AS {column}" for column in _COLUMNS)
    numbers = connection.execute(
        f"SELECT {sums} FROM spent WHERE budget = ? AND period >= ?",  # noqa: S608 - our names
        (budget, since),
    ).fetchall()[0]
    figures = [int(figure) for figure in numbers]
    return LimitRow(Amount(*figures[: len(_UNITS)]), Amount(*figures[len(_UNITS) :]))


def freed_by(connection: DatabaseConnection, budget: str, since: str, unit: str, need: int) -> str | None:
    """Return the piece whose end frees so much of a unit, counting from the oldest; None if all do not suffice."""
    rows = connection.execute(
        f"SELECT period, {_TAKEN[unit]} FROM spent WHERE budget = ? AND period >= ? ORDER BY period",  # noqa: S608
        (budget, since),
    )
    for period, taken in rows.fetchall():
        need -= taken
        if need <= 0:
            return str(period)
    return None


def budgets_like(connection: DatabaseConnection, start: str, since: str) -> list[str]:
    """Return the used budgets, from a piece on, whose names begin with `start`."""
    rows = connection.execute(
        "SELECT DISTINCT budget FROM spent WHERE period >= ? AND substr(budget, 1, ?) = ? ORDER BY budget",
        (since, len(start), start),
    )
    return [budget for (budget,) in rows.fetchall()]


def forget(connection: DatabaseConnection, budget: str, before: str) -> None:
    """Delete the pieces before one; their most expensive request is kept."""
    old = "FROM spent WHERE budget = ? AND period > '' AND period < ?"
    if connection.execute(f"SELECT 1 {old} LIMIT 1", (budget, before)).fetchone() is None:
        return
    (most,) = connection.execute(f"SELECT max(most_micro) {old}", (budget, before)).fetchone()
    _add(connection, budget, "", {})
    connection.execute(
        "UPDATE spent SET most_micro = ? WHERE budget = ? AND period = '' AND coalesce(most_micro, 0) < ?",
        (int(most or 0), budget, int(most or 0)),
    )
    connection.execute(f"DELETE {old}", (budget, before))


def dearest(connection: DatabaseConnection, budget: str) -> int:
    """Return the most that a request took under a budget, in any span; in millionths of a joule."""
    (most,) = connection.execute("SELECT max(most_micro) FROM spent WHERE budget = ?", (budget,)).fetchone()
    return int(most or 0)


def write_back(
    connection: DatabaseConnection,
    number: int,
    taken: Amount,
    freed: Amount,
    *,
    of: tuple[int, str, str] | None = None,
    dearest: int,
    last: bool,
) -> None:
    """Count usage of what a process holds, and free what it no longer holds.

    Args:
        connection: A connection in a transaction.
        number: Number of the row that the process holds.
        taken: Amount taken since the last time.
        freed: Amount no longer held: taken amounts, as far as they were held, and returned ones.
        of: The row's owner, budget and period, since the number may belong to another row by now. None for any.
        dearest: The energy of the most expensive request among them.
        last: Nothing is held afterwards.
    """
    held_row = next(dicts(connection.execute("SELECT * FROM held WHERE id = ?", (number,))), None)
    if held_row is None or of not in {None, (held_row["owner"], held_row["budget"], held_row["period"])}:
        return  # it counts as taken, all of it
    held = Amount(*(int(held_row[unit] or 0) for unit in _UNITS))
    freed = held if last else Amount(*map(min, freed, held))
    free = {f"held_{unit}": -value for unit, value in freed._asdict().items()}
    _add(connection, held_row["budget"], held_row["period"], {**free, **taken._asdict()})
    if dearest:
        connection.execute(
            "UPDATE spent SET most_micro = ? WHERE budget = ? AND period = ? AND coalesce(most_micro, 0) < ?",
            (dearest, held_row["budget"], held_row["period"], dearest),
        )
    if last:
        connection.execute("DELETE FROM held WHERE id = ?", (number,))
    else:
        changes = ", ".join(f"{unit} = coalesce({unit}, 0) - ?" for unit in _UNITS)
        connection.execute(f"UPDATE held SET {changes} WHERE id = ?", (*freed, number))  # noqa: S608 - our names


def count_as_taken(connection: DatabaseConnection, number: int) -> None:
    """Count everything that a dead process held as taken; an unknown number counts nothing."""
    held_row = next(dicts(connection.execute("SELECT * FROM held WHERE id = ?", (number,))), None)
    if held_row is not None:
        held = Amount(*(int(held_row[unit] or 0) for unit in _UNITS))
        write_back(connection, number, held, held, dearest=0, last=True)


def _add(connection: DatabaseConnection, budget: str, period: str, amounts: dict[str, int]) -> None:
    connection.execute(
        "INSERT INTO spent (budget, period) VALUES (?, ?) ON CONFLICT (budget, period) DO NOTHING", (budget, period)
    )
    if not amounts:
        return
    changes = ", ".join(f"{column} = coalesce({column}, 0) + ?" for column in amounts)
    changed = f"UPDATE spent SET {changes} WHERE budget = ? AND period = ?"  # noqa: S608 - our names
    connection.execute(changed, (*amounts.values(), budget, period))


def nano(money: Decimal) -> int:
    """Return money in billionths, rounded up."""
    return int((money * NANO).to_integral_value(ROUND_CEILING))


def micro(joules: float) -> int:
    """Return joules in millionths, rounded up."""
    return math.ceil(joules * MICRO)


def process_is_alive(process: int) -> bool:
    """Return whether a process with this number exists."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

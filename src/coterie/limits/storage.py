"""The figures of budgets in a SQLite file that several processes may share. It knows no limit.

A row a budget and span, or piece of a span that slides: what was taken, what is held for calls that run, and the
dearest request. What a process that
is gone had held counts as taken when the file is opened: nobody knows how far it came.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from decimal import ROUND_CEILING, Decimal
from math import ceil
from pathlib import Path
from typing import NamedTuple

from coterie.errors import StoreError
from coterie.limits.spans import EVER
from coterie.types import Amount

NANO = Decimal(10) ** 9
MICRO = 1_000_000
_COLUMNS = ("requests", "tokens", "nano", "micro", "held_tokens", "held_nano", "held_micro", "most_micro")
_TAKEN = {
    "requests": "requests",
    **{unit: f"coalesce({unit}, 0) + coalesce(held_{unit}, 0)" for unit in ("tokens", "nano", "micro")},
}
"""What counts of each unit."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spent (
    budget TEXT, period TEXT, requests INTEGER DEFAULT 0, tokens INTEGER DEFAULT 0, nano INTEGER DEFAULT 0,
    held_tokens INTEGER DEFAULT 0, held_nano INTEGER DEFAULT 0, PRIMARY KEY (budget, period)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (
    id INTEGER PRIMARY KEY, owner INTEGER, budget TEXT, period TEXT, tokens INTEGER, nano INTEGER
);
"""
_LATER = (("spent", "micro"), ("spent", "held_micro"), ("spent", "most_micro"), ("held", "micro"))
"""Columns that files of earlier versions lack."""

_OPENED: set[Path] = set()
"""Files that this process has opened: what it holds in another is of an earlier process with its number."""


class LimitRow(NamedTuple):
    """How one budget stands in one span."""

    requests: int = 0
    tokens: int = 0
    nano: int = 0
    micro: int = 0
    held_tokens: int = 0
    held_nano: int = 0
    held_micro: int = 0
    most_micro: int = 0
    """The dearest request's."""


class BudgetFile:
    """The file. All of it is called in a thread."""

    def __init__(self, path: Path, is_alive: Callable[[int], bool] | None = None) -> None:
        """Name the file; it is made at the first transaction. `is_alive` says whether a process is."""
        self._path, self._is_alive = path, is_alive or process_is_alive
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other process writes beside. Raises `StoreError`."""
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
        """Free the file. A second call does nothing."""
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
            connection.row_factory = sqlite3.Row
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
        for statement in filter(str.strip, _SCHEMA.split(";")):
            connection.execute(statement)
        for table, column in _LATER:
            known = {each["name"] for each in connection.execute(f"PRAGMA table_info({table})")}
            if column not in known:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} INTEGER DEFAULT 0")
        connection.execute("UPDATE OR IGNORE spent SET period = ? WHERE period = 'ever'", (EVER,))
        connection.execute("UPDATE held SET period = ? WHERE period = 'ever'", (EVER,))
        place = self._path.resolve()
        for each in connection.execute("SELECT * FROM held").fetchall():
            # In a container the next process has the number of the one that was killed.
            before = each["owner"] == os.getpid() and place not in _OPENED
            if before or not self._is_alive(each["owner"]):
                settle(connection, each["id"], None)
        _OPENED.add(place)


def row(connection: sqlite3.Connection, budget: str, since: str) -> LimitRow:
    """How a budget stands in all pieces from one on; all 0 where nothing was taken."""
    sums = ", ".join(f"coalesce(sum({column}), 0) AS {column}" for column in _COLUMNS)
    found = connection.execute(
        f"SELECT {sums} FROM spent WHERE budget = ? AND period >= ?",  # noqa: S608 - our names
        (budget, since),
    ).fetchone()
    return LimitRow(*(int(found[column]) for column in _COLUMNS))


def freed_by(connection: sqlite3.Connection, budget: str, since: str, unit: str, need: int) -> str | None:
    """The piece with which, the oldest first, so much of a unit is free again; None where all of them do not do."""
    found = connection.execute(
        f"SELECT period, {_TAKEN[unit]} FROM spent WHERE budget = ? AND period >= ? ORDER BY period",  # noqa: S608
        (budget, since),
    )
    for period, taken in found.fetchall():
        need -= taken
        if need <= 0:
            return str(period)
    return None


def budgets_like(connection: sqlite3.Connection, start: str, since: str) -> list[str]:
    """Budgets of which something was taken from a piece on, whose names begin so."""
    found = connection.execute(
        "SELECT DISTINCT budget FROM spent WHERE period >= ? AND substr(budget, 1, ?) = ? ORDER BY budget",
        (since, len(start), start),
    )
    return [budget for (budget,) in found.fetchall()]


def forget(connection: sqlite3.Connection, budget: str, before: str) -> None:
    """Drop the pieces before one; the dearest request in them is still known."""
    old = "FROM spent WHERE budget = ? AND period > '' AND period < ?"
    if connection.execute(f"SELECT 1 {old} LIMIT 1", (budget, before)).fetchone() is None:
        return
    (most,) = connection.execute(f"SELECT max(most_micro) {old}", (budget, before)).fetchone()
    _add(connection, budget, "", {})
    connection.execute(
        "UPDATE spent SET most_micro = max(coalesce(most_micro, 0), ?) WHERE budget = ? AND period = ''",
        (int(most or 0), budget),
    )
    connection.execute(f"DELETE {old}", (budget, before))


def dearest(connection: sqlite3.Connection, budget: str) -> int:
    """The most that a request took under a budget, in any span; in millionths of a joule."""
    (most,) = connection.execute("SELECT max(most_micro) FROM spent WHERE budget = ?", (budget,)).fetchone()
    return int(most or 0)


def count(connection: sqlite3.Connection, budget: str, period: str) -> None:
    """Count a request."""
    _add(connection, budget, period, {"requests": 1})


def hold(connection: sqlite3.Connection, budget: str, period: str, amount: Amount) -> int:
    """Hold an amount for what runs; its number is for `settle`."""
    _add(connection, budget, period, {f"held_{unit}": value for unit, value in asdict(amount).items()})
    cursor = connection.execute(
        "INSERT INTO held (owner, budget, period, tokens, nano, micro) VALUES (?, ?, ?, ?, ?, ?)",
        (os.getpid(), budget, period, amount.tokens, amount.nano, amount.micro),
    )
    return int(cursor.lastrowid or 0)


def settle(connection: sqlite3.Connection, number: int, took: Amount | None) -> None:
    """Take what was taken in place of what was held; None for all that was held. Settled twice, it counts once."""
    found = connection.execute("SELECT * FROM held WHERE id = ?", (number,)).fetchone()
    if found is None:
        return
    held = Amount(found["tokens"], found["nano"], int(found["micro"] or 0))
    changes = {f"held_{unit}": -value for unit, value in asdict(held).items()}
    _add(connection, found["budget"], found["period"], {**changes, **asdict(took or held)})
    if took is not None:
        connection.execute(
            "UPDATE spent SET most_micro = max(coalesce(most_micro, 0), ?) WHERE budget = ? AND period = ?",
            (took.micro, found["budget"], found["period"]),
        )
    connection.execute("DELETE FROM held WHERE id = ?", (number,))


def _add(connection: sqlite3.Connection, budget: str, period: str, amounts: dict[str, int]) -> None:
    connection.execute("INSERT OR IGNORE INTO spent (budget, period) VALUES (?, ?)", (budget, period))
    if not amounts:
        return
    changes = ", ".join(f"{column} = coalesce({column}, 0) + ?" for column in amounts)
    changed = f"UPDATE spent SET {changes} WHERE budget = ? AND period = ?"  # noqa: S608 - our names
    connection.execute(changed, (*amounts.values(), budget, period))


def nano(money: Decimal) -> int:
    """Money in billionths, rounded up."""
    return int((money * NANO).to_integral_value(ROUND_CEILING))


def micro(joules: float) -> int:
    """Joules in millionths, rounded up."""
    return ceil(joules * MICRO)


def process_is_alive(process: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

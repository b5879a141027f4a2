"""The interface of every database for the statements of the store, and its list of tables.

Statements are written once, in the SQL that SQLite and PostgreSQL share, with `?` for values. Tables are created in
SQLite's terms, which `runtime.postgres` translates.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Protocol


class Cursor(Protocol):
    """The rows of a statement."""

    @property
    def description(self) -> Any: ...  # noqa: ANN401, D102 - of each column a sequence, its name first
    @property
    def rowcount(self) -> int: ...  # noqa: D102
    def fetchone(self) -> Any: ...  # noqa: ANN401, D102
    def fetchall(self) -> list[Any]: ...  # noqa: D102
    def __iter__(self) -> Iterator[Any]: ...


class DatabaseConnection(Protocol):
    """A connection to SQLite or PostgreSQL. Transactions are begun and ended by hand."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, also if it has failed or its state is unknown."""
        ...

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Cursor:
        """Run one statement."""
        ...

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> object:
        """Run one statement for each row."""
        ...

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        ...


_ROWS = 16
"""Most rows of one statement: so many different statements of a table are prepared."""


def insert_many(connection: DatabaseConnection, into: str, rows: Sequence[Sequence[Any]], behind: str = "") -> None:
    """Insert rows. SQLite gets many with each statement.

    The GIL is released and acquired again at each step of a statement: where an event loop is busy, that takes longer
    than the statement.

    Args:
        connection: In a transaction.
        into: The table, optionally with its columns; a constant of ours.
        rows: Values in the order of the columns.
        behind: What follows the values; a constant of ours.
    """
    if not rows:
        return
    if not isinstance(connection, sqlite3.Connection):
        connection.executemany(_insertion(into, len(rows[0]), 1, behind), rows)
        return
    for start in range(0, len(rows), _ROWS):
        chunk = rows[start : start + _ROWS]
        statement = _insertion(into, len(rows[0]), len(chunk), behind)
        connection.execute(statement, [*chain.from_iterable(chunk)])


@lru_cache(maxsize=256)
def _insertion(into: str, columns: int, rows: int, behind: str) -> str:
    """Return the statement that inserts `rows` rows; the same object each time, so that its hash is cached."""
    places = f"({', '.join('?' * columns)})"
    return f"INSERT INTO {into} VALUES {', '.join([places] * rows)}{behind}"  # noqa: S608 - no value is in it


def tables_of(connection: DatabaseConnection) -> list[str]:
    """Return the names of all tables."""
    if not isinstance(connection, sqlite3.Connection):
        query = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
    else:
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
    return [name for (name,) in connection.execute(query).fetchall()]


def columns_of(connection: DatabaseConnection, table: str) -> list[tuple[str, str | None]]:
    """Return the columns of a table, each with the table that it refers to."""
    if not isinstance(connection, sqlite3.Connection):
        query = """
            SELECT attname, (
                SELECT confrelid::regclass::text FROM pg_constraint
                WHERE conrelid = attrelid AND contype = 'f' AND attnum = ANY (conkey) LIMIT 1
            ) FROM pg_attribute WHERE attrelid = CAST(? AS regclass) AND attnum > 0 AND NOT attisdropped
        """
        return [(name, refers) for name, refers in connection.execute(query, (table,)).fetchall()]
    refers = {row[3]: row[2] for row in connection.execute(f"PRAGMA foreign_key_list({table})").fetchall()}
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})").fetchall()]
    return [(name, refers.get(name)) for name in names]

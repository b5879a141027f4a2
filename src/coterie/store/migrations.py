"""The schema, as the numbered steps that lead to it.

A database's version is the number of steps it has taken (`PRAGMA user_version`). A step that was released is
never changed; to change the schema, write the next one, append it to `MIGRATIONS` and update the expected
schema in the tests.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from coterie.errors import StoreError

APPLICATION_ID = 0x436F7465
"""Marks a file as ours: "Cote"."""


def m001_ledger(connection: sqlite3.Connection) -> None:
    """One row a settled request, its steps, its trace. Money is a decimal number as text; NULL is unknown."""
    connection.execute(
        """
        CREATE TABLE requests (
            id TEXT PRIMARY KEY NOT NULL,
            time REAL NOT NULL,
            tenant TEXT NOT NULL,
            session TEXT,
            label TEXT NOT NULL,
            status TEXT NOT NULL,
            tokens_in INTEGER NOT NULL,
            tokens_out INTEGER NOT NULL,
            milliseconds REAL NOT NULL,
            cpu_seconds REAL NOT NULL,
            joules REAL NOT NULL,
            joules_kind TEXT NOT NULL,
            cost TEXT,
            counterfactual_cost TEXT
        )
        """
    )
    connection.execute("CREATE INDEX requests_by_time ON requests (time)")
    connection.execute(
        """
        CREATE TABLE steps (
            request TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            producer TEXT NOT NULL,
            engine TEXT NOT NULL,
            tokens_in INTEGER NOT NULL,
            tokens_out INTEGER NOT NULL,
            milliseconds REAL NOT NULL,
            cpu_seconds REAL NOT NULL,
            joules REAL NOT NULL,
            joules_kind TEXT NOT NULL,
            cost TEXT,
            PRIMARY KEY (request, position)
        ) WITHOUT ROWID
        """
    )
    connection.execute(
        """
        CREATE TABLE traces (
            request TEXT PRIMARY KEY NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
            trace TEXT NOT NULL
        )
        """
    )


def m002_sessions(connection: sqlite3.Connection) -> None:
    """Sessions by tenant, with the lines of their context."""
    connection.execute(
        """
        CREATE TABLE sessions (
            tenant TEXT NOT NULL,
            id TEXT NOT NULL,
            used REAL NOT NULL,
            PRIMARY KEY (tenant, id)
        ) WITHOUT ROWID
        """
    )
    connection.execute("CREATE INDEX sessions_by_use ON sessions (used)")
    connection.execute(
        """
        CREATE TABLE entries (
            id INTEGER PRIMARY KEY,
            tenant TEXT NOT NULL,
            session TEXT NOT NULL,
            time REAL NOT NULL,
            producer TEXT NOT NULL,
            label TEXT NOT NULL,
            kind TEXT NOT NULL,
            content TEXT NOT NULL,
            FOREIGN KEY (tenant, session) REFERENCES sessions (tenant, id) ON DELETE CASCADE
        )
        """
    )
    connection.execute("CREATE INDEX entries_by_session ON entries (tenant, session, id)")


def m003_requests_of_a_session(connection: sqlite3.Connection) -> None:
    """A session's requests are found by it, so that erasing it need not read the whole ledger."""
    connection.execute("CREATE INDEX requests_by_session ON requests (tenant, session) WHERE session IS NOT NULL")


def m004_ranges_and_findings(connection: sqlite3.Connection) -> None:
    """Remembered tokens and the range of an estimate; who found what, as figures, so that a report reads no trace."""
    for table in ("requests", "steps"):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN tokens_cached INTEGER NOT NULL DEFAULT 0")
        connection.execute(f"ALTER TABLE {table} ADD COLUMN joules_low REAL")
        connection.execute(f"ALTER TABLE {table} ADD COLUMN joules_high REAL")
    connection.execute(
        """
        CREATE TABLE findings (
            request TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            specialist TEXT NOT NULL,
            accepted INTEGER NOT NULL,
            confidence REAL NOT NULL,
            PRIMARY KEY (request, position)
        ) WITHOUT ROWID
        """
    )


def m005_feedback(connection: sqlite3.Connection) -> None:
    """What askers say of answers: the newest of each asker about each finding. `correct` is NULL where nobody says."""
    connection.execute(
        """
        CREATE TABLE feedback (
            request TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
            key TEXT NOT NULL,
            specialist TEXT NOT NULL,
            time REAL NOT NULL,
            thumb TEXT,
            value TEXT,
            comment TEXT NOT NULL,
            correct INTEGER,
            PRIMARY KEY (request, key, specialist)
        ) WITHOUT ROWID
        """
    )


def m006_trainings(connection: sqlite3.Connection) -> None:
    """What trainings took: a version's report cannot say it, since the same data give the same version."""
    connection.execute(
        """
        CREATE TABLE trainings (
            specialist TEXT NOT NULL,
            version TEXT NOT NULL,
            time REAL NOT NULL,
            seconds REAL NOT NULL,
            cpu_seconds REAL NOT NULL,
            joules REAL NOT NULL,
            joules_kind TEXT NOT NULL,
            cost TEXT
        )
        """
    )


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    m001_ledger,
    m002_sessions,
    m003_requests_of_a_session,
    m004_ranges_and_findings,
    m005_feedback,
    m006_trainings,
)
"""Every step, in order."""


def migrate(connection: sqlite3.Connection) -> None:
    """Take the steps that a database still lacks, all in one transaction.

    Raises:
        StoreError: the database belongs to another program or to a newer Coterie.
    """
    connection.execute("BEGIN")
    try:
        if _version(connection) == len(MIGRATIONS):
            return
    finally:
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Look again: another process may have migrated while this one waited for the lock.
        for step in MIGRATIONS[_version(connection) :]:
            step(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check_current(connection: sqlite3.Connection) -> None:
    """Raises `StoreError` unless a database that cannot be changed has all steps."""
    if (version := _version(connection)) < len(MIGRATIONS):
        raise StoreError(
            f"The database has schema {version} and cannot be written; this Coterie reads schema {len(MIGRATIONS)}.",
            hint="Open it once where it can be written: any command that reads it brings it up to date.",
        )


def _version(connection: sqlite3.Connection) -> int:
    """How many steps the database has taken, after checking that it is ours to touch.

    Call it in a transaction: what it reads must be of one moment.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if owner != APPLICATION_ID and (owner or version or tables):
        raise StoreError(
            f"The database belongs to another program: application id {owner}, {tables} tables and indexes.",
            hint="Choose another `path` under [store].",
        )
    if version > len(MIGRATIONS):
        raise StoreError(
            f"The database has schema {version}; this Coterie knows schemas up to {len(MIGRATIONS)}.",
            hint="A newer Coterie wrote it. Upgrade: pip install --upgrade coterie",
        )
    return version

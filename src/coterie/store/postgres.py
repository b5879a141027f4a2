"""The store in PostgreSQL: the same tables and statements, for networks that run on several hosts.

Differences from a SQLite file: settlements that arrive together are copied table by table. An answer waits for the
server's own commit, whatever `sync_seconds` says. One of all processes deletes old rows. Erased content is gone from
the tables' files, which are rewritten, but the server's write-ahead log and its backups are the operator's
responsibility.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from coterie.runtime.postgres import PostgresAddress, PostgresConnection
from coterie.store.erasure import delete_old
from coterie.store.rows import delete_sessions
from coterie.store.sqlite import MIGRATIONS, SQLiteStore, Sweep, check_known
from coterie.store.statements import DatabaseConnection, ReadThread, WriteThread, tables_of

_DAY = 86_400.0
_VERSION = "coterie_schema"
"""The table that holds the number of schema steps that were taken."""


class PostgresStore(SQLiteStore):
    """Implements `protocols.Store`. Create one with `await PostgresStore.connect(...)`.

    Any number of stores may share a schema.
    """

    @classmethod
    async def connect(
        cls,
        address: PostgresAddress,
        *,
        session_days: float,
        keep_content: bool,
        content_days: float | None = None,
        clock: Callable[[], float] = time.time,
        queue: int = 1024,
        busy_seconds: float = 5.0,
    ) -> PostgresStore:
        """Connect, create missing tables, and bring the schema up to date.

        Args:
            address: The database and the schema in it.
            session_days: A session not used for so many days is forgotten.
            keep_content: Whether traces keep the texts of callers and models.
            content_days: Data about a request besides figures is deleted after so many days; None for never.
            clock: Seconds since the epoch.
            queue: Writes, and reads of each kind, that may wait; one more raises `Overloaded`.
            busy_seconds: How long to wait for a lock, and for a server that starts.

        Raises:
            StoreError: the server cannot be reached, refuses, or a newer Coterie made the tables.
        """
        days = session_days if content_days is None else min(session_days, content_days)
        keep_traces = None if content_days is None else content_days * _DAY
        sweep = PostgresSweep(clock=clock, keep=days * _DAY, keep_traces=keep_traces)
        opens = partial(address.connect, busy_seconds)
        writer = WriteThread(connect=opens, prepare=migrate, maintain=sweep, explain=address.explain, limit=queue)
        lookups, totals = (ReadThread(connect=opens, explain=address.explain, limit=queue) for _ in range(2))
        await writer.open()
        return cls(writer=writer, lookups=lookups, totals=totals, keep_content=keep_content, sweep=sweep)


class PostgresSweep(Sweep):
    """Deletes old rows, in one process at a time, and rewrites tables from which something was erased."""

    def lock(self, connection: DatabaseConnection) -> None:
        """Lock the tables for writers before rows are erased; readers continue."""
        connection.execute(
            "LOCK TABLE requests, traces, sessions, entries, feedback, examples, labels IN SHARE ROW EXCLUSIVE MODE"
        )

    def _sweep(self, connection: DatabaseConnection) -> None:
        """Delete old rows if it is time, and rewrite the tables from which something was erased."""
        now = self._clock()
        if self._is_due(now):
            self._delete(connection, now)
        if self._erased:
            for table in tables_of(connection):
                connection.execute(f"VACUUM (FULL) {table}")
            self._erased = False

    def _delete(self, connection: DatabaseConnection, now: float) -> None:
        """Delete old rows, unless another process is doing so."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            if isinstance(connection, PostgresConnection) and connection.try_lock("sweep"):
                delete_sessions(connection, expired=now - self._keep)
                if self._keep_traces is not None:
                    delete_old(connection, before=now - self._keep_traces)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def migrate(connection: DatabaseConnection) -> None:
    """Create the schema, or run its missing steps, in one transaction. Raises `StoreError` for a newer one."""
    assert isinstance(connection, PostgresConnection)  # noqa: S101 - of this module's own making
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.lock("schema")
        connection.make_schema()
        if _VERSION not in tables_of(connection):
            connection.execute(f"CREATE TABLE {_VERSION} (version INTEGER NOT NULL)")
            connection.execute(f"INSERT INTO {_VERSION} VALUES (0)")  # noqa: S608 - our name
        (version,) = connection.execute(f"SELECT version FROM {_VERSION}").fetchall()[0]  # noqa: S608 - our name
        check_known(version)
        for step in MIGRATIONS[version:]:
            step(connection)
        if version < len(MIGRATIONS):
            connection.execute(f"UPDATE {_VERSION} SET version = ?", (len(MIGRATIONS),))  # noqa: S608 - our name
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")

"""The store on one SQLite file: ledger, traces and sessions, safe against a killed process and a cut power line.

Notable: an answer is given only after its settlement is committed with an fsync; settlements that arrive
together share one. It does not know what a request is worth or when a session should be remembered.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from coterie.errors import InputError
from coterie.types import Context, LedgerSummary, Settlement, Trace

from ._connection import Connect, check_writable, connect, explain, set_patience
from ._migrations import migrate
from ._rows import delete_sessions, insert_settlement, select_context, select_trace
from ._summary import select_summary
from ._threads import Reader, Writer

_DAY = 86_400.0
_SWEEP = 3600.0
"""Seconds between two looks for expired sessions."""


class SQLiteStore:
    """Implements `protocols.Store`. Make one with `await SQLiteStore.open(...)`; several processes may share a file."""

    def __init__(self, *, writer: Writer, lookups: Reader, totals: Reader, keep_content: bool, sweep: _Sweep) -> None:
        self._writer, self._lookups, self._totals = writer, lookups, totals
        self._keep_content, self._sweep = keep_content, sweep

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        session_days: float,
        keep_content: bool,
        clock: Callable[[], float] = time.time,
        queue: int = 1024,
        busy_seconds: float = 5.0,
        connect: Connect = connect,
    ) -> SQLiteStore:
        """Open the file, or make it, and bring its schema up to date.

        Args:
            path: The database; its folder is made if it is missing.
            session_days: A session not used for so many days is forgotten.
            keep_content: Whether traces keep the asker's and the models' texts.
            clock: Seconds since the epoch: what "not used for" is measured by.
            queue: Writes, and reads of each kind, that may wait; one more raises `Overloaded`.
            busy_seconds: How long to wait for another process's lock.
            connect: Opens a connection; tests pass one that fails.

        Raises:
            StoreError: it cannot be opened, is no database of ours, or is a newer Coterie's.
        """
        opens = partial(connect, path, busy_seconds)
        sweep = _Sweep(clock=clock, keep=session_days * _DAY)
        told = partial(explain, path=path)
        writer = Writer(connect=opens, prepare=_prepare, maintain=sweep, explain=told, limit=queue)
        lookups, totals = (Reader(connect=opens, explain=told, limit=queue) for _ in range(2))
        await writer.open()
        return cls(writer=writer, lookups=lookups, totals=totals, keep_content=keep_content, sweep=sweep)

    async def settle(self, settlement: Settlement) -> None:
        """Write all of it in one transaction; on return it is on the disk."""
        await self._writer.run(
            partial(
                insert_settlement,
                settlement=settlement,
                keep_content=self._keep_content,
                expired=self._sweep.expired(),
            )
        )

    async def context(self, session: str, tenant: str) -> Context:
        """The newest lines of the tenant's session; empty if it is unknown, another tenant's or expired."""
        _check_name("session", session)
        _check_name("tenant", tenant)
        expired = self._sweep.expired()
        return await self._lookups.run(partial(select_context, session=session, tenant=tenant, expired=expired))

    async def trace(self, trace_id: str, tenant: str) -> Trace | None:
        """A settled trace, or None if it is unknown or another tenant's."""
        return await self._lookups.run(partial(select_trace, trace_id=trace_id, tenant=tenant))

    async def summary(self, *, since: float = 0.0) -> LedgerSummary:
        """Totals over requests admitted at or after `since`; never delays the other reads."""
        return await self._totals.run(partial(select_summary, since=since))

    async def close(self) -> None:
        """Finish what is queued and free the file. A second call does nothing."""
        await asyncio.gather(self._lookups.close(), self._totals.close())
        await self._writer.close()  # last, so that closing folds the write-ahead log into the file


class _Sweep:
    """Deletes expired sessions now and then, and every trace of them in the write-ahead log."""

    def __init__(self, *, clock: Callable[[], float], keep: float) -> None:
        self._clock, self._keep = clock, keep
        self._due = float("-inf")
        self._unwiped = False

    def expired(self) -> float:
        """A session last used before this time is forgotten."""
        return self._clock() - self._keep

    def __call__(self, connection: sqlite3.Connection) -> None:
        now = self._clock()
        if now >= self._due:
            self._due = now + _SWEEP
            self._unwiped |= delete_sessions(connection, expired=now - self._keep) > 0
        if self._unwiped:
            self._unwiped = not _wipe_log(connection)


def _prepare(connection: sqlite3.Connection) -> None:
    migrate(connection)
    check_writable(connection)


def _wipe_log(connection: sqlite3.Connection) -> bool:
    """Empty the write-ahead log, where deleted content may still stand. False if a reader needs it just now."""
    patience = set_patience(connection, 0)
    try:
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(truncate)").fetchone()
    finally:
        set_patience(connection, patience)
    return not busy


def _check_name(what: str, name: str) -> None:
    """Refuse a name the database cannot hold before any work is done for it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"The {what} name {name!r} is no valid Unicode text.", hint="Send another name.") from None

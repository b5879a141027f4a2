"""The store on one SQLite file: ledger, traces and sessions, safe against a killed process and a power failure.

Notable: an answer is given only after its settlement is committed, and settlements that arrive together share a commit.
With `sync_seconds` the fsync follows within so many seconds, for all of them together. A power failure in between loses
these settlements, and nothing else: the file stays intact. The store does not know the value of a request or when a
session should be remembered.
"""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from coterie.errors import CoterieError, InputError, StoreError
from coterie.protocols import Audit
from coterie.store.erasure import ErasureScope, Holdings, delete_old, erase_holdings, select_export, select_holdings
from coterie.store.flywheel import FlywheelTables
from coterie.store.rollups import PIECE, add_up, catch_up, create_mark, create_tables
from coterie.store.rows import (
    Complaints,
    SettlementWork,
    bare_feedback,
    check_feedback,
    delete_sessions,
    erase_session,
    insert_feedback,
    is_correct,
    select_chosen,
    select_complaints,
    select_context,
    select_corrections,
    select_opinions,
    select_request_page,
    select_said,
    select_session_page,
    select_sessions,
    select_sites,
    select_trace,
)
from coterie.store.statements import DatabaseConnection, ReadThread, WriteThread
from coterie.store.summary import insert_training, select_ledger, select_summary, select_totals
from coterie.types import (
    TOTALS_PARTS,
    AuditEvent,
    Context,
    Feedback,
    Grouping,
    Ledger,
    LedgerSummary,
    Opinion,
    RequestFilter,
    RequestPage,
    SessionPage,
    SessionSummary,
    Settlement,
    SiteSummary,
    Totals,
    TotalsPart,
    Trace,
    Training,
)

Connect = Callable[[Path, float], sqlite3.Connection]
"""A function that opens the file and waits so many seconds for another process's lock; tests pass a failing one."""

_WAL_BYTES = 16 * 1024 * 1024
"""Size to which the write-ahead log is truncated after a checkpoint."""
_WAL_PAGES = 4_000
"""Pages in the log after which a checkpoint runs.

A commit waits some milliseconds for a checkpoint. With SQLite's own 1,000 pages, one request in a hundred waited.
"""

_STATEMENTS = 512
"""Prepared statements of a connection: insertions of several rows need one for each number of rows."""

_HINTS = {
    "SQLITE_NOTADB": "It is no SQLite file. Move it away to start a new one, or change `path` under [store].",
    "SQLITE_CORRUPT": "It is damaged. Restore a copy or try `sqlite3 FILE .recover`; moving it away starts a new one.",
    "SQLITE_BUSY": "Another program has locked it. Close that program (a database browser, a backup) and try again.",
    "SQLITE_LOCKED": "Another program has locked it. Close that program and try again.",
    "SQLITE_READONLY": "It cannot be written. Give this user write permission to the file and its folder.",
    "SQLITE_CANTOPEN": "Check that the folder exists, is writable, and that the path is no folder itself.",
    "SQLITE_PERM": "Give this user permission to read and write the file and its folder.",
    "SQLITE_FULL": "The disk is full. Free some space; what was settled before is safe.",
    "SQLITE_IOERR": "The disk reported an error. Check its health and free space; what was settled before is safe.",
}

_OPENING_PAUSE = 0.01  # seconds between two tries to get a file that others are opening


def connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """Open a connection with our settings: write-ahead log, an fsync at every commit, deleted content overwritten.

    Transactions are begun and ended by hand. The connection must be used and closed in the thread that opens it.
    """
    _create_private(path)
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, cached_statements=_STATEMENTS)
    try:
        _configure(connection, busy_seconds)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_for_reading(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """Open a connection to a file that this process may not write, in a folder where it may not create files either.

    SQLite reads a write-ahead log only if it may create an index of the log, or finds one. Without a log, or with an
    empty one, the file is complete: it is read as immutable.

    Raises:
        StoreError: there is a log that cannot be read this way; the newest settlements would be missing.
    """
    address = f"file:{quote(str(path.absolute()))}"
    log = path.with_name(f"{path.name}-wal")
    still = not log.exists() or not log.stat().st_size
    try:
        connection = sqlite3.connect(
            f"{address}?{'immutable=1' if still else 'mode=ro'}", uri=True, timeout=busy_seconds, isolation_level=None
        )
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        if still:
            raise
        raise StoreError(
            f"The database {str(path)!r} has a write-ahead log, which cannot be read where nothing can be written.",
            hint="Copy the database and the files beside it to a folder that can be written.",
        ) from error
    connection.execute("PRAGMA trusted_schema = off")
    return connection


def connect_to_nothing(name: str, busy_seconds: float) -> sqlite3.Connection:
    """Open a connection to an empty database in memory, which all connections of this name share."""
    address = f"file:{name}?mode=memory&cache=shared"
    return sqlite3.connect(address, uri=True, timeout=busy_seconds, isolation_level=None)


def is_writable(path: Path) -> bool:
    """Return whether this process may write a file and create others beside it, as SQLite does."""
    effective = os.access in os.supports_effective_ids
    return all(os.access(file, os.W_OK, effective_ids=effective) for file in (path, path.parent))


def _configure(connection: sqlite3.Connection, busy_seconds: float) -> None:
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if mode != "wal":
        mode = _begin_log(connection, busy_seconds)
    if mode != "wal":
        raise StoreError(
            f"The database needs a write-ahead log; its file system offers journal mode {mode!r} only.",
            hint="Put the file on a local disk: change `path` under [store].",
        )
    connection.execute("PRAGMA synchronous = full")
    connection.execute("PRAGMA foreign_keys = on")
    connection.execute("PRAGMA secure_delete = on")
    connection.execute("PRAGMA trusted_schema = off")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")


def _begin_log(connection: sqlite3.Connection, busy_seconds: float) -> str:
    """Switch to a write-ahead log, and return the journal mode after that.

    Two processes that open a new file at the same time both need an exclusive lock. SQLite refuses one of them without
    waiting, as waiting for each other could last forever.
    """
    end = time.monotonic() + busy_seconds
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode = wal").fetchone()[0])
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorname", "") != "SQLITE_BUSY" or time.monotonic() > end:
                raise
            time.sleep(_OPENING_PAUSE)


def check_writable(connection: sqlite3.Connection) -> None:
    """Raise the error of a first write. A lock that another process holds just now raises nothing."""
    patience = set_patience(connection, 0)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorname", "") != "SQLITE_BUSY":
            raise
    finally:
        set_patience(connection, patience)


def set_patience(connection: DatabaseConnection, milliseconds: int) -> int:
    """Set how long to wait for another process's lock, in milliseconds, and return the previous value."""
    before = int(connection.execute("PRAGMA busy_timeout").fetchone()[0])
    connection.execute(f"PRAGMA busy_timeout = {milliseconds}")
    return before


def sync_log(path: Path) -> None:
    """Bring the write-ahead log of a database to the disk. There is no log after a checkpoint, which syncs it."""
    try:
        log = os.open(path.with_name(f"{path.name}-wal"), os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(log)
    finally:
        os.close(log)


def _create_private(path: Path) -> None:
    """Create folder and file readable by this user only; SQLite gives its side files the same mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def explain(error: Exception, path: Path) -> StoreError:
    """Return a `StoreError` that says what went wrong with the file and how to fix it, without any of its content.

    Args:
        error: The error of the library or the file system; a `StoreError` is passed through.
        path: The database.
    """
    if isinstance(error, StoreError):
        return StoreError(error.message, hint=error.hint)
    if isinstance(error, sqlite3.Error):
        name = getattr(error, "sqlite_errorname", None) or type(error).__name__
        hint = next((hint for code, hint in _HINTS.items() if name.startswith(code)), "")
        return StoreError(f"Cannot use the database {str(path)!r}: {error} ({name}).", hint=hint)
    if isinstance(error, OSError):
        hint = "Check that the folder exists and is writable; `path` under [store] names the file."
        return StoreError(f"Cannot use the database {str(path)!r}: {error.strerror or error}.", hint=hint)
    return StoreError(f"Cannot use the database {str(path)!r}: {type(error).__name__}.")


# --- Migrations.

APPLICATION_ID = 0x436F7465
"""Identifies a file as ours: "Cote"."""


def m008_read_models(connection: DatabaseConnection) -> None:
    """Create the ledger by hour and day, and the indexes of the pages of requests and sessions."""
    create_tables(connection)


def _step(file: Path) -> Callable[[DatabaseConnection], None]:
    """Return a step that runs the statements of a file, in order."""
    lines = (line for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if not line.startswith("--"))
    statements = [statement for piece in "".join(lines).split(";\n") if (statement := piece.strip())]

    def take(connection: DatabaseConnection) -> None:
        for statement in statements:
            connection.execute(statement)

    return take


def m013_sums_follow(connection: DatabaseConnection) -> None:
    """Let the sums of a file follow its settlements, with a mark that says how far they are."""
    create_mark(connection)


STEPS: Mapping[str, Callable[[DatabaseConnection], None]] = {
    migration.__name__: migration for migration in (m008_read_models, m013_sums_follow)
} | {f"m{file.stem}": _step(file) for file in Path(__file__).with_name("migrations").glob("*.sql")}
"""Every migration step by name: the files of `migrations`, and the steps that are code."""
MIGRATIONS: tuple[Callable[[DatabaseConnection], None], ...] = tuple(STEPS[name] for name in sorted(STEPS))
"""All migrations, in order."""


def migrate(connection: DatabaseConnection) -> None:
    """Run the steps that a database still lacks, all in one transaction.

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


def check_current(connection: DatabaseConnection) -> None:
    """Check that a read-only database has all steps. Raises `StoreError` unless it has."""
    if (version := _version(connection)) < len(MIGRATIONS):
        raise StoreError(
            f"The database has schema {version} and cannot be written; this Coterie reads schema {len(MIGRATIONS)}.",
            hint="Open it once where it can be written: any command that reads it brings it up to date.",
        )


def _version(connection: DatabaseConnection) -> int:
    """Return the number of steps that the database has taken, after checking that it is ours.

    Call it in a transaction: it reads several times, and all reads must be of the same moment.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if owner != APPLICATION_ID and (owner or version or tables):
        raise StoreError(
            f"The database belongs to another program: application id {owner}, {tables} tables and indexes.",
            hint="Choose another `path` under [store].",
        )
    check_known(version)
    return version


def check_known(version: int) -> None:
    """Check the version of a schema. Raises `StoreError` for a schema that a newer Coterie made."""
    if version > len(MIGRATIONS):
        raise StoreError(
            f"The database has schema {version}; this Coterie knows schemas up to {len(MIGRATIONS)}.",
            hint="A newer Coterie wrote it. Upgrade: pip install --upgrade coterie",
        )


# --- The store on one SQLite file: ledger, traces and sessions, safe against a killed process and a power failure.

_DAY = 86_400.0
_SWEEP = 3600.0
"""Seconds between two searches for expired sessions; the file is rewritten for them once a day at most."""
_BATCHES = 32
"""Commits after which sums are updated if there is no pause before; about a millisecond's work."""
_WIPES, _PAUSE = 100, 0.05
"""Attempts to overwrite what was erased, and seconds between two of them."""


class SQLiteStore:
    """Implements `protocols.Store`. Create one with `await SQLiteStore.open(...)`.

    Several processes may share a file.
    """

    def __init__(
        self, *, writer: WriteThread, lookups: ReadThread, totals: ReadThread, keep_content: bool, sweep: Sweep
    ) -> None:
        self._writer, self._lookups, self._totals = writer, lookups, totals
        self._keep_content, self._sweep = keep_content, sweep
        self.flywheel = FlywheelTables(write=writer.run, read=totals.run)
        """Implements `protocols.FlywheelStore` on the same file."""

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        session_days: float,
        keep_content: bool,
        content_days: float | None = None,
        clock: Callable[[], float] = time.time,
        queue: int = 1024,
        busy_seconds: float = 5.0,
        sync_seconds: float = 0.0,
        connect: Connect = connect,
        reading: bool = False,
    ) -> SQLiteStore:
        """Open the file, or create it, and bring its schema up to date.

        Args:
            path: The database; its folder is created if it is missing.
            session_days: A session not used for so many days is forgotten.
            keep_content: Whether traces keep the texts of callers and models.
            content_days: Traces, and other data about a request besides figures, are deleted after so many days, and so
                are sessions that were not used for as long; None for never.
            clock: Seconds since the epoch, by which "not used for" is measured.
            queue: Writes, and reads of each kind, that may wait; one more raises `Overloaded`.
            busy_seconds: How long to wait for another process's lock.
            sync_seconds: A settlement is safe from a power failure after so many seconds; 0 for before `settle`
                returns. It is safe from a killed process by then in any case.
            connect: Opens a connection; tests pass one that fails.
            reading: Whether the store is only read: no file is created, and a file without write permission can be
                read.

        Raises:
            StoreError: the file cannot be opened, is not a database of ours, or belongs to a newer Coterie.
        """
        opens, read_only = partial(connect, path, busy_seconds), False
        if reading and not os.path.exists(path):  # noqa: ASYNC240, PTH110 - one look, as all that follows takes more
            opens = partial(connect_to_nothing, f"coterie-{uuid.uuid4().hex}", busy_seconds)
        elif reading and not is_writable(path):
            opens, read_only = partial(connect_for_reading, path, busy_seconds), True
        days = session_days if content_days is None else min(session_days, content_days)
        keep_traces = None if content_days is None else content_days * _DAY
        sweep = Sweep(clock=clock, keep=days * _DAY, keep_traces=keep_traces)
        explain_error = partial(explain, path=path)
        writer = WriteThread(
            connect=opens,
            prepare=check_current if read_only else partial(_prepare, syncs_later=bool(sync_seconds)),
            maintain=_nothing if read_only else sweep,
            explain=explain_error,
            limit=queue,
            sync=partial(sync_log, path) if sync_seconds and not read_only else None,
            sync_after=sync_seconds,
        )
        reads = partial(_connect_to_read, opens)
        lookups, totals = (ReadThread(connect=reads, explain=explain_error, limit=queue) for _ in range(2))
        await writer.open()
        return cls(writer=writer, lookups=lookups, totals=totals, keep_content=keep_content, sweep=sweep)

    async def settle(self, settlement: Settlement) -> None:
        """Write a settlement in one transaction; on return it is safe from a killed process."""
        await self._writer.run(self._settling(settlement))

    async def record(self, settlement: Settlement, entry: AuditEvent, audit: Audit) -> None:
        """Write a settlement and, in the same thread and with the same wait, its entry in the audit log.

        The entries of all settlements of a commit are written in one piece after it, also where the commit failed.
        """
        try:
            await self._writer.run(self._settling(settlement), beside=audit.append_soon, entry=entry, to_the_end=True)
        finally:
            audit.sync_soon()

    def _settling(self, settlement: Settlement) -> SettlementWork:
        return SettlementWork(settlement=settlement, keep_content=self._keep_content, expired=self._sweep.expired())

    async def context(self, session: str, tenant: str, *, whole: bool = False) -> Context:
        """Return the newest 2,000 lines of the tenant's session, or all; empty if unknown, another's or expired."""
        _check_name("session", session)
        _check_name("tenant", tenant)
        expired = self._sweep.expired()
        return await self._lookups.run(
            partial(select_context, session=session, tenant=tenant, expired=expired, whole=whole)
        )

    async def sessions(self, tenant: str) -> list[SessionSummary]:
        """Return the tenant's sessions that have not expired, the one used last first; never delays other reads."""
        _check_name("tenant", tenant)
        return await self._totals.run(partial(select_sessions, tenant=tenant, expired=self._sweep.expired()))

    async def erase(self, session: str, tenant: str, turn: str = "") -> bool:
        """Erase a session, or one turn of it; on return no file of the database holds its text.

        Return False if there was nothing.

        Raises:
            StoreError: the session is erased, but its text may still be in unused parts of the files. The files cannot
                be rewritten while another program reads them without a pause, or while the disk is full. Each later
                write tries again.
        """
        _check_name("session", session)
        _check_name("tenant", tenant)
        erased: list[bool] = []

        def work(connection: DatabaseConnection) -> None:
            self._sweep.lock(connection)
            erased.append(erase_session(connection, session, tenant, turn))
            self._sweep.erased()

        await self._writer.run(work)
        await self._wiped(f"The session {session!r}")
        return erased[0]

    async def holdings(self, scope: ErasureScope) -> Holdings:
        """Return what is held about a tenant, a session, or a person who is mentioned."""
        _check_scope(scope)
        return await self._totals.run(partial(select_holdings, scope=scope))

    async def erase_all(self, scope: ErasureScope) -> Holdings:
        """Erase everything in a scope, and return what it was; figures of the ledger stay.

        A session that mentions the person is erased as a whole. Of a tenant only figures are left; elsewhere a trace
        keeps what is not content. On return no file of the database holds the rest, as after `erase`; errors are the
        same, too.
        """
        _check_scope(scope)
        erased: list[Holdings] = []

        def work(connection: DatabaseConnection) -> None:
            self._sweep.lock(connection)
            erased.append(select_holdings(connection, scope))
            whole = scope.session is None and scope.mention is None
            erase_holdings(connection, erased[0], scope.mention, whole=whole)
            self._sweep.erased()

        await self._writer.run(work)
        await self._wiped("What was asked for")
        return erased[0]

    async def requests(self, scope: ErasureScope) -> list[dict[str, Any]]:
        """Return every request of a scope as plain values: its row of the ledger, its steps, its trace as JSON."""
        _check_scope(scope)
        return await self._totals.run(
            lambda connection: list(select_export(connection, select_holdings(connection, scope)))
        )

    async def _wiped(self, what: str) -> None:
        """Wait until what was erased is overwritten everywhere. Raises `StoreError` if that is not possible."""
        for _ in range(_WIPES):
            await self._writer.run(_nothing)  # by now the writer has maintained after the work before
            if self._sweep.wiped:
                return
            await asyncio.sleep(_PAUSE)
        raise StoreError(
            f"{what} is erased, but its text may still stand in unused parts of the database's files: they could not "
            "be written anew.",
            hint="Close other programs that read it, see that the disk has space, and erase it again.",
        )

    async def trace(self, trace_id: str, tenant: str) -> Trace | None:
        """Return a settled trace, or None if it is unknown or another tenant's."""
        return await self._lookups.run(partial(select_trace, trace_id=trace_id, tenant=tenant))

    async def feedback(self, feedback: Feedback) -> bool:
        """Save feedback in place of the same caller's earlier one; return False if the trace is not the tenant's.

        Raises `InputError` where it is about a specialist without a finding for that request.
        """
        _check_name("tenant", feedback.tenant)
        trace = await self.trace(feedback.trace_id, feedback.tenant)
        if trace is None:  # nothing more is done, whether it is another tenant's or was never there
            return False
        check_feedback(feedback, trace)
        correct = is_correct(feedback, trace)
        if not self._keep_content:
            feedback = bare_feedback(feedback, trace)
        await self._writer.run(partial(insert_feedback, feedback=feedback, correct=correct))
        return True

    async def summary(self, *, since: float = 0.0) -> LedgerSummary:
        """Return totals over requests admitted at or after `since`; never delays other reads."""
        await self._add_up()
        return await self._totals.run(partial(select_summary, since=since))

    async def ledger(self, *, since: float = 0.0, by: Grouping = "day") -> Ledger:
        """Return totals by day, tenant, specialist or model, with unknown values counted apart; and all trainings."""
        await self._add_up()
        return await self._totals.run(partial(select_ledger, since=since, by=by))

    async def totals(
        self,
        *,
        since: float,
        until: float = math.inf,
        tenant: str | None = None,
        hours: bool = False,
        parts: Collection[TotalsPart] = TOTALS_PARTS,
        name: str | None = None,
    ) -> Totals:
        """Return totals of whole hours and days, of a tenant or of all; `name` limits the parts to one name."""
        await self._add_up()
        work = partial(select_totals, since=since, until=until, tenant=tenant, hours=hours, parts=parts, name=name)
        return await self._lookups.run(work)

    async def _add_up(self) -> None:
        """Add up new settlements; where the file cannot be written, sums are read as they are."""
        with suppress(CoterieError):
            await self._writer.run(add_up)

    async def request_page(self, wanted: RequestFilter) -> RequestPage:
        """Return the next page of a tenant's requests, the newest first."""
        _check_name("tenant", wanted.tenant)
        return await self._lookups.run(partial(select_request_page, wanted=wanted))

    async def session_page(
        self, tenant: str, *, after: tuple[float, str] | None = None, limit: int = 50
    ) -> SessionPage:
        """Return the next page of a tenant's sessions, the one used last first."""
        _check_name("tenant", tenant)
        expired = self._sweep.expired()
        work = partial(select_session_page, tenant=tenant, expired=expired, after=after, limit=limit)
        return await self._lookups.run(work)

    async def said(self, trace_id: str, tenant: str) -> tuple[Feedback, ...]:
        """Return the feedback on an answer, the oldest first; none for another tenant's."""
        return await self._lookups.run(partial(select_said, trace_id=trace_id, tenant=tenant))

    async def opinions(self, specialist: str, tenant: str, *, since: float) -> list[Opinion]:
        """Return who said since a time whether an answer of a specialist was right, oldest first."""
        work = partial(select_opinions, specialist=specialist, tenant=tenant, since=since)
        return await self._lookups.run(work)

    async def corrections(self, specialist: str, tenant: str) -> list[tuple[Trace, Feedback]]:
        """Return corrections of a specialist's findings, oldest first, with the traces."""
        return await self._totals.run(partial(select_corrections, specialist=specialist, tenant=tenant))

    async def chosen(
        self, chooses: Callable[[str], bool], *, since: float, until: float, keys: Sequence[str] | None = None
    ) -> list[tuple[Trace, tuple[Feedback, ...]]]:
        """Return traces whose ids are chosen, admitted from `since` on and before `until`, each with its feedback.

        With `keys`, only requests with one of these keys count. Oldest request first, oldest feedback first.
        """
        return await self._totals.run(partial(select_chosen, chooses=chooses, since=since, until=until, keys=keys))

    async def complaints(self, *, since: float, until: float) -> dict[str, Complaints]:
        """Return by specialist: answers, how many were reported as wrong, and how many its confidences predict."""
        return await self._totals.run(partial(select_complaints, since=since, until=until))

    async def sites(self, *, since: float = 0.0) -> list[SiteSummary]:
        """Return each typed question asked at or after `since`: how often, who answered, at what cost."""
        return await self._totals.run(partial(select_sites, since=since))

    async def record_training(self, training: Training) -> None:
        """Record the cost of a training."""
        await self._writer.run(partial(insert_training, training=training))

    async def close(self) -> None:
        """Finish queued work and close the file. A second call does nothing."""
        await asyncio.gather(self._lookups.close(), self._totals.close())
        await self._writer.close()  # last, so that closing folds the write-ahead log into the file


class Sweep:
    """Deletes expired sessions now and then, and overwrites deleted content wherever it may still be.

    `secure_delete` is not enough for that: when SQLite splits or joins pages it moves rows, and what it leaves of
    them in the old page is not overwritten when the row is deleted later. So the file is rewritten. The sweep also
    updates sums.
    """

    def __init__(self, *, clock: Callable[[], float], keep: float, keep_traces: float | None = None) -> None:
        self._clock, self._keep, self._keep_traces = clock, keep, keep_traces
        self._due = self._rewrite_due = float("-inf")
        self._erased = False
        self._deleted = False
        self._unwiped = False
        self._unsummed = 1  # batches since sums were added up; what an earlier process left counts as one

    @property
    def wiped(self) -> bool:
        """Whether no erased content may still be in a file."""
        return not (self._erased or self._unwiped)

    def erased(self) -> None:
        """Note that a session was erased: rewrite the file after this transaction."""
        self._erased = True

    def lock(self, connection: DatabaseConnection) -> None:
        """Lock out writers until the transaction ends, where other writers do not wait anyway."""

    def expired(self) -> float:
        """Return the time before which the last use of a session makes it expired."""
        return self._clock() - self._keep

    def __call__(self, connection: DatabaseConnection, idle: bool) -> bool:  # noqa: FBT001 - see `WriteThread`
        """Do what is due; return whether something is left to add up. `idle` is True if no work waits to be written."""
        self._sweep(connection)
        self._unsummed += not idle
        if self._unsummed > _BATCHES or (idle and self._unsummed):
            more = catch_up(connection, piece=PIECE if idle else _BATCHES)
            self._unsummed = _BATCHES if more else 0
        return self._unsummed > 0

    def _is_due(self, now: float) -> bool:
        """Return whether to search for old rows; once an hour."""
        if now < self._due - _SWEEP:  # the clock was ahead when it looked last
            self._due = self._rewrite_due = now
        due = now >= self._due
        if due:
            self._due = now + _SWEEP
        return due

    def _sweep(self, connection: DatabaseConnection) -> None:
        """Delete old rows if it is time, and overwrite what was deleted."""
        now = self._clock()
        if self._is_due(now):
            deleted = bool(delete_sessions(connection, expired=now - self._keep))
            if self._delete_old(connection, now) or deleted:
                self._deleted = self._unwiped = True
        if self._erased or (self._deleted and now >= self._rewrite_due):
            connection.execute("VACUUM")
            self._erased = self._deleted = False
            self._unwiped, self._rewrite_due = True, now + _DAY
        if self._unwiped:
            self._unwiped = not _wipe_log(connection)

    def _delete_old(self, connection: DatabaseConnection, now: float) -> bool:
        """Delete old data about requests, in a transaction, as there are several tables."""
        if self._keep_traces is None:
            return False
        connection.execute("BEGIN IMMEDIATE")
        try:
            gone = delete_old(connection, before=now - self._keep_traces)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        return gone


def _nothing(*_: object) -> None:
    """Do nothing: work that only waits for its turn."""


def _prepare(connection: sqlite3.Connection, *, syncs_later: bool) -> None:
    if syncs_later:
        connection.execute("PRAGMA synchronous = normal")
    migrate(connection)
    check_writable(connection)


def _connect_to_read(opens: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
    connection = opens()
    connection.execute("PRAGMA query_only = on")
    return connection


def _wipe_log(connection: DatabaseConnection) -> bool:
    """Empty the write-ahead log, which may still hold deleted content; return False if a reader needs it just now."""
    patience = set_patience(connection, 0)
    try:
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(truncate)").fetchone()
    finally:
        set_patience(connection, patience)
    return not busy


def _check_scope(scope: ErasureScope) -> None:
    for what, name in (("tenant", scope.tenant), ("session", scope.session)):
        if name is not None:
            _check_name(what, name)


def _check_name(what: str, name: str) -> None:
    """Refuse a name that the database cannot hold, before any work is done for it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"The {what} name {name!r} is no valid Unicode text.", hint="Send another name.") from None

"""The interface of every database for the statements of the store, and the threads that run them.

Statements are written once, in the SQL that SQLite and PostgreSQL share, with `?` for values. Tables are created in
SQLite's terms, which `runtime.postgres` translates.

The threads talk to the database, so that no event loop ever waits for a disk. One `Writer` with group commit: work that
arrives during a commit shares the next one, and its fsync. `Reader`s, each with a connection of its own, see what is
committed. Neither knows what it writes or reads.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from coterie.errors import AuditError, Overloaded, StoreError
from coterie.runtime.concurrency import TurnQueue, UncancelledFuture, roam


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


# --- The threads that talk to the database, so that no event loop ever waits for a disk.

T = TypeVar("T")
Work = Callable[[DatabaseConnection], object]
"""A function that writes something, inside a transaction that it neither begins nor ends."""


class JointWork(Protocol):
    """Work that is written together with others of its kind in fewer statements."""

    def __call__(self, connection: DatabaseConnection, /) -> None:
        """Write this work alone."""
        ...

    def joined(self, works: Sequence[Any], /) -> Work:
        """Return the work that writes all of these, which are of this kind."""
        ...


_BATCH = 256
"""Most works that share a commit, so that the first of them does not wait long."""
_PAUSE = 0.02
"""Seconds without work after which unfinished maintenance continues."""
Beside = Callable[[Sequence[Any]], None]
"""A function that writes the entries of a batch elsewhere, in one piece."""


class _Job(NamedTuple):
    work: Work
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]
    beside: Beside | None = None
    entry: object = None
    """The entry that `beside` receives."""


class WriteThread:
    """One thread, one connection, one transaction for all work that has arrived.

    Args:
        connect: Opens the connection; called in the thread, again after a failure that broke it.
        prepare: Called with each new connection, outside a transaction: migrations.
        maintain: Called outside a transaction after a batch, and with True every `idle` seconds without any. A result
            of True means that there is more to do: it is called again as soon as no work waits.
        explain: Turns an error of the library into one of ours.
        limit: Works that may wait; one more is refused.
        idle: Seconds without work before maintenance.
        sync: Brings commits to the disk, where a commit does not; None where it does.
        sync_after: Seconds after a commit within which that happens.
    """

    def __init__(
        self,
        *,
        connect: Callable[[], DatabaseConnection],
        prepare: Work,
        maintain: Callable[[DatabaseConnection, bool], bool | None],
        explain: Callable[[Exception], StoreError],
        limit: int,
        idle: float = 600.0,
        sync: Callable[[], None] | None = None,
        sync_after: float = 0.0,
    ) -> None:
        self._connect, self._prepare, self._maintain, self._explain = connect, prepare, maintain, explain
        self._limit, self._idle = limit, idle
        self._more = False  # there is more to maintain
        self._sync, self._sync_after = sync, sync_after
        self._due: float | None = None  # when what was committed is to be on the disk
        self._syncer: ThreadPoolExecutor | None = None  # a disk takes its time, and the next commit need not wait
        self._queue: TurnQueue[_Job] = TurnQueue()
        self._entrance = threading.Lock()  # guards the limit and the order of the last job and the closing mark
        self._closed = False
        self._connection: DatabaseConnection | None = None
        self._thread: threading.Thread | None = None

    async def open(self) -> None:
        """Start the thread; return when the file is ready, or raise the reason why it is not."""
        loop = asyncio.get_running_loop()
        opened = _Job(lambda _: None, loop, loop.create_future())
        self._thread = threading.Thread(target=self._live, args=(opened,), name="coterie-store-writer", daemon=True)
        self._thread.start()
        try:
            await opened.done
        except BaseException:
            await self.close()
            raise

    async def run(
        self, work: Work, *, beside: Beside | None = None, entry: object = None, to_the_end: bool = False
    ) -> None:
        """Do the work in the next transaction; return once it is committed.

        Args:
            work: What to write.
            beside: Called in the thread after the commit, also where that failed, with the entries of all works of the
                batch that name it; `run` returns after that call.
            entry: The entry of this work for `beside`.
            to_the_end: Whether a cancelled caller is told of the cancellation only once the work is committed.

        Raises:
            Overloaded: `limit` works are waiting.
            StoreError: it could not be written, or the writer is closed.
            CoterieError: the error of `beside`.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = UncancelledFuture(loop=loop) if to_the_end else loop.create_future()
        job = _Job(work, loop, done, beside, entry)
        with self._entrance:
            if self._closed:
                raise StoreError("The database is closed.", hint="Open the network again.")
            if len(self._queue) >= self._limit:
                raise Overloaded(f"Exceeded the store's limit of {self._limit} waiting writes.")
            self._queue.put(job, loop)
        await job.done

    async def close(self) -> None:
        """Finish what is queued and close the connection."""
        with self._entrance:
            if not self._closed:
                self._closed = True
                self._queue.end()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    # --- in the thread ---------------------------------------------------------------------------

    def _live(self, opened: _Job) -> None:
        try:
            self._open()
        except Exception as error:  # noqa: BLE001  # handed to whoever waits
            self._answer([opened], [error])
            return
        self._answer([opened], [None])
        self._try_to_maintain(idle=True)
        ending = False
        while not ending:
            batch, ending = self._next_batch()
            if batch:
                self._answer(batch, self._write_beside(batch, self._write(batch)))
                if self._due is None:
                    self._due = time.monotonic() + self._sync_after
            self._try_to_sync(at_once=ending)
            self._try_to_maintain(idle=ending or not batch)
        if self._syncer is not None:
            self._syncer.shutdown()
        self._discard()

    def _next_batch(self) -> tuple[list[_Job], bool]:
        """Return all waiting jobs, or none after an idle interval, and whether the writer ends after them."""
        batch: list[_Job] = []
        self._queue.read_by(threading.get_native_id())
        try:
            job = self._queue.arrived.get(timeout=self._patience())
            while job is not None:
                batch.append(job)
                if len(batch) == _BATCH:
                    return batch, False
                job = self._queue.arrived.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _write(self, batch: Sequence[_Job]) -> list[Exception | None]:
        """Write a batch in one transaction, and return each job's error, or None once it is committed."""
        try:
            self._open()
        except Exception as error:  # noqa: BLE001 - handed to those who wait: each further try would take as long
            return [error] * len(batch)
        if self._write_joint(batch):
            return [None] * len(batch)
        self._queue.read_by(0)  # what does not join may take long
        try:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            outcomes = self._outcomes(connection, batch)
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  # whatever it is, the thread lives and the callers hear of it
            self._roll_back()
            return [error] * len(batch)
        return outcomes

    @staticmethod
    def _write_beside(batch: Sequence[_Job], outcomes: Sequence[Exception | None]) -> list[Exception | None]:
        """Write the entries of the works elsewhere, and return each job's error, that of the transaction first."""
        failed: dict[Beside, Exception] = {}
        for beside in dict.fromkeys(job.beside for job in batch if job.beside is not None):
            try:
                beside([job.entry for job in batch if job.beside == beside])
            except Exception as error:  # noqa: BLE001 - handed to those who wait
                failed[beside] = error
        return [
            outcome or (None if job.beside is None else failed.get(job.beside))
            for job, outcome in zip(batch, outcomes, strict=True)
        ]

    def _write_joint(self, batch: Sequence[_Job]) -> bool:
        """Write works that can all be joined, in one transaction without savepoints; return False if it failed."""
        works = [job.work for job in batch]
        if not all(map(_joins, works)):
            return False
        try:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            works[0].joined(works)(connection)  # type: ignore[attr-defined]
            connection.execute("COMMIT")
        except Exception:  # noqa: BLE001 - each is tried by itself then, and its caller hears of it
            self._roll_back()
            return False
        return True

    def _outcomes(self, connection: DatabaseConnection, batch: Sequence[_Job]) -> list[Exception | None]:
        """Return each job's error. Works that can be joined are written as one, and one by one if that fails."""
        joint = [cast("JointWork", job.work) for job in batch if _joins(job.work)]
        joined = len(joint) > 1 and self._attempt(connection, joint[0].joined(joint)) is None
        return [None if joined and _joins(job.work) else self._attempt(connection, job.work) for job in batch]

    @staticmethod
    def _attempt(connection: DatabaseConnection, work: Work) -> Exception | None:
        """Do one job inside the batch's transaction, and return its error. A failure undoes this job alone."""
        connection.execute("SAVEPOINT job")
        try:
            work(connection)
        except Exception as error:
            if not connection.in_transaction:
                raise  # SQLite gave up the whole transaction
            connection.execute("ROLLBACK TO job")
            connection.execute("RELEASE job")
            return error
        connection.execute("RELEASE job")
        return None

    def _patience(self) -> float:
        """Return the seconds to wait for the next work."""
        if self._more:
            return _PAUSE
        if self._sync is None or self._due is None:
            return self._idle
        return min(self._idle, max(self._due - time.monotonic(), 0.0))

    def _try_to_sync(self, *, at_once: bool) -> None:
        if self._sync is None or self._due is None or (time.monotonic() < self._due and not at_once):
            return
        self._due = None
        self._syncer = self._syncer or ThreadPoolExecutor(1, "coterie-store-sync", initializer=roam)
        self._syncer.submit(self._sync)  # a disk that fails is heard of by the next commit

    def _try_to_maintain(self, *, idle: bool) -> None:
        self._more = False
        self._queue.read_by(0)
        if self._connection is None:
            return  # the next write opens one, which may take seconds
        with suppress(Exception):  # what is overdue stays so until the next time; nothing read depends on it
            self._more = bool(self._maintain(self._connection, idle))

    def _open(self) -> DatabaseConnection:
        if self._connection is None:
            connection = self._connect()
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _roll_back(self) -> None:
        """Undo the transaction; replace a connection that cannot do so."""
        try:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except Exception:  # noqa: BLE001 - of whichever library
            self._discard()

    def _discard(self) -> None:
        if self._connection is not None:
            with suppress(Exception):
                self._connection.close()
            self._connection = None

    def _answer(self, batch: Sequence[_Job], outcomes: Sequence[Exception | None]) -> None:
        """Wake the waiting callers, each event loop once."""
        by_loop = defaultdict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], Exception | None]]](list)
        for job, error in zip(batch, outcomes, strict=True):
            by_loop[job.loop].append((job.done, None if error is None else self._explained(error)))
        for loop, results in by_loop.items():
            with suppress(RuntimeError):  # that loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_resolve, results)

    def _explained(self, error: Exception) -> Exception:
        if isinstance(error, AuditError):
            return error
        explained = self._explain(error)
        explained.__cause__ = error
        return explained


def _joins(work: Work) -> bool:
    """Return whether a work is a `JointWork`. An `isinstance` check of the protocol takes thirty calls each time."""
    return hasattr(work, "joined")


def _resolve(results: Sequence[tuple[asyncio.Future[None], Exception | None]]) -> None:
    for future, error in results:
        if future.done():  # its caller was cancelled; the work stands all the same
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


class ReadThread:
    """One thread with a read-only connection. Each query sees one state of the file.

    Args:
        connect: Opens the connection; called in the thread.
        explain: Turns an error of the library into one of ours.
        limit: Queries that may wait; one more is refused.
    """

    def __init__(
        self, *, connect: Callable[[], DatabaseConnection], explain: Callable[[Exception], StoreError], limit: int
    ) -> None:
        self._connect, self._explain, self._limit = connect, explain, limit
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="coterie-store-reader")
        self._connection: DatabaseConnection | None = None
        self._waiting = 0
        self._closed = False

    async def run(self, query: Callable[[DatabaseConnection], T]) -> T:
        """Run a query and return its result.

        Raises:
            Overloaded: `limit` queries are waiting.
            StoreError: the file could not be read, or the reader is closed.
        """
        if self._closed:
            raise StoreError("The database is closed.", hint="Open the network again.")
        if self._waiting >= self._limit:
            raise Overloaded(f"Exceeded the store's limit of {self._limit} waiting reads.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, query)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Finish the running query and close the connection."""
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._pool, self._discard)
            self._pool.shutdown()

    def _read(self, query: Callable[[DatabaseConnection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._connection.execute("BEGIN")
            try:
                return query(self._connection)
            finally:
                self._connection.execute("ROLLBACK")
        except StoreError:
            raise
        except Exception as error:
            self._discard()
            raise self._explain(error) from error

    def _discard(self) -> None:
        if self._connection is not None:
            with suppress(Exception):
                self._connection.close()
            self._connection = None

"""Connections to a PostgreSQL server and what its errors mean for the user. Knows no table.

Nothing is kept in a connection's session: settings are of one transaction and statements are not prepared, for the sake
of poolers between. What is asked together is sent together (pipeline mode).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from coterie.errors import ConfigError, CoterieError, DataError, IndexBusy, StoreError, StoreUnavailable

T = TypeVar("T")
Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Cursor = psycopg.AsyncCursor[tuple[Any, ...]]
Work = Callable[[Connection], Awaitable[T]]
"""Asks a connection something, inside a transaction that it neither begins nor ends."""

_DEFAULTS = {"application_name": "coterie", "connect_timeout": "5", "tcp_user_timeout": "30000"}
"""Of a connection whose address does not say otherwise."""
_GRACE = 5.0  # seconds that an answer may take longer than the server was told to take
_READ_ONLY = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_CUT = (None, "57P01", "57P02", "57P03", "08003", "08006")
"""SQLSTATE of a connection that is no more; None if it was the client that noticed."""

_PASSING = ("the database system is", "too many", "connection slots")
"""Words of a server that takes no connection just now. libpq gives no SQLSTATE when it is turned away."""

_EXPLAINED: tuple[tuple[type[psycopg.Error], type[CoterieError], str], ...] = (
    (
        errors.QueryCanceled,
        StoreUnavailable,
        "It took too long and was stopped. Try again when the server is less busy.",
    ),
    (errors.LockNotAvailable, IndexBusy, "Another process is writing there. Try again when it is done."),
    (errors.SerializationFailure, StoreUnavailable, "Another process was in the way. Try again."),
    (errors.DeadlockDetected, StoreUnavailable, "Another process was in the way. Try again."),
    (
        errors.InsufficientPrivilege,
        StoreError,
        "Grant the user what is missing; docs/how-to/use-postgresql.md lists what is needed.",
    ),
    (errors.UndefinedTable, StoreUnavailable, "The index is being built anew. Try again."),
    (errors.ReadOnlySqlTransaction, StoreError, "It is a standby or read-only: writing needs the primary server."),
    (errors.UndefinedFile, StoreError, "Install pgvector on the server (Debian: postgresql-17-pgvector)."),
    (errors.FeatureNotSupported, StoreError, "Install pgvector on the server (Debian: postgresql-17-pgvector)."),
    (errors.DiskFull, StoreError, "The server's disk is full. Free some space; what was written before is safe."),
    (errors.DataException, DataError, "The database cannot hold the text or the vectors of a document."),
    (
        errors.ProgramLimitExceeded,
        DataError,
        "A name, or one word or passage of a document, is too long for the database.",
    ),
    (errors.OperationalError, StoreUnavailable, "Check that the server is up and can be reached."),
)
"""What an error of the library means and what to do; first match wins."""


class _Stale(Exception):
    """A connection was cut while it was idle: nothing has been asked yet, and another may be had."""


class Connections:
    """At most so many connections to one database, made when they are needed.

    Why not a pool library: when the server is away, whoever asks is to be told at once and in the server's own words,
    not after waiting for a background worker that reconnects.
    """

    def __init__(self, address: str, *, source: str, limit: int = 8, seconds: float = 10.0) -> None:
        """Connects to nothing yet.

        Args:
            address: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE` or libpq's `key=value` form.
            source: Where the address comes from, for errors: it may hold a password, so no error repeats it.
            limit: Connections for reading at once; who comes after them waits.
            seconds: How long one statement that reads may take.

        Raises:
            ConfigError: it is no address.
        """
        try:
            given = {name: value for name, value in conninfo_to_dict(address).items() if value is not None}
            self._address = make_conninfo("", **(_DEFAULTS | given))
        except psycopg.Error:
            raise ConfigError(
                f"{source} holds no address of a PostgreSQL database.",
                hint="It looks like this: postgresql://USER:PASSWORD@HOST:5432/DATABASE",
            ) from None
        host, database = given.get("host", "localhost"), given.get("dbname", "the user's default")
        logging.getLogger("psycopg").addFilter(_is_news)
        self.place = f"database {str(database)!r} at {str(host)!r}"
        self._places = asyncio.Semaphore(limit)
        self._idle: list[Connection] = []
        self._seconds = seconds
        self._closed = False

    async def read(self, work: Work[T], settings: Mapping[str, str]) -> T:
        """The result of work that only reads; all of it sees one state of the database.

        A connection that was cut while it was idle is replaced, once.

        Raises:
            StoreUnavailable: the server is not there, or took longer than it may.
            StoreError: it refuses.
        """
        settings = {"statement_timeout": str(int(self._seconds * 1000)), **settings}
        with _Explaining(self.place):
            try:
                return await self._read(work, settings)
            except _Stale:
                await self._forget()  # whatever cut one has cut the others
            except errors.UndefinedTable:
                pass  # it was built anew meanwhile, and is there now
            return await self._read(work, settings)

    async def write(self, work: Work[T], settings: Mapping[str, str]) -> T:
        """The result of work that is done in one transaction: all of it or, whatever happens, nothing.

        It has a connection of its own. Raises like `read`, and `DataError` if the database cannot hold what is given.
        """
        with _Explaining(self.place):
            connection = await self._connect()
            try:
                async with connection.transaction():
                    await self._set(connection, settings)
                    return await work(connection)
            finally:
                await connection.close()

    async def close(self) -> None:
        """Close the connections that are idle, and each of the others when it is given back."""
        self._closed = True
        await self._forget()

    async def _read(self, work: Work[T], settings: Mapping[str, str]) -> T:
        async with self._lend() as connection, asyncio.timeout(self._seconds + _GRACE), connection.pipeline():
            await connection.execute(_READ_ONLY)
            await self._set(connection, settings)
            result = await work(connection)
            await connection.execute("COMMIT")
        return result

    @asynccontextmanager
    async def _lend(self) -> AsyncIterator[Connection]:
        """A connection, kept for the next one unless something goes wrong: then its state is nobody's to guess."""
        async with self._places:
            used = bool(self._idle)
            connection = self._idle.pop() if used else await self._connect()
            try:
                yield connection
            except BaseException as error:
                await connection.close()
                if used and isinstance(error, psycopg.OperationalError) and error.sqlstate in _CUT:
                    raise _Stale from error
                raise
            if self._closed:
                await connection.close()
            else:
                self._idle.append(connection)

    async def _connect(self) -> Connection:
        if self._closed:
            raise StoreError(f"The connection to {self.place} is closed.", hint="Open the network again.")
        return await psycopg.AsyncConnection.connect(self._address, autocommit=True, prepare_threshold=None)

    @staticmethod
    async def _set(connection: Connection, settings: Mapping[str, str]) -> None:
        """Settings that end with the transaction."""
        calls = [sql.SQL("set_config({}, {}, true)").format(name, value) for name, value in settings.items()]
        await connection.execute(sql.SQL("SELECT ") + sql.SQL(", ").join(calls))

    async def _forget(self) -> None:
        while self._idle:
            await self._idle.pop().close()


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of the library's log says more than the error that is raised: its pipelines log their end, too."""
    return not str(record.msg).startswith("error ignored terminating")


class _Explaining:
    """Makes the library's errors ours at the boundary."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _Stale) and isinstance(error.__cause__, psycopg.Error):
            error = error.__cause__
        if isinstance(error, psycopg.Error | TimeoutError):
            raise explain(error, self._place) from error


def explain(error: Exception, place: str) -> CoterieError:
    """One of our errors that says what went wrong with the database and what to do.

    Of the server's words only the first line is repeated: what follows may quote a document.
    """
    if isinstance(error, TimeoutError):
        return StoreUnavailable(
            f"No answer from {place} in time.", hint="Check that the server and the way to it are up."
        )
    said = next(iter(str(error).splitlines()), type(error).__name__).strip()
    if type(error) is psycopg.OperationalError and "FATAL:" in said and not any(word in said for word in _PASSING):
        return StoreError(f"Cannot use {place}: {said}.", hint="Check the address, the user and the password.")
    for kind, ours, hint in _EXPLAINED:
        if isinstance(error, kind):
            return ours(f"Cannot use {place}: {said}.", hint=hint)
    return StoreError(f"Cannot use {place}: {said}.")

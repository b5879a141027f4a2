"""Connections to a PostgreSQL server and what its errors mean for the user. Knows no table.

Nothing is kept in a connection's session: settings are of one transaction and statements are not prepared, for the sake
of poolers between. What is asked together is sent together (pipeline mode).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from coterie.errors import StoreError
from coterie.runtime.postgres import explain, parse_address

T = TypeVar("T")
Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Cursor = psycopg.AsyncCursor[tuple[Any, ...]]
Work = Callable[[Connection], Awaitable[T]]
"""Asks a connection something, inside a transaction that it neither begins nor ends."""

_GRACE = 5.0  # seconds that an answer may take longer than the server was told to take
_READ_ONLY = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_CUT = (None, "57P01", "57P02", "57P03", "08003", "08006")
"""SQLSTATE of a connection that is no more; None if it was the client that noticed."""


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
        given = parse_address(address, source=source)
        self._address = make_conninfo("", **given)
        host, database = given.get("host", "localhost"), given.get("dbname", "the user's default")
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

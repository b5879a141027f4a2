"""An index in a PostgreSQL database: full-text search, pgvector, labels and tenants by table.

Several indexes of several networks share a database; processes and machines share an index.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import numpy as np

from coterie.errors import ArtefactRefused, CoterieError, InputError, NotIndexed
from coterie.knowledge.documents import IndexedDocument, Mode
from coterie.knowledge.local import Encoder
from coterie.knowledge.postgres_tables import (
    GRAPH_FROM,
    Connection,
    Connections,
    Cursor,
    SearchScope,
    Work,
    drop_table,
    forget_old,
    lock_index,
    look_up,
    old_compartments,
    prepare,
    put_documents,
    remove_documents,
    select_passages,
    select_within,
    set_aside,
    storable,
    tables,
)
from coterie.types import SYSTEM, CallContext, Label, Passage, Prompt

_BUILD_MEMORY = "256MB"
"""Memory of the server to build an HNSW index: enough for 100,000 vectors of 384 numbers."""
_PREPARING = {"statement_timeout": "60000", "lock_timeout": "60000"}
_WRITING = {"maintenance_work_mem": _BUILD_MEMORY, "synchronous_commit": "on"}
_SEARCHING = {
    # A search takes milliseconds: compiling it, or calling other processes in, would take longer.
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "hnsw.ef_search": "128",
    "hnsw.iterative_scan": "strict_order",
}
"""Settings of a search transaction."""
_READING: Mapping[str, str] = {}

T = TypeVar("T")


class PostgresIndex:
    """A `DocumentIndex` in PostgreSQL. It connects on first use, and then migrates the schema `coterie`."""

    def __init__(
        self,
        address: str,
        *,
        network: str,
        name: str,
        encoder: Encoder,
        mode: Mode = "hybrid",
        rebuild: bool = False,
        source: str = "The address",
        seconds: float = 10.0,
    ) -> None:
        """Take the settings; connect to nothing yet.

        Args:
            address: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`, or any other form libpq takes.
            network: The network's name: two networks with one name share their indexes.
            name: The index's `[knowledge]` key.
            encoder: Encodes queries; the same encoder that made the documents' vectors.
            mode: How the index is searched when the caller does not say.
            rebuild: Ignore the existing index until the first update, which builds all of it again.
            source: Where the address comes from, for errors: the address may hold a password.
            seconds: How long one statement of a search may take.

        Raises:
            ConfigError: the address is invalid.
        """
        self._connections = Connections(address, source=source, seconds=seconds)
        self._network, self._name, self._encoder, self._mode = network, name, encoder, mode
        self._rebuild = rebuild
        self._path = ""
        self._preparing = asyncio.Lock()
        self._write_seconds, self._lock_seconds, self._graph_from = 600.0, 60.0, GRAPH_FROM

    async def search(
        self,
        query: str,
        *,
        k: int,
        clearance: Label,
        tenant: str = "default",
        vector: np.ndarray | None = None,
        document: str | None = None,
        mode: Mode | None = None,
        call: CallContext = SYSTEM,
    ) -> Sequence[Passage]:
        """Return at most `k` passages, best first, that the caller may see; other passages are not even read.

        If a `document` is named, only its passages are returned.

        Raises:
            NotIndexed: nothing is indexed yet.
            ArtefactRefused: the index was built with another encoder.
            InputError: `vector` does not have this index's length.
            StoreError: the database cannot be used; `StoreUnavailable` if it may be usable later.
        """
        mode = mode or self._mode
        unit = None
        if mode != "keyword":
            unit = _unit(vector if vector is not None else await self._encode(query, call), self._encoder.dimension)
        caller = SearchScope(self._network, self._name, clearance, tenant)

        async def ask(connection: Connection) -> list[Passage]:
            encoder = await self._encoder_of(connection)
            if document is not None:
                within = await select_within(connection, caller, document, query, unit)
                await self._require(encoder)
                return within[: max(k, 0)]
            ranking = await look_up(connection, caller, "" if mode == "vector" else query)  # sent with the one before
            await self._require(encoder)
            return await select_passages(connection, self._name, ranking, unit, k) if k > 0 else []

        return await self._read(ask, _SEARCHING)

    async def documents(self, *, clearance: Label | None = None, tenant: str = "default") -> Mapping[str, str]:
        """Return the `sha256` of every document that may be seen, by name; none if nothing is indexed yet."""
        rank = None if clearance is None else clearance.rank

        async def ask(connection: Connection) -> dict[str, str]:
            encoder = await self._encoder_of(connection)
            cursor = await connection.execute(
                "SELECT d.name, d.sha256 FROM documents d JOIN compartments c ON c.id = d.compartment"
                " JOIN shelves s ON s.id = d.shelf WHERE s.network = %s AND s.name = %s AND (%s::smallint IS NULL"
                " OR c.label <= %s AND (c.tenant IS NULL OR c.tenant = %s)) ORDER BY d.name",
                [self._network, self._name, rank, rank, storable(tenant)],
            )
            await self._require(encoder, there=False)
            return dict(await cursor.fetchall())

        return {} if self._rebuild else await self._read(ask)

    async def tenants(self) -> frozenset[str]:
        """Return every tenant that has documents of its own."""

        async def ask(connection: Connection) -> frozenset[str]:
            cursor = await connection.execute(
                "SELECT DISTINCT c.tenant FROM documents d JOIN compartments c ON c.id = d.compartment"
                " JOIN shelves s ON s.id = c.shelf WHERE s.network = %s AND s.name = %s AND c.tenant IS NOT NULL",
                [self._network, self._name],
            )
            return frozenset(str(tenant) for (tenant,) in await cursor.fetchall())

        return frozenset() if self._rebuild else await self._read(ask)

    async def update(self, put: Sequence[IndexedDocument], remove: Collection[str] = ()) -> None:
        """Put and remove documents in one transaction; a second writer waits until it is done.

        A character that PostgreSQL cannot hold (U+0000, a lone surrogate) is kept as U+FFFD, so offsets stay.

        Raises:
            DataError: a document does not fit the database; nothing was written.
            InputError: its name is not valid text.
            ArtefactRefused: the index was built with another encoder.
            IndexBusy: another process has been writing to it for a minute.
            StoreError: the database cannot be used; `StoreUnavailable` if it may be usable later.
        """

        async def write(connection: Connection) -> None:
            if self._rebuild:
                await set_aside(connection, self._network, self._name)
            row = await lock_index(connection, self._network, self._name, self._encoder.sha256, self._encoder.dimension)
            await self._require(await self._encoder_of(connection), there=False)
            await remove_documents(connection, row.id, [storable(name) for name in remove])
            await put_documents(connection, row, put, graph_from=self._graph_from)

        limits = {
            "statement_timeout": str(int(self._write_seconds * 1000)),
            "lock_timeout": str(int(self._lock_seconds * 1000)),
        }
        path = await self._prepare()
        await self._connections.write(write, {"search_path": path, **_WRITING, **limits})
        if self._rebuild:
            self._rebuild = False
            with suppress(CoterieError):  # what is left of the old index is in nobody's way, until the next time
                await self._forget_old({"search_path": path, **_PREPARING})

    async def text(self, name: str, start: int, end: int, *, clearance: Label, tenant: str = "default") -> str | None:
        """Return `text[start:end]` of a document, clipped to its length; None if it is missing or not visible."""
        start = max(start, 0)
        parameters = {"start": start + 1, "length": max(end - start, 0), "document": storable(name)}
        caller = SearchScope(self._network, self._name, clearance, tenant)

        async def ask(connection: Connection) -> str | None:
            encoder = await self._encoder_of(connection)
            cursor = await connection.execute(
                "SELECT substr(d.body, %(start)s, %(length)s) FROM documents d"
                " JOIN compartments c ON c.id = d.compartment JOIN shelves s ON s.id = d.shelf"
                " WHERE s.network = %(network)s AND s.name = %(index_name)s AND d.name = %(document)s"
                " AND c.label <= %(clearance)s AND (c.tenant IS NULL OR c.tenant = %(tenant)s)",
                {**caller.parameters, **parameters},
            )
            await self._require(encoder)
            row = await cursor.fetchone()
            return None if row is None else str(row[0])

        return await self._read(ask)

    async def close(self) -> None:
        """Close the connections. A second call does nothing."""
        await self._connections.close()

    async def _prepare(self) -> str:
        """Return the `search_path` of our tables, after migrating the schema once."""
        async with self._preparing:
            if not self._path:
                self._path = await self._connections.write(prepare, _PREPARING)
            return self._path

    async def _forget_old(self, settings: Mapping[str, str]) -> None:
        network, name, write = self._network, self._name, self._connections.write
        compartments = await write(lambda connection: old_compartments(connection, network, name), settings)
        for table in (table for compartment in compartments for table in tables(compartment).values()):
            await write(partial(drop_table, table=table), settings)
        await write(lambda connection: forget_old(connection, network, name, compartments), settings)

    async def _read(self, work: Work[T], settings: Mapping[str, str] = _READING) -> T:
        return await self._connections.read(work, {"search_path": await self._prepare(), **settings})

    async def _encode(self, query: str, call: CallContext) -> np.ndarray:
        (output,) = await self._encoder.run([Prompt(text=query)], call=call)
        call.charge(self._encoder.name, output.usage)
        assert output.vector is not None  # noqa: S101 - an encoder's output has one
        return output.vector

    async def _encoder_of(self, connection: Connection) -> Cursor:
        """Query the encoder that the index was built with; no row if the index does not exist."""
        return await connection.execute(
            "SELECT encoder FROM shelves WHERE network = %s AND name = %s", [self._network, self._name]
        )

    async def _require(self, cursor: Cursor, *, there: bool = True) -> None:
        """Check the encoder of the index. Raises `ArtefactRefused` and `NotIndexed`.

        Raises:
            ArtefactRefused: the index was made with another encoder.
            NotIndexed: `there` is set and there is no index.
        """
        row = await cursor.fetchone()
        if there and (row is None or self._rebuild):
            raise NotIndexed(
                f"Nothing has been indexed for index {self._name!r} ({self._connections.place} has none for network "
                f"{self._network!r}).",
                hint=f"Index its documents: coterie index {self._name}",
            )
        if row is not None and row[0] != self._encoder.sha256:
            raise ArtefactRefused(
                f"Index {self._name!r} in {self._connections.place} was made with encoder {str(row[0])[:12]!r}; this "
                f"Coterie has {self._encoder.sha256[:12]!r}.",
                hint=f"Build it again: coterie index {self._name} --rebuild",
            )


def _unit(vector: np.ndarray, dimension: int) -> np.ndarray:
    """Return the vector with length 1, as float64. Raises `InputError` if its length does not fit this index."""
    if vector.shape != (dimension,) or not np.isfinite(vector).all():
        raise InputError(f"A query's vector has {dimension} finite numbers here, not shape {vector.shape}.")
    length = float(np.linalg.norm(vector))
    return np.asarray(vector, dtype=np.float64) / (length or 1.0)

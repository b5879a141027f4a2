"""The shelf in a PostgreSQL database: full-text search for words, pgvector for meaning, label and tenant by table.

Several shelves of several networks share a database; processes and machines share a shelf. What the tables are is told
in `_postgres_schema`, how they are ranked in `_postgres_search`. It does not know what a document was read from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import numpy as np

from coterie.errors import ArtefactRefused, InputError
from coterie.protocols import Engine
from coterie.types import Label, Passage, Prompt

from ._document import Document
from ._postgres_connections import Connection, Connections, Cursor
from ._postgres_schema import prepare
from ._postgres_search import Asker, look_up, select_passages
from ._postgres_write import GRAPH_FROM, forget_shelf, lock_shelf, put_documents, remove_documents, storable

_BUILD_MEMORY = "256MB"
"""Of the server, to build an HNSW index in: 100,000 vectors of 384 numbers fit."""
_WRITING = {"maintenance_work_mem": _BUILD_MEMORY, "synchronous_commit": "on"}
_SEARCHING = {
    # A search takes milliseconds: compiling it, or calling other processes in, would take longer.
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "hnsw.ef_search": "128",
    "hnsw.iterative_scan": "strict_order",
}
"""Settings of a transaction that searches."""


class _Encoder(Engine, Protocol):
    """An encoder that can be told from others."""

    @property
    def sha256(self) -> str:
        """Checksum of the model file."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...


class PostgresShelf:
    """Implements `Shelf`. Make one with `await PostgresShelf.open(...)`."""

    def __init__(self, connections: Connections, *, network: str, name: str, encoder: _Encoder, path: str) -> None:
        self._connections, self._network, self._name, self._encoder = connections, network, name, encoder
        self._settings = {"search_path": path}
        self._write_seconds, self._lock_seconds, self._graph_from = 600.0, 60.0, GRAPH_FROM

    @classmethod
    async def open(
        cls,
        address: str,
        *,
        network: str,
        name: str,
        encoder: _Encoder,
        source: str = "The address",
        seconds: float = 10.0,
        anew: bool = False,
    ) -> PostgresShelf:
        """Open a shelf, and bring the database's schema `coterie` up to date.

        Args:
            address: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`, or any other form libpq takes.
            network: The network's name: two networks with one name share their shelves.
            name: The `[knowledge]` key.
            encoder: Makes the vectors of queries; closed by whoever made it.
            source: Where the address comes from, for errors.
            seconds: How long one statement of a search may take.
            anew: Forget all that is on the shelf, whatever encoder it was built with.

        Raises:
            ConfigError: the address is none.
            StoreError: the database cannot be used; `StoreUnavailable` if it may later.
            ArtefactRefused: the shelf was built with another encoder.
        """
        connections = Connections(address, source=source, seconds=seconds)

        async def begin(connection: Connection) -> str:
            path = await prepare(connection)
            if anew:
                await forget_shelf(connection, network, name)
            return path

        path = await connections.write(begin, {"statement_timeout": "60000", "lock_timeout": "60000"})
        shelf = cls(connections, network=network, name=name, encoder=encoder, path=path)
        await shelf.documents()  # refuses a shelf of another encoder before anybody asks it
        return shelf

    async def search(
        self, query: str, *, k: int, clearance: Label, tenant: str = "default", vector: np.ndarray | None = None
    ) -> Sequence[Passage]:
        """At most `k` passages, best first, of those that the asker may see; the rest is not even read.

        Raises:
            InputError: `vector` is not of this shelf's length.
            StoreUnavailable: the database does not answer, or not in time.
        """
        if k < 1:
            return []
        unit = _unit(vector if vector is not None else await self._encode(query), self._encoder.dimension)
        asker = Asker(self._network, self._name, clearance, tenant)

        async def ask(connection: Connection) -> list[Passage]:
            encoder = await self._encoder_of(connection)
            found = await look_up(connection, asker, query)  # sent together with the question before it
            await self._require(encoder)
            return await select_passages(connection, self._name, found, unit, k)

        return await self._connections.read(ask, {**self._settings, **_SEARCHING})

    async def documents(self) -> Mapping[str, str]:
        """The `sha256` of every document, by name."""

        async def ask(connection: Connection) -> dict[str, str]:
            encoder = await self._encoder_of(connection)
            found = await connection.execute(
                "SELECT d.name, d.sha256 FROM documents d JOIN shelves s ON s.id = d.shelf"
                " WHERE s.network = %s AND s.name = %s ORDER BY d.name",
                [self._network, self._name],
            )
            await self._require(encoder)
            return dict(await found.fetchall())

        return await self._connections.read(ask, self._settings)

    async def update(self, put: Sequence[Document], remove: Collection[str] = ()) -> None:
        """Put documents and take others away, in one transaction; a second writer waits until it is done.

        A character that PostgreSQL cannot hold (U+0000, a lone surrogate) is kept as U+FFFD, so offsets stay.

        Raises:
            DataError: a document does not fit the database; nothing was written.
            ArtefactRefused: the shelf was built with another encoder.
            StoreUnavailable: the database does not answer, or another process has been writing for a minute.
        """
        latest = {document.name: document for document in put}
        names = {_name(name) for name in (*latest, *remove)}

        async def write(connection: Connection) -> None:
            row = await lock_shelf(connection, self._network, self._name, self._encoder.sha256, self._encoder.dimension)
            await self._require(await self._encoder_of(connection))
            await remove_documents(connection, row.id, names)
            await put_documents(connection, row, list(latest.values()), graph_from=self._graph_from)

        limits = {
            "statement_timeout": str(int(self._write_seconds * 1000)),
            "lock_timeout": str(int(self._lock_seconds * 1000)),
        }
        await self._connections.write(write, {**self._settings, **_WRITING, **limits})

    async def text(self, name: str, start: int, end: int, *, clearance: Label, tenant: str = "default") -> str | None:
        """`text[start:end]` of a document, offsets beyond it cut off; None if it is not there or may not be seen."""
        start = max(start, 0)
        asked = {"start": start + 1, "length": max(end - start, 0), "document": storable(name)}
        asker = Asker(self._network, self._name, clearance, tenant)

        async def ask(connection: Connection) -> str | None:
            found = await connection.execute(
                "SELECT substr(d.body, %(start)s, %(length)s) FROM documents d"
                " JOIN compartments c ON c.id = d.compartment JOIN shelves s ON s.id = d.shelf"
                " WHERE s.network = %(network)s AND s.name = %(shelf)s AND d.name = %(document)s"
                " AND c.label <= %(clearance)s AND (c.tenant IS NULL OR c.tenant = %(tenant)s)",
                {**asker.parameters, **asked},
            )
            row = await found.fetchone()
            return None if row is None else str(row[0])

        return await self._connections.read(ask, self._settings)

    async def close(self) -> None:
        """Close the connections. A second call does nothing."""
        await self._connections.close()

    async def _encode(self, query: str) -> np.ndarray:
        (output,) = await self._encoder.run([Prompt(text=query)])
        assert output.vector is not None  # noqa: S101 - an encoder's output has one
        return output.vector

    async def _encoder_of(self, connection: Connection) -> Cursor:
        """Asks with which encoder the shelf was built; nothing if it is not there."""
        return await connection.execute(
            "SELECT encoder FROM shelves WHERE network = %s AND name = %s", [self._network, self._name]
        )

    async def _require(self, asked: Cursor) -> None:
        """Raises `ArtefactRefused` if it is another than ours; another process may have built the shelf anew."""
        row = await asked.fetchone()
        if row is not None and row[0] != self._encoder.sha256:
            raise ArtefactRefused(
                f"Shelf {self._name!r} was built with encoder {str(row[0])[:12]!r}; this Coterie has "
                f"{self._encoder.sha256[:12]!r}.",
                hint=f"Build it again: coterie index {self._name} --rebuild",
            )


def _unit(vector: np.ndarray, dimension: int) -> np.ndarray:
    """The vector with length 1, as float64. Raises `InputError` if it is no vector of this shelf."""
    if vector.shape != (dimension,) or not np.isfinite(vector).all():
        raise InputError(f"A query's vector has {dimension} finite numbers here, not shape {vector.shape}.")
    length = float(np.linalg.norm(vector))
    return np.asarray(vector, dtype=np.float64) / (length or 1.0)


def _name(name: str) -> str:
    """A document's name. Raises `InputError` if the database cannot hold it."""
    if storable(name) != name:
        raise InputError(f"The document name {name!r} is no valid Unicode text.", hint="Rename the file.")
    return name

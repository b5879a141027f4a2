"""Documents into the tables and out of them, inside the transaction of an update."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from psycopg import sql

from coterie.errors import DataError, InputError
from coterie.knowledge.documents import IndexedDocument
from coterie.knowledge.postgres_connections import Connection
from coterie.knowledge.postgres_schema import create_compartment, create_graph, tables, vector_of
from coterie.types import Label

GRAPH_FROM = 20_000
"""Chunks of a compartment from which its vectors get an HNSW index; fewer are compared one by one, exactly."""

_BATCH = 2_000
"""Chunks that are sent together, about."""
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"


class ShelfRow(NamedTuple):
    """What of a row of `shelves` is needed to write to it."""

    id: int
    dimension: int


async def lock_shelf(connection: Connection, network: str, name: str, encoder: str, dimension: int) -> ShelfRow:
    """The shelf's row, made if it is missing and held until the transaction ends: a second writer waits for it."""
    await connection.execute(
        "INSERT INTO shelves (network, name, encoder, dimension) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        [network, name, encoder, dimension],
    )
    found = await connection.execute(
        "SELECT id, dimension FROM shelves WHERE network = %s AND name = %s FOR UPDATE", [network, name]
    )
    (row,) = await found.fetchall()
    return ShelfRow(*row)


async def set_aside(connection: Connection, network: str, name: str) -> None:
    """Give the shelf a name that no shelf can have, so that another one can be built in its place."""
    await connection.execute(
        "UPDATE shelves SET name = format('%%s (%%s)', name, id) WHERE network = %s AND name = %s", [network, name]
    )


async def old_compartments(connection: Connection, network: str, name: str) -> list[int]:
    """The compartments of shelves that were set aside."""
    found = await connection.execute(
        "SELECT c.id FROM compartments c JOIN shelves s ON s.id = c.shelf"
        " WHERE s.network = %s AND starts_with(s.name, %s)",
        [network, f"{name} ("],
    )
    return [int(row[0]) for row in await found.fetchall()]


async def drop_table(connection: Connection, table: sql.Identifier) -> None:
    """Drop a table of a shelf that was set aside.

    In a transaction of its own: it waits for those who read the table, who may be waiting for another one.
    """
    await connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))


async def forget_old(connection: Connection, network: str, name: str, compartments: list[int]) -> None:
    """Delete the rows of shelves that were set aside, when the tables of all their compartments are dropped."""
    await connection.execute("DELETE FROM documents WHERE compartment = ANY(%s)", [compartments])
    await connection.execute("DELETE FROM words WHERE compartment = ANY(%s)", [compartments])
    await connection.execute("DELETE FROM compartments WHERE id = ANY(%s)", [compartments])
    await connection.execute(
        "DELETE FROM shelves s WHERE network = %s AND starts_with(name, %s)"
        " AND NOT EXISTS (SELECT FROM compartments c WHERE c.shelf = s.id)",
        [network, f"{name} ("],
    )


async def remove_documents(connection: Connection, shelf: int, names: Collection[str]) -> None:
    """Take documents away with their chunks and what is counted of them; names that are not there are passed over."""
    found = await connection.execute(
        "DELETE FROM documents WHERE shelf = %s AND name = ANY(%s) RETURNING compartment, id", [shelf, list(names)]
    )
    by_compartment: dict[int, list[int]] = defaultdict(list)
    for compartment, document in await found.fetchall():
        by_compartment[compartment].append(document)
    for compartment, documents in by_compartment.items():
        await _count(connection, compartment, documents, sign=-1)
        for table in tables(compartment).values():
            statement = sql.SQL("DELETE FROM {} WHERE document = ANY(%s)").format(table)
            await connection.execute(statement, [documents])


async def put_documents(
    connection: Connection, shelf: ShelfRow, documents: Iterable[IndexedDocument], *, graph_from: int = GRAPH_FROM
) -> None:
    """Write documents in the place of those of the same name; some at a time, so that they may be more than memory has.

    Raises:
        DataError: a document's vectors do not fit its chunks or the shelf.
        InputError: its name is no text.
    """
    compartments: dict[tuple[Label, str | None], int] = {}
    for batch in _batches(documents):
        for kind in {(document.label, document.tenant) for document in batch} - set(compartments):
            compartments[kind] = await _compartment(connection, shelf, *kind)
        await remove_documents(connection, shelf.id, [document_name(document.name) for document in batch])
        await _write(connection, shelf, batch, compartments)
    for compartment in compartments.values():
        await _look_after(connection, compartment, graph_from)


def _batches(documents: Iterable[IndexedDocument]) -> Iterator[list[IndexedDocument]]:
    """Documents with together about `_BATCH` chunks; of several of one name the last."""
    batch: dict[str, IndexedDocument] = {}
    chunks = 0
    for document in documents:
        batch[document.name] = document
        chunks += len(document.chunks) + 1
        if chunks >= _BATCH:
            yield list(batch.values())
            batch, chunks = {}, 0
    yield list(batch.values())


async def _write(
    connection: Connection,
    shelf: ShelfRow,
    documents: Sequence[IndexedDocument],
    compartments: Mapping[tuple[Label, str | None], int],
) -> None:
    """Write documents whose names are not there (any more)."""
    found = await connection.execute(
        "SELECT nextval(pg_get_serial_sequence('documents', 'id')) FROM generate_series(1, %s)", [len(documents)]
    )
    ids = [int(row[0]) for row in await found.fetchall()]
    by_compartment: dict[int, list[tuple[int, IndexedDocument]]] = defaultdict(list)
    columns = "COPY documents (id, shelf, compartment, name, sha256, body) FROM STDIN"
    async with connection.cursor() as cursor, cursor.copy(columns) as copy:
        for number, document in zip(ids, documents, strict=True):
            compartment = compartments[document.label, document.tenant]
            by_compartment[compartment].append((number, document))
            row = (
                number,
                shelf.id,
                compartment,
                document_name(document.name),
                document.sha256,
                storable(document.text),
            )
            await copy.write_row(row)
    for compartment, numbered in by_compartment.items():
        await _write_chunks(connection, compartment, numbered)
        await _write_vectors(connection, compartment, numbered, shelf.dimension)
        await _count(connection, compartment, [number for number, _ in numbered], sign=1)


def document_name(name: str) -> str:
    """A document's name. Raises `InputError` if the database cannot hold it."""
    if storable(name) != name:
        raise InputError(f"The document name {name!r} is no valid Unicode text.", hint="Rename the file.")
    return name


def storable(text: str) -> str:
    """The text with U+FFFD in the place of each character that PostgreSQL cannot hold, so that offsets stay."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    return text


def _vectors(document: IndexedDocument, dimension: int) -> np.ndarray:  # (N, D)
    """The document's vectors. Raises `DataError` if they do not fit."""
    shape, wanted = document.vectors.shape, (len(document.chunks), dimension)
    if shape != wanted and (document.chunks or document.vectors.size):
        raise DataError(f"Document {document.name!r} has vectors of shape {shape}; its chunks need {wanted}.")
    if not np.isfinite(document.vectors).all():
        raise DataError(f"Document {document.name!r} has a vector with a number that is not finite.")
    return document.vectors.reshape(wanted)


async def _compartment(connection: Connection, shelf: ShelfRow, label: Label, tenant: str | None) -> int:
    """The compartment of a label and a tenant, made if it is missing."""
    kind = [shelf.id, label.rank, tenant]
    found = await connection.execute(
        "SELECT id FROM compartments WHERE shelf = %s AND label = %s AND tenant IS NOT DISTINCT FROM %s", kind
    )
    if (row := await found.fetchone()) is not None:
        return int(row[0])
    made = await connection.execute(
        "INSERT INTO compartments (shelf, label, tenant) VALUES (%s, %s, %s) RETURNING id", kind
    )
    (row,) = await made.fetchall()
    await create_compartment(connection, row[0], shelf.dimension)
    return int(row[0])


async def _write_chunks(
    connection: Connection, compartment: int, numbered: Sequence[tuple[int, IndexedDocument]]
) -> None:
    statement = sql.SQL("COPY {chunks} (document, position, start, stop, heading, page, body, words) FROM STDIN")
    async with connection.cursor() as cursor, cursor.copy(statement.format(**tables(compartment))) as copy:
        for number, document in numbered:
            text = storable(document.text)
            for position, chunk in enumerate(document.chunks):
                body, heading = text[chunk.start : chunk.end], storable(chunk.heading)
                place = (number, position, chunk.start, chunk.end, heading, chunk.page)
                await copy.write_row((*place, body, vector_of(heading, body)))


async def _write_vectors(
    connection: Connection, compartment: int, numbered: Sequence[tuple[int, IndexedDocument]], dimension: int
) -> None:
    """Vectors in the binary form of COPY: twenty times faster than as digits."""
    before = [("fields", ">i2"), ("bytes_0", ">i4"), ("document", ">i8"), ("bytes_1", ">i4"), ("position", ">i4")]
    row = np.dtype([*before, ("bytes_2", ">i4"), ("dimension", ">u2"), ("_", ">u2"), ("vector", ">f2", (dimension,))])
    statement = sql.SQL("COPY {vectors} (document, position, vector) FROM STDIN (FORMAT binary)")
    async with connection.cursor() as cursor, cursor.copy(statement.format(**tables(compartment))) as copy:
        await copy.write(_COPY_HEADER)
        for number, document in numbered:
            rows = np.zeros(len(document.chunks), dtype=row)
            rows["fields"], rows["bytes_0"], rows["bytes_1"], rows["bytes_2"] = 3, 8, 4, 4 + 2 * dimension
            rows["document"], rows["position"], rows["dimension"] = number, np.arange(len(rows)), dimension
            rows["vector"] = _vectors(document, dimension)
            await copy.write(rows.tobytes())
        await copy.write(_COPY_END)


async def _count(connection: Connection, compartment: int, documents: Sequence[int], *, sign: int) -> None:
    """Add the chunks of these documents to what is counted of the compartment, or (`sign` -1) take them off."""
    names = tables(compartment)
    counted = sql.SQL("SELECT count(*) FROM {chunks} WHERE document = ANY(%s)").format(**names)
    await connection.execute(
        sql.SQL("UPDATE compartments SET chunks = chunks + %s * ({}) WHERE id = %s").format(counted),
        [sign, documents, compartment],
    )
    await connection.execute(
        sql.SQL(
            """
            INSERT INTO words
            SELECT %s, lexeme, %s * count(*) FROM {chunks}, unnest(words) WHERE document = ANY(%s) GROUP BY lexeme
            ON CONFLICT (compartment, word) DO UPDATE SET chunks = words.chunks + excluded.chunks
            """
        ).format(**names),
        [compartment, sign, documents],
    )
    await connection.execute("DELETE FROM words WHERE compartment = %s AND chunks = 0", [compartment])


async def _look_after(connection: Connection, compartment: int, graph_from: int) -> None:
    """Build the HNSW index when there are enough vectors, and tell the planner how large the tables have become."""
    names = tables(compartment)
    found = await connection.execute(
        "SELECT c.chunks, c.graph, greatest(r.reltuples, 0) FROM compartments c"
        " JOIN pg_class r ON r.oid = to_regclass(%s) WHERE c.id = %s",
        [f"coterie.chunks_{compartment}", compartment],
    )
    (chunks, graph, known), *_ = await found.fetchall()
    if chunks >= graph_from and not graph:
        await create_graph(connection, compartment)
    if abs(chunks - known) > 0.2 * chunks:
        for table in names.values():
            await connection.execute(sql.SQL("ANALYZE {}").format(table))

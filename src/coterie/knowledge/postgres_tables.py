"""PostgreSQL behind an index: connections, schema, writing, and ranking in a transaction that sees one state.

Keywords are ranked like BM25: a word's rarity is counted among the chunks that the principal may see
(`ts_rank` knows no rarity, and one over all chunks would reveal hidden ones), and its occurrences saturate as
in `ts_rank`, the sum of 1/i^2, which is close to BM25 with k1 = 0.6. Vectors are ranked by the inner product
of unit vectors. Both lists are fused by reciprocal rank (Cormack, Clarke and Buettcher, SIGIR 2009).

Nothing is kept in a connection's session: settings hold for one transaction and statements are not prepared,
for the sake of connection poolers. Related statements are sent together (pipeline mode).
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import psycopg
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from coterie.errors import DataError, InputError, StoreError
from coterie.knowledge.documents import IndexedDocument
from coterie.knowledge.indexes import LONGEST_QUERY, analyse, fuse, rarest, rarity, with_heading
from coterie.knowledge.local import rank_within
from coterie.runtime.postgres import explain, parse_address
from coterie.types import Label, Passage

T = TypeVar("T")
Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Cursor = psycopg.AsyncCursor[tuple[Any, ...]]
Work = Callable[[Connection], Awaitable[T]]
"""A function that uses a connection inside a transaction that it neither begins nor ends."""

_GRACE = 5.0  # seconds that an answer may take longer than the server was told to take
_READ_ONLY = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_CUT = (None, "57P01", "57P02", "57P03", "08003", "08006")
"""SQLSTATE of a lost connection; None if the client noticed the loss."""


class _Stale(Exception):
    """An idle connection was cut: nothing has been sent yet, so another connection may be used."""


class Connections:
    """A limited number of connections to one database, made on demand.

    A pool library is not used, because a caller is to get the server's own error at once when the server is away,
    not after waiting for a background worker that reconnects.
    """

    def __init__(self, address: str, *, source: str, limit: int = 8, seconds: float = 10.0) -> None:
        """Take the settings; connect to nothing yet.

        Args:
            address: `postgresql://USER:PASSWORD@HOST:PORT/DATABASE` or libpq's `key=value` form.
            source: Where the address comes from, for errors: the address may hold a password, so no error repeats it.
            limit: Most connections for reading at once; further readers wait.
            seconds: How long one statement that reads may take.

        Raises:
            ConfigError: the address is invalid.
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
        """Return the result of work that only reads; all of it sees one state of the database.

        An idle connection that was cut is replaced once.

        Raises:
            StoreUnavailable: the server is not there, or exceeded the time limit.
            StoreError: the server refuses.
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
        """Return the result of work in one transaction: it is done as a whole or not at all.

        The work has a connection of its own. Raises like `read`, and `DataError` if the database cannot hold the
        values.
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
        """Close the idle connections now, and each of the others when it is given back."""
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
        """Yield a connection, which is kept for the next caller unless an error leaves its state unknown."""
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
        """Set settings that end with the transaction."""
        calls = [sql.SQL("set_config({}, {}, true)").format(name, value) for name, value in settings.items()]
        await connection.execute(sql.SQL("SELECT ") + sql.SQL(", ").join(calls))

    async def _forget(self) -> None:
        while self._idle:
            await self._idle.pop().close()


class _Explaining:
    """Converts errors of the library into Coterie's own."""

    def __init__(self, where: str) -> None:
        self._place = where

    def __enter__(self) -> None:
        """Do nothing: there is nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _Stale) and isinstance(error.__cause__, psycopg.Error):
            error = error.__cause__
        if isinstance(error, psycopg.Error | TimeoutError):
            raise explain(error, self._place) from error


# --- Words of chunks as `tsvector`, by the same analysis as a local index: PostgreSQL's own keeps accents.
#
# A change of what `analyse` gives needs a step in `MIGRATIONS` that calls `reword` again.

# --- Tables of a PostgreSQL index: schema and migrations, writing.

_MOST_TIMES = 255
"""Most occurrences of a word that `tsvector` keeps."""
_AT_ONCE = 1_000
"""Chunks that are read at once."""


def vector_of(heading: str, text: str) -> str:
    """Return the words of a chunk as a `tsvector`: each as often as it occurs, in no order."""
    counts = Counter(analyse(with_heading(heading, text)))
    return " ".join(
        f"{quoted(word)}:{','.join(map(str, range(1, min(times, _MOST_TIMES) + 1)))}" for word, times in counts.items()
    )


def quoted(word: str) -> str:
    """Return a word quoted for a `tsvector` or a `tsquery`, whatever characters it has."""
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"


async def reword(connection: Connection, compartment: int, chunks: sql.Identifier) -> None:
    """Recompute the words of a compartment's chunks, and their counts."""
    write = sql.SQL(
        "UPDATE {chunks} c SET words = new.words::tsvector"
        " FROM unnest(%s::bigint[], %s::integer[], %s::text[]) AS new (document, position, words)"
        " WHERE c.document = new.document AND c.position = new.position"
    ).format(chunks=chunks)
    read = sql.SQL("SELECT document, position, heading, body FROM {chunks}").format(chunks=chunks)
    async with connection.cursor(name="reword") as cursor:
        await cursor.execute(read)
        while rows := await cursor.fetchmany(_AT_ONCE):
            documents, positions, headings, texts = map(list, zip(*rows, strict=True))
            await connection.execute(write, [documents, positions, list(map(vector_of, headings, texts))])
    await connection.execute("DELETE FROM words WHERE compartment = %s", [compartment])
    count = sql.SQL("INSERT INTO words SELECT %s, lexeme, count(*) FROM {chunks}, unnest(words) GROUP BY lexeme")
    await connection.execute(count.format(chunks=chunks), [compartment])


SCHEMA = "coterie"
_LOCK = 0x636F7465  # first key of our advisory locks
_OLDEST_SERVER = 150000  # UNIQUE NULLS NOT DISTINCT
_OLDEST_PGVECTOR = (0, 8)  # iterative scans
_WHOLE_ROW = 8160
"""Bytes up to which a chunk is stored in its row: ranking reads it once for each word of the query."""
_PLAIN_DIMENSION = 2000
"""Largest dimension of vectors stored in the row itself (halfvec: 2 bytes each), where a scan finds them at once."""


async def m001_shelves(connection: Connection) -> None:
    """Create indexes, documents, compartments and the number of a compartment's chunks that contain each word."""
    await connection.execute(
        """
        CREATE TABLE shelves (
            id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            network text NOT NULL,
            name text NOT NULL,
            encoder text NOT NULL,
            dimension integer NOT NULL,
            UNIQUE (network, name)
        );
        CREATE TABLE compartments (
            id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            shelf integer NOT NULL REFERENCES shelves,
            label smallint NOT NULL,
            tenant text,
            chunks bigint NOT NULL DEFAULT 0,
            graph boolean NOT NULL DEFAULT false,
            UNIQUE NULLS NOT DISTINCT (shelf, label, tenant)
        );
        CREATE TABLE documents (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            shelf integer NOT NULL REFERENCES shelves,
            compartment integer NOT NULL REFERENCES compartments,
            name text COLLATE "C" NOT NULL,
            sha256 text NOT NULL,
            body text NOT NULL,
            UNIQUE (shelf, name)
        );
        CREATE TABLE words (
            compartment integer NOT NULL REFERENCES compartments,
            word text COLLATE "C" NOT NULL,
            chunks integer NOT NULL,
            PRIMARY KEY (compartment, word)
        );
        CREATE INDEX words_gone ON words (compartment) WHERE chunks = 0;
        """
    )


async def m002_words(connection: Connection) -> None:
    """Split texts into words here and not in the server, as for an index in a folder."""
    cursor = await connection.execute("SELECT id FROM compartments ORDER BY id")
    for (number,) in await cursor.fetchall():
        names = tables(number)
        await connection.execute(sql.SQL("ALTER TABLE {chunks} ALTER words DROP EXPRESSION").format(**names))
        await reword(connection, number, names["chunks"])


async def m003_dates(connection: Connection) -> None:
    """Add the date of each document."""
    await connection.execute("ALTER TABLE documents ADD COLUMN IF NOT EXISTS dated text")


MIGRATIONS: tuple[Callable[[Connection], Awaitable[None]], ...] = (m001_shelves, m002_words, m003_dates)
"""All migrations, in order."""


async def prepare(connection: Connection) -> str:
    """Migrate the schema; all of it or nothing, one process after the other.

    Returns:
        The `search_path` that finds our tables and pgvector; it is set for the rest of the transaction.

    Raises:
        StoreError: the server lacks something, or a newer Coterie made the schema.
    """
    await _check_server(connection)
    if await _version(connection) == len(MIGRATIONS):
        return await _find_tables(connection)  # whoever may only read comes no further
    await connection.execute("SELECT pg_advisory_xact_lock(%s, 0)", [_LOCK])
    cursor = await connection.execute("SELECT to_regnamespace(%s) IS NULL", [SCHEMA])
    row = await cursor.fetchone()
    if row and row[0]:  # asked first: IF NOT EXISTS wants the right to make schemas even if there is nothing to make
        await connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCHEMA)))
    await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    await _check_extension(connection)
    path = await _find_tables(connection)
    await connection.execute("CREATE TABLE IF NOT EXISTS migrations (version integer PRIMARY KEY)")
    for number in range(await _version(connection), len(MIGRATIONS)):  # another process may just have taken them
        await MIGRATIONS[number](connection)
        await connection.execute("INSERT INTO migrations VALUES (%s)", [number + 1])
    return path


async def _find_tables(connection: Connection) -> str:
    """Return our schema and pgvector's, as a setting. Raises `StoreError` if there is no pgvector."""
    cursor = await connection.execute(
        "SELECT quote_ident(nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace"
        " WHERE extname = 'vector'"
    )
    row = await cursor.fetchone()
    if row is None:
        raise StoreError(
            "The database has no pgvector.", hint="As its owner, run in the database: CREATE EXTENSION vector"
        )
    path = f"{SCHEMA}, {row[0]}"
    await connection.execute("SELECT set_config('search_path', %s, true)", [path])
    return path


async def create_compartment(connection: Connection, number: int, dimension: int) -> None:
    """Create the tables of a compartment: chunks as words, and as vectors. It locks nothing that others read."""
    names = tables(number)
    await connection.execute(
        sql.SQL(
            """
            CREATE TABLE {chunks} (
                document bigint NOT NULL,
                position integer NOT NULL,
                start integer NOT NULL,
                stop integer NOT NULL,
                heading text NOT NULL,
                page integer,
                body text NOT NULL,
                words tsvector NOT NULL,
                PRIMARY KEY (document, position)
            ) WITH (toast_tuple_target = {whole});
            CREATE INDEX ON {chunks} USING gin (words) WITH (fastupdate = off);
            CREATE TABLE {vectors} (
                document bigint NOT NULL,
                position integer NOT NULL,
                vector halfvec({dimension}) NOT NULL,
                PRIMARY KEY (document, position)
            );
            """
        ).format(dimension=sql.Literal(dimension), whole=sql.Literal(_WHOLE_ROW), **names)
    )
    if dimension <= _PLAIN_DIMENSION:
        await connection.execute(sql.SQL("ALTER TABLE {vectors} ALTER vector SET STORAGE plain").format(**names))


async def create_graph(connection: Connection, number: int) -> None:
    """Create the HNSW index of a compartment's vectors. They have length 1, so the inner product is the cosine."""
    await connection.execute(
        sql.SQL(
            "CREATE INDEX ON {vectors} USING hnsw (vector halfvec_ip_ops) WITH (m = 16, ef_construction = 100)"
        ).format(**tables(number))
    )
    await connection.execute("UPDATE compartments SET graph = true WHERE id = %s", [number])


def tables(compartment: int) -> dict[str, sql.Identifier]:
    """Return the tables of a compartment, for the placeholders `{chunks}` and `{vectors}` of a statement."""
    return {kind: sql.Identifier(f"{kind}_{compartment}") for kind in ("chunks", "vectors")}


async def _version(connection: Connection) -> int:
    """Return the number of migrations that the database has."""
    cursor = await connection.execute("SELECT to_regclass(%s) IS NOT NULL", [f"{SCHEMA}.migrations"])
    row = await cursor.fetchone()
    if row is None or not row[0]:
        return 0
    cursor = await connection.execute(
        sql.SQL("SELECT coalesce(max(version), 0) FROM {}").format(sql.Identifier(SCHEMA, "migrations"))
    )
    row = await cursor.fetchone()
    version = int(row[0]) if row else 0
    if version > len(MIGRATIONS):
        raise StoreError(
            f"The database has schema {version}; this Coterie knows schemas up to {len(MIGRATIONS)}.",
            hint="A newer Coterie wrote it. Upgrade: pip install --upgrade coterie",
        )
    return version


async def _check_server(connection: Connection) -> None:
    version = connection.info.server_version
    if version < _OLDEST_SERVER:
        raise StoreError(
            f"PostgreSQL 15 or newer is needed; the server is {version // 10000}.", hint="Upgrade the server."
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreError(
            f"The database keeps text as {encoding}; UTF8 is needed.",
            hint="Make one: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
        )


async def _check_extension(connection: Connection) -> None:
    cursor = await connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    row = await cursor.fetchone()
    version = str(row[0]) if row else "0"
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_PGVECTOR:
        raise StoreError(
            f"pgvector 0.8 or newer is needed; the database has {version}.",
            hint="Install a newer pgvector on the server, then run in the database: ALTER EXTENSION vector UPDATE",
        )


# --- Writing.

GRAPH_FROM = 20_000
"""Chunks from which a compartment's vectors get an HNSW index; fewer vectors are compared exactly."""

_BATCH = 2_000
"""Approximate number of chunks that are sent together."""
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"


class IndexRow(NamedTuple):
    """The fields of a row of `indexes` that a writer needs."""

    id: int
    dimension: int


async def lock_index(connection: Connection, network: str, name: str, encoder: str, dimension: int) -> IndexRow:
    """Return the index's row, created if missing and locked until the transaction ends; a second writer waits."""
    await connection.execute(
        "INSERT INTO shelves (network, name, encoder, dimension) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
        [network, name, encoder, dimension],
    )
    cursor = await connection.execute(
        "SELECT id, dimension FROM shelves WHERE network = %s AND name = %s FOR UPDATE", [network, name]
    )
    (row,) = await cursor.fetchall()
    return IndexRow(*row)


async def set_aside(connection: Connection, network: str, name: str) -> None:
    """Rename the index to a name that no index can have, so that another one can be built in its place."""
    await connection.execute(
        "UPDATE shelves SET name = format('%%s (%%s)', name, id) WHERE network = %s AND name = %s", [network, name]
    )


async def old_compartments(connection: Connection, network: str, name: str) -> list[int]:
    """Return the compartments of indexes that were set aside."""
    cursor = await connection.execute(
        "SELECT c.id FROM compartments c JOIN shelves s ON s.id = c.shelf"
        " WHERE s.network = %s AND starts_with(s.name, %s)",
        [network, f"{name} ("],
    )
    return [int(row[0]) for row in await cursor.fetchall()]


async def drop_table(connection: Connection, table: sql.Identifier) -> None:
    """Drop a table of an index that was set aside.

    Needs a transaction of its own: it waits for readers of the table, who may be waiting for another one.
    """
    await connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))


async def forget_old(connection: Connection, network: str, name: str, compartments: list[int]) -> None:
    """Delete the rows of indexes that were set aside, after the tables of all their compartments are dropped."""
    await connection.execute("DELETE FROM documents WHERE compartment = ANY(%s)", [compartments])
    await connection.execute("DELETE FROM words WHERE compartment = ANY(%s)", [compartments])
    await connection.execute("DELETE FROM compartments WHERE id = ANY(%s)", [compartments])
    await connection.execute(
        "DELETE FROM shelves s WHERE network = %s AND starts_with(name, %s)"
        " AND NOT EXISTS (SELECT FROM compartments c WHERE c.shelf = s.id)",
        [network, f"{name} ("],
    )


async def remove_documents(connection: Connection, index: int, names: Collection[str]) -> None:
    """Remove documents with their chunks and counts; names that do not exist are ignored."""
    cursor = await connection.execute(
        "DELETE FROM documents WHERE shelf = %s AND name = ANY(%s) RETURNING compartment, id", [index, list(names)]
    )
    by_compartment: dict[int, list[int]] = defaultdict(list)
    for compartment, document in await cursor.fetchall():
        by_compartment[compartment].append(document)
    for compartment, documents in by_compartment.items():
        await _count(connection, compartment, documents, sign=-1)
        for table in tables(compartment).values():
            statement = sql.SQL("DELETE FROM {} WHERE document = ANY(%s)").format(table)
            await connection.execute(statement, [documents])


async def put_documents(
    connection: Connection, index: IndexRow, documents: Iterable[IndexedDocument], *, graph_from: int = GRAPH_FROM
) -> None:
    """Write documents in the place of those of the same name, in batches, since they may exceed the memory.

    Raises:
        DataError: a document's vectors do not fit its chunks or the index.
        InputError: its name is not valid text.
    """
    compartments: dict[tuple[Label, str | None], int] = {}
    for batch in _batches(documents):
        for kind in {(document.label, document.tenant) for document in batch} - set(compartments):
            compartments[kind] = await _compartment(connection, index, *kind)
        await remove_documents(connection, index.id, [document_name(document.name) for document in batch])
        await _write(connection, index, batch, compartments)
    for compartment in compartments.values():
        await _look_after(connection, compartment, graph_from)


def _batches(documents: Iterable[IndexedDocument]) -> Iterator[list[IndexedDocument]]:
    """Yield documents with about `_BATCH` chunks together; of several with one name, the last."""
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
    index: IndexRow,
    documents: Sequence[IndexedDocument],
    compartments: Mapping[tuple[Label, str | None], int],
) -> None:
    """Write documents whose names do not exist (any more)."""
    cursor_ = await connection.execute(
        "SELECT nextval(pg_get_serial_sequence('documents', 'id')) FROM generate_series(1, %s)", [len(documents)]
    )
    ids = [int(row[0]) for row in await cursor_.fetchall()]
    by_compartment: dict[int, list[tuple[int, IndexedDocument]]] = defaultdict(list)
    columns = "COPY documents (id, shelf, compartment, name, sha256, body, dated) FROM STDIN"
    async with connection.cursor() as cursor, cursor.copy(columns) as copy:
        for number, document in zip(ids, documents, strict=True):
            compartment = compartments[document.label, document.tenant]
            by_compartment[compartment].append((number, document))
            row = (
                number,
                index.id,
                compartment,
                document_name(document.name),
                document.sha256,
                storable(document.text),
                document.dated,
            )
            await copy.write_row(row)
    for compartment, numbered in by_compartment.items():
        await _write_chunks(connection, compartment, numbered)
        await _write_vectors(connection, compartment, numbered, index.dimension)
        await _count(connection, compartment, [number for number, _ in numbered], sign=1)


def document_name(name: str) -> str:
    """Return a document's name. Raises `InputError` if the database cannot hold it."""
    if storable(name) != name:
        raise InputError(f"The document name {name!r} is no valid Unicode text.", hint="Rename the file.")
    return name


def storable(text: str) -> str:
    """Return the text with U+FFFD for each character that PostgreSQL cannot hold, so that offsets stay."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    return text


def _vectors(document: IndexedDocument, dimension: int) -> np.ndarray:  # (N, D)
    """Return the document's vectors. Raises `DataError` if they do not fit."""
    shape, wanted = document.vectors.shape, (len(document.chunks), dimension)
    if shape != wanted and (document.chunks or document.vectors.size):
        raise DataError(f"Document {document.name!r} has vectors of shape {shape}; its chunks need {wanted}.")
    if not np.isfinite(document.vectors).all():
        raise DataError(f"Document {document.name!r} has a vector with a number that is not finite.")
    return document.vectors.reshape(wanted)


async def _compartment(connection: Connection, index: IndexRow, label: Label, tenant: str | None) -> int:
    """Return the compartment of a label and a tenant, created if missing."""
    kind = [index.id, label.rank, tenant]
    cursor = await connection.execute(
        "SELECT id FROM compartments WHERE shelf = %s AND label = %s AND tenant IS NOT DISTINCT FROM %s", kind
    )
    if (row := await cursor.fetchone()) is not None:
        return int(row[0])
    made = await connection.execute(
        "INSERT INTO compartments (shelf, label, tenant) VALUES (%s, %s, %s) RETURNING id", kind
    )
    (row,) = await made.fetchall()
    await create_compartment(connection, row[0], index.dimension)
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
                fields = (number, position, chunk.start, chunk.end, heading, chunk.page)
                await copy.write_row((*fields, body, vector_of(heading, body)))


async def _write_vectors(
    connection: Connection, compartment: int, numbered: Sequence[tuple[int, IndexedDocument]], dimension: int
) -> None:
    """Write vectors in the binary form of COPY, which is twenty times faster than digits."""
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
    """Add the chunks of these documents to the counts of the compartment, or (`sign` -1) subtract them."""
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
    """Build the HNSW index once there are enough vectors, and update the planner's statistics of grown tables."""
    names = tables(compartment)
    cursor = await connection.execute(
        "SELECT c.chunks, c.graph, greatest(r.reltuples, 0) FROM compartments c"
        " JOIN pg_class r ON r.oid = to_regclass(%s) WHERE c.id = %s",
        [f"coterie.chunks_{compartment}", compartment],
    )
    (chunks, graph, analysed), *_ = await cursor.fetchall()
    if chunks >= graph_from and not graph:
        await create_graph(connection, compartment)
    if abs(chunks - analysed) > 0.2 * chunks:
        for table in names.values():
            await connection.execute(sql.SQL("ANALYZE {}").format(table))


# --- Searching.

_WORDS = 32
"""Most words of a query that count: the rarest ones."""
_CANDIDATES = 5_000
"""Approximate number of chunks ranked by words: those with the rarest words; common words only add to their score."""
_DEPTH = 100
"""Least number of chunks of each ranking that are fused; twice as many as requested, if that is more."""

_VISIBLE = sql.SQL(
    "shelves s JOIN compartments c ON c.shelf = s.id"
    " WHERE s.network = %(network)s AND s.name = %(index_name)s"
    " AND c.label <= %(clearance)s AND (c.tenant IS NULL OR c.tenant = %(tenant)s)"
)


class SearchScope(NamedTuple):
    """The index to search and the principal who searches it."""

    network: str
    index_name: str
    clearance: Label
    tenant: str

    @property
    def parameters(self) -> dict[str, object]:
        """The parameters of `_VISIBLE`."""
        return {**self._asdict(), "clearance": self.clearance.rank, "tenant": storable(self.tenant)}


class QueryTerm(NamedTuple):
    """A word of the query, with its form in the index."""

    quoted: str
    """The word as a query of PostgreSQL's full-text search."""
    chunks: int
    """Number of visible chunks that contain the word."""
    weight: float


class PostgresHit(NamedTuple):
    """A chunk, by its position."""

    compartment: int
    document: int
    position: int


class Ranking(NamedTuple):
    """The basis of a search."""

    compartments: list[int]
    """Compartments that the caller may see and that have chunks."""
    words: list[QueryTerm]
    """Words of the query that occur in them, rarest first."""


async def look_up(connection: Connection, caller: SearchScope, query: str) -> Ranking:
    """Return what the caller may see, and how rare the words of the query are in that."""
    visible = await connection.execute(
        sql.SQL("SELECT c.id, c.chunks FROM ") + _VISIBLE + sql.SQL(" AND c.chunks > 0 ORDER BY c.id"),
        caller.parameters,
    )
    counted = await connection.execute(
        sql.SQL(
            "SELECT w.word, sum(w.chunks) FROM words w WHERE w.word = ANY(%(terms)s)"
            " AND w.compartment IN (SELECT c.id FROM {visible}) GROUP BY w.word ORDER BY w.word"
        ).format(visible=_VISIBLE),
        {**caller.parameters, "terms": list(set(analyse(query[:LONGEST_QUERY])))},
    )
    compartments = await visible.fetchall()
    total = sum(int(chunks) for _, chunks in compartments)
    counts = {str(word): int(chunks) for word, chunks in await counted.fetchall()}
    words = [
        QueryTerm(quoted(word), counts[word], rarity(counts[word], total)) for word in rarest(counts, total)[:_WORDS]
    ]
    return Ranking([int(compartment) for compartment, _ in compartments], words)


async def select_passages(
    connection: Connection, index: str, ranking_read: Ranking, vector: np.ndarray | None, k: int
) -> list[Passage]:
    """Return the best `k` chunks of the looked-up compartments, best first.

    Without a `vector` (D,), of length 1, rank by words alone; without words, by the vector alone.
    """
    if not ranking_read.compartments:
        return []
    depth = max(2 * k, _DEPTH)
    lists = []
    if vector is not None:
        lists.append((await by_vector(connection, ranking_read.compartments, vector, depth), -1.0))
    if ranking_read.words:
        lists.append((await by_words(connection, ranking_read.compartments, ranking_read.words, depth), 1.0))
    rankings = [
        [(PostgresHit(*row[:3]), sign * float(row[3])) for row in await cursor.fetchall()] for cursor, sign in lists
    ]
    if len(rankings) == 1:
        ranked = rankings[0]
    else:
        fused = fuse([[hit for hit, _ in ranking] for ranking in rankings])
        ranked = [(PostgresHit(*key), score) for key, score in fused.items()]
    return await _passages(connection, index, ranked[:k])


async def select_within(
    connection: Connection, caller: SearchScope, document: str, query: str, vector: np.ndarray | None
) -> list[Passage]:
    """Return the chunks of one document, best first; none if it does not exist or may not be seen."""
    cursor = await connection.execute(
        sql.SQL(
            "SELECT c.id, d.id FROM documents d JOIN ({}) c ON c.id = d.compartment WHERE d.name = %(name)s"
        ).format(sql.SQL("SELECT c.id FROM ") + _VISIBLE),
        {**caller.parameters, "name": storable(document)},
    )
    stored = await cursor.fetchone()
    if stored is None:
        return []
    compartment, number = int(stored[0]), int(stored[1])
    cursor = await connection.execute(
        sql.SQL(
            "SELECT position, vector::text FROM {chunks} JOIN {vectors} USING (document, position)"
            " WHERE document = %s ORDER BY position"
        ).format(**tables(compartment)),
        [number],
    )
    rows = await cursor.fetchall()
    if not rows:
        return []
    hits = [(PostgresHit(compartment, number, int(position)), 0.0) for position, _ in rows]
    passages = await _passages(connection, caller.index_name, hits)
    vectors = np.array([json.loads(text) for _, text in rows], dtype=np.float32)  # (N, D)
    return [replace(passage, score=score) for passage, score in rank_within(passages, query, vectors, vector)]


async def by_words(
    connection: Connection, compartments: Sequence[int], words: Sequence[QueryTerm], depth: int
) -> Cursor:
    """Query the chunks with the query's rarest words, best first: a `Hit` and its score each."""
    score = sql.SQL(" + ").join(
        sql.SQL("{} * ts_rank('{{1,1,1,1}}', words, {}::tsquery)").format(
            sql.Literal(word.weight), sql.Literal(word.quoted)
        )
        for word in words
    )
    wanted = sql.Literal(" | ".join(word.quoted for word in _rarest(words)))
    query = sql.SQL(
        "(SELECT {compartment}, document, position, {score} FROM {chunks} WHERE words @@ {wanted}::tsquery"
        " ORDER BY 4 DESC, 2, 3 LIMIT {depth})"
    )
    return await _best(
        connection, query, compartments, sql.SQL("DESC"), score=score, wanted=wanted, depth=sql.Literal(depth)
    )


def _rarest(words: Sequence[QueryTerm]) -> Sequence[QueryTerm]:
    """Return so many of the rarest words that about `_CANDIDATES` chunks contain one; at least one word."""
    total = 0
    for i, word in enumerate(words):
        total += word.chunks
        if i and total > _CANDIDATES:
            return words[:i]
    return words


async def by_vector(connection: Connection, compartments: Sequence[int], vector: np.ndarray, depth: int) -> Cursor:
    """Query the chunks nearest to the vector, nearest first: a `Hit` and its distance each."""
    text = "[" + ",".join(map(repr, vector.tolist())) + "]"
    query = sql.SQL(
        "(SELECT {compartment}, document, position, vector <#> {vector}::halfvec FROM {vectors}"
        " ORDER BY vector <#> {vector}::halfvec LIMIT {depth})"
    )
    return await _best(
        connection, query, compartments, sql.SQL("ASC"), vector=sql.Literal(text), depth=sql.Literal(depth)
    )


async def _best(
    connection: Connection, query: sql.SQL, compartments: Sequence[int], order: sql.SQL, **parts: sql.Composable
) -> Cursor:
    """Query the best chunks of several compartments: one statement each, combined into one query."""
    union = sql.SQL(" UNION ALL ").join(
        query.format(compartment=sql.Literal(number), **tables(number), **parts) for number in compartments
    )
    statement = sql.SQL("SELECT * FROM ({}) AS hits ORDER BY 4 {}, 2, 3 LIMIT {}").format(union, order, parts["depth"])
    return await connection.execute(statement)


async def _passages(connection: Connection, index: str, ranked: Sequence[tuple[PostgresHit, float]]) -> list[Passage]:
    """Return the chunks as passages, in the same order."""
    if not ranked:
        return []
    by_compartment: dict[int, list[PostgresHit]] = defaultdict(list)
    for hit, _ in ranked:
        by_compartment[hit.compartment].append(hit)
    query = sql.SQL(
        "SELECT {compartment}, t.document, t.position, d.name, t.start, t.stop, t.body, c.label, t.heading, t.page,"
        " d.dated FROM {chunks} t JOIN documents d ON d.id = t.document JOIN compartments c ON c.id = d.compartment"
        " JOIN unnest({documents}::bigint[], {positions}::int[]) AS hit (document, position) USING (document, position)"
    )
    queries = [
        query.format(
            compartment=sql.Literal(compartment),
            documents=sql.Literal([hit.document for hit in hits]),
            positions=sql.Literal([hit.position for hit in hits]),
            **tables(compartment),
        )
        for compartment, hits in by_compartment.items()
    ]
    cursor = await connection.execute(sql.SQL(" UNION ALL ").join(queries))
    rows = {PostgresHit(*row[:3]): row[3:] for row in await cursor.fetchall()}
    passages = []
    for hit, score in ranked:
        document, start, end, text, label, heading, page, dated = rows[hit]
        passages.append(
            Passage(
                document=document,
                start=start,
                end=end,
                text=text,
                score=score,
                label=_LABELS[label],
                index=index,
                heading=heading,
                page=page,
                dated=dated,
            )
        )
    return passages


_LABELS = {label.rank: label for label in Label}

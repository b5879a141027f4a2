"""The tables, as the numbered steps that lead to them, in a schema `coterie` of their own.

What may be seen by the same people is a **compartment**: the chunks of one shelf with one label and one tenant. Each
has tables and indexes of its own, made when its first document comes. A search names the tables of the compartments
that the asker may see, so what is hidden is not read: it changes no result, score or count, nor the time they take.

A step that was released is never changed; to change the schema, write the next one and append it to `MIGRATIONS`. A
step that changes the tables of compartments does it for those in `compartments` and changes `create_compartment` too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

from psycopg import sql

from coterie.errors import StoreError
from coterie.knowledge.keyword import analyse, with_heading
from coterie.knowledge.postgres_connections import Connection

# --- Words of chunks as PostgreSQL's full-text search keeps them: the same ones that a shelf in a folder has.
#
# PostgreSQL's own reading of a text is not used: it keeps accents, takes a Chinese sentence for one word, and
# `landlord/tenant` for the name of a file, in which neither is found.
#
# A change of what `analyse` gives needs a step in `MIGRATIONS` that calls `reword` again.

_MOST_TIMES = 255
"""Occurrences of a word that `tsvector` keeps."""
_AT_ONCE = 1_000
"""Chunks."""


def vector_of(heading: str, text: str) -> str:
    """The words of a chunk as a `tsvector`: each as often as it stands there, in no order."""
    counts = Counter(analyse(with_heading(heading, text)))
    return " ".join(
        f"{quoted(word)}:{','.join(map(str, range(1, min(times, _MOST_TIMES) + 1)))}" for word, times in counts.items()
    )


def quoted(word: str) -> str:
    """A word in a `tsvector` or a `tsquery`, whatever characters it has."""
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"


async def reword(connection: Connection, compartment: int, chunks: sql.Identifier) -> None:
    """Tell the words of a compartment's chunks anew, and count them anew."""
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
"""Bytes up to which a chunk stands in its row: ranking reads it once for each word of the query."""
_PLAIN_DIMENSION = 2000
"""Vectors up to this dimension (halfvec: 2 bytes each) stand in the row itself, where a scan finds them at once."""


async def m001_shelves(connection: Connection) -> None:
    """Shelves, documents, compartments and how many of a compartment's chunks hold each word."""
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
    """Words are told here and not by the server, as those of a shelf in a folder are."""
    found = await connection.execute("SELECT id FROM compartments ORDER BY id")
    for (number,) in await found.fetchall():
        names = tables(number)
        await connection.execute(sql.SQL("ALTER TABLE {chunks} ALTER words DROP EXPRESSION").format(**names))
        await reword(connection, number, names["chunks"])


MIGRATIONS: tuple[Callable[[Connection], Awaitable[None]], ...] = (m001_shelves, m002_words)
"""Every step, in order."""


async def prepare(connection: Connection) -> str:
    """Bring the schema up to date; all of it or nothing, one process after the other.

    Returns:
        The `search_path` that finds our tables and pgvector; it is set for the rest of the transaction.

    Raises:
        StoreError: the server lacks something, or a newer Coterie made the schema.
    """
    await _check_server(connection)
    if await _version(connection) == len(MIGRATIONS):
        return await _find_tables(connection)  # whoever may only read comes no further
    await connection.execute("SELECT pg_advisory_xact_lock(%s, 0)", [_LOCK])
    found = await connection.execute("SELECT to_regnamespace(%s) IS NULL", [SCHEMA])
    row = await found.fetchone()
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
    """Our schema and the one that pgvector is in, as a setting. Raises `StoreError` if there is no pgvector."""
    found = await connection.execute(
        "SELECT quote_ident(nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace"
        " WHERE extname = 'vector'"
    )
    row = await found.fetchone()
    if row is None:
        raise StoreError(
            "The database has no pgvector.", hint="As its owner, run in the database: CREATE EXTENSION vector"
        )
    path = f"{SCHEMA}, {row[0]}"
    await connection.execute("SELECT set_config('search_path', %s, true)", [path])
    return path


async def create_compartment(connection: Connection, number: int, dimension: int) -> None:
    """The tables of a compartment: chunks as words, and as vectors. Locks nothing that others read."""
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
    """The HNSW index of a compartment's vectors. They are of length 1, so the inner product is the cosine."""
    await connection.execute(
        sql.SQL(
            "CREATE INDEX ON {vectors} USING hnsw (vector halfvec_ip_ops) WITH (m = 16, ef_construction = 100)"
        ).format(**tables(number))
    )
    await connection.execute("UPDATE compartments SET graph = true WHERE id = %s", [number])


def tables(compartment: int) -> dict[str, sql.Identifier]:
    """The tables of a compartment, for the places `{chunks}` and `{vectors}` of a statement."""
    return {kind: sql.Identifier(f"{kind}_{compartment}") for kind in ("chunks", "vectors")}


async def _version(connection: Connection) -> int:
    """How many steps the database has taken."""
    found = await connection.execute("SELECT to_regclass(%s) IS NOT NULL", [f"{SCHEMA}.migrations"])
    row = await found.fetchone()
    if row is None or not row[0]:
        return 0
    found = await connection.execute(
        sql.SQL("SELECT coalesce(max(version), 0) FROM {}").format(sql.Identifier(SCHEMA, "migrations"))
    )
    row = await found.fetchone()
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
    found = await connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    row = await found.fetchone()
    version = str(row[0]) if row else "0"
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_PGVECTOR:
        raise StoreError(
            f"pgvector 0.8 or newer is needed; the database has {version}.",
            hint="Install a newer pgvector on the server, then run in the database: ALTER EXTENSION vector UPDATE",
        )

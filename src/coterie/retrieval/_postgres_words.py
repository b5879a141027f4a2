"""Words of chunks as PostgreSQL's full-text search keeps them: the same ones that a shelf in a folder has.

PostgreSQL's own reading of a text is not used: it keeps accents, takes a Chinese sentence for one word, and
`landlord/tenant` for the name of a file, in which neither is found.

A change of what `analyse` gives needs a step in `MIGRATIONS` that calls `reword` again.
"""

from __future__ import annotations

from collections import Counter

from psycopg import sql

from ._keyword import analyse, with_heading
from ._postgres_connections import Connection

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

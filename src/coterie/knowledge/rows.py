"""The tables of a local shelf: documents, chunks and their vectors in one SQLite file, the truth behind its indexes.

A file is written by nobody once its generation counts, so it is opened as what never changes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from coterie.knowledge.documents import IndexedDocument
from coterie.types import Label

_SCHEMA = """
create table document (
    id integer primary key, name text not null unique, sha256 text not null, label text not null, tenant text
) strict;
create table piece (
    document integer not null references document on delete cascade, number integer not null, text text not null,
    primary key (document, number)
) strict, without rowid;
create table chunk (
    id integer primary key, document integer not null references document on delete cascade,
    start integer not null, "end" integer not null, heading text not null, page integer, vector blob not null
) strict;
create table packed (chunk integer primary key references chunk on delete cascade, tokens blob not null) strict;
create index chunk_document on chunk (document);
create index document_group on document (label, tenant);
"""
_MANY = 500
"""Keys of one query."""
_SIGNS = """
select chunk.id, vector, tokens from chunk left join packed on packed.chunk = chunk.id where chunk.id in ({marks})
"""
_SELECT = """
select chunk.id, name, start, "end", heading, page, label, coalesce(number, 0), coalesce(text, '')
from chunk join document on document.id = chunk.document
left join piece on piece.document = chunk.document and number between start / {size} and (max("end", 1) - 1) / {size}
where chunk.id in ({marks}) order by chunk.id, number
"""
_PIECE = 8192
"""Characters of a document that are stored together: a passage is read without the rest of its document."""


class Group(NamedTuple):
    """Who may see a chunk: a reader cleared for the label, of the tenant if there is one."""

    label: Label
    tenant: str | None

    def visible(self, clearance: Label, tenant: str) -> bool:
        """Whether this reader may see it."""
        return self.label <= clearance and self.tenant in {None, tenant}


class ChunkRow(NamedTuple):
    """A chunk as it is shown."""

    key: int
    document: str
    start: int
    end: int
    text: str
    heading: str
    page: int | None
    label: Label


def create(path: Path) -> sqlite3.Connection:
    """A new file to be filled; deleted text is overwritten, not only forgotten."""
    connection = _writable(path)
    connection.executescript(_SCHEMA)
    return connection


def reopen(path: Path) -> sqlite3.Connection:
    """A copy of an older file, to be changed."""
    return _writable(path)


def _writable(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode = off")  # the whole generation is thrown away if this fails
    connection.execute("pragma synchronous = off")  # it is synced before it counts
    connection.execute("pragma foreign_keys = on")
    connection.execute("pragma secure_delete = on")
    return connection


def open_read(path: Path) -> sqlite3.Connection:
    """A file that counts. Calls of several threads wait for one another."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False, isolation_level=None
    )


def remove(connection: sqlite3.Connection, names: Collection[str]) -> set[Group]:
    """Take documents away; the groups that had them."""
    changed = set()
    for name in names:
        row = connection.execute("delete from document where name = ? returning label, tenant", (name,)).fetchone()
        if row:
            changed.add(Group(Label(row[0]), row[1]))
    return changed


def put(connection: sqlite3.Connection, document: IndexedDocument) -> Group:
    """Add a document that is not there."""
    key = connection.execute(
        "insert into document (name, sha256, label, tenant) values (?, ?, ?, ?)",
        (document.name, document.sha256, document.label.value, document.tenant),
    ).lastrowid
    text = document.text
    connection.executemany(
        "insert into piece (document, number, text) values (?, ?, ?)",
        ((key, at // _PIECE, text[at : at + _PIECE]) for at in range(0, len(text), _PIECE)),
    )
    vectors = document.vectors.astype(np.float16)
    tokens = document.tokens or (b"",) * len(document.chunks)
    for chunk, vector, packed in zip(document.chunks, vectors, tokens, strict=True):
        row = connection.execute(
            'insert into chunk (document, start, "end", heading, page, vector) values (?, ?, ?, ?, ?, ?)',
            (key, chunk.start, chunk.end, chunk.heading, chunk.page, vector.tobytes()),
        ).lastrowid
        if packed:
            connection.execute("insert into packed (chunk, tokens) values (?, ?)", (row, packed))
    return Group(document.label, document.tenant)


def hashes(connection: sqlite3.Connection) -> dict[str, str]:
    """The hash of every document, by name."""
    return dict(connection.execute("select name, sha256 from document order by name"))


def tenants(connection: sqlite3.Connection) -> frozenset[str]:
    """Every tenant that has documents of its own."""
    found = connection.execute("select distinct tenant from document where tenant is not null")
    return frozenset(tenant for (tenant,) in found)


def groups(connection: sqlite3.Connection) -> dict[Group, int]:
    """Every group that has chunks, with how many."""
    found = connection.execute(
        "select label, tenant, count(*) from document join chunk on chunk.document = document.id group by 1, 2"
    )
    return {Group(Label(label), tenant): int(count) for label, tenant, count in found}


def group_texts(connection: sqlite3.Connection, group: Group) -> Iterator[tuple[int, str, str]]:
    """(key, heading, text) of a group's chunks, by key."""
    for key, heading, document, start, end in _group(connection, group, 'chunk.id, heading, document, start, "end"'):
        yield key, heading, _read(connection, document, start, end)


def group_vectors(
    connection: sqlite3.Connection, group: Group, count: int, dimension: int
) -> tuple[np.ndarray, np.ndarray]:
    """(keys (N,) int64, vectors (N, D) float16) of a group's chunks, by key."""
    keys, vectors = np.empty(count, dtype=np.int64), np.empty((count, dimension), dtype=np.float16)
    for row, (key, vector) in enumerate(_group(connection, group, "chunk.id, vector")):
        keys[row], vectors[row] = key, np.frombuffer(vector, dtype=np.float16)
    return keys, vectors


def _group(connection: sqlite3.Connection, group: Group, columns: str) -> Iterable[tuple]:  # type: ignore[type-arg]
    return connection.execute(
        f"select {columns} from chunk join document on document.id = chunk.document "  # noqa: S608 - columns are ours
        "where label = ? and tenant is ? order by chunk.id",
        (group.label.value, group.tenant),
    )


def rows(connection: sqlite3.Connection, keys: Sequence[int]) -> dict[int, ChunkRow]:
    """Chunks by key."""
    found: dict[int, ChunkRow] = {}
    for begin in range(0, len(keys), _MANY):
        some = tuple(keys[begin : begin + _MANY])
        query = _SELECT.format(marks=", ".join("?" * len(some)), size=_PIECE)
        for key, name, start, end, heading, page, label, number, text in connection.execute(query, some):
            at = number * _PIECE
            part = text[max(start - at, 0) : end - at]
            if key in found:  # it goes on in the next piece
                part = found[key].text + part
            found[key] = ChunkRow(key, name, start, end, part, heading, page, Label(label))
    return found


def document_keys(connection: sqlite3.Connection, name: str) -> tuple[Group | None, list[int]]:
    """Who may see a document, and the keys of its chunks in its order; None if there is no such document."""
    found = connection.execute("select id, label, tenant from document where name = ?", (name,)).fetchone()
    if found is None:
        return None, []
    keys = connection.execute("select id from chunk where document = ? order by start", (found[0],))
    return Group(Label(found[1]), found[2]), [int(key) for (key,) in keys]


def signs(connection: sqlite3.Connection, keys: Sequence[int]) -> dict[int, tuple[np.ndarray, bytes]]:
    """(vector (D,) float16, packed tokens) of chunks by key: what the reranker reads."""
    found = {}
    for begin in range(0, len(keys), _MANY):
        some = tuple(keys[begin : begin + _MANY])
        marks = ", ".join("?" * len(some))
        for key, vector, tokens in connection.execute(_SIGNS.format(marks=marks), some):
            found[key] = np.frombuffer(vector, dtype=np.float16), tokens or b""
    return found


def text_of(connection: sqlite3.Connection, name: str, start: int, end: int) -> tuple[Group, str] | None:
    """A part of a document's text and who may see it; None if there is no such document."""
    found = connection.execute("select id, label, tenant from document where name = ?", (name,)).fetchone()
    if found is None:
        return None
    return Group(Label(found[1]), found[2]), _read(connection, found[0], max(start, 0), max(end, 0))


def _read(connection: sqlite3.Connection, document: int, start: int, end: int) -> str:
    """`text[start:end]` of a document."""
    first = start // _PIECE
    found = connection.execute(
        "select text from piece where document = ? and number between ? and ? order by number",
        (document, first, max(end - 1, 0) // _PIECE),
    )
    text = "".join(piece for (piece,) in found)
    return text[start - first * _PIECE : max(end - first * _PIECE, 0)]

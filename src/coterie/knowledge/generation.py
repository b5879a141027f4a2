"""Generations of an index: each a folder that is written once, and one pointer file that names the current one.

A writer fills a folder beside the present one, syncs it to the disk, and then lets the pointer name it by a
rename. A writer that is killed on the way leaves the old generation as it was.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from coterie.errors import IndexBusy
from coterie.knowledge.documents import IndexedDocument
from coterie.runtime.codec import parse_json
from coterie.runtime.files import hold, replacing, sync, write_new
from coterie.types import Label

# --- Tables of a generation: documents, chunks and vectors in one SQLite file.

_SCHEMA = """
create table document (
    id integer primary key, name text not null unique, sha256 text not null, label text not null, tenant text,
    dated text
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
DATABASE = "shelf.db"
"""The database file of a generation, with its documents and chunks."""
_MANY = 500
"""Most keys in one query."""
_SIGNS = """
select chunk.id, vector, tokens from chunk left join packed on packed.chunk = chunk.id where chunk.id in ({marks})
"""
_SELECT = """
select chunk.id, name, start, "end", heading, page, label, coalesce(number, 0), coalesce(text, ''), {dated}
from chunk join document on document.id = chunk.document
left join piece on piece.document = chunk.document and number between start / {size} and (max("end", 1) - 1) / {size}
where chunk.id in ({marks}) order by chunk.id, number
"""
_PIECE = 8192
"""Characters of a document that are stored together, so that a passage is read without the rest of its document."""


class Group(NamedTuple):
    """The access to a chunk: readers cleared for the label, and of the tenant if there is one."""

    label: Label
    tenant: str | None

    def visible(self, clearance: Label, tenant: str) -> bool:
        """Return whether this reader may see the group."""
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
    dated: str | None


def create(path: Path) -> sqlite3.Connection:
    """Create a new file to be filled; deleted text is overwritten, not only unlinked."""
    connection = _writable(path)
    connection.executescript(_SCHEMA)
    return connection


def reopen(path: Path) -> sqlite3.Connection:
    """Open a copy of an older file for changes."""
    connection = _writable(path)
    if _dated(connection) == "null":
        connection.execute("alter table document add column dated text")
    return connection


def _dated(connection: sqlite3.Connection) -> str:
    """Return the column with a document's date, which older files do not have."""
    column = connection.execute("select 1 from pragma_table_info('document') where name = 'dated'").fetchone()
    return "dated" if column else "null"


def _writable(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode = off")  # the whole generation is thrown away if this fails
    connection.execute("pragma synchronous = off")  # it is synced before it counts
    connection.execute("pragma foreign_keys = on")
    connection.execute("pragma secure_delete = on")
    return connection


def open_read(path: Path) -> sqlite3.Connection:
    """Open the current file for reading. Calls of several threads wait for one another."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False, isolation_level=None
    )


def remove(connection: sqlite3.Connection, names: Collection[str]) -> set[Group]:
    """Remove documents; return the groups that had them."""
    changed = set()
    for name in names:
        row = connection.execute("delete from document where name = ? returning label, tenant", (name,)).fetchone()
        if row:
            changed.add(Group(Label(row[0]), row[1]))
    return changed


def put(connection: sqlite3.Connection, document: IndexedDocument) -> Group:
    """Add a document that does not exist yet."""
    key = connection.execute(
        "insert into document (name, sha256, label, tenant, dated) values (?, ?, ?, ?, ?)",
        (document.name, document.sha256, document.label.value, document.tenant, document.dated),
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


def hashes(connection: sqlite3.Connection, clearance: Label | None = None, tenant: str = "default") -> dict[str, str]:
    """Return the hash of every document, by name; with a clearance, of those that this reader may see."""
    cursor = connection.execute("select name, sha256, label, tenant from document order by name")
    return {
        name: sha256
        for name, sha256, label, owner in cursor
        if clearance is None or Group(Label(label), owner).visible(clearance, tenant)
    }


def tenants(connection: sqlite3.Connection) -> frozenset[str]:
    """Return every tenant that has documents of its own."""
    cursor = connection.execute("select distinct tenant from document where tenant is not null")
    return frozenset(tenant for (tenant,) in cursor)


def groups(connection: sqlite3.Connection) -> dict[Group, int]:
    """Return every group that has chunks, with their number."""
    cursor = connection.execute(
        "select label, tenant, count(*) from document join chunk on chunk.document = document.id group by 1, 2"
    )
    return {Group(Label(label), tenant): int(count) for label, tenant, count in cursor}


def group_texts(connection: sqlite3.Connection, group: Group) -> Iterator[tuple[int, str, str]]:
    """Yield (key, heading, text) of a group's chunks, by key."""
    for key, heading, document, start, end in _group(connection, group, 'chunk.id, heading, document, start, "end"'):
        yield key, heading, _read(connection, document, start, end)


def group_vectors(
    connection: sqlite3.Connection, group: Group, count: int, dimension: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (keys (N,) int64, vectors (N, D) float16) of a group's chunks, by key."""
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
    """Return chunks by key."""
    by_key: dict[int, ChunkRow] = {}
    dated = _dated(connection)
    for begin in range(0, len(keys), _MANY):
        some = tuple(keys[begin : begin + _MANY])
        query = _SELECT.format(marks=", ".join("?" * len(some)), size=_PIECE, dated=dated)
        for key, name, start, end, heading, page, label, number, text, day in connection.execute(query, some):
            at = number * _PIECE
            part = text[max(start - at, 0) : end - at]
            if key in by_key:  # it goes on in the next piece
                part = by_key[key].text + part
            by_key[key] = ChunkRow(key, name, start, end, part, heading, page, Label(label), day)
    return by_key


def document_keys(connection: sqlite3.Connection, name: str) -> tuple[Group | None, list[int]]:
    """Return a document's group and the keys of its chunks in its order; None if there is no such document."""
    row = connection.execute("select id, label, tenant from document where name = ?", (name,)).fetchone()
    if row is None:
        return None, []
    keys = connection.execute("select id from chunk where document = ? order by start", (row[0],))
    return Group(Label(row[1]), row[2]), [int(key) for (key,) in keys]


def signs(connection: sqlite3.Connection, keys: Sequence[int]) -> dict[int, tuple[np.ndarray, bytes]]:
    """Return (vector (D,) float16, packed tokens) of chunks by key, for the reranker."""
    by_key = {}
    for begin in range(0, len(keys), _MANY):
        some = tuple(keys[begin : begin + _MANY])
        marks = ", ".join("?" * len(some))
        for key, vector, tokens in connection.execute(_SIGNS.format(marks=marks), some):
            by_key[key] = np.frombuffer(vector, dtype=np.float16), tokens or b""
    return by_key


def text_of(connection: sqlite3.Connection, name: str, start: int, end: int) -> tuple[Group, str] | None:
    """Return a part of a document's text and the document's group; None if there is no such document."""
    row = connection.execute("select id, label, tenant from document where name = ?", (name,)).fetchone()
    if row is None:
        return None
    return Group(Label(row[1]), row[2]), _read(connection, row[0], max(start, 0), max(end, 0))


def _read(connection: sqlite3.Connection, document: int, start: int, end: int) -> str:
    """Return `text[start:end]` of a document."""
    first = start // _PIECE
    pieces = connection.execute(
        "select text from piece where document = ? and number between ? and ? order by number",
        (document, first, max(end - 1, 0) // _PIECE),
    )
    text = "".join(piece for (piece,) in pieces)
    return text[start - first * _PIECE : max(end - first * _PIECE, 0)]


# --- Generations in a folder.

POINTER = "current"
_GENERATION = re.compile(r"^generation-(\d{1,12})$")


def present(folder: Path) -> Path | None:
    """Return the current generation, None if there is none. Every search calls this, so it takes few system calls."""
    try:
        file = os.open(folder / POINTER, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        name = os.read(file, 64).decode("ascii", "replace").strip()
    finally:
        os.close(file)
    return folder / name if _GENERATION.match(name) else None


@contextmanager
def next_generation(folder: Path) -> Iterator[tuple[Path | None, Path]]:
    """Yield the present generation and an empty folder, which becomes the next one if the block ends without an error.

    The block must close every file it writes. The caller holds the writer's lock.
    """
    old = present(folder)
    number = int(_GENERATION.sub(r"\1", old.name)) + 1 if old else 1
    _sweep(folder, keep=old)
    new = folder / f"generation-{number}"
    new.mkdir(mode=0o700)
    try:
        yield old, new
        written = list(new.rglob("*"))
        for path in written:  # libraries make their files as they like, and a copied folder may be open to others
            path.chmod(0o700 if path.is_dir() else 0o600)
        for path in (*written, new, folder):
            sync(path)
        with replacing(folder / POINTER) as draft:
            write_new(draft, new.name.encode("ascii"), mode=0o600)
    except BaseException:
        if present(folder) != new:
            shutil.rmtree(new, ignore_errors=True)
        raise
    _sweep(folder, keep=new)


@contextmanager
def sole_writer(path: Path, what: str) -> Iterator[None]:
    """Hold the lock of this file; the system releases it when its holder dies.

    Raises:
        IndexBusy: another process or another task of this one has the lock.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            hold(file, wait=False)
        except OSError:
            raise IndexBusy(
                f"Another process is indexing {what} just now.",
                hint="Wait until it is done, then run the command again.",
            ) from None
        yield
    finally:
        os.close(file)  # frees the lock


def _sweep(folder: Path, *, keep: Path | None) -> None:
    """Delete every generation but one: earlier ones, and those that a killed writer left.

    Readers that have its files open keep them.
    """
    for path in folder.iterdir():
        if _GENERATION.match(path.name) and path != keep:
            shutil.rmtree(path, ignore_errors=True)


# --- The manifest: files of a generation with their CRC-32 checksums.
#
# They detect errors of a disk or a copy, not tampering: whoever may write to the folder is trusted.

READ_VERSION = 6
"""Version of how documents are read and cut: with another number every document is read again."""
_FILE = "manifest.json"
_OWN = "checksum"
_AT_ONCE = 1024 * 1024
"""Bytes of a file that are read at once."""


class IndexState(NamedTuple):
    """The content of a local index, as its present generation describes it."""

    documents: int
    chunks: int
    encoder: str
    """Checksum of the encoder that made the vectors."""
    reader: int = READ_VERSION
    """The `READ_VERSION` that the oldest documents were read with; 0 if it is not recorded."""

    @property
    def is_outdated(self) -> bool:
        """Whether its documents would be read and cut differently now."""
        return self.documents > 0 and self.reader != READ_VERSION


def index_state(folder: Path) -> IndexState | None:
    """Return the state of the index in a folder; None if nothing is indexed, or it cannot be read."""
    path = present(folder)
    try:
        content = parse_json((path / _FILE).read_text(encoding="utf-8")) if path else {}
        counts = (int(content["documents"]), int(content["chunks"]))
        return IndexState(*counts, str(content["encoder_sha256"]), int(content.get("reader", 0)))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_manifest(generation: Path, content: Mapping[str, object]) -> None:
    """Write the manifest, with every file in the folder but locks, which hold nothing."""
    paths = sorted(path for path in generation.rglob("*") if path.is_file() and path.suffix != ".lock")
    sums = {path.relative_to(generation).as_posix(): _checksum(path) for path in paths}
    sizes = {path.relative_to(generation).as_posix(): path.stat().st_size for path in paths}
    whole = {**content, "files": sizes, "checksums": sums}
    whole[_OWN] = _own(whole)
    (generation / _FILE).write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def read_manifest(generation: Path) -> dict[str, Any]:
    """Return the manifest's content, if it and all files are unchanged. An older index has sizes only.

    Raises `OSError`, or `ValueError` or `KeyError` if the manifest is invalid.
    """
    content = parse_json((generation / _FILE).read_text(encoding="utf-8"))
    if _OWN in content and content[_OWN] != _own(content):
        raise ValueError(f"{_FILE} is not as it was written")
    for name, size in content["files"].items():
        if (actual := (generation / name).stat().st_size) != size:
            raise ValueError(f"{name} has {actual} bytes, not {size}")
    for name, checksum in content.get("checksums", {}).items():
        if _checksum(generation / name) != checksum:
            raise ValueError(f"{name} is not as it was written: its checksum is another")
    return dict(content)


def _own(content: Mapping[str, object]) -> int:
    """Return the checksum of the manifest's other fields."""
    content_ = {name: value for name, value in content.items() if name != _OWN}
    return crc32(json.dumps(content_, sort_keys=True).encode())


def _checksum(path: Path) -> int:
    """Return the checksum of a file, read piece by piece, so that the memory does not grow with the file."""
    checksum, piece = 0, bytearray(_AT_ONCE)
    view = memoryview(piece)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(piece):
            checksum = crc32(view[:count], checksum)
    return checksum

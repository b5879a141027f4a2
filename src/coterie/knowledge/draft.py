"""What was read and encoded already, kept beside a shelf until all of it is there: an interrupted build goes on."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np

from coterie.errors import StoreError
from coterie.knowledge.documents import Chunk, IndexedDocument
from coterie.knowledge.generation import sole_writer
from coterie.types import Label

DRAFT = "draft.db"
_SCHEMA = """
create table if not exists draft (
    name text primary key, sha256 text not null, text text not null, label text not null, tenant text,
    chunks text not null, vectors blob not null, tokens blob not null
) strict;
create table if not exists encoder (sha256 text primary key) strict;
"""


def drop_draft(folder: Path, name: str) -> None:
    """Throw away what an interrupted indexing of the shelf in this folder left: it holds texts.

    Raises:
        IndexBusy: another process is indexing it.
        OSError: it cannot be deleted.
    """
    left = [path for path in (folder / DRAFT, folder / f"{DRAFT}-journal") if path.exists()]
    if left:
        with sole_writer(folder / "building.lock", f"shelf {name!r}"):
            for path in left:
                path.unlink(missing_ok=True)


class BuildDraft:
    """Documents of a build under way, in one SQLite file; what is committed survives a killed process."""

    def __init__(self, path: Path, encoder: str, dimension: int) -> None:
        """Open it; what another encoder left there, or what is damaged, is thrown away.

        Raises:
            StoreError: it cannot be used: no room, no right. So does whatever else is asked of it.
        """
        self._path, self._dimension = path, dimension
        with self._explained():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                self._connection = self._open(encoder)
            except sqlite3.OperationalError:  # no room, no right: nothing is damaged
                raise
            except sqlite3.DatabaseError:
                self._remove()
                self._connection = self._open(encoder)

    def hashes(self) -> dict[str, str]:
        """The hash of every document in it, by name."""
        return dict(self._connection.execute("select name, sha256 from draft"))

    def add(self, documents: Iterable[IndexedDocument]) -> None:
        """Keep these; on return they are on the disk."""
        with self._explained(), self._connection:
            self._connection.executemany(
                "insert or replace into draft values (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        *(each.name, each.sha256, each.text, each.label.value, each.tenant),
                        json.dumps([[c.start, c.end, c.heading, c.page, size] for c, size in _with_sizes(each)]),
                        each.vectors.astype(np.float16).tobytes(),
                        b"".join(each.tokens),
                    )
                    for each in documents
                ),
            )

    def documents(self, names: Iterable[str]) -> list[IndexedDocument]:
        """These documents, in this order."""
        return [self._document(name) for name in names]

    def discard(self) -> None:
        """Throw all of it away."""
        self.close()
        self._remove()

    def close(self) -> None:
        """Free the file."""
        self._connection.close()

    def _open(self, encoder: str) -> sqlite3.Connection:
        """A connection to a draft of this encoder's. Raises `sqlite3.Error`."""
        connection = self._connect()
        try:
            known = connection.execute("select sha256 from encoder").fetchall()
            if known and known != [(encoder,)]:
                connection.close()
                self._remove()
                connection = self._connect()
            with connection:
                connection.execute("insert or ignore into encoder values (?)", (encoder,))
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self) -> sqlite3.Connection:
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives its side file the same mode
        connection = sqlite3.connect(self._path, check_same_thread=False)
        try:
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    def _remove(self) -> None:
        for path in (self._path, self._path.with_name(f"{self._path.name}-journal")):
            path.unlink(missing_ok=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"Cannot write {str(self._path)!r}: {error}. The shelf is as it was.",
                hint="Check that the folder is writable and the disk has space, then index again.",
            ) from error

    def _document(self, name: str) -> IndexedDocument:
        sha256, text, label, tenant, chunks, vectors, tokens = self._connection.execute(
            "select sha256, text, label, tenant, chunks, vectors, tokens from draft where name = ?", (name,)
        ).fetchone()
        found = np.frombuffer(vectors, dtype=np.float16).reshape(-1, self._dimension)
        listed = json.loads(chunks)
        ends = np.cumsum([0, *(each[-1] for each in listed)]).tolist()
        return IndexedDocument(
            name=name,
            sha256=sha256,
            text=text,
            label=Label(label),
            tenant=tenant,
            chunks=tuple(Chunk(start=a, end=b, heading=h, page=page) for a, b, h, page, _ in listed),
            vectors=found,
            tokens=tuple(tokens[a:b] for a, b in pairwise(ends)) if tokens else (),
        )


def _with_sizes(document: IndexedDocument) -> Iterator[tuple[Chunk, int]]:
    """Each chunk with the bytes of its packed tokens."""
    yield from zip(document.chunks, map(len, document.tokens or (b"",) * len(document.chunks)), strict=True)

"""Filling an index: read and encode the changed documents, and publish the result at once.

A document is known by its hash, so unchanged documents are not read. Documents that were read and encoded are
kept in a draft until the index has them: an interrupted build goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from coterie.config.file import Config
from coterie.engines.onnx import OnnxEncoder, TokenStates
from coterie.errors import StoreError
from coterie.knowledge.documents import CHUNK_TOKENS, Chunk, DocumentIndex, IndexedDocument, chunk, encoded_text
from coterie.knowledge.generation import DATABASE, READ_VERSION, hashes, open_read, present, sole_writer
from coterie.knowledge.indexes import Reranker
from coterie.knowledge.kinds import open_reranker
from coterie.knowledge.open import IndexedAccess, declared_access, index_folder, keep_access, open_index
from coterie.knowledge.parse import FileReader
from coterie.knowledge.parsed import Parsed, Unreadable, document_date
from coterie.knowledge.sources import Access, FoundFiles, Source, below, find_files, remember_names
from coterie.models.catalogue import hash_file
from coterie.runtime.codec import parse_json
from coterie.types import Label

# --- Resumption: read and encoded documents are kept beside an index until all of it is built.

DRAFT = "draft.db"
_SCHEMA = """
create table if not exists draft (
    name text primary key, sha256 text not null, text text not null, label text not null, tenant text,
    chunks text not null, vectors blob not null, tokens blob not null
) strict;
create table if not exists encoder (sha256 text primary key) strict;
"""


def drop_draft(folder: Path, name: str) -> None:
    """Delete the draft that an interrupted indexing left in this folder: it holds texts.

    Raises:
        IndexBusy: another process is indexing.
        OSError: the draft cannot be deleted.
    """
    left = [path for path in (folder / DRAFT, folder / f"{DRAFT}-journal") if path.exists()]
    if left:
        with sole_writer(folder / "building.lock", f"index {name!r}"):
            for path in left:
                path.unlink(missing_ok=True)


class BuildDraft:
    """The documents of a build under way, in one SQLite file; committed documents survive a killed process."""

    def __init__(self, path: Path, encoder: str, dimension: int) -> None:
        """Open the draft; a damaged one, or one of another encoder, is discarded.

        Raises:
            StoreError: the draft cannot be used: no space, no permission. All other methods raise it too.
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
        """Return the hash of every document in the draft, by name."""
        return dict(self._connection.execute("select name, sha256 from draft"))

    def add(self, documents: Iterable[IndexedDocument]) -> None:
        """Keep documents; they are on the disk when the call returns."""
        with self._explained(), self._connection:
            self._connection.executemany(
                "insert or replace into draft values (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        *(document.name, document.sha256, document.text, document.label.value, document.tenant),
                        json.dumps(
                            [
                                document.dated,
                                *([c.start, c.end, c.heading, c.page, size] for c, size in _with_sizes(document)),
                            ]
                        ),
                        document.vectors.astype(np.float16).tobytes(),
                        b"".join(document.tokens),
                    )
                    for document in documents
                ),
            )

    def documents(self, names: Iterable[str]) -> list[IndexedDocument]:
        """Return the documents with these names, in this order."""
        return [self._document(name) for name in names]

    def discard(self) -> None:
        """Delete the draft."""
        self.close()
        self._remove()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _open(self, encoder: str) -> sqlite3.Connection:
        """Return a connection to a draft of this encoder. Raises `sqlite3.Error`."""
        connection = self._connect()
        try:
            encoders = connection.execute("select sha256 from encoder").fetchall()
            if encoders and encoders != [(encoder,)]:
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
                f"Cannot write {str(self._path)!r}: {error}. The index is as it was.",
                hint="Check that the folder is writable and the disk has space, then index again.",
            ) from error

    def _document(self, name: str) -> IndexedDocument:
        sha256, text, label, tenant, chunks, vectors, tokens = self._connection.execute(
            "select sha256, text, label, tenant, chunks, vectors, tokens from draft where name = ?", (name,)
        ).fetchone()
        stored_vectors = np.frombuffer(vectors, dtype=np.float16).reshape(-1, self._dimension)
        dated, *listed = parse_json(chunks)
        ends = np.cumsum([0, *(lengths[-1] for lengths in listed)]).tolist()
        return IndexedDocument(
            name=name,
            sha256=sha256,
            text=text,
            label=Label(label),
            tenant=tenant,
            chunks=tuple(Chunk(start=a, end=b, heading=h, page=page) for a, b, h, page, _ in listed),
            vectors=stored_vectors,
            dated=dated,
            tokens=tuple(tokens[a:b] for a, b in pairwise(ends)) if tokens else (),
        )


def _with_sizes(document: IndexedDocument) -> Iterator[tuple[Chunk, int]]:
    yield from zip(document.chunks, map(len, document.tokens or (b"",) * len(document.chunks)), strict=True)


# --- Outgrown access: an unreadable document keeps its earlier version only while nobody sees more than they may now.

_NOBODY = ""
"""A tenant that sees only documents without a tenant."""


async def is_outgrown(index: DocumentIndex, name: str, *, label: Label, tenant: str | None) -> bool:
    """Return whether a caller who may not see a document of this label and tenant can see the indexed version."""
    lower = max((candidate for candidate in Label if candidate < label), default=None)
    for caller in (*await index.tenants(), _NOBODY):
        clearance = Label.RESTRICTED if tenant not in {None, caller} else lower
        seen = clearance is not None and await index.text(name, 0, 1, clearance=clearance, tenant=caller) is not None
        if seen:
            return True
    return False


T = TypeVar("T")

ENCODER_BATCH = 8
"""Texts in one native call of an encoder opened for indexing: larger calls exceed the processor's caches."""
_BATCH = 512
"""Least number of chunks that are encoded together: enough to group texts of similar length."""


class BuildProgress(Protocol):
    """Receives the progress of the work."""

    def start(self, what: str, total: int | None) -> None:
        """Begin a stage with a total number of items; None if it is unknown."""
        ...

    def advance(self, n: int) -> None:
        """Report `n` more finished items."""
        ...

    def finish(self, note: str) -> None:
        """End the stage; the note names its result."""
        ...


class DocumentEncoder(Protocol):
    """An encoder for many texts at once."""

    @property
    def sha256(self) -> str:
        """Checksum of the model."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a text, including the markers at both ends."""
        ...

    def encode(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> np.ndarray:  # (N, D)
        """Return a unit vector for each text."""
        ...

    def encode_tokens(
        self, texts: Sequence[str], reduce: Callable[[TokenStates], bytes]
    ) -> tuple[np.ndarray, list[bytes]]:  # (N, D)
        """Return unit vectors, and `reduce` applied to each text's tokens. Called only with a reranker."""
        ...


@dataclass(frozen=True, kw_only=True)
class UnreadableDocument:
    """A document that could not be read."""

    document: str
    reason: str
    kept: bool
    """Whether the index still has the earlier version of the document."""
    withdrawn: bool = False
    """Whether the earlier version was removed because more callers could see it than may see the document now."""


@dataclass(frozen=True, kw_only=True)
class Indexed:
    """The result of an indexing."""

    documents: int
    """Number of documents in the index now."""
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: int = 0
    """Number of files whose kind is not supported."""
    kinds: Mapping[str, int] = field(default_factory=dict)
    """The skipped files by file extension."""
    outside: tuple[str, ...] = ()
    """Links that lead out of the named folder; they are skipped."""
    idle: Mapping[str, str] = field(default_factory=dict)
    """Label patterns without effect, each with the reason."""
    failed: tuple[UnreadableDocument, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    """By document name, assumptions made to read the document."""
    chunks: int = 0
    """Number of chunks read and encoded in this run."""
    resumed: int = 0
    """Number of documents that an interrupted build had finished."""
    seconds: float = 0.0


async def build_index(
    index: DocumentIndex,
    files: FoundFiles,
    *,
    encoder: DocumentEncoder,
    folder: Path,
    name: str,
    progress: BuildProgress,
    reranker: Reranker | None = None,
    declared: Access | None = None,
    given: IndexedAccess | None = None,
) -> Indexed:
    """Update an index to hold the documents that were found.

    Args:
        index: The index to fill.
        files: The documents that the index is to hold.
        encoder: Makes the vectors; the encoder that the index searches with.
        folder: The folder of the draft and the lock.
        name: The index's name, for messages.
        progress: Receives the progress.
        reranker: Packs the tokens of every chunk, for an index that is reranked.
        declared: The access to the index that coterie.toml declares, to be kept beside the index.
        given: The access that the command line declares instead, to be kept likewise.

    Raises:
        IndexBusy: another process is indexing.
        ArtefactRefused: the existing index was made with another encoder.
        InputError: nothing was found, and the index has nothing that could be gone.
    """
    start = time.monotonic()
    if files.nothing is not None and not any(files.scope(document) for document in await index.documents()):
        raise files.nothing
    with sole_writer(folder / "building.lock", f"index {name!r}"):
        present = dict(await index.documents())
        with closing(BuildDraft(folder / DRAFT, encoder.sha256, encoder.dimension)) as draft:
            build = _Build(files, present, _Batch(encoder, reranker, draft), progress)
            # The tokens of a passage are a small product: BLAS threads would wait for each other in a loop, and that
            # takes a third of the cores from the encoder.
            with threadpool_limits(1, user_api="blas"):
                report = await _stoppable(build.read)
            outgrown = await _outgrown(index, files, present, report.failed)
            gone = [name for name in present if name in outgrown or (files.scope(name) and name not in build.known)]
            if build.wanted or gone:
                progress.start("writing the index", None)
                await index.update(build.ready(), gone)
                progress.finish("")
            build.done()
            remember_names(folder, files.remembered)
            if declared is not None:
                whole = all(files.scope(name) or below(name, files.closed) for name in present)
                keep_access(folder, declared, whole=whole, given=given or IndexedAccess())
    documents = len(present) - len(gone) + report.added
    failed = _failed(report.failed, files, outgrown, {*present}.difference(gone))
    return replace(report, documents=documents, removed=len(gone), failed=failed, seconds=time.monotonic() - start)


def _failed(
    failed: Sequence[UnreadableDocument], files_found: FoundFiles, outgrown: Collection[str], stayed: Collection[str]
) -> tuple[UnreadableDocument, ...]:
    """Return the unreadable documents, with the fate of their earlier versions, then the unreadable folders."""
    files = (replace(file, kept=False, withdrawn=True) if file.document in outgrown else file for file in failed)
    folders = (
        UnreadableDocument(document=folder, reason=reason, kept=any(below(document, (folder,)) for document in stayed))
        for folder, reason in files_found.closed.items()
    )
    return (*files, *folders)


async def _outgrown(
    index: DocumentIndex, files: FoundFiles, present: Mapping[str, str], failed: Sequence[UnreadableDocument]
) -> frozenset[str]:
    """Return the unreadable documents whose indexed version more callers can see than may see the document now."""
    kinds = {source.name: (source.label, source.tenant) for source in files.sources}
    unread = {file.document: kinds[file.document] for file in failed if file.kept}
    if files.access is not None:
        for name in present:
            if below(name, files.closed):
                unread[name] = files.access.of(name), files.access.tenant
    return frozenset(
        [name for name, (label, tenant) in unread.items() if await is_outgrown(index, name, label=label, tenant=tenant)]
    )


async def _stoppable(work: Callable[[threading.Event], T]) -> T:
    """Return the result of blocking work in a thread; on cancellation, wait until the work has stopped."""
    stop = threading.Event()
    task = asyncio.ensure_future(asyncio.to_thread(work, stop))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([task])
        raise


class _Build:
    """One blocking run over all documents that were found."""

    def __init__(self, files: FoundFiles, present: Mapping[str, str], batch: _Batch, progress: BuildProgress) -> None:
        self._found, self._present, self._batch, self._progress = files, present, batch, progress
        self._draft = batch.draft
        self.wanted: list[str] = []
        self.known = {source.name for source in files.sources}

    def read(self, stop: threading.Event) -> Indexed:
        """Read and encode the changed documents into the draft; when stopped, keep those that are finished."""
        drafted = self._draft.hashes()
        failed: list[UnreadableDocument] = []
        notes: dict[str, str] = {}
        batch = self._batch
        unchanged = resumed = 0
        self._progress.start("reading and encoding", len(self._found.sources))
        with FileReader() as reader:
            for source in self._found.sources:
                if stop.is_set():
                    break
                try:
                    sha256 = _fingerprint(source, batch.packing)
                    if self._present.get(source.name) == sha256:
                        unchanged += 1
                    elif drafted.get(source.name) == sha256:
                        resumed += 1
                        self.wanted.append(source.name)
                    else:
                        parsed = source.parsed or reader.read(_file(source))
                        if parsed.note:
                            notes[source.name] = parsed.note
                        batch.add(source, sha256, parsed)
                        self.wanted.append(source.name)
                except Unreadable as error:
                    kept = source.name in self._present
                    failed.append(UnreadableDocument(document=source.name, reason=str(error), kept=kept))
                self._progress.advance(1)
            if not stop.is_set():
                batch.flush()
        self._progress.finish(f"{batch.chunks:,} chunks")
        changed = sum(name in self._present for name in self.wanted)
        return Indexed(
            documents=0,
            added=len(self.wanted) - changed,
            changed=changed,
            unchanged=unchanged,
            skipped=sum(self._found.kinds.values()),
            kinds=dict(self._found.kinds),
            outside=self._found.outside,
            idle=self._found.idle,
            failed=tuple(failed),
            notes=notes,
            chunks=batch.chunks,
            resumed=resumed,
        )

    def ready(self) -> Sequence[IndexedDocument]:
        """Return the documents to be put, each read from the draft on access."""
        return _Drafted(self._draft, self.wanted)

    def done(self) -> None:
        self._draft.discard()


class _Batch:
    """Documents whose chunks are encoded together."""

    def __init__(self, encoder: DocumentEncoder, reranker: Reranker | None, draft: BuildDraft) -> None:
        self._encoder, self._reranker, self.draft = encoder, reranker, draft
        self.packing = "" if reranker is None else reranker.packing
        self._waiting: list[tuple[Source, str, Parsed, tuple[Chunk, ...]]] = []
        self._count = 0
        self.chunks = 0

    def add(self, source: Source, sha256: str, parsed: Parsed) -> None:
        """Add a document; from time to time all waiting documents are encoded and kept."""
        chunks = chunk(parsed, self._measure)
        self._waiting.append((source, sha256, parsed, chunks))
        self._count += len(chunks)
        if self._count >= _BATCH:
            self.flush()

    def flush(self) -> None:
        texts = [
            encoded_text(parsed.text[piece.start : piece.end], piece.heading)
            for _, _, parsed, chunks in self._waiting
            for piece in chunks
        ]
        tokens: list[bytes] = []
        if self._reranker is None:
            vectors = self._encoder.encode(texts)
        else:
            vectors, tokens = self._encoder.encode_tokens(texts, self._reranker.pack)
        self.draft.add(self._documents(vectors, tokens))
        self.chunks += self._count
        self._waiting, self._count = [], 0

    def _documents(self, vectors: np.ndarray, tokens: Sequence[bytes]) -> Iterator[IndexedDocument]:
        at = 0
        for source, sha256, parsed, chunks in self._waiting:
            yield IndexedDocument(
                name=source.name,
                sha256=sha256,
                text=parsed.text,
                label=source.label,
                tenant=source.tenant,
                chunks=chunks,
                vectors=vectors[at : at + len(chunks)],
                dated=document_date(source.name, parsed),
                tokens=tuple(tokens[at : at + len(chunks)]),
            )
            at += len(chunks)

    def _measure(self, texts: Sequence[str]) -> list[int]:
        return [self._encoder.count_tokens(text) - 2 for text in texts]


class _Drafted(Sequence[IndexedDocument]):
    def __init__(self, draft: BuildDraft, names: Sequence[str]) -> None:
        self._draft, self._names = draft, names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> IndexedDocument:  # type: ignore[override] # no slices
        return self._draft.documents([self._names[index]])[0]


def _fingerprint(source: Source, packing: str) -> str:
    """Return a hash of everything that a document's text, chunks and access depend on. Raises `Unreadable`."""
    digest = source.digest
    if not digest:
        try:
            digest = hash_file(_file(source))
        except OSError as error:
            raise Unreadable(error.strerror or type(error).__name__) from error
    parts = (digest, source.label.value, source.tenant or "", str(READ_VERSION), str(CHUNK_TOKENS), packing)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def changed_documents(folder: Path, source_files: FoundFiles, *, packing: str) -> list[str]:
    """Return the names of documents that differ from the index in a folder: changed, missing from it, or gone.

    Args:
        folder: The folder of an index of local files.
        source_files: The documents that the index is to hold.
        packing: The `packing` of the reranker; empty without one.

    Raises:
        sqlite3.Error: the index cannot be read.
    """
    generation = present(folder)
    if generation is None:
        return [source.name for source in source_files.sources]
    with closing(open_read(generation / DATABASE)) as connection:
        stand = hashes(connection)
    files = {}
    for source in source_files.sources:
        with suppress(Unreadable):
            files[source.name] = _fingerprint(source, packing)
    return sorted(name for name in {*stand, *files} if stand.get(name) != files.get(name))


def _file(source: Source) -> Path:
    if source.path is None:
        raise Unreadable("it has neither a file nor a text")
    return source.path


async def index_declared(
    name: str, config: Config, folder: Path, *, encoder: OnnxEncoder, progress: BuildProgress
) -> Indexed:
    """Read the files of a `[knowledge]` section and index the new and changed ones.

    Args:
        name: The section's key.
        config: The network's configuration.
        folder: The network's folder.
        encoder: Makes the vectors.
        progress: Receives the progress.

    Raises:
        InputError: there is no readable file at its paths.
        SetupError: the index cannot be opened, or another process is writing it.
    """
    section, access = config.knowledge[name], declared_access(config, name)
    paths = [folder / path for path in section.paths]
    index = open_index(name, section, folder, network=config.network.name, encoder=encoder)
    try:
        return await build_index(
            index,
            find_files(folder, paths, access, exact=True, index=paths),
            encoder=encoder,
            folder=index_folder(folder, name),
            name=name,
            progress=progress,
            reranker=open_reranker(section, encoder.sha256),
            declared=access,
        )
    finally:
        await index.close()

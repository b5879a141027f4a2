"""An index in a folder: documents in SQLite, with a keyword index and the vectors of each group of readers beside it.

It keeps one generation open and switches to the next one as soon as it exists. It does not know how documents
are read or cut.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from coterie.engines.onnx import TokenStates
from coterie.errors import ArtefactRefused, NotIndexed, StoreError
from coterie.knowledge import generation as table
from coterie.knowledge.documents import IndexedDocument, Mode
from coterie.knowledge.generation import (
    READ_VERSION,
    ChunkRow,
    Group,
    next_generation,
    present,
    read_manifest,
    sole_writer,
    write_manifest,
)
from coterie.knowledge.indexes import (
    LONGEST_QUERY,
    CandidatePassage,
    KeywordIndex,
    Reranker,
    VectorIndex,
    analyse,
    build_keywords,
    fuse,
    rarity,
    search_keywords,
)
from coterie.protocols import Engine
from coterie.runtime.cpu import timed
from coterie.types import SYSTEM, CallContext, Label, Passage, Prompt

# --- Ranking the chunks of one document one by one: BM25 with this document's own statistics (Robertson & Zaragoza).

_SATURATION, _LENGTH = 1.2, 0.75  # tantivy's


class Worded(Protocol):
    """A chunk with its text, of any index."""

    @property
    def heading(self) -> str:
        """The headings above the chunk."""
        ...

    @property
    def text(self) -> str:
        """The text of the chunk."""
        ...


W = TypeVar("W", bound=Worded)


def rank_within(rows: Sequence[W], query: str, vectors: np.ndarray, vector: np.ndarray | None) -> list[tuple[W, float]]:
    """Rank chunks by words and, if the query's encoding is known, by meaning; best first.

    Args:
        rows: The document's chunks.
        query: The search query.
        vectors: (N, D) encodings of the chunks.
        vector: (D,) encoding of the query.
    """
    by_words = _keyword_scores(rows, query)
    rankings = [[row for row in _ranked(by_words) if by_words[row] > 0]]
    if vector is not None and rows:
        rankings.append(_ranked(vectors @ vector))
    fused = fuse(rankings)
    return [(rows[index], score) for index, score in fused.items()]


def _ranked(scores: np.ndarray) -> list[int]:
    return [int(row) for row in np.argsort(-scores, kind="stable")]


def _keyword_scores(rows: Sequence[Worded], query: str) -> np.ndarray:  # (N,)
    counts = [Counter(analyse(f"{row.heading} {row.text}")) for row in rows]
    lengths = np.array([count.total() for count in counts], dtype=float)
    norms = _SATURATION * (1 - _LENGTH + _LENGTH * lengths / max(float(lengths.mean()) if len(rows) else 1.0, 1.0))
    scores = np.zeros(len(rows))
    for term in dict.fromkeys(analyse(query[:LONGEST_QUERY])):
        times = np.array([count[term] for count in counts], dtype=float)
        if matching := int((times > 0).sum()):
            scores += rarity(matching, len(rows)) * times * (1 + _SATURATION) / (times + norms)
    return scores


T = TypeVar("T")

FORMAT = 2
"""Version of a generation's files; other versions are refused."""
_LOCK = "writing.lock"
_RERANKED = 60
"""Number of chunks that are reranked."""
_DEPTH = 200
"""Chunks of each ranking that are fused; a search by one ranking alone finds at least as many."""


class Encoder(Engine, Protocol):
    """An engine that makes unit vectors and identifies its encoder."""

    @property
    def sha256(self) -> str:
        """Checksum of the model: it cannot use the vectors of another model."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...


class TokenEncoder(Encoder, Protocol):
    """An encoder that also returns the tokens of a text."""

    def encode_tokens(
        self, texts: Sequence[str], reduce: Callable[[TokenStates], TokenStates]
    ) -> tuple[np.ndarray, list[TokenStates]]:
        """Return unit vectors (N, D), and `reduce` applied to each text's tokens."""
        ...


class LocalIndex:
    """A `DocumentIndex` in a folder.

    Args:
        folder: The index's folder; created at the first update.
        name: The index's `[knowledge]` key.
        encoder: Encodes queries; the same encoder that made the documents' vectors.
        mode: How the index is searched when the caller does not say.
        rerank: The reranker with the encoder that gives it a query's tokens; without them `rerank` is `hybrid`.
        rebuild: Ignore the existing index until the first update, which builds all of it again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        encoder: Encoder,
        mode: Mode = "hybrid",
        rerank: tuple[Reranker, TokenEncoder] | None = None,
        rebuild: bool = False,
    ) -> None:
        self._folder, self._name, self._encoder, self._mode = folder, name, encoder, mode
        self._rerank, self._rebuild = rerank, rebuild
        self._open: _Generation | None = None
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"coterie-index-{name}")
        self._closed = False

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
        """Return at most `k` passages, best first; from one `document` only, if it is named.

        Raises:
            NotIndexed: nothing is indexed yet.
            ArtefactRefused: the index is damaged, of another version, or was made with another encoder.
        """
        mode = mode or self._mode
        tokens = None
        if mode == "rerank" and self._rerank is not None:
            vectors, states = await self._in_thread(
                partial(self._rerank[1].encode_tokens, [query], lambda tokens: tokens), call
            )
            tokens, vector = states[0], vectors[0] if vector is None else vector
        elif vector is None and mode != "keyword":
            (output,) = await self._encoder.run([Prompt(text=query)], call=call)
            call.charge(self._encoder.name, output.usage)
            vector = output.vector
        if document is not None:
            within = partial(self._search_within, document, query, vector, clearance=clearance, tenant=tenant)
            return [self._passage(row, score) for row, score in (await self._reading(within, call))[:k]]
        ranked = await self._reading(
            partial(self._search, query, vector, tokens, k=k, clearance=clearance, tenant=tenant, mode=mode), call
        )
        return [self._passage(row, score) for row, score in ranked]

    async def documents(self, *, clearance: Label | None = None, tenant: str = "default") -> Mapping[str, str]:
        """Return the hash of every document that may be seen, by name; none if nothing is indexed yet."""
        return await self._in_thread(partial(self._hashes, clearance, tenant))

    async def tenants(self) -> frozenset[str]:
        """Return every tenant that has documents of its own."""
        return await self._in_thread(self._tenants)

    async def text(self, name: str, start: int, end: int, *, clearance: Label, tenant: str = "default") -> str | None:
        """Return `text[start:end]` of a document; None if it does not exist or may not be seen."""
        stored = await self._in_thread(lambda: table.text_of(self._fresh_or_raise().rows, name, start, end))
        return stored[1] if stored is not None and stored[0].visible(clearance, tenant) else None

    async def update(self, put: Sequence[IndexedDocument], remove: Collection[str] = ()) -> None:
        """Put documents and remove others, as a whole or not at all.

        Raises:
            IndexBusy: another process is writing to the index.
            ArtefactRefused: the existing index was made with another encoder.
            StoreError: there is no space or no permission.
        """
        await self._in_thread(partial(self._update, put, remove))

    async def close(self) -> None:
        """Free files and thread. A second call does nothing."""
        if not self._closed:
            await self._in_thread(self._release)
            self._closed = True
            self._pool.shutdown()

    async def _in_thread(self, work: Callable[[], T], call: CallContext = SYSTEM) -> T:
        result, usage = await asyncio.get_running_loop().run_in_executor(self._pool, timed, work)
        call.charge("index", usage)
        return result

    async def _reading(self, work: Callable[[], T], call: CallContext) -> T:
        """Run work that reads the index; errors of files that were damaged while open become errors of the index."""
        try:
            return await self._in_thread(work, call)
        except (OSError, ValueError, sqlite3.Error) as error:  # ValueError is tantivy's
            raise self._refused(f"is not readable: {error}") from error

    # --- In the index's own thread ---------------------------------------------------------------

    def _search(
        self,
        query: str,
        vector: np.ndarray | None,
        tokens: TokenStates | None,
        *,
        k: int,
        clearance: Label,
        tenant: str,
        mode: Mode,
    ) -> list[tuple[ChunkRow, float]]:
        generation = self._fresh_or_raise()
        groups = [part for group, part in generation.parts.items() if group.visible(clearance, tenant)]
        depth = max(_DEPTH, k)
        rankings = []
        if mode != "vector":
            hits = search_keywords([part.keywords for part in groups], query, depth)
            rankings.append([(hit.key, hit.score) for hit in hits])
        if mode != "keyword" and vector is not None:
            rankings.append(_nearest(groups, vector, depth))
        if len(rankings) == 1:
            ranked = dict(rankings[0])
        else:
            ranked = _fused([[key for key, _ in ranking] for ranking in rankings])
        if tokens is not None and vector is not None:
            ranked = self._reranked(generation, tokens, vector, ranked, dict(rankings[0][:_DEPTH]))
        ranked = dict(list(ranked.items())[:k])
        rows = table.rows(generation.rows, list(ranked))
        return [(rows[key], score) for key, score in ranked.items()]

    def _search_within(
        self, document: str, query: str, vector: np.ndarray | None, *, clearance: Label, tenant: str
    ) -> list[tuple[ChunkRow, float]]:
        """Return the chunks of one document, ranked; none if it does not exist or may not be seen."""
        generation = self._fresh_or_raise()
        group, keys = table.document_keys(generation.rows, document)
        if group is None or not group.visible(clearance, tenant):
            return []
        rows = table.rows(generation.rows, keys)
        signs = table.signs(generation.rows, keys)
        vectors = np.stack([signs[key][0] for key in keys]).astype(np.float32) if keys else np.empty((0, 0))
        return rank_within([rows[key] for key in keys], query, vectors, vector)

    def _reranked(
        self,
        generation: _Generation,
        tokens: TokenStates,
        vector: np.ndarray,
        fused: dict[int, float],
        keywords: Mapping[int, float],
    ) -> dict[int, float]:
        """Return the best by fusion in the reranker's order; the others after them in their own order."""
        if self._rerank is None or not fused:
            return fused
        reranker, _ = self._rerank
        keys = list(fused)
        best, rest = keys[:_RERANKED], keys[_RERANKED:]
        signs = table.signs(generation.rows, best)
        candidates = [
            CandidatePassage(
                keyword=keywords.get(key, 0.0),
                cosine=float(signs[key][0].astype(np.float32) @ vector),
                tokens=signs[key][1],
            )
            for key in best
        ]
        scores = reranker.score(tokens, candidates).tolist()
        ranked = dict(sorted(zip(best, scores, strict=True), key=lambda pair: (-pair[1], pair[0])))
        floor = min(scores) - (fused[rest[0]] if rest else 0.0)
        return ranked | {key: floor + fused[key] for key in rest}

    def _hashes(self, clearance: Label | None, tenant: str) -> Mapping[str, str]:
        generation = self._fresh()
        return {} if generation is None else table.hashes(generation.rows, clearance, tenant)

    def _tenants(self) -> frozenset[str]:
        generation = self._fresh()
        return frozenset() if generation is None else table.tenants(generation.rows)

    def _passage(self, row: ChunkRow, score: float) -> Passage:
        shown = {name: value for name, value in row._asdict().items() if name != "key"}
        return Passage(score=score, index=self._name, **shown)

    def _fresh_or_raise(self) -> _Generation:
        generation = self._fresh()
        if generation is None:
            raise NotIndexed(
                f"Nothing has been indexed for index {self._name!r} ({str(self._folder)!r} holds no index).",
                hint=f"Index its documents: coterie index {self._name}",
            )
        return generation

    def _fresh(self) -> _Generation | None:
        """Return the current generation, opened if it is not open yet."""
        if self._rebuild:
            return None
        for _ in range(3):  # a writer may take it away between the look and the opening
            path = present(self._folder)
            if path is None or (self._open is not None and self._open.path == path):
                return self._open if path is not None else None
            self._release()
            try:
                self._open = _Generation.open(path)
            except (OSError, ValueError, KeyError, TypeError, sqlite3.Error) as error:
                if present(self._folder) == path:
                    raise self._refused(f"is not readable: {error}") from error
                continue
            break
        if self._open is not None and self._open.encoder != self._encoder.sha256:
            made_with = self._open.encoder
            self._release()
            raise self._refused(
                f"was made with encoder {made_with[:12]!r}; this Coterie has {self._encoder.sha256[:12]!r}"
            )
        return self._open

    def _refused(self, why: str) -> ArtefactRefused:
        return ArtefactRefused(
            f"The index {self._name!r} in {str(self._folder)!r} {why}.",
            hint=f"Build it again: coterie index {self._name} --rebuild",
        )

    def _release(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _update(self, put: Sequence[IndexedDocument], remove: Collection[str]) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with sole_writer(self._folder / _LOCK, f"index {self._name!r}"):
            self._fresh()  # refuses what another encoder made
            try:
                with next_generation(self._folder) as (old, new):
                    _write(None if self._rebuild else old, new, put, remove, encoder=self._encoder)
            except (OSError, sqlite3.Error) as error:
                raise StoreError(
                    f"Cannot write the index {self._name!r} to {str(self._folder)!r}: {error}. It is as it was.",
                    hint="Check that the folder is writable and the disk has space, then index again.",
                ) from error
            self._rebuild = False


class _Part(NamedTuple):
    keywords: KeywordIndex
    vectors: VectorIndex
    keys: np.ndarray  # (N,) int64: the chunk of each vector


class _Generation:
    def __init__(self, path: Path, encoder: str, parts: Mapping[Group, _Part]) -> None:
        self.path, self.encoder, self.parts = path, encoder, parts
        self.rows = table.open_read(path / table.DATABASE)

    @classmethod
    def open(cls, path: Path) -> _Generation:
        """Open all parts. Raises `OSError`, `ValueError`, `KeyError` or `sqlite3.Error` if they are damaged."""
        manifest = read_manifest(path)
        if manifest["format"] != FORMAT:
            raise ValueError(f"it has format {manifest['format']!r}, not {FORMAT}")
        parts = {}
        for group in manifest["groups"]:
            folder = path / group["folder"]
            parts[Group(Label(group["label"]), group["tenant"])] = _Part(
                KeywordIndex(folder / "keyword"),
                VectorIndex.open(folder / "vectors.npy"),
                np.load(folder / "keys.npy", allow_pickle=False),
            )
        return cls(path, str(manifest["encoder_sha256"]), parts)

    def close(self) -> None:
        self.rows.close()
        for part in self.parts.values():
            part.keywords.close()
        self.parts = {}


def _fused(rankings: Sequence[Sequence[int]]) -> dict[int, float]:
    """Return the fusion of the best of each ranking, then the deeper results: a larger request keeps the same top."""
    top = fuse([ranking[:_DEPTH] for ranking in rankings])
    if all(len(ranking) <= _DEPTH for ranking in rankings):
        return top
    last = min(top.values())
    deeper = {key: min(score, last) for key, score in fuse(rankings).items() if key not in top}
    return top | deeper


def _nearest(groups: Sequence[_Part], vector: np.ndarray, depth: int) -> list[tuple[int, float]]:
    nearest_rows: list[tuple[int, float]] = []
    for part in groups:
        rows, cosines = part.vectors.search(vector, depth)
        nearest_rows += zip(part.keys[rows].tolist(), cosines.tolist(), strict=True)
    return sorted(nearest_rows, key=lambda pair: (-pair[1], pair[0]))[:depth]


def _write(
    old: Path | None, new: Path, put: Sequence[IndexedDocument], remove: Collection[str], *, encoder: Encoder
) -> None:
    """Fill the folder of the next generation."""
    group_folders = _folders(old)
    if old is None:
        connection = table.create(new / table.DATABASE)
    else:
        shutil.copyfile(old / table.DATABASE, new / table.DATABASE)
        connection = table.reopen(new / table.DATABASE)
    with closing(connection):
        connection.execute("begin")
        changed = table.remove(connection, remove)
        for document in put:
            changed |= table.remove(connection, [document.name])
            changed.add(table.put(connection, document))
        connection.execute("commit")
        groups, documents = table.groups(connection), len(table.hashes(connection))
        listed = []
        for number, (group, count) in enumerate(groups.items()):
            folder = new / f"group-{number}"
            if old is not None and group in group_folders and group not in changed:
                shutil.copytree(group_folders[group], folder, copy_function=_link)
            else:
                _build_group(connection, group, count, folder, encoder.dimension)
            listed.append({"label": group.label.value, "tenant": group.tenant, "folder": folder.name})
    content = {
        "format": FORMAT,
        "encoder_sha256": encoder.sha256,
        "documents": documents,
        "chunks": sum(groups.values()),
        "groups": listed,
        "reader": READ_VERSION,
    }
    if old is not None and documents > len(put):  # what was not put anew was read by whoever read it
        content["reader"] = min(int(read_manifest(old).get("reader", 0)), READ_VERSION)
    write_manifest(new, content)


def _build_group(connection: sqlite3.Connection, group: Group, count: int, folder: Path, dimension: int) -> None:
    """Build the indexes of a group with changed documents from scratch, so that they hold no trace of removed ones."""
    build_keywords(folder / "keyword", table.group_texts(connection, group))
    keys, vectors = table.group_vectors(connection, group, count, dimension)
    np.save(folder / "keys.npy", keys, allow_pickle=False)
    # Wider than what is known: turning 16 bits into 32 would take most of a search's time.
    np.save(folder / "vectors.npy", vectors.astype(np.float32), allow_pickle=False)


def _folders(generation: Path | None) -> dict[Group, Path]:
    if generation is None:
        return {}
    manifest = read_manifest(generation)  # what is linked or copied from it is what was written
    return {Group(Label(g["label"]), g["tenant"]): generation / g["folder"] for g in manifest["groups"]}


def _link(source: str, target: str) -> None:
    """Hard-link a file under another name, or copy it if the file system cannot; nobody writes to it again."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)

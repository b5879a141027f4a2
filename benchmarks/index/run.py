"""How fast an index of 100,000 chunks is filled and asked, and what memory that takes.

    COTERIE_DATA=FOLDER python benchmarks/index/run.py

The texts are public ones (MedQuAD's answers, CUAD's contracts, SciFact's abstracts), cut by the index's own chunker
and repeated in part until there are enough. Indexing is measured on about `--encoded` chunks, end to end: read, cut,
encoded on all cores, written. Encoding all of them would take half an hour and show nothing more, so the others
get the vectors and tokens of encoded chunks with noise: searching takes the same. Queries are SciFact's training
claims, asked one at a time on one core (the process is bound to it), text in, passages out.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import resource
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import find
from _record import Bar, Record, arguments, sha256
from coterie.config.file import KnowledgeSection
from coterie.engines.onnx import OnnxEncoder, TokenStates
from coterie.knowledge.build import ENCODER_BATCH, build_index
from coterie.knowledge.indexes import Reranker
from coterie.knowledge.open import index_folder, open_index
from coterie.knowledge.sources import Access, FoundFiles, Source, find_files, read_queries
from coterie.types import Label

CLAIM = (
    "An index of 100,000 chunks answers in milliseconds on one core, and is filled on two cores as fast as they encode."
)
DOCUMENT = 4000  # characters of a file
MODES = ("keyword", "vector", "hybrid", "rerank")


class Quiet:
    """Progress that is not shown."""

    def start(self, what: str, total: int | None) -> None:
        """Nothing."""

    def advance(self, n: int) -> None:
        """Nothing."""

    def finish(self, note: str) -> None:
        """Nothing."""


def texts() -> Iterator[str]:
    """Public texts, from each source in turn."""
    (answers,) = find("medquad")
    with gzip.open(answers, "rt", encoding="utf-8") as lines:
        yield from (json.loads(line)["answer"] or "" for line in lines)
    _, contracts = find("cuad")
    with tarfile.open(contracts) as packed:
        for member in packed:
            if (file := packed.extractfile(member)) is not None:
                yield file.read().decode("utf-8", "replace")
    with gzip.open(find("scifact_beir")[0], "rt", encoding="utf-8") as lines:
        yield from (json.loads(line)["text"] for line in lines)


def write_files(folder: Path, characters: int) -> None:
    """Text files of so many characters together, a few thousand each."""
    written = number = 0
    while written < characters:
        for text in texts():
            for at in range(0, len(text), DOCUMENT):
                piece = text[at : at + DOCUMENT]
                if piece.strip():
                    path = folder / f"{number % 100:02}" / f"{number}.txt"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(piece, encoding="utf-8")
                    written += len(piece)
                    number += 1
            if written >= characters:
                return


class Copying:
    """An encoder that encodes so many texts and gives the others what those had, with noise."""

    def __init__(self, encoder: OnnxEncoder, most: int) -> None:
        self._encoder, self._most = encoder, most
        self.sha256, self.dimension = encoder.sha256, encoder.dimension
        self._vectors: list[np.ndarray] = []
        self._tokens: list[bytes] = []
        self._random = np.random.default_rng(0)

    def count_tokens(self, text: str) -> int:
        """As the encoder."""
        return self._encoder.count_tokens(text)

    def encode(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> np.ndarray:
        """Not asked: the index is reranked."""
        raise NotImplementedError

    def encode_tokens(
        self, texts: Sequence[str], reduce: Callable[[TokenStates], bytes]
    ) -> tuple[np.ndarray, list[bytes]]:
        """The real ones at first, then noisy copies."""
        if len(self._vectors) < self._most:
            vectors, tokens = self._encoder.encode_tokens(texts, reduce)
            self._vectors += list(vectors)
            self._tokens += tokens
            return vectors, tokens
        rows = self._random.integers(0, len(self._vectors), len(texts))
        noisy = np.array([self._vectors[row] for row in rows]) + self._random.normal(
            0, 0.03, (len(rows), self.dimension)
        )
        return (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32), [
            self._tokens[r] for r in rows
        ]


async def fill(folder: Path, files: FoundFiles, encoder: object, real: OnnxEncoder) -> dict[str, float]:
    """Index what was found; chunks and seconds."""
    index = open_index("docs", KnowledgeSection(), folder, network="index", encoder=real)
    start = time.perf_counter()
    report = await build_index(
        index,
        files,
        encoder=encoder,  # type: ignore[arg-type]
        folder=index_folder(folder, "docs"),
        name="docs",
        progress=Quiet(),
        reranker=Reranker.bundled(),
    )
    await index.close()
    return {"chunks": report.chunks, "documents": report.documents, "seconds": time.perf_counter() - start}


async def ask(folder: Path, queries: Sequence[str], mode: str) -> np.ndarray:  # (N, 2)
    """Milliseconds waited for, and of CPU, of each query after the first twenty."""
    encoder = OnnxEncoder.bundled()
    index = open_index("docs", KnowledgeSection(), folder, network="index", encoder=encoder)
    taken = []
    for query in queries:
        start, used = time.perf_counter(), time.process_time()
        await index.search(query, k=10, clearance=Label.PUBLIC, mode=mode)  # type: ignore[arg-type]
        taken.append(((time.perf_counter() - start) * 1000, (time.process_time() - used) * 1000))
    await index.close()
    await encoder.close()
    return np.array(taken[20:])


def in_child(work: Callable[[], object]) -> tuple[object, float]:
    """The result of work done in a process of its own, and the most memory it took, in MB."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            result = work()
            os.write(write, json.dumps([result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        content = pipe.read()
    os.waitpid(child, 0)
    result, megabytes = json.loads(content)
    return result, float(megabytes)


def measure_queries(folder: Path, queries: Sequence[str], mode: str) -> dict[str, float]:
    """p50 and p99 of a mode on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with threadpool_limits(1, user_api="blas"):  # as in a network
        waited, used = asyncio.run(ask(folder, queries, mode)).T
    return {
        "p50_ms": float(np.quantile(waited, 0.5)),
        "p99_ms": float(np.quantile(waited, 0.99)),
        "cpu_p50_ms": float(np.quantile(used, 0.5)),
        "cpu_p99_ms": float(np.quantile(used, 0.99)),
        "queries": len(waited),
    }


def index_all(folder: Path, encoded: int) -> dict[str, float]:
    """Fill the index, most of it with copies."""
    encoder = OnnxEncoder.bundled(threads=os.cpu_count() or 1, max_batch=ENCODER_BATCH)
    access = Access(label=Label.PUBLIC, labels={})
    files = find_files(folder, [folder / "texts"], access, exact=True)
    return asyncio.run(fill(folder, files, Copying(encoder, encoded), encoder))


def index_part(folder: Path, source: Path, chunks: int) -> dict[str, float]:
    """Fill an index with as many files as give about so many chunks, all of them encoded."""
    encoder = OnnxEncoder.bundled(threads=os.cpu_count() or 1, max_batch=ENCODER_BATCH)
    access = Access(label=Label.PUBLIC, labels={})
    files = find_files(folder, [source / "texts"], access, exact=True)
    some: list[Source] = []
    characters = 0
    for text_source in files.sources:
        if characters < chunks * CHARACTERS and text_source.path is not None:
            some.append(text_source)
            characters += text_source.path.stat().st_size
    return asyncio.run(fill(folder, FoundFiles(sources=tuple(some)), encoder, encoder))


def main() -> None:
    """Write texts, index, ask, write figures."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--chunks", type=int, default=100_000, help="about how many are indexed")
    parser.add_argument("--encoded", type=int, default=4000, help="so many of them are really encoded")
    parser.add_argument("--queries", type=int, default=400)
    given = parser.parse_args()
    data = {
        f"{name}/{path.name}": sha256(path) for name in ("medquad", "cuad", "scifact_beir") for path in find(name)[-1:]
    }
    queries = list(read_queries(find("scifact_beir")[3]).values())[: given.queries]
    record = Record(claim=CLAIM, data=data, seeds=[0])
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as directory:
        folder, part = Path(directory) / "all", Path(directory) / "part"
        part.mkdir(parents=True)
        write_files(folder / "texts", given.chunks * CHARACTERS)
        indexing, index_mb = in_child(lambda: index_part(part, folder, given.encoded))
        print("indexing, all encoded:", indexing, f"{index_mb:.0f} MB", flush=True)
        whole, whole_mb = in_child(lambda: index_all(folder, given.encoded))
        print("the whole index:", whole, f"{whole_mb:.0f} MB", flush=True)
        times, peak = {}, {}
        for mode in MODES:
            times[mode], peak[mode] = in_child(lambda mode=mode: measure_queries(folder, queries, mode))  # type: ignore[misc]
            print(mode, times[mode], f"{peak[mode]:.0f} MB", flush=True)
        size = sum(path.stat().st_size for path in (folder / "state").rglob("*") if path.is_file())
    rate = indexing["chunks"] / indexing["seconds"]  # type: ignore[index]
    record.figures = {
        "indexing": {**indexing, "chunks_per_second": rate, "peak_mb": index_mb},  # type: ignore[dict-item]
        "whole": {**whole, "peak_mb": whole_mb, "bytes_on_disk": size},  # type: ignore[dict-item]
        "asked": {mode: {**times[mode], "peak_mb": peak[mode]} for mode in MODES},
    }
    record.bars = bars(times, max(whole_mb, *peak.values()), rate)
    record.note_load()
    record.write(given.out)


CHARACTERS = 430
"""Characters of a chunk in these texts, about."""


def bars(times: dict[str, object], megabytes: float, rate: float) -> list[Bar]:
    """What the issue asks for."""
    hybrid, rerank = times["hybrid"], times["rerank"]
    return [
        Bar(what="hybrid p50, ms", measured=hybrid["p50_ms"], limit=8, at_most=True),  # type: ignore[index]
        Bar(what="hybrid p99, ms", measured=hybrid["p99_ms"], limit=25, at_most=True),  # type: ignore[index]
        Bar(what="reranked p50, ms", measured=rerank["p50_ms"], limit=60, at_most=True),  # type: ignore[index]
        Bar(what="reranked p99, ms", measured=rerank["p99_ms"], limit=120, at_most=True),  # type: ignore[index]
        Bar(what="chunks a second, encoded and indexed", measured=rate, limit=150),
        Bar(what="memory, filled and asked, MB", measured=megabytes, limit=1024, at_most=True),
    ]


if __name__ == "__main__":
    main()

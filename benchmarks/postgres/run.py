"""An index in PostgreSQL: how fast it is filled and asked, and what its graph of vectors misses.

    scripts/postgres_run .venv/bin/python benchmarks/postgres/run.py
    scripts/postgres_run .venv/bin/python benchmarks/postgres/run.py --chunks 5000 20000

Chunks are made up: 110 words each, drawn so that word number n comes as often as 1/n^0.9, and vectors of 384 numbers
around 500 centres, so that there is something to be near to. Queries are eight such words and another vector. Needs a
server, which `scripts/postgres_run` starts: a fresh one with its default settings but for fsync, which is off.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import psycopg

from _record import Bar, Record, arguments
from coterie.knowledge.documents import Chunk, IndexedDocument
from coterie.knowledge.postgres import PostgresIndex
from coterie.knowledge.postgres_tables import GRAPH_FROM
from coterie.testing import EchoEngine
from coterie.types import Label

CLAIM = (
    "An index in PostgreSQL is asked in a fraction of a second at 100,000 chunks, and its graph of vectors misses next"
    " to nothing."
)
VARIABLE = "COTERIE_TEST_POSTGRES"
DIMENSION, CENTRES, VOCABULARY, WORDS, QUERY_WORDS, PER_DOCUMENT, PER_UPDATE = 384, 500, 40_000, 110, 8, 20, 2_000
LEAST_RECALL = 0.95
MODES = ("keyword", "vector", "hybrid")


class Encoder(EchoEngine):
    """Not asked: every vector is given."""

    sha256 = "0" * 64


class Source:
    """Texts and vectors, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
        self._words = [
            "".join(self._random.choice(letters, size=size)) for size in self._random.integers(4, 10, VOCABULARY)
        ]
        rarity = 1 / np.arange(1, VOCABULARY + 1) ** 0.9
        self._up_to = np.cumsum(rarity / rarity.sum())
        self._centres = self._random.normal(size=(CENTRES, DIMENSION))

    def text(self, words: int) -> str:
        """So many words."""
        drawn = np.searchsorted(self._up_to, self._random.random(words)).clip(0, VOCABULARY - 1)
        return " ".join(self._words[number] for number in drawn)

    def vectors(self, number: int) -> np.ndarray:  # (N, D)
        """Unit vectors."""
        near = self._centres[self._random.integers(0, CENTRES, number)]
        drawn = 0.7 * near + self._random.normal(size=(number, DIMENSION))
        return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)

    def document(self, name: str) -> IndexedDocument:
        """A document of `PER_DOCUMENT` chunks."""
        texts = [self.text(WORDS) for _ in range(PER_DOCUMENT)]
        ends = np.cumsum([len(text) + 1 for text in texts]).tolist()
        return IndexedDocument(
            name=name,
            sha256=name,
            text="".join(f"{text}\n" for text in texts),
            label=Label.INTERNAL,
            tenant=None,
            chunks=tuple(Chunk(start=end - 1 - len(text), end=end - 1) for text, end in zip(texts, ends, strict=True)),
            vectors=self.vectors(PER_DOCUMENT),
        )


async def fill(index: PostgresIndex, source: Source, chunks: int) -> tuple[dict[str, float], np.ndarray]:
    """Put so many chunks; the pace of updates, the seconds of the one that builds the graph, and all vectors."""
    plain, building, vectors = [], 0.0, []
    for begin in range(0, chunks, PER_UPDATE):
        documents = [source.document(f"{begin:08}-{i:04}") for i in range(PER_UPDATE // PER_DOCUMENT)]
        vectors += [document.vectors for document in documents]
        start = time.perf_counter()
        await index.update(documents)
        took = time.perf_counter() - start
        if begin < GRAPH_FROM <= begin + PER_UPDATE:
            building = took
        else:
            plain.append(took)
    figures = {
        "chunks_per_second": PER_UPDATE * len(plain) / sum(plain),
        "first_graph_seconds": building,
        "last_update_seconds": plain[-1],
    }
    return figures, np.concatenate(vectors)


async def ask(index: PostgresIndex, source: Source, mode: str, queries: int) -> dict[str, float]:
    """Milliseconds of a search, one after the other, the first tenth left out."""
    taken = []
    for _ in range(queries):
        query, vector = source.text(QUERY_WORDS), source.vectors(1)[0]
        start = time.perf_counter()
        await index.search(query, k=10, clearance=Label.INTERNAL, vector=vector, mode=mode)  # type: ignore[arg-type]
        taken.append(1000 * (time.perf_counter() - start))
    middle, slow = np.percentile(taken[queries // 10 :], [50, 99])
    return {"p50_ms": float(middle), "p99_ms": float(slow)}


async def recall(index: PostgresIndex, source: Source, vectors: np.ndarray, queries: int) -> float:
    """Of the ten nearest chunks, the share that a search by vector alone has among its ten."""
    hits, exact = 0, vectors.astype(np.float16).astype(np.float32)
    for _ in range(queries):
        vector = source.vectors(1)[0]
        nearest = np.argsort(-(exact @ vector))[:10]
        passages = await index.search("", k=10, clearance=Label.INTERNAL, vector=vector, mode="vector")
        places = {(passage.document, passage.start) for passage in passages}
        wanted = {await _place(index, int(number)) for number in nearest}
        hits += len(places & wanted)
    return hits / (10 * queries)


async def _place(index: PostgresIndex, number: int) -> tuple[str, int]:
    """Document and start of a chunk by its number in the order of filling."""
    begin, within = number // PER_UPDATE * PER_UPDATE, number % PER_UPDATE
    name = f"{begin:08}-{within // PER_DOCUMENT:04}"
    text = await index.text(name, 0, 1 << 20, clearance=Label.INTERNAL)
    lines = (text or "").split("\n")[: within % PER_DOCUMENT]
    return name, sum(len(line) + 1 for line in lines)


def size_of(address: str) -> float:
    """Megabytes of the database."""
    with psycopg.connect(address) as connection:
        (row,) = connection.execute("SELECT pg_database_size(current_database())").fetchall()
    return float(row[0]) / 1e6


async def measure(address: str, chunks: int, *, queries: int, seed: int) -> dict[str, object]:
    """Everything at one size, in an index of its own that is taken away afterwards."""
    source = Source(seed)
    index = PostgresIndex(
        address, network="benchmark", name="index", encoder=Encoder(dimension=DIMENSION), rebuild=True
    )
    try:
        filled, vectors = await fill(index, source, chunks)
        print(f"{chunks:,} chunks: {filled}", flush=True)
        figures = {mode: await ask(index, source, mode, queries) for mode in MODES}
        print(f"{chunks:,} chunks: {figures}", flush=True)
        near = await recall(index, source, vectors, min(queries, 100))
    finally:
        await index.close()
    return {**filled, **figures, "recall_of_ten": near, "database_megabytes": size_of(address)}


def main() -> int:
    """Measure each size and write the figures down."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--chunks", type=int, nargs="+", default=[20_000, 100_000], help="sizes")
    parser.add_argument("--queries", type=int, default=300, help="searches a mode")
    parser.add_argument("--seed", type=int, default=0, help="of texts, vectors and queries")
    given = parser.parse_args()
    address = os.environ.get(VARIABLE)
    if not address:
        print(f"Needs a server: scripts/postgres_run python {Path(__file__).name} sets {VARIABLE}.")
        return 1
    record = Record(claim=CLAIM, seeds=[given.seed])
    for chunks in sorted(given.chunks):
        figures = asyncio.run(measure(address, chunks, queries=given.queries, seed=given.seed))
        record.figures[f"{chunks}"] = figures
        record.bars.append(
            Bar(
                what=f"recall of the ten nearest at {chunks:,} chunks",
                measured=figures["recall_of_ten"],
                limit=LEAST_RECALL,
            )  # type: ignore[arg-type]
        )
    with psycopg.connect(address) as connection:
        (row,) = connection.execute("SHOW server_version").fetchall()
    record.notes.append(f"PostgreSQL {row[0]}, client and server on the same machine")
    record.note_load()
    record.write(given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Indexes over a stand-in for the encoder: words become vectors without a model."""

from __future__ import annotations

import hashlib
import zlib

import numpy as np
import pytest

from coterie.knowledge.documents import Chunk, IndexedDocument
from coterie.knowledge.local import LocalIndex
from coterie.types import Label, Output

DIMENSION = 32


class WordEncoder:
    """A text is the sum of its words' random vectors, so that texts with the same words are near."""

    name = "words"
    clearance = Label.RESTRICTED
    dimension = DIMENSION

    def __init__(self, sha256: str = "a" * 64):
        self.sha256 = sha256
        self.encoded = 0

    def encode(self, texts, *, progress=None):
        self.encoded += len(texts)
        vectors = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row] += np.random.default_rng(zlib.crc32(word.encode())).normal(size=DIMENSION)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    def count_tokens(self, text):
        return len(text.split()) + 2

    async def run(self, batch, *, call=None):
        return [Output(vector=vector) for vector in self.encode([prompt.text for prompt in batch])]

    async def close(self):
        pass


@pytest.fixture
def encoder():
    return WordEncoder()


@pytest.fixture
def document(encoder):
    """Makes a document of one chunk a paragraph: `document("a.txt", "words", label=Label.PUBLIC)`."""

    def make(name, text, *, label=Label.INTERNAL, tenant=None, heading=""):
        chunks, at = [], 0
        for paragraph in text.split("\n\n"):
            chunks.append(Chunk(start=at, end=at + len(paragraph), heading=heading))
            at += len(paragraph) + 2
        return IndexedDocument(
            name=name,
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            text=text,
            label=label,
            tenant=tenant,
            chunks=tuple(chunks),
            vectors=encoder.encode([text[chunk.start : chunk.end] for chunk in chunks]),
        )

    return make


@pytest.fixture
async def open_index(tmp_path, encoder):
    """Opens indexes that are closed after the test: `open_index("name")`."""
    opened = []

    def open_one(name="docs", *, encoder=encoder, **options):
        index = LocalIndex(tmp_path / name, name=name, encoder=encoder, **options)
        opened.append(index)
        return index

    yield open_one
    for index in opened:
        await index.close()


@pytest.fixture
def index(open_index):
    return open_index()

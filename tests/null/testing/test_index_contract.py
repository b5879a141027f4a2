"""The contract of indexes accepts one that keeps it, and names the clause that is broken."""

import asyncio
import math
import re
from collections import Counter
from dataclasses import fields, replace

import pytest

from coterie.knowledge.documents import IndexedDocument
from coterie.knowledge.indexes import analyse
from coterie.testing import check_index
from coterie.types import Passage

DIMENSION = 8


class MemoryIndex:
    """The plainest index there is: everything in a dictionary, everything compared with everything."""

    def __init__(self, kept):
        self.kept = kept

    async def documents(self, *, clearance=None, tenant="default"):
        """All of them, or those that may be seen."""
        kept = self.kept.values()
        return {
            document.name: document.sha256
            for document in kept
            if clearance is None or self.may_see(document, clearance, tenant)
        }

    async def tenants(self):
        """Of all documents."""
        return frozenset(document.tenant for document in self.kept.values() if document.tenant is not None)

    async def update(self, put, remove=()):
        """Copy, change, and put the copy in place at once."""
        state = {name: document for name, document in self.kept.items() if name not in set(remove)}
        for document in put:
            copy = self.copy(document)
            state[copy.name] = copy
            await asyncio.sleep(0)
        self.kept.clear()
        self.kept.update(state)

    async def search(self, query, *, k, clearance, tenant="default", vector=None, document=None, call=None):
        """Rank by rare words and by vector, and fuse."""
        chunks = [
            (stored, chunk, stored.vectors[i])
            for stored in self.ranked(clearance, tenant)
            for i, chunk in enumerate(stored.chunks)
            if document in (None, stored.name)
        ]
        counts = [Counter(analyse(document.text[chunk.start : chunk.end])) for document, chunk, _ in chunks]
        query_words = set(analyse(query))
        rarity = {
            word: math.log(1 + len(chunks) / (1 + sum(word in count for count in counts))) for word in query_words
        }
        by_words = [sum(rarity[word] * count[word] / (count[word] + 1) for word in query_words) for count in counts]
        by_vector = [0.0 if vector is None else float(vector @ chunk_vector) for _, _, chunk_vector in chunks]
        scores = [0.0] * len(chunks)
        for values in (by_words, by_vector):
            order = sorted(
                (i for i in range(len(chunks)) if values[i] or values is by_vector), key=lambda i: -values[i]
            )
            for rank, i in enumerate(order):
                scores[i] += 1 / (60 + rank)
        best = sorted(range(len(chunks)), key=lambda i: -scores[i])
        return self.shown([self.passage(*chunks[i][:2], scores[i]) for i in best], clearance, tenant, k)

    async def text(self, name, start, end, *, clearance, tenant="default"):
        """A slice."""
        document = self.kept.get(name)
        return document.text[start:end] if document and self.may_see(document, clearance, tenant) else None

    async def close(self):
        """Nothing to free."""

    @staticmethod
    def copy(document):
        """A document that nobody else has."""
        return IndexedDocument(**{field.name: getattr(document, field.name) for field in fields(IndexedDocument)})

    def may_see(self, document, clearance, tenant):
        """By label and tenant."""
        return document.label <= clearance and document.tenant in {None, tenant}

    def ranked(self, clearance, tenant):
        """What takes part in the ranking."""
        return [document for document in self.kept.values() if self.may_see(document, clearance, tenant)]

    def shown(self, passages, clearance, tenant, k):
        """What of the ranking is given."""
        return passages[:k]

    def passage(self, document, chunk, score):
        """A chunk as it is found."""
        return Passage(
            document=document.name,
            start=chunk.start,
            end=chunk.end,
            text=document.text[chunk.start : chunk.end],
            score=score,
            label=document.label,
            heading=chunk.heading,
            page=chunk.page,
        )


def opening(kind, *, forgets=False):
    """Opens indexes of a kind; each has what the last one left."""
    kept = {}

    async def make():
        return kind({} if forgets else kept)

    return make


async def test_a_plain_index_keeps_it():
    """An index of thirty lines keeps every clause."""
    await check_index(opening(MemoryIndex), dimension=DIMENSION)


class FiltersLast(MemoryIndex):
    """Ranks everything and shows what may be seen: ranks and rarity tell of what is hidden."""

    def ranked(self, clearance, tenant):
        """All."""
        return list(self.kept.values())

    def shown(self, passages, clearance, tenant, k):
        """Some."""
        return [passage for passage in passages if self.may_see(self.kept[passage.document], clearance, tenant)][:k]


class CutsFirst(FiltersLast):
    """Takes the best and then hides some of them."""

    def shown(self, passages, clearance, tenant, k):
        """Fewer than there are."""
        return super().shown(passages[:k], clearance, tenant, k)


class OneTenant(MemoryIndex):
    """Knows labels and no tenants."""

    def may_see(self, document, clearance, tenant):
        """By label."""
        return document.label <= clearance


class OpenText(MemoryIndex):
    """Gives the text of anything."""

    async def text(self, name, start, end, *, clearance, tenant="default"):
        """A slice."""
        return self.kept[name].text[start:end] if name in self.kept else None


class Bytes(MemoryIndex):
    """Counts bytes."""

    def passage(self, document, chunk, score):
        """With other offsets."""
        before = len(document.text[: chunk.start].encode())
        passage = super().passage(document, chunk, score)
        return replace(passage, start=before, end=before + len(passage.text.encode()))


class Flat(MemoryIndex):
    """Forgets headings."""

    def passage(self, document, chunk, score):
        """Without one."""
        return replace(super().passage(document, chunk, score), heading="")


class InPlace(MemoryIndex):
    """Writes one document after the other."""

    async def update(self, put, remove=()):
        """As they come."""
        for name in remove:
            self.kept.pop(name, None)
        for document in put:
            copy = self.copy(document)
            self.kept[copy.name] = copy


class Halting(MemoryIndex):
    """Reads first, and then writes one document after the other."""

    async def update(self, put, remove=()):
        """With pauses."""
        copies = [self.copy(document) for document in put]
        for name in remove:
            self.kept.pop(name, None)
        for copy in copies:
            self.kept[copy.name] = copy
            await asyncio.sleep(0)


class Fragile(MemoryIndex):
    """Reads a query as a pattern."""

    async def search(self, query, **options):
        """Which it need not be."""
        re.compile(query)
        return await super().search(query, **options)


class Hoarding(MemoryIndex):
    """Takes nothing away."""

    async def update(self, put, remove=()):
        """Only more."""
        await super().update(put)


@pytest.mark.parametrize(
    ("kind", "error", "clause"),
    [
        (FiltersLast, AssertionError, "what is hidden changes no"),
        (CutsFirst, AssertionError, "finds|what is hidden changes no"),
        (OneTenant, AssertionError, "'default' with clearance 'public' finds"),
        (OpenText, AssertionError, "may read .* if it may find it"),
        (Bytes, AssertionError, "span the passage's text|its document's text at its offsets"),
        (Flat, AssertionError, "the chunk's heading"),
        (InPlace, AssertionError, "an update that fails leaves the old state"),
        (Halting, AssertionError, "a search sees one state of the index"),
        (Hoarding, AssertionError, "documents are all removed is empty"),
        (Fragile, re.error, "at position"),
    ],
)
async def test_a_broken_index_is_named(kind, error, clause):
    """A broken index is told which clause it breaks."""
    with pytest.raises(error, match=clause):
        await check_index(opening(kind), dimension=DIMENSION)


async def test_a_forgetful_index_is_named():
    """What was put must be there when the index is opened again."""
    with pytest.raises(AssertionError, match="what was put is there after the index was closed"):
        await check_index(opening(MemoryIndex, forgets=True), dimension=DIMENSION)

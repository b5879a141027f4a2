"""The contract check of an index of documents (`Shelf`)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from itertools import count, product

import numpy as np

from coterie.errors import NotIndexed
from coterie.knowledge.documents import Chunk, IndexedDocument, Shelf
from coterie.testing.contracts import check_retriever, require
from coterie.types import Label, Passage

MakeShelf = Callable[[], Awaitable[Shelf]]

ODD_QUERIES: tuple[str, ...] = (
    "",
    "   \n\t",
    "?!… --- ((",
    "the of and",
    "\0",
    "late \ud800 fee",
    "日本語 🎉 ça va?",
    "late:* & !fee | (<-> 'payment",
    '+late -"fee payment"~2 body:[a TO *] OR AND NOT \\',
    "'; DROP TABLE documents; --",
    "%s %(x)s {} {chunks}",
    "late " * 20_000,
    "x" * 100_000,
)
"""Queries that must not raise an error; what they find is not checked."""

_LATE = "A late payment costs a fee of ten euros."
_LOAN = "The loan is paid back over forty-eight months."
_WORDS = "Ärger 🎉🎉 with the naïve café: 日本語 e\u0301 and more words about the deposit."


FOUND_BY: tuple[tuple[str, str], ...] = (
    ("Der Kaffee im Café Müller ist heiß.", "CAFE MULLER"),
    ("A re\u0301sume\u0301 is enclosed with the letter.", "résumé"),
    ("The \ufb01nancing of \uff46\uff4c\uff41\uff54\uff53 was refused.", "finance flats"),
    ("押金为两个月的租金。", "租金"),
    ("営業時間は午前九時からです", "午前"),
    (
        "สวัสดีครับทุกคน",
        "ครับ",
    ),
    ("\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd \u05e8\u05d1", "\u05e9\u05dc\u05d5\u05dd"),
    (
        "\u0627\u0644\u0645\u064e\u0628\u0652\u0644\u064e\u063a \u0645\u0633\u062a\u062d\u0642",
        "\u0627\u0644\u0645\u0628\u0644\u063a",
    ),
    ("The landlord/tenant clause is in schedule-b.pdf of archive.example.org.", "tenant"),
    ("Write to billing@example.org or https://example.org/kestrel/form.html", "kestrel"),
    ("Version 4.17 of the firmware (AX-2091) is current.", "2091"),
    ("Who was it that did this to them?", "who did this"),
    ("The intere\u00adsts accrue daily on 62 m².", "interest m2"),
)
"""Texts, each with a query that has its words in another spelling and no words of the other texts."""


async def check_shelf(make_shelf: MakeShelf, *, dimension: int = 384) -> None:
    """Check the clauses of `knowledge.documents.Shelf`, and of `protocols.Retriever` for its results.

    Args:
        make_shelf: Opens an index. The first one must be empty; each call opens the data of the last.
        dimension: Length D of the vectors of its encoder.
    """
    shelf = await make_shelf()
    bench = _Bench(shelf, dimension)
    try:
        require("it has documents, update, text, search and close", isinstance(shelf, Shelf))
        for check in (_check_empty, _check_passages, _check_words, _check_replacing, _check_visibility, _check_hidden):
            await check(bench)
            await bench.clear()
        for check in (_check_odd_queries, _check_failing, _check_one_state):
            await check(bench)
            await bench.clear()
        await shelf.update([bench.document("loan", _LOAN)])
    finally:
        await shelf.close()
    await shelf.close()  # a second call does nothing
    await _check_survival(make_shelf)


class _Bench:
    """An index with documents and queries for it. The vector of a text is drawn from its hash."""

    def __init__(self, shelf: Shelf, dimension: int) -> None:
        self.shelf, self.dimension = shelf, dimension

    def document(
        self,
        name: str,
        *texts: str,
        label: Label = Label.INTERNAL,
        tenant: str | None = None,
        vector_of: str | None = None,
    ) -> IndexedDocument:
        """Make a document with a chunk, a heading and a page for each text."""
        ends = np.cumsum([len(text) + 1 for text in texts]).tolist()
        chunks = tuple(
            Chunk(start=end - 1 - len(text), end=end - 1, heading=f"Part {i} > {name}", page=i)
            for i, (text, end) in enumerate(zip(texts, ends, strict=True), start=1)
        )
        body = "".join(f"{text}\n" for text in texts)
        return IndexedDocument(
            name=name,
            sha256=hashlib.sha256(body.encode()).hexdigest(),
            text=body,
            label=label,
            tenant=tenant,
            chunks=chunks,
            vectors=np.array([self.vector(vector_of or text) for text in texts], np.float32).reshape(
                -1, self.dimension
            ),
        )

    def vector(self, text: str) -> np.ndarray:
        """Return the unit vector (D,) of a text."""
        seed = int.from_bytes(hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:8])
        drawn = np.random.default_rng(seed).normal(size=self.dimension)
        return (drawn / np.linalg.norm(drawn)).astype(np.float32)

    async def ask(
        self, query: str, *, k: int = 20, clearance: Label = Label.INTERNAL, tenant: str = "default"
    ) -> Sequence[Passage]:
        """Search with the vector of the query."""
        vector = self.vector(query)
        return await self.shelf.search(query, k=k, clearance=clearance, tenant=tenant, vector=vector)

    async def state(self) -> tuple[object, ...]:
        """Return everything that a reader can observe of the index."""
        found = [await self.ask(query, clearance=Label.RESTRICTED) for query in ("late payment fee", "loan")]
        return dict(await self.shelf.documents()), [[_essence(passage) for passage in each] for each in found]

    async def clear(self) -> None:
        """Remove all documents."""
        await self.shelf.update([], list(await self.shelf.documents()))
        require("a shelf whose documents are all removed is empty", not await self.shelf.documents())


async def _check_empty(bench: _Bench) -> None:
    require("a new shelf has no documents", dict(await bench.shelf.documents()) == {})
    try:
        require("nothing is found on a new shelf", list(await bench.ask("late payment")) == [])
    except NotIndexed as error:
        require("a new shelf says how it is filled", "coterie index" in error.hint)
    await bench.shelf.update([])
    require("nothing is found on an empty shelf", list(await bench.ask("late payment")) == [])
    nothing = await bench.shelf.text("loan", 0, 10, clearance=Label.RESTRICTED)
    require("the text of a document that is not there is None", nothing is None)
    await bench.shelf.update([], ["loan", "late"])
    require("removing what is not there does nothing", dict(await bench.shelf.documents()) == {})


async def _check_passages(bench: _Bench) -> None:
    documents = [bench.document("late.md", _LATE, _LOAN), bench.document("ç/日本.txt", _WORDS), bench.document("none")]
    await bench.shelf.update(documents)
    by_name = {document.name: document for document in documents}
    sums = {name: document.sha256 for name, document in by_name.items()}
    require("documents are known by name and sha256", dict(await bench.shelf.documents()) == sums)
    for query, name in (("late fee", "late.md"), ("deposit café", "ç/日本.txt")):
        found = await bench.ask(query)
        require(f"{query!r} finds the document that has these words first", found and found[0].document == name)
        require(f"all three passages are found where {len(found)} are", len(found) == 3)
        for passage in found:
            _check_quote(passage, by_name[passage.document])
        require("one passage is asked for, the best comes", _places(await bench.ask(query, k=1)) == _places(found[:1]))
        await check_retriever(bench.shelf, query, k=2)
    within = await bench.shelf.search("late", k=50, clearance=Label.INTERNAL, document="late.md")
    chunks = by_name["late.md"].chunks
    require(
        "a named document is searched alone, every chunk of it is found",
        {passage.document for passage in within} == {"late.md"} and len(within) == len(chunks),
    )
    for passage in within:
        _check_quote(passage, by_name["late.md"])
    unseen = await bench.shelf.search("late", k=50, clearance=Label.INTERNAL, document="no such document")
    require("of a document that is not there nothing is found", not unseen)
    (nearest,) = await bench.shelf.search("zzz", k=1, clearance=Label.INTERNAL, vector=bench.vector(_LOAN))
    require("without a word in common, the passage with the nearest vector is the best", nearest.text == _LOAN)
    await _check_text(bench, by_name["ç/日本.txt"])


async def _check_words(bench: _Bench) -> None:
    """Check that each text is found by its own words, in every script and whatever its vector."""
    await bench.shelf.update([bench.document(f"w{i}", text) for i, (text, _) in enumerate(FOUND_BY)])
    for i, (text, query) in enumerate(FOUND_BY):
        found = await bench.ask(query)
        require(f"{query!r} finds the text with these words first: {text!r}", found and found[0].document == f"w{i}")


def _check_quote(passage: Passage, document: IndexedDocument) -> None:
    """Check that a passage has the text of its document at its offsets."""
    quoted = document.text[passage.start : passage.end]
    require(f"a passage is its document's text at its offsets: {passage.text!r}, {quoted!r}", passage.text == quoted)
    chunk = next((each for each in document.chunks if each.start == passage.start), None)
    require("a passage is one of the document's chunks", chunk is not None and chunk.end == passage.end)
    if chunk is not None:
        require(f"it has the chunk's heading: {passage.heading!r}", passage.heading == chunk.heading)
        require(f"it has the chunk's page: {passage.page!r}", passage.page == chunk.page)
    require(f"it has the document's label: {passage.label!r}", passage.label is document.label)


async def _check_text(bench: _Bench, document: IndexedDocument) -> None:
    length = len(document.text)
    for start, end in ((0, 5), (6, 8), (3, length), (10, length + 100), (length, length + 1), (7, 7)):
        text = await bench.shelf.text(document.name, start, end, clearance=Label.INTERNAL)
        require(f"text({start}, {end}) is text[{start}:{end}], not {text!r}", text == document.text[start:end])


async def _check_replacing(bench: _Bench) -> None:
    await bench.shelf.update([bench.document("a", _LATE), bench.document("b", _LOAN), bench.document("c", _WORDS)])
    newer = bench.document("a", _LOAN, "Deposits are insured.")
    await bench.shelf.update([newer, bench.document("d", "New.")], ["b", "nobody"])
    names = {"a", "c", "d"}
    require("a document of the same name is replaced", (await bench.shelf.documents())["a"] == newer.sha256)
    require("those named in `remove` are gone, the others stay", set(await bench.shelf.documents()) == names)
    found = await bench.ask("late fee loan deposits")
    require("the old passages are gone with their documents", _LATE not in {passage.text for passage in found})
    require("each new passage is there once", len(found) == 4 and len(_places(found)) == len(set(_places(found))))
    gone = await bench.shelf.text("b", 0, 5, clearance=Label.RESTRICTED)
    require("so is the text of a document that was removed", gone is None)
    higher = bench.document("a", _LATE, label=Label.RESTRICTED)
    await bench.shelf.update([higher])
    found = await bench.ask("late fee")
    require("a document that got a higher label is hidden", "a" not in {passage.document for passage in found})


async def _check_visibility(bench: _Bench) -> None:
    """Check that each caller finds all documents that it may see, and no others, for every label and tenant."""
    kinds = {f"{label}-{tenant}": (label, tenant) for label, tenant in product(Label, (None, "acme", "other"))}
    await bench.shelf.update(
        [bench.document(name, f"{_LATE} {name}", label=label, tenant=tenant) for name, (label, tenant) in kinds.items()]
    )
    require("tenants with documents of their own are named", await bench.shelf.tenants() == {"acme", "other"})
    for clearance, tenant in product(Label, ("default", "acme")):
        may = {name for name, (label, owner) in kinds.items() if label <= clearance and owner in {None, tenant}}
        for query in ("late payment fee", "zzz", " ".join(kinds)):
            found = {passage.document for passage in await bench.ask(query, clearance=clearance, tenant=tenant)}
            who = f"{tenant!r} with clearance {clearance.value!r}"
            require(f"{who} finds {sorted(may)}, not {sorted(found)}", found == may)
        for name in kinds:
            text = await bench.shelf.text(name, 0, 6, clearance=clearance, tenant=tenant)
            require(f"{who} may read {name!r} if it may find it: {text!r}", (text is not None) == (name in may))


async def _check_hidden(bench: _Bench) -> None:
    """Check that hidden documents change no visible result, whatever their text."""
    visible = [bench.document(f"v{i}", f"{_LATE} Paragraph {i}.", f"{_LOAN} {'fee ' * i}") for i in range(5)]
    await bench.shelf.update([*visible, bench.document("w", _WORDS)])
    queries = ("late payment fee", "loan months fee", "deposit", "zzz", _LATE)
    before = [await bench.ask(query, k=8) for query in queries]
    hidden = [
        bench.document(f"h{i}", f"{query} {_LATE} fee {i}", label=label, tenant=tenant, vector_of=query)
        for i, (query, (label, tenant)) in enumerate(
            product(queries, ((Label.RESTRICTED, None), (Label.CONFIDENTIAL, None), (Label.PUBLIC, "other")))
        )
    ]
    await bench.shelf.update(hidden)
    for query, was in zip(queries, before, strict=True):
        now = await bench.ask(query, k=8)
        require(f"what is hidden changes no passage and no order for {query!r}", _places(now) == _places(was))
        same = np.allclose([passage.score for passage in now], [passage.score for passage in was], rtol=1e-9, atol=0)
        require(f"what is hidden changes no score for {query!r}", same)


async def _check_odd_queries(bench: _Bench) -> None:
    await bench.shelf.update([bench.document("late", _LATE), bench.document("secret", _LOAN, label=Label.RESTRICTED)])
    before = await bench.state()
    for query in ODD_QUERIES:
        for found in (
            await bench.ask(query, k=3),
            await bench.shelf.search(query, k=3, clearance=Label.INTERNAL),
        ):
            named = {passage.document for passage in found}
            require(f"{query[:40]!r} finds only what may be seen: {named}", named <= {"late"} and len(found) <= 3)
    require("nothing that is asked changes the shelf", await bench.state() == before)


class _Torn(IndexedDocument):
    """A document that raises an error when its attributes are read for the n-th time."""

    def __getattribute__(self, name: str) -> object:
        value = object.__getattribute__(self, name)
        if (
            name in IndexedDocument.__dataclass_fields__
            and next(object.__getattribute__(self, "_reads")) == _Torn.fails_at
        ):
            raise OSError("torn")
        return value

    fails_at = 0


async def _check_failing(bench: _Bench) -> None:
    """Check that an update that fails changes nothing: at the first, second ... read, until one succeeds."""
    await bench.shelf.update([bench.document("late", _LATE), bench.document("loan", _LOAN)])
    before = await bench.state()
    for n in count(1):
        torn = _torn(bench.document("torn", _LATE, _LOAN), fails_at=n)
        try:
            await bench.shelf.update([bench.document("late", _WORDS), torn, bench.document("more", _LATE)], ["loan"])
        except Exception:  # noqa: BLE001 - which one is the shelf's affair
            require("an update that fails leaves the old state", await bench.state() == before)
        else:
            break
    require("an update reads the documents it is given", n > 1)
    require(
        "an update can be tried again after it failed", set(await bench.shelf.documents()) == {"late", "torn", "more"}
    )


def _torn(document: IndexedDocument, *, fails_at: int) -> IndexedDocument:
    _Torn.fails_at = 0
    torn = object.__new__(_Torn)
    object.__setattr__(torn, "_reads", count(1))
    for name in IndexedDocument.__dataclass_fields__:
        object.__setattr__(torn, name, getattr(document, name))
    _Torn.fails_at = fails_at
    return torn


async def _check_one_state(bench: _Bench) -> None:
    """Check that two documents are replaced together: a concurrent search finds both old or both new ones."""

    def version(number: int) -> list[IndexedDocument]:
        return [bench.document(name, f"{_LATE} This is version {number}.") for name in ("left", "right")]

    async def replace() -> None:
        for number in range(1, _VERSIONS):
            await bench.shelf.update(version(number))

    await bench.shelf.update(version(0))
    writer = asyncio.ensure_future(replace())
    try:
        while not writer.done():
            for found in await asyncio.gather(*(bench.ask("late payment") for _ in range(3))):
                texts = {passage.text for passage in found}
                require(
                    f"a search sees one state of the shelf, not {sorted(texts)}", len(found) == 2 and len(texts) == 1
                )
    finally:
        await writer
    (left, right) = await bench.ask("late payment")
    last = f"version {_VERSIONS - 1}."
    require("the last update is seen when it is done", left.text.endswith(last) and right.text.endswith(last))


_VERSIONS = 12


async def _check_survival(make_shelf: MakeShelf) -> None:
    shelf = await make_shelf()
    try:
        require("what was put is there after the shelf was closed", set(await shelf.documents()) == {"loan"})
        (passage,) = await shelf.search("loan", k=3, clearance=Label.INTERNAL)
        require("and is found", passage.text == _LOAN)
    finally:
        await shelf.close()


def _places(found: Sequence[Passage]) -> list[tuple[str, int]]:
    return [(passage.document, passage.start) for passage in found]


def _essence(passage: Passage) -> tuple[object, ...]:
    return passage.document, passage.start, passage.text, round(passage.score, 9)

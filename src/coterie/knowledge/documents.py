"""The content of an index: documents, cut into chunks; the boundary between reading documents and keeping them.

A text is cut at the ends of sentences, within one section, to nearly equal length. This knows neither files nor models:
a function measures texts in tokens.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

from coterie.knowledge.parsed import Heading, Parsed
from coterie.protocols import Retriever
from coterie.text.language import language_of
from coterie.text.segmentation import Span, sentences, strip_span
from coterie.types import SYSTEM, CallContext, Label, Passage

if TYPE_CHECKING:
    import numpy as np

Mode = Literal["keyword", "vector", "hybrid", "rerank"]
"""How an index is searched: by words, by meaning, by both, or by both with the best results reranked."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A piece of a document, small enough to be encoded whole: `text[start:end]` of the document."""

    start: int
    end: int
    heading: str = ""
    """The headings above the chunk, outermost first, joined by ` > `."""
    page: int | None = None
    """Page on which the chunk begins, from 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class IndexedDocument:
    """One document as an index keeps it."""

    name: str
    """Name, unique in its index: the path as it was given, or an id."""
    sha256: str
    """SHA-256 of the source's bytes and of how they were read; an unchanged one lets a build skip the document."""
    text: str
    label: Label
    tenant: str | None
    """The one tenant that may see the document; None for every tenant."""
    chunks: tuple[Chunk, ...]
    vectors: np.ndarray  # (N, D) float32, one a chunk, of length 1
    dated: str | None = None
    """Date of the document: `2024`, `2024-05` or `2024-05-31`; None if it is unknown."""
    tokens: tuple[bytes, ...] = ()
    """The packed tokens of each chunk for the reranker; empty if the index is not reranked."""


@runtime_checkable
class DocumentIndex(Retriever, Protocol):
    """A retriever that can be filled. `coterie index` writes to it, one process at a time."""

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
        """Return at most `k` passages, best first, as `Retriever` specifies; a `mode` of None is the index's own."""
        ...

    async def documents(self, *, clearance: Label | None = None, tenant: str = "default") -> Mapping[str, str]:
        """Return the `sha256` of every document, by name; with a clearance, of those that this principal may see."""
        ...

    async def tenants(self) -> frozenset[str]:
        """Return every tenant that has documents of its own, so that an erasure finds those of deleted tenants too."""
        ...

    async def update(self, put: Sequence[IndexedDocument], remove: Collection[str] = ()) -> None:
        """Put documents in the place of those of the same name, and remove others.

        The update is atomic, even if it fails or the process is killed: a concurrent search finds the old or the new
        state. Names in `remove` that do not exist are ignored.

        Raises:
            IndexBusy: another process is writing to the index.
        """
        ...

    async def text(self, name: str, start: int, end: int, *, clearance: Label, tenant: str = "default") -> str | None:
        """Return `text[start:end]` of a document, for context of a passage; None if it is missing or not visible."""
        ...


# --- Cutting a text into chunks: at the ends of sentences, within one section, of nearly equal length.

Measure = Callable[[Sequence[str]], Sequence[int]]
"""A function that returns the length of each text in tokens, without markers at the ends."""

CHUNK_TOKENS = 128
"""Most tokens of a chunk's own text: the length of the texts that the encoder was trained on.

With the longest heading a chunk still fits the encoder's window of 256.
"""
_HEADING_CHARACTERS = 300
_ROW_TOKENS = 2048
"""Most tokens of a table row that stays one chunk."""
_GAP = 64
"""Characters between two rows that are checked for anything but white space."""
_SENTENCE_CHARACTERS = 2000
"""Characters after which a text without a sentence end is cut before it is measured."""
_CHARACTERS_A_TOKEN = 12
"""Characters a token, above which a text is measured by its length: an encoder takes base64 for one unknown word."""

_TABLE = re.compile(
    r"^[ \t]*(?P<names>[^\n|]*\|[^\n]*)\n[ \t]*(?:\|[ \t]*)?(?::?-+:?[ \t]*\|[ \t]*)+(?::?-+:?[ \t]*)?(?:\n|$)"
    r"(?P<rows>(?:[^\n|]*\|[^\n]*(?:\n|$))*)",
    re.MULTILINE,
)
"""A Markdown table: the column names, a separator line, the rows."""
_LINE = re.compile(r"[^\n]*\S[^\n]*")


class _Table(NamedTuple):
    start: int
    """Position from which the first row may begin."""
    end: int
    names: str


class _Layout(NamedTuple):
    """The table rows, which are never cut, and the tables, which give the column names."""

    rows: Sequence[Span]
    tables: Sequence[_Table]


def chunk(parsed: Parsed, measure: Measure, *, tokens: int = CHUNK_TOKENS) -> tuple[Chunk, ...]:
    """Return the chunks of a text, in its order; they do not overlap.

    Args:
        parsed: The text with its headings and pages.
        measure: Returns the lengths of texts in tokens.
        tokens: Length of the longest chunk, without its heading.
    """
    language = language_of(parsed.text, "en")
    pages, layout = parsed.pages, _layout(parsed)
    chunks: list[Chunk] = []
    page = 0
    for heading, body in _sections(parsed):
        for span in _pack(parsed.text, body, measure, tokens, language=language, rows=layout.rows):
            while page < len(pages) and pages[page] <= span.start:
                page += 1
            above = _path_to(heading, span.start, layout.tables)
            chunks.append(Chunk(start=span.start, end=span.end, heading=above, page=page if pages else None))
    return tuple(chunks)


def _layout(parsed: Parsed) -> _Layout:
    """Return the rows of all tables of a text, in its order, and its Markdown tables."""
    matches = list(_TABLE.finditer(parsed.text)) if not parsed.rows else []
    lines = (line.span() for table in matches for line in _LINE.finditer(parsed.text, *table.span("rows")))
    tables = [_Table(table.end("names"), table.end(), table["names"]) for table in matches]
    return _Layout([Span(*span) for span in (parsed.rows or lines)], tables)


def _sections(parsed: Parsed) -> Iterator[tuple[str, Span]]:
    """Yield each heading's path with the text under it. A heading with nothing under it counts as text."""
    path: list[Heading] = []
    begin, own = 0, 0
    for heading in parsed.headings:
        if heading.start < begin:
            continue  # overlaps the one before
        alone = bool(path) and heading.level <= path[-1].level and not parsed.text[begin : heading.start].strip()
        yield _path(path[:-1] if alone else path), Span(own if alone else begin, heading.start)
        path = [*(earlier for earlier in path if earlier.level < heading.level), heading]
        own, begin = heading.start, heading.end
    alone = bool(path) and not parsed.text[begin:].strip()
    yield _path(path[:-1] if alone else path), Span(own if alone else begin, len(parsed.text))


def _path(headings: Sequence[Heading]) -> str:
    return " > ".join(heading.title for heading in headings)[:_HEADING_CHARACTERS]


def _path_to(heading: str, start: int, tables: Sequence[_Table]) -> str:
    """Return the heading of a chunk; a chunk that begins inside a table also has the column names."""
    at = bisect_right(tables, start, key=lambda table: table.start) - 1
    if at < 0 or not tables[at].start < start < tables[at].end:
        return heading
    named = " | ".join(cell.strip() for cell in tables[at].names.strip("| \t").split("|"))[:_HEADING_CHARACTERS]
    return f"{heading} > {named}" if heading else named


def _spans(text: str, body: Span, language: str, rows: Sequence[Span]) -> Iterator[tuple[Span, bool]]:
    """Yield the sentences of a section, and between them the whole rows of its tables; True marks a row."""
    at = body.start
    first = bisect_left(rows, body.start, key=lambda row: row.start)
    for row in takewhile(lambda row: row.end <= body.end, (rows[n] for n in range(first, len(rows)))):
        yield from _prose(text, Span(at, row.start), language)
        yield row, True
        at = row.end
    yield from _prose(text, Span(at, body.end), language)


def _prose(text: str, body: Span, language: str) -> Iterator[tuple[Span, bool]]:
    if body.end - body.start < _GAP and not text[body.start : body.end].strip():
        return
    for span in sentences(text, language=language, lines="blocks", start=body.start, end=body.end):
        for piece in _halved(span):
            yield piece, False


def _pack(
    text: str, body: Span, measure: Measure, tokens: int, *, language: str, rows: Sequence[Span]
) -> Iterator[Span]:
    """Combine sentences and rows into chunks of similar length.

    No chunk is longer than `tokens`, except for a row that is so long itself.
    """
    spans_ = list(_spans(text, body, language, rows))
    spans, whole = [span for span, _ in spans_], {span.start for span, is_row in spans_ if is_row}
    lengths = _lengths(text, spans, measure)
    spans, lengths = _shortened(text, spans, lengths, measure, tokens, whole=whole)
    total = sum(lengths)
    if not total and not spans:
        return
    # A last chunk of three words would say nothing: the cuts are spread evenly.
    share = total / max(1, -(-total // tokens))
    begin, length = 0, 0
    for index, size in enumerate(lengths):
        if index > begin and (length + size > tokens or length + size / 2 > share):
            yield Span(spans[begin].start, spans[index - 1].end)
            begin, length = index, 0
        length += size
    yield Span(spans[begin].start, spans[-1].end)


def _lengths(text: str, spans: Sequence[Span], measure: Measure) -> list[int]:
    """Return the tokens of each span, or an estimate from its length where the tokens are far too few."""
    counted = measure([text[start:end] for start, end in spans])
    return [max(n, (end - start) // _CHARACTERS_A_TOKEN) for n, (start, end) in zip(counted, spans, strict=True)]


def _halved(span: Span) -> Iterator[Span]:
    """Yield a span in pieces that a tokenizer takes at once."""
    for start in range(span.start, span.end, _SENTENCE_CHARACTERS):
        yield Span(start, min(start + _SENTENCE_CHARACTERS, span.end))


def _shortened(
    text: str, spans: list[Span], lengths: list[int], measure: Measure, tokens: int, *, whole: Collection[int]
) -> tuple[list[Span], list[int]]:
    """Cut every span that is longer than `tokens`: between words, or within a word that is too long itself.

    A span that begins at `whole`, a row, stays whole unless it is longer than any encoder takes.
    """

    def too_long(span: Span, length: int) -> bool:
        most = _ROW_TOKENS if span.start in whole else tokens
        return length > most and span.end - span.start > 1

    while any(map(too_long, spans, lengths)):
        pieces: list[Span] = []
        for span, length in zip(spans, lengths, strict=True):
            pieces += _split(text, span, -(-length // tokens)) if too_long(span, length) else [span]
        spans, lengths = pieces, _lengths(text, pieces, measure)
    return spans, lengths


def _split(text: str, span: Span, parts: int) -> list[Span]:
    """Cut a span into about `parts` pieces, at least two: between lines or words where possible."""
    size = max(1, -(-(span.end - span.start) // max(parts, 2)))
    pieces: list[Span] = []
    begin = span.start
    while span.end - begin > size:
        cut = begin + size
        line = text.rfind("\n", begin + size // 2, cut)
        space = line if line > begin else text.rfind(" ", begin + size // 2, cut)
        cut = space + 1 if space > begin else cut
        pieces += strip_span(text, begin, cut)
        begin = cut
    return [*pieces, *strip_span(text, begin, span.end)]


def encoded_text(text: str, heading: str) -> str:
    """Return the text that the encoder reads of a chunk: its heading before its text."""
    return f"{heading}\n{text}" if heading else text

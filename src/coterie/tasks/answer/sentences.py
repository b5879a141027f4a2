"""Cuts passages into sentences: the units that are scored and cited."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from coterie.text.language import language_of
from coterie.text.segmentation import sentences
from coterie.text.words import negation_pattern
from coterie.types import Citation, Passage

_ITEM = re.compile(r"\n+(?=[ \t]*(?:```|(?:[-*+\u2022|#]|\(?\d{1,2}[.)]|\([a-z]{1,4}\))[ \t]*\S))")
"""A line that begins like a list's item, a table's row, a heading or a fence begins a sentence."""
_TABLE = re.compile(
    r"^(?P<head>[^\n]*\S)[ \t]*\n[ \t]*\|?(?:[ \t]*:?-{3,}:?[ \t]*\|)+(?:[ \t]*:?-{3,}:?)?[ \t]*\n", re.MULTILINE
)
"""The line with a table's column names, and the line under it."""
_LINE_END = re.compile(r"\n")
_ROWS = re.compile(r"(?:[^\n|]*\|[^\n]*(?:\n|$))*")
_CELLS = re.compile(r"\|[^\n]+\|")
"""A row between bars. A cell means nothing without those beside it."""
_PARAGRAPH = re.compile(r"\n[ \t\r]*\n\s*")
_PAIR = re.compile(r"[^\s:][^:\n.;!?]{0,59}:[ \t]+\S.*")
"""A line with a name and its value, as in a row of a CSV file, an address or a price list."""
_ROW_LINE = re.compile(r"[^\s:][^:\n]{0,99}:[ \t]+\S.*")
"""A line with a name and its value among several such lines: names of columns may be abbreviated."""
_OF = re.compile(r"(?!\(?\w{1,2}[.)][ \t])[^\W_a-z][^:\n;!?|]{0,98}[^\s.:;!?,|]")
"""The line above such lines that says what they describe: the first cell of a row whose column has no name."""
_PAIRS = 2
"""Fewest such lines below it: one alone is a value under its heading."""
_NEXT = re.compile(r"[.;!?]\s+[A-Z]")
"""A value that matches this is prose."""
_TITLE = re.compile(
    r"(?:\A\s*|(?<=[.!?]\n)[ \t]*)(?P<title>(?:\u00a7[ \t]?)?[^\W_a-z][^\n]{0,58}[^\n.,;:!?\s|])[ \t]*\n"
    r"(?=[ \t]*[\"'(\u201c]?[^\W_a-z])"
)
"""A short line without a sentence's end before one that begins a sentence: a heading in plain text or a PDF."""
_TITLE_WORDS = 8
_LABEL = re.compile(r"[^:\n]{1,60}:[ \t._\u2026\u2610\[\]()-]*")
"""A label, followed at most by marks for something to fill in."""
_BLANK = re.compile(r"[ \t]*(?:[_.\u2026]{3,}|\u2026|\u2610|\[[ \t]*\])")
"""Marks for something to fill in."""
_LONGEST_ROW, _LONGEST_PAIRS = 600, 3000
"""Most characters of a line, and of a row with the names of its columns."""
_ITEM_MARK = re.compile(r"[ \t]*(?:[-*+\u2022]|\(?\d{1,2}[.)]|\([a-z]{1,4}\))[ \t]+\S")
_EXCLUDES = re.compile(r"\b(?:except|exclu)\w*\b", re.IGNORECASE)
_MARKS = " \t\r\n#*|-+\u2022>_`:"
_CLOSING = " \t\r\n|*_`"
_PAIRED = ("`", "**", "__", "*", "_")
_FEWEST = 3
"""Fewest letters and digits of a meaningful sentence."""


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence of a passage."""

    passage: Passage
    rank: int
    """The passage's rank among those found, from 0."""
    start: int
    end: int
    """`start` and `end`: characters of the document's text."""
    text: str
    head: str = ""
    """The column names of a table's row: its values mean nothing without them."""
    lead: Sentence | None = None
    """The negating introduction of a list's item ("Not included:"): the item means the opposite."""

    @property
    def said(self) -> str:
        """The sentence's text with the context that a reader needs: a row with its column names."""
        return f"{self.head}: {self.text}" if self.head else self.text

    @property
    def bare(self) -> bool:
        """Whether it is a short line that is no sentence: a heading or a label."""
        text = self.text.rstrip()
        plain = not self.head and "\n" not in text and ": " not in text
        return plain and text[-1:] not in {".", "!", "?", ";"} and len(text.split()) <= _TITLE_WORDS

    @property
    def label(self) -> bool:
        """Whether it is a label with nothing after it, as in an empty form: it means nothing by itself."""
        return not self.head and len(self.text.split()) <= _TITLE_WORDS and _LABEL.fullmatch(self.text) is not None

    @property
    def unfilled(self) -> bool:
        """Whether it is a label before marks for something to fill in: the text after them does not belong to it."""
        colon = self.start - self.passage.start + self.text.find(":") + 1
        return self.label and _BLANK.match(self.passage.text, colon) is not None

    def cite(self) -> Citation:
        """Return the citation of the sentence."""
        passage = self.passage
        return Citation(
            document=passage.document,
            start=self.start,
            end=self.end,
            text=self.text,
            label=passage.label,
            index=passage.index,
            heading=passage.heading,
            page=passage.page,
        )


def cut_passages(passages: Sequence[Passage]) -> list[Sentence]:
    """Return the sentences of passages, best passage first; overlapping text occurs once, under the better passage."""
    sentences_: list[Sentence] = []
    taken: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for rank, passage in enumerate(passages):
        places = taken.setdefault((passage.index, passage.document), [])
        leads = _leads(passage.text)
        for start, end, head in _cut(passage.text, columns_above(passage)):
            at, to = passage.start + start, passage.start + end
            if any(at < other_end and other_start < to for other_start, other_end in places):
                continue
            places.append((at, to))
            lead = leads.get(start)
            above = None if lead is None else _sentence(passage, rank, *lead)
            sentences_.append(replace(_sentence(passage, rank, start, end), head=head, lead=above))
    return sentences_


def _sentence(passage: Passage, rank: int, start: int, end: int) -> Sentence:
    """Return the sentence at these characters of a passage's text."""
    at = passage.start
    return Sentence(passage=passage, rank=rank, start=at + start, end=at + end, text=passage.text[start:end])


def flat(text: str) -> str:
    """Return text on one line; lines of their own, such as the cells of a table's row, stay separated."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return ("; " if len(lines) > 1 and all(": " in line for line in lines) else " ").join(lines)


def columns_above(passage: Passage) -> str:
    """Return the column names of a table that a passage begins inside of: they are last in its heading."""
    last = passage.heading.rsplit(" > ", 1)[-1]
    begins = passage.text.lstrip().split("\n", 2)[:2]
    rows = begins[0].startswith("|") or (len(begins) > 1 and all("|" in line for line in begins))
    return last if "|" in last and rows else ""


@lru_cache(maxsize=4096)
def _cut(text: str, above: str = "") -> tuple[tuple[int, int, str], ...]:
    """Return the positions of sentences, without the marks of lists and headings, and their column names.

    `above` are the column names of the rows that the text begins with, if it does. Column names are no sentence. The
    result is cached, as one document gets many questions.
    """
    places: list[tuple[int, int, str]] = []
    tables, language = _tables(text), language_of(text, "en")
    if above and (rows := _ROWS.match(text)) is not None:
        tables = [_Table(0, 0, rows.end(), above), *tables]
    start = 0
    lines = (line.start() for table in tables for line in _LINE_END.finditer(text, table.rows, table.end))
    for end in [*sorted({*(match.start() for match in _ITEM.finditer(text)), *lines}), len(text)]:
        row = any(table.rows <= start + 1 < table.end for table in tables)
        for begin, until in [(0, end - start)] if row else _sentences(text[start:end], language):
            at, to = _trim(text, start + begin, start + until)
            table = next((table for table in tables if table.start <= at < table.end), None)
            names = table is not None and at < table.rows
            if not names and sum(sign.isalnum() for sign in text[at:to]) >= _FEWEST:
                places.append((at, to, table.head if table else ""))
        start = end
    return tuple(places)


@lru_cache(maxsize=4096)
def _leads(text: str) -> dict[int, tuple[int, int]]:
    """Return by the start of a list's item the position of the list's introduction, if that negates."""
    leads: dict[int, tuple[int, int]] = {}
    denies = (_EXCLUDES, negation_pattern(language_of(text, "en")))
    lead, before = None, 0
    for start, end, _ in _cut(text):
        line = text.rfind("\n", 0, start) + 1
        if _ITEM_MARK.match(text, line) and lead is not None:
            leads[start] = lead
        elif lead is None or line >= before:
            last = max(start, text.rfind("\n", start, end) + 1)
            introduces = text[end - 1] not in {".", "!", "?", ";"}
            lead = (last, end) if introduces and any(pattern.search(text, last, end) for pattern in denies) else None
        before = end
    return leads


class _Table(NamedTuple):
    """The position of a table in a text."""

    start: int
    rows: int
    """Start of its rows."""
    end: int
    head: str
    """Names of its columns."""


def _tables(text: str) -> list[_Table]:
    tables = []
    for match in _TABLE.finditer(text):
        rows = _ROWS.match(text, match.end())
        if "|" in match["head"] and rows is not None and rows.end() > match.end():
            tables.append(_Table(match.start(), match.end(), rows.end(), match["head"].strip(_MARKS)))
    return tables


def _sentences(text: str, language: str) -> Iterator[tuple[int, int]]:
    """Yield the positions of an item's sentences. A paragraph of names with values is one sentence."""
    start = 0
    for end, after in [*(match.span() for match in _PARAGRAPH.finditer(text)), (len(text), len(text))]:
        if _is_row(text[start:end]):
            yield start, end
        else:
            yield from ((start + begin, start + until) for begin, until in _prose(text[start:end], language))
        start = after


def _prose(paragraph: str, language: str) -> Iterator[tuple[int, int]]:
    """Yield the positions of a paragraph's sentences; a heading line above them is a sentence by itself."""
    start = 0
    for match in [*_TITLE.finditer(paragraph), None]:
        end = len(paragraph) if match is None else match.start()
        yield from ((start + begin, start + until) for begin, until in _joined(paragraph[start:end], language))
        start = end
        if match is not None and len(match["title"].split()) <= _TITLE_WORDS:
            yield match.span("title")
            start = match.end("title")


def _joined(prose: str, language: str) -> Iterator[tuple[int, int]]:
    """Yield sentences; a label and the text after it on its line are one."""
    begun, end = 0, -1
    for sentence in sentences(prose, language=language, clauses=True, longest=_LONGEST_ROW):
        labelled = end >= 0 and prose[begun:end].endswith(":") and "\n" not in prose[end : sentence.start]
        if end >= 0 and not labelled:
            yield begun, end
        begun, end = (begun if labelled else sentence.start), sentence.end
    if end >= 0:
        yield begun, end


def _is_row(paragraph: str) -> bool:
    """Return whether it is a table's row, or every line is a name with its value; the first line may be its title."""
    row = paragraph.strip()
    lines = [line.lstrip(_MARKS).rstrip(_CLOSING) for line in row.split("\n")]  # a dash may be a value
    if len(lines) > _PAIRS and _OF.fullmatch(lines[0]):
        lines = lines[1:] if len(lines[0].split()) <= _TITLE_WORDS else lines
    if len(lines) >= _PAIRS:
        pairs = len(paragraph) <= _LONGEST_PAIRS and all(map(_ROW_LINE.fullmatch, lines))
        return pairs and any(not _NEXT.search(line) for line in lines)
    pair = _PAIR.fullmatch(lines[0]) is not None and not _NEXT.search(lines[0])
    return len(paragraph) <= _LONGEST_ROW and (pair or _CELLS.fullmatch(row) is not None)


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Trim the marks at both ends, except those whose partner is inside: `rate` | 5, **Note.** It is ..."""
    first, last = start, end
    while first < last and text[first] in _MARKS:
        first += 1
    while last > first and text[last - 1] in _CLOSING:
        last -= 1
    for mark in _PAIRED:
        if text[first:last].count(mark) % 2 == 0:
            continue
        if text.startswith(mark, first - len(mark)) and first - len(mark) >= start:
            first -= len(mark)
        elif text.startswith(mark, last) and last + len(mark) <= end:
            last += len(mark)
    return first, last

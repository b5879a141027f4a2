"""Passages cut into sentences: what is scored, and what is cited."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from coterie.extraction import Document
from coterie.types import Citation, Passage

_ITEM = re.compile(r"\n+(?=[ \t]*(?:```|(?:[-*+\u2022|#]|\(?\d{1,2}[.)]|\([a-z]{1,4}\))[ \t]*\S))")
"""A line that begins like a list's item, a table's row, a heading or a fence begins a sentence."""
_TABLE = re.compile(
    r"^(?P<head>[^\n]*\S)[ \t]*\n[ \t]*\|?(?:[ \t]*:?-{3,}:?[ \t]*\|)+(?:[ \t]*:?-{3,}:?)?[ \t]*\n", re.MULTILINE
)
"""The names of a table's columns, and the line under them."""
_ROWS = re.compile(r"(?:[^\n|]*\|[^\n]*(?:\n|$))*")
_CELLS = re.compile(r"\|[^\n]+\|")
"""A row between bars. What stands in a cell says nothing without those beside it."""
_PARAGRAPH = re.compile(r"\n[ \t\r]*\n\s*")
_PAIR = re.compile(r"[^\s:][^:\n.;!?]{0,59}:[ \t]+\S.*")
"""A line with a name and its value, as a row of a CSV file, an address and a price list have them."""
_NEXT = re.compile(r"[.;!?]\s+[A-Z]")
"""A value with this in it is prose."""
_TITLE = re.compile(
    r"(?:\A\s*|(?<=[.!?]\n)[ \t]*)(?P<title>[^\W_a-z][^\n]{0,58}[^\n.,;:!?\s|])[ \t]*\n(?=[ \t]*[\"'(\u201c]?[^\W_a-z])"
)
"""A short line without a sentence's end before one that begins a sentence: a heading of a plain text or a PDF."""
_TITLE_WORDS = 8
_LABEL = re.compile(r"[^:\n]{1,60}:[ \t._\u2026\u2610\[\]()-]*")
"""A label, and at most the marks that say where something is to be filled in."""
_BLANK = re.compile(r"[ \t]*(?:[_.\u2026]{3,}|\u2026|\u2610|\[[ \t]*\])")
"""Such marks."""
_LONGEST_ROW = 600
"""Characters."""
_MARKS = " \t\r\n#*|-+\u2022>_`:"
_CLOSING = " \t\r\n|*_`"
_PAIRED = ("`", "**", "__", "*", "_")
_FEWEST = 3
"""Letters and digits of what says anything."""


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence of a passage."""

    passage: Passage
    rank: int
    """The passage's place among those found, from 0."""
    start: int
    end: int
    """`start` and `end`: characters of the document's text."""
    text: str
    head: str = ""
    """The names of the columns, of a table's row: its values say nothing without them."""

    @property
    def said(self) -> str:
        """What it says to one who does not see where it stands."""
        return f"{self.head}: {self.text}" if self.head else self.text

    @property
    def bare(self) -> bool:
        """Whether it is a short line that is no sentence: a heading or a label."""
        text = self.text.rstrip()
        plain = not self.head and "\n" not in text and ": " not in text
        return plain and text[-1:] not in {".", "!", "?", ";"} and len(text.split()) <= _TITLE_WORDS

    @property
    def label(self) -> bool:
        """Whether it is a label with nothing behind it, as an empty form has them: it says nothing by itself."""
        return not self.head and len(self.text.split()) <= _TITLE_WORDS and _LABEL.fullmatch(self.text) is not None

    @property
    def unfilled(self) -> bool:
        """Whether it is a label before marks for what is to be filled in: nothing that follows is said of it."""
        colon = self.start - self.passage.start + self.text.find(":") + 1
        return self.label and _BLANK.match(self.passage.text, colon) is not None

    def cite(self) -> Citation:
        """Where it stands."""
        passage = self.passage
        return Citation(
            document=passage.document,
            start=self.start,
            end=self.end,
            text=self.text,
            label=passage.label,
            shelf=passage.shelf,
            heading=passage.heading,
            page=passage.page,
        )


def cut_passages(passages: Sequence[Passage]) -> list[Sentence]:
    """The sentences of passages, best passage first; what two passages share is there once, under the better one."""
    found: list[Sentence] = []
    taken: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for rank, passage in enumerate(passages):
        places = taken.setdefault((passage.shelf, passage.document), [])
        for start, end, head in _cut(passage.text, columns_above(passage)):
            at, to = passage.start + start, passage.start + end
            if any(at < other_end and other_start < to for other_start, other_end in places):
                continue
            places.append((at, to))
            text = passage.text[start:end]
            found.append(Sentence(passage=passage, rank=rank, start=at, end=to, text=text, head=head))
    return found


def columns_above(passage: Passage) -> str:
    """The names of the columns of a table that a passage begins inside of: they stand last in its heading."""
    last = passage.heading.rsplit(" > ", 1)[-1]
    return last if "|" in last and passage.text.lstrip().startswith("|") else ""


@lru_cache(maxsize=4096)
def _cut(text: str, above: str = "") -> tuple[tuple[int, int, str], ...]:
    """Where sentences stand, without the marks of lists and headings around them, and what their columns are called.

    `above` are the names of the columns of the rows that the text begins with, if it does.

    The names of columns are no sentence. Remembered, as one document is asked about again and again.
    """
    places: list[tuple[int, int, str]] = []
    tables = _tables(text)
    if above and (rows := _ROWS.match(text)) is not None:
        tables = [_Table(0, 0, rows.end(), above), *tables]
    start = 0
    for end in [*(match.start() for match in _ITEM.finditer(text)), len(text)]:
        for begin, until in _sentences(text[start:end]):
            at, to = _trim(text, start + begin, start + until)
            table = next((each for each in tables if each.start <= at < each.end), None)
            names = table is not None and at < table.rows
            if not names and sum(sign.isalnum() for sign in text[at:to]) >= _FEWEST:
                places.append((at, to, table.head if table else ""))
        start = end
    return tuple(places)


class _Table(NamedTuple):
    """Where a table stands in a text."""

    start: int
    rows: int
    """Where its rows begin."""
    end: int
    head: str
    """The names of its columns."""


def _tables(text: str) -> list[_Table]:
    found = []
    for match in _TABLE.finditer(text):
        rows = _ROWS.match(text, match.end())
        if "|" in match["head"] and rows is not None and rows.end() > match.end():
            found.append(_Table(match.start(), match.end(), rows.end(), match["head"].strip(_MARKS)))
    return found


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """Where the sentences of one item stand. A paragraph of names with values is one: a value says nothing alone."""
    start = 0
    for end, after in [*(match.span() for match in _PARAGRAPH.finditer(text)), (len(text), len(text))]:
        if _is_row(text[start:end]):
            yield start, end
        else:
            yield from ((start + begin, start + until) for begin, until in _prose(text[start:end]))
        start = after


def _prose(paragraph: str) -> Iterator[tuple[int, int]]:
    """Where the sentences of a paragraph stand; a line above them that is their heading is one by itself."""
    start = 0
    for match in [*_TITLE.finditer(paragraph), None]:
        end = len(paragraph) if match is None else match.start()
        yield from ((start + begin, start + until) for begin, until in _joined(paragraph[start:end]))
        start = end
        if match is not None and len(match["title"].split()) <= _TITLE_WORDS:
            yield match.span("title")
            start = match.end("title")


def _joined(prose: str) -> Iterator[tuple[int, int]]:
    """Sentences; a label and what stands behind it on its line are one."""
    begun, end = 0, -1
    for each in Document(prose).sentences:
        if end >= 0 and not (prose[end - 1] == ":" and "\n" not in prose[end : each.start]):
            yield begun, end
            end = -1
        begun, end = (each.start if end < 0 else begun), each.end
    if end >= 0:
        yield begun, end


def _is_row(paragraph: str) -> bool:
    """Whether it is a table's row, or every line is a name with its value."""
    row = paragraph.strip()
    return len(paragraph) <= _LONGEST_ROW and (
        _CELLS.fullmatch(row) is not None
        or all(_PAIR.fullmatch(line.strip(_MARKS)) and not _NEXT.search(line) for line in row.split("\n"))
    )


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Without the marks at both ends, but for those whose partner is inside: `rate` | 5, **Note.** It is ..."""
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

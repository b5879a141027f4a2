"""What reading a file gives: its text, where its headings stand and where its pages begin."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Unreadable(Exception):
    """A file that cannot be read, and why in a sentence. It is reported; it ends nothing."""


class Heading(NamedTuple):
    """A heading of a text: `text[start:end]` is the line or phrase that it stands in."""

    start: int
    end: int
    level: int
    """1 is the outermost."""
    title: str


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A file's text. Every offset counts characters of `text`."""

    text: str
    headings: tuple[Heading, ...] = ()
    """In the order of the text."""
    pages: tuple[int, ...] = ()
    """Where each page begins, the first at 0; empty for a file without pages."""
    note: str = ""
    """What the reader had to assume, such as an encoding that is not stated."""


_RAISED = str.maketrans("0123456789", "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


def raised(text: str) -> str:
    """A number that is printed raised, in raised digits: the mark of a note is no digit of the sum before it."""
    return text.translate(_RAISED) if text.strip().isdecimal() else text


class TextBuilder:
    """Builds a text piece by piece and keeps its marks right."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self._headings: list[Heading] = []
        self._pages: list[int] = []

    def write(self, text: str) -> None:
        """Text as it stands."""
        self._pieces.append(text)
        self._length += len(text)

    def paragraph(self, text: str, *, level: int | None = None) -> None:
        """A paragraph of its own, a heading if it has a level; nothing if it is blank."""
        text = text.strip()
        if not text:
            return
        start = self._length
        self.write(text)
        if level is not None:
            self._headings.append(Heading(start, self._length, level, " ".join(text.split())))
        self.write("\n\n")

    def page(self) -> None:
        """A page begins here."""
        self._pages.append(self._length)

    def parsed(self, *, note: str = "") -> Parsed:
        """Everything written so far."""
        return Parsed(text="".join(self._pieces), headings=tuple(self._headings), pages=tuple(self._pages), note=note)


# --- Suffixes of files that are read; `parse` has their parsers, which run in a process of their own.

SUFFIXES = frozenset(
    (".pdf", ".docx", ".html", ".htm", ".xhtml", ".md", ".markdown", ".txt", ".text", ".rst", ".csv", ".tsv")
)


# --- Tables as paragraphs: every row with the names of its columns.

_NAME_CHARACTERS, _NAME_WORDS = 60, 5
"""What names a column or a row is no longer than this."""
_FEWEST_ROWS, _FEWEST_COLUMNS = 2, 2
_LONG_ROW, _LONG_NAME = 100, 25
"""Pieces: a longer row would be cut anywhere, and what stands behind the cut would belong to nobody."""
_PIECE = re.compile(r"[^\W\d_]+|\d{1,2}|[^\w\s]|_")
"""About what an encoder takes for a token."""
_MOST_COLUMNS = 1000
"""A cell that says it spans more is taken to span this many."""


class Grid:
    """Cells put in their columns as they are read: one may span several columns, or rows below it."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []
        self.heads: list[bool] = []
        """Of each row, whether it says that it names columns."""
        self._below: dict[int, tuple[int, str]] = {}
        """By column: for how many more rows a cell above goes on, and its text."""

    def row(self) -> None:
        """A row begins."""
        self.rows.append([])
        self.heads.append(False)

    def cell(self, text: str, *, columns: int = 1, rows: int = 1) -> None:
        """The next cell of the row."""
        if not self.rows:
            self.row()
        self._carry()
        for _ in range(max(1, min(columns, _MOST_COLUMNS))):
            if rows > 1:
                self._below[len(self.rows[-1])] = (rows, text)
            self.rows[-1].append(text)

    def above(self) -> str:
        """What stands above the next cell of the row."""
        column = len(self.rows[-1]) if self.rows else 0
        return self.rows[-2][column] if len(self.rows) > 1 and column < len(self.rows[-2]) else ""

    def end_row(self) -> None:
        """The row is over."""
        if self.rows:
            self._carry()
            self._below = {column: (left - 1, text) for column, (left, text) in self._below.items() if left > 1}

    def _carry(self) -> None:
        """What cells above say of the columns that come next."""
        row = self.rows[-1]
        while len(row) in self._below and len(row) < _MOST_COLUMNS:
            row.append(self._below[len(row)][1])

    def paragraphs(self) -> Iterator[str]:
        """The table row by row; rows that name columns do so until the next such row."""
        names: Sequence[str] | None = None
        rows: list[list[str]] = []
        for row, head in zip(self.rows, self.heads, strict=True):
            if head and len(set(filter(None, row))) > 1:
                yield from table_paragraphs(rows, names=names)
                names, rows = row, []
            else:
                rows.append(row)
        if names is not None and len(rows) == 0:
            rows, names = [list(names)], ()
        yield from table_paragraphs(rows, names=names)


def table_paragraphs(rows: Sequence[Sequence[str]], *, names: Sequence[str] | None = None) -> Iterator[str]:
    """The rows of a table, each a paragraph.

    With the names of columns `name: cell` a line, as rows of CSV files have it. Where there are none, a row of two
    cells whose first one is a name is such a line, and any other one its cells beside each other.

    Args:
        rows: The cells of each row, blank ones included.
        names: Of the columns, none if it has no names. By default those of the first row, if that looks like names.
    """
    filled = [[" ".join(cell.split()) for cell in row] for row in rows]
    filled = [row for row in filled if any(row)]
    if names is None and _names_columns(filled):
        names, filled = filled[0], filled[1:]
    for row in filled:
        if names:
            titles = [" ".join(name.split()) for name in names]
            named = [*titles, *[""] * len(row)]
            yield from _short([f"{name}: {cell}" if name else cell for name, cell in _once(named, row) if cell])
            continue
        cells = [cell for cell in row if cell]
        yield ": ".join(cells) if len(cells) == 2 and _is_name(cells[0]) else " | ".join(cells)


def _short(lines: Sequence[str]) -> Iterator[str]:
    """A row as one paragraph; a long one as several, each of which begins with what the row is of."""
    lengths = [len(_PIECE.findall(line)) for line in lines]
    of = lines[:1] if lengths[0] <= _LONG_NAME else []
    piece, length = list(lines[:1]), lengths[0]
    for line, each in zip(lines[1:], lengths[1:], strict=True):
        if length + each > _LONG_ROW and len(piece) > len(of):
            yield "\n".join(piece)
            piece, length = list(of), lengths[0] if of else 0
        piece.append(line)
        length += each
    yield "\n".join(piece)


def _once(names: Sequence[str], row: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each column's name with its cell; one that spans several columns of one name is there once."""
    before = None
    for pair in zip(names, row, strict=False):
        if pair != before:
            yield pair
        before = pair


def _names_columns(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row looks like the names of columns: short words without numbers, one for every column."""
    if len(rows) < _FEWEST_ROWS or len(rows[0]) < _FEWEST_COLUMNS:
        return False
    first, rest = rows[0], rows[1:]
    if any(not _is_name(cell) or _has_digit(cell) for cell in first[1:]) or _has_digit(first[0]):
        return False
    if len(first) > _FEWEST_COLUMNS:
        return len(set(first)) == len(first)
    # Two columns may be names with their values: the second one must be of another kind below its name.
    return len(rest) >= _FEWEST_ROWS and all(_has_digit(row[1]) for row in rest if len(row) > 1 and row[1])


def _is_name(cell: str) -> bool:
    return bool(cell) and len(cell) <= _NAME_CHARACTERS and len(cell.split()) <= _NAME_WORDS and cell[-1] not in ".!?:"


def _has_digit(cell: str) -> bool:
    return any(sign.isdigit() for sign in cell)

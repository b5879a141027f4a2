"""The result of reading a file: its text, headings, tables, pages, and date, as far as the file states them.

A date is `2024`, `2024-05` or `2024-05-31`, as precise as it is known. An ambiguous date is None.

A row of a table is written as `name: cell` lines, like a row of a CSV file, so that it can be found, read and cited
without the rest of its table. Column names come from the file if it marks them, and else are inferred from
the cells.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath
from typing import NamedTuple

from coterie.text.language import language_of
from coterie.text.values import find_dates

_NAME_CHARACTERS, _NAME_WORDS = 100, 14
"""Most characters and words of a column name."""
_SHORT_NAME = 5
"""Most words of a column name that is recognised by its shortness alone."""
_MOST_HEAD_ROWS = 3
_LONG_ROW, _LONG_NAME = 180, 25
"""Most pieces of a row, and of its first cell when it is repeated.

A longer row would exceed the encoder's window, so it is written as several, each with its first cell.
"""
_PIECE = re.compile(r"[^\W\d_]+|\d{1,2}|[^\w\s]|_")
"""Approximately one token of an encoder."""
_MOST_COLUMNS = 1000
"""Most columns that a cell may span, whatever it says."""
_YEAR_ALONE = re.compile(r"(?:19|20)\d\d")
_MOST = 0.6
"""Share of a column's cells that have to be alike for the column to be of one kind."""
_LOOKED_AT = 200
"""Rows that are examined to tell whether the first ones name the columns."""


class TableRow(NamedTuple):
    """One row: its cells, and whether the file marks it as column names."""

    cells: list[str]
    widths: list[int]
    """For each column, the number of columns that its cell spans."""
    head: bool

    @property
    def title(self) -> str:
        """The text of a row that is one cell across the table; empty for any other row."""
        whole = len(self.cells) > 1 and self.widths[0] == len(self.cells)
        return self.cells[0] if whole else ""


class Grid:
    """Cells placed in their columns as they are read: a cell may span several columns or rows."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []
        self.heads: list[bool] = []
        """Of each row, whether the file says that it names columns."""
        self._widths: list[list[int]] = []
        self._below: dict[int, tuple[int, str, int]] = {}
        """By column: for how many more rows a cell above goes on, its text and its width."""

    def row(self, cells: Sequence[str] = (), *, head: bool = False) -> None:
        """Begin a row, with these cells if it is whole."""
        self.rows.append(list(cells))
        self._widths.append([1] * len(cells))
        self.heads.append(head)

    def cell(self, text: str, *, columns: int = 1, rows: int = 1) -> None:
        """Add the next cell of the row."""
        if not self.rows:
            self.row()
        self._carry()
        width = max(1, min(columns, _MOST_COLUMNS))
        for _ in range(width):
            if rows > 1:
                self._below[len(self.rows[-1])] = (rows, text, width)
            self.rows[-1].append(text)
            self._widths[-1].append(width)

    def fill(self, column: int) -> None:
        """Fill the row up to a column with the cells that span it from above, else with blank ones."""
        while len(self.rows[-1]) < column:
            self._carry()
            if len(self.rows[-1]) < column:
                self.cell("")

    def above(self) -> str:
        """Return the text above the next cell of the row."""
        column = len(self.rows[-1]) if self.rows else 0
        return self.rows[-2][column] if len(self.rows) > 1 and column < len(self.rows[-2]) else ""

    def end_row(self) -> None:
        """End the row."""
        if self.rows:
            self._carry()
            self._below = {at: (left - 1, text, width) for at, (left, text, width) in self._below.items() if left > 1}

    def _carry(self) -> None:
        """Add the cells from above that span the next columns."""
        row = self.rows[-1]
        while len(row) in self._below and len(row) < _MOST_COLUMNS:
            _, text, width = self._below[len(row)]
            row.append(text)
            self._widths[-1].append(width)

    def paragraphs(self, names: Sequence[str] | None = None) -> Iterator[str]:
        """Yield the table row by row.

        Rows of column names apply until the next such row; a repeated one, as after a page break, is left out. A cell
        across the table is a heading of the rows below it.

        Args:
            names: Column names, if something outside the table gives them; empty for none.
        """
        rows = [
            TableRow([" ".join(cell.split()) for cell in cells], widths, head)
            for cells, widths, head in zip(self.rows, self._widths, self.heads, strict=True)
        ]
        rows = [row for row in rows if any(row.cells)]
        titled, table = "", _Named(names)
        for block in _blocks(rows, guess=names is None):
            if isinstance(block, str):
                yield from [titled] if titled else []
                titled = block
                table.section = block if len(block) <= _NAME_CHARACTERS else ""
                continue
            head, body = block
            if head:
                table.names = _joined(head)
                body = [row for row in body if all(row.cells != header.cells for header in head)]
                if not body:
                    body, table.names = head, []
            for row in body:
                titled = "" if table.section else titled
                yield from table.of(row.cells)
        yield from [titled] if titled else []

    def names(self) -> list[str]:
        """Return the names of the last columns that have any; empty for a table without names."""
        rows = [TableRow(*parts) for parts in zip(self.rows, self._widths, self.heads, strict=True) if any(parts[0])]
        heads = [block[0] for block in _blocks(rows, guess=True) if not isinstance(block, str) and block[0]]
        return _joined(heads[-1]) if heads else []


class _Named:
    """Writes rows with their column names and with the heading that stands across the table."""

    def __init__(self, names: Sequence[str] | None) -> None:
        self.names: Sequence[str] = names or ()
        self.section = ""

    def of(self, row: Sequence[str]) -> Iterator[str]:
        if self.names:
            titles = [" ".join(name.split()).rstrip(" :").replace(": ", " ") for name in self.names]
            lines = [
                f"{name}: {cell}" if name else cell for name, cell in _once([*titles, *[""] * len(row)], row) if cell
            ]
            if lines and self.section:
                bare = not titles[0] and bool(row[0])
                lines = [f"{self.section}, {lines[0]}", *lines[1:]] if bare else [self.section, *lines]
            yield from _short(lines) if lines else ()
            return
        cells = [cell for cell in row if cell]
        pair = len(cells) == 2 and _is_name(cells[0], _NAME_WORDS)
        text = f"{cells[0].rstrip(' :')}: {cells[1]}" if pair else " | ".join(cells)
        yield f"{self.section}\n{text}" if self.section else text


def _blocks(rows: Sequence[TableRow], *, guess: bool) -> Iterator[str | tuple[list[TableRow], list[TableRow]]]:
    """Yield the headings across the table, and between them rows of column names with the rows below them."""
    if guess and not any(row.head and not row.title for row in rows):
        rows = _grouped(rows)
        plain = [row for row in rows[:_LOOKED_AT] if not row.title]
        named = {id(row) for row in plain[: _head_rows(plain)]}
        rows = [row._replace(head=id(row) in named) for row in rows]
    elif guess:
        rows = _parts_of_groups(rows)
    head: list[TableRow] = []
    body: list[TableRow] = []
    for row in rows:
        if body and (row.title or row.head):
            yield head, body
            head, body = [], []
        if row.title:
            yield row.title
        else:
            (head if row.head else body).append(row)
    if head or body:
        yield head, body


def _parts_of_groups(rows: Sequence[TableRow]) -> list[TableRow]:
    """Return the rows; below a name row with a group of columns, the next row becomes a name row for its parts."""
    merged = list(rows)
    for at, (row, below) in enumerate(pairwise(rows)):
        group = row.head and not row.title and any(width > 1 for width in row.widths)
        valued = any(_has_digit(cell) for row in rows[at + 2 : at + _LOOKED_AT] for cell in row.cells[1:])
        if group and valued and all(_YEAR_ALONE.fullmatch(cell) or not _has_digit(cell) for cell in below.cells):
            merged[at + 1] = below._replace(head=True)
    return merged


def _grouped(rows: Sequence[TableRow]) -> Sequence[TableRow]:
    """Return the rows; if the names below the first row recur, its names span all columns up to the next name."""
    if len(rows) < _MOST_HEAD_ROWS or len(rows[0].cells) != len(rows[1].cells):
        return rows
    above, below = rows[0].cells, rows[1].cells
    recur = all(below[1:]) and len(set(below[1:])) < len(below[1:])
    if not recur or max(rows[0].widths) > 1 or "" not in above[1:] or any(map(_has_digit, (*above, *below))):
        return rows
    cells, widths = list(above), [1] * len(above)
    for at in range(1, len(cells)):
        if not cells[at] and cells[at - 1]:
            cells[at], widths[at] = cells[at - 1], 2
    return [rows[0]._replace(cells=cells, widths=widths), *rows[1:]]


def _joined(head: Sequence[TableRow]) -> list[str]:
    """Return one name a column from rows of column names: the group's name stands before its part's."""
    width = max(len(row.cells) for row in head)
    columns = ([row.cells[at] if at < len(row.cells) else "" for row in head] for at in range(width))
    return [" ".join(dict.fromkeys(filter(None, column))) for column in columns]


def _head_rows(rows: Sequence[TableRow]) -> int:
    """Return how many rows at the top name the columns, inferred from their cells and the cells below."""
    depth = 1
    while depth < min(_MOST_HEAD_ROWS, len(rows) - 1) and any(
        width > 1 and cell for width, cell in zip(rows[depth - 1].widths, rows[depth - 1].cells, strict=True)
    ):
        depth += 1
    if depth >= len(rows) or len(rows[0].cells) < 2:
        return 0
    return depth if _names_columns(_joined(rows[:depth]), [row.cells for row in rows[depth:]]) else 0


def _names_columns(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Return whether a row names the columns of the rows below: its cells are of another kind than theirs."""
    names = [name for name in first if name]
    unlike = len(set(names)) == len(names) and len(names) * 2 >= len(first)
    if not unlike or not all(_is_name(name, _NAME_WORDS) for name in names):
        return False
    if not first[0] and all(first[1:]) and len(first) > 2 and all(row[0] for row in rest if row):
        return True  # the corner of a table with names above and beside
    other = alike = 0
    for at, name in enumerate(first):
        cells = [row[at] for row in rest if at < len(row) and row[at]]
        if not name or not cells:
            continue
        valued = [cell for cell in cells if _has_digit(cell)]
        shape, count = Counter(map(_shape, valued)).most_common(1)[0] if valued else ("", 0)
        same = len(valued) >= _MOST * len(cells) and count >= _MOST * len(valued)
        few = len(first) == 2 and len(valued) < 2  # two columns may be names with their values
        if _has_digit(name) and _shape(name) == shape:
            alike += 1
        elif same and not few and (not _has_digit(name) or len(valued) > 1 or _YEAR_ALONE.fullmatch(name)):
            other += 1
    if alike or other:
        return other > 0 and not alike
    if len(first) > 2 and _beside(first, rest):
        return True
    return len(first) > 2 and all(first[1:]) and all(_is_name(n, _SHORT_NAME) and not _has_digit(n) for n in names)


def _beside(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Return whether rows have names like columns, each for a kind of value, and the first row is no such row."""
    several = [row[1:] for row in rest if sum(map(bool, row[1:])) > 1]
    alike = sum(map(_of_one_kind, several))
    names = {_shape(cell) for cell in first[1:]}.isdisjoint(_shape(cell) for row in several for cell in row)
    above = not _of_one_kind(first[1:]) or (names and all(cell[:1].isalpha() for cell in first[1:]))
    return bool(several) and alike >= _MOST * len(several) and above


def _of_one_kind(cells: Sequence[str]) -> bool:
    """Return whether all non-blank cells of a row are values of one kind."""
    filled = [cell for cell in cells if cell]
    return all(map(_has_digit, filled)) and len({_shape(cell) for cell in filled}) == 1


def _shape(cell: str) -> str:
    """Return a cell without digits, blanks and points: amounts of one currency are alike, and years only like years."""
    return "year" if _YEAR_ALONE.fullmatch(cell) else re.sub(r"[\d\s.,'\u2019+-]+", "", cell)


def _short(lines: Sequence[str]) -> Iterator[str]:
    """Yield a row as one paragraph; a row that is too long as several, each beginning with the row's first cell."""
    lengths = [len(_PIECE.findall(line)) for line in lines]
    of = lines[:1] if lengths[0] <= _LONG_NAME else []
    piece, length = list(lines[:1]), lengths[0]
    for line, size in zip(lines[1:], lengths[1:], strict=True):
        if length + size > _LONG_ROW and len(piece) > len(of):
            yield "\n".join(piece)
            piece, length = list(of), lengths[0] if of else 0
        piece.append(line)
        length += size
    yield "\n".join(piece)


def _once(names: Sequence[str], row: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each column's name with its cell; a cell that spans several columns of one name is yielded once."""
    before = None
    for pair in zip(names, row, strict=False):
        if pair != before:
            yield pair
        before = pair


def _is_name(cell: str, words: int) -> bool:
    return bool(cell) and len(cell) <= _NAME_CHARACTERS and len(cell.split()) <= words and cell[-1] not in "!?;"


def _has_digit(cell: str) -> bool:
    return any(sign.isdigit() for sign in cell)


# --- The result of reading a file: its text, headings, pages, and date, as far as the file states them.


class Unreadable(Exception):
    """A file that cannot be read, with the reason as a sentence. It is reported and does not stop the indexing."""


class Heading(NamedTuple):
    """A heading of a text: `text[start:end]` is the line or phrase that contains it."""

    start: int
    end: int
    level: int
    """Level of the heading; 1 is the outermost."""
    title: str


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A file's text. Every offset counts characters of `text`."""

    text: str
    headings: tuple[Heading, ...] = ()
    """Headings in the order of the text."""
    pages: tuple[int, ...] = ()
    """Start of each page, the first at 0; empty for a file without pages."""
    rows: tuple[tuple[int, int], ...] = ()
    """Start and end of each row of a table, in the order of the text: a row is never cut."""
    dated: str | None = None
    """Date of the last change according to the metadata: `2024`, `2024-05` or `2024-05-31`."""
    note: str = ""
    """Assumptions of the reader, such as an encoding that is not stated."""


_RAISED = str.maketrans("0123456789", "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


def raised(text: str) -> str:
    """Return a superscript number in superscript digits, so that a note mark is not read as part of an amount."""
    return text.translate(_RAISED) if text.strip().isdecimal() else text


BULLET = "- "
"""Mark of a list's item, as Markdown has it: an item means what its introduction makes of it ("Not included:")."""


class TextBuilder:
    """Builds a text piece by piece and keeps the offsets of its headings, pages and rows."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self._headings: list[Heading] = []
        self._pages: list[int] = []
        self._rows: list[tuple[int, int]] = []

    def write(self, text: str) -> None:
        """Append text as it is."""
        self._pieces.append(text)
        self._length += len(text)

    def paragraph(self, text: str, *, level: int | None = None) -> None:
        """Append a paragraph, a heading if it has a level; nothing if it is blank."""
        text = text.strip()
        if not text:
            return
        start = self._length
        self.write(text)
        if level is not None:
            self._headings.append(Heading(start, self._length, level, " ".join(text.split())))
        self.write("\n\n")

    def rows(self, paragraphs: Iterable[str]) -> None:
        """Append rows of a table, each a paragraph that is never cut."""
        for text in paragraphs:
            start = self._length
            self.paragraph(text)
            if self._length > start:
                self._rows.append((start, self._length - 2))

    def page(self) -> None:
        """Begin a page."""
        self._pages.append(self._length)

    def parsed(self, *, note: str = "", dated: str | None = None) -> Parsed:
        """Return everything written so far."""
        return Parsed(
            text="".join(self._pieces),
            headings=tuple(self._headings),
            pages=tuple(self._pages),
            rows=tuple(self._rows),
            dated=dated,
            note=note,
        )


# --- Suffixes of files that are read; `parse` has their parsers, which run in a process of their own.

SUFFIXES = frozenset(
    (
        *(".pdf", ".docx", ".pptx", ".xlsx", ".xlsm", ".html", ".htm", ".xhtml"),
        *(".md", ".markdown", ".txt", ".text", ".rst", ".csv", ".tsv"),
    )
)


_HEAD = 400
"""Characters at the beginning of a text that are searched for its date."""
_COMPACT = re.compile(r"(?<!\d)((?:19|20)\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?!\d)")
_JOINED = re.compile(r"(?<!\d)[-_]|[-_](?!\d)")
"""Characters that join words, but not digits, in a file name."""
_MONTH = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_./](0[1-9]|1[0-2])(?![\d])")
_YEAR = re.compile(r"(?<![\d.,-])((?:19|20)\d\d)(?![\d]|[.,]\d)")
_FIGURES = re.compile(r"(?<!\d)\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(?!\d)")


def document_date(name: str, parsed: Parsed) -> str | None:
    """Return the date of a document with this name; None if it is unknown or ambiguous."""
    language = language_of(parsed.text, "") or None
    end = min([_HEAD, *(start for start, _ in parsed.rows[:1])])
    head = parsed.text[:end]
    title = parsed.headings[0].title if parsed.headings else head.strip().partition("\n")[0]
    file = _JOINED.sub(" ", _COMPACT.sub(r"\1-\2-\3", PurePath(name).stem))
    for text, years in ((file, True), (title, not title.endswith((".", "!", "?"))), (head, False)):
        days = {date.value for date in find_dates(text, language)}
        if len(days) < len({*_FIGURES.findall(text)}):
            return None  # in figures that can be read in two ways
        dates_by_kind = [days, {"-".join(parts) for parts in _MONTH.findall(text)}, {*_YEAR.findall(text)}]
        for dates in dates_by_kind if years else dates_by_kind[:1]:
            if len(dates) == 1:
                return str(dates.pop())
            if dates:
                break  # several: nothing says which one counts
    return parsed.dated


def newest(dates: Sequence[str | None]) -> int | None:
    """Return the position of the latest date; None if a date is unknown, or two cannot be told apart."""
    known_dates = [date for date in dates if date]
    if len(known_dates) < len(dates) or not known_dates:
        return None
    last = max(range(len(known_dates)), key=lambda at: known_dates[at])
    others = (date for at, date in enumerate(known_dates) if at != last)
    least = all(date[: len(known_dates[last])] < known_dates[last][: len(date)] for date in others)
    return last if least else None

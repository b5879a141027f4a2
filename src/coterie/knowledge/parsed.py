"""The result of reading a file: its text, headings, pages, and date, as far as the file states them.

A date is `2024`, `2024-05` or `2024-05-31`, as precise as it is known. An ambiguous date is None.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import NamedTuple

from coterie.text.dates import find_dates
from coterie.text.language import language_of


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

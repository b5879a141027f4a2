"""What reading a file gives: its text, where its headings stand and where its pages begin."""

from __future__ import annotations

from collections.abc import Iterable
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
    rows: tuple[tuple[int, int], ...] = ()
    """Start and end of each row of a table, in the order of the text: a row is never cut."""
    dated: str | None = None
    """When its metadata say it was last changed: `2024`, `2024-05` or `2024-05-31`."""
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
        self._rows: list[tuple[int, int]] = []

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

    def rows(self, paragraphs: Iterable[str]) -> None:
        """Rows of a table, each a paragraph that is never cut."""
        for text in paragraphs:
            start = self._length
            self.paragraph(text)
            if self._length > start:
                self._rows.append((start, self._length - 2))

    def page(self) -> None:
        """A page begins here."""
        self._pages.append(self._length)

    def parsed(self, *, note: str = "", dated: str | None = None) -> Parsed:
        """Everything written so far."""
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

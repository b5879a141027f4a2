"""Text, Markdown and CSV, with nothing but the standard library."""

from __future__ import annotations

import codecs
import csv
import io
import re

from ._parsed import Heading, Parsed, Unreadable, Writer

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MOST_CONTROLS = 0.01
"""Share of control characters from which a file is taken for binary."""
_MARKDOWN_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$", re.MULTILINE)
_UNDERLINED = re.compile(r"^ {0,3}(\S[^\n]*)\n {0,3}(=+|-{3,})[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r"^ {0,3}(```|~~~).*?(?:^ {0,3}\1|\Z)", re.MULTILINE | re.DOTALL)


def decode(content: bytes, *, stated: str | None = None) -> tuple[str, str]:
    """The text of these bytes, with a note when its encoding had to be guessed.

    A byte-order mark decides, then what the file states, then UTF-8; what is none of these is read as Windows-1252,
    which most old Western files are, and the note says so.

    Raises:
        Unreadable: it is no text.
    """
    name = next((name for mark, name in _BOMS if content.startswith(mark)), None) or stated or "utf-8"
    note = ""
    try:
        text = content.decode(name)
    except (UnicodeDecodeError, LookupError):
        text = content.decode("cp1252", "replace")
        note = f"not valid {name}: read as Windows-1252"
    controls = sum(text.count(mark) for mark in map(chr, (*range(9), *range(14, 27), 28, 29, 30, 31, 127)))
    if controls > _MOST_CONTROLS * len(text) + 1:
        raise Unreadable("it is no text: it holds control characters")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", " "), note


def parse_text(content: bytes) -> Parsed:
    """Plain text, as it stands."""
    text, note = decode(content)
    return Parsed(text=text, note=note)


def parse_markdown(content: bytes) -> Parsed:
    """Markdown as it stands, with its headings, except what looks like one inside a code fence."""
    text, note = decode(content)
    fences = [match.span() for match in _FENCE.finditer(text)]
    found = [Heading(m.start(), m.end(), len(m[1]), m[2]) for m in _MARKDOWN_HEADING.finditer(text)]
    found += [Heading(m.start(), m.end(), 1 if m[2][0] == "=" else 2, m[1].strip()) for m in _UNDERLINED.finditer(text)]
    headings = sorted(each for each in found if each.title and not any(a <= each.start < b for a, b in fences))
    return Parsed(text=text, headings=tuple(headings), note=note)


def parse_csv(content: bytes) -> Parsed:
    """A paragraph a row, `column: value` a line, so that each row can be read without the first one."""
    text, note = decode(content)
    csv.field_size_limit(len(text) + 1)
    try:
        dialect = csv.Sniffer().sniff(text[:8192], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel
    try:
        rows = [row for row in csv.reader(io.StringIO(text), dialect) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise Unreadable(f"it is no CSV: {error}") from error
    writer = Writer()
    columns = rows[0] if rows else []
    for row in rows[1:]:
        pairs = ((columns[i] if i < len(columns) else f"column {i + 1}", cell) for i, cell in enumerate(row))
        writer.paragraph("\n".join(f"{name.strip()}: {cell.strip()}" for name, cell in pairs if cell.strip()))
    return writer.parsed(note=note)

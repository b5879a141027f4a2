"""Plain text, Markdown, RST and CSV."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from markdown_it import MarkdownIt

from coterie.knowledge.parsed import Heading, Parsed, TextBuilder, Unreadable
from coterie.knowledge.tables import Grid

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MOST_CONTROLS = 0.01
"""Share of control characters from which a file is taken for binary."""
_SAMPLE, _WIDE = 4096, 0.4
"""Bytes that are looked at, and the share of letters of which one byte is zero, to take a text for UTF-16."""
_AS_BROWSERS_DO = dict.fromkeys(("iso-8859-1", "iso8859-1", "latin1", "latin-1", "us-ascii", "ascii"), "cp1252")
"""Names that pages give Windows-1252 (WHATWG Encoding, "labels")."""
_MOST_MARKED, _FEW_MARKED = 0.4, 4
"""Bytes beyond ASCII for a letter, and some more, that Windows-1252 has at most: Icelandic has one for seven."""
_MARKDOWN = MarkdownIt("commonmark").enable("table").disable(["inline", "list"])
"""Blocks alone: what stands within a line makes no heading, and lists would cost more than all the rest."""
_ITEM = re.compile(r"(?:[-*+]|\d+[.)])[ \t]")
_LINE_END = re.compile(r"\n|\Z")
_SHORT_LINE = 2
"""Dashes that make no line."""
_FRONT_MATTER = re.compile(r"\A(---|\+\+\+)[ \t]*\n(?:.*\n)*?(?:\1|\.\.\.)[ \t]*(?:\n|\Z)")
"""What generators of sites keep at the top of a file: names and values, no Markdown."""
_TITLE = re.compile(r"""^title[ \t]*[:=][ \t]*(["']?)(?P<title>\S.*?)\1[ \t]*$""", re.MULTILINE | re.IGNORECASE)
_DELIMITERS = ",;\t|"
_SEPARATOR = re.compile(r"\Asep=(.)\n", re.IGNORECASE)
"""What Excel writes above the first row."""
_RST_HEADING = re.compile(
    r"^(?:(([=\-`:'\"~^_*+#<>.])\2{2,})\n)?[ ]?(\S[^\n]*)\n(([=\-`:'\"~^_*+#<>.])\5{2,})[ \t]*$", re.MULTILINE
)
_NUMBER = re.compile(r"[-+]?[\d.,'\u2019 ]*\d[\d.,]*%?")


def decode(content: bytes, *, stated: str | None = None) -> tuple[str, str]:
    """The text of these bytes, with a note when its encoding had to be guessed.

    A byte-order mark decides, then UTF-8 (a text in another encoding is next to never valid UTF-8 by chance), then what
    the file states; what is none of these is read as Windows-1252, which most old Western files are, and that is noted.

    Raises:
        Unreadable: it is no text, or none that can be read.
    """
    name = next((name for mark, name in _BOMS if content.startswith(mark)), None) or _wide(content)
    note = ""
    if name is None and stated is not None and not _is_utf8(content):
        name = _AS_BROWSERS_DO.get(stated.lower(), stated)
    try:
        text = content.decode(name or "utf-8")
    except (UnicodeDecodeError, LookupError):
        text = content.decode("cp1252", "replace")
        letters = sum(character.isalpha() for character in text)
        if sum(byte > 127 for byte in content) > _MOST_MARKED * letters + _FEW_MARKED:
            raise Unreadable(
                f"not valid {name or 'utf-8'}, and no Western text in another encoding: save it as UTF-8"
            ) from None
        note = f"not valid {name or 'utf-8'}: read as Windows-1252"
    controls = sum(text.count(mark) for mark in map(chr, (*range(9), *range(14, 27), 28, 29, 30, 31, 127)))
    if controls > _MOST_CONTROLS * len(text) + 1:
        raise Unreadable("it is no text: it holds control characters")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", " "), note


def _is_utf8(content: bytes) -> bool:
    """Whether it is UTF-8 and could be nothing else."""
    try:
        return not content.isascii() and bool(content.decode())
    except UnicodeDecodeError:
        return False


def _wide(content: bytes) -> str | None:
    """UTF-16 that does not say so: every other byte of what Western letters are in is zero."""
    start = content[:_SAMPLE]
    if len(start) < 2 or len(content) % 2:
        return None
    high, low = start[0::2].count(0), start[1::2].count(0)
    if max(high, low) < _WIDE * len(start) / 2 or min(high, low):
        return None
    return "utf-16-be" if high > low else "utf-16-le"


def parse_text(content: bytes) -> Parsed:
    """Plain text, as it stands."""
    text, note = decode(content)
    return Parsed(text=text, note=note)


def parse_rst(content: bytes) -> Parsed:
    """RST as it stands, with its headings: lines with a line of signs below them, a level a sign."""
    text, note = decode(content)
    signs: list[str] = []
    headings = []
    for match in _RST_HEADING.finditer(text):
        over, title, under = match[2] or "", match[3].rstrip(), match[4]
        if len(under) >= len(title) and re.search(r"\w", title) and over in {"", match[5]}:
            style = over + match[5]
            signs += [style] if style not in signs else []
            headings.append(Heading(match.start(), match.end(), signs.index(style) + 1, title))
    return Parsed(text=text, headings=tuple(headings), note=note)


def parse_markdown(content: bytes) -> Parsed:
    """Markdown as it stands, with its headings (CommonMark), but for those in quotes.

    A title in the front matter stands above all headings.
    """
    text, note = decode(content)
    front = _FRONT_MATTER.match(text)
    headings = list(_markdown_headings(text, front.end() if front else 0))
    title = _TITLE.search(text, 0, front.end()) if front else None
    if title and title["title"] not in {heading.title for heading in headings}:
        below = (Heading(start, end, level + 1, words) for start, end, level, words in headings)
        headings = [Heading(title.start(), title.end(), 1, title["title"]), *below]
    return Parsed(text=text, headings=tuple(headings), note=note)


def _markdown_headings(text: str, start: int) -> Iterator[Heading]:
    """The headings behind a place of a text.

    CommonMark makes a heading of any paragraph that dashes stand below. Of several lines, of an item, or with one or
    two dashes, they are meant as a line across the page or as a signature.
    """
    ends = [start + match.start() for match in _LINE_END.finditer(text[start:])]
    tokens = _MARKDOWN.parse(text[start:])
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open" or opening.level or opening.map is None or not inline.content:
            continue
        first, last = opening.map[0], opening.map[1] - 1
        begin, end = ends[first - 1] + 1 if first else start, ends[last]
        underline = text[ends[last - 1] + 1 : end].strip()
        alone = last - first == 1 and len(underline) > _SHORT_LINE and not _ITEM.match(inline.content)
        if opening.markup != "-" or alone:
            yield Heading(begin, end, int(opening.tag[1]), " ".join(inline.content.split()))


def parse_csv(content: bytes) -> Parsed:
    """A paragraph a row, `column: value` a line, so that each row can be read without the first one."""
    text, note = decode(content)
    csv.field_size_limit(len(text) + 1)
    said = _SEPARATOR.match(text)
    try:
        rows = _rows(text[said.end() :], said[1]) if said else _rows(text, _delimiter(text))
    except csv.Error as error:
        raise Unreadable(f"it is no CSV: {error}") from error
    writer, width = TextBuilder(), max(map(len, rows), default=0)
    while len(rows) > 1 and width > 2 and sum(map(bool, rows[0])) == 1 and len(rows[1]) > 1:  # a title above the table
        writer.paragraph(next(filter(None, rows.pop(0))))
    first = rows[0] if rows else []
    valued = len(first) == 2 and any(map(str.isdigit, first[1])) and not _is_number(first[1])
    names = [] if valued or all(map(_is_number, first)) else first
    columns = [*names, *(f"column {at + 1}" for at in range(len(names), width))] if names or not valued else []
    grid = Grid()
    for row in rows[bool(names) :]:
        grid.row(row)
    writer.rows(grid.paragraphs(columns))
    return writer.parsed(note=note)


def _rows(text: str, delimiter: str) -> list[list[str]]:
    """The rows that say anything. Raises `csv.Error`."""
    found = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    return [row for row in found if any(cell.strip() for cell in row)]


def _delimiter(text: str) -> str:
    """The sign that cuts most of the first rows into the same number of cells; of several the one with more cells.

    Python's own `csv.Sniffer` takes quotes within quotes for an end, and finds signs that are none.
    """
    start, best = text[:_SAMPLE], (0.0, 0, ",")
    for delimiter in _DELIMITERS:
        try:
            widths = Counter(len(row) for row in _rows(start, delimiter)[: -1 if len(text) > _SAMPLE else None])
        except csv.Error:
            continue
        several = [(count, width) for width, count in widths.items() if width > 1]
        if several:
            count, width = max(several)
            best = max(best, (count / widths.total(), width, delimiter), key=lambda each: each[:2])
    return best[2]


def _is_number(cell: str) -> bool:
    """Whether a cell is a number or blank: a row of such names no columns."""
    return not cell.strip() or _NUMBER.fullmatch(cell.strip()) is not None

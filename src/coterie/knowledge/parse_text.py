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
from coterie.text.language import evidence

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MOST_CONTROLS = 0.01
"""Share of control characters above which a file counts as binary."""
_SAMPLE, _WIDE = 4096, 0.4
"""Bytes to examine, and the share of letters with one zero byte, from which a text counts as UTF-16."""
_AS_BROWSERS_DO = dict.fromkeys(("iso-8859-1", "iso8859-1", "latin1", "latin-1", "us-ascii", "ascii"), "cp1252")
"""Encoding names that web pages use for Windows-1252 (WHATWG Encoding, "labels")."""
_MOST_MARKED, _FEW_MARKED = 0.4, 4
"""Most non-ASCII bytes a letter, and some more, of a Windows-1252 text: Icelandic has one in seven."""
_WESTERN = "cp1252"
_ENCODINGS = {
    _WESTERN: "Windows-1252",
    "cp1250": "Windows-1250",
    "iso8859_2": "ISO 8859-2",
    "cp1254": "Windows-1254",
}
"""Encodings of Latin letters that may be guessed. In Cyrillic ones Greek and Hebrew bytes look like words, too."""
_CLEARER = 1.0
"""Evidence by which another encoding than Windows-1252 must lead.

Of 38 sentences of 17 languages the right one leads by 1.6 or more, and no other one leads Windows-1252 by .3.
"""
_MARKED = re.compile(rb"[\x80-\xff]")
_UNREADABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufffd]")
_MARKDOWN = MarkdownIt("commonmark").enable("table").disable(["inline", "list"])
"""A parser of blocks alone: inline markup makes no heading, and lists would cost more than all the rest."""
_ITEM = re.compile(r"(?:[-*+]|\d+[.)])[ \t]")
_LINE_END = re.compile(r"\n|\Z")
_SHORT_LINE = 2
"""Number of dashes up to which they form no underline."""
_FRONT_MATTER = re.compile(r"\A(---|\+\+\+)[ \t]*\n(?:.*\n)*?(?:\1|\.\.\.)[ \t]*(?:\n|\Z)")
"""Front matter of site generators at the top of a file: names and values, no Markdown."""
_TITLE = re.compile(r"""^title[ \t]*[:=][ \t]*(["']?)(?P<title>\S.*?)\1[ \t]*$""", re.MULTILINE | re.IGNORECASE)
_DELIMITERS = ",;\t|"
_SEPARATOR = re.compile(r"\Asep=(.)\n", re.IGNORECASE)
"""The separator line that Excel writes above the first row."""
_RST_HEADING = re.compile(
    r"^(?:(([=\-`:'\"~^_*+#<>.])\2{2,})\n)?[ ]?(\S[^\n]*)\n(([=\-`:'\"~^_*+#<>.])\5{2,})[ \t]*$", re.MULTILINE
)
_NUMBER = re.compile(r"[-+]?[\d.,'\u2019 ]*\d[\d.,]*%?")


def decode(content: bytes, *, stated: str | None = None) -> tuple[str, str]:
    """Decode bytes; return the text, with a note if its encoding had to be guessed.

    A byte-order mark decides, then UTF-8 (text in another encoding is hardly ever valid UTF-8 by chance), then
    the encoding that the file states. Anything else is read as Windows-1252, as most old Western files are, or as
    the encoding in which its words are those of a language, and noted.

    Raises:
        Unreadable: it is not text, or cannot be decoded.
    """
    name = next((name for mark, name in _BOMS if content.startswith(mark)), None) or _wide(content)
    note = ""
    if name is None and stated is not None and not _is_utf8(content):
        name = _AS_BROWSERS_DO.get(stated.lower(), stated)
    try:
        text = content.decode(name or "utf-8")
    except (UnicodeDecodeError, LookupError):
        guessed = _guess(content)
        text = content.decode(guessed, "replace")
        letters = sum(character.isalpha() for character in text)
        if sum(byte > 127 for byte in content) > _MOST_MARKED * letters + _FEW_MARKED:
            raise Unreadable(
                f"not valid {name or 'utf-8'}, and no Western text in another encoding: save it as UTF-8"
            ) from None
        note = f"not valid {name or 'utf-8'}: read as {_ENCODINGS[guessed]}"
    controls = sum(text.count(mark) for mark in map(chr, (*range(9), *range(14, 27), 28, 29, 30, 31, 127)))
    if controls > _MOST_CONTROLS * len(text) + 1:
        raise Unreadable("it is no text: it holds control characters")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", " "), note


def _guess(content: bytes) -> str:
    """Return the encoding of bytes in which the words are most clearly those of a language.

    Windows-1252 where no other one leads by `_CLEARER`.
    """
    first = _MARKED.search(content)
    start = max(0, first.start() - _SAMPLE // 2) if first else 0
    sample = content[start : start + _SAMPLE]
    clear: dict[str, float] = {}
    for name in _ENCODINGS:
        text = sample.decode(name, "replace")
        if name == _WESTERN or not _UNREADABLE.search(text):
            clear[name] = evidence(text) + _CLEARER * (name == _WESTERN)
    return max(clear, key=clear.__getitem__)


def _is_utf8(content: bytes) -> bool:
    """Return whether the bytes are UTF-8 and cannot be anything else."""
    try:
        return not content.isascii() and bool(content.decode())
    except UnicodeDecodeError:
        return False


def _wide(content: bytes) -> str | None:
    """Return the byte order of UTF-16 without a mark: in Western text every other byte is zero. None for others."""
    start = content[:_SAMPLE]
    if len(start) < 2 or len(content) % 2:
        return None
    high, low = start[0::2].count(0), start[1::2].count(0)
    if max(high, low) < _WIDE * len(start) / 2 or min(high, low):
        return None
    return "utf-16-be" if high > low else "utf-16-le"


def parse_text(content: bytes) -> Parsed:
    """Return plain text as it is."""
    text, note = decode(content)
    return Parsed(text=text, note=note)


def parse_rst(content: bytes) -> Parsed:
    """Return RST as it is, with its headings: lines underlined with punctuation, one level a character."""
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
    """Return Markdown as it is, with its headings (CommonMark), except for those in quotes.

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
    """Yield the headings of a text from `start` on.

    CommonMark makes any paragraph above dashes a heading. If the paragraph has several lines or is a list item,
    or with only one or two dashes, a rule or a signature is meant instead.
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
    """Return a paragraph a row, with `column: value` lines, so that a row can be read without the header."""
    text, note = decode(content)
    csv.field_size_limit(len(text) + 1)
    declared = _SEPARATOR.match(text)
    try:
        rows = _rows(text[declared.end() :], declared[1]) if declared else _rows(text, _delimiter(text))
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
    """Return the rows that are not empty. Raises `csv.Error`."""
    records = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    return [row for row in records if any(cell.strip() for cell in row)]


def _delimiter(text: str) -> str:
    """Return the character that splits most of the first rows into equally many cells; of several, into the most cells.

    Python's own `csv.Sniffer` takes quotes within quotes for an end, and finds delimiters that are none.
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
            best = max(best, (count / widths.total(), width, delimiter), key=lambda candidate: candidate[:2])
    return best[2]


def _is_number(cell: str) -> bool:
    """Return whether a cell is a number or blank: a row of such cells does not name columns."""
    return not cell.strip() or _NUMBER.fullmatch(cell.strip()) is not None

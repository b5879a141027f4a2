"""Text, Markdown, CSV and HTML, with nothing but the standard library."""

from __future__ import annotations

import codecs
import csv
import io
import re
from html.parser import HTMLParser

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
_CHARSET = re.compile(rb"""charset\s*=\s*["']?([A-Za-z0-9_.:-]+)""")
_SKIPPED = frozenset({"script", "style", "template", "noscript", "svg", "math", "head"})
_BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "fieldset", "figcaption", "figure"}
    | {"footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre"}
    | {"section", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"}
)


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


def parse_html(content: bytes) -> Parsed:
    """The words a reader sees, with headings; what a browser does not show is left out."""
    stated = _CHARSET.search(content[:2048])
    text, note = decode(content, stated=stated[1].decode("ascii") if stated else None)
    reader = _HTML()
    reader.feed(text)
    reader.close()
    return reader.finish(note)


class _HTML(HTMLParser):
    """Collects blocks of visible text. Lenient as a browser: an element that never ends ends with the file."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._writer = Writer()
        self._block: list[str] = []
        self._level: int | None = None
        self._hidden = ""
        self._title: list[str] | None = None
        self._named = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the parser's signature
        if tag == "body":
            self._hidden = ""  # a head that never ended
        elif tag == "title" and not self._named:
            self._title = []
        elif tag in _SKIPPED and not self._hidden:
            self._flush()
            self._hidden = tag
        elif tag in _BLOCKS and not self._hidden:
            if tag not in {"td", "th"} or self._level is not None:
                self._flush()
            else:
                self._block.append(" ")
            if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
                self._level = int(tag[1])

    def handle_endtag(self, tag: str) -> None:
        if tag == "title" and self._title is not None:
            self._writer.paragraph("".join(self._title), level=1)
            self._title, self._named = None, True
        elif tag == self._hidden:
            self._hidden = ""
        elif tag in _BLOCKS and not self._hidden and tag not in {"td", "th"}:
            self._flush()

    def handle_data(self, data: str) -> None:
        if self._title is not None:
            self._title.append(data)
        elif not self._hidden:
            self._block.append(data)

    def finish(self, note: str) -> Parsed:
        self._flush()
        return self._writer.parsed(note=note)

    def _flush(self) -> None:
        level = None if self._level is None else self._level + self._named
        self._writer.paragraph(" ".join("".join(self._block).split()), level=level)
        self._block, self._level = [], None

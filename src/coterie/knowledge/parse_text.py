"""Plain text, Markdown, RST, CSV, and HTML: the words a reader sees, with headings, and tables row by row."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from itertools import pairwise

from markdown_it import MarkdownIt

from coterie.knowledge.parsed import BULLET, Grid, Heading, Parsed, TextBuilder, Unreadable, raised
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

Of 6,049 messages and sentences in Windows-1252 none is read as another one, of 4,535 in the others 119 are.
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


# --- HTML: the words a reader sees, with headings, and tables row by row.

_CHARSET = re.compile(rb"""(?:charset|^\s*<\?xml[^>]*\sencoding)\s*=\s*["']?([A-Za-z0-9_.:-]+)""", re.IGNORECASE)
_SKIPPED = frozenset({"script", "style", "template", "noscript", "svg", "math", "head"})
_BESIDE = frozenset({"nav", "select", "datalist", "iframe", "canvas", "audio", "video", "object"})
"""Elements that lead elsewhere, or hold text for a browser that cannot show something."""
_EMPTY = frozenset({"area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})
"""Elements without an end tag."""
_UNENDED = frozenset({"p", "li", "dt", "dd", "tr", "td", "th", "tbody", "thead", "tfoot", "option"})
"""Elements that often have no end tag: the next one of the kind ends them."""
_UNSEEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "br", "caption", "dd", "div", "dl", "dt", "fieldset", "figcaption"}
    | {"figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p"}
    | {"pre", "section", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul", "summary", "details", "dialog"}
    | {"legend", "button", "textarea", "menu", "search", "hgroup", "center"}
)
_CELLS = frozenset({"td", "th"})
_DATES = frozenset({"date", "last-modified", "dcterms.modified", "dc.date", "article:modified_time", "og:updated_time"})
"""Names of metadata with the date of a page's last change."""
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})


def parse_html(content: bytes) -> Parsed:
    """Return the words a reader sees, with headings; text that a browser does not show is left out.

    Navigation links are left out as well, unless the page has no other text.
    """
    stated = _CHARSET.search(content[:2048])
    text, note = decode(content, stated=stated[1].decode("ascii") if stated else None)
    reader = _HTML(strict=True)
    reader.feed(text)
    reader.close()
    if reader.is_lost:
        reader = _HTML(strict=False)
        reader.feed(text)
        reader.close()
    return reader.finish(note)


def _is_beside(tag: str, attributes: Mapping[str, str | None]) -> bool:
    """Return whether an element is hidden, according to its own tag (style sheets are not read), or leads elsewhere."""
    unseen = "hidden" in attributes or _UNSEEN.search(attributes.get("style") or "") is not None
    return unseen or tag in _BESIDE or attributes.get("role") == "navigation"


class _Cell:
    def __init__(self, attributes: dict[str, str | None]) -> None:
        self.columns, self.rows = (_count(attributes.get(name)) for name in ("colspan", "rowspan"))
        self.words: list[str] = []


def _count(value: str | None) -> int:
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 5 else 1


class _Table:
    """A table being read: its cells, and the state of the current row."""

    def __init__(self) -> None:
        self.grid = Grid()
        self.cell: _Cell | None = None
        self._all_heads = True
        self._open = False

    def begin_row(self) -> None:
        """Begin a row, and end the previous one."""
        self.end_row()
        self.grid.row()
        self._open, self._all_heads = True, True

    def begin_cell(self, tag: str, attributes: dict[str, str | None]) -> None:
        """Begin a cell, and end the previous one."""
        self.end_cell()
        if not self._open:
            self.begin_row()
        self._all_heads = self._all_heads and tag == "th"
        self.cell = _Cell(attributes)

    def end_cell(self) -> None:
        """End the current cell, if there is one."""
        if self.cell is not None:
            text = " ".join("".join(self.cell.words).split())
            self.grid.cell(text, columns=self.cell.columns, rows=self.cell.rows)
            self.cell = None

    def end_row(self) -> None:
        """End the current row, if there is one."""
        self.end_cell()
        if self._open:
            self.grid.end_row()
            self.grid.heads[-1] = self._all_heads and bool(self.grid.rows[-1])
            self._open = False


class _HTML(HTMLParser):
    """Collects blocks of visible text. Lenient as a browser: an element that never ends ends with the file.

    A table that contains headings or another table is a layout table: its cells are read as they come.

    Args:
        strict: Also leave out hidden elements and elements that lead elsewhere.
    """

    def __init__(self, *, strict: bool) -> None:
        super().__init__(convert_charrefs=True)
        self._strict = strict
        self._writer = TextBuilder()
        self._block: list[str] = []
        self._level: int | None = None
        self._hidden = ""
        """The element that is passed over."""
        self._inside = 0
        """How many of its kind are open in it."""
        self._as_it_stands = False
        self._raised: list[str] | None = None
        self._title: list[str] | None = None
        self._named = False
        self._dated: str | None = None
        self._table: _Table | None = None
        self._term: str | None = None
        """What the next description is of; the empty string while the term itself is read."""
        self._lists: list[int | None] = []
        """For each list around, the number of its next item; None without numbers."""
        self._mark = ""
        """Mark of the list's item that begins."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "meta" and (attributes.get("name") or attributes.get("property") or "").casefold() in _DATES:
            match = _DAY.match((attributes.get("content") or "").strip())
            self._dated = match[0] if match else self._dated
        if tag == "body" or (tag == self._hidden and tag in _UNENDED):
            self._hidden = ""  # a head that never ended, or a row
        if tag == "title" and not self._named:
            self._title = []
        elif self._hidden:
            self._inside += tag == self._hidden
        elif tag in _SKIPPED or (self._strict and tag not in _EMPTY and _is_beside(tag, attributes)):
            self._flush()
            self._hidden, self._inside = tag, 1
        elif tag == "sup":
            self._raised = []
        elif tag == "br" and self._as_it_stands:
            self._block.append("\n")
        elif tag in _BLOCKS:
            self._end_raised()
            self._begin_block(tag, attributes)

    def handle_endtag(self, tag: str) -> None:
        if tag == "title" and self._title is not None:
            self._writer.paragraph("".join(self._title), level=1)
            self._title, self._named = None, True
        elif self._hidden:
            self._inside -= tag == self._hidden
            self._hidden = self._hidden if self._inside else ""
        elif tag == "sup":
            self._end_raised()
        elif tag in _BLOCKS:
            self._end_raised()
            self._end_block(tag)

    def handle_data(self, data: str) -> None:
        if self._title is not None:
            self._title.append(data)
        elif self._hidden:
            return
        elif self._raised is not None:
            self._raised.append(data)
        elif self._table is not None and self._table.cell is not None:
            self._table.cell.words.append(data)
        else:
            self._block.append(data)

    @property
    def is_lost(self) -> bool:
        """Whether nothing was read, or an element that is left out never ended."""
        return bool(self._hidden) or not (self._writer.parsed().text.strip() or "".join(self._block).strip())

    def finish(self, note: str) -> Parsed:
        self._end_raised()
        self._end_table()
        self._flush()
        self._end_terms()
        return self._writer.parsed(note=note, dated=self._dated)

    def _begin_block(self, tag: str, attributes: dict[str, str | None]) -> None:
        if self._table is not None and (tag == "table" or tag in _HEADINGS):
            self._end_table()
        if self._table is not None and self._in_table(tag, attributes):
            return
        if tag in _CELLS and self._level is None:
            self._block.append(" ")
            return
        self._flush()
        self._as_it_stands = tag == "pre"
        if tag == "table":
            self._table = _Table()
        elif tag == "dt":
            self._end_terms()
            self._term = ""
        elif tag in {"ol", "ul"}:
            start = attributes.get("start") or ""
            self._lists.append(None if tag == "ul" else int(start[:9]) if start.isdecimal() else 1)
        elif tag == "li":
            self._begin_item()
        elif tag in _HEADINGS:
            self._level = int(tag[1])

    def _begin_item(self) -> None:
        """Begin an item of the innermost list."""
        number = self._lists[-1] if self._lists else None
        self._mark = BULLET if number is None else f"{number}. "
        if number is not None:
            self._lists[-1] = number + 1

    def _in_table(self, tag: str, attributes: dict[str, str | None]) -> bool:
        """Handle a tag inside a table; return False if it belongs to neither the table nor a cell."""
        if self._table is None:
            return False
        if tag == "tr":
            self._table.begin_row()
        elif tag in _CELLS:
            self._table.begin_cell(tag, attributes)
        elif self._table.cell is not None:
            self._table.cell.words.append(" ")
        else:
            return False
        return True

    def _end_block(self, tag: str) -> None:
        if self._table is None:
            if tag not in _CELLS:
                self._flush()
            if tag == "dl":
                self._end_terms()
            elif tag in {"ol", "ul"} and self._lists:
                self._lists.pop()
            if tag in {"ol", "ul", "li"}:
                self._mark = ""
        elif tag == "table":
            self._end_table()
        elif tag == "tr":
            self._table.end_row()
        elif tag in _CELLS:
            self._table.end_cell()
        elif self._table.cell is not None:
            self._table.cell.words.append(" ")
        else:
            self._flush()

    def _end_table(self) -> None:
        if self._table is not None:
            self._flush()
            self._table.end_row()
            self._writer.rows(self._table.grid.paragraphs())
            self._table = None

    def _end_raised(self) -> None:
        """End superscript text, if there is any."""
        if self._raised is not None:
            words, self._raised = raised("".join(self._raised)), None
            self.handle_data(words)

    def _end_terms(self) -> None:
        """Write a term that has no description as a paragraph."""
        if self._term:
            self._writer.paragraph(self._term)
        self._term = None

    def _flush(self) -> None:
        whole, self._block = "".join(self._block), []
        text = (
            "\n".join(line.rstrip() for line in whole.expandtabs().split("\n")).strip("\n")
            if self._as_it_stands
            else " ".join(whole.split())
        )
        self._as_it_stands = False
        if not text:
            return
        level = None if self._level is None else self._level + self._named
        self._level = None
        if self._term == "" and level is None:
            self._term = text
            return
        if self._term and level is None:
            text, self._term = f"{self._term}: {text}", None
        mark, self._mark = self._mark, ""
        self._writer.paragraph(text if level is not None else f"{mark}{text}", level=level)

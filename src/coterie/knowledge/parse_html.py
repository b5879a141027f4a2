"""HTML: the words a reader sees, with headings, and tables row by row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html.parser import HTMLParser

from coterie.knowledge.parse_text import decode
from coterie.knowledge.parsed import BULLET, Parsed, TextBuilder, raised
from coterie.knowledge.tables import Grid

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

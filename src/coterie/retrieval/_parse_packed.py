"""PDF and DOCX: files that hold their text packed, and may hold far more than they seem to."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree as ET

from ._parsed import Heading, Parsed, Unreadable, Writer
from ._table import Grid

if TYPE_CHECKING:
    import pypdf

_UNPACKED = 64 * 1024 * 1024
"""Bytes that one part of a DOCX may have when it is unpacked."""
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_HEADING_STYLE = re.compile(r"^(?:heading|berschrift|Titre|titre)\s*([1-9])$|^(title)$", re.IGNORECASE)
_USUAL_STYLES = {"Title": 1} | {f"Heading{level}": level for level in range(1, 10)}
"""The headings of a file that describes no styles, by the ids that Word gives them."""
_MOST_ENTRIES = 5000
"""Of an outline so many entries are looked for."""
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
"""How an encrypted Office file begins: it is no ZIP but a container of the older kind."""


class _Entry(NamedTuple):
    """An entry of a PDF's outline."""

    level: int
    page: int
    title: str


def parse_docx(content: bytes) -> Parsed:
    """Paragraphs, tables row by row, and headings by their style.

    Raises:
        Unreadable: it is encrypted, no DOCX, or its text unpacks to more than 64 MB.
    """
    if content.startswith(_OLE):
        raise Unreadable("it is encrypted, or a DOC of before 2007: save it as a DOCX without a password")
    try:
        with zipfile.ZipFile(BytesIO(content)) as packed:
            styles = _styles(packed)
            with packed.open("word/document.xml") as part:
                return _walk(_Limited(part), styles)
    except KeyError as error:
        raise Unreadable("it is no Word document: it has no text part") from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError) as error:
        raise Unreadable(f"it is no readable DOCX ({error})") from error
    except ET.ParseError as error:
        raise Unreadable(f"its XML is broken ({error})") from error


class _Limited:
    """A file that refuses to give more than it may hold, whatever its directory says."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._left = file, _UNPACKED

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(self._left + 1 if size < 0 else size)
        self._left -= len(content)
        if self._left < 0:
            raise Unreadable(f"a part of it unpacks to more than {_UNPACKED:,} bytes: a zip bomb, or no document")
        return content


def _styles(packed: zipfile.ZipFile) -> dict[str, int]:
    """The level of each paragraph style that is a heading, by its id."""
    if "word/styles.xml" not in packed.namelist():
        return _USUAL_STYLES
    levels = {}
    with packed.open("word/styles.xml") as part:
        root = ET.fromstring(_Limited(part).read())  # noqa: S314 - in a process of its own, with limits; expat stops entity bombs
    for style in root.iter(f"{_WORD}style"):
        name, outline = style.find(f"{_WORD}name"), style.find(f"{_WORD}pPr/{_WORD}outlineLvl")
        match = _HEADING_STYLE.match((name.get(f"{_WORD}val") or "") if name is not None else "")
        if match:
            levels[style.get(f"{_WORD}styleId") or ""] = int(match[1] or 1)
        elif outline is not None and (outline.get(f"{_WORD}val") or "9") in "012345678":
            levels[style.get(f"{_WORD}styleId") or ""] = int(outline.get(f"{_WORD}val") or 0) + 1
    return levels


def _walk(file: _Limited, styles: dict[str, int]) -> Parsed:
    """The body, element by element, so that a large document is never in memory as a tree."""
    writer, table = Writer(), _Table()
    for event, element in ET.iterparse(file, events=("start", "end")):  # noqa: S314 - as above
        name, starts = element.tag.removeprefix(_WORD), event == "start"
        if name == "tbl":
            table.depth += 1 if starts else -1
            if not table.depth:
                for paragraph in table.grid.paragraphs():
                    writer.paragraph(paragraph)
                table = _Table()
        elif name == "p" and not starts:
            text = "".join(_words(element))
            if table.depth:
                table.words.append(text)
            else:
                writer.paragraph(text, level=_level(element, styles))
            element.clear()
        elif table.depth == 1:
            table.take(name, element, starts=starts)
    return writer.parsed()


class _Table:
    """A table being read; one inside a cell is part of the cell's text."""

    def __init__(self) -> None:
        self.depth = 0
        self.grid = Grid()
        self.words: list[str] = []
        """Of the cell."""

    def take(self, name: str, element: ET.Element, *, starts: bool) -> None:
        """A row or a cell of it begins or ends."""
        if name == "tr" and starts:
            self.grid.row()
        elif name == "tr":
            self.grid.end_row()
            self.grid.heads[-1] = element.find(f"{_WORD}trPr/{_WORD}tblHeader") is not None
            element.clear()
        elif name == "tc" and not starts:
            span = element.find(f"{_WORD}tcPr/{_WORD}gridSpan")
            columns = (span.get(f"{_WORD}val") if span is not None else None) or "1"
            self.grid.cell(" ".join(" ".join(self.words).split()), columns=int(columns) if columns.isdigit() else 1)
            self.words = []
            element.clear()


def _words(paragraph: ET.Element) -> Iterator[str]:
    """The text of a paragraph as it reads now: what was deleted while changes were tracked is not there."""
    for element in paragraph.iter():
        if element.tag == f"{_WORD}t":
            yield element.text or ""
        elif element.tag == f"{_WORD}tab":
            yield "\t"
        elif element.tag in {f"{_WORD}br", f"{_WORD}cr"}:
            yield "\n"


def _level(paragraph: ET.Element, styles: dict[str, int]) -> int | None:
    style = paragraph.find(f"{_WORD}pPr/{_WORD}pStyle")
    return None if style is None else styles.get(style.get(f"{_WORD}val") or "")


def parse_pdf(content: bytes) -> Parsed:
    """The text of each page, with the headings of the outline where their words are found.

    Raises:
        Unreadable: it is encrypted or broken, holds no text, or pypdf is not installed.
    """
    try:
        import pypdf  # noqa: PLC0415 - an extra
    except ImportError:
        raise Unreadable("PDF needs an optional package: pip install 'coterie[docs]'") from None
    try:
        reader = pypdf.PdfReader(BytesIO(content))
        locked = reader.is_encrypted and not reader.decrypt("")
        writer = Writer()
        for page in () if locked else reader.pages:
            writer.page()
            writer.paragraph(page.extract_text())
        entries = [] if locked else list(_entries(reader, reader.outline))[:_MOST_ENTRIES]
    except MemoryError:
        raise
    except Exception as error:
        raise Unreadable(f"it is no readable PDF ({type(error).__name__}: {error})") from error
    if locked:
        raise Unreadable("it is encrypted: save a copy without a password")
    parsed = writer.parsed()
    if not parsed.text.strip():
        raise Unreadable("its pages hold no text: they are pictures, or empty")
    return Parsed(text=parsed.text, pages=parsed.pages, headings=tuple(_found(parsed, entries)))


def _entries(reader: pypdf.PdfReader, outline: list[Any], level: int = 1) -> Iterator[_Entry]:
    """What the outline lists, in its order."""
    for each in outline:
        if isinstance(each, list):
            yield from _entries(reader, each, level + 1)
        elif (page := reader.get_destination_page_number(each)) is not None and page >= 0:
            yield _Entry(level, page, str(each.title or ""))


def _found(parsed: Parsed, entries: list[_Entry]) -> Iterator[Heading]:
    """The entries whose words stand on their page, each after the one before."""
    at = 0
    for level, page, title in entries:
        words = title.split()
        if not words or page >= len(parsed.pages):
            continue
        end = parsed.pages[page + 1] if page + 1 < len(parsed.pages) else len(parsed.text)
        pattern = re.compile(r"\s+".join(map(re.escape, words)), re.IGNORECASE)
        if match := pattern.search(parsed.text, max(at, parsed.pages[page]), end):
            at = match.end()
            yield Heading(match.start(), match.end(), level, " ".join(words))

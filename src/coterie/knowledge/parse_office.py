"""DOCX, XLSX and PPTX: the words a reader sees, with headings, tables row by row, notes; sheets and slides as pages.

A packed file may expand enormously, so every part is unpacked within a limit.
"""

from __future__ import annotations

import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree as ET

from coterie.knowledge.parsed import BULLET, Grid, Parsed, TextBuilder, Unreadable, raised

if TYPE_CHECKING:
    from openpyxl.workbook import Workbook

_UNPACKED_TOGETHER = 1024**3
"""Most bytes of all parts together after unpacking."""
_SMALL = 8 * 1024**2
"""Bytes of all sheets up to which a workbook is read whole, with its merged cells; larger ones are read by row."""
_UNSTORED = re.compile(rb"<f\b[^>]*(?:/>|>[^<]*</f>)\s*(?:<v\s*/>|<v></v>|</c>)")
"""A formula without a stored value."""
_LITERAL = re.compile(r'"([^"]*)"|\[\$([^\]-]*)[^\]]*\]|\\(.)|([€$£¥])')
"""Text that a number format adds to the number: quoted text, a locale's currency, one character, a currency."""
_BESIDE = re.compile(r'(?:[^\s"\]]|[^\s]"|[^\s]\])$')
"""The end of a number format's prefix that has no space before the number."""
_PLACES = re.compile(r"[0#?,]*[0#?](?:[.]([0#?]+))?")
_BROKEN = (zipfile.BadZipFile, KeyError, ValueError, OSError, EOFError, TypeError, AttributeError, IndexError)


def parse_xlsx(content: bytes) -> Parsed:
    """Return the visible sheets: each a page headed by its name, with tables row by row and formulas as last values.

    Raises:
        Unreadable: it is encrypted or broken, or openpyxl is not installed.
    """
    try:
        from openpyxl import load_workbook  # noqa: PLC0415 - an extra
    except ImportError:
        raise Unreadable("XLSX needs an optional package: pip install 'coterie[docs]'") from None
    sheets, note = _checked(content, "XLSX", "xl/worksheets/")
    try:
        book = load_workbook(BytesIO(content), read_only=sheets > _SMALL, data_only=True)
        return _sheets(book, note)
    except _BROKEN as error:
        raise Unreadable(f"it is no readable XLSX ({type(error).__name__}: {error})") from error


def _checked(content: bytes, kind: str, sheets: str) -> tuple[int, str]:
    """Return the bytes of all sheets, and a note on missing values. Raises `Unreadable`."""
    if content.startswith(bytes.fromhex("d0cf11e0a1b11ae1")):
        raise Unreadable(f"it is encrypted, or of before 2007: save it as {kind} without a password")
    try:
        with zipfile.ZipFile(BytesIO(content)) as packed:
            parts = packed.infolist()
            if (size := sum(part.file_size for part in parts)) > _UNPACKED_TOGETHER:
                raise Unreadable(f"it exceeds the limit of {_UNPACKED_TOGETHER:,} unpacked bytes ({size:,})")
            own = [part for part in parts if part.filename.startswith(sheets)]
            size = sum(part.file_size for part in own)
            unstored = sum(len(_UNSTORED.findall(packed.read(part))) for part in own) if size <= _SMALL else 0
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError) as error:
        raise Unreadable(f"it is no readable {kind} ({error})") from error
    note = f"{unstored} formulas have no stored value: open and save it in a spreadsheet program" if unstored else ""
    return size, note


def _sheets(book: Workbook, note: str) -> Parsed:
    writer = TextBuilder()
    for sheet in book.worksheets:
        if sheet.sheet_state == "visible":
            writer.page()
            writer.paragraph(sheet.title, level=1)
            spans = _merged(getattr(sheet, "merged_cells", None))
            for block in _tables(sheet.iter_rows(), spans):
                _write_block(writer, block)
    changed = book.properties.modified
    return writer.parsed(note=note, dated=changed.date().isoformat() if changed else None)


class _Cell(NamedTuple):
    column: int
    text: str
    columns: int
    rows: int


def _merged(cells: Any) -> Mapping[tuple[int, int], tuple[int, int]]:  # noqa: ANN401 - openpyxl has no types
    """Return merged areas: columns and rows at the first cell of each, (0, 0) at its other cells."""
    spans: dict[tuple[int, int], tuple[int, int]] = {}
    for area in cells.ranges if cells is not None else ():
        columns, rows = range(area.min_col, area.max_col + 1), range(area.min_row, area.max_row + 1)
        spans |= dict.fromkeys(((row, column) for row in rows for column in columns), (0, 0))
        spans[area.min_row, area.min_col] = (area.max_col - area.min_col + 1, area.max_row - area.min_row + 1)
    return spans


def _tables(
    rows: Iterable[Sequence[Any]], spans: Mapping[tuple[int, int], tuple[int, int]]
) -> Iterator[list[list[_Cell]]]:
    """Yield tables as the filled cells of each row; a blank row ends a table."""
    block: list[list[_Cell]] = []
    for cells in rows:
        filled_cells, inside = [], False
        for column, cell in enumerate(cells, start=1):
            columns, below = spans.get((getattr(cell, "row", 0), column), (1, 1))
            inside = inside or not columns
            text = "" if cell.value is None or not columns else _cell_text(cell.value, cell.number_format or "")
            if text:
                filled_cells.append(_Cell(column, text, columns, below))
        if filled_cells or (inside and block):
            block.append(filled_cells)
        elif block:
            yield block
            block = []
    if block:
        yield block


def _write_block(writer: TextBuilder, block: Sequence[Sequence[_Cell]]) -> None:
    """Write a table with the lines above it, which have one cell that spans no further column."""
    first = min(cell.column for row in block for cell in row)
    end = max(cell.column + cell.columns for row in block for cell in row)
    start = 0
    while start < len(block) and len(block[start]) == 1 and block[start][0].columns == 1:
        writer.paragraph(block[start][0].text)
        start += 1
    grid = Grid()
    for row in block[start:]:
        grid.row()
        for cell in row:
            grid.fill(cell.column - first)
            grid.cell(cell.text, columns=cell.columns, rows=cell.rows)
        grid.fill(end - first)
        grid.end_row()
    writer.rows(grid.paragraphs())


def _cell_text(value: object, form: str) -> str:
    """Return a cell's value as a spreadsheet shows it, with plain digits and ISO dates."""
    match value:
        case bool():
            return str(value).upper()
        case datetime() if value.time() != time():
            return value.strftime("%Y-%m-%d %H:%M")
        case date():
            return value.strftime("%Y-%m-%d")
        case time():
            return value.strftime("%H:%M")
        case int() | float():
            return _number(value, form.split(";", maxsplit=1)[0])
        case _:
            text = " ".join(str(value).split())
            return "" if text.startswith("#") and text[1:].rstrip("!?").replace("/", "").isupper() else text


def _number(value: float, form: str) -> str:
    """Return a number with the decimals, the per cent sign, the currency and the unit of its format."""
    places = _PLACES.search(_LITERAL.sub("", form))
    digits = len(places[1] or "") if places else None
    percent = "%" in form
    value = round(value * 100, 10) if percent else value
    text = f"{value:.{digits}f}" if digits is not None else f"{round(value, 10):.15g}"
    around: dict[bool, str] = {True: "", False: ""}
    for match in _LITERAL.finditer(form):
        ahead = places is not None and match.start() < form.find(places[0])
        around[ahead] += next((part for part in match.groups() if part), "")
    before, behind = around[True].strip(), around[False].strip()
    text = f"{text}%" if percent else text
    if before and not before[-1].isalnum() and places is not None and _BESIDE.search(form[: form.find(places[0])]):
        before, text = "", before + text  # "$95", where the format has no space between
    return " ".join(filter(None, (before, text, behind)))


def parse_pptx(content: bytes) -> Parsed:
    """Return the slides: each a page headed by its title, with texts, tables and charts row by row, and notes.

    Raises:
        Unreadable: it is encrypted or broken, or python-pptx is not installed.
    """
    try:
        from pptx import Presentation  # noqa: PLC0415 - an extra
    except ImportError:
        raise Unreadable("PPTX needs an optional package: pip install 'coterie[docs]'") from None
    _checked(content, "PPTX", "xl/")
    try:
        shown = Presentation(BytesIO(content))
        writer = TextBuilder()
        for slide in shown.slides:
            writer.page()
            title = slide.shapes.title
            if title is not None and title.has_text_frame:
                writer.paragraph(" ".join(title.text_frame.text.split()), level=1)
            for shape in slide.shapes:
                if title is None or shape.shape_id != title.shape_id:
                    _write_shape(writer, shape)
            if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
                writer.paragraph(slide.notes_slide.notes_text_frame.text)
        changed = shown.core_properties.modified
    except _BROKEN as error:
        raise Unreadable(f"it is no readable PPTX ({type(error).__name__}: {error})") from error
    return writer.parsed(dated=changed.date().isoformat() if changed else None)


def _write_shape(writer: TextBuilder, shape: Any) -> None:  # noqa: ANN401 - python-pptx has no types
    if getattr(shape, "has_table", False):
        writer.rows(_slide_table(shape.table).paragraphs())
    elif getattr(shape, "has_chart", False):
        writer.rows(_chart(shape.chart).paragraphs())
    elif hasattr(shape, "shapes"):
        for inner in shape.shapes:
            _write_shape(writer, inner)
    elif shape.has_text_frame:
        for paragraph in shape.text_frame.paragraphs:
            mark = BULLET if paragraph.level and paragraph.text.strip() else ""
            writer.paragraph(f"{mark}{paragraph.text}")


def _slide_table(table: Any) -> Grid:  # noqa: ANN401 - as above
    grid = Grid()
    for number, row in enumerate(table.rows):
        grid.row(head=number == 0 and bool(table.first_row))
        for cell in row.cells:
            if not cell.is_spanned:
                merged = (cell.span_width, cell.span_height) if cell.is_merge_origin else (1, 1)
                grid.cell(" ".join(cell.text.split()), columns=merged[0], rows=merged[1])
        grid.end_row()
    return grid


def _chart(chart: Any) -> Grid:  # noqa: ANN401 - as above
    """Return the data of a chart: its categories, with the value of each series."""
    grid = Grid()
    plot = next(iter(chart.plots), None)
    names = [str(series.name or "") for series in plot.series] if plot is not None else []
    categories = [str(category) for category in plot.categories] if plot is not None else []
    if plot is not None and categories:
        grid.row(["", *names], head=True)
        values = [list(series.values) for series in plot.series]
        for at, category in enumerate(categories):
            grid.row(
                [
                    category,
                    *(
                        f"{series_values[at]:g}" if at < len(series_values) and series_values[at] is not None else ""
                        for series_values in values
                    ),
                ]
            )
    return grid


# --- The numbers that Word writes before paragraphs: no text holds them, every reader sees them and cites by them.

_ROMAN = (
    *((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl")),
    *((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")),
)
_LONGEST_ROMAN = 10_000
_PLACE = re.compile(r"%([1-9])")


class Level(NamedTuple):
    """Numbering of one level of a list."""

    style: str
    """Word's name of the number style: `decimal`, `lowerLetter`, `bullet` ..."""
    text: str
    """The number's template, in which `%1` stands for the number of the first level."""
    start: int


class Numbered(NamedTuple):
    """The list that a paragraph belongs to, and its level, from 0."""

    list: str
    level: int


class Numbers:
    """Counts the paragraphs of a document's lists.

    Args:
        levels: The levels of each list, by its id.
        same: By a list's id, the id of the list whose count it continues.
    """

    def __init__(self, levels: Mapping[str, Sequence[Level]], same: Mapping[str, str]) -> None:
        self._levels, self._same = levels, same
        self._counts: defaultdict[str, list[int]] = defaultdict(list)

    def next(self, numbered: Numbered | None) -> str:
        """Return the number or bullet before the next paragraph, with a blank; nothing without a list."""
        levels = self._levels.get(numbered.list, ()) if numbered else ()
        if numbered is None or not 0 <= numbered.level < len(levels):
            return ""
        counts = self._counts[self._same.get(numbered.list, numbered.list)]
        while len(counts) <= numbered.level:
            counts.append(levels[len(counts)].start - (len(counts) == numbered.level))
        counts[numbered.level] += 1
        del counts[numbered.level + 1 :]
        level = levels[numbered.level]
        if level.style in {"bullet", "none"}:
            return BULLET if level.style == "bullet" else ""

        def number(match: re.Match[str]) -> str:
            which = int(match[1]) - 1
            return _item_number(counts[which], levels[which].style) if which < len(counts) else ""

        text = _PLACE.sub(number, level.text).strip()
        return f"{text} " if text else ""


def _item_number(number: int, style: str) -> str:
    match style:
        case "lowerLetter" | "upperLetter" if number > 0:
            letters = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
            return letters.upper() if style == "upperLetter" else letters
        case "lowerRoman" | "upperRoman" if 0 < number < _LONGEST_ROMAN:
            roman = ""
            for value, sign in _ROMAN:
                roman += sign * (number // value)
                number %= value
            return roman.upper() if style == "upperRoman" else roman
        case "decimalZero":
            return f"{number:02}"
        case _:
            return str(number)


_UNPACKED_PART = 64 * 1024 * 1024
"""Most bytes of one unpacked part of a DOCX."""
_WORD = re.compile(
    r"^\{http://(?:schemas\.openxmlformats\.org/wordprocessingml/2006|purl\.oclc\.org/ooxml/wordprocessingml)/main\}"
)
"""The namespaces of Word's elements: the usual one, and that of files saved as "strict"."""
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
"""Element for older readers that repeats the preceding content."""
_GONE = frozenset({"del", "moveFrom", "pPr", "rPr"})
"""Elements that are skipped: deleted or moved under tracked changes, and formatting."""
_NOTES = {"footnoteReference": "footnotes", "endnoteReference": "endnotes"}
"""Elements that refer to a note, and the part that contains such notes."""
_LONGEST_NUMBER = 7
_SIGNS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_HEADING_STYLE = re.compile(r"^(?:heading|berschrift|Titre|titre)\s*([1-9])$|^(title)$", re.IGNORECASE)
_USUAL_STYLES = {"Title": 0} | {f"Heading{level}": level for level in range(1, 10)}
"""The heading styles of a file that describes no styles, by Word's ids."""
_MODIFIED = re.compile(rb"modified\b[^>]*>\s*(\d{4}-\d\d-\d\d)")
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
"""The first bytes of an encrypted Office file, which is not a ZIP but a container of the older kind."""


def parse_docx(content: bytes) -> Parsed:
    """Return the paragraphs, tables row by row, and headings by their style.

    Raises:
        Unreadable: it is encrypted, not a DOCX, or its text unpacks to more than 64 MB.
    """
    if content.startswith(_OLE):
        raise Unreadable("it is encrypted, or a DOC of before 2007: save it as a DOCX without a password")
    try:
        with zipfile.ZipFile(BytesIO(content)) as packed:
            about = _about(packed)
            with packed.open("word/document.xml") as part:
                return replace(_walk(_Limited(part), about), dated=_modified(packed))
    except KeyError as error:
        raise Unreadable("it is no Word document: it has no text part") from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError) as error:
        raise Unreadable(f"it is no readable DOCX ({error})") from error
    except ET.ParseError as error:
        raise Unreadable(f"its XML is broken ({error})") from error


class _Limited:
    """A file that refuses to return more bytes than its limit, whatever its directory says."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._left = file, _UNPACKED_PART

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(self._left + 1 if size < 0 else size)
        self._left -= len(content)
        if self._left < 0:
            raise Unreadable(f"a part of it unpacks to more than {_UNPACKED_PART:,} bytes: a zip bomb, or no document")
        return content


class _About(NamedTuple):
    """The properties of paragraphs that other parts of the file define."""

    headings: Mapping[str, int]
    """Level of each paragraph style that is a heading, by its id."""
    lists: Mapping[str, Numbered]
    """List of each paragraph style that is numbered, by its id."""
    numbers: Numbers
    notes: Mapping[tuple[str, str], str]
    """Text of each footnote and endnote, by its part and id."""


def _about(packed: zipfile.ZipFile) -> _About:
    styles, numbering = _part(packed, "styles"), _part(packed, "numbering")
    levels, same, of_styles = _lists(numbering)
    lists = {} if styles is None else _listed(styles, of_styles)
    return _About(_headings(styles), lists, Numbers(levels, same), _notes(packed))


def _headings(styles: ET.Element | None) -> dict[str, int]:
    if styles is None:
        return _USUAL_STYLES
    levels = {}
    for style in _named(styles, "style"):
        name, outline = _value(style, "name"), _value(style, "pPr", "outlineLvl")
        match = _HEADING_STYLE.match(name or "")
        if match:
            levels[_attribute(style, "styleId") or ""] = int(match[1] or 0)
        elif outline is not None and (outline or "9") in "012345678":
            levels[_attribute(style, "styleId") or ""] = int(outline or 0) + 1
    return levels


def _lists(numbering: ET.Element | None) -> tuple[dict[str, list[Level]], dict[str, str], dict[tuple[str, str], int]]:
    """Return the levels of each list, the list it counts with, and the level of each list and style."""
    levels: dict[str, list[Level]] = {}
    same: dict[str, str] = {}
    of_styles: dict[tuple[str, str], int] = {}
    if numbering is None:
        return levels, same, of_styles
    kinds = {
        _attribute(definition, "abstractNumId"): list(_named(definition, "lvl"))
        for definition in _named(numbering, "abstractNum")
    }
    for definition in _named(numbering, "num"):
        number, kind = _attribute(definition, "numId") or "", _value(definition, "abstractNumId")
        own = [part for part in _named(definition, "lvlOverride") if _value(part, "startOverride") is not None]
        same[number] = number if own else f"kind {kind}"
        levels[number] = [_list_level(lvl, own) for lvl in kinds.get(kind, [])]
        for index, lvl in enumerate(kinds.get(kind, [])):
            if style := _value(lvl, "pStyle"):
                of_styles[number, style] = index
    return levels, same, of_styles


def _list_level(level: ET.Element, overrides: Sequence[ET.Element]) -> Level:
    number = _attribute(level, "ilvl")
    start = next(
        (_value(override, "startOverride") for override in overrides if _attribute(override, "ilvl") == number), None
    )
    begins = start or _value(level, "start") or "1"
    return Level(_value(level, "numFmt") or "decimal", _value(level, "lvlText") or "", _whole(begins, otherwise=1))


def _listed(styles: ET.Element, of_styles: Mapping[tuple[str, str], int]) -> dict[str, Numbered]:
    listed = {}
    for style in _named(styles, "style"):
        name, number = _attribute(style, "styleId") or "", _value(style, "pPr", "numPr", "numId")
        if number:
            level = _whole(_value(style, "pPr", "numPr", "ilvl"), otherwise=of_styles.get((number, name), 0))
            listed[name] = Numbered(number, level)
    return listed


def _notes(packed: zipfile.ZipFile) -> dict[tuple[str, str], str]:
    notes = {}
    for name in _NOTES.values():
        root = _part(packed, name)
        for note in root if root is not None else ():
            if _attribute(note, "type") in {None, "normal"}:
                paragraphs = _named(note, "p")
                notes[name, _attribute(note, "id") or ""] = " ".join(
                    "".join(_words(paragraph)) for paragraph in paragraphs
                )
    return notes


def _part(packed: zipfile.ZipFile, name: str) -> ET.Element | None:
    """Return a part of the document as a tree; None if it does not exist."""
    if f"word/{name}.xml" not in packed.namelist():
        return None
    with packed.open(f"word/{name}.xml") as part:
        return ET.fromstring(_Limited(part).read())  # noqa: S314 - in a process of its own, with limits; expat stops entity bombs


def _modified(packed: zipfile.ZipFile) -> str | None:
    """Return the day of the last change, from the document's properties."""
    try:
        with packed.open("docProps/core.xml") as part:
            match = _MODIFIED.search(_Limited(part).read())
    except KeyError:
        return None
    return match[1].decode() if match else None


def _walk(file: _Limited, about: _About) -> Parsed:
    """Read the body element by element, so that a large document is never in memory as a tree."""
    writer = TextBuilder()
    tables: list[_Table] = []  # each inside a cell of the one before
    waiting: list[str] = []  # notes of a table stand behind it
    for name, starts, element in _elements(file):
        if name == "tbl" and starts:
            tables.append(_Table())
        elif name == "tbl":
            _end_table(writer, tables, waiting)
        elif name == "p" and not starts:
            text, noted = "".join(_words(element)), _noted(element, about.notes)
            heading = _level(element, about.headings)
            if text.strip():
                mark = about.numbers.next(_list_of(element, about.lists))
                text = text if mark == BULLET and (tables or heading is not None) else f"{mark}{text}"
            if tables:
                tables[-1].words.append(text)
                waiting += noted
            else:
                writer.paragraph(text, level=heading)
                for note in noted:
                    writer.paragraph(note)
            element.clear()
        elif tables:
            tables[-1].take(name, element, starts=starts)
    return _below_title(writer.parsed())


def _end_table(writer: TextBuilder, tables: list[_Table], waiting: list[str]) -> None:
    """Write the innermost table with its notes; a nested table is part of the cell that contains it."""
    rows = list(tables.pop().grid.paragraphs())
    if tables:
        tables[-1].words.append("; ".join(", ".join(row.split("\n")) for row in rows))
        return
    writer.rows(rows)
    for note in waiting:
        writer.paragraph(note)
    waiting.clear()


def _below_title(parsed: Parsed) -> Parsed:
    """Move all headings one level down if a title stands above them; the title has the first level."""
    if all(heading.level for heading in parsed.headings):
        return parsed
    return replace(parsed, headings=tuple(heading._replace(level=heading.level + 1) for heading in parsed.headings))


def _elements(file: _Limited) -> Iterator[tuple[str, bool, ET.Element]]:
    """Yield each element at its start, and at its end with all its content; repeated fallback content is skipped."""
    passed_over = 0
    for event, element in ET.iterparse(file, events=("start", "end")):  # noqa: S314 - as above
        if element.tag == _FALLBACK:
            passed_over += 1 if event == "start" else -1
        elif passed_over:
            element.clear()
        else:
            yield _name(element), event == "start", element


class _Table:
    """A table being read; a table inside a cell is part of the cell's text."""

    def __init__(self) -> None:
        self.grid = Grid()
        self.words: list[str] = []
        """Of the cell."""

    def take(self, name: str, element: ET.Element, *, starts: bool) -> None:
        """Handle the start or end of a row or a cell."""
        if name == "tr" and starts:
            self.grid.row()
        elif name == "tr":
            self.grid.end_row()
            self.grid.heads[-1] = _child(element, "trPr", "tblHeader") is not None
            element.clear()
        elif name == "tc" and not starts:
            columns = _value(element, "tcPr", "gridSpan") or "1"
            merged = _child(element, "tcPr", "vMerge")
            goes_on = merged is not None and _attribute(merged, "val") in {None, "continue"}
            text = self.grid.above() if goes_on else " ".join(" ".join(self.words).split())
            self.grid.cell(text, columns=int(columns) if columns.isdigit() else 1)
            self.words = []
            element.clear()


def _words(element: ET.Element) -> Iterator[str]:
    """Yield the text of a paragraph in its current state: without deleted, moved or hidden text."""
    for child in element:
        name = _name(child)
        if name in _GONE or (name == "r" and _is_hidden(child)):
            continue
        if name == "t":
            yield child.text or ""
        elif name in _SIGNS:
            yield _SIGNS[name]
        elif name == "r" and _value(child, "rPr", "vertAlign") == "superscript":
            yield raised("".join(_words(child)))
        else:
            yield from _words(child)


def _noted(paragraph: ET.Element, notes: Mapping[tuple[str, str], str]) -> list[str]:
    references = ((_NOTES.get(_name(node)), _attribute(node, "id")) for node in paragraph.iter())
    return [notes.get((part, number or ""), "") for part, number in references if part is not None]


def _is_hidden(run: ET.Element) -> bool:
    vanish = _child(run, "rPr", "vanish")
    return vanish is not None and _attribute(vanish, "val") not in {"0", "false", "off"}


def _level(paragraph: ET.Element, styles: Mapping[str, int]) -> int | None:
    style = _value(paragraph, "pPr", "pStyle")
    return None if style is None else styles.get(style)


def _list_of(paragraph: ET.Element, lists: Mapping[str, Numbered]) -> Numbered | None:
    """Return the list that a paragraph belongs to: its own, or its style's."""
    own, styled = _value(paragraph, "pPr", "numPr", "numId"), lists.get(_value(paragraph, "pPr", "pStyle") or "")
    if own is None:
        return styled
    level = _whole(_value(paragraph, "pPr", "numPr", "ilvl"), otherwise=styled.level if styled else 0)
    return Numbered(own, level)


def _whole(text: str | None, *, otherwise: int) -> int:
    return int(text) if text and text.isdecimal() and len(text) < _LONGEST_NUMBER else otherwise


def _named(element: ET.Element, name: str) -> Iterator[ET.Element]:
    return (node for node in element.iter() if _name(node) == name)


def _name(element: ET.Element) -> str:
    """Return an element's name without Word's namespace. Other namespaces stay, so that nothing passes for Word's."""
    return _WORD.sub("", element.tag)


def _child(element: ET.Element, *path: str) -> ET.Element | None:
    current: ET.Element | None = element
    for name in path:
        current = next((child for child in current if _name(child) == name), None) if current is not None else None
    return current


def _attribute(element: ET.Element, name: str) -> str | None:
    return next((value for key, value in element.items() if _WORD.sub("", key) == name), None)


def _value(element: ET.Element, *path: str) -> str | None:
    """Return the value of a child element, the empty string without a value; None without such a child."""
    child = _child(element, *path)
    return None if child is None else _attribute(child, "val") or ""

"""XLSX and PPTX: sheets and slides as pages with a heading, tables row by row."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from coterie.knowledge.parsed import BULLET, Parsed, TextBuilder, Unreadable
from coterie.knowledge.tables import Grid

if TYPE_CHECKING:
    from openpyxl.workbook import Workbook

_UNPACKED = 1024**3
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
            if (size := sum(part.file_size for part in parts)) > _UNPACKED:
                raise Unreadable(f"it exceeds the limit of {_UNPACKED:,} unpacked bytes ({size:,})")
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
            text = "" if cell.value is None or not columns else _written(cell.value, cell.number_format or "")
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


def _written(value: object, form: str) -> str:
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

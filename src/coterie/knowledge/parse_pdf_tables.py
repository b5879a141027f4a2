"""Tables of PDF pages: ruled ones by pdfplumber, unruled ones by the columns of their words."""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from coterie.knowledge.parsed import Grid

if TYPE_CHECKING:
    import pypdf

_SECONDS = 25.0
"""Most seconds for finding tables in a file: a page takes about ten times as long as its text."""
_RULES = re.compile(rb"\s(?:re|l)\s")
"""The PDF operators that draw a rectangle and a line."""
_FEWEST_RULES, _MOST_RULES = 3, 5000
"""Least and most ruling lines of a page with tables: a page with more is a drawing, and lines are compared in pairs."""
_FEWEST_LINES = 3
"""Least number of consecutive lines with aligned words that form an unruled table."""
_COLUMN_GAP = 1.0
"""Distance between words in different columns, as a factor of the letter size."""
_LINE_GAP, _TIGHT = 3.0, 1.35
"""Largest distance between lines of one table, and between lines of one cell, as factors of the letter size."""
_CELL_WORDS = 4
"""Median words of a column above which it is prose; at least one column besides the first must have fewer."""
_NEAR = 12.0
"""Points by which a table's columns may be shifted on the next page."""
_MARKER = re.compile(r"\W*|\(?\w{1,2}[.)]")
"""A marker before a list item."""
_LEADER = re.compile(r"(?:[.\u2026_][ ]?){3,}")
"""Leader dots before a number at the end of a line."""


class PdfTable(NamedTuple):
    """A table of a page, with its edges in points from the left and from the bottom."""

    page: int
    left: float
    low: float
    right: float
    high: float
    rows: list[str]
    """The rows, each as a paragraph."""
    words: frozenset[str]
    upright: bool
    """Whether the edges match the page as it is read, which is not rotated."""


class _Found(NamedTuple):
    grid: Grid
    box: tuple[float, float, float, float]
    """Left, top, right and bottom, in points from the top."""
    columns: list[float]
    """Left edges of the columns."""


def find_tables(content: bytes, pages: Sequence[pypdf.PageObject]) -> tuple[list[PdfTable], str]:
    """Return the tables of a document in its order, and a note if not all pages were examined."""
    likely = [number for number, page in enumerate(pages) if _may_have(page)]
    if not likely:
        return [], ""
    try:
        import pdfplumber  # noqa: PLC0415 - an extra
    except ImportError:
        return [], "tables are read as plain text; to read them row by row: pip install 'coterie[docs]'"
    tables: list[PdfTable] = []
    try:
        with pdfplumber.open(BytesIO(content)) as document:
            note = _collect(document.pages, likely, tables)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - pypdf has read its text, so the file is not lost
        note = f"some tables are read as plain text: looking for them failed ({type(error).__name__})"
    return tables, note


def _collect(pages: Sequence[Any], likely: Sequence[int], tables: list[PdfTable]) -> str:
    """Add the tables of likely pages; return a note if time ran out."""
    end = time.monotonic() + _SECONDS
    before: _Found | None = None
    last, names = -1, list[str]()
    for number in likely:
        if time.monotonic() > end:
            return f"tables from page {number + 1} on are read as plain text: looking for them took too long"
        page = pages[number]
        words = page.extract_words()
        for index, table in enumerate(_on_page(page, words)):
            goes_on = before is not None and index == 0 and last == number - 1 and _is_continued(before, table, words)
            own = table.grid.names()
            rows = list(table.grid.paragraphs(names if goes_on and names and own != names else None))
            names = names if goes_on and names else own
            before, last = table, number
            tables.append(_table(number, page, table, rows))
        page.close()
    return ""


def _may_have(page: pypdf.PageObject) -> bool:
    """Return whether a search for tables is worth its time: something is drawn, or text is set in many places."""
    try:
        contents = page.get_contents()
        data = contents.get_data() if contents is not None else b""
    except Exception:  # noqa: BLE001 - its text can be read whatever its drawing is
        return False
    rules, texts = len(_RULES.findall(data)), data.count(b"Tj") + data.count(b"TJ")
    return rules <= _MOST_RULES and (rules >= _FEWEST_RULES or texts > 2 * _FEWEST_LINES)


def _table(number: int, page: Any, table: _Found, rows: list[str]) -> PdfTable:  # noqa: ANN401 - pdfplumber has no types
    left, top, right, bottom = table.box
    words = frozenset(word for row in table.grid.rows for cell in row for word in cell.split())
    base = float(page.bbox[1]) + float(page.height)
    return PdfTable(number, left, base - bottom, right, base - top, rows, words, not page.rotation)


def _on_page(page: Any, words: Sequence[dict[str, Any]]) -> list[_Found]:  # noqa: ANN401 - as above
    """Return the tables of a page from top to bottom: ruled ones, then aligned text outside of them."""
    ruled = [table_ for table_ in (_ruled(table, words) for table in page.find_tables()) if table_ is not None]
    outside = [word for word in words if word["upright"] and not any(_inside(word, table.box) for table in ruled)]
    return sorted([*ruled, *_unruled(_lines(outside))], key=lambda table: table.box[1])


def _inside(word: dict[str, Any], box: tuple[float, float, float, float]) -> bool:
    x, y = (word["x0"] + word["x1"]) / 2, (word["top"] + word["bottom"]) / 2
    return bool(box[0] - 1 <= x <= box[2] + 1 and box[1] - 1 <= y <= box[3] + 1)


def _ruled(table: Any, words: Sequence[dict[str, Any]]) -> _Found | None:  # noqa: ANN401 - as above
    """Return a table of cells with edges; None for a frame, or boxes that are no table."""
    lefts, tops = (_edges(sorted({cell[side] for cell in table.cells})) for side in (0, 1))
    if len(lefts) < 2 or len(tops) < 2:
        return None
    own = [word for word in words if _inside(word, table.bbox)]
    texts: dict[tuple[int, int], list[str]] = {}
    for word in own:
        row = bisect_right(tops, (word["top"] + word["bottom"]) / 2) - 1
        column = bisect_right(lefts, (word["x0"] + word["x1"]) / 2) - 1
        texts.setdefault((max(row, 0), max(column, 0)), []).append(word["text"])
    grid, at = Grid(), -1
    for cell in sorted(table.cells, key=lambda cell: (_of(tops, cell[1]), _of(lefts, cell[0]))):
        row, column = _of(tops, cell[1]), _of(lefts, cell[0])
        while at < row:
            grid.end_row()
            grid.row()
            at += 1
        grid.fill(column)
        wide = max(1, bisect_right(lefts, cell[2] - 2) - column)
        below = max(1, bisect_right(tops, cell[3] - 2) - row)
        inside = (texts.get((r, c), []) for r in range(row, row + below) for c in range(column, column + wide))
        grid.cell(" ".join(word for part in inside for word in part), columns=wide, rows=below)
    grid.end_row()
    filled = sum(sum(map(bool, row)) > 1 for row in grid.rows)
    return _Found(grid, table.bbox, lefts) if filled > 1 else None


def _edges(values: Sequence[float]) -> list[float]:
    return [value for before, value in zip([float("-inf"), *values], values, strict=False) if value - before > 2]


def _of(edges: Sequence[float], value: float) -> int:
    return max(bisect_right(edges, value + 2) - 1, 0)


class _Cell(NamedTuple):
    left: float
    right: float
    text: str


class _Line(NamedTuple):
    top: float
    bottom: float
    cells: list[_Cell]


def _lines(words: Sequence[dict[str, Any]]) -> list[_Line]:
    """Return the lines of a page, split where words are far apart."""
    lines: list[list[dict[str, Any]]] = []
    for word in sorted(words, key=lambda word: ((word["top"] + word["bottom"]) / 2, word["x0"])):
        middle = (word["top"] + word["bottom"]) / 2
        if lines and lines[-1][0]["top"] <= middle <= lines[-1][0]["bottom"]:
            lines[-1].append(word)
        else:
            lines.append([word])
    return [_line(sorted(line, key=lambda word: word["x0"])) for line in lines]


def _line(words: Sequence[dict[str, Any]]) -> _Line:
    cells: list[_Cell] = []
    for word in words:
        size, last = word["bottom"] - word["top"], cells[-1] if cells else None
        dots = _LEADER.fullmatch(word["text"]) is not None
        if last is None or dots or word["x0"] - last.right > _COLUMN_GAP * size or not last.text:
            if last is not None and not last.text:
                cells.pop()
            cells.append(_Cell(word["x0"], word["x1"], "" if dots else word["text"]))
        else:
            cells[-1] = _Cell(last.left, word["x1"], f"{last.text} {word['text']}")
    split = [_LEADER.sub("  ", cell.text).strip() for cell in cells]
    kept = [cell._replace(text=text) for cell, text in zip(cells, split, strict=True) if text]
    return _Line(min(word["top"] for word in words), max(word["bottom"] for word in words), kept)


def _unruled(lines: Sequence[_Line]) -> Iterator[_Found]:
    """Yield tables from consecutive lines whose words stand in the same columns."""
    block: list[_Line] = []
    for line in [*lines, None]:
        if line is not None and _belongs(block, line):
            block.append(line)
            continue
        while block and len(block[-1].cells) < 2:
            block.pop()
        if (columned := _columned(block)) is not None:
            yield columned
        block = [line] if line is not None and len(line.cells) > 1 else []


def _belongs(block: Sequence[_Line], line: _Line) -> bool:
    if not block or not line.cells or line.top - block[-1].bottom > _LINE_GAP * (line.bottom - line.top):
        return False
    if len(line.cells) > 1:
        return True
    # A cell that goes on: it begins where a cell above does that is not the first of its row.
    above = [cell.left for line in block[-2:] for cell in line.cells[1:]]
    return any(abs(line.cells[0].left - left) < 3 for left in above)


def _columned(block: Sequence[_Line]) -> _Found | None:
    """Return a table if the words of most lines stand in the same columns and are not prose; else None."""
    if sum(len(line.cells) > 1 for line in block) < _FEWEST_LINES:
        return None
    columns: list[tuple[float, float]] = []
    for cell in sorted((cell for line in block for cell in line.cells), key=lambda cell: cell.left):
        if columns and cell.left < columns[-1][1]:
            columns[-1] = (columns[-1][0], max(columns[-1][1], cell.right))
        else:
            columns.append((cell.left, cell.right))
    lefts = [left for left, _ in columns]
    rows = [
        [" ".join(cell.text for cell in line.cells if _of(lefts, cell.left) == at) for at in range(len(lefts))]
        for line in block
    ]
    several = [row for row in rows if sum(map(bool, row)) > 1]
    if len(lefts) < 2 or len(several) < _FEWEST_LINES:
        return None
    lengths = [
        median(len(row[at].split()) for row in several if row[at])
        for at in range(len(lefts))
        if any(row[at] for row in several)
    ]
    items = len(lefts) == 2 and all(_MARKER.fullmatch(row[0]) for row in several)
    if items or min(lengths[1:], default=_CELL_WORDS + 1) > _CELL_WORDS:
        return None
    grid = Grid()
    for at, (row, line) in enumerate(zip(rows, block, strict=True)):
        size = line.bottom - line.top
        tight = at > 0 and line.top - block[at - 1].top < _TIGHT * size
        head = at == 1 and not any(sign.isdigit() for cell in (*row, *rows[0]) for sign in cell)
        if at and not row[0] and (tight or head or sum(map(bool, row)) == 1):
            grid.rows[-1] = [f"{above} {cell}".strip() for above, cell in zip(grid.rows[-1], row, strict=True)]
        else:
            grid.row(row)
    box = (lefts[0], block[0].top, max(right for _, right in columns), block[-1].bottom)
    return _Found(grid, box, lefts)


def _is_continued(before: _Found, table: _Found, words: Sequence[dict[str, Any]]) -> bool:
    """Return whether a table continues at the top of the next page: same columns, nothing but a running head above."""
    same = len(before.columns) == len(table.columns) and all(
        abs(a - b) < _NEAR for a, b in zip(before.columns, table.columns, strict=True)
    )
    above = {round(word["top"]) for word in words if word["bottom"] < table.box[1]}
    return same and sum(b - a > 2 for a, b in pairwise(sorted({-9, *above}))) <= 2

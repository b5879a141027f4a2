"""PDF: the text of each page in reading order, its tables, the headings of the outline and the values of form fields.

Ruled tables are found by pdfplumber, unruled ones by the columns of their words.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from io import BytesIO
from itertools import pairwise, takewhile
from math import hypot
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, NamedTuple

from coterie.knowledge.parsed import Grid, Heading, Parsed, TextBuilder, Unreadable

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
_SHIFTED = 12.0
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
    return sorted([*ruled, *_unruled(_table_lines(outside))], key=lambda table: table.box[1])


def _inside(word: dict[str, Any], box: tuple[float, float, float, float]) -> bool:
    x, y = (word["x0"] + word["x1"]) / 2, (word["top"] + word["bottom"]) / 2
    return bool(box[0] - 1 <= x <= box[2] + 1 and box[1] - 1 <= y <= box[3] + 1)


def _ruled(table: Any, words: Sequence[dict[str, Any]]) -> _Found | None:  # noqa: ANN401 - as above
    """Return a table of cells with edges; None for a frame, or boxes that are no table."""
    lefts, tops = (_column_edges(sorted({cell[side] for cell in table.cells})) for side in (0, 1))
    if len(lefts) < 2 or len(tops) < 2:
        return None
    own = [word for word in words if _inside(word, table.bbox)]
    texts: dict[tuple[int, int], list[str]] = {}
    for word in own:
        row = bisect_right(tops, (word["top"] + word["bottom"]) / 2) - 1
        column = bisect_right(lefts, (word["x0"] + word["x1"]) / 2) - 1
        texts.setdefault((max(row, 0), max(column, 0)), []).append(word["text"])
    grid, at = Grid(), -1
    for cell in sorted(table.cells, key=lambda cell: (_column_of(tops, cell[1]), _column_of(lefts, cell[0]))):
        row, column = _column_of(tops, cell[1]), _column_of(lefts, cell[0])
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


def _column_edges(values: Sequence[float]) -> list[float]:
    return [value for before, value in zip([float("-inf"), *values], values, strict=False) if value - before > 2]


def _column_of(edges: Sequence[float], value: float) -> int:
    return max(bisect_right(edges, value + 2) - 1, 0)


class _Cell(NamedTuple):
    left: float
    right: float
    text: str


class _Line(NamedTuple):
    top: float
    bottom: float
    cells: list[_Cell]


def _table_lines(words: Sequence[dict[str, Any]]) -> list[_Line]:
    """Return the lines of a page, split where words are far apart."""
    lines: list[list[dict[str, Any]]] = []
    for word in sorted(words, key=lambda word: ((word["top"] + word["bottom"]) / 2, word["x0"])):
        middle = (word["top"] + word["bottom"]) / 2
        if lines and lines[-1][0]["top"] <= middle <= lines[-1][0]["bottom"]:
            lines[-1].append(word)
        else:
            lines.append([word])
    return [_table_line(sorted(line, key=lambda word: word["x0"])) for line in lines]


def _table_line(words: Sequence[dict[str, Any]]) -> _Line:
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
        [" ".join(cell.text for cell in line.cells if _column_of(lefts, cell.left) == at) for at in range(len(lefts))]
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
        abs(a - b) < _SHIFTED for a, b in zip(before.columns, table.columns, strict=True)
    )
    above = {round(word["top"]) for word in words if word["bottom"] < table.box[1]}
    return same and sum(b - a > 2 for a, b in pairwise(sorted({-9, *above}))) <= 2


# --- Layout: positions and sizes of words, from which headings and paragraphs are derived.

_LARGER = 1.12
"""Factor of the text size from which a line counts as a heading."""
_MOST_LINES, _LONGEST = 3, 120
"""Most lines of a heading, and most characters of a line."""
_MOST = 0.25
"""Largest share of a document that headings may be; beyond it, the large text is something else."""
_GAP = 1.25
"""Factor of the usual line spacing beyond which a line begins a paragraph."""
_TOGETHER = 2.0
"""Largest distance between the lines of a heading, as a factor of their size."""
_LEVELS = 6
_LIGATURES = str.maketrans(
    {"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\ufb05": "st", "\ufb06": "st"}
)
_ENDS = ".!?:;"
_HEAVY = ("bold", "black", "heavy", "demi")
"""Parts of font names that indicate bold type."""


class PageLine(NamedTuple):
    """A line of a page."""

    text: str
    x: float
    """Left edge of the line, in points from the left of the page; NaN if it is not known."""
    y: float
    """Points from the bottom of the page."""
    size: float
    """Size of most of its letters, in points."""
    bold: bool
    """Whether the whole line is bold."""
    row: bool = False
    """Whether the line is a table row, as a paragraph."""


class Title(NamedTuple):
    """A heading with its page."""

    level: int
    page: int
    title: str


class _Piece(NamedTuple):
    text: str
    x: float
    y: float
    size: float
    bold: bool


def read_lines(page: pypdf.PageObject) -> list[PageLine]:
    """Return the lines of a page in the order of its text, without blank lines."""
    pieces: list[_Piece] = []

    def see(text: str, cm: list[float], tm: list[float], font: dict[str, object] | None, size: float) -> None:
        x, y = tm[4], tm[5]
        scale = hypot(tm[2], tm[3]) * hypot(cm[2], cm[3])
        name = str((font or {}).get("/BaseFont", "")).casefold()
        origin = (x * cm[0] + y * cm[2] + cm[4], x * cm[1] + y * cm[3] + cm[5])
        pieces.append(_Piece(text.translate(_LIGATURES), *origin, size * scale, any(word in name for word in _HEAVY)))

    page.extract_text(visitor_text=see)
    return list(_lines(pieces))


def _lines(pieces: Sequence[_Piece]) -> Iterator[PageLine]:
    line: list[_Piece] = []
    for piece in pieces:
        *ended, rest = piece.text.split("\n")
        for text in ended:
            yield from _line([*line, piece._replace(text=text)])
            line = []
        line.append(piece._replace(text=rest))
    yield from _line(line)


def _line(pieces: Sequence[_Piece]) -> Iterator[PageLine]:
    filled = [piece for piece in pieces if piece.text.strip()]
    if filled:
        sizes = Counter[float]()
        for piece in filled:
            sizes[round(piece.size, 1)] += len(piece.text)
        text = "".join(piece.text for piece in pieces).rstrip()
        size = sizes.most_common(1)[0][0]
        yield PageLine(text, filled[0].x, filled[0].y, size, all(piece.bold for piece in filled))


def set_apart(pages: Sequence[Sequence[PageLine]]) -> list[str]:
    """Return the text of each page, with a blank line before a line that is farther away than usual."""
    distances = [
        (above.y - below.y) / above.size
        for page in pages
        for above, below in pairwise(page)
        if above.size == below.size and 0 < above.y - below.y < 4 * above.size
    ]
    usual = quantiles(distances, n=4)[0] if len(distances) > 1 else 4.0
    return ["\n".join(_apart(page, usual)) for page in pages]


def _apart(page: Sequence[PageLine], usual: float) -> Iterator[str]:
    yield from (line.text for line in page[:1])
    for above, below in pairwise(page):
        size = max(above.size, below.size)
        distance = above.y - below.y
        far = distance > _GAP * usual * size or distance < -size  # above: another column, or a head that comes last
        goes_on = above.size == below.size and above.text[-1] not in _ENDS and below.text.lstrip()[0].islower()
        larger = max(above.size, below.size) > _LARGER * min(above.size, below.size)
        if above.row or below.row or ((far or larger) and not goes_on):
            yield ""
        yield below.text


def find_titles(pages: Sequence[Sequence[PageLine]]) -> list[Title]:
    """Return the headings, recognised by their type: larger than the text, or bold where the text is not.

    Larger headings rank higher. If much of a document has such type, nothing is a heading.
    """
    sizes, bold = Counter[float](), 0
    for line in (line for page in pages for line in page):
        sizes[line.size] += len(line.text)
        bold += len(line.text) * line.bold
    if not sizes:
        return []
    text = sizes.most_common(1)[0][0]
    heavy = bold > sizes.total() / 2
    titles: list[tuple[float, int, str]] = []
    for number, page in enumerate(pages):
        for run in _alike([line for line in page if not line.row]):
            title = " ".join(" ".join(line.text for line in run).split())
            size = run[0].size
            marked = size > _LARGER * text or (run[0].bold and not heavy and size >= text)
            if marked and len(run) <= _MOST_LINES and _is_title(title):
                titles.append((size, number, title))
    if sum(len(title) for _, _, title in titles) > _MOST * sizes.total():
        return []
    ranks = {size: min(rank, _LEVELS) for rank, size in enumerate(sorted({s for s, _, _ in titles}, reverse=True), 1)}
    return [Title(ranks[size], page, title) for size, page, title in titles]


def _alike(page: Sequence[PageLine]) -> Iterator[list[PageLine]]:
    run: list[PageLine] = []
    for line in page:
        if run and not (
            (line.size, line.bold) == (run[-1].size, run[-1].bold) and 0 < run[-1].y - line.y < _TOGETHER * line.size
        ):
            yield run
            run = []
        run.append(line)
    if run:
        yield run


def _is_title(text: str) -> bool:
    return len(text) <= _LONGEST and re.search(r"[^\W\d_]{2}", text) is not None and text[-1] not in ".,;"


# --- Pages as one text, without running headers and footers, with words and sentences joined across lines.

_FEWEST, _SHARE = 3, 0.4
"""Least number of pages, and share of all, whose edges repeat a line for it to count as a running head or foot.

The share is less than half, as left and right pages may have heads of their own.
"""
_EDGE = 3
"""Lines at the top and at the bottom of a page that may be running heads or feet."""
_PAGE_WORDS = "page|pages|pg|p|seite|s|página|pagina|pág|pag|side|sida|strana|str|strona|стр"
_NUMBERED = re.compile(
    rf"^\W*(?:(?:{_PAGE_WORDS})\W*)?(\d{{1,5}})(?:\W*(?:of|von|de|di|sur|av|z|из|/)?\W*\d{{1,5}})?\W*$", re.IGNORECASE
)
_BROKEN = re.compile(r"([^\W\d_]+)[-\u2010\u00ad][ \t]*\n[ \t]*([^\W\d_]+[^\s\w]*)[ \t\n]?")
"""A word that is broken at the end of a line, with its hyphen."""
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_ENDS_PAGES = frozenset('.!?…:;。\uff01\uff1f"”»)')


def join_pages(texts: Sequence[str], *, kept: Collection[str] = ()) -> Parsed:
    """Join the texts of all pages.

    Running heads and feet, and page numbers, are left out on all pages but the first that has them. A word that
    was broken at the end of a line is joined, and a sentence that continues on the next page is not cut.

    Args:
        texts: The text of each page, with the page's lines.
        kept: Lines that are headings, wherever they stand.
    """
    pages = _whole_words(_without_edges([text.strip("\n").split("\n") for text in texts], frozenset(kept)))
    writer = TextBuilder()
    for number, text in enumerate(pages):
        writer.page()
        if text:
            following = next((page for page in pages[number + 1 :] if page), "")
            goes_on = text[-1] not in _ENDS_PAGES and following[:1].islower()
            writer.write(f"{text}\n" if goes_on else f"{text}\n\n")
    return writer.parsed()


def _offsets(number: int, lines: Iterable[str]) -> set[int]:
    """Return the differences between apparent page numbers in these lines and the page's position."""
    return {int(match[1]) - number for line in lines if (match := _NUMBERED.match(line))}


def _without_edges(pages: Sequence[list[str]], kept: frozenset[str]) -> list[str]:
    """Return the pages' texts without lines that are printed on every page."""
    edges = [_edges(page) for page in pages]
    lines = [{line for edge in both for _, line in edge} for both in edges]
    line_counts = Counter(line for page_lines in lines for line in page_lines)
    offsets = Counter(offset for number, line in enumerate(lines) for offset in _offsets(number, line))
    least = max(_FEWEST, _SHARE * len(pages))
    seen: set[str] = set()
    texts = []
    for number, page in enumerate(pages):

        def printed(line: str, number: int = number) -> bool:
            numbered = _NUMBERED.match(line)
            counted = numbered is not None and offsets[int(numbered[1]) - number] >= least
            return line not in kept and (counted or line_counts[line] >= least)

        # From the edge inwards: what stands behind a line of the text is text, whatever other pages have there.
        outer = [
            numbered_line for edge in edges[number] for numbered_line in takewhile(lambda row: printed(row[1]), edge)
        ]
        gone = {index for index, line in outer if line in seen or _NUMBERED.match(line)}
        seen.update(line for _, line in outer)
        texts.append("\n".join(line for index, line in enumerate(page) if index not in gone).strip())
    return texts


def _edges(page: Sequence[str]) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Return the first and last non-blank lines of a page with their positions, from the edge inwards."""
    lines = [(index, " ".join(line.split())) for index, line in enumerate(page) if line.strip()]
    return lines[:_EDGE], lines[: -_EDGE - 1 : -1]


def _whole_words(pages: Sequence[str]) -> list[str]:
    """Join words that were broken at the end of a line.

    A hyphen stays if the hyphenated word occurs elsewhere in the document, or both halves occur as words.
    """
    if not any(_BROKEN.search(page) for page in pages):
        return list(pages)
    whole_words = {word for page in pages for word in _WORD.findall(_BROKEN.sub(" ", page).lower())}

    def whole(match: re.Match[str]) -> str:
        first, rest = match[1], match[2]
        second = _WORD.match(rest)
        if second is None or not rest[0].islower():
            return match[0]
        halves = (first.lower(), second[0].lower())
        compound = "-".join(halves) in whole_words or (
            "".join(halves) not in whole_words and set(halves) <= whole_words
        )
        return f"{first}{'-' if compound else ''}{rest}\n"

    return [_BROKEN.sub(whole, page).rstrip("\n") for page in pages]


_DAY = re.compile(r"D:(\d{4})(\d\d)(\d\d)")
_SAME = 0.9
"""Share of a line's words that a table must contain for the line to belong to the table."""
_MOST_ENTRIES = 5000
"""Most entries of an outline that are searched in the text."""
_NEAR = 4.0
"""Vertical distance in points between a field and the words beside it, at most."""
_PUSH_BUTTON, _PASSWORD = 1 << 16, 1 << 13  # bits of a field's flags (ISO 32000-1, tables 226 and 228)


def parse_pdf(content: bytes) -> Parsed:
    """Return the text of each page with tables row by row; headings come from the outline, else from the type.

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
        pages = [] if locked else [_filled(page) for page in reader.pages]
        tables, note = ([], "") if locked else find_tables(content, reader.pages)
        changed = None if locked or reader.metadata is None else reader.metadata.get("/ModDate")
        entries = [] if locked else list(_entries(reader, reader.outline))[:_MOST_ENTRIES]
    except MemoryError:
        raise
    except Exception as error:
        raise Unreadable(f"it is no readable PDF ({type(error).__name__}: {error})") from error
    if locked:
        raise Unreadable("it is encrypted: save a copy without a password")
    for table in tables:
        _put(table, pages[table.page])
    rows = [line.text for page in pages for line in page if line.row]
    kept = [*(entry.title for entry in entries), *(line for row in rows for line in row.split("\n"))]
    parsed = join_pages(set_apart(pages), kept=kept)
    if not parsed.text.strip():
        raise Unreadable("its pages hold no text: they are pictures, or empty")
    titles = entries or find_titles(pages)
    day = _DAY.match(str(changed or ""))
    return Parsed(
        text=parsed.text,
        pages=parsed.pages,
        headings=tuple(_headings_of(parsed, titles, lines=not entries)),
        rows=tuple(_places(parsed.text, rows)),
        dated="-".join(day.groups()) if day else None,
        note=note,
    )


def _put(table: PdfTable, lines: list[PageLine]) -> None:
    """Replace a table's lines on the page by its rows; do nothing if none of the lines is found."""
    own = [
        index
        for index, line in enumerate(lines)
        if not line.row
        and (not table.upright or table.low - _NEAR <= line.y <= table.high + _NEAR)
        and sum(word in table.words for word in line.text.split()) >= _SAME * len(line.text.split())
    ]
    if own:
        first = lines[own[0]]
        rows = [PageLine(row, first.x, first.y, first.size, bold=False, row=True) for row in table.rows]
        lines[:] = [line for index, line in enumerate(lines) if index not in own or index == own[0]]
        lines[own[0] : own[0] + 1] = rows


def _places(text: str, rows: Sequence[str]) -> Iterator[tuple[int, int]]:
    at = 0
    for row in rows:
        if (start := text.find(row, at)) >= 0:
            at = start + len(row)
            yield start, at


def _filled(page: pypdf.PageObject) -> list[PageLine]:
    """Return the lines of a page; the value of a form field follows the words beside it."""
    lines = read_lines(page)
    for left, low, high, name, value in _fields(page):
        beside = [index for index, line in enumerate(lines) if low - _NEAR <= line.y <= high + _NEAR and line.x < left]
        if beside:
            nearest = max(beside, key=lambda index: lines[index].x)
            lines[nearest] = lines[nearest]._replace(text=f"{lines[nearest].text.rstrip(' :')}: {value}")
        else:
            lines.append(PageLine(f"{name}: {value}", left, low, lines[-1].size if lines else high - low, bold=False))
    return lines


def _fields(page: pypdf.PageObject) -> Iterator[tuple[float, float, float, str, str]]:
    """Yield the filled fields of a page: left, lower and upper edge, name, value. Broken fields are skipped."""
    for reference in _of(page, "/Annots") or ():
        try:
            note = reference.get_object()
            value = _value(note) if _of(note, "/Subtype") == "/Widget" else ""
            x, low, right, high = (float(number) for number in _of(note, "/Rect")) if value else (0.0,) * 4
            name = str(_inherited(note, "/TU") or _inherited(note, "/T") or "") if value else ""
        except Exception:  # noqa: BLE001, S112 - whatever a form's field is, the text of its page can be read
            continue
        if value:
            yield min(x, right), min(low, high), max(low, high), name, value


def _value(field: Any) -> str:  # noqa: ANN401 - pypdf's dictionaries have no type of their own
    """Return the value of a field; nothing for a button, a signature or a password."""
    kind, value, flags = (_inherited(field, key) for key in ("/FT", "/V", "/Ff"))
    flags = int(flags or 0)
    if kind == "/Btn":
        state = str(_of(field, "/AS") or value or "/Off").removeprefix("/")
        if flags & _PUSH_BUTTON or state == "Off":
            return ""
        return "yes" if state.casefold() in {"yes", "on", "1"} else state
    if kind not in {"/Tx", "/Ch"} or (kind == "/Tx" and flags & _PASSWORD) or value is None:
        return ""
    values = [item.get_object() for item in value] if isinstance(value, list) else [value]
    return ", ".join(" ".join(str(value).split()) for value in values)


def _inherited(field: Any, key: str) -> Any:  # noqa: ANN401 - as above
    """Return a field's own entry, or an ancestor's, up to a realistic depth of nesting."""
    for _ in range(8):
        if key in field or "/Parent" not in field:
            return _of(field, key)
        field = _of(field, "/Parent")
    return None


def _of(holder: Any, key: str) -> Any:  # noqa: ANN401 - as above
    value = holder.get(key)
    return value.get_object() if hasattr(value, "get_object") else value


def _entries(reader: pypdf.PdfReader, outline: list[Any], level: int = 1) -> Iterator[Title]:
    for item in outline:
        if isinstance(item, list):
            yield from _entries(reader, item, level + 1)
        elif (page := reader.get_destination_page_number(item)) is not None and page >= 0:
            yield Title(level, page, str(item.title or ""))


def _headings_of(parsed: Parsed, titles: Sequence[Title], *, lines: bool) -> Iterator[Heading]:
    """Yield the titles that are found on their page, each after the previous one; with `lines`, as whole lines only."""
    at = 0
    for level, page, title in titles:
        words = title.split()
        if not words or page >= len(parsed.pages):
            continue
        end = parsed.pages[page + 1] if page + 1 < len(parsed.pages) else len(parsed.text)
        words_pattern = r"\s+".join(map(re.escape, words))
        pattern = re.compile(rf"^{words_pattern}$" if lines else words_pattern, re.IGNORECASE | re.MULTILINE)
        if match := pattern.search(parsed.text, max(at, parsed.pages[page]), end):
            at = match.end()
            yield Heading(match.start(), match.end(), level, " ".join(words))

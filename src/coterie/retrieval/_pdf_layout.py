"""Where the words of a PDF stand and how large they are printed: from that, which lines are headings and paragraphs.

A PDF has neither: it puts signs in places.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import hypot
from statistics import quantiles
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pypdf

_LARGER = 1.12
"""Times the size of the text: what is printed so large is a heading."""
_MOST_LINES, _LONGEST = 3, 120
"""Lines of a heading, and characters of one."""
_MOST = 0.25
"""Share of a document that headings may be: where more is, they are something else."""
_GAP = 1.25
"""Times the usual distance of lines: what is farther from the line before begins a paragraph."""
_TOGETHER = 2.0
"""Times their size: lines of a heading are no farther from each other."""
_LEVELS = 6
_LIGATURES = str.maketrans(
    {"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\ufb05": "st", "\ufb06": "st"}
)
_ENDS = ".!?:;"
_HEAVY = ("bold", "black", "heavy", "demi")
"""What names of fonts have in them that are printed so."""


class Line(NamedTuple):
    """A line of a page."""

    text: str
    x: float
    """Of its beginning, in points from the left; NaN where it is not known."""
    y: float
    """Points from below."""
    size: float
    """Of most of its letters, in points."""
    bold: bool
    """All of it."""


class Title(NamedTuple):
    """A heading, on which page."""

    level: int
    page: int
    title: str


class _Piece(NamedTuple):
    text: str
    x: float
    y: float
    size: float
    bold: bool


def read_lines(page: pypdf.PageObject) -> list[Line]:
    """The lines of a page in the order of its text. Blank ones are left out."""
    pieces: list[_Piece] = []

    def see(text: str, cm: list[float], tm: list[float], font: dict[str, object] | None, size: float) -> None:
        x, y = tm[4], tm[5]
        scale = hypot(tm[2], tm[3]) * hypot(cm[2], cm[3])
        name = str((font or {}).get("/BaseFont", "")).casefold()
        place = (x * cm[0] + y * cm[2] + cm[4], x * cm[1] + y * cm[3] + cm[5])
        pieces.append(_Piece(text.translate(_LIGATURES), *place, size * scale, any(each in name for each in _HEAVY)))

    page.extract_text(visitor_text=see)
    return list(_lines(pieces))


def _lines(pieces: Sequence[_Piece]) -> Iterator[Line]:
    line: list[_Piece] = []
    for piece in pieces:
        *ended, rest = piece.text.split("\n")
        for text in ended:
            yield from _line([*line, piece._replace(text=text)])
            line = []
        line.append(piece._replace(text=rest))
    yield from _line(line)


def _line(pieces: Sequence[_Piece]) -> Iterator[Line]:
    said = [piece for piece in pieces if piece.text.strip()]
    if said:
        sizes = Counter[float]()
        for piece in said:
            sizes[round(piece.size, 1)] += len(piece.text)
        text = "".join(piece.text for piece in pieces).rstrip()
        size = sizes.most_common(1)[0][0]
        yield Line(text, said[0].x, said[0].y, size, all(piece.bold for piece in said))


def set_apart(pages: Sequence[Sequence[Line]]) -> list[str]:
    """The text of each page, with a blank line before what stands farther from the line before it than lines do."""
    distances = [
        (above.y - below.y) / above.size
        for page in pages
        for above, below in pairwise(page)
        if above.size == below.size and 0 < above.y - below.y < 4 * above.size
    ]
    usual = quantiles(distances, n=4)[0] if len(distances) > 1 else 4.0
    return ["\n".join(_apart(page, usual)) for page in pages]


def _apart(page: Sequence[Line], usual: float) -> Iterator[str]:
    yield from (line.text for line in page[:1])
    for above, below in pairwise(page):
        size = max(above.size, below.size)
        distance = above.y - below.y
        far = distance > _GAP * usual * size or distance < -size  # above: another column, or a head that comes last
        goes_on = above.size == below.size and above.text[-1] not in _ENDS and below.text.lstrip()[0].islower()
        if (far or _is_other(above, below)) and not goes_on:
            yield ""
        yield below.text


def _is_other(above: Line, below: Line) -> bool:
    """Whether a line is printed so differently from the one before that it cannot belong to it."""
    return max(above.size, below.size) > _LARGER * min(above.size, below.size)


def find_titles(pages: Sequence[Sequence[Line]]) -> list[Title]:
    """The headings, by how they are printed: larger than the text, or bold where the text is not.

    The larger, the higher in rank. Where much of a document is printed so, nothing is a heading.
    """
    sizes, bold = Counter[float](), 0
    for line in (line for page in pages for line in page):
        sizes[line.size] += len(line.text)
        bold += len(line.text) * line.bold
    if not sizes:
        return []
    text = sizes.most_common(1)[0][0]
    heavy = bold > sizes.total() / 2
    found: list[tuple[float, int, str]] = []
    for number, page in enumerate(pages):
        for run in _alike(page):
            title = " ".join(" ".join(line.text for line in run).split())
            size = run[0].size
            marked = size > _LARGER * text or (run[0].bold and not heavy and size >= text)
            if marked and len(run) <= _MOST_LINES and _is_title(title):
                found.append((size, number, title))
    if sum(len(title) for _, _, title in found) > _MOST * sizes.total():
        return []
    ranks = {size: min(rank, _LEVELS) for rank, size in enumerate(sorted({s for s, _, _ in found}, reverse=True), 1)}
    return [Title(ranks[size], page, title) for size, page, title in found]


def _alike(page: Sequence[Line]) -> Iterator[list[Line]]:
    """Lines that are printed alike, one below the other."""
    run: list[Line] = []
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

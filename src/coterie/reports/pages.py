"""The contents of a report as values, its charts as SVG, and the templates that turn them into one HTML file.

A page loads nothing and runs no script. Every value is text and is escaped, except `Markup` such as a chart.

A chart knows numbers and pixels, but not their meaning. All its text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table: its text, with optional additions."""

    text: str = ""
    note: str = ""
    """Smaller text after it."""
    key: str = ""
    """Class of the colour marker before it: `c0` to `c4`, `large`."""
    quotes: Sequence[str] = ()
    """Quoted texts below it, one a line."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Headings and rows; the first column stays in place when a narrow screen scrolls the others."""

    headings: Sequence[str]
    rows: Sequence[Sequence[Cell | str]]
    marked: Collection[int] = ()
    """Positions of the highlighted rows."""
    prose: bool = False
    """Whether the cells are words, not numbers: aligned left, and wrapped."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """A section of a report: a heading and the given contents, in the order of the fields."""

    title: str
    caption: str = ""
    legend: Sequence[tuple[str, str]] = ()
    """Class of the colour and name of each series."""
    chart: Markup | None = None
    table: Table | None = None
    items: Sequence[str] = ()
    terms: Sequence[tuple[str, str]] = ()
    """Name and description of each term."""
    wide: bool = False
    """Whether the card takes the whole width; other cards stand two in a row."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole page."""

    title: str
    subtitle: str
    verdict: Sequence[str] = ()
    """Result of the report, a sentence or two a line."""
    outcome: str = ""
    """Colour of the result: `met`, `reached`, `missed`, or empty."""
    cards: Sequence[Card]


def page(report: Report) -> str:
    """Render a report as one HTML file."""
    return render("report.html.j2", report=report)


def render(template: str, **values: object) -> str:
    """Render a template of this package; a missing value is an error."""
    return environment("coterie.reports").get_template(template).render(**values)


@cache
def environment(package: str) -> Environment:
    """Return the template environment of a package: output is escaped, and a missing value is an error."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda value: value if isinstance(value, Cell) else Cell(text=value)
    return environment


# --- Numbers as the text of a report; a dash stands for what is not known.

UNKNOWN = "-"


def percent(share: float | None) -> str:
    """Return a share as a percentage with one decimal place."""
    return UNKNOWN if share is None else f"{share:.1%}"


def decimals(value: float | None, places: int = 3) -> str:
    """Return a number with `places` decimal places."""
    return UNKNOWN if value is None or value != value else f"{value:.{places}f}"  # noqa: PLR0124 - NaN


def significant(value: float | None) -> str:
    """Return a number with three significant digits; integers from 100 on."""
    if value is None:
        return UNKNOWN
    return (
        f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}" if value and abs(value) >= 1e-4 else f"{value:.3g}"
    )


def interval(low: float, high: float) -> str:
    """Return the ends of an interval as text."""
    return f"{decimals(low)} to {decimals(high)}"


_WIDTH, _HEIGHT = 470.0, 290.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 20.0, 14.0, 44.0
_UNTITLED = 10.0  # pixels less at the bottom of a chart whose horizontal axis has no title
_TICKS = 5  # about so many on an axis
_CHARACTER = 6.4  # pixels of one in a label, about
_LINE = 14.0  # pixels from one label to the next below it


def _element(name: str, content: str = "", /, **attributes: object) -> Markup:
    """Make an SVG element: `class_` is its class, numbers have one decimal place, text is escaped."""
    written = Markup().join(
        Markup(' {}="{}"').format(key.rstrip("_"), f"{value:.1f}" if isinstance(value, float) else value)
        for key, value in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, content)  # noqa: S704 - our own names


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One direction of a chart."""

    title: str
    low: float
    high: float
    log: bool = False
    show: Callable[[float], str] = "{:g}".format
    """Returns the text of a tick."""
    marks: tuple[float, ...] = ()
    """Positions of the ticks, if they are not to be round values."""

    def share(self, value: float) -> float:
        """Return the position of a value between low and high, 0 to 1."""
        least = self.low if self.log else -math.inf
        low, high, at = (math.log10(x) if self.log else x for x in (self.low, self.high, max(value, least)))
        return min(1.0, max(0.0, (at - low) / (high - low)))

    def ticks(self) -> list[float]:
        """Return the given ticks, else round values between low and high; powers of ten on a logarithmic axis."""
        if self.marks:
            return list(self.marks)
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = max(1, math.ceil((last - first + 1) / (_TICKS + 2)))
            return [10.0**power for power in range(first, last + 1, every)]
        step = _round_step((self.high - self.low) / _TICKS)
        first = math.ceil(self.low / step - 1e-9)
        return [round(step * i, 10) for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _round_step(step: float) -> float:
    """Return the next larger value among 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A frame with axes; its contents are drawn in the order they are added."""

    x: Axis
    y: Axis
    description: str
    """Text alternative of the chart."""
    _parts: list[Markup] = field(default_factory=list)
    _labels: list[tuple[float, float, float]] = field(default_factory=list)
    """Left end, right end and baseline of each label, in pixels."""

    @property
    def _bottom(self) -> float:
        return _HEIGHT - _BOTTOM + (0.0 if self.x.title else _UNTITLED)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixel of a value."""
        return (
            _LEFT + self.x.share(x) * (_WIDTH - _LEFT - _RIGHT),
            self._bottom - self.y.share(y) * (self._bottom - _TOP),
        )

    def line(self, points: Iterable[tuple[float, float]], class_: str) -> None:
        """Draw a line through values."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))
        self._parts.append(_element("polyline", points=path, class_=f"line {class_}"))

    def dot(self, x: float, y: float, class_: str, *, title: str = "") -> None:
        """Draw a point; its title is shown on hover."""
        at_x, at_y = self.at(x, y)
        self._parts.append(_element("circle", _title(title), cx=at_x, cy=at_y, r=5.0, class_=f"dot {class_}"))

    def column(self, left: float, right: float, y: float, class_: str, *, title: str = "") -> None:
        """Draw a filled column from the axis up to a value; its title is shown on hover."""
        start, top = self.at(left, y)
        end, bottom = self.at(right, self.y.low)
        size = {"width": end - start, "height": bottom - top}
        self._parts.append(_element("rect", _title(title), x=start, y=top, **size, class_=f"column {class_}"))

    def bar(self, x: float, low: float, high: float, class_: str) -> None:
        """Draw a vertical interval with caps."""
        at_x, bottom = self.at(x, low)
        top = self.at(x, high)[1]
        path = f"M{at_x - 5:.1f} {top:.1f}h10M{at_x:.1f} {top:.1f}V{bottom:.1f}M{at_x - 5:.1f} {bottom:.1f}h10"
        self._parts.append(_element("path", d=path, class_=f"line {class_}"))

    def level(self, y: float, label: str, *, at: Literal["start", "end"]) -> None:
        """Draw a dashed line across, with a label on it at one end."""
        start, end = self.at(self.x.low, y), self.at(self.x.high, y)
        self._parts.append(_element("line", x1=start[0], x2=end[0], y1=start[1], y2=end[1], class_="level"))
        x = start[0] + 6 if at == "start" else end[0] - 2
        self._parts.append(_text(label, x=x, y=end[1] - 5, class_=f"note {at}"))

    def label(self, x: float, y: float, text: str, class_: str) -> None:
        """Write a label beside a value, on the side that has room, and below earlier labels that would overlap."""
        at_x, at_y = self.at(x, y)
        length = _CHARACTER * len(text)
        fits = at_x + 10 + length < _WIDTH - _RIGHT
        start = at_x + 10 if fits else at_x - 10 - length
        line = at_y + 4
        while any(start < right and left < start + length and abs(line - y) < _LINE for left, right, y in self._labels):
            line += _LINE
        self._labels.append((start, start + length, line))
        side, anchor = (10.0, "start") if fits else (-10.0, "end")
        self._parts.append(_text(text, x=at_x + side, y=line, class_=f"label {anchor} {class_}"))

    def render(self) -> Markup:
        """Return the chart as one `svg` element."""
        content = _title(self.description) + Markup().join((*self._frame(), *self._parts))
        return _element("svg", content, viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}", role="img", class_="chart")

    def _frame(self) -> Iterable[Markup]:
        """Return grid, ticks and titles; on a narrow screen every other horizontal tick is hidden, or moved down."""
        right, bottom = _WIDTH - _RIGHT, self._bottom
        for tick in self.y.ticks():
            _, y = self.at(self.x.low, tick)
            yield _element("line", x1=_LEFT, x2=right, y1=y, y2=y, class_="grid")
            yield _text(self.y.show(tick), x=_LEFT - 8, y=y + 4, class_="tick end")
        for index, tick in enumerate(self.x.ticks()):
            x, _ = self.at(tick, self.y.low)
            yield _element("line", x1=x, x2=x, y1=_TOP, y2=bottom, class_="grid")
            narrow = ("", "omit" if self.x.title else "lower")[index % 2]
            yield _text(self.x.show(tick), x=x, y=bottom + 17, class_=f"tick middle {narrow}".rstrip())
        if self.x.title:
            yield _text(self.x.title, x=(_LEFT + right) / 2, y=_HEIGHT - 6, class_="axis middle")
        if self.y.title:
            middle = (_TOP + bottom) / 2
            turned = f"rotate(-90 12 {middle:.0f})"
            yield _text(self.y.title, x=12.0, y=middle, transform=turned, class_="axis middle")


def _title(text: str) -> Markup:
    return _element("title", escape(text)) if text else Markup()


def _text(content: str, **attributes: object) -> Markup:
    return _element("text", escape(content), **attributes)


def span(values: Sequence[float], *, least: float) -> tuple[float, float]:
    """Return the low and high of an axis: the values with a margin, at least `least` wide, within 0 and 1."""
    low, high = min(values), max(values)
    margin = max(0.08 * (high - low), (least - (high - low)) / 2)
    return max(0.0, low - margin), min(1.0, high + margin)

"""Small charts as SVG text: two axes and what is drawn between them. Colours are the page's, by class.

It knows numbers and pixels, and nothing of rungs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

_WIDTH, _HEIGHT = 560.0, 340.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 18.0, 16.0, 48.0
_TICKS = 5  # about so many on an axis
_CHARACTER = 6.6  # pixels of one in a label, about


def element(name: str, content: str = "", /, **attributes: object) -> str:
    """An SVG or HTML element; attribute names take `_` for `-`, and `class_` for `class`."""
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    written = "".join(f' {key}="{escape(_attribute(value))}"' for key, value in named.items())
    return f"<{name}{written}>{content}</{name}>"


def _attribute(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What one direction of a chart means."""

    title: str
    low: float
    high: float
    log: bool = False
    show: Callable[[float], str] = "{:g}".format
    """A tick in words."""
    marks: tuple[float, ...] = ()
    """The ticks, where they are not to be round values."""

    def share(self, value: float) -> float:
        """Where a value lies between low and high, 0 to 1."""
        low, high, at = (math.log10(x) if self.log else x for x in (self.low, self.high, max(value, self._least)))
        return min(1.0, max(0.0, (at - low) / (high - low)))

    @property
    def _least(self) -> float:
        return self.low if self.log else -math.inf

    def ticks(self) -> list[float]:
        """Its marks, else round values between low and high; powers of ten on a log axis."""
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
    """The next of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(each * power for each in (1, 2, 5, 10) if each * power >= step * (1 - 1e-9))


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A frame with axes; what is added is drawn in order."""

    x: Axis
    y: Axis
    about: str
    """What it shows, for those who cannot see it."""
    parts: list[str] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The pixel of a value."""
        return (
            _LEFT + self.x.share(x) * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - self.y.share(y) * (_HEIGHT - _TOP - _BOTTOM),
        )

    def line(self, points: Iterable[tuple[float, float]], class_: str) -> None:
        """A line through values."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*point) for point in points))
        self.parts.append(element("polyline", points=path, class_=f"line {class_}"))

    def dot(self, x: float, y: float, class_: str, *, says: str = "") -> None:
        """A point, with what it says when pointed at."""
        at_x, at_y = self.at(x, y)
        title = element("title", escape(says)) if says else ""
        self.parts.append(element("circle", title, cx=at_x, cy=at_y, r=5.0, class_=f"dot {class_}"))

    def column(self, left: float, right: float, y: float, class_: str, *, says: str = "") -> None:
        """A filled column from the axis up to a value, with what it says when pointed at."""
        start, top = self.at(left, y)
        end, bottom = self.at(right, self.y.low)
        title = element("title", escape(says)) if says else ""
        size = {"width": end - start, "height": bottom - top}
        self.parts.append(element("rect", title, x=start, y=top, **size, class_=f"column {class_}"))

    def bar(self, x: float, low: float, high: float, class_: str) -> None:
        """A vertical interval with caps."""
        at_x, bottom = self.at(x, low)
        top = self.at(x, high)[1]
        path = f"M{at_x - 5:.1f} {top:.1f}h10M{at_x:.1f} {top:.1f}V{bottom:.1f}M{at_x - 5:.1f} {bottom:.1f}h10"
        self.parts.append(element("path", d=path, class_=f"line {class_}"))

    def level(self, y: float, says: str, *, at: Literal["start", "end"]) -> None:
        """A dashed line across, with words on it at one end."""
        start, end = self.at(self.x.low, y), self.at(self.x.high, y)
        self.parts.append(element("line", x1=start[0], x2=end[0], y1=start[1], y2=end[1], class_="level"))
        x = start[0] + 6 if at == "start" else end[0] - 2
        self.parts.append(element("text", escape(says), x=x, y=end[1] - 5, class_=f"note {at}"))

    def label(self, x: float, y: float, says: str, class_: str) -> None:
        """Words beside a value, on the side that has room."""
        at_x, at_y = self.at(x, y)
        fits = at_x + 10 + _CHARACTER * len(says) < _WIDTH - _RIGHT
        side, anchor = (10.0, "start") if fits else (-10.0, "end")
        self.parts.append(
            element("text", escape(says), x=at_x + side, y=at_y + 4, class_=f"label {anchor} text-{class_}")
        )

    def render(self) -> str:
        """The chart as one `svg` element."""
        content = element("title", escape(self.about)) + "".join((*self._frame(), *self.parts))
        return element("svg", content, viewBox=f"0 0 {_WIDTH:g} {_HEIGHT:g}", role="img", class_="chart")

    def _frame(self) -> Iterable[str]:
        """Grid, ticks and titles."""
        right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        for tick in self.y.ticks():
            _, y = self.at(self.x.low, tick)
            yield element("line", x1=_LEFT, x2=right, y1=y, y2=y, class_="grid")
            yield element("text", escape(self.y.show(tick)), x=_LEFT - 8, y=y + 4, class_="tick end")
        for tick in self.x.ticks():
            x, _ = self.at(tick, self.y.low)
            yield element("line", x1=x, x2=x, y1=_TOP, y2=bottom, class_="grid")
            yield element("text", escape(self.x.show(tick)), x=x, y=bottom + 18, class_="tick middle")
        yield element("text", escape(self.x.title), x=(_LEFT + right) / 2, y=_HEIGHT - 8, class_="axis middle")
        middle = (_TOP + bottom) / 2
        turned = f"rotate(-90 14 {middle:.0f})"
        yield element("text", escape(self.y.title), x=14, y=middle, transform=turned, class_="axis middle")


def span(values: Sequence[float], *, least: float, floor: float = 0.0, ceiling: float = 1.0) -> tuple[float, float]:
    """Low and high of an axis: the values with a margin, at least so wide, within the bounds."""
    low, high = min(values), max(values)
    margin = max(0.08 * (high - low), (least - (high - low)) / 2)
    return max(floor, low - margin), min(ceiling, high + margin)

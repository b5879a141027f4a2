"""Charts as SVG elements without inline styles: classes set the colours, a table beside each shows the figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from coterie.reports.pages import Axis, Chart
from coterie.types import Omission

_ONE_DAY = 26
"""Most columns of hours that stand for about one day."""


class Band(NamedTuple):
    """One series of stacked columns."""

    name: str
    class_: str
    values: Sequence[float]


def figure(value: float) -> str:
    """Return three digits of a number, never as a power of ten where it has more."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def columns(
    labels: Sequence[str], bands: Sequence[Band], *, description: str, show: Callable[[float], str] = "{:,.0f}".format
) -> Markup:
    """Draw stacked columns over time: one column per label, its bands stacked. Labels of one day show its hours."""
    width, height, left, bottom, top = 470.0, 190.0, 46.0, 24.0, 10.0
    totals = [sum(band.values[at] for band in bands) for at in range(len(labels))]
    axis = Axis(title="", low=0.0, high=max([*totals, 0.0]) * 1.05 or 1.0)
    step = (width - left - 8) / max(len(labels), 1)
    # Some hundred columns: numbers are put into strings as they are, which is five times as quick as `Markup.format`.
    parts = [f"<title>{escape(description)}</title>"]
    for tick in axis.ticks():
        y = height - bottom - axis.share(tick) * (height - bottom - top)
        parts.append(
            f'<line class="grid" x1="{left:.1f}" x2="{width - 8:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick end" x="{left - 8:.1f}" y="{y + 4:.1f}">{escape(show(tick))}</text>'
        )
    every, begin = max(1, math.ceil(len(labels) / 7)), 11 if len(labels) <= _ONE_DAY else 5
    gap = min(step * 0.12, 3)
    for at, label in enumerate(labels):
        x, y = left + at * step, height - bottom
        for band in bands:
            tall = band.values[at] / axis.high * (height - bottom - top)
            y -= tall
            if tall > 0:
                tooltip = escape(f"{label}: {band.name} {show(band.values[at])}")
                parts.append(
                    f'<rect class="column {escape(band.class_)}" x="{x + gap:.1f}" y="{y:.1f}" '
                    f'width="{max(step - 2 * gap, 0.8):.1f}" height="{tall:.2f}"><title>{tooltip}</title></rect>'
                )
        if at % every == 0:
            position = f'x="{x + step / 2:.1f}" y="{height - 6:.1f}"'
            parts.append(f'<text class="tick middle" {position}>{escape(label[begin:] or label[5:])}</text>')
    return Markup('<svg class="chart" viewBox="0 0 {:g} {:g}" role="img">{}</svg>').format(
        width,
        height,
        Markup("".join(parts)),  # noqa: S704 - every text in it is escaped
    )


def spark(values: Sequence[float], *, description: str) -> Markup:
    """Draw a small line of recent values."""
    if len(values) < 2:
        return Markup()
    most = max([*values, 1])
    points = " ".join(
        f"{at * 96 / (len(values) - 1):.1f},{22 - value / most * 20:.1f}" for at, value in enumerate(values)
    )
    return Markup(
        '<svg class="spark" viewBox="0 0 96 24" role="img"><title>{}</title><polyline points="{}"/></svg>'
    ).format(description, points)


def curve(points: Sequence[tuple[float, float]], *, x: str, y: str, description: str, diagonal: bool = False) -> Markup:
    """Draw a curve of shares against shares."""
    chart = Chart(
        x=Axis(title=x, low=0.0, high=1.0, show="{:.0%}".format),
        y=Axis(
            title=y, low=0.0, high=max([0.05, *(b for _, b in points)]) if not diagonal else 1.0, show="{:.0%}".format
        ),
        description=description,
    )
    if diagonal:
        chart.line([(0, 0), (1, 1)], "diagonal")
        for a, b in points:
            chart.dot(a, b, "c0", title=f"{a:.2f}: {b:.2f}")
    chart.line(points, "c0")
    return chart.render()


def growth(points: Sequence[tuple[int, float, float]]) -> Markup:
    """Draw a gate's evidence over the judged rows: for, against, and the line at which it decides."""
    if len(points) < 2:
        return Markup()
    width, height, left, bottom = 260.0, 96.0, 4.0, 16.0
    most = max(1.1, *(max(a, b) for _, a, b in points))
    last = points[-1][0]

    def at(row: float, value: float) -> str:
        return f"{left + row / last * (width - 2 * left):.1f},{(height - bottom) * (1 - value / most) + 2:.1f}"

    lines = [
        Markup('<polyline class="line {}" points="{}"/>').format(
            class_, " ".join(at(row, pair[which]) for row, *pair in points)
        )
        for which, class_ in ((1, "c1"), (0, "c0"))
    ]
    a, b = at(0, 1).split(","), at(last, 1).split(",")
    return Markup(
        '<svg class="chart growth" viewBox="0 0 {:g} {:g}" role="img"><title>Evidence by rows judged: not worse '
        '{:.0%}, worse {:.0%} of what decides</title><line class="level" x1="{}" y1="{}" x2="{}" y2="{}"/>{}'
        '<text class="tick" x="{:.1f}" y="{:.1f}">0</text>'
        '<text class="tick end" x="{:.1f}" y="{:.1f}">{:,} rows</text></svg>'
    ).format(
        width,
        height,
        points[-1][1],
        points[-1][2],
        *a,
        *b,
        Markup().join(lines),
        left,
        height - 2,
        width - left,
        height - 2,
        last,
    )


def interval(value: float | None, low: float | None, high: float | None) -> Markup:
    """Draw a figure between 0 and 1 with its interval, as a bar of one line."""
    if value is None:
        return Markup()
    ends = (value if low is None else low, value if high is None else high)
    return Markup(
        '<svg class="interval" viewBox="0 0 120 12" aria-hidden="true"><rect class="track" x="0" y="5" width="120" '
        'height="2" rx="1"/><rect class="span" x="{:.1f}" y="3.5" width="{:.1f}" height="5" rx="2.5"/>'
        '<circle class="at" cx="{:.1f}" cy="6" r="4"/></svg>'
    ).format(ends[0] * 120, max((ends[1] - ends[0]) * 120, 1), min(max(value * 120, 4), 116))


class Bar(NamedTuple):
    """A stage on the time line of a request."""

    name: str
    begin: float
    milliseconds: float
    note: str


def timeline(bars: Sequence[Bar], whole: float) -> Markup:
    """Draw stages one below the other, each with its start and duration."""
    left, width, row = 150.0, 760.0, 24.0
    scale = (width - left - 70) / max(whole, 0.001)
    parts = [Markup("<title>Stages on a time line of {:.1f} milliseconds</title>").format(whole)]
    for at, bar in enumerate(bars):
        y = at * row
        x, long = left + bar.begin * scale, max(bar.milliseconds * scale, 1.5)
        duration = f"{bar.milliseconds:.1f}" if bar.milliseconds < 100 else f"{bar.milliseconds:,.0f}"
        parts.append(
            Markup(
                '<text class="label end" x="{:.1f}" y="{:.1f}">{}</text><line class="grid" x1="{:.1f}" x2="{:.1f}" '
                'y1="{:.1f}" y2="{:.1f}"/><rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="12" rx="3">'
                '<title>{}</title></rect><text class="tick" x="{:.1f}" y="{:.1f}">{} ms</text>'
            ).format(
                left - 12, y + 16, _cut(f"{bar.name} {bar.note}".strip()), left, width - 4, y + 23.5, y + 23.5, x,
                y + 6, long, bar.note or bar.name, min(x + long + 6, width - 62), y + 16, duration,
            )
        )  # fmt: skip
    return Markup('<svg class="chart timeline" viewBox="0 0 {:g} {:g}" role="img">{}</svg>').format(
        width, max(len(bars), 1) * row, Markup().join(parts)
    )


def _cut(text: str, most: int = 22) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def marked(text: str, spans: Sequence[tuple[int, int]], *, around: int = 600) -> Markup:
    """Return a text with its quotes marked; a long text is cut to the surroundings of the quotes."""
    pieces: list[Markup] = []
    at = 0
    wanted = sorted((max(0, a), min(len(text), b)) for a, b in spans if a < b)
    if not wanted:
        return escape(text[: 2 * around]) + (Markup(" …") if len(text) > 2 * around else Markup())
    for begin, end in wanted:
        if begin < at:
            continue
        if begin - at > around:
            pieces.append(
                Markup('<span class="cut">… </span>')
                if at == 0
                else escape(text[at : at + around // 2]) + Markup(" … ")
            )
            at = begin - around // 2
        pieces.append(escape(text[at:begin]) + Markup("<mark>{}</mark>").format(text[begin:end]))
        at = end
    rest = text[at : at + around // 2]
    return Markup().join(pieces) + escape(rest) + (Markup(" …") if at + len(rest) < len(text) else Markup())


def withheld(omitted: Iterable[Omission]) -> list[tuple[str, list[str]]]:
    """Return the items that were withheld from a specialist, by reason."""
    by_reason: dict[str, list[str]] = {}
    for omission in omitted:
        by_reason.setdefault(str(omission.reason), []).append(omission.what)
    return list(by_reason.items())


def top(values: Mapping[str, float], count: int = 12) -> list[tuple[str, float]]:
    """Return the largest values in descending order."""
    return sorted(values.items(), key=lambda pair: -pair[1])[:count]

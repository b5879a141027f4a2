"""The three charts of a report: quality by cost, risk by coverage, accuracy by confidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from coterie.charts.svg import Axis, Chart, span
from coterie.learning.candidates import Figure
from coterie.rightsizing.result import RightSizing
from coterie.rightsizing.verdict import reliability, risk_curve

_NARROWEST = 0.5
"""Where the axes of reliability begin at the latest: narrower ones would show chance as if it were a slope."""
LARGE = "large"
"""Class of the large model's colour."""


def colour(place: int) -> str:
    """Class of the colour of the rung at this place."""
    return f"c{place % 5}"


class _Point(NamedTuple):
    name: str
    cost: float
    figure: Figure
    colour: str


class _Cost(NamedTuple):
    """What the cost axis is in, and where each contender is on it."""

    title: str
    points: list[_Point]


def quality_cost(found: RightSizing) -> str:
    """Quality with its interval by cost, on a logarithmic axis."""
    title, points = _costs(found)
    figures = [point.figure for point in points]
    curve = _chain(found, title)
    ends = [end for each in figures for end in each.interval] + list(_bar(found)) + [level for _, level in curve]
    low, high = span(ends, least=0.04)
    costs = [point.cost for point in points] + [cost for cost, _ in curve]
    chart = Chart(
        x=Axis(title=title, low=min(costs) / 3, high=max(costs) * 3, log=True, show=_amount),
        y=Axis(title=f"{found.measure}, held-out rows", low=low, high=high, show="{:.2f}".format),
        about=f"{found.measure} of each rung by what 1,000 answers take",
    )
    for level in _bar(found):
        chart.level(level, f"bar {level:g}", at="end")
    if curve:
        place = next(i for i, row in enumerate(found.rungs) if row.rung == "chain")
        chart.line(curve, colour(place))
    for point in points:
        says = f"{point.name}: {point.figure.value:.3f}"
        chart.bar(point.cost, point.figure.interval.low, point.figure.interval.high, point.colour)
        chart.dot(point.cost, point.figure.value, point.colour, says=says)
        chart.label(point.cost, point.figure.value, point.name, point.colour)
    return chart.render()


def _chain(found: RightSizing, title: str) -> list[tuple[float, float]]:
    """The chain at every stop, cheapest first, where its cost is in the axis's unit and its figure is the measure."""
    if found.measure != "accuracy":
        return []
    in_money = title.startswith(found.conditions.currency)
    amounts = [point.per_1000.money if in_money else point.per_1000.joules for point in found.chain]
    if title.startswith("milliseconds") or not all(amounts):
        return []
    return sorted((float(each or 0), point.figure.value) for each, point in zip(amounts, found.chain, strict=True))


def _bar(found: RightSizing) -> Sequence[float]:
    return [found.bar[found.measure]] if found.measure in found.bar else []


def _costs(found: RightSizing) -> _Cost:
    """Money where it is known of all, else joules, else the median time of those that were timed."""
    rows = [(row.rung, row.per_1000, row.figure, colour(i), row.p50) for i, row in enumerate(found.rungs)]
    if found.large is not None:
        large = found.large
        rows.append((large.name, large.per_1000, large.figure, LARGE, 0.0))
    if all(per.money for _, per, *_ in rows):
        title = f"{found.conditions.currency} for 1,000 answers, estimated (log)"
        return _Cost(title, [_Point(n, float(per.money or 0), f, c) for n, per, f, c, _ in rows])
    if all(per.joules for _, per, *_ in rows):
        points = [_Point(n, per.joules or 0.0, f, c) for n, per, f, c, _ in rows]
        return _Cost("joules for 1,000 answers, estimated (log)", points)
    return _Cost("milliseconds at the median (log)", [_Point(n, p50, f, c) for n, _, f, c, p50 in rows if p50])


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:.10f}".rstrip("0")


def risk_coverage_chart(found: RightSizing) -> str:
    """The error among accepted answers by the share accepted, with the point where each rung stands."""
    curves = [risk_curve(row.cases) for row in found.rungs]
    highest = max([found.target_risk * 1.2, *(float(curve.risk[-1]) for curve in curves)])
    chart = Chart(
        x=Axis(title="share of rows answered", low=0.0, high=1.0, show="{:.0%}".format),
        y=Axis(title="wrong among answered", low=0.0, high=min(1.0, highest * 1.15), show="{:.1%}".format),
        about="Error among answered rows by the share of rows answered",
    )
    chart.level(found.target_risk, f"target risk {found.target_risk:.0%}", at="start")
    for i, (row, curve) in enumerate(zip(found.rungs, curves, strict=True)):
        chart.line(zip(curve.coverage.tolist(), curve.risk.tolist(), strict=True), colour(i))
        covered, right = row.evaluation.coverage, row.evaluation.accepted_accuracy
        if covered and right is not None:
            says = f"{row.rung}: answers {covered:.1%}, {1 - right:.1%} of them wrong"
            chart.dot(covered, 1 - right, colour(i), says=says)
    return chart.render()


def reliability_chart(found: RightSizing) -> str:
    """Share of right answers by confidence, in ten bins; the diagonal is perfect."""
    binned = [reliability(row.cases) for row in found.rungs]
    ends = [value for bins in binned for each in bins for value in (each.confidence, each.accuracy)] or [0.0]
    low = min(_NARROWEST, span(ends, least=0.1)[0])
    chart = Chart(
        x=Axis(title="confidence", low=low, high=1.0, show="{:.1f}".format),
        y=Axis(title="share right", low=low, high=1.0, show="{:.1f}".format),
        about="Share of right answers by confidence",
    )
    chart.line([(low, low), (1.0, 1.0)], "diagonal")
    for i, (row, bins) in enumerate(zip(found.rungs, binned, strict=True)):
        chart.line([(each.confidence, each.accuracy) for each in bins], colour(i))
        for each in bins:
            says = f"{row.rung}: confidence {each.confidence:.2f}, right {each.accuracy:.2f}, {each.rows:,} rows"
            chart.dot(each.confidence, each.accuracy, f"small {colour(i)}", says=says)
    return chart.render()

"""The right-sizing report as a page: the verdict, a row for each rung, three charts, and the conditions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from coterie.accounting.breakdown import format_money
from coterie.learning.evaluation import Case
from coterie.learning.measure import Figure
from coterie.reports.pages import (
    UNKNOWN,
    Axis,
    Card,
    Cell,
    Chart,
    Report,
    Table,
    decimals,
    interval,
    page,
    percent,
    significant,
    span,
)
from coterie.rightsizing.result import LargeRow, Per1000, RightSizing, RungRow, reliability, risk_curve

_PAIRS = 12  # confused pairs shown
_EXAMPLES = 2  # texts of each
_LONGEST = 160  # characters of an example
_NARROWEST = 0.5
"""Highest start of the axes of reliability: narrower axes would show chance as if it were a slope."""
_LARGE = "large"
"""CSS class of the large model's colour."""


def rightsizing_page(sizing: RightSizing) -> str:
    """Render a right-sizing as a page."""
    train, held_out = sizing.data["train"], sizing.data["held_out"]
    bar = " and ".join(f"{name} {least:g}" for name, least in sizing.bar.items()) or "none"
    return page(
        Report(
            title=f"Right-sizing: {sizing.task} on {held_out['file']}",
            subtitle=f"Trained on {train['rows']:,} rows, measured on {held_out['rows']:,} held-out rows. Bar: {bar}. "
            f"Target risk: {sizing.target_risk:.0%}. {sizing.conditions.date[:10]}.",
            verdict=sizing.verdict.sentences,
            outcome=sizing.verdict.outcome,
            cards=[
                Card(title="Rungs", caption=_rungs_caption(sizing), table=_rungs(sizing), wide=True),
                *_charts(sizing),
                *_thresholds(sizing),
                *_chain(sizing),
                *([] if all(case.value is None for case in sizing.taken.cases) else [_confusions(sizing.taken)]),
                *_warnings(sizing.warnings),
                _conditions(sizing),
            ],
        )
    )


def _colour(index: int) -> str:
    return f"c{index % 5}"


# --- The tables ----------------------------------------------------------------------------------


def _rungs_caption(sizing: RightSizing) -> str:
    return (
        f"On held-out rows, which choose nothing. Accepted: confidence above the threshold that keeps the error at or "
        f"below {sizing.target_risk:.0%}, or the share that a warning names. Latency: single requests in one thread. "
        "Memory: a process with this rung alone, and the increase after importing coterie. Energy and money are "
        "estimated. A dash is an unknown figure."
    )


def _rungs(sizing: RightSizing) -> Table:
    headings = ["rung", f"{sizing.measure}, 95% interval", "accepted", "accuracy of accepted", "calibration error"]
    headings += ["p50 / p95 ms", "memory", "size", "training", "J / 1,000", f"{sizing.conditions.currency} / 1,000"]
    rows = [_rung_row(row, _colour(i)) for i, row in enumerate(sizing.rungs)]
    if sizing.large is not None:
        rows.append(_large_row(sizing.large))
    return Table(headings=headings, rows=rows, marked=[sizing.rungs.index(sizing.taken)])


def _rung_row(row: RungRow, colour: str) -> list[Cell | str]:
    evaluation = row.evaluation
    memory = Cell(text=UNKNOWN)
    if row.resident_bytes is not None and row.increase_bytes is not None:
        memory = Cell(text=f"{row.resident_bytes / 1e6:,.0f} MB", note=f"+{row.increase_bytes / 1e6:,.0f}")
    return [
        Cell(text=row.rung, key=colour),
        _figure(row.figure),
        percent(evaluation.coverage),
        decimals(evaluation.accepted_accuracy),
        decimals(evaluation.ece),
        f"{significant(row.p50)} / {significant(row.p95)}",
        memory,
        f"{row.bytes / 1e6:,.1f} MB" if row.bytes >= 100_000 else f"{row.bytes / 1e3:.1f} kB",
        f"{row.seconds:,.1f} s",
        *_per_1000(row.per_1000),
    ]


def _large_row(large: LargeRow) -> list[Cell | str]:
    timed = large.p50 is not None
    latency = f"{significant(large.p50)} / {significant(large.p95)}" if timed else UNKNOWN
    unknown = [UNKNOWN] * 3
    key = Cell(text=large.name, key=_LARGE)
    return [key, _figure(large.figure), *unknown, latency, *unknown, *_per_1000(large.per_1000)]


def _figure(figure: Figure) -> Cell:
    return Cell(text=decimals(figure.value), note=interval(*figure.interval))


def _per_1000(per_1000: Per1000) -> tuple[str, str]:
    money = UNKNOWN if per_1000.money is None else format_money(per_1000.money, "").strip()
    return significant(per_1000.joules), money


def _chain(sizing: RightSizing) -> Iterable[Card]:
    if not sizing.chain:
        return
    rungs = list(sizing.chain[0].asked)
    headings = ["accept from", "accuracy, 95% interval", *(f"asks {rung}" for rung in rungs)]
    headings += ["J / 1,000", f"{sizing.conditions.currency} / 1,000"]
    rows: list[list[Cell | str]] = [
        [
            f"{rungs[-1]} alone" if point.stop is None else f"{point.stop:g}",
            _figure(point.figure),
            *(f"{share:.0%}" for share in point.asked.values()),
            *_per_1000(point.per_1000),
        ]
        for point in sizing.chain
    ]
    marked = [index for index, point in enumerate(sizing.chain) if point.taken]
    caption = "The confidence from which a rung before the last answers, and what follows. Energy and money: estimated."
    yield Card(title="The chain", caption=caption, table=Table(headings=headings, rows=rows, marked=marked), wide=True)


def _confusions(row: RungRow) -> Card:
    """Return the most confused pairs of the chosen rung, with texts."""
    pairs: dict[tuple[str, str], list[Case]] = defaultdict(list)
    for case in row.cases:
        if not case.correct:
            predicted = "|".join(case.value) if isinstance(case.value, tuple) else str(case.value)
            pairs["|".join(case.row.labels), predicted].append(case)
    most = sorted(pairs.items(), key=lambda pair: (-len(pair[1]), pair[0]))[:_PAIRS]
    title = "Confused pairs"
    if not most:
        return Card(title=title, caption=f"{row.rung} confused no two labels.", wide=True)
    rows: list[list[Cell | str]] = [
        [label, predicted, f"{len(cases):,}", Cell(quotes=[_example(case) for case in cases[:_EXAMPLES]])]
        for (label, predicted), cases in most
    ]
    wrong = sum(map(len, pairs.values()))
    caption = f"{row.rung} is wrong on {wrong:,} of {len(row.cases):,} rows; the most frequent mistakes."
    table = Table(headings=["label", "predicted", "rows", "examples"], rows=rows, prose=True)
    return Card(title=title, caption=caption, table=table, wide=True)


def _example(case: Case) -> str:
    """Return the case's text, or its columns if there is none, cut when it is long."""
    columns = ", ".join(f"{name} {value}" for name, value in case.row.columns.items())
    text = " ".join((case.row.text.strip() or columns).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


# --- The charts ----------------------------------------------------------------------------------


def _charts(sizing: RightSizing) -> Iterable[Card]:
    legend = [(_colour(i), row.rung) for i, row in enumerate(sizing.rungs)]
    yield Card(
        title="Quality and cost",
        caption="Up and to the left is better; bars are 95% intervals.",
        legend=[*legend, *([(_LARGE, sizing.large.name)] if sizing.large is not None else [])],
        chart=_quality_cost(sizing),
    )
    yield Card(
        title="Risk and coverage",
        caption="The error rate at each share of accepted answers. The dot is at the accept threshold.",
        legend=legend,
        chart=_risk_coverage(sizing),
    )
    yield Card(
        title="Reliability",
        caption="On the dashed line confidence equals accuracy: of answers at 0.9, nine in ten are correct.",
        legend=legend,
        chart=_reliability(sizing),
    )


class _Point(NamedTuple):
    name: str
    cost: float
    figure: Figure
    colour: str


def _quality_cost(sizing: RightSizing) -> Markup:
    title, points = _costs(sizing)
    curve = _chain_curve(sizing, title)
    bar = [sizing.bar[sizing.measure]] if sizing.measure in sizing.bar else []
    ends = [end for point in points for end in point.figure.interval] + bar + [level for _, level in curve]
    low, high = span(ends, least=0.04)
    costs = [point.cost for point in points] + [cost for cost, _ in curve]
    chart = Chart(
        x=Axis(title=title, low=min(costs) / 3, high=max(costs) * 3, log=True, show=_amount),
        y=Axis(title=f"{sizing.measure}, held-out rows", low=low, high=high, show="{:.2f}".format),
        description=f"{sizing.measure} of each rung by the cost of 1,000 answers",
    )
    for level in bar:
        chart.level(level, f"bar {level:g}", at="end")
    if curve:
        chart.line(curve, _colour(next(i for i, row in enumerate(sizing.rungs) if row.rung == "chain")))
    for point in points:
        chart.bar(point.cost, point.figure.interval.low, point.figure.interval.high, point.colour)
        chart.dot(point.cost, point.figure.value, point.colour, title=f"{point.name}: {point.figure.value:.3f}")
    return chart.render()


def _chain_curve(sizing: RightSizing, title: str) -> list[tuple[float, float]]:
    """Return the chain at every stop, cheapest first, if its cost has the axis's unit and its figure is the measure."""
    if sizing.measure != "accuracy":
        return []
    in_money = title.startswith(sizing.conditions.currency)
    amounts = [point.per_1000.money if in_money else point.per_1000.joules for point in sizing.chain]
    if title.startswith("milliseconds") or not all(amounts):
        return []
    return sorted((float(amount or 0), point.figure.value) for amount, point in zip(amounts, sizing.chain, strict=True))


def _costs(sizing: RightSizing) -> tuple[str, list[_Point]]:
    """Return the cost axis and each contender's position on it.

    The unit is money if it is known for all, else joules, else the median latency of timed contenders.
    """
    rows = [(row.rung, row.per_1000, row.figure, _colour(i), row.p50) for i, row in enumerate(sizing.rungs)]
    if sizing.large is not None:
        large = sizing.large
        rows.append((large.name, large.per_1000, large.figure, _LARGE, large.p50 or 0.0))
    if all(per.money for _, per, *_ in rows):
        title = f"{sizing.conditions.currency} per 1,000 answers, estimated (log)"
        return title, [_Point(n, float(per.money or 0), f, c) for n, per, f, c, _ in rows]
    if all(per.joules for _, per, *_ in rows):
        title = "joules per 1,000 answers, estimated (log)"
        return title, [_Point(n, per.joules or 0.0, f, c) for n, per, f, c, _ in rows]
    return "milliseconds at the median (log)", [_Point(n, p50, f, c) for n, _, f, c, p50 in rows if p50]


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:.10f}".rstrip("0")


def _risk_coverage(sizing: RightSizing) -> Markup:
    """Return the chart of the error among accepted answers by the share accepted, with each rung's operating point."""
    curves = [risk_curve(row.cases) for row in sizing.rungs]
    highest = max([sizing.target_risk * 1.2, *(float(curve.risk[-1]) for curve in curves)])
    chart = Chart(
        x=Axis(title="share of rows accepted", low=0.0, high=1.0, show="{:.0%}".format),
        y=Axis(
            title="wrong among accepted",
            low=0.0,
            high=min(1.0, highest * 1.15),
            show="{:.0%}".format if highest > 0.05 else "{:.1%}".format,
        ),
        description="Error rate among accepted rows by the share of rows accepted",
    )
    chart.level(sizing.target_risk, f"target risk {sizing.target_risk:.0%}", at="start")
    for i, (row, curve) in enumerate(zip(sizing.rungs, curves, strict=True)):
        chart.line(zip(curve.coverage.tolist(), curve.risk.tolist(), strict=True), _colour(i))
        covered, right = row.evaluation.coverage, row.evaluation.accepted_accuracy
        if covered and right is not None:
            says = f"{row.rung}: accepts {covered:.1%}, {1 - right:.1%} of them wrong"
            chart.dot(covered, 1 - right, _colour(i), title=says)
    return chart.render()


def _reliability(sizing: RightSizing) -> Markup:
    """Return the chart of the share of correct answers by confidence, in ten bins; the diagonal is perfect."""
    binned = [reliability(row.cases) for row in sizing.rungs]
    ends = [value for bins in binned for bin_ in bins for value in (bin_.confidence, bin_.accuracy)] or [0.0]
    low = min(_NARROWEST, span(ends, least=0.1)[0])
    chart = Chart(
        x=Axis(title="confidence", low=low, high=1.0, show="{:.1f}".format),
        y=Axis(title="share correct", low=low, high=1.0, show="{:.1f}".format),
        description="Share of correct answers by confidence",
    )
    chart.line([(low, low), (1.0, 1.0)], "diagonal")
    for i, (row, bins) in enumerate(zip(sizing.rungs, binned, strict=True)):
        chart.line([(bin_.confidence, bin_.accuracy) for bin_ in bins], _colour(i))
        for bin_ in bins:
            says = f"{row.rung}: confidence {bin_.confidence:.2f}, correct {bin_.accuracy:.2f}, {bin_.rows:,} rows"
            chart.dot(bin_.confidence, bin_.accuracy, f"small {_colour(i)}", title=says)
    return chart.render()


# --- What the figures rest on --------------------------------------------------------------------


def _thresholds(sizing: RightSizing) -> Iterable[Card]:
    terms = [(row.rung, row.threshold) for row in sizing.rungs if row.threshold]
    caption = "Fitted out of fold on the training rows, for each rung."
    if terms:
        yield Card(title="Accept thresholds", caption=caption, terms=terms)


def _warnings(warnings: Sequence[str]) -> Iterable[Card]:
    if warnings:
        yield Card(title="Warnings", items=warnings, wide=True)


def _conditions(sizing: RightSizing) -> Card:
    conditions, price = sizing.conditions, sizing.conditions.price_per_cpu_hour
    terms = [
        (name.replace("_", "-"), f"{about['file']}, {about['rows']:,} rows, SHA-256 {about['sha256']}")
        for name, about in sizing.data.items()
    ]
    if sizing.large is not None:
        terms.append((sizing.large.name, sizing.large.source))
    terms += [
        ("seed", str(sizing.seed)),
        ("choice", str(sizing.reason)),
        ("energy", f"{conditions.watts_per_core:g} W a busy core, from CPU-seconds: estimated"),
        ("money", f"{price} {conditions.currency} a core-hour: estimated" if price is not None else "no price is set"),
        ("machine", ", ".join(f"{name} {value}" for name, value in conditions.machine.items())),
        ("versions", ", ".join(f"{name} {version}" for name, version in conditions.versions.items())),
        ("date", conditions.date),
    ]
    return Card(title="Conditions", terms=terms, wide=True)

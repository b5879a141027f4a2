"""What `coterie rightsize` shows: a row a rung, the verdict, the report."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from coterie.cli.chain_stops import Stop, show_stops
from coterie.cli.exits import BAR_MISSED
from coterie.cli.output import dim, interval, number, paragraph, remark, say, show_json, show_table, size
from coterie.runtime.files import write_bytes

if TYPE_CHECKING:
    from coterie.rightsizing.result import LargeRow, Per1000, RightSizing, RungRow

_MUCH = 10  # from here on a figure needs no decimals


def give(found: RightSizing, report: Path | None, *, as_json: bool) -> None:
    """Write the report, show the result, and say by the exit code whether a rung is enough."""
    from coterie.rightsizing.html import html_report

    if report is not None:
        write_bytes(report, html_report(found).encode())
    for warning in found.warnings:
        remark(f"Warning: {warning}")
    if as_json:
        show_json(found.to_json())
    else:
        _show(found, report)
    if found.verdict.outcome in {"missed", "reached"}:
        raise typer.Exit(BAR_MISSED)


def _show(found: RightSizing, report: Path | None) -> None:
    """A row a rung, then the verdict."""
    rows, held_out = found.data["train"]["rows"], found.data["held_out"]["rows"]
    columns = [found.measure, "95% range", "alone", "right", "ECE", "p50/p95 ms", "RSS", "size", "train", "J/1k"]
    table = [_row(row) for row in found.rungs]
    if found.large is not None:
        table.append(_large_cells(found.large))
    title = f"Trained on {rows:,} rows, measured on {held_out:,} held-out rows of {found.data['held_out']['file']}"
    show_table(["rung", *columns, f"{found.conditions.currency}/1k"], table, title=title, gap=0)
    if found.chain:
        _show_chain(found)
    paragraph(f"Verdict: {found.verdict}")
    dim(
        f"alone: share answered at a target risk of {found.target_risk:.0%}, or at the one a warning names; right: "
        "accuracy of those; RSS: a process with this rung alone; J/1k and money: for 1,000 answers, estimated."
    )
    if report is not None:
        say(f"Report: {report}")


def _show_chain(found: RightSizing) -> None:
    """A row for each confidence from which a rung before the last might answer."""
    stops = [
        Stop(point.stop, *point.figure, list(point.asked.values()), point.taken, _per_1000(point.per_1000))
        for point in found.chain
    ]
    more = ("J/1k", f"{found.conditions.currency}/1k")
    show_stops(list(found.chain[0].asked), stops, title="The chain", more=more)


def _row(row: RungRow) -> list[str]:
    evaluation = row.evaluation
    return [
        row.rung,
        number(row.figure.value),
        interval(row.figure.interval),
        "-" if evaluation.coverage is None else f"{evaluation.coverage:.0%}",
        number(evaluation.accepted_accuracy),
        number(evaluation.ece),
        f"{_short(row.p50)}/{_short(row.p95)}",
        "-" if row.resident_bytes is None else f"{row.resident_bytes / 1e6:,.0f} MB",
        size(row.bytes),
        f"{row.seconds:,.0f} s",
        *_per_1000(row.per_1000),
    ]


def _large_cells(large: LargeRow) -> list[str]:
    return [
        large.name,
        number(large.figure.value),
        interval(large.figure.interval),
        *["-"] * 3,
        "-" if large.p50 is None or large.p95 is None else f"{_short(large.p50)}/{_short(large.p95)}",
        *["-"] * 3,
        *_per_1000(large.per_1000),
    ]


def _per_1000(per_1000: Per1000) -> tuple[str, str]:
    """Joules and money; a dash where it is not known."""
    joules = "-" if per_1000.joules is None else _short(per_1000.joules)
    return joules, "-" if per_1000.money is None else _amount(per_1000.money)


def _amount(money: Decimal) -> str:
    """Two significant digits, or cents: `0.000039`, `3.33`."""
    places = max(2, 1 - money.adjusted()) if money else 2
    return f"{money:.{places}f}"


def _short(value: float) -> str:
    """`0.43`, `4.3`, `43`, `4,300`."""
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < _MUCH else f"{value:,.0f}"

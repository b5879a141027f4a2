"""The ledger's report as a page: what requests cost, how they ended and how good the answers were."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from coterie.accounting.breakdown import format_money
from coterie.reports.pages import UNKNOWN, Axis, Card, Cell, Chart, Report, Table, page, percent, significant

Row = Mapping[str, Any]
_MOST = 40
"""The most days or hours that a chart shows; the last ones are shown."""
_TIMES = {"day", "hour"}
_FEWEST_TIMES = 3
"""The fewest times that are drawn as a line; fewer times are drawn as columns side by side, like names."""
_NAMES = 7
"""The most names that a chart shows (those with the most energy), and the most times that are labelled."""
_CHARACTERS = 62
"""Characters that fit below a chart."""


def ledger_page(document: Mapping[str, Any], *, network: str, since: str, date: str) -> str:
    """Render the ledger's report as a page.

    Args:
        document: The output of `coterie report --json`.
        network: The network's name.
        since: The start of the report, in words.
        date: The date of the report.
    """
    by = document["by"]
    rows = Card(title=f"By {by}", caption=_caption(document), table=_table(document), wide=True)
    return page(
        Report(
            title=f"Cost and quality of {network}",
            subtitle=f"By {by}, {since}. {date}.",
            verdict=_verdict(document),
            cards=[*_charts(document), rows, *_trainings(document)],
        )
    )


def _verdict(document: Mapping[str, Any]) -> Sequence[str]:
    total, currency = document["total"], document["currency"]
    if not total["requests"]:
        return ["No requests."]
    here, above = percent(total["local_share"]), f"{total['escalated']:,} by the generalist"
    lines = [f"{total['requests']:,} requests: {here} answered locally, {above}, {total['abstained']:,} not answered."]
    if total["compared"]:
        would = _money(total["counterfactual_cost"], currency)
        lines.append(f"With the generalist alone: at least {would}; {_saving(total['saved'], currency)}.")
    if total["judged"]:
        lines.append(f"Of {total['judged']:,} answers with feedback, {percent(total['correct_share'])} were correct.")
    if total["unpriced"]:
        lines.append(f"The cost of {total['unpriced']:,} requests is unknown and in no sum.")
    return lines


def _saving(saved: float | None, currency: str) -> str:
    if saved is None:
        return "the saving is unknown, because the cost of some of them is"
    return f"{_money(saved, currency)} was saved" if saved >= 0 else f"{_money(-saved, currency)} more was spent"


# --- The charts ----------------------------------------------------------------------------------


class _Series(NamedTuple):
    name: str
    colour: str
    value: Callable[[Row], float | None]


_OUTCOMES = (
    _Series("answered locally", "c0", lambda row: float(row["accepted"])),
    _Series("by the generalist", "large", lambda row: float(row["escalated"])),
    _Series("not answered", "c1", lambda row: float(row["abstained"])),
)
_FINDINGS = (
    _Series("accepted", "c0", lambda row: float(row["accepted"])),
    _Series("abstained", "c1", lambda row: float(row["abstained"])),
)
_ENERGY = (_Series("joules", "c2", lambda row: row["joules"]),)
_MONEY = (
    _Series("cost", "c0", lambda row: row["known_cost"]),
    _Series("generalist alone", "large", lambda row: row["counterfactual_cost"]),
)
_QUALITY = (_Series("correct", "c2", lambda row: row["correct_share"]),)


def _charts(document: Mapping[str, Any]) -> Iterable[Card]:
    rows = _shown(document)
    if not rows:
        return
    times = document["by"] in _TIMES and len(rows) >= _FEWEST_TIMES
    if document["by"] in {*_TIMES, "tenant"}:
        yield _chart("Requests", "By outcome.", rows, _OUTCOMES, times=times)
    elif document["by"] == "specialist":
        yield _chart("Findings", "By outcome.", rows, _FINDINGS, times=times)
    yield _chart("Energy", "Joules, measured and estimated.", rows, _ENERGY, times=times)
    if _series_with_figures(_MONEY, rows):
        caption = f"{document['currency']}: known costs, and the cost with the generalist alone."
        yield _chart("Money", caption, rows, _MONEY, times=times)
    if _series_with_figures(_QUALITY, rows):
        yield _chart("Correct answers", "Share of the answers with feedback.", rows, _QUALITY, times=times, share=True)


def _series_with_figures(series: Sequence[_Series], rows: Sequence[Row]) -> Sequence[_Series]:
    """Return the series with a figure in at least one row; a series of zeros only if all are zeros."""
    known_series = [one for one in series if any(one.value(row) is not None for row in rows)]
    return [one for one in known_series if any(one.value(row) for row in rows)] or known_series


def _shown(document: Mapping[str, Any]) -> Sequence[Row]:
    rows = document["rows"]
    if document["by"] in _TIMES:
        return list(rows[-_MOST:])
    return sorted(rows, key=lambda row: -row["joules"])[:_NAMES]


def _chart(
    title: str, caption: str, rows: Sequence[Row], series: Sequence[_Series], *, times: bool, share: bool = False
) -> Card:
    """Draw times as points on a line, and names as columns side by side; a row without a figure is left out."""
    lines = _series_with_figures(series, rows)
    high = max((line.value(row) or 0.0 for line in lines for row in rows), default=0.0)
    names = [str(row["key"]) for row in rows]
    every = max(1, -(-len(rows) // _NAMES))
    ticks = _ticks(names, len(rows) // every, times=times)
    room = 0.5 + max(0, _FEWEST_TIMES - len(rows)) / 2  # so that the columns of one row are no walls
    chart = Chart(
        x=Axis(
            title="",
            low=-room,
            high=len(rows) - 1 + room,
            marks=tuple(map(float, range(0, len(rows), every))),
            show=lambda at: ticks[int(at)],
        ),
        y=Axis(
            title="",
            low=0.0,
            high=1.0 if share else high * 1.08 or 1.0,
            show="{:.0%}".format if share else "{:,g}".format,
        ),
        description=f"{title} by {'time' if times else 'name'}",
    )
    for index, line in enumerate(lines):
        points = [(float(i), value) for i, row in enumerate(rows) if (value := line.value(row)) is not None]
        if times and len(points) > 1:
            chart.line(points, line.colour)
        for at, value in points:
            says = f"{names[int(at)]}: {line.name} {percent(value) if share else significant(value)}"
            if times:
                chart.dot(at, value, f"{line.colour} small", title=says)
            else:
                width = 0.8 / len(lines)
                left = at - 0.4 + index * width
                chart.column(left, left + 0.94 * width, value, line.colour, title=says)
    legend = [(line.colour, line.name) for line in lines] if len(lines) > 1 else ()
    return Card(title=title, caption=caption, legend=legend, chart=chart.render())


def _ticks(names: Sequence[str], count: int, *, times: bool) -> list[str]:
    """Return the axis labels: names cut to the room they have, times without the date or year that they share."""
    ends = [end for end in (11, 5) if times and len(names[0]) > end and len({name[:end] for name in names}) == 1]
    room = max(5, _CHARACTERS // max(count, 1))
    cut = [name[max(ends, default=0) :] for name in names]
    return [name if len(name) <= room else name[: room - 1] + "…" for name in cut]


# --- The tables ----------------------------------------------------------------------------------


def _caption(document: Mapping[str, Any]) -> str:
    sentences = [
        "An answer comes from a specialist or from the generalist; feedback decides whether it is correct.",
        f"Money in {document['currency']}, known costs only. A dash is an unknown figure.",
    ]
    if document["by"] in {"specialist", "model"}:
        sentences.append("Several may work on one request, so that the requests add up to more than the total.")
    return " ".join([*sentences, "Energy is estimated unless it says otherwise."])


class _Column(NamedTuple):
    heading: str
    text: Callable[[Row], str]
    """Text of a cell. A dash stands for no value; a column of dashes is left out."""
    note: Callable[[Row], str] = lambda _row: ""


def _joules_range(row: Row) -> str:
    low, high = row["joules_low"], row["joules_high"]
    return "" if low == high else f"{significant(low)} to {significant(high)}"


_COLUMNS = (
    _Column("requests", lambda row: f"{row['requests']:,}"),
    _Column("local", lambda row: percent(row["local_share"])),
    _Column("p50 ms", lambda row: significant(row["p50_ms"])),
    _Column("busy", lambda row: percent(row["utilisation"])),
    _Column("energy, J", lambda row: significant(row["joules"]), _joules_range),
    _Column("measured, J", lambda row: significant(row["joules_measured"]) if row["joules_measured"] else UNKNOWN),
    _Column("CO2, g", lambda row: significant(row["grams_co2"])),
    _Column("cost", lambda row: _amount(row["known_cost"])),
    _Column("cost unknown", lambda row: f"{row['unpriced']:,}" if row["unpriced"] else UNKNOWN),
    _Column("J / answer", lambda row: significant(row["joules_per_answer"])),
    _Column("cost / 1,000", lambda row: _amount(row["cost_per_answer"], times=1000)),
    _Column(
        "correct",
        lambda row: percent(row["correct_share"]) if row["judged"] else UNKNOWN,
        lambda row: f"of {row['judged']:,}" if row["judged"] else "",
    ),
    _Column("J / correct", lambda row: significant(row["joules_per_correct"])),
    _Column("cost / 1,000 correct", lambda row: _amount(row["cost_per_correct"], times=1000)),
)


def _table(document: Mapping[str, Any]) -> Table:
    rows = (*document["rows"], document["total"])
    shown = [column for column in _COLUMNS if any(column.text(row) != UNKNOWN for row in rows)]
    return Table(
        headings=[document["by"], *(column.heading for column in shown)],
        rows=[
            [str(row["key"]), *(Cell(text=column.text(row), note=column.note(row)) for column in shown)] for row in rows
        ],
        marked=[len(rows) - 1],
    )


def _trainings(document: Mapping[str, Any]) -> Iterable[Card]:
    if not document["trainings"]:
        return
    currency = document["currency"]
    headings = ["specialist", "trainings", "seconds", "energy, J", "cost", "answers", "J / answer", "cost / answer"]
    rows: list[list[Cell | str]] = [
        [
            str(row["specialist"]),
            f"{row['trainings']:,}",
            significant(row["seconds"]),
            Cell(text=significant(row["joules"]), note=str(row["joules_kind"])),
            _money(row["cost"], currency),
            f"{row['answers']:,}",
            significant(row["joules_per_answer"]),
            _money(row["cost_per_answer"], currency),
        ]
        for row in document["trainings"]
    ]
    caption = "Spread over all accepted findings up to now; in none of the sums above."
    yield Card(title="Training", caption=caption, table=Table(headings=headings, rows=rows), wide=True)


def _amount(value: float | None, *, times: int = 1) -> str:
    """Format an amount without its currency, which the caption names."""
    return UNKNOWN if value is None else format_money(Decimal(str(value)) * times, "").strip()


def _money(value: float | None, currency: str) -> str:
    return UNKNOWN if value is None else format_money(Decimal(str(value)), currency)

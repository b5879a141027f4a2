"""The report as one HTML file: nothing is fetched, no script runs, and all text is escaped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from html import escape
from typing import Any, NamedTuple

from coterie.accounting.breakdown import format_money
from coterie.charts.page import card, page
from coterie.charts.svg import Axis, Chart, element

Row = Mapping[str, Any]
_MOST = 40
"""Days, or hours, that a chart shows, the last ones."""
_TIMES = {"day", "hour"}
_FEW = 3
"""Times from which on they are a line; fewer stand side by side as names do."""
_NAMES = 7
"""Names, those that took most, and times that are written out."""
_WIDTH = 76
"""Characters below a chart."""


class _Series(NamedTuple):
    name: str
    colour: str
    of: Callable[[Row], float | None]


def report_html(document: Mapping[str, Any], *, network: str, since: str, date: str) -> str:
    """A page that can be sent, printed and read without a network.

    Args:
        document: What `coterie report --json` says.
        network: The network's name.
        since: From when on, in words.
        date: When it was made.
    """
    title = f"What {network} took, and what it gave"
    body = [
        element("h1", escape(title)),
        element("p", escape(f"By {document['by']}, {since}. {date}."), class_="soft"),
        element("p", escape(_verdict(document)), class_="verdict no_bar"),
        element("div", "".join(_charts(document)), class_="charts"),
        card(f"By {document['by']}", _caption(document), element("div", _table(document), class_="scroll")),
        _trainings(document),
    ]
    return page(title, body, colours=("c0", "c1", "c2", "large"))


def _verdict(document: Mapping[str, Any]) -> str:
    """The total in a sentence or two."""
    total, currency = document["total"], document["currency"]
    if not total["requests"]:
        return "Nothing was asked."
    here, above = _percent(total["local_share"]), f"{total['escalated']:,} by the generalist"
    said = [f"{total['requests']:,} requests, {here} answered here, {above}, {total['abstained']:,} by nobody."]
    if total["compared"]:
        would = _money(total["counterfactual_cost"], currency)
        said.append(f"The generalist for all of them would have cost at least {would}; {_saving(total, currency)}.")
    if total["judged"]:
        said.append(f"Of {total['judged']:,} that somebody judged, {_percent(total['correct_share'])} were right.")
    if total["unpriced"]:
        said.append(f"The cost of {total['unpriced']:,} is not known and in no sum.")
    return " ".join(said)


def _saving(total: Row, currency: str) -> str:
    saved = total["saved"]
    if saved is None:
        return "what was spent is not known in full"
    return f"{_money(saved, currency)} was saved" if saved >= 0 else f"{_money(-saved, currency)} more was spent"


# --- The charts ----------------------------------------------------------------------------------


def _charts(document: Mapping[str, Any]) -> Iterable[str]:
    rows = _shown(document)
    if not rows:
        return
    times = document["by"] in _TIMES and len(rows) >= _FEW
    spent = f"{document['currency']}, of what has a known cost"
    if document["by"] in {*_TIMES, "tenant"}:
        yield _chart("Requests", "How they ended.", rows, _ENDED, times=times)
    elif document["by"] == "specialist":
        yield _chart("Findings", "Accepted, or in doubt.", rows, _FOUND, times=times)
    yield _chart("Energy", "Joules of all of them, measured and estimated.", rows, _ENERGY, times=times)
    if _known(_MONEY, rows):
        yield _chart("Money", f"{spent}, and what the generalist would have cost.", rows, _MONEY, times=times)
    if _known(_QUALITY, rows):
        yield _chart("Right answers", "Share of those that somebody judged.", rows, _QUALITY, times=times)


_ENDED = (
    _Series("answered here", "c0", lambda row: float(row["accepted"])),
    _Series("by the generalist", "large", lambda row: float(row["escalated"])),
    _Series("by nobody", "c1", lambda row: float(row["abstained"])),
)
_FOUND = (
    _Series("accepted", "c0", lambda row: float(row["accepted"])),
    _Series("abstained", "c1", lambda row: float(row["abstained"])),
)
_ENERGY = (_Series("joules", "c2", lambda row: row["joules"]),)
_MONEY = (
    _Series("cost", "c0", lambda row: row["known_cost"]),
    _Series("the generalist", "large", lambda row: row["counterfactual_cost"]),
)
_QUALITY = (_Series("right", "c2", lambda row: row["correct_share"]),)


def _known(series: Sequence[_Series], rows: Sequence[Row]) -> Sequence[_Series]:
    """Those that some row has a figure of; if all that some have is 0, only where there is nothing else to draw."""
    told = [each for each in series if any(each.of(row) is not None for row in rows)]
    return [each for each in told if any(each.of(row) for row in rows)] or told


def _shown(document: Mapping[str, Any]) -> Sequence[Row]:
    rows = document["rows"]
    if document["by"] in _TIMES:
        return list(rows[-_MOST:])
    return sorted(rows, key=lambda row: -row["joules"])[:_NAMES]


def _chart(title: str, caption: str, rows: Sequence[Row], series: Sequence[_Series], *, times: bool) -> str:
    """Times as points on a line, names as columns side by side; a row without a figure has none."""
    known = _known(series, rows)
    high = max((each.of(row) or 0.0 for each in known for row in rows), default=0.0)
    names = [str(row["key"]) for row in rows]
    every = max(1, -(-len(rows) // _NAMES))
    room = 0.5 + max(0, _FEW - len(rows)) / 2  # so that the columns of one row are no walls
    chart = Chart(
        x=Axis(
            title="",
            low=-room,
            high=len(rows) - 1 + room,
            marks=tuple(map(float, range(0, len(rows), every))),
            show=lambda at: _fitting(names[int(at)], len(rows) // every),
        ),
        y=Axis(title="", low=0.0, high=high * 1.08 or 1.0, show=_short),
        about=f"{title} by {'time' if times else 'name'}",
    )
    for place, each in enumerate(known):
        points = [(float(i), value) for i, row in enumerate(rows) if (value := each.of(row)) is not None]
        if times and len(points) > 1:
            chart.line(points, each.colour)
        for at, value in points:
            says = f"{names[int(at)]}: {each.name} {_short(value)}"
            if times:
                chart.dot(at, value, f"{each.colour} small", says=says)
            else:
                width = 0.8 / len(known)
                chart.column(at - 0.4 + place * width, at - 0.4 + (place + 0.94) * width, value, each.colour, says=says)
    keys = "".join(element("span", element("span", class_=f"key {each.colour}") + escape(each.name)) for each in known)
    return card(title, caption, element("div", keys, class_="legend"), chart.render())


def _fitting(name: str, count: int) -> str:
    """A name as far as it fits, where so many stand side by side."""
    room = max(5, _WIDTH // max(count, 1))
    return name if len(name) <= room else name[: room - 1] + "…"


# --- The tables ----------------------------------------------------------------------------------


def _caption(document: Mapping[str, Any]) -> str:
    said = "An answer is what a specialist or the generalist said; right is what somebody judged so. "
    said += f"Money in {document['currency']}, of what has a known cost. A dash is a figure that is not known. "
    if document["by"] in {"specialist", "model"}:
        said += "Several may work on one request, so requests add up to more than all. "
    return said + "Energy is estimated unless it says otherwise."


class _Column(NamedTuple):
    heading: str
    cell: Callable[[Row], str]
    """A dash where there is nothing to show; a column of dashes is left out."""


def _judged(row: Row) -> str:
    if not row["judged"]:
        return "-"
    return f"{_percent(row['correct_share'])} " + element("small", f"of {row['judged']:,}")


def _energy(row: Row) -> str:
    """Joules, with the range of what has one, and what of them was measured."""
    notes = []
    if row["joules_low"] != row["joules_high"]:
        notes.append(f"{_short(row['joules_low'])} to {_short(row['joules_high'])}")
    if row["joules_measured"]:
        notes.append(f"{_short(row['joules_measured'])} measured")
    return f"{_short(row['joules'])} J" + "".join(f"<br>{element('small', note)}" for note in notes)


_COLUMNS = (
    _Column("requests", lambda row: f"{row['requests']:,}"),
    _Column("here", lambda row: _percent(row["local_share"])),
    _Column("p50 ms", lambda row: _short(row["p50_ms"])),
    _Column("busy", lambda row: _percent(row["utilisation"])),
    _Column("energy", _energy),
    _Column("CO2", lambda row: "-" if row["grams_co2"] is None else f"{_short(row['grams_co2'])} g"),
    _Column("cost", lambda row: _amount(row["known_cost"])),
    _Column("unpriced", lambda row: f"{row['unpriced']:,}" if row["unpriced"] else "-"),
    _Column("J / answer", lambda row: _short(row["joules_per_answer"])),
    _Column("cost / 1,000", lambda row: _amount(row["cost_per_answer"], times=1000)),
    _Column("right", _judged),
    _Column("J / right", lambda row: _short(row["joules_per_correct"])),
    _Column("cost / 1,000 right", lambda row: _amount(row["cost_per_correct"], times=1000)),
)


def _table(document: Mapping[str, Any]) -> str:
    rows = (*document["rows"], document["total"])
    shown = [column for column in _COLUMNS if any(column.cell(row) != "-" for row in rows)]
    headings = (document["by"], *(column.heading for column in shown))
    head = element("tr", "".join(element("th", escape(heading)) for heading in headings))
    *others, last = (
        "".join(element("td", cell) for cell in (escape(str(row["key"])), *(each.cell(row) for each in shown)))
        for row in rows
    )
    body = "".join(element("tr", row) for row in others) + element("tr", last, class_="taken")
    return element("table", element("thead", head) + element("tbody", body))


def _trainings(document: Mapping[str, Any]) -> str:
    if not document["trainings"]:
        return ""
    headings = ("specialist", "trainings", "seconds", "energy", "cost", "answers", "J / answer", "cost / answer")
    currency = document["currency"]
    head = element("tr", "".join(element("th", escape(heading)) for heading in headings))
    rows = [
        element("tr", "".join(element("td", cell) for cell in _training_cells(each, currency)))
        for each in document["trainings"]
    ]
    table = element("table", element("thead", head) + element("tbody", "".join(rows)))
    caption = "Spread over all accepted findings up to now; in none of the sums above."
    return card("Training", caption, element("div", table, class_="scroll"))


def _training_cells(each: Row, currency: str) -> list[str]:
    return [
        escape(str(each["specialist"])),
        f"{each['trainings']:,}",
        _short(each["seconds"]),
        f"{_short(each['joules'])} J {element('small', str(each['joules_kind']))}",
        _money(each["cost"], currency),
        f"{each['answers']:,}",
        _short(each["joules_per_answer"]),
        _money(each["cost_per_answer"], currency),
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _short(value: float | None) -> str:
    """Three digits that mean something, and no more."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _amount(value: float | None, *, times: int = 1) -> str:
    """Money without its currency, which the caption says."""
    return "-" if value is None else format_money(Decimal(str(value)) * times, "").strip()


def _money(value: float | None, currency: str) -> str:
    return "-" if value is None else escape(format_money(Decimal(str(value)), currency))

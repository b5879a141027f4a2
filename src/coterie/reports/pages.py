"""The contents of a report as values, and the templates that turn them into one HTML file.

A page loads nothing and runs no script. Every value is text and is escaped, except `Markup` such as a chart.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


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

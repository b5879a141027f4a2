"""The table of a chain of rungs: what it comes to at each confidence from which a rung before the last might answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from coterie.cli.output import interval, number, show_table


class Stop(NamedTuple):
    """A row of it."""

    value: float | None
    """The confidence; None where the last rung answers everything."""
    accuracy: float
    interval: Sequence[float]
    asked: Sequence[float]
    """Share of the requests that each rung is asked."""
    taken: bool
    more: Sequence[str] = ()
    """Cells of further columns."""


def show_stops(rungs: Sequence[str], stops: Sequence[Stop], *, title: str, more: Sequence[str] = ()) -> None:
    """A row a stop.

    Args:
        rungs: The chain's, cheapest first.
        stops: What it might have.
        title: Over the table.
        more: Names of further columns.
    """
    columns = ["answers from", "accuracy", "95% range", *(f"asks {rung}" for rung in rungs), *more]
    rows = [
        [
            (f"{rungs[-1]} alone" if stop.value is None else f"{stop.value:g}") + (" (taken)" if stop.taken else ""),
            number(stop.accuracy),
            interval(stop.interval),
            *(f"{share:.0%}" for share in stop.asked),
            *stop.more,
        ]
        for stop in stops
    ]
    show_table(columns, rows, title=title, gap=0)

"""Reading a report, which is JSON of this or an older Coterie: what is not there is None or empty, never an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise


def mapping(value: object) -> Mapping[str, object]:
    """A JSON object as it is, anything else as an empty one."""
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> Sequence[object]:
    """A JSON array as it is, anything else as an empty one."""
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def number(value: object) -> float | None:
    """A JSON number."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def figure(report: Mapping[str, object], measure: str) -> float | None:
    """A figure on the held-out rows."""
    return number(mapping(report.get("metrics")).get(measure))


def interval_of(report: Mapping[str, object], measure: str) -> tuple[float, float] | None:
    """Its 95% interval."""
    bounds = sequence(mapping(mapping(report.get("metrics")).get("intervals")).get(measure))
    known = [bound for bound in map(number, bounds) if bound is not None]
    return next(pairwise(known), None)


def measures(report: Mapping[str, object]) -> tuple[str, ...]:
    """What decides whether it is good, the first one first: the bar's measures, or the task's usual one."""
    stated = sequence(report.get("measures")) or list(mapping(report.get("bar")))
    return (
        tuple(map(str, stated)) or tuple(name for name in ("auc", "accuracy") if figure(report, name) is not None)[:1]
    )


def held_out_rows(report: Mapping[str, object]) -> str | None:
    """Checksum of the rows that it was measured on."""
    rows = mapping(mapping(report.get("data")).get("held_out")).get("rows_sha256")
    return rows if isinstance(rows, str) else None


def rung_row(report: Mapping[str, object], rung: object) -> Mapping[str, object]:
    """What a report says of a rung; nothing where it was not tried."""
    rows = report.get("rungs")
    found = (mapping(row) for row in rows) if isinstance(rows, Sequence) and not isinstance(rows, str) else iter(())
    return next((row for row in found if row.get("rung") == rung), {})

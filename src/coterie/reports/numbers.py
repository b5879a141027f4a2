"""Numbers as the text of a report; a dash stands for what is not known."""

from __future__ import annotations

UNKNOWN = "-"


def percent(share: float | None) -> str:
    """A share as a percentage with one decimal place."""
    return UNKNOWN if share is None else f"{share:.1%}"


def decimals(value: float | None, places: int = 3) -> str:
    """A number with so many decimal places."""
    return UNKNOWN if value is None or value != value else f"{value:.{places}f}"  # noqa: PLR0124 - NaN


def significant(value: float | None) -> str:
    """Three significant digits; integers from 100 on."""
    if value is None:
        return UNKNOWN
    return (
        f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}" if value and abs(value) >= 1e-4 else f"{value:.3g}"
    )


def interval(low: float, high: float) -> str:
    """The ends of an interval."""
    return f"{decimals(low)} to {decimals(high)}"

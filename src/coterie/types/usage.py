"""The usage of a step: tokens, time, energy and money."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Usage:
    """The usage of a step. `+` adds two; the sum of an unknown cost is unknown."""

    tokens_in: int = 0
    tokens_cached: int = 0
    """The part of `tokens_in` that the engine had in its prompt cache."""
    tokens_out: int = 0
    milliseconds: float = 0.0
    cpu_seconds: float = 0.0
    joules: float = 0.0
    joules_kind: Literal["measured", "estimated"] = "estimated"
    """`measured`: from a counter of the machine, split by CPU time; `estimated`: everything else."""
    joules_low: float | None = None
    """`joules_low` and `joules_high`: range of an estimate; None without a range."""
    joules_high: float | None = None
    cost: Decimal | None = Decimal(0)
    """Money in the currency of the network; None if it is unknown."""

    def __add__(self, other: Usage) -> Usage:
        return total_usage((self, other))


def total_usage(usages: Iterable[Usage]) -> Usage:
    """Return the sum; that of no usages is zero."""
    usages_ = tuple(usages)
    if len(usages_) == 1:
        return usages_[0]
    if not usages_:
        return Usage()
    cost: Decimal | None = Decimal(0)
    tokens_in = tokens_cached = tokens_out = 0
    milliseconds = cpu_seconds = joules = 0.0
    measured, ranged = True, False
    for usage in usages_:  # no generators: a request makes several sums
        tokens_in += usage.tokens_in
        tokens_cached += usage.tokens_cached
        tokens_out += usage.tokens_out
        milliseconds += usage.milliseconds
        cpu_seconds += usage.cpu_seconds
        joules += usage.joules
        measured = measured and usage.joules_kind == "measured"
        ranged = ranged or usage.joules_low is not None or usage.joules_high is not None
        cost = None if cost is None or usage.cost is None else cost + usage.cost
    return Usage(
        tokens_in=tokens_in,
        tokens_cached=tokens_cached,
        tokens_out=tokens_out,
        milliseconds=milliseconds,
        cpu_seconds=cpu_seconds,
        joules=joules,
        joules_kind="measured" if measured else "estimated",
        joules_low=_end(usages_, "joules_low") if ranged else None,
        joules_high=_end(usages_, "joules_high") if ranged else None,
        cost=cost,
    )


def _end(usages: tuple[Usage, ...], name: Literal["joules_low", "joules_high"]) -> float | None:
    """Return one end of the range of a sum; a part without a range counts with its value."""
    ends = [getattr(usage, name) for usage in usages]
    if ends.count(None) == len(ends):
        return None
    return sum(usage.joules if end is None else float(end) for usage, end in zip(usages, ends, strict=True))


_MOST_MONEY = Decimal(10) ** 15
_MOST_PLACES = 30
_MOST_DIGITS = 60


def check_money(amount: Decimal) -> Decimal:
    """Return a non-negative amount of money that can be computed with. Raises `ValueError`: `1e999999999` cannot."""
    exponent, digits = amount.as_tuple().exponent, len(amount.as_tuple().digits)
    if not amount.is_finite() or amount < 0:
        raise ValueError("an amount of money is a number from 0")
    if amount > _MOST_MONEY or (amount and int(exponent) < -_MOST_PLACES) or digits > _MOST_DIGITS:
        most = f"{_MOST_MONEY:.0e} at most, with {_MOST_PLACES} decimal places and {_MOST_DIGITS} digits at most"
        raise ValueError(f"an amount of money is {most}")
    return amount


def read_money(text: str) -> Decimal:
    """Return an amount of money from its text. Raises `ValueError`."""
    try:
        return check_money(Decimal(text))
    except InvalidOperation:
        raise ValueError("an amount of money is a number from 0") from None

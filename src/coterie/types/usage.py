"""What a step took: tokens, time, energy, money."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a step took. Sums with `+`; an unknown cost makes the sum unknown."""

    tokens_in: int = 0
    tokens_cached: int = 0
    """Of `tokens_in`, those that the engine remembered from an earlier prompt and did not read again."""
    tokens_out: int = 0
    milliseconds: float = 0.0
    cpu_seconds: float = 0.0
    joules: float = 0.0
    joules_kind: Literal["measured", "estimated"] = "estimated"
    """Measured is what a counter of the machine said, shared out by CPU time; anything else is estimated."""
    joules_low: float | None = None
    """The least and the most that an estimate stands for; None where it comes without a range."""
    joules_high: float | None = None
    cost: Decimal | None = Decimal(0)
    """Money in the network's currency; None when it is not known."""

    def __add__(self, other: Usage) -> Usage:
        unknown = self.cost is None or other.cost is None
        return Usage(
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_cached=self.tokens_cached + other.tokens_cached,
            tokens_out=self.tokens_out + other.tokens_out,
            milliseconds=self.milliseconds + other.milliseconds,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
            joules=self.joules + other.joules,
            joules_kind=_weaker(self.joules_kind, other.joules_kind),
            joules_low=_end(self, other, "joules_low"),
            joules_high=_end(self, other, "joules_high"),
            cost=None if unknown else self.cost + other.cost,  # type: ignore[operator]
        )


def total_usage(usages: Iterable[Usage]) -> Usage:
    """Their sum; of nothing, nothing. Started from an empty `Usage`, it would always be an estimate."""
    first, *others = tuple(usages) or (Usage(),)
    return sum(others, first)


def _end(a: Usage, b: Usage, name: Literal["joules_low", "joules_high"]) -> float | None:
    """One end of a sum's range: a part without a range counts as it is."""
    ends = [getattr(each, name) for each in (a, b)]
    if ends == [None, None]:
        return None
    return sum(each.joules if end is None else float(end) for each, end in zip((a, b), ends, strict=True))


def _weaker(
    a: Literal["measured", "estimated"], b: Literal["measured", "estimated"]
) -> Literal["measured", "estimated"]:
    """A sum is measured only if all of it was."""
    return "measured" if a == b == "measured" else "estimated"

"""What a step took; `coterie.types` is where it is imported from."""

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
            cost=None if unknown else self.cost + other.cost,  # type: ignore[operator]
        )


def total_usage(usages: Iterable[Usage]) -> Usage:
    """Their sum; of nothing, nothing. Started from an empty `Usage`, it would always be an estimate."""
    first, *others = tuple(usages) or (Usage(),)
    return sum(others, first)


def _weaker(
    a: Literal["measured", "estimated"], b: Literal["measured", "estimated"]
) -> Literal["measured", "estimated"]:
    """A sum is measured only if all of it was."""
    return "measured" if a == b == "measured" else "estimated"

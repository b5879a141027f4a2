"""Which of several values in a quote is the field's: `renewed for one (1) year unless ... thirty (30) days` has two."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from coterie.data import Value, find_values
from coterie.types import Scalar

_WORD = re.compile(r"\w+|[^\w\s]")
_NEAR = 4
_WIDE = 160  # characters around a value in which its neighbours are looked for

BIAS = "bias"


class Option(NamedTuple):
    """A value in a quote and what a chooser sees of it."""

    value: Scalar
    features: list[str]


def options(kind: str, quote: str) -> list[Option]:
    """The typed values of a quote, in its order."""
    found = find_values(kind, quote)
    return [Option(each.value, _features(each, number, len(found), quote)) for number, each in enumerate(found)]


def choose(kind: str, quote: str, weights: Mapping[str, float]) -> Scalar:
    """The value of the highest log-odds; None if even that is unlikely to be meant, or there is none."""
    scored = [(sum(weights.get(name, 0.0) for name in each.features), each.value) for each in options(kind, quote)]
    best = max(scored, key=lambda each: each[0], default=(-1.0, None))
    return best[1] if best[0] >= 0 else None


def _features(value: Value, number: int, count: int, quote: str) -> list[str]:
    before = [word.lower() for word in _WORD.findall(quote[max(0, value.start - _WIDE) : value.start])][-_NEAR:]
    after = [word.lower() for word in _WORD.findall(quote[value.end : value.end + _WIDE])][:_NEAR]
    place = f"n={min(number, 3)}/{min(count, 4)}"
    return [
        BIAS,
        place,
        *(f"<{word}" for word in before),
        *(f">{word}" for word in after),
        f"<<{' '.join(before[-2:])}",
        f">>{' '.join(after[:2])}",
    ]

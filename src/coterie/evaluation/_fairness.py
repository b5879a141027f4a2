"""How a score treats groups of people: who is approved, who is refused wrongly, and how the groups compare.

A row is approved when its probability, of what nobody wants (a default), is below the line. Shares have Wilson's
intervals (Wilson 1927). The ratio of a group's share approved to that of the group approved most has the log interval
of Katz et al. (1978); below four fifths is what US agencies take for evidence of adverse impact (29 CFR 1607.4 D).
None of it says why the groups differ, and equal figures in one respect can exclude equal ones in another (Kleinberg et
al. 2016): the report shows, and people decide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from coterie.engines import as_category, as_number
from coterie.types import Scalar

from ._bootstrap import Interval

LEAST = 30
"""Rows below which nothing is concluded of a group."""
FOUR_FIFTHS = 0.8
LINE = 0.5
_Z = 1.959964
_MOST_VALUES = 10
"""Different numbers from which on they are grouped by quartiles."""
MISSING = "missing"


class Share(NamedTuple):
    """A share of rows, with its 95% interval; nan of none."""

    value: float
    interval: Interval
    n: int


@dataclass(frozen=True, kw_only=True)
class GroupFigures:
    """How one group fares."""

    name: str
    n: int
    base: Share
    """Rows whose outcome was what nobody wants, of those whose outcome is known."""
    approved: Share
    alone: Share
    """Rows that the specialist decides without a person."""
    refused_wrongly: Share
    """Refused, of those whose outcome was good."""
    approved_wrongly: Share
    """Approved, of those whose outcome was bad."""
    mean: float
    """Mean probability: beside `base` it says whether the score is right on average."""
    ratio: float
    """Share approved over that of the group approved most."""
    ratio_interval: Interval

    @property
    def verdict(self) -> Literal["reference", "above", "below", "undecided", "too few"]:
        """Whether the ratio is shown to be above or below four fifths; `reference` is the group approved most."""
        if self.n < LEAST:
            return "too few"
        if self.ratio == 1.0 and math.isnan(self.ratio_interval.low):
            return "reference"
        if self.ratio_interval.high < FOUR_FIFTHS:
            return "below"
        return "above" if self.ratio_interval.low >= FOUR_FIFTHS else "undecided"

    def to_json(self) -> dict[str, object]:
        """As plain values."""
        shares = ("base", "approved", "alone", "refused_wrongly", "approved_wrongly")
        return {
            "group": self.name,
            "n": self.n,
            **{name: _plain(getattr(self, name)) for name in shares},
            "mean_probability": self.mean,
            "ratio": _known(self.ratio),
            "ratio_interval": [_known(bound) for bound in self.ratio_interval],
            "verdict": self.verdict,
        }


@dataclass(frozen=True, kw_only=True)
class Fairness:
    """The groups of one column side by side."""

    column: str
    line: float
    groups: tuple[GroupFigures, ...]
    """In the order of their names."""

    @property
    def below(self) -> tuple[str, ...]:
        """Groups that are shown to be approved less than four fifths as often as the group approved most."""
        return tuple(group.name for group in self.groups if group.verdict == "below")

    def gap(self, share: Literal["approved", "refused_wrongly", "approved_wrongly"]) -> float:
        """The largest difference of a share between two groups that are large enough; 0 of less than two."""
        values = [getattr(group, share).value for group in self.groups if group.n >= LEAST]
        known = [value for value in values if not math.isnan(value)]
        return max(known) - min(known) if known else 0.0

    def to_json(self) -> dict[str, object]:
        """As plain values."""
        gaps = {name: self.gap(name) for name in ("approved", "refused_wrongly", "approved_wrongly")}
        groups = [group.to_json() for group in self.groups]
        return {"column": self.column, "line": self.line, "groups": groups, "gaps": gaps, "below": list(self.below)}


def fairness(
    column: str,
    groups: Sequence[str],
    probabilities: ArrayLike,
    outcomes: Sequence[int | None],
    alone: Sequence[bool],
    *,
    line: float = LINE,
) -> Fairness:
    """Figures of each group.

    Args:
        column: What the groups are of.
        groups: (N,) the group of each row.
        probabilities: (N,) of what nobody wants.
        outcomes: (N,) 1 where it came to that, 0 where not, None where it is not known.
        alone: (N,) whether the specialist decides without a person.
        line: Probability from which a row is refused.
    """
    refused = np.asarray(probabilities, dtype=float) >= line
    known = np.array([outcome is not None for outcome in outcomes])
    bad = np.array([outcome == 1 for outcome in outcomes])
    of = np.asarray(groups)
    names = sorted(set(groups), key=_order)
    rates = {name: float((~refused[of == name]).mean()) for name in names if (of == name).sum() >= LEAST}
    best = max(rates, key=lambda name: rates[name], default=names[0] if names else "")
    figures = []
    for name in names:
        here = of == name
        ratio, interval = _ratio(~refused[here], ~refused[of == best], same=name == best)
        figures.append(
            GroupFigures(
                name=name,
                n=int(here.sum()),
                base=share(bad[here & known]),
                approved=share(~refused[here]),
                alone=share(np.asarray(alone)[here]),
                refused_wrongly=share(refused[here & known & ~bad]),
                approved_wrongly=share(~refused[here & bad]),
                mean=float(np.asarray(probabilities, dtype=float)[here].mean()),
                ratio=ratio,
                ratio_interval=interval,
            )
        )
    return Fairness(column=column, line=line, groups=tuple(figures))


def share(yes: ArrayLike) -> Share:
    """The share of (N,) truths, with Wilson's interval."""
    found = np.asarray(yes, dtype=bool)
    n = len(found)
    if not n:
        return Share(math.nan, Interval(math.nan, math.nan), 0)
    p = float(found.mean())
    centre, width = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n), _Z / (1 + _Z**2 / n)
    half = width * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    return Share(p, Interval(max(0.0, centre - half), min(1.0, centre + half)), n)


def _ratio(of: np.ndarray, best: np.ndarray, *, same: bool) -> tuple[float, Interval]:
    """A ratio of two shares with its log interval; half a row is added to each where nobody is approved."""
    nothing = Interval(math.nan, math.nan)
    if same:
        return 1.0, nothing
    a, n, b, m = (float(value) for value in (of.sum(), len(of), best.sum(), len(best)))
    if not b:
        return math.nan, nothing
    ratio = (a / n) / (b / m)
    if not a:
        a, n = 0.5, n + 0.5
    half = _Z * math.sqrt(max(1 / a - 1 / n + 1 / b - 1 / m, 0.0))
    middle = (a / n) / (b / m)
    return ratio, Interval(min(ratio, middle * math.exp(-half)), middle * math.exp(half))


def group_names(values: Sequence[Scalar], cuts: Sequence[float] = ()) -> list[str]:
    """The group of each value: the value itself, or, of many different numbers, the stretch in which it lies.

    Args:
        values: (N,) of one column.
        cuts: Where stretches begin; without any, quartiles.
    """
    texts = [as_category(value) for value in values]
    numbers = [None if text is None else as_number(value) for value, text in zip(values, texts, strict=True)]
    present = [number for number, text in zip(numbers, texts, strict=True) if text is not None]
    numeric = bool(present) and all(number is not None for number in present)
    if not numeric or (not cuts and len(set(present)) <= _MOST_VALUES):
        return [MISSING if text is None else text for text in texts]
    edges = sorted(set(cuts or np.quantile(np.array(present, dtype=float), [0.25, 0.5, 0.75]).tolist()))
    return [MISSING if number is None else _stretch(number, edges) for number in numbers]


def _stretch(number: float, edges: Sequence[float]) -> str:
    place = int(np.searchsorted(edges, number, side="right"))
    if place == 0:
        return f"below {edges[0]:g}"
    if place == len(edges):
        return f"{edges[-1]:g} or more"
    return f"{edges[place - 1]:g} to below {edges[place]:g}"


def _order(name: str) -> tuple[int, float, str]:
    """Stretches by where they begin, others by name, the missing last."""
    if name == MISSING:
        return 2, 0.0, name
    words = name.split()
    first = as_number(words[1] if words[:1] == ["below"] and len(words) > 1 else (words or [""])[0])
    place = 0.0 if first is None else first - (0.5 if name.startswith("below ") else 0.0)
    return (0, place, name) if first is not None else (1, 0.0, name)


def _plain(each: Share) -> dict[str, object]:
    return {"value": _known(each.value), "interval": [_known(bound) for bound in each.interval], "n": each.n}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value

"""How a score treats groups of people: who is approved, who is refused wrongly, and how the groups compare.

A row is approved when its probability of the bad outcome (such as a default) is below the line. Shares have
Wilson's intervals (Wilson 1927). The ratio of a group's share approved to that of the group approved most has
the log interval of Katz et al. (1978); below four fifths, US agencies take it for evidence of adverse impact
(29 CFR 1607.4 D). None of the figures explains why the groups differ, and equal figures in one respect can
exclude equal ones in another (Kleinberg et al. 2016): the report shows, and people decide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression

from coterie.engines.linear import as_category, as_number
from coterie.learning.evaluation import Interval, auroc
from coterie.runtime.codec import readable
from coterie.types import Scalar

LEAST = 30
"""Fewest rows from which anything is concluded about a group."""
FOUR_FIFTHS = 0.8
LINE = 0.5
_Z = 1.959964
_MOST_VALUES = 10
"""Number of different values from which numbers are grouped by quartiles."""
MISSING = "missing"


class GroupShare(NamedTuple):
    """A share of rows, with its 95% interval; nan of no rows."""

    value: float
    interval: Interval
    n: int


@dataclass(frozen=True, kw_only=True)
class GroupFigures:
    """The figures of one group."""

    name: str
    n: int
    base: GroupShare
    """Share of rows with the bad outcome among those with a known outcome."""
    approved: GroupShare
    alone: GroupShare
    """Share of rows that the specialist decides without a person."""
    refused_wrongly: GroupShare
    """Share refused among rows with a good outcome."""
    approved_wrongly: GroupShare
    """Share approved among rows with a bad outcome."""
    mean: float
    """Mean probability: compared with `base` it shows whether the score is right on average."""
    ratio: float
    """Share approved divided by that of the group approved most."""
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
        """Return the figures as plain values."""
        shares = ("base", "approved", "alone", "refused_wrongly", "approved_wrongly")
        return {
            "group": self.name,
            "n": self.n,
            **{name: readable(getattr(self, name)._asdict()) for name in shares},
            "mean_probability": self.mean,
            "ratio": readable(self.ratio),
            "ratio_interval": readable(self.ratio_interval),
            "verdict": self.verdict,
        }


@dataclass(frozen=True, kw_only=True)
class Fairness:
    """The groups of one column side by side."""

    column: str
    line: float
    groups: tuple[GroupFigures, ...]
    """Groups in the order of their names."""

    @property
    def below(self) -> tuple[str, ...]:
        """Groups that are shown to be approved less than four fifths as often as the group approved most."""
        return tuple(group.name for group in self.groups if group.verdict == "below")

    def gap(self, share: Literal["approved", "refused_wrongly", "approved_wrongly"]) -> float:
        """Return the largest difference of a share between two groups that are large enough; 0 with fewer than two."""
        values = [getattr(group, share).value for group in self.groups if group.n >= LEAST]
        numbers = [value for value in values if not math.isnan(value)]
        return max(numbers) - min(numbers) if numbers else 0.0

    def to_json(self) -> dict[str, object]:
        """Return the figures as plain values."""
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
    """Return the figures of each group.

    Args:
        column: The column that the groups are of.
        groups: (N,) the group of each row.
        probabilities: (N,) of the bad outcome.
        outcomes: (N,) 1 for the bad outcome, 0 for the good one, None if it is not known.
        alone: (N,) whether the specialist decides without a person.
        line: Probability from which a row is refused.
    """
    refused = np.asarray(probabilities, dtype=float) >= line
    is_known = np.array([outcome is not None for outcome in outcomes])
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
                base=share(bad[here & is_known]),
                approved=share(~refused[here]),
                alone=share(np.asarray(alone)[here]),
                refused_wrongly=share(refused[here & is_known & ~bad]),
                approved_wrongly=share(~refused[here & bad]),
                mean=float(np.asarray(probabilities, dtype=float)[here].mean()),
                ratio=ratio,
                ratio_interval=interval,
            )
        )
    return Fairness(column=column, line=line, groups=tuple(figures))


def share(yes: ArrayLike) -> GroupShare:
    """Return the share of true values in (N,), with Wilson's interval."""
    flags = np.asarray(yes, dtype=bool)
    n = len(flags)
    if not n:
        return GroupShare(math.nan, Interval(math.nan, math.nan), 0)
    p = float(flags.mean())
    centre, width = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n), _Z / (1 + _Z**2 / n)
    half = width * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    return GroupShare(p, Interval(max(0.0, centre - half), min(1.0, centre + half)), n)


def _ratio(of: np.ndarray, best: np.ndarray, *, same: bool) -> tuple[float, Interval]:
    """Return a ratio of two shares with its log interval; half a row is added to each if nobody is approved."""
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
    """Return the group of each value: the value itself, or, for many different numbers, the range that contains it.

    Args:
        values: (N,) of one column.
        cuts: Starts of the ranges; quartiles without any.
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
    bin_index = int(np.searchsorted(edges, number, side="right"))
    if bin_index == 0:
        return f"below {edges[0]:g}"
    if bin_index == len(edges):
        return f"{edges[-1]:g} or more"
    return f"{edges[bin_index - 1]:g} to below {edges[bin_index]:g}"


def _order(name: str) -> tuple[int, float, str]:
    """Return the sort key of a group: ranges by their start, others by name, the missing last."""
    if name == MISSING:
        return 2, 0.0, name
    words = name.split()
    first = as_number(words[1] if words[:1] == ["below"] and len(words) > 1 else (words or [""])[0])
    rank = 0.0 if first is None else first - (0.5 if name.startswith("below ") else 0.0)
    return (0, rank, name) if first is not None else (1, 0.0, name)


# --- What gives a protected attribute away although it is not used: other columns, all of them together, the score
# itself.
#
# For each group of the attribute, rows of the group are told from all others by the share of the group among training
# rows with the same value, out of fold; the figure is the area under the ROC curve of the group that is told best
# (0.5: not at all, 1: for sure), with the interval of Hanley and McNeil (1982).

TELLING = 0.6
"""AUC above which the interval of a column has to begin for the column to be called a proxy."""
_FOLDS = 5
_WEIGHT = 5.0
"""Weight of the average, in rows, towards which each value's share is drawn."""


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """How well a column predicts a group of a protected attribute."""

    column: str
    group: str
    """The group that the column predicts best."""
    auc: float
    interval: Interval

    @property
    def telling(self) -> bool:
        """Whether the column is shown to predict more than a little."""
        return self.interval.low > TELLING


@dataclass(frozen=True, kw_only=True)
class Proxies:
    """The columns that reveal one attribute."""

    attribute: str
    columns: tuple[Proxy, ...]
    """Columns, the most predictive first."""
    together: Proxy | None
    """All columns together, by a logistic regression."""
    score: Proxy | None
    """The probability that the specialist returns."""

    @property
    def telling(self) -> tuple[Proxy, ...]:
        """The columns that are called proxies."""
        return tuple(proxy for proxy in self.columns if proxy.telling)


def find_proxies(
    attribute: str, groups: Sequence[str], columns: Mapping[str, np.ndarray], score: np.ndarray
) -> Proxies:
    """Return how well each column predicts a protected attribute's groups.

    Args:
        attribute: The attribute's name.
        groups: (N,) the group of each row.
        columns: (N,) bins of each used column, by name.
        score: (N,) the specialist's probabilities of rows that it had not seen.
    """
    of = np.asarray(groups)
    compared = [name for name in sorted(set(groups) - {MISSING}) if LEAST <= (of == name).sum() <= len(of) - LEAST]
    folds = np.random.default_rng(0).permutation(len(of)) % _FOLDS
    candidates = [
        _best(name, {group: _rates(codes, of == group, folds) for group in compared}, of)
        for name, codes in columns.items()
    ]
    proxies = sorted((proxy for proxy in candidates if proxy is not None), key=lambda proxy: -proxy.auc)
    hot = np.hstack([np.eye(int(codes.max(initial=0)) + 1)[codes] for codes in columns.values()])
    together = {group: _regression(hot, of == group, folds) for group in compared}
    both = {group: _turned(score, of == group) for group in compared}
    return Proxies(
        attribute=attribute,
        columns=tuple(proxies),
        together=_best("all columns", together, of),
        score=_best("the score", both, of),
    )


def _best(name: str, scores: Mapping[str, np.ndarray], of: np.ndarray) -> Proxy | None:
    """Return the group that is predicted best; None if there is none."""
    proxies = [_proxy(name, group, score, of == group) for group, score in scores.items()]
    return max(proxies, key=lambda proxy: proxy.auc, default=None)


def _proxy(name: str, group: str, score: np.ndarray, theirs: np.ndarray) -> Proxy:
    area = auroc(score, theirs)
    return Proxy(column=name, group=group, auc=area, interval=_interval(area, int(theirs.sum()), int((~theirs).sum())))


def _interval(area: float, positive: int, negative: int) -> Interval:
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positive - 1) * (q1 - area**2) + (negative - 1) * (q2 - area**2)
    half = _Z * math.sqrt(max(variance, 0.0) / (positive * negative))
    return Interval(max(0.0, area - half), min(1.0, area + half))


def _rates(codes: np.ndarray, theirs: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Return (N,) the group's share among rows of other folds with the same value, drawn towards the average."""
    scores = np.zeros(len(codes))
    for fold in range(_FOLDS):
        out = folds == fold
        size = int(codes.max(initial=0)) + 1
        count = np.bincount(codes[~out], minlength=size)
        yes = np.bincount(codes[~out], weights=theirs[~out], minlength=size)
        mean = theirs[~out].mean()
        # Above the average of these folds, which is lower the more of the group are in the fold that is left out.
        scores[out] = ((yes + _WEIGHT * mean) / (count + _WEIGHT) - mean)[codes[out]]
    return scores


def _regression(hot: np.ndarray, theirs: np.ndarray, folds: np.ndarray) -> np.ndarray:
    scores = np.zeros(len(hot))
    for fold in range(_FOLDS):
        out = folds == fold
        if len(np.unique(theirs[~out])) == 2:
            model = LogisticRegression(C=0.1, max_iter=500).fit(hot[~out], theirs[~out])
            scores[out] = model.decision_function(hot[out]) - model.decision_function(hot[~out]).mean()
    return scores


def _turned(score: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return score if auroc(score, theirs) >= 0.5 else -score

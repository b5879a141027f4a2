"""What gives a protected attribute away although it is not used: other columns, all of them together, the score itself.

For each group of the attribute, rows of the group are told from all others by the share of the group among training
rows with the same value, out of fold; the figure is the area under the ROC curve of the group that is told best (0.5:
not at all, 1: for sure), with the interval of Hanley and McNeil (1982).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from ._bootstrap import Interval
from ._fairness import LEAST, MISSING
from ._metrics import auroc

TELLING = 0.6
"""A column whose interval begins above this is called a proxy."""
_FOLDS = 5
_WEIGHT = 5.0
"""Rows of the average that each value's share is drawn towards."""
_Z = 1.959964


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """How well something tells a group of a protected attribute."""

    column: str
    group: str
    """The one it tells best."""
    auc: float
    interval: Interval

    @property
    def telling(self) -> bool:
        """Whether it is shown to tell more than a little."""
        return self.interval.low > TELLING

    def to_json(self) -> dict[str, object]:
        """As plain values."""
        interval = [self.interval.low, self.interval.high]
        return {"column": self.column, "group": self.group, "auc": self.auc, "interval": interval}


@dataclass(frozen=True, kw_only=True)
class Proxies:
    """What gives one attribute away."""

    attribute: str
    columns: tuple[Proxy, ...]
    """The most telling first."""
    together: Proxy | None
    """All columns at once, by a logistic regression."""
    score: Proxy | None
    """The probability that the specialist gives."""

    @property
    def telling(self) -> tuple[Proxy, ...]:
        """The columns that are called proxies."""
        return tuple(proxy for proxy in self.columns if proxy.telling)

    def to_json(self) -> dict[str, object]:
        """As plain values."""
        return {
            "attribute": self.attribute,
            "columns": [proxy.to_json() for proxy in self.columns],
            "together": None if self.together is None else self.together.to_json(),
            "score": None if self.score is None else self.score.to_json(),
        }


def find_proxies(
    attribute: str, groups: Sequence[str], columns: Mapping[str, np.ndarray], score: np.ndarray, *, seed: int = 0
) -> Proxies:
    """How well each column tells a protected attribute's groups.

    Args:
        attribute: Its name.
        groups: (N,) the group of each row.
        columns: (N,) bins of each column that is used, by name.
        score: (N,) what the specialist says of rows that it had not seen.
        seed: Deals the folds.
    """
    of = np.asarray(groups)
    told = [name for name in sorted(set(groups) - {MISSING}) if LEAST <= (of == name).sum() <= len(of) - LEAST]
    folds = np.random.default_rng(seed).permutation(len(of)) % _FOLDS
    found = [
        _best(name, {group: _rates(codes, of == group, folds) for group in told}, of) for name, codes in columns.items()
    ]
    known = sorted((proxy for proxy in found if proxy is not None), key=lambda proxy: -proxy.auc)
    hot = np.hstack([np.eye(int(codes.max(initial=0)) + 1)[codes] for codes in columns.values()])
    together = {group: _regression(hot, of == group, folds) for group in told}
    both = {group: _turned(score, of == group) for group in told}
    return Proxies(
        attribute=attribute,
        columns=tuple(known),
        together=_best("all columns", together, of),
        score=_best("the score", both, of),
    )


def _best(name: str, scores: Mapping[str, np.ndarray], of: np.ndarray) -> Proxy | None:
    """The group that is told best; None where there is none."""
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
    """(N,) the group's share among the rows of other folds with the same value, drawn towards the average."""
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
    """The score, turned round where the group has the lower one."""
    return score if auroc(score, theirs) >= 0.5 else -score

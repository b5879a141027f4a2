"""How sure a figure is.

Shares of rows have the exact interval (Clopper and Pearson 1934, Biometrika 26), everything else that of the percentile
bootstrap (Efron and Tibshirani 1993, chapter 13). The bootstrap draws only what was seen: where six rows of six are
right, every draw is, and its interval says that nothing can go wrong. So where no draw differs, the number of rows says
how much may not have been seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from ._metrics import auroc

_DRAWS = 1 << 20
"""Random numbers drawn at once; bounds the memory."""


class Interval(NamedTuple):
    """Where a figure lies with the stated confidence."""

    low: float
    high: float


def exact_interval(hits: int, rows: int, *, level: float = 0.95) -> Interval:
    """Where a share lies of which `hits` of `rows` were seen, whatever it is."""
    if not rows:
        return Interval(float("nan"), float("nan"))
    tail = (1 - level) / 2
    low = float(betaincinv(hits, rows - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, rows - hits, 1 - tail)) if hits < rows else 1.0
    return Interval(low, high)


def score_interval(values: ArrayLike, *, seed: int, level: float = 0.95) -> Interval:
    """The interval of the mean of what each of (N,) rows scored, 0 to 1: exact if each is right or wrong."""
    column = np.asarray(values, dtype=float)
    if ((column == 0) | (column == 1)).all():
        return exact_interval(int(column.sum()), len(column), level=level)
    return bootstrap_mean(column, seed=seed, level=level)


def unseen(interval: Interval, rows: int, *, level: float = 0.95) -> Interval:
    """A bootstrap's interval of a figure from 0 to 1; that of `rows` rows where no draw had a mistake, or a hit."""
    if interval.low == interval.high == 1:
        return exact_interval(rows, rows, level=level)
    return exact_interval(0, rows, level=level) if interval.low == interval.high == 0 else interval


def auc_interval(scores: ArrayLike, positive: ArrayLike, *, seed: int, n: int = 1000) -> Interval:
    """The interval of an AUC of (N,) scores; where none is out of order, as many rows as the rarer kind has say it.

    Args:
        scores: (N,).
        positive: (N,) whether each is positive.
        seed: Seed of the draws.
        n: Number of draws.
    """
    kinds = np.asarray(positive, dtype=bool)
    drawn = bootstrap_interval(auroc, scores, kinds, seed=seed, n=n)
    return unseen(drawn, int(min(kinds.sum(), (~kinds).sum())))


def bootstrap_interval(
    metric: Callable[..., float], *arrays: ArrayLike, seed: int, n: int = 1000, level: float = 0.95
) -> Interval:
    """The interval of `metric(*arrays)` over rows drawn again with replacement.

    Draws on which the metric is nan (an AUC without positives) do not count. `np.mean` takes the
    fast path of `bootstrap_mean`.

    Args:
        metric: Takes the arrays, gives a number.
        arrays: Each (N, ...): rows are drawn for all of them together.
        seed: Seed of the draws.
        n: Number of draws.
        level: Confidence.
    """
    if metric is np.mean and len(arrays) == 1:
        return bootstrap_mean(arrays[0], seed=seed, n=n, level=level)
    columns = [np.asarray(array) for array in arrays]
    rows = len(columns[0])
    random = np.random.default_rng(seed)
    values = []
    for _ in range(n if rows else 0):
        drawn = random.integers(rows, size=rows)
        values.append(metric(*(column[drawn] for column in columns)))
    return _percentiles(np.array(values), level)


def bootstrap_mean(values: ArrayLike, *, seed: int, n: int = 1000, level: float = 0.95) -> Interval:
    """The interval of the mean of (N,) values; of 0 and 1 by their exact bootstrap distribution.

    For differences, and for what may be any number; how good something is has a `score_interval`.
    """
    column = np.asarray(values, dtype=float)
    rows = len(column)
    random = np.random.default_rng(seed)
    if not rows:
        return Interval(float("nan"), float("nan"))
    if ((column == 0) | (column == 1)).all():
        return _percentiles(random.binomial(rows, column.mean(), size=n) / rows, level)
    at_once = max(1, _DRAWS // rows)
    means = [
        column[random.integers(rows, size=(min(at_once, n - start), rows))].mean(axis=1)
        for start in range(0, n, at_once)
    ]
    return _percentiles(np.concatenate(means), level)


def _percentiles(values: np.ndarray, level: float) -> Interval:
    known = values[~np.isnan(values)] if values.size else values
    if not known.size:
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))

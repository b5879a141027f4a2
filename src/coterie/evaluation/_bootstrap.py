"""How sure a figure is: percentile bootstrap intervals (Efron and Tibshirani 1993, chapter 13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

_DRAWS = 1 << 20
"""Random numbers drawn at once; bounds the memory."""


class Interval(NamedTuple):
    """Where a figure lies with the stated confidence."""

    low: float
    high: float


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
    """The interval of the mean of (N,) values; of shares (values 0 and 1) by their exact bootstrap distribution."""
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

"""Is a mean high enough? Shown with a stated confidence, whatever the values' distribution."""

from __future__ import annotations

from math import log, sqrt

import numpy as np

_MOST_BET = 0.75
"""Largest share of the capital that one row may lose."""


def mean_p_value(values: np.ndarray, least: float, *, low: float, high: float, delta: float) -> float:
    """The p-value of "the mean is below `least`" for independent values (N,) between `low` and `high`.

    Who starts with 1 and bets on each row that its value is above `least` can only expect to lose while the mean is
    below it; so a capital of 1 / p is reached with probability p at most (Ville). The bets are the predictable
    plug-in of Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", section 4.2.
    It holds for every number of rows and is nearly as sharp as the normal approximation.
    """
    if not len(values) or not low < high:
        return 1.0
    if least <= low:
        return 0.0
    y, m = (np.asarray(values, dtype=float) - low) / (high - low), (least - low) / (high - low)
    if m >= 1:
        return 1.0
    n = np.arange(1, len(y) + 1)
    mean = (0.5 + np.cumsum(y)) / (n + 1)
    variance = (0.25 + np.cumsum((y - mean) ** 2)) / (n + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    bets = np.minimum(np.sqrt(2 * log(1 / delta) / (len(y) * before)), _MOST_BET / m)
    capital = np.cumsum(np.log1p(bets * (y - m)))
    return float(min(1.0, np.exp(-max(0.0, capital.max()))))


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95% interval of a mean of scores by the normal approximation: for curves, where nothing is promised."""
    if len(values) < 2:
        return (float("nan"), float("nan"))
    mean, half = float(np.mean(values)), 1.96 * float(np.std(values, ddof=1)) / sqrt(len(values))
    return (max(0.0, mean - half), min(1.0, mean + half))

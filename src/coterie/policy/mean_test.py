"""Tests and intervals for the mean of bounded values, without an assumption about their distribution."""

from __future__ import annotations

from math import log, sqrt

import numpy as np

DELTA = 0.05
"""Probability with which a promise of quality may be broken."""
_LARGEST_BET = 0.75
"""Largest share of the capital that one row may lose."""


def mean_p_value(values: np.ndarray, least: float, *, low: float, high: float, delta: float) -> float:
    """Return the p-value of the hypothesis "the mean is below `least`".

    A player starts with a capital of 1 and bets on each row that its value is above `least`. The capital can only be
    expected to fall while the mean is below `least`, so it reaches 1 / p with probability p at most (Ville). The bets
    are the predictable plug-in of Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by
    betting", section 4.2. The test holds for every number of rows and is nearly as sharp as the normal approximation.

    Args:
        values: (N,) independent values between `low` and `high`.
        least: The bound that the mean is tested against.
        low: Smallest value that can occur.
        high: Largest value that can occur.
        delta: Level that the bets are tuned for.
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
    bets = np.minimum(np.sqrt(2 * log(1 / delta) / (len(y) * before)), _LARGEST_BET / m)
    capital = np.cumsum(np.log1p(bets * (y - m)))
    return float(min(1.0, np.exp(-max(0.0, capital.max()))))


def mean_interval(scores: np.ndarray) -> tuple[float, float]:
    """Return the 95% interval of the mean of scores (N,) by the normal approximation; nan below two rows."""
    if len(scores) < 2:
        return (float("nan"), float("nan"))
    mean, half = float(np.mean(scores)), 1.96 * float(np.std(scores, ddof=1)) / sqrt(len(scores))
    return (max(0.0, mean - half), min(1.0, mean + half))


def group_means(values: np.ndarray, group: np.ndarray) -> np.ndarray:  # (N,), (N,) -> (G,)
    """Return the mean of each group in a fixed random order: a sequential test must not see the surest rows first."""
    _, places = np.unique(group, return_inverse=True)
    means = np.bincount(places, weights=values) / np.bincount(places)
    return np.asarray(np.random.default_rng(0).permutation(means))

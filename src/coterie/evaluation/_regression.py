"""Whether one version of a specialist is worse than another, beyond chance.

Two versions measured on the same rows are compared row by row: what counts is where one was right and the other wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtrc, ndtr

LEVEL = 0.05
"""Chance of calling a version worse that is not, over everything that is compared at once."""
_QUANTILE = 1.959964
"""Half the width of a 95% interval, in standard errors."""


def paired_drop(before: ArrayLike, after: ArrayLike) -> float:
    """How likely so many rows were lost by chance, if nothing got worse: (N,), (N,) of whether a row was right.

    The exact one-sided test of McNemar 1947: of the rows on which only one version is right, as many should be each's,
    so the number lost is binomial with one half. Where both are right, or both wrong, nothing is learned.
    """
    old, new = np.asarray(before, dtype=bool), np.asarray(after, dtype=bool)
    lost, won = int((old & ~new).sum()), int((~old & new).sum())
    return float(bdtrc(lost - 1, lost + won, 0.5)) if lost else 1.0


def interval_drop(before: float, after: float, widths: tuple[float, float]) -> float:
    """How likely a figure fell so far by chance, from its two values and the widths of their 95% intervals.

    A one-sided normal test with the standard errors that the intervals stand for, as if the two were independent. On
    the same rows they are not, and the true error is smaller: this finds a drop later than it could, never sooner.
    """
    error = math.hypot(*widths) / (2 * _QUANTILE)
    if error == 0.0:
        return 0.0 if after < before else 1.0
    return float(ndtr((after - before) / error))


def worse(chances: Sequence[float]) -> list[bool]:
    """Which of several drops are no chance, if at most one time in twenty any of them may be called so wrongly.

    The step-down procedure of Holm 1979: the smallest of m chances is held against 0.05 / m, the next one against
    0.05 / (m - 1), and so on, up to the first that fails.
    """
    found = [False] * len(chances)
    for rank, index in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        if chances[index] > LEVEL / (len(chances) - rank):
            break
        found[index] = True
    return found

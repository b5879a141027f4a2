"""How much rows say that come in groups: fewer independent rows would say the same."""

from __future__ import annotations

import numpy as np
from scipy.stats import t

Ints = np.ndarray
Floats = np.ndarray


def independent_share(wrong: Ints, groups: Ints, counts: Ints, *, delta: float) -> Floats:
    """For the first `count` rows of each count: independent rows that say as much, as a share of them (K,).

    The inverse of the design effect of their share of wrong rows, times the squared ratio of Student's quantiles
    for rows and for groups (Korn and Graubard 1998). Where no row or every row is wrong, the design effect is that
    of all rows. It never counts as more than one row a row, and a single group says nothing.

    Args:
        wrong: (N,) whether each row is wrong.
        groups: (N,) number of each row's group, from 0.
        counts: (K,) how many of the first rows to look at.
        delta: Level of the quantiles.
    """
    effects = np.array([_design_effect(wrong[:count], groups[:count]) for count in counts])
    effects = np.where(np.isnan(effects), _design_effect(wrong, groups), effects)
    present = np.array([np.count_nonzero(np.bincount(groups[:count])) for count in counts])
    # Student's quantile needs a degree of freedom; one group has none, and shows nothing.
    ratio = t.ppf(delta, np.maximum(counts - 1, 1)) / t.ppf(delta, np.maximum(present - 1, 1))
    return np.where(present < 2, 0.0, ratio**2 / np.fmax(1.0, effects))


def _design_effect(wrong: Ints, groups: Ints) -> float:
    """Variance of the share of wrong rows over what it would be if rows were independent; nan if none or all are."""
    share = float(wrong.mean())
    present = np.count_nonzero(np.bincount(groups))
    if share in {0.0, 1.0} or present < 2:
        return float("nan")
    sums = np.bincount(groups, weights=wrong - share)
    variance = present / (present - 1) * float((sums**2).sum()) / len(wrong) ** 2
    return variance / (share * (1 - share) / len(wrong))

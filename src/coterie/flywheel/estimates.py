"""Estimate an accuracy from few labels and many predictions of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

_FEWEST = 5
"""Labels of each kind, right and wrong, below which the normal approximation is not used."""


@dataclass(frozen=True)
class Estimate:
    """A share with its interval."""

    share: float
    low: float
    high: float
    method: str
    """`ppi++` or `exact`."""
    worth: float
    """Labels that a plain estimate would take for an interval of this width."""


def exact(right: int, total: int, *, level: float = 0.95) -> Estimate:
    """Return the share of right labels with its Clopper-Pearson interval; without labels it is 0 to 1."""
    from scipy.stats import beta  # noqa: PLC0415 - serving needs none of it

    tail = (1 - level) / 2
    low = float(beta.ppf(tail, right, total - right + 1)) if right else 0.0
    high = float(beta.ppf(1 - tail, right + 1, total - right)) if right < total else 1.0
    return Estimate(right / total if total else math.nan, low, high, "exact", float(total))


def estimate(
    right: np.ndarray, predicted: np.ndarray, unlabelled: np.ndarray, *, level: float = 0.95
) -> Estimate:  # (n,), (n,), (N,)
    """Estimate a mean from labels of a random sample and predictions for all rows.

    Prediction-powered inference with its weight tuned to the data (Angelopoulos, Duchi, Zrnic, *PPI++*, 2023): the
    interval is never wider, asymptotically, than that of the labels alone, however bad the predictions are. With few
    labels of a kind the exact interval of the labels alone is returned, since the normal approximation fails there.

    Args:
        right: 0 or 1 for each labelled row. Shape (n,).
        predicted: Predicted probability that it is 1. Shape (n,).
        unlabelled: The prediction for each row without a label. Shape (N,).
        level: Probability that the interval covers the mean.

    Raises:
        ValueError: `right` and `predicted` differ in length.
    """
    right, predicted, unlabelled = (np.asarray(each, dtype=float) for each in (right, predicted, unlabelled))
    if right.shape != predicted.shape:
        raise ValueError(f"{len(right)} labels, but {len(predicted)} predictions for them")
    count, ones = len(right), int(right.sum())
    if min(ones, count - ones) < _FEWEST or not len(unlabelled) or predicted.var() == 0:
        return exact(ones, count, level=level)
    ratio = count / len(unlabelled)
    weight = float(np.clip(np.cov(right, predicted)[0, 1] / (predicted.var() * (1 + ratio)), 0, 1))
    residual = right - weight * predicted
    mean = weight * unlabelled.mean() + residual.mean()
    variance = residual.var(ddof=1) / count + weight**2 * unlabelled.var() / len(unlabelled)
    half = float(NormalDist().inv_cdf(0.5 + level / 2) * math.sqrt(variance))
    worth = float(right.var(ddof=1) / variance)
    return Estimate(float(np.clip(mean, 0, 1)), max(0.0, mean - half), min(1.0, mean + half), "ppi++", worth)

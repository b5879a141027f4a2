"""Decide from a stream whether a candidate is worse than the current model, and estimate accuracy from few labels.

Each row compares the two: +1 only the candidate is right, -1 only the model is, 0 both or neither. Rows with
equal answers are 0 without a person, so people see disagreements only.

The evidence is a betting e-process (Waudby-Smith and Ramdas, *Estimating means of bounded random variables by betting*,
JRSS B 2024): the wealth of a mixture of fixed bets against "worse by the margin". Under that hypothesis the wealth is a
non-negative martingale. By Ville's inequality it reaches 1/alpha with a probability of at most alpha, for any number of
looks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from coterie.learning.metrics import exact_interval

BETS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.98)
"""Shares of the wealth that the members of the mixture bet on each row."""
PRIOR = (0.05, 0.05, 0.1, 0.15, 0.15, 0.15, 0.15, 0.2)
"""Initial weights of the mixture's members.

High bets show a specialist that differs little, as most do after some weeks; low ones are for many differences and
thousands of rows.
"""
_PRIOR_LOGS = np.log(PRIOR)
_MIXED = 1.5
"""Approximate evidence that the mixture has less than its best member."""

StreamDecision = Literal["better", "worse", "open"]


def _gains(rows: np.ndarray, mean: float) -> np.ndarray:  # (N,) -> (B, N)
    """Return the log of the factor of each bet's wealth at each row, against a mean of at most `mean`."""
    stakes = np.asarray(BETS) / max(1.0, 1 + mean)  # no row can take more than what is staked
    return np.asarray(np.log1p(np.outer(stakes, np.asarray(rows, dtype=float) - mean)))


def _mixture(logs: np.ndarray) -> np.ndarray:  # (B, N) -> (N,)
    """Return the log of the mixture's wealth from the logs of its members' wealth."""
    weighed = logs + _PRIOR_LOGS[:, None]
    top = weighed.max(axis=0)
    return np.asarray(top + np.log(np.exp(weighed - top).sum(axis=0)))


def first_decision(rows: np.ndarray, *, margin: float, alpha: float = 0.05) -> tuple[StreamDecision, int]:
    """Return the first decision on a recorded stream, checked after each row, and the number of rows until then.

    Args:
        rows: -1, 0 or 1, in order. Shape (N,).
        margin: The largest allowed loss of the candidate.
        alpha: Bound on the probability of each wrong decision.
    """
    line = math.log(1 / alpha)

    def reached(signed: np.ndarray, mean: float) -> int:
        hit = _mixture(_gains(signed, mean).cumsum(axis=1)) >= line
        return int(np.argmax(hit)) + 1 if hit.any() else len(rows) + 1

    better, worse = reached(rows, -margin), reached(-rows, margin)
    if min(better, worse) > len(rows):
        return "open", len(rows)
    return ("better", better) if better <= worse else ("worse", worse)


def paths_at(
    places: np.ndarray, at: np.ndarray, signs: np.ndarray, *, margin: float
) -> tuple[np.ndarray, np.ndarray]:  # (P,), (M,), (M,) -> (P,), (P,)
    """Return the evidence up to given rows that a candidate is not worse, and that it is: logarithms, >= 0.

    By Ville's inequality a level once reached stays valid. Rows that are 0 need no check: between two others the log
    of the mixture's wealth is convex in the number of rows, so its maximum is at an end.

    Args:
        places: Rows to return the evidence at, from 0, in order.
        at: Rows that are not 0, in order, none after the last place.
        signs: Values of these rows, -1 or 1.
        margin: The largest allowed loss of the candidate.
    """
    ends = np.unique(np.concatenate([places, at, np.maximum(at - 1, 0)])).astype(int)
    won = np.searchsorted(at[signs > 0], ends, side="right")
    lost = np.searchsorted(at[signs < 0], ends, side="right")

    def path(better: np.ndarray, worse: np.ndarray, mean: float) -> np.ndarray:
        up, down, none = _gains(np.asarray([1.0, -1.0, 0.0]), mean).T[:, :, None]  # (B, 1) each
        logs = up * better + down * worse + none * (ends + 1 - better - worse)  # (B, E)
        reached = np.maximum.accumulate(np.maximum(_mixture(logs), 0.0))
        return np.asarray(reached[np.searchsorted(ends, places)])

    return path(won, lost, -margin), path(lost, won, margin)


def rows_needed(won: np.ndarray, lost: np.ndarray, *, margin: float, alpha: float) -> np.ndarray:  # (N,), (N,) -> (N,)
    """Return the expected rows until a candidate is shown not to be worse by the margin, by its best bet's growth.

    Args:
        won: Share of all rows that it wins. Shape (N,).
        lost: Share that it loses. Shape (N,).
        margin: The largest allowed loss.
        alpha: Bound on the probability of a wrong decision.
    """
    bets = np.asarray(BETS)[:, None]
    growth = won * np.log1p(bets * (1 + margin)) + lost * np.log1p(bets * (margin - 1))
    growth = growth + np.maximum(1 - won - lost, 0.0) * np.log1p(bets * margin)  # (B, N)
    return np.asarray((math.log(1 / alpha) + _MIXED) / np.maximum(growth.max(axis=0), 1e-9))


_FEWEST = 5
"""Labels of each kind, right and wrong, below which the normal approximation is not used."""


@dataclass(frozen=True)
class Estimate:
    """A share with its interval."""

    share: float
    low: float
    high: float
    method: str
    """Method of the interval: `ppi++` or `exact`."""
    worth: float
    """Number of labels that a plain estimate would need for an interval of this width."""


def exact(right: int, total: int) -> Estimate:
    """Return the share of right labels with its Clopper-Pearson interval of 95%; without labels it is 0 to 1."""
    low, high = exact_interval(right, total) if total else (0.0, 1.0)
    return Estimate(right / total if total else math.nan, low, high, "exact", float(total))


def estimate(right: np.ndarray, predicted: np.ndarray, unlabelled: np.ndarray) -> Estimate:  # (n,), (n,), (N,)
    """Estimate a mean, with its interval of 95%, from labels of a random sample and predictions for all rows.

    Prediction-powered inference with its weight tuned to the data (Angelopoulos, Duchi, Zrnic, *PPI++*, 2023): the
    interval is never wider, asymptotically, than that of the labels alone, however bad the predictions are. With few
    labels of a kind the exact interval of the labels alone is returned, since the normal approximation fails there.

    Args:
        right: 0 or 1 for each labelled row. Shape (n,).
        predicted: Predicted probability that it is 1. Shape (n,).
        unlabelled: The prediction for each row without a label. Shape (N,).

    Raises:
        ValueError: `right` and `predicted` differ in length.
    """
    right, predicted, unlabelled = (np.asarray(array, dtype=float) for array in (right, predicted, unlabelled))
    if right.shape != predicted.shape:
        raise ValueError(f"{len(right)} labels, but {len(predicted)} predictions for them")
    count, ones = len(right), int(right.sum())
    if min(ones, count - ones) < _FEWEST or not len(unlabelled) or predicted.var() == 0:
        return exact(ones, count)
    ratio = count / len(unlabelled)
    weight = float(np.clip(np.cov(right, predicted)[0, 1] / (predicted.var() * (1 + ratio)), 0, 1))
    residual = right - weight * predicted
    mean = weight * unlabelled.mean() + residual.mean()
    variance = residual.var(ddof=1) / count + weight**2 * unlabelled.var() / len(unlabelled)
    half = float(NormalDist().inv_cdf(0.975) * math.sqrt(variance))
    worth = float(right.var(ddof=1) / variance)
    return Estimate(float(np.clip(mean, 0, 1)), max(0.0, mean - half), min(1.0, mean + half), "ppi++", worth)

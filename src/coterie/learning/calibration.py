"""From logits to probabilities, and the one or two parameters that calibrate them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import ArrayLike

from coterie.errors import DataError
from coterie.learning.numerics import expit, logit, logsumexp

Floats = np.ndarray

_FEWEST = 30
"""Fewest answers to fit a line through confidences; at least `_EITHER` of them must be right, and as many wrong."""
_EITHER = 5
_USUAL, _SPREAD = np.array([0.65, 0.1]), np.array([0.15, 0.3])
"""Prior of such lines (slope and intercept): mean and deviation on small sets of two corpora.

The figures are in docs/history/log.md.
"""
_SUREST = 1e-6
"""Least distance of a confidence from 0 and from 1."""
_FARTHEST = 30.0
"""Most log-odds by which an intercept is moved."""
_WIDEST = 5.0
"""Temperatures are searched between e^-5 and e^5 (0.007 and 148)."""


@dataclass(frozen=True, kw_only=True)
class Platt:
    """A line before the sigmoid: probability = sigmoid(slope * logit + intercept)."""

    slope: float
    intercept: float

    def probability(self, logits: ArrayLike) -> Floats:
        """Return the probability of the positive outcome, of the logits' shape."""
        return np.asarray(expit(self.slope * np.asarray(logits, dtype=float) + self.intercept))


def sigmoid(logits: ArrayLike) -> Floats:
    """Return the probability of each label by itself, of the logits' shape."""
    return np.asarray(expit(np.asarray(logits, dtype=float)))


def fit_temperature(logits: ArrayLike, targets: ArrayLike) -> float:
    """Return the temperature T under which softmax(logits / T) is calibrated.

    It minimises the negative log-likelihood, which is convex in 1 / T (Guo, Pleiss, Sun and Weinberger 2017,
    "On Calibration of Modern Neural Networks", section 4.2). The targets are smoothed by 1 / (N + 2), after
    Platt 1999, so that a small set without a mistake does not lead to certainty.

    Args:
        logits: (N, L), of rows that the weights were not fitted on.
        targets: (N,) position of the right label.
    """
    z = _finite(logits)  # (N, L)
    right = z[np.arange(len(z)), np.asarray(targets, dtype=int)]
    smoothing = 1 / (len(z) + 2)
    attained = ((1 - smoothing) * right + smoothing * z.mean(axis=1)).mean()

    def loss(inverse: float) -> float:
        return float(logsumexp(inverse * z, axis=1).mean() - inverse * attained)

    return _best_temperature(loss)


def fit_sigmoid_temperature(logits: ArrayLike, targets: ArrayLike) -> float:
    """Return the temperature T under which sigmoid(logits / T) is calibrated, one for all labels.

    The same as `fit_temperature` for labels that are right or wrong one by one.

    Args:
        logits: (N,) or (N, L).
        targets: of the same shape, 1 where the label is right.
    """
    z = _finite(logits)
    y = _platt_targets(np.asarray(targets))

    def loss(inverse: float) -> float:
        return float((np.logaddexp(0, inverse * z) - y * inverse * z).mean())

    return _best_temperature(loss)


def fit_platt(logits: ArrayLike, targets: ArrayLike) -> Platt:
    """Return the slope and intercept that calibrate the logits of one outcome.

    Platt 1999, "Probabilistic Outputs for Support Vector Machines", with its smoothed targets; solved on
    standardised logits, where it is well conditioned.

    Args:
        logits: (N,), of rows that the weights were not fitted on.
        targets: (N,) 1 for the positive outcome, 0 for the other.
    """
    from scipy.optimize import minimize  # noqa: PLC0415 - training alone needs it

    z = _finite(logits)
    y = _platt_targets(np.asarray(targets))
    center, scale = float(z.mean()), float(z.std()) or 1.0
    unit = (z - center) / scale

    def loss(line: Floats) -> tuple[float, Floats]:
        margin = line[0] * unit + line[1]
        miss = expit(margin) - y
        return float((np.logaddexp(0, margin) - y * margin).mean()), np.array([(miss * unit).mean(), miss.mean()])

    slope, intercept = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    return Platt(slope=float(slope / scale), intercept=float(intercept - slope * center / scale))


def fit_confidence(confidence: ArrayLike, right: ArrayLike) -> Platt | None:
    """Return the line through the log-odds of confidences that calibrates them for the answer given; None without one.

    A temperature is the best for the probabilities of all labels together; the likeliest label alone is still
    over- or underconfident (Gupta and Ramdas 2022, "Top-label calibration and multiclass-to-binary reductions").
    The order of answers stays. With too few answers, or hardly any right or wrong ones, the result is None and
    confidences stay.

    The line has the highest posterior probability under a normal prior of such lines: the prior outweighs a
    hundred answers and hardly affects ten thousand.

    Args:
        confidence: (N,) of answers to rows that the weights were not fitted on.
        right: (N,) whether each was right.
    """
    from scipy.optimize import minimize  # noqa: PLC0415 - training alone needs it

    sure, hits = np.clip(np.asarray(confidence, dtype=float), _SUREST, 1 - _SUREST), np.asarray(right, dtype=bool)
    if len(hits) < _FEWEST or min(hits.sum(), (~hits).sum()) < _EITHER:
        return None
    odds, rows = logit(sure), len(hits)

    def loss(line: Floats) -> tuple[float, Floats]:
        margin, apart = line[0] * odds + line[1], (line - _USUAL) / _SPREAD
        miss = expit(margin) - hits
        surprise = (np.logaddexp(0, margin) - hits * margin).mean() + (apart**2).sum() / (2 * rows)
        return float(surprise), np.array([(miss * odds).mean(), miss.mean()]) + apart / _SPREAD / rows

    slope, intercept = minimize(loss, _USUAL, jac=True, method="BFGS").x
    return Platt(slope=float(slope), intercept=float(intercept)) if slope > 0 else None


def raise_confidence(line: Platt, confidence: ArrayLike, gain: float) -> Platt:
    """Return the line with its intercept moved, so that the mean of the mapped confidences rises by `gain`.

    Args:
        line: The result of `fit_confidence`.
        confidence: (N,) confidences that the line was fitted on.
        gain: Share of answers, from 0; at most 99% of the mean's distance to 1 is added.
    """
    from scipy.optimize import brentq  # noqa: PLC0415 - training alone needs it

    odds = logit(np.clip(np.asarray(confidence, dtype=float), _SUREST, 1 - _SUREST))
    before = float(line.probability(odds).mean())
    aim = min(before + gain, 1 - (1 - before) / 100)
    moved = brentq(lambda by: float(expit(line.slope * odds + line.intercept + by).mean()) - aim, 0.0, _FARTHEST)
    return Platt(slope=line.slope, intercept=line.intercept + float(moved))


def _best_temperature(loss: Callable[[float], float]) -> float:
    """Minimise over the logarithm of 1 / T, in which a function convex in 1 / T still has one minimum."""
    from scipy.optimize import minimize_scalar  # noqa: PLC0415 - training alone needs it

    best = minimize_scalar(lambda log: loss(float(np.exp(log))), bounds=(-_WIDEST, _WIDEST), method="bounded")
    return float(np.exp(-best.x))


def _platt_targets(targets: Floats) -> Floats:
    """Return targets moved off 0 and 1 as if one more example of each had been seen (Platt 1999)."""
    positive = int((targets > 0).sum())
    negative = targets.size - positive
    return np.where(targets > 0, (positive + 1) / (positive + 2), 1 / (negative + 2))


def _finite(logits: ArrayLike) -> Floats:
    z = np.asarray(logits, dtype=float)
    if not z.size:
        raise DataError("There are no rows to calibrate on.", hint="Add training data.")
    if not np.isfinite(z).all():
        raise DataError(f"{(~np.isfinite(z)).sum():,} of {z.size:,} logits to calibrate on are not finite.")
    return z


# --- Combining several models of one thing.

_LARGEST = 100.0  # weights beyond this only sharpen what is already certain


def fit_pool(logits: Sequence[np.ndarray], targets: np.ndarray) -> np.ndarray:
    """Return the shares of a log-linear pool that minimise the log loss of some multiple of sum(share * logits).

    Stacking (Wolpert 1992) in the logit domain (Genest and Zidek 1986). Shares are not negative, so no model is
    ever used upside down. How sharp the pool is, its temperature, is fitted afterwards.

    Args:
        logits: One array (N, L) a model, each from rows that the model was not trained on.
        targets: (N,) index of the right label, or (N, L) of 0 and 1 when labels are independent; then the
            sigmoid takes the softmax's place.

    Returns:
        (M,) one share a model, adding up to 1.
    """
    from scipy.optimize import minimize  # noqa: PLC0415 - training alone needs it

    if len(logits) == 1:
        return np.ones(1)
    stacked = np.stack(logits).astype(np.float64)  # (M, N, L)
    loss = _independent_loss if targets.ndim == 2 else _exclusive_loss
    start = np.full(len(stacked), 1.0 / len(stacked))
    bounds = [(0.0, _LARGEST)] * len(stacked)
    optimum = minimize(loss, start, args=(stacked, targets), jac=True, method="L-BFGS-B", bounds=bounds)
    total = optimum.x.sum()
    return np.asarray(optimum.x / total if total else start)


def _exclusive_loss(weights: np.ndarray, stacked: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean log loss of the softmax and its gradient."""
    pooled = np.tensordot(weights, stacked, axes=1)  # (N, L)
    rows = np.arange(len(targets))
    total = logsumexp(pooled, axis=1)
    loss = float(np.mean(total - pooled[rows, targets]))
    surprise = np.exp(pooled - total[:, None])
    surprise[rows, targets] -= 1.0
    return loss, np.tensordot(stacked, surprise, axes=([1, 2], [0, 1])) / len(targets)


def _independent_loss(weights: np.ndarray, stacked: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean log loss of the sigmoids, over rows and labels, and its gradient."""
    pooled = np.tensordot(weights, stacked, axes=1)  # (N, L)
    loss = float(np.mean(np.logaddexp(0.0, pooled) - targets * pooled))
    surprise = expit(pooled) - targets
    return loss, np.tensordot(stacked, surprise, axes=([1, 2], [0, 1])) / targets.size


# --- Scores that say how much a text is like the training data, and where to draw the line.
#
# Higher is always more in scope. Nothing here needs an example that is out of scope.


def max_logit(logits: ArrayLike) -> Floats:
    """Return the highest logit: (..., L) to (...).

    Hendrycks et al. 2022, "Scaling Out-of-Distribution Detection for Real-World Settings".
    """
    return np.asarray(np.asarray(logits, dtype=float).max(axis=-1))


def scope_threshold(scores: ArrayLike, *, false_rejection: float) -> float:
    """Return the score from which a text is in scope: at most `false_rejection` of these scores are below it.

    The largest such threshold, whatever ties there are. With N scores of in-scope rows, a fresh in-scope row
    is below it with probability at most (floor(N * false_rejection) + 1) / (N + 1) (by
    exchangeability, as in Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World").

    Args:
        scores: (N,) of in-scope rows that the weights were not fitted on.
        false_rejection: Highest share of them to reject, 0 to 1.

    Raises:
        DataError: there are no scores, or one is not a number.
    """
    ranked = np.sort(np.asarray(scores, dtype=float))
    if not len(ranked) or np.isnan(ranked).any():
        raise DataError(f"{len(ranked):,} scores, {np.isnan(ranked).sum():,} of them no numbers, give no threshold.")
    # The small amount keeps 0.29 * 100 = 28.999999999999996 at 29.
    return float(ranked[min(floor(false_rejection * len(ranked) + 1e-9), len(ranked) - 1)])

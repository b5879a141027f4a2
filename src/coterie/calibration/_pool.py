"""Combining several models of one thing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

_LARGEST = 100.0  # weights beyond this only sharpen what is already certain


def fit_pool(logits: Sequence[np.ndarray], targets: np.ndarray) -> np.ndarray:
    """Shares of a log-linear pool: some multiple of sum(share * logits) has the least log loss on held-out rows.

    Stacking (Wolpert 1992) in the logit domain (Genest and Zidek 1986). Shares are not negative, so no model is
    ever used upside down. How sharp the pool is, its temperature, is fitted afterwards.

    Args:
        logits: One array (N, L) a model, each from rows that the model was not trained on.
        targets: (N,) index of the right label, or (N, L) of 0 and 1 when labels are independent; then the
            sigmoid takes the softmax's place.

    Returns:
        (M,) one share a model, adding up to 1.
    """
    if len(logits) == 1:
        return np.ones(1)
    stacked = np.stack(logits).astype(np.float64)  # (M, N, L)
    loss = _independent_loss if targets.ndim == 2 else _exclusive_loss
    start = np.full(len(stacked), 1.0 / len(stacked))
    bounds = [(0.0, _LARGEST)] * len(stacked)
    found = minimize(loss, start, args=(stacked, targets), jac=True, method="L-BFGS-B", bounds=bounds)
    total = found.x.sum()
    return np.asarray(found.x / total if total else start)


def _exclusive_loss(weights: np.ndarray, stacked: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean log loss of the softmax and its gradient."""
    pooled = np.tensordot(weights, stacked, axes=1)  # (N, L)
    rows = np.arange(len(targets))
    total = logsumexp(pooled, axis=1)
    loss = float(np.mean(total - pooled[rows, targets]))
    surprise = np.exp(pooled - total[:, None])
    surprise[rows, targets] -= 1.0
    return loss, np.tensordot(stacked, surprise, axes=([1, 2], [0, 1])) / len(targets)


def _independent_loss(weights: np.ndarray, stacked: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean log loss of the sigmoids, over rows and labels, and its gradient."""
    pooled = np.tensordot(weights, stacked, axes=1)  # (N, L)
    loss = float(np.mean(np.logaddexp(0.0, pooled) - targets * pooled))
    surprise = expit(pooled) - targets
    return loss, np.tensordot(stacked, surprise, axes=([1, 2], [0, 1])) / targets.size

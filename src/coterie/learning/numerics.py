"""Functions in numpy alone, since a serving device has no scipy; one thread for linear algebra; a regression."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def expit(x: Any) -> Any:  # noqa: ANN401 - a number gives a number, an array an array
    """Return the logistic function 1 / (1 + exp(-x)), of any size without overflow."""
    x = np.asarray(x, dtype=np.result_type(x, np.float32) if hasattr(x, "dtype") else np.float64)
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small)[()] / (1.0 + small)


def logit(p: Any) -> Any:  # noqa: ANN401 - as above
    """Return log(p / (1 - p)); of 0 and 1 it is infinite."""
    p = np.asarray(p, dtype=np.result_type(p, np.float32) if hasattr(p, "dtype") else np.float64)
    with np.errstate(divide="ignore"):
        return (np.log(p) - np.log1p(-p))[()]


def logsumexp(a: Any, axis: int | tuple[int, ...] | None = None) -> Any:  # noqa: ANN401
    """Return log(sum(exp(a))) along an axis, without overflow."""
    a = np.asarray(a)
    most = np.max(a, axis=axis, keepdims=True)
    most = np.where(np.isfinite(most), most, 0.0)
    with np.errstate(divide="ignore"):
        total = np.log(np.sum(np.exp(a - most), axis=axis, keepdims=True)) + most
    return np.squeeze(total, axis=axis)[()]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of labels of which exactly one is right: (..., L) to (..., L)."""
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit the thread pools of this process to one thread each, while the context lasts.

    A library that is loaded inside the context is not limited. scikit-learn brings OpenMP, and a task imports it when
    it trains: so it is loaded first.
    """
    import sklearn.linear_model  # noqa: F401, PLC0415 - see above

    with threadpool_limits(1):
        yield


def multinomial(
    design: np.ndarray | csr_matrix, outcome: np.ndarray, outcomes: int, *, strength: float, absent: float, rounds: int
) -> tuple[np.ndarray, np.ndarray]:  # (columns, outcomes), (outcomes,)
    """Fit a multinomial logistic regression with a column for every outcome, even for those that no row has.

    Args:
        design: (N, columns) features of each row.
        outcome: (N,) outcome of each row.
        outcomes: Number of outcomes.
        strength: Inverse of the regularisation.
        absent: Logit of an outcome that never occurs: it is unlikely, not impossible.
        rounds: Most iterations.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - a device that answers has none

    weights, bias = np.zeros((design.shape[1], outcomes)), np.full(outcomes, absent)
    present = np.unique(outcome)
    if len(present) < 2:
        bias[present] = 0.0
        return weights, bias
    model = LogisticRegression(C=strength, max_iter=rounds).fit(design, outcome)
    if len(present) == 2:  # scikit-learn gives the log-odds of the second alone
        weights[:, present[1]], bias[present] = model.coef_[0], [0.0, model.intercept_[0]]
    else:
        weights[:, present], bias[present] = model.coef_.T, model.intercept_
    return weights, bias

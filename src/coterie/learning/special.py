"""The special functions that answering needs, in numpy alone: a device that answers has no scipy."""

from __future__ import annotations

from typing import Any

import numpy as np


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


def logsumexp(a: Any, axis: int | tuple[int, ...] | None = None, *, keepdims: bool = False) -> Any:  # noqa: ANN401
    """Return log(sum(exp(a))) along an axis, without overflow."""
    a = np.asarray(a)
    most = np.max(a, axis=axis, keepdims=True)
    most = np.where(np.isfinite(most), most, 0.0)
    with np.errstate(divide="ignore"):
        total = np.log(np.sum(np.exp(a - most), axis=axis, keepdims=True)) + most
    return total if keepdims else np.squeeze(total, axis=axis)[()]

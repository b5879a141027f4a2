"""Fitting how far a prompted model's answers are to be believed, on answers whose rightness is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from coterie.specialists import SIGNS, Agreement

_PARTS = 5
"""Each answer's own confidence comes from a fit on the others of so many parts."""
_STRENGTH = 1.0  # inverse of the penalty, on signs in standard deviations

Signs = Mapping[str, float]


def fit_agreement(signs: Sequence[Signs], right: np.ndarray) -> Agreement:
    """A logistic regression from the signs that every answer has to whether it is right.

    Args:
        signs: Of each answer that names a label.
        right: (N,) whether it does so rightly. Where all are, or none is, the confidence is the same for all of them,
            a row more of each kind being added (Laplace's rule of succession).
    """
    shared = [name for name in SIGNS if signs and all(name in each for each in signs)]
    table = np.array([[each[name] for name in shared] for each in signs]).reshape(len(signs), len(shared))  # (N, S)
    usual = table.mean(axis=0) if len(signs) else np.zeros(len(shared))
    means = {name: float(value) for name, value in zip(shared, usual, strict=True)}
    if not shared or len(np.unique(right)) < 2:
        share = (right.sum() + 1) / (len(right) + 2)
        return Agreement(weights=dict.fromkeys(shared, 0.0), usual=means, bias=float(np.log(share / (1 - share))))
    spread = np.maximum(table.std(axis=0), 1e-6)
    model = LogisticRegression(C=_STRENGTH).fit((table - usual) / spread, right)
    weights = model.coef_[0] / spread
    bias = float(model.intercept_[0] - weights @ usual)
    return Agreement(weights=dict(zip(shared, map(float, weights), strict=True)), usual=means, bias=bias)


def confidences(signs: Sequence[Signs], right: np.ndarray, seed: int) -> np.ndarray:  # (N,)
    """The confidence of each answer, from a regression that was not fitted on it."""
    dealt = np.random.default_rng(seed).permutation(len(signs)) % _PARTS
    found = np.zeros(len(signs))
    for part in np.unique(dealt):
        rest = np.flatnonzero(dealt != part).tolist()
        fitted = fit_agreement([signs[i] for i in rest], right[rest])
        for i in np.flatnonzero(dealt == part).tolist():
            found[i] = fitted.confidence(signs[i])
    return found

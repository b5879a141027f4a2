"""A multinomial logistic regression with a column for every outcome, also those that the rows do not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import LogisticRegression

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def multinomial(
    design: np.ndarray | csr_matrix, outcome: np.ndarray, outcomes: int, *, strength: float, absent: float, rounds: int
) -> tuple[np.ndarray, np.ndarray]:  # (columns, outcomes), (outcomes,)
    """Fit it.

    Args:
        design: (N, columns) what is known of each row.
        outcome: (N,) what came of it.
        outcomes: How many there are.
        strength: Inverse of the regularisation.
        absent: Logit of one that never occurs: it is unlikely, not impossible.
        rounds: Most iterations.
    """
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

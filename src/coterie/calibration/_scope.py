"""Scores that say how much a text is like the training data, and where to draw the line.

Higher is always more in scope. Nothing here needs an example that is out of scope.
"""

from __future__ import annotations

from math import floor

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from coterie.errors import DataError

Floats = np.ndarray


def max_logit(logits: ArrayLike) -> Floats:
    """The highest logit: (..., L) to (...).

    Hendrycks et al. 2022, "Scaling Out-of-Distribution Detection for Real-World Settings".
    """
    return np.asarray(np.asarray(logits, dtype=float).max(axis=-1))


def energy(logits: ArrayLike, *, temperature: float = 1.0) -> Floats:
    """The negative free energy T * logsumexp(logits / T): (..., L) to (...).

    Liu, Wang, Owens and Li 2020, "Energy-based Out-of-distribution Detection", equation 4 with its sign turned.
    """
    return np.asarray(temperature * logsumexp(np.asarray(logits, dtype=float) / temperature, axis=-1))


def scope_threshold(scores: ArrayLike, *, false_rejection: float) -> float:
    """The score from which a text counts as in scope: at most `false_rejection` of these scores are below it.

    The largest such threshold, whatever ties there are. With N scores of in-scope rows, a fresh in-scope row
    is below it with probability at most (floor(N * false_rejection) + 1) / (N + 1) (by
    exchangeability, as in Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World").

    Args:
        scores: (N,) of in-scope rows that the weights were not fitted on.
        false_rejection: Highest share of them to reject, 0 to 1.
    """
    ranked = np.sort(np.asarray(scores, dtype=float))
    if not len(ranked) or np.isnan(ranked).any():
        raise DataError(f"{len(ranked):,} scores, {np.isnan(ranked).sum():,} of them no numbers, give no threshold.")
    # The small amount keeps 0.29 * 100 = 28.999999999999996 at 29.
    return float(ranked[min(floor(false_rejection * len(ranked) + 1e-9), len(ranked) - 1)])

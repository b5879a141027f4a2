"""What makes a confidence true and an abstention right: temperatures, the accept threshold, the line of scope.

Pure functions of arrays. Every fit is made on rows that the weights were not fitted on.
"""

from ._pool import fit_pool
from ._probability import (
    Platt,
    fit_confidence,
    fit_platt,
    fit_sigmoid_temperature,
    fit_temperature,
    raise_confidence,
    sigmoid,
    softmax,
)
from ._scope import energy, max_logit, scope_threshold
from ._threshold import Threshold, accept_threshold

__all__ = [
    "Platt",
    "Threshold",
    "accept_threshold",
    "energy",
    "fit_confidence",
    "fit_platt",
    "fit_pool",
    "fit_sigmoid_temperature",
    "fit_temperature",
    "max_logit",
    "raise_confidence",
    "scope_threshold",
    "sigmoid",
    "softmax",
]

"""From the probability of an answer to the confidence that it is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

_SUREST = 1e-6
"""A probability is taken to be at least so far from 0 and from 1."""


@dataclass(frozen=True, kw_only=True)
class ConfidenceLine:
    """A line through the log-odds, fitted in training by `coterie.calibration`, stored with the version."""

    slope: float = 1.0
    intercept: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite([self.slope, self.intercept]).all() and self.slope > 0):
            raise ValueError(f"{self!r} does not rise")

    def believe(self, probability: ArrayLike) -> np.ndarray:
        """Confidences, of the probabilities' shape and in their order."""
        said = np.asarray(probability, dtype=float)
        if self == STRAIGHT:
            return said
        sure = np.clip(said, _SUREST, 1 - _SUREST)
        odds = self.intercept + self.slope * np.log(sure / (1 - sure))  # their logarithm
        return np.asarray(np.exp(-np.logaddexp(0.0, -odds)))


STRAIGHT = ConfidenceLine()
"""Leaves probabilities as they are."""

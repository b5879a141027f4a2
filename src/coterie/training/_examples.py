"""What a text head is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class TextExamples:
    """What a text head is trained on."""

    texts: Sequence[str]
    hot: np.ndarray  # (N, L) of 0 and 1: each row's labels
    several: bool
    """Labels hold together; otherwise exactly one is given and any of a row's is right."""
    folds: np.ndarray  # (N,)
    seed: int

    @property
    def labels(self) -> int:
        """How many there are."""
        return int(self.hot.shape[1])

    @property
    def one_each(self) -> bool:
        """Every row has exactly one label."""
        return bool((self.hot.sum(axis=1) == 1).all())

    def targets(self, logits: np.ndarray) -> np.ndarray:  # (N, L) -> (N,) or (N, L)
        """What calibration aims at: a row's label, of several right ones the likeliest; all where they hold together."""
        if self.several:
            return self.hot
        return np.asarray(np.where(self.hot > 0, logits, -np.inf).argmax(axis=1))

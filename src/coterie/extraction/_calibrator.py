"""How sure to be of what is said of a field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from coterie.engines import stored_array

from ._signs import SIGNS, Statement

Floats = np.ndarray


class Found(NamedTuple):
    """One value of a field, or that it is not stated."""

    start: int | None
    end: int | None
    confidence: float
    """Calibrated probability that this is right."""


@dataclass(frozen=True, kw_only=True)
class Calibrator:
    """Logistic regression from the signs of a statement to whether it is right: one a field and kind of statement."""

    weights: Floats  # (F, 2, S), of `not stated` and of a value
    bias: Floats  # (F, 2)

    @classmethod
    def straight(cls, fields: int) -> Calibrator:
        """One that believes the weigher."""
        weights = np.zeros((fields, 2, len(SIGNS)))
        weights[:, :, 0] = 1.0
        return cls(weights=weights, bias=np.zeros((fields, 2)))

    def believe(self, number: int, said: Statement) -> Found:
        """A statement about a field with its confidence; what there was nothing to weigh for is certain."""
        if not said.signs:
            return Found(said.start, said.end, 1.0)
        kind = int(said.stated)
        logit = self.weights[number, kind] @ np.array(said.signs) + self.bias[number, kind]
        return Found(said.start, said.end, float(expit(logit)))

    def store(self) -> dict[str, Floats]:
        """The arrays that restore it."""
        return {"calibrate.weights": self.weights, "calibrate.bias": self.bias}

    @classmethod
    def restore(cls, arrays: Mapping[str, Floats], fields: int) -> Calibrator:
        """What `store` was asked of. Raises `ValueError` if the parts do not fit each other."""
        return cls(
            weights=stored_array(arrays, "calibrate.weights", fields, 2, len(SIGNS)),
            bias=stored_array(arrays, "calibrate.bias", fields, 2),
        )

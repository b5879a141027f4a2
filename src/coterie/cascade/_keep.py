"""From which confidence a specialist's answer is kept, for a share of the generalist's quality.

The generalist is asked for all below. What that comes to is known from the outcomes a specialist was calibrated on: its
confidence and whether it was right, on texts that its weights were not fitted on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from ._dial import DELTA
from ._risk import mean_p_value

KEPT_FILE = "calibration.safetensors"
_SHARES = np.linspace(0.1, 1.0, 46)
"""Shares of the answers that may be kept; tested from few to all."""
_FEWEST = 60
"""Rows from which anything is shown."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """A specialist's calibration outcomes."""

    confidence: np.ndarray  # (N,)
    right: np.ndarray  # (N,) bool
    group: np.ndarray  # (N,) number of the row's group; rows of one group are not independent

    def to_files(self) -> dict[str, bytes]:
        """What is stored with a version."""
        arrays: dict[str, np.ndarray] = {
            "confidence": self.confidence.astype(np.float32),
            "right": self.right.astype(np.uint8),
            "group": self.group.astype(np.int32),
        }
        return {KEPT_FILE: save_arrays(arrays)}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Judged | None:
        """The outcomes of a stored version, if it has them. Raises `ValueError` or `LookupError`."""
        if KEPT_FILE not in files:
            return None
        arrays = load_arrays(files[KEPT_FILE])
        confidence, right, group = (arrays[name] for name in ("confidence", "right", "group"))
        if not len(confidence) == len(right) == len(group) or not np.isfinite(confidence).all():
            raise ValueError("its calibration outcomes do not fit together")
        return cls(confidence=confidence.astype(float), right=right > 0, group=group.astype(int))


@dataclass(frozen=True, kw_only=True)
class Line:
    """From which confidence answers are kept, and what that is expected to come to."""

    value: float | None
    """None keeps none."""
    kept: float
    """Share of the answers that is kept."""
    expected: float
    """Quality of the whole, the generalist's answers included."""
    reason: str


def keep_from(judged: Judged, *, quality: float, generalist: float) -> Line:
    """The lowest confidence from which keeping answers is shown, with 95% confidence, to keep the quality of the whole.

    The generalist is right `generalist` of the time on what it is asked. Shares are tested from the surest answers on,
    and the first that is not shown ends the test, so the confidence holds for the line that is taken. Rows of one group
    count as one, by their mean.
    """
    order = np.argsort(-judged.confidence, kind="stable")
    confidence, n = judged.confidence[order], len(order)
    found: Line | None = None
    for share in _SHARES if n >= _FEWEST else ():
        line = float(confidence[min(n, round(share * n)) - 1])
        keep = judged.confidence >= line
        values = np.where(keep, judged.right, generalist) - quality * generalist
        if mean_p_value(_by_group(values, judged.group), 0.0, low=-quality * generalist, high=1.0, delta=DELTA) > DELTA:
            break
        expected = float(values.mean()) + quality * generalist
        found = Line(value=line, kept=float(keep.mean()), expected=expected, reason="")
    return found or Line(value=None, kept=0.0, expected=generalist, reason=f"{n:,} outcomes show for no answer that")


def _by_group(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Each group's mean, shuffled always the same way: a test of a sequence must not meet the surest first."""
    _, places = np.unique(group, return_inverse=True)
    means = np.bincount(places, weights=values) / np.bincount(places)
    return np.asarray(np.random.default_rng(0).permutation(means))


def keep_share(judged: Judged, share: float) -> float:
    """The confidence below which so large a share of the answers lies."""
    return float(np.quantile(judged.confidence, min(max(share, 0.0), 1.0)))

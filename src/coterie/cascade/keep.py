"""From which confidence a specialist's answer is kept, for a share of the generalist's quality.

The generalist is asked for all below. What that comes to is known from the outcomes a specialist was calibrated on: its
confidence and whether it was right, on texts that its weights were not fitted on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from coterie.cascade.dial import DELTA
from coterie.cascade.risk import mean_p_value

KEPT_FILE = "calibration.safetensors"
_SHARES = np.linspace(0.1, 1.0, 46)
"""Shares of the answers that may be kept; tested from few to all."""
_STARTS = (0.1, 0.3, 0.6)
"""Shares from which the test starts, each with its part of delta: where the surest are too few, more show more."""
_FEWEST = 60
"""Rows from which anything is shown."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationOutcomes:
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
    def from_files(cls, files: Mapping[str, bytes]) -> CalibrationOutcomes | None:
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


def keep_from(judged: CalibrationOutcomes, *, quality: float, generalist: float) -> Line:
    """The lowest confidence from which keeping answers is shown, with 95% confidence, to keep the quality of the whole.

    The generalist is right `generalist` of the time on what it is asked. Shares are tested from few to all, from
    several starts with a part of delta each, and the first that is not shown ends the test of a start; so the
    confidence holds for the line that is taken. Rows of one group count as one, by their mean.
    """
    aim, n = quality * generalist, len(judged.confidence)
    if aim <= 0:  # nothing has to be kept, so nobody above is asked, however few outcomes there are
        return Line(value=0.0, kept=1.0, expected=float(judged.right.mean()) if n else 0.0, reason="")
    reason = f"{n:,} outcomes show for no answer that"
    nothing = Line(value=None, kept=0.0, expected=generalist, reason=reason)
    if n < _FEWEST:
        return nothing
    lines = np.sort(judged.confidence)[::-1][np.maximum(np.round(_SHARES * n).astype(int), 1) - 1]
    shown = [_p_value(judged, float(line), aim, generalist) <= DELTA / len(_STARTS) for line in lines]
    reached = [_last(shown, int(np.searchsorted(_SHARES, start - 1e-9))) for start in _STARTS]
    if max(reached) < 0:
        return nothing
    value = float(lines[max(reached)])
    keep = judged.confidence >= value
    expected = float(np.where(keep, judged.right, generalist).mean())
    return Line(value=value, kept=float(keep.mean()), expected=expected, reason="")


def _last(shown: Sequence[bool], start: int) -> int:
    """The last of an unbroken run from a start on; -1 where the start is not shown."""
    last = -1
    for place in range(start, len(shown)):
        if not shown[place]:
            break
        last = place
    return last


def _p_value(judged: CalibrationOutcomes, line: float, aim: float, generalist: float) -> float:
    values = np.where(judged.confidence >= line, judged.right, generalist) - aim
    return mean_p_value(by_group(values, judged.group), 0.0, low=-aim, high=1.0 - aim, delta=DELTA / len(_STARTS))


def by_group(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Each group's mean, shuffled always the same way: a test of a sequence must not meet the surest first."""
    _, places = np.unique(group, return_inverse=True)
    means = np.bincount(places, weights=values) / np.bincount(places)
    return np.asarray(np.random.default_rng(0).permutation(means))

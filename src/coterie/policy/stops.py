"""The stop of a chain of rungs: the confidence from which a cheaper rung answers and the next one is not asked.

All rungs but the last have one stop in common: their confidences are calibrated, so the same number means the same at
each. The stop is the lowest of a few fixed candidates at which the chain is shown to keep a share of what its last rung
gets right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coterie.policy.acceptance import DELTA, CalibrationOutcomes, group_means, mean_p_value

STOPS = (0.99, 0.98, 0.97, 0.96, 0.95, 0.93, 0.9, 0.85, 0.8, 0.7)
"""Candidates, from strict to lax, fixed before any row is seen."""
_PART = 0.5
"""Part of the allowed loss that is left unspent where confidences alone choose a stop: the test needs room."""
_ROOM = 5.0
"""Least room in rows: somewhat above -log(DELTA) times a difference's range over the largest bet."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RungOutcomes:
    """Outcomes of each rung of a chain, the cheapest first, on the same calibration rows."""

    confidence: np.ndarray  # (K, N)
    right: np.ndarray  # (K, N) bool
    in_scope: np.ndarray  # (K, N) bool, as each rung sees it
    group: np.ndarray  # (N,) number of the row's group; rows of one group are not independent

    def answering(self, stop: float | None) -> np.ndarray:  # (N,)
        """Return the rung that answers each row: the first that is sure enough and finds it in scope, else the last."""
        last = len(self.confidence) - 1
        if stop is None:
            return np.full(self.confidence.shape[1], last)
        sure = (self.confidence >= stop) & self.in_scope
        sure[last] = True
        return np.asarray(sure.argmax(axis=0))

    def at(self, stop: float | None) -> CalibrationOutcomes:
        """Return the outcomes of the whole chain: the confidence is that of the rung that answers."""
        rung = self.answering(stop)[None]
        return CalibrationOutcomes(
            confidence=np.take_along_axis(self.confidence, rung, axis=0)[0],
            right=np.take_along_axis(self.right, rung, axis=0)[0],
            group=self.group,
        )

    def asked(self, stop: float | None) -> tuple[float, ...]:
        """Return the share of the rows that each rung is asked about: without a stop, the last one alone."""
        answering = self.answering(stop)
        if stop is None:
            return (*[0.0] * (len(self.confidence) - 1), 1.0)
        return tuple(float((answering >= rung).mean()) for rung in range(len(self.confidence)))

    def answered(self, stop: float | None) -> tuple[float, ...]:
        """Return the share of the rows that each rung answers."""
        answering = self.answering(stop)
        return tuple(float((answering == rung).mean()) for rung in range(len(self.confidence)))


def shown_stops(outcomes: RungOutcomes, *, quality: float) -> tuple[float, ...]:
    """Return the stops at which the chain is shown to keep `quality` of what its last rung gets right, the lowest last.

    Each is tested by the paired difference on the same rows, from strict to lax, at the whole level, and the first that
    is not shown ends the test (fixed-sequence testing): with 95% confidence all that are given keep it. It counts
    answers that are accepted and those that are not. Rows of one group count as one, by their mean.
    """
    shown: list[float] = []
    for stop in STOPS:
        kept = group_means(outcomes.at(stop).right - quality * outcomes.right[-1], outcomes.group)
        if mean_p_value(kept, 0.0, low=-quality, high=1.0, delta=DELTA) > DELTA:
            break
        shown.append(stop)
    return tuple(shown)


def promised_stop(outcomes: RungOutcomes, *, quality: float) -> float | None:
    """Return the lowest stop that would keep the quality with room to spare if confidences were true, else None.

    Confidences alone choose it, not whether answers were right: so a test at this stop was planned beforehand.
    """
    last = float(outcomes.confidence[-1].mean())
    loss = last * (1.0 - quality)
    spent = loss - max(_PART * loss, _ROOM / len(np.unique(outcomes.group)))
    if spent <= 0:
        return None
    kept = [stop for stop in STOPS if float(outcomes.at(stop).confidence.mean()) >= last - spent]
    return min(kept, default=None)

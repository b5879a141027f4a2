"""Watch a stream of scores without labels, with a bound on false alarms.

Each score becomes a conformal p-value: its rank among the scores seen so far, ties broken at random. As long as the
stream is exchangeable with the calibration scores, p-values are independent and uniform (Vovk, Gammerman, Shafer,
*Algorithmic Learning in a Random World*, 2005). Low scores give small p-values. A mixture of CUSUM statistics of power
bets on them is an e-detector (Shin, Ramdas, Rinaldo, *E-detectors*, 2024): with its line at L, at least L rows pass in
the mean before a false alarm. That bound is loose. As p-values are uniform whatever the scores are, the mean number is
a property of the bets alone, and simulated: 12.8 to 15.3 times L (`benchmarks/flywheel/run_length.py`).
"""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_POWERS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8)
"""Exponents e of the bets e * p ** (e - 1)."""
_RUN_LENGTH = 12.0
"""Mean rows before a false alarm over the line, at least, for a patience of `_LEAST_PATIENCE` and more."""
_LEAST_PATIENCE = 100
_REMEMBERED = 20_000
"""Scores that p-values are ranked among: the calibration scores and the first of the stream."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """The stream no longer looks like the calibration scores."""

    row: int
    """Rows watched until the alarm."""
    since: int
    """Row at which the change began, by the statistic's last zero."""


@dataclass
class Watch:
    """Watches one score, such as confidence. Not thread-safe.

    Args:
        calibration: Scores of rows from before, at least 20.
        patience: Mean number of rows between false alarms, at least 100.
        seed: Seed of the tie-breaking.

    Raises:
        ValueError: fewer than 20 calibration scores, or a `patience` below 100.
    """

    calibration: Sequence[float]
    patience: float = 20_000
    seed: int = 0
    rows: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if len(self.calibration) < 20 or self.patience < _LEAST_PATIENCE:
            raise ValueError(
                f"needs 20 calibration scores and a patience of {_LEAST_PATIENCE} or more, "
                f"found {len(self.calibration)} and {self.patience}"
            )
        self._seen = sorted(map(float, self.calibration))
        self._random = random.Random(self.seed)  # noqa: S311 - it breaks ties
        self._line = self.patience / _RUN_LENGTH
        self._logs = [0.0] * len(_POWERS)
        self._since = [0] * len(_POWERS)

    def see(self, score: float) -> Alarm | None:
        """Take one more score; return an alarm if the statistic has passed its line."""
        low, high = bisect.bisect_left(self._seen, score), bisect.bisect_right(self._seen, score)
        p = (low + self._random.random() * (high - low + 1)) / (len(self._seen) + 1)
        if len(self._seen) < _REMEMBERED:
            self._seen.insert(high, score)
        self.rows += 1
        for i, power in enumerate(_POWERS):
            if self._logs[i] <= 0:
                self._logs[i], self._since[i] = 0.0, self.rows
            self._logs[i] += math.log(power) + (power - 1) * math.log(max(p, 1e-9))
        if sum(math.exp(min(each, 700)) for each in self._logs) / len(_POWERS) < self._line:
            return None
        return Alarm(row=self.rows, since=self._since[max(range(len(_POWERS)), key=self._logs.__getitem__)])

    def see_all(self, scores: Iterable[float]) -> Alarm | None:
        """Take scores until one raises an alarm."""
        return next((alarm for score in scores if (alarm := self.see(score)) is not None), None)

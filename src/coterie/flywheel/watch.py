"""Monitor a deployment without labels: confidence, scope, agreement, and failures.

Each score is a conformal CUSUM (`Watch`) against the scores from before the deployment served. The budget of
false alarms is shared by the monitors. They detect a change of the calls, or of the answers of the model that the
specialist learnt from. A change of what is right, with similar calls, is only visible in people's labels.
"""

from __future__ import annotations

import bisect
import math
import random
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from coterie.types import ComparedAnswer

# --- Watch a stream of scores without labels, with a bound on false alarms.
#
# Each score becomes a conformal p-value: its rank among the scores seen so far, ties broken at random. As long as the
# stream is exchangeable with the calibration scores, p-values are independent and uniform (Vovk, Gammerman, Shafer,
# *Algorithmic Learning in a Random World*, 2005). Low scores give small p-values. A mixture of CUSUM statistics of
# power bets on them is an e-detector (Shin, Ramdas, Rinaldo, *E-detectors*, 2024): with its line at L, at least L
# rows pass in the mean before a false alarm. That bound is loose. As p-values are uniform whatever the scores are,
# the mean number is a property of the bets alone, and simulated: a power of L, from 13 times L for lines of 8 to 55
# times for lines of 2,000 (`benchmarks/flywheel/run_length.py`).

_POWERS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8)
"""Exponents e of the bets e * p ** (e - 1)."""
_LEAST_PATIENCE = 100
_LEAST_LINE, _LINE_POWER = 8.0, 0.79
"""Threshold for a patience of `_LEAST_PATIENCE`, and the power of the patience with which it grows."""
_LEAST_P = 1 / 300
"""Lower bound of p-values, so that a few unusual calls in a row are no change yet.

The bound lowers the expected gain of a bet, so the limit on false alarms still holds.
"""
_REMEMBERED = 20_000
"""Scores among which p-values are ranked: the calibration scores and the first of the stream."""


def line_of(patience: float) -> float:
    """Return the threshold of a watch with at most one false alarm per `patience` rows on average."""
    return float(_LEAST_LINE * (patience / _LEAST_PATIENCE) ** _LINE_POWER)


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """Alarm that the stream differs from the calibration scores."""

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
        self._line = line_of(self.patience)
        self._logs = [0.0] * len(_POWERS)
        self._since = [0] * len(_POWERS)

    def see(self, score: float) -> Alarm | None:
        """Add a score; return an alarm if the statistic exceeds its threshold."""
        low, high = bisect.bisect_left(self._seen, score), bisect.bisect_right(self._seen, score)
        p = (low + self._random.random() * (high - low + 1)) / (len(self._seen) + 1)
        if len(self._seen) < _REMEMBERED:
            self._seen.insert(high, score)
        self.rows += 1
        for i, power in enumerate(_POWERS):
            if self._logs[i] <= 0:
                self._logs[i], self._since[i] = 0.0, self.rows
            self._logs[i] += math.log(power) + (power - 1) * math.log(max(p, _LEAST_P))
        if sum(math.exp(min(log, 700)) for log in self._logs) / len(_POWERS) < self._line:
            return None
        return Alarm(row=self.rows, since=self._since[max(range(len(_POWERS)), key=self._logs.__getitem__)])

    def see_all(self, scores: Iterable[float]) -> Alarm | None:
        """Add scores until one raises an alarm."""
        return next((alarm for score in scores if (alarm := self.see(score)) is not None), None)


_FEWEST = 20
"""Fewest scores with which a monitor begins."""
CALIBRATION = 3_000
"""Most comparisons with which a monitor begins: the newest."""
_FAILURES, _LAST = 5, 20
"""Failures that raise an alarm, and the number of last answers in which they are counted."""
MONITORS = ("confidence", "scope", "disagreement")
"""Monitors that are updated call by call."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """A change that a monitor detected."""

    kind: str
    rows: int
    """Number of calls that the monitor had watched."""
    back: int
    """Number of calls since the change began."""


@dataclass
class DeploymentWatch:
    """Watches one deployment. Not thread-safe.

    Args:
        before: Answers that were compared before it served, in order; with fewer than 20, the first new ones are used
            for calibration.
        patience: Mean number of calls between two false alarms of all monitors together.
        beside: Examples of `before` that a specialist answered: they do not show how often it differs from the model.
    """

    before: Iterable[ComparedAnswer]
    patience: float
    beside: Collection[str] = ()
    _scores: dict[str, list[float]] = field(init=False)
    _watches: dict[str, Watch] = field(init=False, default_factory=dict)
    _failed: deque[bool] = field(init=False, default_factory=lambda: deque(maxlen=_LAST))

    def __post_init__(self) -> None:
        rows = [comparison for comparison in self.before if not comparison.failed][-CALIBRATION:]
        self._scores = {
            "confidence": [row.confidence for row in rows],
            "scope": [row.in_scope for row in rows if row.in_scope is not None],
            "disagreement": [float(row.same) for row in rows if row.accepted and row.example not in self.beside],
        }
        self.before = ()
        for kind in MONITORS:
            self._begin(kind)

    def _begin(self, kind: str) -> None:
        scores = self._scores[kind]
        if len(scores) >= _FEWEST and kind not in self._watches:
            self._watches[kind] = Watch(scores, patience=self.patience * len(MONITORS))

    def answered(self, confidence: float, in_scope: float | None) -> Drift | None:
        """Add an answer or an abstention of the deployment."""
        self._failed.append(False)
        alarm = self._see("confidence", confidence)
        return alarm or (None if in_scope is None else self._see("scope", in_scope))

    def compared(self, *, same: bool) -> Drift | None:
        """Add whether an accepted answer equals the previous model's."""
        return self._see("disagreement", float(same))

    def failed(self) -> Drift | None:
        """Add a call on which the deployment failed."""
        self._failed.append(True)
        count = sum(self._failed)
        return Drift(kind="errors", rows=count, back=len(self._failed)) if count >= _FAILURES else None

    def _see(self, kind: str, score: float) -> Drift | None:
        watch = self._watches.get(kind)
        if watch is None:
            self._scores[kind].append(score)
            self._begin(kind)
            return None
        alarm = watch.see(score)
        return None if alarm is None else Drift(kind=kind, rows=alarm.row, back=alarm.row - alarm.since)

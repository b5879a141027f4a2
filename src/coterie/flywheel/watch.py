"""Watch a deployment without labels: confidence, scope and agreement, and plain failures.

Each score is a conformal CUSUM (`flywheel.drift`) against the scores from before the deployment served. The budget of
false alarms is shared by the monitors. What they see is a change of the calls, or of the answers of the model that the
specialist learnt from: a change of what is right, with calls that look alike, only people's labels show.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from coterie.flywheel.drift import Watch
from coterie.types import ComparedAnswer

_FEWEST = 20
"""Scores that a monitor begins with."""
_CALIBRATION = 3_000
_FAILURES, _LAST = 5, 20
"""So many failures among so many of the last answers are an alarm."""
_MONITORS = ("confidence", "scope", "disagreement")


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What a monitor saw."""

    kind: str
    rows: int
    """Calls it had watched."""
    back: int
    """So many calls ago it began."""


@dataclass
class DeploymentWatch:
    """Watches one deployment. Not thread-safe.

    Args:
        before: Answers that were compared before it served, in order; fewer than 20 leave the first that are seen to
            calibrate.
        patience: Mean number of calls between two false alarms of all monitors together.
    """

    before: Iterable[ComparedAnswer]
    patience: float
    _scores: dict[str, list[float]] = field(init=False)
    _watches: dict[str, Watch] = field(init=False, default_factory=dict)
    _failed: deque[bool] = field(init=False, default_factory=lambda: deque(maxlen=_LAST))

    def __post_init__(self) -> None:
        rows = [each for each in self.before if not each.failed][-_CALIBRATION:]
        self._scores = {
            "confidence": [each.confidence for each in rows],
            "scope": [each.in_scope for each in rows if each.in_scope is not None],
            "disagreement": [float(each.same) for each in rows if each.accepted],
        }
        self.before = ()
        for kind in _MONITORS:
            self._begin(kind)

    def _begin(self, kind: str) -> None:
        scores = self._scores[kind]
        if len(scores) >= _FEWEST and kind not in self._watches:
            self._watches[kind] = Watch(scores, patience=self.patience * len(_MONITORS))

    def answered(self, confidence: float, in_scope: float | None) -> Drift | None:
        """Take an answer or an abstention of the deployment."""
        self._failed.append(False)
        found = self._see("confidence", confidence)
        return found or (None if in_scope is None else self._see("scope", in_scope))

    def compared(self, *, same: bool) -> Drift | None:
        """Take whether an accepted answer is what the model of before says."""
        return self._see("disagreement", float(same))

    def failed(self) -> Drift | None:
        """Take a call that the deployment could not work on."""
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

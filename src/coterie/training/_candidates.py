"""What every rung of every task comes to: a candidate, measured and comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from coterie.evaluation import Evaluation, Interval
from coterie.types import Rung


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One rung's trained specialist, not yet stored."""

    rung: Rung
    files: Mapping[str, bytes]
    """Model and arrays: what the version will hold beside report and card."""
    quality: str
    """Name of the measure that decides: `accuracy`, `macro_f1` or `auc`."""
    validation: float
    """Its value on out-of-fold rows: what the choice of the rung may look at."""
    validation_interval: Interval
    evaluation: Evaluation
    """On the held-out rows, which choose nothing."""
    seconds: float
    """Training time."""
    notes: Mapping[str, object] = field(default_factory=dict)
    """What is particular to the rung: pool weights, temperature, number of trees."""

    def row(self) -> dict[str, object]:
        """The candidate as one row of the report."""
        return {
            "rung": self.rung,
            "validation": {
                self.quality: self.validation,
                "interval": [self.validation_interval.low, self.validation_interval.high],
            },
            "held_out": self.evaluation.to_json(),
            "bytes": sum(len(content) for content in self.files.values()),
            "seconds": self.seconds,
            **self.notes,
        }


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which rung was taken and why."""

    candidate: Candidate
    reason: str


def choose(candidates: Sequence[Candidate], bar: float | None) -> Choice:
    """The cheapest rung that meets the bar with 95% confidence on out-of-fold rows, else the best one.

    Without a bar: the cheapest rung whose interval reaches the best rung's value.

    Args:
        candidates: Cheapest first.
        bar: What the quality measure must reach, if anything.
    """
    best = max(candidates, key=lambda candidate: candidate.validation)
    name = best.quality
    if bar is None:
        taken = next(each for each in candidates if each.validation_interval.high >= best.validation)
        if taken is best:
            return Choice(candidate=best, reason=f"best out-of-fold {name} ({best.validation:.3f})")
        return Choice(
            candidate=taken,
            reason=f"cheapest rung not measurably below the best (out-of-fold {name} {taken.validation:.3f} against {best.validation:.3f})",
        )
    for each in candidates:
        if each.validation_interval.low >= bar:
            return Choice(
                candidate=each, reason=f"cheapest rung whose out-of-fold {name} reaches {bar:g} with 95% confidence ({each.validation:.3f})"
            )
    return Choice(
        candidate=best,
        reason=f"no rung reaches {name} {bar:g} with 95% confidence out of fold; this is the best ({best.validation:.3f})",
    )

"""The result of every rung of every task: a candidate, measured and comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from coterie.learning.dataset import Dataset
from coterie.learning.evaluation import Evaluation
from coterie.learning.metrics import Interval, exact_interval
from coterie.types import Reason, Rung


class Figure(NamedTuple):
    """A measure's value and its 95% interval."""

    value: float
    interval: Interval


class Answered(NamedTuple):
    """How many out-of-fold rows are answered, and at which risk."""

    accepted: int
    rows: int
    risk: float
    """Highest share of wrong answers that the threshold guarantees."""

    def reaches(self, other: Answered) -> bool:
        """Return whether the coverage may equal the other's at its risk: the 95% interval reaches that share."""
        high = exact_interval(self.accepted, self.rows).high
        return self.risk <= other.risk and high >= other.accepted / other.rows


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One rung's trained specialist, not yet stored."""

    rung: Rung
    files: Mapping[str, bytes]
    """Model and arrays that the version will hold beside report and card."""
    validation: Mapping[str, Figure]
    """Each deciding measure on out-of-fold rows, from which the rung is chosen. The first one ranks."""
    evaluation: Evaluation
    """Figures on the held-out rows, which do not influence the choice."""
    seconds: float
    """Training time in seconds. It differs from run to run, so it is not part of the version."""
    measured: Dataset | None = None
    """The held-out rows of `evaluation`, if they are not all of them."""
    answered: Answered | None = None
    """Out-of-fold rows that the candidate answers, if a threshold decides on that."""
    right: np.ndarray | None = None  # (N,) bool
    """Which out-of-fold rows are right, if every rung has the same ones in the same order."""
    notes: Mapping[str, object] = field(default_factory=dict)
    """Parameters of the rung: pool weights, temperature, threshold, floor."""
    warnings: tuple[str, ...] = ()
    """Warnings for the person who trains it."""

    usual: bool = True
    """Whether the usual gain between two rungs counts: not in a language that the encoder does not know."""

    @property
    def quality(self) -> str:
        """Name of the measure that ranks."""
        return next(iter(self.validation))

    @property
    def figure(self) -> Figure:
        """Value of the measure that ranks."""
        return self.validation[self.quality]

    def row(self) -> dict[str, object]:
        """Return the candidate as one row of the report."""
        value, interval = self.figure
        return {
            "rung": self.rung,
            "validation": {self.quality: value, "interval": [interval.low, interval.high]},
            "held_out": self.evaluation.to_json(),
            "bytes": sum(len(content) for content in self.files.values()),
            **self.notes,
        }


@dataclass(frozen=True, kw_only=True)
class RungChoice:
    """The chosen rung and the reason."""

    candidate: Candidate
    reason: Reason


def choose(candidates: Sequence[Candidate], bar: Mapping[str, float]) -> RungChoice:
    """Choose the cheapest rung that meets the bar with 95% confidence on out-of-fold rows, else the best one.

    Without a bar: choose the cheapest rung whose interval reaches the best rung's value, or whose value the best
    rung's interval reaches, unless another such rung answers measurably more at the lowest risk held. The second
    condition counts for a rung that was tried on few rows, such as one with a price a question: a cheaper one is
    not rejected because of what may be luck. Between the rungs that cost next to nothing the opposite holds: few
    rows hide the gain of a richer one, so a cheaper one is taken only if the same rows, with the usual gain,
    promise no more than a point.

    Args:
        candidates: Cheapest first, at least one.
        bar: The value that each measure must reach, if any.
    """
    best = max(candidates, key=lambda candidate: candidate.figure.value)
    enough = [candidate for candidate in candidates if _suffices(candidate, best, bar)] or [best]
    if not bar and (richer := _richer(enough[0], candidates)) is not None:
        return RungChoice(candidate=richer, reason=_why_richer(richer, enough[0]))
    taken, most = enough[0], max(enough, key=_covers)
    if not bar and taken.answered and most.answered and not taken.answered.reaches(most.answered):
        alike = (candidate for candidate in enough if candidate.answered and candidate.answered.reaches(most.answered))
        return RungChoice(candidate=(chosen := next(alike)), reason=_why_covering(chosen, taken))
    return RungChoice(candidate=taken, reason=_why(taken, best, bar, alone=len(candidates) == 1))


_USUAL_GAIN, _USUAL_ROWS = 5.0, 50.0
"""Prior of how many more rows `embedding` names right than `lexical`, and of how many rows.

On draws of 40, 120 and 400 rows of three public sets it was .19, .12 and .05 more accurate, .08, .04 and .03
apart (`benchmarks/rung_choice`).
"""
_TOLERATED = 0.01
"""Expected loss of accuracy that is accepted for a cheaper rung."""


def expected_gain(richer: Candidate, cheaper: Candidate) -> float | None:
    """Return the expected gain in accuracy of `embedding` over `lexical`, whose n-grams it includes.

    The gain is the difference on the same out-of-fold rows, where rows that both get right or wrong cancel. If
    the encoder knows the texts' language, the usual gain is added as if it had been seen on some more rows. None
    for other rungs, and if the rungs were not tried on the same rows.
    """
    if (cheaper.rung, richer.rung) != ("lexical", "embedding") or cheaper.right is None or richer.right is None:
        return None
    more = int(richer.right.sum()) - int(cheaper.right.sum())
    return (more + _USUAL_GAIN * richer.usual) / (len(richer.right) + _USUAL_ROWS)


def _richer(taken: Candidate, candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the rung whose expected gain over the chosen one exceeds the tolerance; None if there is none."""
    gains = (
        (expected_gain(candidate, taken), candidate) for candidate in candidates if candidate.quality == "accuracy"
    )
    return next((candidate for gain, candidate in gains if gain is not None and gain > _TOLERATED), None)


def _why_richer(richer: Candidate, cheaper: Candidate) -> Reason:
    assert richer.right is not None and cheaper.right is not None, "they were compared"  # noqa: S101, PT018
    return Reason(
        "rung.richer",
        cheaper=cheaper.rung,
        rows=len(richer.right),
        gain=expected_gain(richer, cheaper) or 0.0,
        value=richer.figure.value,
        at=cheaper.figure.value,
    )


def choose_chain(candidates: Sequence[Candidate]) -> RungChoice | None:
    """Choose the chain of rungs if it was requested: its rungs by themselves are only for comparison."""
    chain = next((candidate for candidate in candidates if candidate.rung == "chain"), None)
    if chain is None:
        return None
    rungs = chain.notes.get("chain")
    named = " > ".join(map(str, rungs)) if isinstance(rungs, Sequence) else ""
    reason = Reason("rung.chain", rungs=named, measure=chain.quality, value=chain.figure.value)
    return RungChoice(candidate=chain, reason=reason)


def floor_of(candidates: Sequence[Candidate], taken: Candidate) -> Candidate | None:
    """Return the lexical floor if the chosen rung is measurably worse than it."""
    floor = next(
        (candidate for candidate in candidates if candidate.rung == "lexical" and candidate is not taken), None
    )
    if floor is None or floor.quality != taken.quality or taken.figure.interval.high >= floor.figure.value:
        return None
    return floor


def why_floor(floor: Candidate, worse: Candidate) -> Reason:
    """Return the reason for taking the floor instead of the chosen rung."""
    return Reason(
        "rung.floor", worse=worse.rung, measure=floor.quality, value=floor.figure.value, at=worse.figure.value
    )


def _covers(candidate: Candidate) -> tuple[float, float]:
    """Return the key that ranks rungs of similar accuracy: the risk held, then the share answered."""
    if candidate.answered is None or not candidate.answered.accepted:
        return (-1.0, 0.0)
    return (-candidate.answered.risk, candidate.answered.accepted / candidate.answered.rows)


def _why_covering(taken: Candidate, cheaper: Candidate) -> Reason:
    shares = [
        candidate.answered.accepted / candidate.answered.rows if candidate.answered else 0.0
        for candidate in (taken, cheaper)
    ]
    risks = [candidate.answered.risk if candidate.answered else 1.0 for candidate in (taken, cheaper)]
    return Reason("rung.covers", share=shares[0], risk=risks[0], cheaper=cheaper.rung, covers=shares[1], at=risks[1])


def _suffices(candidate: Candidate, best: Candidate, bar: Mapping[str, float]) -> bool:
    if not bar:
        figure, most = candidate.figure, best.figure
        return figure.interval.high >= most.value or figure.value >= most.interval.low
    return all(candidate.validation[measure].interval.low >= least for measure, least in bar.items())


def _why(taken: Candidate, best: Candidate, bar: Mapping[str, float], *, alone: bool) -> Reason:
    measure, value = taken.quality, taken.figure.value
    if bar:
        wanted = " and ".join(f"{measure} {least:g}" for measure, least in bar.items())
        reached = " and ".join(f"{taken.validation[measure].value:.3f}" for measure in bar)
        code = "rung.meets_bar" if _suffices(taken, best, bar) else "rung.none_meets_bar"
        return Reason(code, bar=wanted, reached=reached)
    if alone:
        return Reason("rung.only", measure=measure, value=value)
    if taken is best:
        return Reason("rung.best", measure=measure, value=value)
    return Reason("rung.cheapest", measure=measure, value=value, best=best.figure.value)


def bar_met(bar: Mapping[str, float], metrics: Mapping[str, object]) -> bool | None:
    """Return whether every measure of the bar is reached on held-out rows; None without a bar."""
    if not bar:
        return None
    return all(_number(metrics.get(measure)) >= least for measure, least in bar.items())


def _number(figure: object) -> float:
    return float(figure) if isinstance(figure, int | float) else -1.0

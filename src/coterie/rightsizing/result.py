"""What right-sizing finds, as values, and as the JSON that scripts rely on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

import numpy as np

from coterie.learning.candidates import Figure
from coterie.learning.evaluation import Case, Evaluation
from coterie.runtime.codec import readable
from coterie.types import Reason

Outcome = Literal["met", "reached", "missed", "no_bar"]
"""How the bar fared on held-out rows: with 95% confidence; without it; not at all; there is no bar."""

_PLACES = 9  # decimal places of an amount, as in `coterie report --json`


@dataclass(frozen=True, kw_only=True)
class Per1000:
    """What 1,000 answers take, worked out from CPU-seconds or tokens and so always estimated. None is not known."""

    joules: float | None
    money: Decimal | None

    def to_json(self, currency: str) -> dict[str, object]:
        """JSON values; an unknown amount is null, never 0."""
        money = None if self.money is None else round(float(self.money), _PLACES)
        joules = None if self.joules is None else round(self.joules, _PLACES)
        return {"joules": joules, "money": money, "currency": currency, "kind": "estimated"}


@dataclass(frozen=True, kw_only=True)
class RungRow:
    """One rung, measured whole."""

    rung: str
    version: str
    """Content hash of its files."""
    figure: Figure
    """The measure that ranks, on held-out rows."""
    out_of_fold: Mapping[str, Figure]
    """The deciding measures on training rows: what the choice looks at."""
    evaluation: Evaluation
    milliseconds: np.ndarray  # (n,), of single requests
    resident_bytes: int | None
    """Memory of a process that has loaded this rung alone and answered; None of one that asks a model."""
    bare_bytes: int | None
    """Memory of the same process before that, with nothing but `coterie` imported."""
    bytes: int
    seconds: float
    """Training time."""
    per_1000: Per1000
    threshold: str = ""
    """From which confidence it accepts, and why."""
    cases: tuple[Case, ...] = ()
    """Each held-out row with a label that it was asked about, and what it said."""
    positions: tuple[int, ...] = ()
    """Of each of its cases among the held-out rows with a label."""

    @property
    def increase_bytes(self) -> int | None:
        """Memory that the rung itself took."""
        if self.resident_bytes is None or self.bare_bytes is None:
            return None
        return self.resident_bytes - self.bare_bytes

    @property
    def p50(self) -> float:
        """Median latency in milliseconds."""
        return float(np.percentile(self.milliseconds, 50))

    @property
    def p95(self) -> float:
        """95th percentile of latency in milliseconds."""
        return float(np.percentile(self.milliseconds, 95))

    def to_json(self, measure: str, currency: str) -> dict[str, object]:
        """The row as JSON values."""
        return {
            "rung": self.rung,
            "version": self.version,
            measure: self.figure.value,
            "interval": list(self.figure.interval),
            "out_of_fold": {
                name: {"value": value, "interval": list(interval)}
                for name, (value, interval) in self.out_of_fold.items()
            },
            "held_out": self.evaluation.to_json(),
            "latency_ms": {"p50": self.p50, "p95": self.p95, "n": len(self.milliseconds)},
            "resident_bytes": self.resident_bytes,
            "resident_increase_bytes": self.increase_bytes,
            "bytes": self.bytes,
            "training_seconds": round(self.seconds, 3),
            "per_1000": self.per_1000.to_json(currency),
        }


@dataclass(frozen=True, kw_only=True)
class ChainPoint:
    """A chain of rungs at one stop, on held-out rows, which choose nothing."""

    stop: float | None
    """Confidence from which a rung before the last answers; None asks the last one alone."""
    taken: bool
    """It is the stop that the chain has."""
    figure: Figure
    """Share of right answers, accepted or not."""
    asked: Mapping[str, float]
    """Share of the rows that each rung is asked about."""
    answered: Mapping[str, float]
    """Share of the rows that each rung answers."""
    per_1000: Per1000
    """Of all rungs that are asked."""

    def to_json(self, currency: str) -> dict[str, object]:
        """JSON values."""
        return {
            "stop": self.stop,
            "taken": self.taken,
            "accuracy": self.figure.value,
            "interval": list(self.figure.interval),
            "asked": dict(self.asked),
            "answered": dict(self.answered),
            "per_1000": self.per_1000.to_json(currency),
        }


@dataclass(frozen=True, kw_only=True)
class LargeRow:
    """A large model on the held-out rows that it answered."""

    name: str
    source: str
    """Where its answers come from, in words."""
    figure: Figure
    evaluation: Evaluation
    answered: int
    """Held-out rows with a label that it answered."""
    of: int
    """Held-out rows with a label."""
    strangers: Mapping[str, int]
    """Answers that are none of the labels, and how often; they count as wrong."""
    milliseconds: np.ndarray  # (n,), of the answers whose time is known
    per_1000: Per1000
    positions: tuple[int, ...]
    """Of each of its cases among the held-out rows with a label."""
    cases: tuple[Case, ...] = ()

    @property
    def p50(self) -> float | None:
        """Median latency in milliseconds, if any is known."""
        return float(np.percentile(self.milliseconds, 50)) if len(self.milliseconds) else None

    @property
    def p95(self) -> float | None:
        """95th percentile of latency in milliseconds, if any is known."""
        return float(np.percentile(self.milliseconds, 95)) if len(self.milliseconds) else None

    def to_json(self, measure: str, currency: str) -> dict[str, object]:
        """The row as JSON values."""
        return {
            "name": self.name,
            "source": self.source,
            measure: self.figure.value,
            "interval": list(self.figure.interval),
            "rows_answered": self.answered,
            "rows": self.of,
            "not_a_label": sum(self.strangers.values()),
            "latency_ms": {"p50": self.p50, "p95": self.p95, "n": len(self.milliseconds)},
            "per_1000": self.per_1000.to_json(currency),
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One row beside another, on the held-out rows that both answered."""

    first: str
    second: str
    measure: str
    rows: int
    difference: Figure
    """First minus second, by the paired bootstrap."""
    joules: float | None
    """How many times the second's energy the first takes."""
    money: float | None
    """How many times the second's money the first takes."""

    @property
    def measurable(self) -> bool:
        """The interval of the difference leaves out zero."""
        return self.difference.interval.low > 0 or self.difference.interval.high < 0

    def to_json(self) -> dict[str, object]:
        """JSON values."""
        value, interval = self.difference
        return {
            "first": self.first,
            "second": self.second,
            "measure": self.measure,
            "rows": self.rows,
            "difference": value,
            "interval": list(interval),
            "times_the_joules": self.joules,
            "times_the_money": self.money,
        }


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """What to take, in a sentence or two."""

    outcome: Outcome
    rung: str
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.sentences)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """When, where and with what it was measured: figures without these cannot be checked."""

    date: str
    machine: Mapping[str, object]
    versions: Mapping[str, str]
    watts_per_core: float
    price_per_cpu_hour: Decimal | None
    currency: str


@dataclass(frozen=True, kw_only=True)
class RightSizing:
    """Every rung of one job, and which is enough."""

    task: str
    measure: str
    """The measure that ranks: the bar's first, else the task's usual one."""
    bar: Mapping[str, float]
    target_risk: float
    seed: int
    data: Mapping[str, Mapping[str, object]]
    """File, checksum and number of the rows, of `train` and `held_out`."""
    rungs: tuple[RungRow, ...]
    """Cheapest first."""
    large: LargeRow | None
    comparisons: tuple[Comparison, ...]
    verdict: Recommendation
    reason: Reason
    """Why training took the rung, on out-of-fold rows."""
    conditions: Conditions
    warnings: tuple[str, ...] = field(default=())
    chain: tuple[ChainPoint, ...] = ()
    """The chain that is asked for, at each stop; the first asks its last rung alone."""

    @property
    def taken(self) -> RungRow:
        """The rung of the verdict."""
        return next(row for row in self.rungs if row.rung == self.verdict.rung)

    def to_json(self) -> dict[str, object]:
        """The shape that `coterie rightsize --json` prints."""
        conditions = readable(self.conditions)
        currency = conditions.pop("currency")  # it stands beside each amount
        return {
            "task": self.task,
            "measure": self.measure,
            "bar": dict(self.bar),
            "target_risk": self.target_risk,
            "seed": self.seed,
            "data": readable(self.data),
            "rungs": [row.to_json(self.measure, currency) for row in self.rungs],
            "chain": [point.to_json(currency) for point in self.chain],
            "large": self.large.to_json(self.measure, currency) if self.large else None,
            "comparisons": [comparison.to_json() for comparison in self.comparisons],
            "verdict": {
                "outcome": self.verdict.outcome,
                "rung": self.verdict.rung,
                "sentence": str(self.verdict),
                **self.reason.described(),
            },
            "conditions": conditions,
            "warnings": list(self.warnings),
        }

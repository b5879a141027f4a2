"""The result of right-sizing, as values and as JSON, and its verdict: which rung suffices, what others add or cost.

The rung is training's choice, made on out-of-fold rows. Held-out rows only show how that choice turned out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from coterie.learning.evaluation import (
    Case,
    Evaluation,
    Interval,
    auroc,
    bootstrap_interval,
    bootstrap_mean,
    multilabel_f1,
    risk_coverage,
    unseen,
)
from coterie.learning.measure import Figure, RungChoice
from coterie.runtime.codec import readable
from coterie.types import Reason

Outcome = Literal["met", "reached", "missed", "no_bar"]
"""How the bar was met on held-out rows: with 95% confidence; without it; not at all; there is no bar."""

_PLACES = 9  # decimal places of an amount, as in `coterie report --json`


@dataclass(frozen=True, kw_only=True)
class Per1000:
    """Resources of 1,000 answers, computed from CPU-seconds or tokens and so always estimated. None is unknown."""

    joules: float | None
    money: Decimal | None

    def to_json(self, currency: str) -> dict[str, object]:
        """Return JSON values; an unknown amount is null, never 0."""
        money = None if self.money is None else round(float(self.money), _PLACES)
        joules = None if self.joules is None else round(self.joules, _PLACES)
        return {"joules": joules, "money": money, "currency": currency, "kind": "estimated"}


@dataclass(frozen=True, kw_only=True)
class RungRow:
    """One rung with all of its measurements."""

    rung: str
    version: str
    """Content hash of its files."""
    figure: Figure
    """The measure that ranks, on held-out rows."""
    out_of_fold: Mapping[str, Figure]
    """The deciding measures on training rows, from which the rung is chosen."""
    evaluation: Evaluation
    milliseconds: np.ndarray  # (n,), of single requests
    resident_bytes: int | None
    """Memory of a process that has loaded this rung alone and answered; None for a rung that asks a model."""
    bare_bytes: int | None
    """Memory of the same process before loading, with nothing but `coterie` imported."""
    bytes: int
    seconds: float
    """Training time in seconds."""
    per_1000: Per1000
    threshold: str = ""
    """The confidence from which answers are accepted, and the reason."""
    cases: tuple[Case, ...] = ()
    """Each held-out row with a label that the rung was asked about, and its answer."""
    positions: tuple[int, ...] = ()
    """Position of each case among the held-out rows with a label."""

    @property
    def increase_bytes(self) -> int | None:
        """Memory of the rung itself; None if it is unknown."""
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
        """Return the row as JSON values."""
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
    """A chain of rungs at one stop, on held-out rows, which do not influence the choice."""

    stop: float | None
    """Confidence from which a rung before the last answers; None asks the last one alone."""
    taken: bool
    """Whether this is the stop of the chain."""
    figure: Figure
    """Share of right answers, accepted or not."""
    asked: Mapping[str, float]
    """Share of the rows that reach each rung."""
    answered: Mapping[str, float]
    """Share of the rows that each rung answers."""
    per_1000: Per1000
    """Resources of all rungs that are asked."""

    def to_json(self, currency: str) -> dict[str, object]:
        """Return JSON values."""
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
    """The source of its answers, as text."""
    figure: Figure
    evaluation: Evaluation
    answered: int
    """Number of held-out rows with a label that it answered."""
    of: int
    """Number of held-out rows with a label."""
    strangers: Mapping[str, int]
    """Answers that are none of the labels, with their number; they count as wrong."""
    milliseconds: np.ndarray  # (n,), of the answers whose time is known
    per_1000: Per1000
    positions: tuple[int, ...]
    """Position of each case among the held-out rows with a label."""
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
        """Return the row as JSON values."""
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
    """Ratio of the first one's energy to the second's; None if it is unknown."""
    money: float | None
    """Ratio of the first one's money to the second's; None if it is unknown."""

    @property
    def measurable(self) -> bool:
        """Whether the interval of the difference excludes zero."""
        return self.difference.interval.low > 0 or self.difference.interval.high < 0

    def to_json(self) -> dict[str, object]:
        """Return JSON values."""
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
    """The recommended rung, in a sentence or two."""

    outcome: Outcome
    rung: str
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.sentences)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Date, machine and versions of the measurement: figures without these cannot be checked."""

    date: str
    machine: Mapping[str, object]
    versions: Mapping[str, str]
    watts_per_core: float
    price_per_cpu_hour: Decimal | None
    currency: str


@dataclass(frozen=True, kw_only=True)
class RightSizing:
    """Every rung of one job, and the one that suffices."""

    task: str
    measure: str
    """The measure that ranks: the bar's first, else the task's default one."""
    bar: Mapping[str, float]
    target_risk: float
    seed: int
    data: Mapping[str, Mapping[str, object]]
    """File, checksum and number of the rows, of `train` and `held_out`."""
    rungs: tuple[RungRow, ...]
    """Rungs, cheapest first."""
    large: LargeRow | None
    comparisons: tuple[Comparison, ...]
    verdict: Recommendation
    reason: Reason
    """Why training chose the rung, on out-of-fold rows."""
    conditions: Conditions
    warnings: tuple[str, ...] = field(default=())
    chain: tuple[ChainPoint, ...] = ()
    """The requested chain at each stop; the first point asks its last rung alone."""

    @property
    def taken(self) -> RungRow:
        """The rung of the verdict."""
        return next(row for row in self.rungs if row.rung == self.verdict.rung)

    def to_json(self) -> dict[str, object]:
        """Return the JSON that `coterie rightsize --json` prints."""
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


# --- Figures from judged rows: one row's, the difference of two, and the curves of a report.

# --- The verdict in words: which rung is enough, what the next one would add, and what a large model would cost.

_DRAWS = 400  # of the bootstrap of a measure that is no mean
_POINTS = 400  # of a curve that is drawn
_BINS = 10  # of the reliability diagram
_FEWEST = 10  # answers of a bin that is drawn


def figure(measure: str, evaluation: Evaluation, cases: Sequence[Case]) -> Figure:
    """Return a measure of an evaluation with its interval, computed from the cases if the evaluation has none."""
    value = evaluation.figure(measure)
    if value is None:
        return Figure(float("nan"), Interval(float("nan"), float("nan")))
    if measure in evaluation.intervals:
        return Figure(value, evaluation.intervals[measure])
    truth, guess = label_sets(cases)
    return Figure(
        value,
        unseen(bootstrap_interval(partial(multilabel_f1, macro=True), truth, guess, seed=0, n=_DRAWS), len(cases)),
    )


def label_sets(cases: Sequence[Case]) -> tuple[np.ndarray, np.ndarray]:
    """Return right and found labels as (N, L) arrays of booleans."""
    labels_of_cases = [case.value if isinstance(case.value, tuple) else () for case in cases]
    names = sorted({name for case in cases for name in case.row.labels}.union(*labels_of_cases))
    truth = np.array([[name in case.row.labels for name in names] for case in cases])
    guess = np.array([[name in labels for name in names] for labels in labels_of_cases])
    return truth, guess


def difference(measure: str, first: Sequence[Case], second: Sequence[Case]) -> Figure:
    """Return the first minus the second on the same rows, by the paired bootstrap.

    Args:
        measure: `auc`, or anything else for the share of right values.
        first: Cases of the same rows ...
        second: ... in the same order.
    """
    if measure != "auc":
        gain = right(first).astype(float) - right(second)
        return Figure(float(gain.mean()), bootstrap_mean(gain, seed=0))
    truth = np.array([case.row.labels[0] == "1" for case in first])
    arrays = (probabilities(first), probabilities(second), truth)
    return Figure(_auc_gain(*arrays), bootstrap_interval(_auc_gain, *arrays, seed=0, n=_DRAWS))


def _auc_gain(first: np.ndarray, second: np.ndarray, truth: np.ndarray) -> float:
    return auroc(first, truth) - auroc(second, truth)


def right(cases: Sequence[Case]) -> np.ndarray:  # (N,)
    """Return whether each case is right."""
    return np.array([case.correct for case in cases], dtype=bool)


def probabilities(cases: Sequence[Case]) -> np.ndarray:  # (N,)
    """Return the probabilities of a score's outcome; one half without an answer."""
    signs = {"1": 1.0, "0": -1.0}
    return np.array([0.5 + signs.get(str(case.value), 0.0) * (case.confidence - 0.5) for case in cases])


# --- Curves --------------------------------------------------------------------------------------


class RiskCurve(NamedTuple):
    """The error among accepted answers by the share accepted."""

    coverage: np.ndarray  # (K,)
    risk: np.ndarray  # (K,)


def risk_curve(cases: Sequence[Case]) -> RiskCurve:
    """Return the risk-coverage curve of the confidence, thinned for drawing."""
    curve = risk_coverage([case.confidence for case in cases], right(cases))
    kept = np.unique(np.linspace(0, len(curve.coverage) - 1, _POINTS).round().astype(np.int64))
    return RiskCurve(curve.coverage[kept], curve.risk[kept])


class Bin(NamedTuple):
    """Answers of similar confidence."""

    confidence: float
    accuracy: float
    rows: int


def reliability(cases: Sequence[Case]) -> list[Bin]:
    """Return mean confidence and share of right answers in ten bins of equal width, which need enough answers."""
    confidence, correct = np.array([case.confidence for case in cases]), right(cases)
    bin_of = np.clip(np.ceil(confidence * _BINS) - 1, 0, _BINS - 1)  # bins are (a, b]
    groups = [bin_of == number for number in range(_BINS)]
    return [
        Bin(confidence=float(confidence[group].mean()), accuracy=float(correct[group].mean()), rows=int(group.sum()))
        for group in groups
        if group.sum() >= _FEWEST
    ]


_MUCH = 10.0  # from here on a ratio needs no decimals


def decide(
    rows: Sequence[RungRow],
    choice: RungChoice,
    bar: Mapping[str, float],
    comparisons: Sequence[Comparison],
    large: LargeRow | None,
    *,
    measure: str,
) -> Recommendation:
    """Return the verdict over all rungs.

    Args:
        rows: A row a rung, cheapest first.
        choice: Training's choice, with the reason.
        bar: The value that each measure must reach, if any.
        comparisons: The other rungs against the chosen one, and that one against the large model.
        large: The large model, if there is one.
        measure: The measure that ranks.
    """
    taken = next(row for row in rows if row.rung == choice.candidate.rung)
    outcome = _outcome(taken, bar)
    if bar and not _confident_out_of_fold(taken, bar):
        outcome = "missed" if outcome == "missed" else "reached"
    sentences = [_first(taken, choice, bar, outcome, measure=measure, alone=len(rows) == 1)]
    sentences += [_passed_over(row, bar) for row in rows[: rows.index(taken)] if bar and _outcome(row, bar) == "met"]
    sentences += [
        _beside_rung(comparison, rows, taken, measure=measure)
        for comparison in comparisons
        if large is None or comparison.second != large.name
    ]
    sentences += [
        _beside_large(comparison, taken, large)
        for comparison in comparisons
        if large is not None and comparison.second == large.name
    ]
    return Recommendation(outcome=outcome, rung=taken.rung, sentences=tuple(filter(None, sentences)))


def _outcome(row: RungRow, bar: Mapping[str, float]) -> Outcome:
    if not bar:
        return "no_bar"
    figures = {name: figure(name, row.evaluation, row.cases) for name in bar}
    if all(figures[name].interval.low >= least for name, least in bar.items()):
        return "met"
    if all(figures[name].value >= least for name, least in bar.items()):
        return "reached"
    return "missed"


def _confident_out_of_fold(row: RungRow, bar: Mapping[str, float]) -> bool:
    return all(row.out_of_fold[name].interval.low >= least for name, least in bar.items())


def _first(
    taken: RungRow, choice: RungChoice, bar: Mapping[str, float], outcome: Outcome, *, measure: str, alone: bool
) -> str:
    if not bar:
        figure_text = f"{measure} {in_words(taken.figure)}"
        why = "it is the only rung tried" if alone else str(choice.reason)
        return f"{taken.rung} is the right size: {figure_text}; {why}."
    wanted = " and ".join(f"{name} {least:g}" for name, least in bar.items())
    figure_text = " and ".join(f"{name} {in_words(figure(name, taken.evaluation, taken.cases))}" for name in bar)
    if outcome == "met":
        return f"{taken.rung} is enough: {figure_text} meets {_least(bar)} with 95% confidence."
    if not _confident_out_of_fold(taken, bar):
        before = " and ".join(_bare(taken.out_of_fold[name]) for name in bar)
        start = f"No rung meets {wanted} with 95% confidence where rungs are chosen, out of fold on the training rows"
        best = f"the best is {taken.rung} ({before})"
        return f"{start}; {best}. On held-out rows its {figure_text} {_reaches(outcome, taken, bar)}."
    far = any(figure(name, taken.evaluation, taken.cases).interval.high < least for name, least in bar.items())
    why = "they are unlike the training rows" if far else "more rows would tell"
    reached = _reaches(outcome, taken, bar)
    return f"{taken.rung} was enough out of fold; on held-out rows its {figure_text} {reached}: {why}."


def _passed_over(row: RungRow, bar: Mapping[str, float]) -> str:
    """Return a sentence on a cheaper rung that would have met the bar on held-out rows."""
    before = " and ".join(_bare(row.out_of_fold[name]) for name in bar)
    return f"{row.rung} meets it on held-out rows too, but not out of fold ({before}), where rungs are chosen."


def _reaches(outcome: Outcome, taken: RungRow, bar: Mapping[str, float]) -> str:
    if outcome == "missed":
        return f"does not reach {_least(bar)}"
    if _outcome(taken, bar) == "met":
        return f"would meet {_least(bar)} with 95% confidence, but they choose nothing"
    return f"reaches {_least(bar)}, but not with 95% confidence"


def _least(bar: Mapping[str, float]) -> str:
    return " and ".join(f"{least:g}" for least in bar.values())


def _beside_rung(comparison: Comparison, rows: Sequence[RungRow], taken: RungRow, *, measure: str) -> str:
    """Return a sentence on what another rung adds, or what this one adds over a cheaper one."""
    names = [row.rung for row in rows]
    other = rows[names.index(comparison.second)]
    on = (
        f", on the {comparison.rows:,} held-out rows that both answered"
        if comparison.rows < max(len(row.cases) for row in rows)
        else ""
    )
    of_what = "" if comparison.measure == measure else f" {comparison.measure}"
    value = f"{abs(comparison.difference.value):.3f}{of_what}"
    if names.index(comparison.second) > names.index(taken.rung):
        for_what = _price(comparison, other, taken, inverse=True) + on
        if not comparison.measurable:
            return f"{comparison.second} would add nothing measurable ({_signed(comparison, -1)}){for_what}."
        verb = "add" if comparison.difference.value < 0 else "lose"
        return f"{comparison.second} would {verb} {value}{for_what}."
    for_what = _price(comparison, other, taken, inverse=False) + on
    if not comparison.measurable:
        return f"It adds nothing measurable to {comparison.second} ({_signed(comparison, 1)}){for_what}."
    verb = "adds" if comparison.difference.value > 0 else "loses"
    return f"Against {comparison.second} it {verb} {value}{for_what}."


def _price(comparison: Comparison, *rungs: RungRow, inverse: bool) -> str:
    """Return the ratio of energy, and of money if one of the two costs money a question."""
    energy = _times(comparison.joules, inverse=inverse)
    money = _times(comparison.money, inverse=inverse) if any(row.rung == "llm" for row in rungs) else ""
    costs = [f"{times} the {what}" for times, what in ((energy, "energy"), (money, "money")) if times]
    return f" for {' and '.join(costs)}" if costs else ""


def _beside_large(comparison: Comparison, taken: RungRow, large: LargeRow) -> str:
    """Return the large model's quality and price, on the rows that it answered."""
    of = f"all {large.of:,}" if large.answered == large.of else f"the {large.answered:,} of {large.of:,}"
    start = f"{large.name} reaches {in_words(large.figure)} on {of} held-out rows"
    start += "" if large.answered == large.of else " that it answered"
    gap = abs(comparison.difference.value)
    low, high = sorted(abs(end) for end in comparison.difference.interval)
    than = "more" if comparison.difference.value < 0 else "less"
    words = f"{gap:.3f} ({low:.3f} to {high:.3f}) {than} {comparison.measure} than {taken.rung} on the same rows"
    if not comparison.measurable:
        words = f"not measurably different from {taken.rung} on the same rows ({_signed(comparison, -1)})"
    money, joules = _times(comparison.money, inverse=True), _times(comparison.joules, inverse=True)
    costs = [f"{times} the {what}" for times, what in ((money, "money"), (joules, "energy")) if times]
    return f"{start}: {words}{', at ' + ' and '.join(costs) if costs else ''}."


def _signed(comparison: Comparison, sign: int) -> str:
    low, high = sorted(sign * end + 0.0 for end in comparison.difference.interval)  # no -0.0
    return f"{sign * comparison.difference.value + 0.0:+.3f}, {low:+.3f} to {high:+.3f}"


def _times(ratio: float | None, *, inverse: bool) -> str:
    """Return a ratio with two digits, as `3.1 times` or `47,000 times`; empty if it is unknown."""
    if not ratio:
        return ""
    times = 1 / ratio if inverse else ratio
    return f"{float(f'{times:.2g}'):,.0f} times" if times >= _MUCH else f"{times:.1f} times"


def _bare(measured: Figure) -> str:
    """Return a figure as `0.912, 0.902 to 0.921`, for use inside brackets."""
    return f"{measured.value:.3f}, {measured.interval.low:.3f} to {measured.interval.high:.3f}"


def in_words(measured: Figure) -> str:
    """Return a figure as `0.912 (0.902 to 0.921)`."""
    return f"{measured.value:.3f} ({measured.interval.low:.3f} to {measured.interval.high:.3f})"

"""The confidence from which a deployment answers: the largest coverage that loses nothing against the current model.

The current model is wrong too. A specialist is therefore compared with that model and not with its labels: a call on
which they differ loses quality where the model is right, and gains quality where the specialist is. The break-even is

    losses <= wins + slips + allowance

with `slips` the share of the model's answers that are none of the job's. Where a person gave the right answer, a row
is a win, a loss or neither. Without a person's label, a differing row counts as each with the share that people found
among differences of similar confidence, and as a win with one standard error less. The remaining calls are those that
both get wrong; while few differences were judged, they count as losses. Training rows, answered out of fold, give
this confidence for new texts. A text that was asked before is answered from memory: an answer that the model itself
gave to it at another time loses nothing, since one of its answers is worth as much as another. Such calls count with
their share of the traffic, by the version's own answers. Where earlier versions were compared on enough calls that
only the model answered, these rows replace all others: a version is more confident in use than its out-of-fold rows
show, and its errors in use are visible there. All this is an estimate: the gates judge every deployment on later
rows.

A deployment that is as good as the model needs thousands of calls to show it. One that answers less, and with higher
confidence, passes its gate sooner. The threshold is therefore the one at which most calls of the next month are
answered, excluding those that the gate takes, or that come until people have judged all differences. A later version
with more rows is tried at a higher coverage.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from coterie.flywheel.discovery import fold
from coterie.flywheel.evidence import rows_needed
from coterie.text.words import plain
from coterie.types import CapturedExample, ComparedAnswer

ALLOWED = 0.25
"""Part of the margin that the differences may use, as a share of all calls: the rest is for unknown errors."""
_FEWEST = 20
"""Fewest answers from which a confidence is derived."""
_LEAST_SHARE = 0.1
"""Share of calls below which the version's own threshold is left in place."""
_KNOWN, _TRIED = 20, 0.3
"""Limits for a model whose error rate is unknown.

Judged differences below which the shares of wrong answers are unknown; and the share of calls, the most confident, on
which a version is tried in shadow where it does not seem to break even on any.
"""
_UNFORESEEN, _RECALL = 8, 0.05
"""Rows from which an answer may count as unpredictable, and the largest share of them that is predicted then."""
_HEAVIEST = 10.0
"""Largest weight of a row."""


@dataclass(frozen=True, kw_only=True)
class ModelSlips:
    """How often the current model is wrong where a specialist is right."""

    slips: float
    """Share of the model's answers that are none of the job's."""
    sure: tuple[float, ...] = ()
    """The specialist's confidence on each judged difference."""
    won: tuple[bool, ...] = ()
    """Whether only the specialist was right, for each judged difference."""
    lost: tuple[bool, ...] = ()
    """Whether only the model was right, for each judged difference. If both were wrong, neither is set."""

    @property
    def judged(self) -> int:
        """Number of judged differences."""
        return len(self.won)

    def wins(self, confidence: np.ndarray) -> np.ndarray:  # (N,) -> (N,)
        """Return the share of differences that the specialist wins at each confidence, minus one standard error."""
        won = sum(self.won)
        if not won:
            return np.zeros(len(confidence))
        return np.asarray(self._share(self.won, confidence, rises=True) * (1 - 1 / math.sqrt(won)))

    def losses(self, confidence: np.ndarray) -> np.ndarray:  # (N,) -> (N,)
        """Return the share that the model wins; while few were judged, the complement of `wins`.

        Where both are wrong nothing is lost.
        """
        left = 1 - self.wins(confidence)
        if len(self.lost) < _KNOWN:
            return left
        return np.asarray(np.minimum(self._share(self.lost, confidence, rises=False) + 1 / len(self.lost), left))

    def _share(self, outcomes: Sequence[bool], confidence: np.ndarray, *, rises: bool) -> np.ndarray:
        from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415 - serving needs none of it

        curve = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip", increasing=rises)
        return np.asarray(curve.fit(self.sure, outcomes).predict(confidence))


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """The confidence from which a deployment answers, with its expected results."""

    confidence: float | None
    """The confidence; None keeps the version's own threshold."""
    accepted: float
    """Expected share of answered calls."""
    differing: float
    """Expected share of the answered calls on which the model gives another answer."""
    allowed: float
    """Share of differences at which the deployment breaks even."""


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """Calls with a text that was asked before, as answered by a version that was trained on it."""

    confidence: np.ndarray  # (R,)
    differs: np.ndarray  # (R,) bool
    """Whether the answer differs from every answer that the model gave to the same text in another call."""
    share: float
    """Share of all calls."""


@dataclass(frozen=True, kw_only=True)
class Within:
    """Coming calls in which a deployment has to pass its gate before it answers any."""

    calls: float
    alpha: float
    """The gate's bound on the probability of a wrong decision."""
    labels: float = math.inf
    """Differences that people can judge, per coming call."""
    answered: float = 0.0
    """Share of calls that an earlier version answers meanwhile."""


@dataclass(frozen=True, kw_only=True)
class LiveRows:
    """Answers of earlier versions to calls that only the model answered."""

    confidence: np.ndarray  # (L,)
    differs: np.ndarray  # (L,) bool
    gains: np.ndarray  # (L,), as those of `break_even`


def live_rows(
    compared: Iterable[ComparedAnswer], given: Mapping[str, str], truths: Mapping[str, str | None]
) -> LiveRows:
    """Return the rows of compared answers.

    Args:
        compared: Answers of versions, accepted or not.
        given: The model's answers, folded, for the calls that count.
        truths: The right answers by people, by example.
    """
    rows = [comparison for comparison in compared if not comparison.failed and comparison.example in given]
    right = [fold(row.answer) == truths.get(row.example) for row in rows]
    return LiveRows(
        confidence=np.asarray([row.confidence for row in rows], dtype=float),
        differs=np.asarray([not row.same for row in rows], dtype=bool),
        gains=row_gains(right, [truths.get(row.example) for row in rows], [given[row.example] for row in rows]),
    )


def asked_before(texts: Sequence[str]) -> np.ndarray:  # (N,) bool
    """Return whether each text, in order of time, repeats an earlier one, ignoring case and white space."""
    seen: set[str] = set()
    repeated = []
    for text in map(plain, texts):
        repeated.append(text in seen)
        seen.add(text)
    return np.asarray(repeated, dtype=bool)


def model_slips(
    labels: Collection[str],
    examples: Iterable[CapturedExample],
    compared: Iterable[ComparedAnswer],
    truths: Mapping[str, str | None],
) -> ModelSlips:
    """Return how often the model of a job is wrong where its specialists are right.

    Args:
        labels: The job's answers, folded.
        examples: Its captured calls.
        compared: Answers of its specialists, earlier ones included, to calls that the model answered.
        truths: The right answers by people, by example.
    """
    answers = {
        example.id: fold(example.answer) for example in examples if not example.failed and not example.by_specialist
    }
    formed = {key for key, answer in answers.items() if answer in labels}
    rows = {
        comparison.example: comparison
        for comparison in compared
        if comparison.accepted and not comparison.failed and comparison.example in formed
    }  # of several specialists that answered a call the last
    judged = [row for row in rows.values() if not row.same and row.example in truths]
    return ModelSlips(
        slips=1 - len(formed) / len(answers) if answers else 0.0,
        sure=tuple(row.confidence for row in judged),
        won=tuple(
            truths[comparison.example] is not None and fold(comparison.answer) == truths[comparison.example]
            for comparison in judged
        ),
        lost=tuple(answers[comparison.example] == truths[comparison.example] for comparison in judged),
    )


def break_even(
    confidence: np.ndarray,
    differs: np.ndarray,
    weights: np.ndarray,
    model: ModelSlips,
    *,
    margin: float,
    gains: np.ndarray | None = None,
    repeats: Repeats | None = None,
    within: Within | None = None,
) -> BreakEven:  # (N,) each
    """Return the lowest confidence from which answers lose no more than they gain, so that the gate can show it.

    Args:
        confidence: Confidence of rows that the weights were not fitted on. Shape (N,).
        differs: Whether the specialist's answer differs from the model's. Shape (N,).
        weights: How many calls each row stands for. Shape (N,).
        model: The known error rates of the model.
        margin: The largest allowed loss of a deployment, as a share of calls.
        gains: People's judgement of a row: 1 if only the specialist was right, -1 if only the model was, 0 for neither;
            NaN for an unjudged row. Shape (N,).
        repeats: Answers to texts that were asked before; without them each call is of a new text.
        within: Coming calls. With them the confidence is returned at which most of them are answered, excluding those
            that the stream gate is expected to take; where it takes all of them, the one that breaks even. While the
            model's error rate is unknown, a version is tried on its most confident answers: in shadow that costs only
            labels, and shows the rate.
    """
    known_gains = np.full(len(confidence), np.nan) if gains is None else gains
    if repeats is not None and len(repeats.confidence) and len(confidence):
        again = repeats.share * weights.sum() / len(repeats.confidence)
        weights = np.concatenate([(1 - repeats.share) * weights, np.full(len(repeats.confidence), again)])
        confidence = np.concatenate([confidence, repeats.confidence])
        differs = np.concatenate([differs, repeats.differs])
        known_gains = np.concatenate([known_gains, np.full(len(repeats.confidence), np.nan)])
    wins = np.where(np.isnan(known_gains), differs * model.wins(confidence), known_gains > 0)
    losses = np.where(np.isnan(known_gains), differs * model.losses(confidence), known_gains < 0)
    order = np.argsort(-confidence, kind="stable")
    is_known = (
        np.concatenate([confidence[order][1:] < confidence[order][:-1], [True]]) if len(order) else np.zeros(0, bool)
    )
    taken, other = np.cumsum(weights[order]), np.cumsum((weights * differs)[order])
    won, lost = np.cumsum((weights * wins)[order]), np.cumsum((weights * losses)[order])
    total = float(taken[-1]) if len(taken) else 0.0
    even = (lost + 1 <= won + model.slips * taken + ALLOWED * margin * total) & is_known
    places = np.flatnonzero(even & (np.arange(len(order)) >= _FEWEST - 1))
    if len(places) and within is not None:
        accepted = taken[places] / total
        gained = won[places] / total + model.slips * accepted
        needed = rows_needed(gained, lost[places] / total, margin=margin, alpha=within.alpha)
        left = within.calls - needed * np.maximum(1.0, other[places] / total / within.labels)
        served = np.maximum(accepted - within.answered, 0.0) * np.maximum(left, 0.0)
        places = places[: int(served.argmax()) + 1] if served.any() else places
    if not len(places) or taken[places[-1]] < _LEAST_SHARE * total:
        if within is None or model.judged >= _KNOWN or not is_known.any() or taken[-1] <= 0:
            return BreakEven(confidence=None, accepted=0.0, differing=0.0, allowed=model.slips)
        places = np.flatnonzero(is_known & (taken >= min(_TRIED * total, taken[is_known][-1])))[:1]
    last = int(places[-1])
    return BreakEven(
        confidence=float(confidence[order[last]]),
        accepted=float(taken[last] / total),
        differing=float(other[last] / taken[last]),
        allowed=float(model.slips + (other[last] - lost[last] + won[last]) / taken[last]),
    )


def row_differences(right: Sequence[bool], labels: Sequence[str], answers: Sequence[str]) -> np.ndarray:  # (N,) bool
    """Return whether each row's out-of-fold answer differs from the model's answer.

    Args:
        right: Whether the row was answered with its label.
        labels: Its label, folded: a person's where there is one.
        answers: The model's answers, folded.
    """
    return np.asarray(
        [good != (label == answer) for good, label, answer in zip(right, labels, answers, strict=True)], bool
    )


def row_gains(
    right: Sequence[bool], truths: Sequence[str | None], answers: Sequence[str]
) -> np.ndarray:  # (N,) of -1, 0, 1 and NaN
    """Return people's judgement of each out-of-fold answer, as in `break_even`.

    Args:
        right: Whether the row was answered with its label, which is a person's where one gave it.
        truths: A person's answer, folded; None where there is none.
        answers: The model's answers, folded.
    """
    return np.asarray(
        [
            np.nan if truth is None else float(good) - float(truth == answer)
            for good, truth, answer in zip(right, truths, answers, strict=True)
        ]
    )


def unforeseen(labels: Sequence[str], right: Sequence[bool]) -> frozenset[str]:
    """Return answers that no input predicts, such as a model's "I am not sure": they are slips, not labels.

    Args:
        labels: The label of each row.
        right: Whether it was predicted out of fold.
    """
    rows, good = Counter(labels), Counter(label for label, hit in zip(labels, right, strict=True) if hit)
    return frozenset(label for label, n in rows.items() if n >= _UNFORESEEN and good[label] <= _RECALL * n)


def doubtful(confidence: np.ndarray, right: np.ndarray, labels: Sequence[str]) -> list[int]:  # (N,), (N,)
    """Return the rows whose label is likely noise, the likeliest first.

    Confident learning (Northcutt, Jiang, Chuang, *Confident Learning: Estimating Uncertainty in Dataset Labels*, JAIR
    2021), from the stored values of the rows: a row's out-of-fold answer differs from its label, with at least the
    average confidence of right answers for that label. The method finds random errors. Systematic errors of the model
    are learnt by the specialist too, so they do not show.

    Args:
        confidence: Confidence of each row's answer, out of fold. Shape (N,).
        right: Whether the answer is the row's label. Shape (N,).
        labels: The label of each row.
    """
    names = np.asarray(labels)
    usual = {name: float(confidence[(names == name) & right].mean()) for name in set(names[right].tolist())}
    overall = float(confidence[right].mean()) if right.any() else 1.0
    least = np.asarray([usual.get(name, overall) for name in names])
    odd = np.flatnonzero(~right & (confidence >= least))
    return [int(row) for row in odd[np.argsort(-confidence[odd], kind="stable")]]


def row_weights(examples: Sequence[CapturedExample], accepted: Mapping[str, bool]) -> np.ndarray:  # (N,)
    """Return how many calls each row stands for.

    While a deployment serves, the calls that it accepts are seen in the control share only; the other rows are calls
    that it passed on.

    Args:
        examples: The examples of the rows.
        accepted: By example, whether a serving deployment would have answered.
    """
    weights = [
        min(_HEAVIEST, 1 / max(example.propensity, 1e-6))
        if accepted.get(example.id) and example.confidence is None
        else 1.0
        for example in examples
    ]
    return np.asarray(weights, dtype=float)

"""From which confidence a deployment answers: as much as costs nothing against what answers today.

A model that answers today is wrong too. What a specialist is held against is not its labels but that model: a call on
which they differ costs quality where the model is right, and gains it where the specialist is. So what breaks even is

    losses <= wins + slips + allowance

with `slips` the share of answers of the model that are none of the job's. Where a person said what is right, a row is a
win, a loss or neither. Where nobody did, one that differs is each with the share that people found of differences that
were as sure, a win less a standard error. What is left are calls that both get wrong; while few differences were judged
they are losses.
Training rows, each answered by a model that did not see it, say which confidence that is of texts that are new. A text
that was asked before is answered from memory: with an answer that the model itself gave to it at another time nothing
is lost, since one of its answers is worth what another is. Such calls count with their share of the traffic, by what
the version says of them. Where versions before were compared on enough calls that nobody else answered, these take the
place of all that: a version is surer in use than its out-of-fold rows say, and what it then gets wrong shows there. All
that is an estimate: the gates judge every deployment on rows that come later.

A deployment that is no better and no worse than the model needs thousands of calls to show it. One that answers less,
and more surely, is through its gate sooner: the threshold is the one at which most calls of the next month are
answered, those left out that the gate takes, or that come until people have said of all differences who was right. A
later version with more rows goes further.
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
"""Part of the margin that the differences may take, as a share of all calls: the rest is for what is not known."""
_FEWEST = 20
"""Answers from which a confidence is taken."""
_LEAST_SHARE = 0.1
"""Share of calls below which the version's own threshold is left in place."""
_KNOWN, _TRIED = 20, 0.3
"""Judged differences below which it is not known how often the model is wrong, or both are, and the share of calls, the
surest, that a version is tried on in shadow where it does not seem to break even on any."""
_UNFORESEEN, _RECALL = 8, 0.05
"""Rows of an answer from which it counts as one that nothing foretells, if no more than this share is foreseen."""
_HEAVIEST = 10.0
"""Weight of a row, at most."""


@dataclass(frozen=True, kw_only=True)
class ModelSlips:
    """How often what answers today is wrong where a specialist is not."""

    slips: float
    """Share of its answers that are none of the job's."""
    sure: tuple[float, ...] = ()
    """Of differences that people judged: how sure the specialist was."""
    won: tuple[bool, ...] = ()
    """Whether only the specialist was right."""
    lost: tuple[bool, ...] = ()
    """Whether only the model was. Where both were wrong, neither."""

    @property
    def judged(self) -> int:
        """Differences that people judged."""
        return len(self.won)

    def wins(self, confidence: np.ndarray) -> np.ndarray:  # (N,) -> (N,)
        """Return the share of differences of a confidence that the specialist wins, one standard error below."""
        won = sum(self.won)
        if not won:
            return np.zeros(len(confidence))
        return np.asarray(self._share(self.won, confidence, rises=True) * (1 - 1 / math.sqrt(won)))

    def losses(self, confidence: np.ndarray) -> np.ndarray:  # (N,) -> (N,)
        """Return the share that the model wins; while few were judged, all that `wins` leaves.

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
    """The confidence from which a deployment answers, and what is expected of it."""

    confidence: float | None
    """None leaves the version's own threshold in place."""
    accepted: float
    """Share of calls, expected."""
    differing: float
    """Share of those on which the model says something else, expected."""
    allowed: float
    """Share that breaks even."""


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """Calls whose text was asked before, as a version answers them that was trained on it."""

    confidence: np.ndarray  # (R,)
    differs: np.ndarray  # (R,) bool
    """From every answer that the model gave to the same text in another call."""
    share: float
    """Of all calls."""


@dataclass(frozen=True, kw_only=True)
class Within:
    """Calls to come, in which a deployment has to pass its gate before it answers any."""

    calls: float
    alpha: float
    """Of the gate."""
    labels: float = math.inf
    """Differences that people can judge, of each call that comes."""
    answered: float = 0.0
    """Share of calls that a version before answers meanwhile."""


@dataclass(frozen=True, kw_only=True)
class LiveRows:
    """What versions before said to calls that nobody but the model answered."""

    confidence: np.ndarray  # (L,)
    differs: np.ndarray  # (L,) bool
    gains: np.ndarray  # (L,), as those of `break_even`


def live_rows(
    compared: Iterable[ComparedAnswer], given: Mapping[str, str], truths: Mapping[str, str | None]
) -> LiveRows:
    """Return the rows of compared answers.

    Args:
        compared: What versions said, accepted or not.
        given: Of the calls that count what the model said, folded.
        truths: What people say, by example.
    """
    rows = [each for each in compared if not each.failed and each.example in given]
    right = [fold(each.answer) == truths.get(each.example) for each in rows]
    return LiveRows(
        confidence=np.asarray([each.confidence for each in rows], dtype=float),
        differs=np.asarray([not each.same for each in rows], dtype=bool),
        gains=row_gains(right, [truths.get(each.example) for each in rows], [given[each.example] for each in rows]),
    )


def asked_before(texts: Sequence[str]) -> np.ndarray:  # (N,) bool
    """Return whether each text, in order of time, was among those before it, but for case and white space."""
    known: set[str] = set()
    found = []
    for each in map(plain, texts):
        found.append(each in known)
        known.add(each)
    return np.asarray(found, dtype=bool)


def model_slips(
    labels: Collection[str],
    examples: Iterable[CapturedExample],
    compared: Iterable[ComparedAnswer],
    truths: Mapping[str, str | None],
) -> ModelSlips:
    """Return how often the model of a job is wrong where its specialists are not.

    Args:
        labels: The job's answers, folded.
        examples: Its captured calls.
        compared: What its specialists, also those of before, said to calls that the model answered.
        truths: What people say, by example.
    """
    answers = {each.id: fold(each.answer) for each in examples if not each.failed and not each.by_specialist}
    formed = {key for key, answer in answers.items() if answer in labels}
    rows = {
        each.example: each for each in compared if each.accepted and not each.failed and each.example in formed
    }  # of several specialists that answered a call the last
    judged = [each for each in rows.values() if not each.same and each.example in truths]
    return ModelSlips(
        slips=1 - len(formed) / len(answers) if answers else 0.0,
        sure=tuple(each.confidence for each in judged),
        won=tuple(truths[each.example] is not None and fold(each.answer) == truths[each.example] for each in judged),
        lost=tuple(answers[each.example] == truths[each.example] for each in judged),
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
    """Return the lowest confidence from which answers cost no more than they gain, and the gate can see it.

    Args:
        confidence: Of rows that the weights were not fitted on. Shape (N,).
        differs: Whether the specialist says something else than the model did. Shape (N,).
        weights: How many calls each row stands for. Shape (N,).
        model: What is known of the model.
        margin: How much worse a deployment may be, as a share of calls.
        gains: What people say of a row: 1 if only the specialist was right, -1 if only the model was, 0 for neither;
            NaN where nobody said anything. Shape (N,).
        repeats: What is said of texts that were asked before; without them each call is of a new text.
        within: Calls to come. With them the confidence is returned at which most of them are answered, those left out
            that the stream gate is expected to take; where it takes all of them, the one that breaks even. While it is
            not known how often the model is wrong, a version is tried on its surest answers: in shadow that costs
            labels, and shows it.
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
    known = (
        np.concatenate([confidence[order][1:] < confidence[order][:-1], [True]]) if len(order) else np.zeros(0, bool)
    )
    taken, other = np.cumsum(weights[order]), np.cumsum((weights * differs)[order])
    won, lost = np.cumsum((weights * wins)[order]), np.cumsum((weights * losses)[order])
    total = float(taken[-1]) if len(taken) else 0.0
    even = (lost + 1 <= won + model.slips * taken + ALLOWED * margin * total) & known
    places = np.flatnonzero(even & (np.arange(len(order)) >= _FEWEST - 1))
    if len(places) and within is not None:
        accepted = taken[places] / total
        gained = won[places] / total + model.slips * accepted
        needed = rows_needed(gained, lost[places] / total, margin=margin, alpha=within.alpha)
        left = within.calls - needed * np.maximum(1.0, other[places] / total / within.labels)
        served = np.maximum(accepted - within.answered, 0.0) * np.maximum(left, 0.0)
        places = places[: int(served.argmax()) + 1] if served.any() else places
    if not len(places) or taken[places[-1]] < _LEAST_SHARE * total:
        if within is None or model.judged >= _KNOWN or not known.any() or taken[-1] <= 0:
            return BreakEven(confidence=None, accepted=0.0, differing=0.0, allowed=model.slips)
        places = np.flatnonzero(known & (taken >= min(_TRIED * total, taken[known][-1])))[:1]
    last = int(places[-1])
    return BreakEven(
        confidence=float(confidence[order[last]]),
        accepted=float(taken[last] / total),
        differing=float(other[last] / taken[last]),
        allowed=float(model.slips + (other[last] - lost[last] + won[last]) / taken[last]),
    )


def row_differences(right: Sequence[bool], labels: Sequence[str], answers: Sequence[str]) -> np.ndarray:  # (N,) bool
    """Return whether each row, answered out of fold, differs from what the model said.

    Args:
        right: Whether the row was answered with its label.
        labels: Its label, folded: a person's where there is one.
        answers: What the model said, folded.
    """
    return np.asarray([good != (label == said) for good, label, said in zip(right, labels, answers, strict=True)], bool)


def row_gains(
    right: Sequence[bool], truths: Sequence[str | None], answers: Sequence[str]
) -> np.ndarray:  # (N,) of -1, 0, 1 and NaN
    """Return what people say of each row that was answered out of fold, as `break_even` takes it.

    Args:
        right: Whether the row was answered with its label, which is a person's where one gave it.
        truths: What a person says, folded; None where nobody did.
        answers: What the model said, folded.
    """
    return np.asarray(
        [
            np.nan if truth is None else float(good) - float(truth == said)
            for good, truth, said in zip(right, truths, answers, strict=True)
        ]
    )


def unforeseen(labels: Sequence[str], right: Sequence[bool]) -> frozenset[str]:
    """Return the answers that no input foretells, such as a model's "I am not sure": they are slips, not labels.

    Args:
        labels: Of each row.
        right: Whether it was foreseen out of fold.
    """
    rows, good = Counter(labels), Counter(label for label, hit in zip(labels, right, strict=True) if hit)
    return frozenset(label for label, n in rows.items() if n >= _UNFORESEEN and good[label] <= _RECALL * n)


def doubtful(confidence: np.ndarray, right: np.ndarray, labels: Sequence[str]) -> list[int]:  # (N,), (N,)
    """Return the rows whose label is likely noise, the likeliest first.

    Confident learning (Northcutt, Jiang, Chuang, *Confident Learning: Estimating Uncertainty in Dataset Labels*, JAIR
    2021) by what is kept of the rows: answered otherwise out of fold, at least as surely as rows of the same label are
    on average where they are answered with it. It finds random slips; what a model gets wrong in a systematic way the
    specialist has learnt too, and then nothing looks odd.

    Args:
        confidence: Of each row's answer, out of fold. Shape (N,).
        right: Whether it is the row's label. Shape (N,).
        labels: Of each row.
    """
    names = np.asarray(labels)
    usual = {name: float(confidence[(names == name) & right].mean()) for name in set(names[right].tolist())}
    overall = float(confidence[right].mean()) if right.any() else 1.0
    least = np.asarray([usual.get(name, overall) for name in names])
    odd = np.flatnonzero(~right & (confidence >= least))
    return [int(row) for row in odd[np.argsort(-confidence[odd], kind="stable")]]


def row_weights(examples: Sequence[CapturedExample], accepted: Mapping[str, bool]) -> np.ndarray:  # (N,)
    """Return how many calls each row stands for.

    While a deployment serves, what it accepts is seen in the control share only; the rest are calls that it left.

    Args:
        examples: The rows'.
        accepted: By example, whether a deployment that served would have answered.
    """
    weights = [
        min(_HEAVIEST, 1 / max(each.propensity, 1e-6)) if accepted.get(each.id) and each.confidence is None else 1.0
        for each in examples
    ]
    return np.asarray(weights, dtype=float)

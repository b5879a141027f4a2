"""The two gates of a deployment, and the confidence from which it answers.

*Stream.* Each call that both answered is a row: 0 where the answers are equal, where the deployment abstains (the
current model answers then) or where both are wrong; +1 or -1 where a person found one of them right. Rows are taken in
order, up to the first unjudged difference: skipping it would drop differences only. The evidence is an
e-process; a level once reached stays, unless there is also evidence that the deployment is worse.

*Frozen rows.* Examples of the audit slice, sampled by id, that no version is ever trained on. A candidate is
refused if it is measurably worse there than the given answers, over all rows or on those of one label: exact McNemar,
Holm over the labels (`learning.evaluation`).

*Evidence.* Each row compares the two: +1 only the candidate is right, -1 only the model is, 0 both or neither. Rows
with equal answers are 0 without a person, so people see disagreements only.

The evidence is a betting e-process (Waudby-Smith and Ramdas, *Estimating means of bounded random variables by betting*,
JRSS B 2024): the wealth of a mixture of fixed bets against "worse by the margin". Under that hypothesis the wealth is a
non-negative martingale. By Ville's inequality it reaches 1/alpha with a probability of at most alpha, for any number of
looks.

*Acceptance.* The confidence from which a deployment answers gives the largest coverage that loses nothing against the
current model. The current model is wrong too. A specialist is therefore compared with that model and not with its
labels: a call on which they differ loses quality where the model is right, and gains quality where the specialist is.
The break-even is

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
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from statistics import NormalDist
from typing import Literal

import numpy as np

from coterie.flywheel.discovery import fold
from coterie.learning.evaluation import exact_interval, paired_drop, worse
from coterie.text.segmentation import plain
from coterie.types import (
    AnsweredCall,
    CapturedExample,
    ComparedAnswer,
    ComparedConfidence,
    ComparedStream,
    GivenLabel,
)

BETS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.98)
"""Shares of the wealth that the members of the mixture bet on each row."""
PRIOR = (0.05, 0.05, 0.1, 0.15, 0.15, 0.15, 0.15, 0.2)
"""Initial weights of the mixture's members.

High bets show a specialist that differs little, as most do after some weeks; low ones are for many differences and
thousands of rows.
"""
_PRIOR_LOGS = np.log(PRIOR)
_MIXED = 1.5
"""Approximate evidence that the mixture has less than its best member."""

StreamDecision = Literal["better", "worse", "open"]


def _gains(rows: np.ndarray, mean: float) -> np.ndarray:  # (N,) -> (B, N)
    """Return the log of the factor of each bet's wealth at each row, against a mean of at most `mean`."""
    stakes = np.asarray(BETS) / max(1.0, 1 + mean)  # no row can take more than what is staked
    return np.asarray(np.log1p(np.outer(stakes, np.asarray(rows, dtype=float) - mean)))


def _mixture(logs: np.ndarray) -> np.ndarray:  # (B, N) -> (N,)
    """Return the log of the mixture's wealth from the logs of its members' wealth."""
    weighed = logs + _PRIOR_LOGS[:, None]
    top = weighed.max(axis=0)
    return np.asarray(top + np.log(np.exp(weighed - top).sum(axis=0)))


def first_decision(rows: np.ndarray, *, margin: float, alpha: float = 0.05) -> tuple[StreamDecision, int]:
    """Return the first decision on a recorded stream, checked after each row, and the number of rows until then.

    Args:
        rows: -1, 0 or 1, in order. Shape (N,).
        margin: The largest allowed loss of the candidate.
        alpha: Bound on the probability of each wrong decision.
    """
    line = math.log(1 / alpha)

    def reached(signed: np.ndarray, mean: float) -> int:
        hit = _mixture(_gains(signed, mean).cumsum(axis=1)) >= line
        return int(np.argmax(hit)) + 1 if hit.any() else len(rows) + 1

    better, worse = reached(rows, -margin), reached(-rows, margin)
    if min(better, worse) > len(rows):
        return "open", len(rows)
    return ("better", better) if better <= worse else ("worse", worse)


def paths_at(
    places: np.ndarray, at: np.ndarray, signs: np.ndarray, *, margin: float
) -> tuple[np.ndarray, np.ndarray]:  # (P,), (M,), (M,) -> (P,), (P,)
    """Return the evidence up to given rows that a candidate is not worse, and that it is: logarithms, >= 0.

    By Ville's inequality a level once reached stays valid. Rows that are 0 need no check: between two others the log
    of the mixture's wealth is convex in the number of rows, so its maximum is at an end.

    Args:
        places: Rows to return the evidence at, from 0, in order.
        at: Rows that are not 0, in order, none after the last place.
        signs: Values of these rows, -1 or 1.
        margin: The largest allowed loss of the candidate.
    """
    ends = np.unique(np.concatenate([places, at, np.maximum(at - 1, 0)])).astype(int)
    won = np.searchsorted(at[signs > 0], ends, side="right")
    lost = np.searchsorted(at[signs < 0], ends, side="right")

    def path(better: np.ndarray, worse: np.ndarray, mean: float) -> np.ndarray:
        up, down, none = _gains(np.asarray([1.0, -1.0, 0.0]), mean).T[:, :, None]  # (B, 1) each
        logs = up * better + down * worse + none * (ends + 1 - better - worse)  # (B, E)
        reached = np.maximum.accumulate(np.maximum(_mixture(logs), 0.0))
        return np.asarray(reached[np.searchsorted(ends, places)])

    return path(won, lost, -margin), path(lost, won, margin)


def rows_needed(won: np.ndarray, lost: np.ndarray, *, margin: float, alpha: float) -> np.ndarray:  # (N,), (N,) -> (N,)
    """Return the expected rows until a candidate is shown not to be worse by the margin, by its best bet's growth.

    Args:
        won: Share of all rows that it wins. Shape (N,).
        lost: Share that it loses. Shape (N,).
        margin: The largest allowed loss.
        alpha: Bound on the probability of a wrong decision.
    """
    bets = np.asarray(BETS)[:, None]
    growth = won * np.log1p(bets * (1 + margin)) + lost * np.log1p(bets * (margin - 1))
    growth = growth + np.maximum(1 - won - lost, 0.0) * np.log1p(bets * margin)  # (B, N)
    return np.asarray((math.log(1 / alpha) + _MIXED) / np.maximum(growth.max(axis=0), 1e-9))


_FEWEST_ONES = 5
"""Labels of each kind, right and wrong, below which the normal approximation is not used."""


@dataclass(frozen=True)
class Estimate:
    """A share with its interval."""

    share: float
    low: float
    high: float
    method: str
    """Method of the interval: `ppi++` or `exact`."""
    worth: float
    """Number of labels that a plain estimate would need for an interval of this width."""


def exact(right: int, total: int) -> Estimate:
    """Return the share of right labels with its Clopper-Pearson interval of 95%; without labels it is 0 to 1."""
    low, high = exact_interval(right, total) if total else (0.0, 1.0)
    return Estimate(right / total if total else math.nan, low, high, "exact", float(total))


def estimate(right: np.ndarray, predicted: np.ndarray, unlabelled: np.ndarray) -> Estimate:  # (n,), (n,), (N,)
    """Estimate a mean, with its interval of 95%, from labels of a random sample and predictions for all rows.

    Prediction-powered inference with its weight tuned to the data (Angelopoulos, Duchi, Zrnic, *PPI++*, 2023): the
    interval is never wider, asymptotically, than that of the labels alone, however bad the predictions are. With few
    labels of a kind the exact interval of the labels alone is returned, since the normal approximation fails there.

    Args:
        right: 0 or 1 for each labelled row. Shape (n,).
        predicted: Predicted probability that it is 1. Shape (n,).
        unlabelled: The prediction for each row without a label. Shape (N,).

    Raises:
        ValueError: `right` and `predicted` differ in length.
    """
    right, predicted, unlabelled = (np.asarray(array, dtype=float) for array in (right, predicted, unlabelled))
    if right.shape != predicted.shape:
        raise ValueError(f"{len(right)} labels, but {len(predicted)} predictions for them")
    count, ones = len(right), int(right.sum())
    if min(ones, count - ones) < _FEWEST_ONES or not len(unlabelled) or predicted.var() == 0:
        return exact(ones, count)
    ratio = count / len(unlabelled)
    weight = float(np.clip(np.cov(right, predicted)[0, 1] / (predicted.var() * (1 + ratio)), 0, 1))
    residual = right - weight * predicted
    mean = weight * unlabelled.mean() + residual.mean()
    variance = residual.var(ddof=1) / count + weight**2 * unlabelled.var() / len(unlabelled)
    half = float(NormalDist().inv_cdf(0.975) * math.sqrt(variance))
    worth = float(right.var(ddof=1) / variance)
    return Estimate(float(np.clip(mean, 0, 1)), max(0.0, mean - half), min(1.0, mean + half), "ppi++", worth)


# --- The two gates of a deployment: on the stream of compared answers, and on held-out rows that people labelled.

_WON, _LOST, _BEFORE = 0.4, 0.3, 10
"""Prior shares of differences that a deployment wins and loses, and their weight in differences."""
_LEAST_LEFT = 0.1
"""Smallest expected remainder of an open gate, as a part of all rows that it needs."""
_PLACES = 40
"""Points at which the growth of the evidence is recorded."""
Truths = Mapping[str, str | None]
"""The right answers by people, folded, by example; None where no possible answer is right."""


def drawn(key: str, share: float, *, salt: str) -> bool:
    """Return whether an id is in a sample of this share: deterministic, and independent between salts."""
    digest = blake2b(key.encode(), key=salt.encode()[:64], digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


@lru_cache(maxsize=1 << 15)  # the same calls are asked about for each page of a review
def is_audit(example: str, share: float) -> bool:
    """Return whether an example is in the slice that is never used for training."""
    return drawn(example, share, salt="audit")


def truths_of(labels: Iterable[GivenLabel]) -> dict[str, str | None]:
    """Return people's label of each example: the majority, the latest for a tie. Feedback does not count as a label."""
    values_by_example: dict[str, list[str | None]] = defaultdict(list)
    for label in sorted(labels, key=lambda label: label.time):
        if label.origin == "person":
            values_by_example[label.example].append(None if label.value is None else fold(label.value))
    return {
        example: max(reversed(values), key=values.count)  # of equally many the latest
        for example, values in values_by_example.items()
    }


@dataclass(frozen=True, kw_only=True)
class StreamEvidence:
    """The evidence of the compared answers so far."""

    compared: int
    accepted: int
    """Compared calls that the deployment answered."""
    same: int
    """Accepted answers that equal the given answer."""
    failed: int
    judged: int
    """Rows in order before the first unjudged difference."""
    wins: int
    losses: int
    pending: tuple[str, ...]
    """Examples with unjudged differences, oldest first."""
    decision: StreamDecision
    not_worse: float
    """Evidence that it is not worse by the margin, as a share of the needed: 1 passes."""
    is_worse: float
    """Evidence that it is worse by the margin; 1 refuses."""
    rows_left: float = math.inf
    """Expected further rows until the gate is passed, if the shares of wins and losses stay as judged."""
    growth: tuple[tuple[int, float, float], ...] = ()
    """Growth of both kinds of evidence: rows judged, then both values, at some rows in order."""

    @property
    def coverage(self) -> float:
        """Share of calls that the deployment would answer."""
        return self.accepted / self.compared if self.compared else 0.0

    @property
    def disagreement(self) -> float:
        """Share of accepted answers that differ."""
        return 1 - self.same / self.accepted if self.accepted else 0.0

    def figures(self) -> dict[str, object]:
        """Return the numbers, for a transition and the audit log."""
        return {
            "compared": self.compared,
            "coverage": round(self.coverage, 4),
            "disagreement": round(self.disagreement, 4),
            "judged": self.judged,
            "wins": self.wins,
            "losses": self.losses,
            "pending": len(self.pending),
            "not_worse": round(self.not_worse, 3),
            "is_worse": round(self.is_worse, 3),
            "decision": self.decision,
        }


def judge_differences(stream: ComparedStream, truths: Truths, *, margin: float, alpha: float) -> StreamEvidence:
    """Return the evidence of a stream; only differing rows are read."""
    judged: list[tuple[int, int]] = []
    pending: list[str] = []
    erased, end = 0, stream.compared
    for difference in stream.differing:
        if difference.given is None:  # an erased call is no row
            erased += 1
        elif difference.example not in truths:
            if not pending:
                end = difference.place - erased
            pending.append(difference.example)
        elif not pending:
            truth = truths[difference.example]
            row = int(fold(difference.answer) == truth) - int(fold(difference.given) == truth)
            judged.append((difference.place - erased, row))
    rows = end if pending else stream.compared - erased
    places = np.unique(np.linspace(0, rows - 1, min(rows, _PLACES)).astype(int)) if rows else np.zeros(0, int)
    at = np.asarray([number for number, row in judged if row], dtype=int)
    signs = np.asarray([row for _, row in judged if row], dtype=int)
    grown = [path / -math.log(alpha) for path in paths_at(places, at, signs, margin=margin)]
    better, is_worse = (float(path[-1]) if len(path) else 0.0 for path in grown)
    differing = sum(row.given is not None for row in stream.differing) / max(1, stream.compared - erased)
    shares = [
        differing * (int((signs == sign).sum()) + part * _BEFORE) / (len(judged) + _BEFORE)
        for sign, part in ((1, _WON), (-1, _LOST))
    ]
    needed = float(rows_needed(*np.asarray(shares)[:, None], margin=margin, alpha=alpha)[0])
    return StreamEvidence(
        compared=stream.compared - erased,
        accepted=stream.accepted - erased,
        same=stream.same,
        failed=stream.failed,
        judged=rows,
        wins=int((signs == 1).sum()),
        losses=int((signs == -1).sum()),
        pending=tuple(pending),
        decision="worse" if is_worse >= 1 else "better" if better >= 1 else "open",
        not_worse=better,
        is_worse=is_worse,
        rows_left=0.0 if better >= 1 else max(needed - rows, _LEAST_LEFT * needed),
        growth=tuple(
            (int(number) + 1, round(float(a), 4), round(float(b), 4))
            for number, a, b in zip(places, *grown, strict=True)
        ),
    )


@dataclass(frozen=True, kw_only=True)
class FrozenEvidence:
    """A candidate compared with the given answers, on rows that people labelled."""

    rows: int
    right: int
    """Rows that the candidate answers right, with the model answering where it abstains."""
    before: int
    """Rows that were answered right before."""
    chance: float | None
    """Probability of so large a loss by chance; None without rows."""
    worse: tuple[str, ...]
    """Slices on which it is measurably worse: `all` or a label."""

    @property
    def passed(self) -> bool:
        """Whether it is measurably worse on no slice."""
        return not self.worse

    def figures(self) -> dict[str, object]:
        """Return the numbers, for a transition and the audit log."""
        return {"frozen_rows": self.rows, "right": self.right, "before": self.before, "worse": list(self.worse)}


def judge_frozen(truths: Truths, given: Mapping[str, str], answers: Mapping[str, str | None]) -> FrozenEvidence:
    """Return the evidence of held-out rows.

    Args:
        truths: The right answers by people, by example.
        given: The given answers.
        answers: The candidate's answers; None where it abstains.
    """
    examples = [example for example in truths if example in given and example in answers]
    before = np.asarray([fold(given[example]) == truths[example] for example in examples], dtype=bool)
    after = np.asarray(
        [
            fold(given[example] if answers[example] is None else answers[example] or "") == truths[example]
            for example in examples
        ],
        bool,
    )
    if not examples:
        return FrozenEvidence(rows=0, right=0, before=0, chance=None, worse=())
    names = np.asarray([truths[example] or "" for example in examples])
    overall = float(paired_drop(before, after))
    slices = {str(name): float(paired_drop(before[names == name], after[names == name])) for name in sorted(set(names))}
    verdicts = worse(list(slices.values()))
    bad = [*(["all"] if worse([overall])[0] else []), *(n for n, v in zip(slices, verdicts, strict=True) if v)]
    return FrozenEvidence(
        rows=len(examples), right=int(after.sum()), before=int(before.sum()), chance=overall, worse=tuple(bad)
    )


def audit_sample(examples: Iterable[CapturedExample | AnsweredCall], size: int, *, share: float) -> list[str]:
    """Return the examples whose labels estimate the current model: a random sample, stratified by answer.

    For each answer the lowest hashes come first, regardless of other reasons for a label, and later calls are
    included in the same way: the sample stays one of all calls.
    """
    strata: dict[str, list[str]] = defaultdict(list)
    folded: dict[str, str] = {}  # many calls have few answers
    total = 0
    for candidate in examples:
        if not candidate.failed and not candidate.by_specialist:
            total += 1
            if candidate.answer not in folded:
                folded[candidate.answer] = fold(candidate.answer)
            strata[folded[candidate.answer]].append(candidate.id)
    wanted = {name: len(ids) / total * size for name, ids in strata.items()}
    counts = {name: int(size) for name, size in wanted.items()}
    rest = sorted(wanted, key=lambda name: (counts[name] - wanted[name], name))
    for name in rest[: min(size, total) - sum(counts.values())]:
        counts[name] += 1
    return [
        example
        for name in sorted(strata)
        for example in sorted((e for e in strata[name] if is_audit(e, share)), key=_rank)[: counts[name]]
    ]


def _rank(example: str) -> bytes:
    return blake2b(example.encode(), key=b"rank", digest_size=8).digest()


def teacher_accuracy(
    truths: Truths,
    examples: Iterable[CapturedExample | AnsweredCall],
    compared: Iterable[ComparedAnswer | ComparedConfidence],
    sample: Sequence[str],
) -> Estimate:
    """Return the accuracy of the current model, from labels of a random sample and a specialist's confidence.

    With a specialist's answers to the same calls the estimate is prediction-powered: the probability that an answer is
    right is the specialist's confidence where it agrees, and the complement where it does not.

    Args:
        truths: Labels by people; those of other examples, which were chosen because they are hard, are left out.
        examples: Examples of the job.
        compared: A specialist's answers to them.
        sample: The sample of `audit_sample`.
    """
    by_model = {example.id: example for example in examples if not example.failed and not example.by_specialist}
    likely = {
        comparison.example: comparison.confidence if comparison.same else 1 - comparison.confidence
        for comparison in compared
        if isinstance(comparison, ComparedConfidence) or not comparison.failed
    }
    judged = [example for example in sample if example in truths and example in by_model]
    right = np.asarray([fold(by_model[example].answer) == truths[example] for example in judged], dtype=float)
    if not judged or any(example not in likely for example in judged):
        return exact(int(right.sum()), len(right))
    others = np.asarray([likely[example] for example in by_model if example in likely and example not in truths])
    return estimate(right, np.asarray([likely[example] for example in judged]), others)


# --- The confidence from which a deployment answers: the largest coverage that loses nothing against the current model.

ALLOWED = 0.25
"""Part of the margin that the differences may use, as a share of all calls: the rest is for unknown errors."""
_FEWEST_ROWS = 20
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
    places = np.flatnonzero(even & (np.arange(len(order)) >= _FEWEST_ROWS - 1))
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

"""The accept threshold of a specialist, the stop of a chain of rungs, and spot checks that may move a threshold.

Threshold and stop keep a given share of another's quality.

Answers below the threshold go to the generalist. The quality of the whole is estimated from the specialist's
calibration outcomes: its confidence and whether it was right, on texts that its weights were not fitted on.

All rungs but the last share one stop: their confidences are calibrated, so the same number means the same at
each. The stop is the lowest of a few fixed candidates at which the chain is shown to keep a share of what its
last rung gets right.

Spot checks are a random sample of requests that people judge, by which live outcomes may move an accept threshold.

Users choose which answers they complain about or praise, so the error rate of those answers does not
represent the others. Only requests that were chosen independently of the answer support a promise. The random
draw is a hash of the request's id, which is random and made before any model is asked: a hash below the share
chooses the request. So nothing is stored when a request is answered, every process finds the same sample, and
every request has the same chance.

A chosen request without a judgement counts as wrong if a promise rests on it, and as right if it would refute
one: the promise holds whatever the answer was (bounds of Manski 1989, "Anatomy of the Selection Problem").
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from math import log, sqrt

import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from coterie.errors import ArtefactRefused
from coterie.runtime.codec import from_json, parse_json, to_json
from coterie.types import Feedback, Finding, Reason, Trace

# --- Tests and intervals for the mean of bounded values, without an assumption about their distribution.

DELTA = 0.05
"""Probability with which a promise of quality may be broken."""
_LARGEST_BET = 0.75
"""Largest share of the capital that one row may lose."""


def mean_p_value(values: np.ndarray, least: float, *, low: float, high: float, delta: float) -> float:
    """Return the p-value of the hypothesis "the mean is below `least`".

    A player starts with a capital of 1 and bets on each row that its value is above `least`. The capital can only be
    expected to fall while the mean is below `least`, so it reaches 1 / p with probability p at most (Ville). The bets
    are the predictable plug-in of Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by
    betting", section 4.2. The test holds for every number of rows and is nearly as sharp as the normal approximation.

    Args:
        values: (N,) independent values between `low` and `high`.
        least: The bound that the mean is tested against.
        low: Smallest value that can occur.
        high: Largest value that can occur.
        delta: Level that the bets are tuned for.
    """
    if not len(values) or not low < high:
        return 1.0
    if least <= low:
        return 0.0
    y, m = (np.asarray(values, dtype=float) - low) / (high - low), (least - low) / (high - low)
    if m >= 1:
        return 1.0
    n = np.arange(1, len(y) + 1)
    mean = (0.5 + np.cumsum(y)) / (n + 1)
    variance = (0.25 + np.cumsum((y - mean) ** 2)) / (n + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    bets = np.minimum(np.sqrt(2 * log(1 / delta) / (len(y) * before)), _LARGEST_BET / m)
    capital = np.cumsum(np.log1p(bets * (y - m)))
    return float(min(1.0, np.exp(-max(0.0, capital.max()))))


def mean_interval(scores: np.ndarray) -> tuple[float, float]:
    """Return the 95% interval of the mean of scores (N,) by the normal approximation; nan below two rows."""
    if len(scores) < 2:
        return (float("nan"), float("nan"))
    mean, half = float(np.mean(scores)), 1.96 * float(np.std(scores, ddof=1)) / sqrt(len(scores))
    return (max(0.0, mean - half), min(1.0, mean + half))


def group_means(values: np.ndarray, group: np.ndarray) -> np.ndarray:  # (N,), (N,) -> (G,)
    """Return the mean of each group in a fixed random order: a sequential test must not see the surest rows first."""
    _, places = np.unique(group, return_inverse=True)
    means = np.bincount(places, weights=values) / np.bincount(places)
    return np.asarray(np.random.default_rng(0).permutation(means))


CALIBRATION_FILE = "calibration.safetensors"
_SHARES = np.linspace(0.1, 1.0, 46)
"""Shares of the answers that may be accepted, tested from few to all."""
_STARTS = (0.1, 0.3, 0.6)
"""Shares from which a test sequence starts, each with its part of delta: too few answers may show nothing."""
_FEWEST = 60
"""Fewest rows from which anything is shown."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationOutcomes:
    """A specialist's confidences on its calibration rows, and whether it was right."""

    confidence: np.ndarray  # (N,)
    right: np.ndarray  # (N,) bool
    group: np.ndarray  # (N,) number of the row's group; rows of one group are not independent

    def to_files(self) -> dict[str, bytes]:
        """Return the files that are stored with a version."""
        arrays: dict[str, np.ndarray] = {
            "confidence": self.confidence.astype(np.float32),
            "right": self.right.astype(np.uint8),
            "group": self.group.astype(np.int32),
        }
        return {CALIBRATION_FILE: save_arrays(arrays)}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> CalibrationOutcomes | None:
        """Return the outcomes of a stored version, None if it has none. Raises `ValueError` or `LookupError`."""
        if CALIBRATION_FILE not in files:
            return None
        arrays = load_arrays(files[CALIBRATION_FILE])
        confidence, right, group = (arrays[name] for name in ("confidence", "right", "group"))
        if not len(confidence) == len(right) == len(group) or not np.isfinite(confidence).all():
            raise ValueError("its calibration outcomes do not fit together")
        return cls(confidence=confidence.astype(float), right=right > 0, group=group.astype(int))


@dataclass(frozen=True, kw_only=True)
class AcceptThreshold:
    """The confidence from which answers are accepted, and the expected result."""

    value: float | None
    """Lowest accepted confidence; None accepts no answer."""
    accepted_share: float
    """Share of the answers that is accepted."""
    expected_quality: float
    """Quality of the whole, the generalist's answers included."""
    reason: Reason | None
    """The basis of the threshold, or why there is none; None for calibration outcomes."""


def find_accept_threshold(outcomes: CalibrationOutcomes, *, quality: float, generalist: float) -> AcceptThreshold:
    """Return the lowest threshold that is shown, with 95% confidence, to keep the quality of the whole.

    Shares of accepted answers are tested from few to all, from several starts with a part of delta each. The
    first share that is not shown ends the sequence of its start (fixed-sequence testing), so the confidence holds
    for the threshold that is returned. Rows of one group count as one, by their mean.

    Args:
        outcomes: The specialist's outcomes.
        quality: Share of the generalist's quality to keep, 0 to 1.
        generalist: Accuracy of the generalist on its prompts, 0 to 1.
    """
    aim, n = quality * generalist, len(outcomes.confidence)
    if aim <= 0:  # there is nothing to keep, so the generalist is not asked, however few outcomes there are
        right = float(outcomes.right.mean()) if n else 0.0
        return AcceptThreshold(value=0.0, accepted_share=1.0, expected_quality=right, reason=None)
    reason = Reason("policy.not_shown", outcomes=n)
    nothing = AcceptThreshold(value=None, accepted_share=0.0, expected_quality=generalist, reason=reason)
    if n < _FEWEST:
        return nothing
    thresholds = np.sort(outcomes.confidence)[::-1][np.maximum(np.round(_SHARES * n).astype(int), 1) - 1]
    shown = [_p_value(outcomes, float(threshold), aim, generalist) <= DELTA / len(_STARTS) for threshold in thresholds]
    reached = [_last(shown, int(np.searchsorted(_SHARES, start - 1e-9))) for start in _STARTS]
    if max(reached) < 0:
        return nothing
    value = float(thresholds[max(reached)])
    accepted = outcomes.confidence >= value
    expected = float(np.where(accepted, outcomes.right, generalist).mean())
    return AcceptThreshold(value=value, accepted_share=float(accepted.mean()), expected_quality=expected, reason=None)


def _last(shown: Sequence[bool], start: int) -> int:
    """Return the last position of an unbroken run from `start`; -1 if `start` is not shown."""
    last = -1
    for index in range(start, len(shown)):
        if not shown[index]:
            break
        last = index
    return last


def _p_value(outcomes: CalibrationOutcomes, threshold: float, aim: float, generalist: float) -> float:
    values = np.where(outcomes.confidence >= threshold, outcomes.right, generalist) - aim
    means = group_means(values, outcomes.group)
    return mean_p_value(means, 0.0, low=-aim, high=1.0 - aim, delta=DELTA / len(_STARTS))


STOPS = (0.99, 0.98, 0.97, 0.96, 0.95, 0.93, 0.9, 0.85, 0.8, 0.7)
"""Candidate stops, from strict to lax, fixed before any row is seen."""
_PART = 0.5
"""Part of the allowed loss that is not used when confidences alone choose a stop: the test needs a margin."""
_ROOM = 5.0
"""Least margin in rows: somewhat above -log(DELTA) times a difference's range over the largest bet."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RungOutcomes:
    """Outcomes of each rung of a chain, the cheapest first, on the same calibration rows."""

    confidence: np.ndarray  # (K, N)
    right: np.ndarray  # (K, N) bool
    in_scope: np.ndarray  # (K, N) bool, as each rung sees it
    group: np.ndarray  # (N,) number of the row's group; rows of one group are not independent

    def answering(self, stop: float | None) -> np.ndarray:  # (N,)
        """Return the rung that answers each row: the first that is confident enough and in scope, else the last."""
        last = len(self.confidence) - 1
        if stop is None:
            return np.full(self.confidence.shape[1], last)
        sure = (self.confidence >= stop) & self.in_scope
        sure[last] = True
        return np.asarray(sure.argmax(axis=0))

    def at(self, stop: float | None) -> CalibrationOutcomes:
        """Return the outcomes of the whole chain: the confidence is that of the rung that answers."""
        rung = self.answering(stop)[None]
        return CalibrationOutcomes(
            confidence=np.take_along_axis(self.confidence, rung, axis=0)[0],
            right=np.take_along_axis(self.right, rung, axis=0)[0],
            group=self.group,
        )

    def asked(self, stop: float | None) -> tuple[float, ...]:
        """Return the share of the rows that reach each rung: without a stop, only the last one."""
        answering = self.answering(stop)
        if stop is None:
            return (*[0.0] * (len(self.confidence) - 1), 1.0)
        return tuple(float((answering >= rung).mean()) for rung in range(len(self.confidence)))

    def answered(self, stop: float | None) -> tuple[float, ...]:
        """Return the share of the rows that each rung answers."""
        answering = self.answering(stop)
        return tuple(float((answering == rung).mean()) for rung in range(len(self.confidence)))


def shown_stops(outcomes: RungOutcomes, *, quality: float) -> tuple[float, ...]:
    """Return the stops at which the chain is shown to keep `quality` of what its last rung gets right, the lowest last.

    Each is tested by the paired difference on the same rows, from strict to lax, at the whole level, and the first that
    is not shown ends the test (fixed-sequence testing): with 95% confidence all that are given keep it. It counts
    answers that are accepted and those that are not. Rows of one group count as one, by their mean.
    """
    shown: list[float] = []
    for stop in STOPS:
        kept = group_means(outcomes.at(stop).right - quality * outcomes.right[-1], outcomes.group)
        if mean_p_value(kept, 0.0, low=-quality, high=1.0, delta=DELTA) > DELTA:
            break
        shown.append(stop)
    return tuple(shown)


def promised_stop(outcomes: RungOutcomes, *, quality: float) -> float | None:
    """Return the lowest stop that would keep the quality with room to spare if confidences were true, else None.

    Confidences alone choose it, not whether answers were right: so a test at this stop was planned beforehand.
    """
    last = float(outcomes.confidence[-1].mean())
    loss = last * (1.0 - quality)
    spent = loss - max(_PART * loss, _ROOM / len(np.unique(outcomes.group)))
    if spent <= 0:
        return None
    kept = [stop for stop in STOPS if float(outcomes.at(stop).confidence.mean()) >= last - spent]
    return min(kept, default=None)


SPOT_CHECKS_FILE = "spotchecks.json"
"""Name of the file with spot checks, beside the store's file."""
_RANGE = 2.0**64


def is_chosen(request: str, share: float) -> bool:
    """Return whether a request, by its id, is in the random sample of this share."""
    return int.from_bytes(sha256(f"spot check\0{request}".encode()).digest()[:8], "big") < share * _RANGE


@dataclass(frozen=True, kw_only=True)
class SpotChecks:
    """The outcomes of the chosen requests that one version of a specialist answered."""

    version: str
    share: float
    """Share of the requests that were chosen."""
    since: float
    until: float
    """End of the period: requests admitted from `since` on and before `until`, in seconds since the epoch."""
    confidence: tuple[float, ...]
    right: tuple[bool | None, ...]
    """Whether each finding was right; None if it has no judgement."""
    group: tuple[int, ...]
    """Group of each finding: findings of one request are one group."""

    def __post_init__(self) -> None:
        if not len(self.confidence) == len(self.right) == len(self.group):
            raise ValueError("its rows do not fit together")
        if not all(0 <= confidence <= 1 for confidence in self.confidence):
            raise ValueError("a confidence is not within 0 and 1")

    def __len__(self) -> int:
        return len(self.right)

    @property
    def judged(self) -> int:
        """Number of checks with a judgement."""
        return sum(right is not None for right in self.right)

    def as_outcomes(self, *, unknown: bool) -> CalibrationOutcomes:
        """Return the checks as calibration outcomes; `unknown` takes the place of a missing judgement."""
        return CalibrationOutcomes(
            confidence=np.array(self.confidence, dtype=float),
            right=np.array([unknown if right is None else right for right in self.right], dtype=bool),
            group=np.array(self.group, dtype=int),
        )


def collect(
    checked: Sequence[tuple[Trace, Sequence[Feedback]]],
    specialist: str,
    *,
    version: str,
    share: float,
    since: float,
    until: float,
) -> SpotChecks:
    """Return a specialist's spot checks among chosen requests, each with its feedback, the oldest first."""
    confidence: list[float] = []
    right: list[bool | None] = []
    group: list[int] = []
    for index, (trace, feedback) in enumerate(checked):
        for finding in (finding for finding in trace.findings if finding.specialist == specialist):
            confidence.append(finding.confidence)
            right.append(_judgement(finding, trace, feedback))
            group.append(index)
    return SpotChecks(
        version=version,
        share=share,
        since=since,
        until=until,
        confidence=tuple(confidence),
        right=tuple(right),
        group=tuple(group),
    )


def _judgement(finding: Finding, trace: Trace, feedback: Sequence[Feedback]) -> bool | None:
    """Return whether a finding's value is right, by the newest feedback on it, else on the whole answer; else None."""
    answering = {finding.specialist for finding in trace.findings if finding.accepted}
    for about in (finding.specialist, ""):
        for word in reversed([opinion for opinion in feedback if opinion.specialist == about]):
            if word.value is not None:
                return word.names(finding.value)
            if word.thumb is not None and (about or answering == {finding.specialist}):
                return word.thumb == "up"
    return None


# --- The accept threshold ------------------------------------------------------------------------


def find_checked_threshold(
    outcomes: CalibrationOutcomes, checks: SpotChecks, *, quality: float, generalist: float
) -> AcceptThreshold:
    """Return the accept threshold by calibration outcomes and spot checks.

    A threshold that the checks show with 95% confidence is used: they are of live requests, calibration outcomes
    of expected ones. If the checks refute the calibrated threshold, no answer is accepted. Otherwise the
    calibrated threshold holds.
    """
    calibrated = find_accept_threshold(outcomes, quality=quality, generalist=generalist)
    shown = find_accept_threshold(checks.as_outcomes(unknown=False), quality=quality, generalist=generalist)
    if shown.value is not None:
        return replace(shown, reason=Reason("policy.spot_checked", checks=len(checks)))
    if calibrated.value is not None and _refuted(checks, calibrated.value, quality * generalist, generalist):
        reason = Reason("policy.refuted", checks=len(checks))
        return AcceptThreshold(value=None, accepted_share=0.0, expected_quality=generalist, reason=reason)
    return calibrated


def _refuted(checks: SpotChecks, threshold: float, aim: float, generalist: float) -> bool:
    """Return whether less than the aim is kept, with 95% confidence, even if every unjudged check was right."""
    best = checks.as_outcomes(unknown=True)
    if not len(checks) or aim <= 0:
        return False
    missing = aim - group_means(np.where(best.confidence >= threshold, best.right, generalist), best.group)
    return mean_p_value(missing, 0.0, low=aim - 1.0, high=aim, delta=DELTA) <= DELTA


# --- The file ------------------------------------------------------------------------------------


def dump_checks(checks: Mapping[str, SpotChecks]) -> bytes:
    """Return the stored form of spot checks by specialist."""
    return json.dumps(to_json(checks), indent=1, sort_keys=True).encode()


def load_checks(content: bytes) -> dict[str, SpotChecks]:
    """Return the stored spot checks by specialist. Raises `ArtefactRefused`."""
    try:
        return {name: from_json(SpotChecks, stored) for name, stored in parse_json(content).items()}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ArtefactRefused(
            f"The spot checks in {SPOT_CHECKS_FILE!r} cannot be read: {type(error).__name__} {error}.",
            hint="Fold them in again: coterie spotchecks --update",
        ) from error

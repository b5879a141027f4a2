"""Spot checks: a random sample of requests that people judge, by which live outcomes may move an accept threshold.

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

import numpy as np

from coterie.errors import ArtefactRefused
from coterie.policy.acceptance import (
    DELTA,
    AcceptThreshold,
    CalibrationOutcomes,
    find_accept_threshold,
    group_means,
    mean_p_value,
)
from coterie.runtime.codec import from_json, parse_json, to_json
from coterie.types import Feedback, Finding, Reason, Trace

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

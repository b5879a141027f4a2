"""Spot checks: requests that a coin chose to be judged by a person, so that live outcomes may turn the dial.

Who complains, or praises, chooses what is known: an error rate of such answers says nothing of the others. So only
requests that were chosen without looking at the answer count for a promise. The coin is the request's id, which is
random and made before anything is asked: a hash of it below the share chooses it. So nothing is written down when a
request is answered, everybody finds the same sample, and every request had the same chance.

A chosen request that nobody judged counts as wrong where a promise rests on it, and as right where it would break one:
the promise holds whatever the answer was (bounds of Manski 1989, "Anatomy of the Selection Problem").
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from coterie.cascade.dial import DELTA
from coterie.cascade.keep import CalibrationOutcomes, Line, by_group, keep_from
from coterie.cascade.risk import mean_p_value
from coterie.errors import ArtefactRefused
from coterie.runtime.codec import from_json, to_json
from coterie.types import Feedback, Finding, Trace

SPOT_CHECKS_FILE = "spotchecks.json"
"""Beside the store's file."""
_RANGE = 2.0**64


def is_chosen(request: str, share: float) -> bool:
    """Whether a request, by its id, is one of a random sample of this share."""
    return int.from_bytes(sha256(f"spot check\0{request}".encode()).digest()[:8], "big") < share * _RANGE


@dataclass(frozen=True, kw_only=True)
class SpotChecks:
    """What became of the chosen requests that one version of a specialist looked at."""

    version: str
    share: float
    """Of the requests that were chosen."""
    since: float
    until: float
    """Requests admitted from `since` on and before `until`, seconds since the epoch."""
    confidence: tuple[float, ...]
    right: tuple[bool | None, ...]
    """Of each of them; None where nobody judged it."""
    group: tuple[int, ...]
    """Findings of one request are one group."""

    def __post_init__(self) -> None:
        if not len(self.confidence) == len(self.right) == len(self.group):
            raise ValueError("its rows do not fit together")
        if not all(0 <= each <= 1 for each in self.confidence):
            raise ValueError("a confidence is not within 0 and 1")

    def __len__(self) -> int:
        return len(self.right)

    @property
    def judged(self) -> int:
        """How many somebody judged."""
        return sum(right is not None for right in self.right)

    def as_outcomes(self, *, unknown: bool) -> CalibrationOutcomes:
        """Calibration outcomes of them, with what counts where nobody judged."""
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
    """A specialist's spot checks among chosen requests, each with what was said of it, oldest word first."""
    confidence: list[float] = []
    right: list[bool | None] = []
    group: list[int] = []
    for place, (trace, said) in enumerate(checked):
        for finding in (each for each in trace.findings if each.specialist == specialist):
            confidence.append(finding.confidence)
            right.append(_judgement(finding, trace, said))
            group.append(place)
    return SpotChecks(
        version=version,
        share=share,
        since=since,
        until=until,
        confidence=tuple(confidence),
        right=tuple(right),
        group=tuple(group),
    )


def _judgement(finding: Finding, trace: Trace, said: Sequence[Feedback]) -> bool | None:
    """Whether its value is right, accepted or not, by the newest word about it, else about the whole answer."""
    answering = {each.specialist for each in trace.findings if each.accepted}
    for about in (finding.specialist, ""):
        for word in reversed([each for each in said if each.specialist == about]):
            if word.value is not None:
                return word.names(finding.value)
            if word.thumb is not None and (about or answering == {finding.specialist}):
                return word.thumb == "up"
    return None


# --- What they say of the dial -------------------------------------------------------------------


def line_with_checks(judged: CalibrationOutcomes, checks: SpotChecks, *, quality: float, generalist: float) -> Line:
    """From which confidence answers are kept, by calibration outcomes and by spot checks.

    Where the checks show a line with 95% confidence it is taken: they are of what is asked, calibration outcomes of
    what was expected to be. Where they show of the calibrated line that less is kept, nothing is. Else it stands.
    """
    line = keep_from(judged, quality=quality, generalist=generalist)
    shown = keep_from(checks.as_outcomes(unknown=False), quality=quality, generalist=generalist)
    if shown.value is not None:
        return replace(shown, reason=f"by {len(checks):,} spot checks")
    if line.value is not None and _refuted(checks, line.value, quality * generalist, generalist):
        reason = f"{len(checks):,} spot checks show of the calibrated line that not"
        return Line(value=None, kept=0.0, expected=generalist, reason=reason)
    return line


def _refuted(checks: SpotChecks, line: float, aim: float, generalist: float) -> bool:
    """Whether less than the aim is kept, with 95% confidence, even if all that nobody judged was right."""
    best = checks.as_outcomes(unknown=True)
    if not len(checks) or aim <= 0:
        return False
    missing = aim - by_group(np.where(best.confidence >= line, best.right, generalist), best.group)
    return mean_p_value(missing, 0.0, low=aim - 1.0, high=aim, delta=DELTA) <= DELTA


# --- The file ------------------------------------------------------------------------------------


def dump_checks(checks: Mapping[str, SpotChecks]) -> bytes:
    """By specialist, as they are stored."""
    return json.dumps(to_json(checks), indent=1, sort_keys=True).encode()


def load_checks(content: bytes) -> dict[str, SpotChecks]:
    """What was stored. Raises `ArtefactRefused`."""
    try:
        return {name: from_json(SpotChecks, each) for name, each in json.loads(content).items()}
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise ArtefactRefused(
            f"The spot checks in {SPOT_CHECKS_FILE!r} cannot be read: {type(error).__name__} {error}.",
            hint="Fold them in again: coterie spotchecks --update",
        ) from error

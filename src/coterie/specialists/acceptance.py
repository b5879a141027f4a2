"""When a finding is accepted, and the reason in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from coterie.types import Finding, Keep, Task

_FEWEST_DECIMALS, _MOST_DECIMALS = 2, 6
_NOTHING_SHOWN = (
    "confidence {confidence:.2f}; its examples show no confidence that keeps {risk}, so it never decides: "
    "more examples may, or a higher target_risk"
)


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """When a finding is accepted: fitted in training, stored with the version."""

    temperature: float
    """Logits are divided by it."""
    threshold: float | None
    """Lowest confidence accepted; None accepts nothing."""
    target_risk: float
    """Share of wrong answers among accepted ones that the threshold holds."""
    scope_threshold: float | None
    """Lowest in-scope score accepted; None accepts any."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and math.isnan(value):
                raise ValueError(f"{name} is not a number")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature!r}, not above 0")

    def judge(
        self, confidence: float, in_scope: float | None, keep: Keep | None = None, *, guess: str = ""
    ) -> tuple[bool, str]:
        """Accepted or not, and why in words. An acceptance override takes the place of the threshold, not of the scope.

        Args:
            confidence: The probability that the answer is right.
            in_scope: The in-scope score, where there is one.
            keep: The acceptance override of the cost-quality policy.
            guess: What the answer would be, if it is short: whoever is told that it is not sure can then go on.
        """
        unsure = f"not sure enough that it is {guess!r}" if guess else "not sure enough"
        if self.scope_threshold is not None and in_scope is not None and in_scope < self.scope_threshold:
            found, needed = _apart(in_scope, self.scope_threshold)
            return False, f"unlike anything it was trained on (in-scope score {found}, needs {needed})"
        if keep is not None:
            return _kept(confidence, keep, unsure)
        risk = f"the error at {100 * self.target_risk:g}% or below"
        if self.threshold is None:
            return False, f"{unsure} ({_NOTHING_SHOWN.format(confidence=confidence, risk=risk)})"
        found, needed = _apart(confidence, self.threshold)
        if confidence < self.threshold:
            return False, f"{unsure} (confidence {found}, needs {needed})"
        return True, f"confidence {found} reaches {needed}, which keeps {risk}"


def _kept(confidence: float, keep: Keep, unsure: str) -> tuple[bool, str]:
    if keep.confidence is None:
        return False, f"the cost-quality policy accepts no answer of it: {keep.reason}"
    found, needed = _apart(confidence, keep.confidence)
    if confidence < keep.confidence:
        return False, f"{unsure} (confidence {found}, needs {needed}, {keep.reason})"
    return True, f"confidence {found} reaches {needed}, {keep.reason}"


def _apart(found: float, needed: float) -> tuple[str, str]:
    """Two numbers with as many decimals as it takes to tell them apart."""
    for decimals in range(_FEWEST_DECIMALS, _MOST_DECIMALS + 1):
        words = f"{found:.{decimals}f}", f"{needed:.{decimals}f}"
        if words[0] != words[1]:
            return words
    return f"{found:.{_FEWEST_DECIMALS}f}", f"{needed:.{_FEWEST_DECIMALS}f}"


# --- From the probability of an answer to the confidence that it is right.

_SUREST = 1e-6
"""A probability is taken to be at least so far from 0 and from 1."""


@dataclass(frozen=True, kw_only=True)
class ConfidenceLine:
    """A line through the log-odds, fitted in training by `coterie.learning`, stored with the version."""

    slope: float = 1.0
    intercept: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite([self.slope, self.intercept]).all() and self.slope > 0):
            raise ValueError(f"{self!r} does not rise")

    def believe(self, probability: ArrayLike) -> np.ndarray:
        """Confidences, of the probabilities' shape and in their order."""
        said = np.asarray(probability, dtype=float)
        if self == STRAIGHT:
            return said
        sure = np.clip(said, _SUREST, 1 - _SUREST)
        odds = self.intercept + self.slope * np.log(sure / (1 - sure))  # their logarithm
        return np.asarray(np.exp(-np.logaddexp(0.0, -odds)))


STRAIGHT = ConfidenceLine()
"""Leaves probabilities as they are."""

# --- A finding that says nothing but why.


def abstention(specialist: str, task: Task, reason: str) -> Finding:
    """The finding of a specialist that cannot even try."""
    return Finding(
        specialist=specialist,
        value=None,
        text="",
        confidence=0.0,
        accepted=False,
        reason=reason,
        label=task.label,
        impersonal=task.impersonal,
    )


# --- Saying that a text was not read to its end.

NOTE = "only the beginning of the text was read"


def truncated_finding(finding: Finding) -> Finding:
    """The finding of a text of which only the beginning was read, with that behind its reason."""
    return replace(finding, reason=f"{finding.reason}; {NOTE}", truncated=True)

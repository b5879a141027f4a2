"""Decides whether a finding is accepted, and gives the reason."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from coterie.runtime.codec import replace
from coterie.types import AcceptanceOverride, Finding, Reason, Task

_FEWEST_DECIMALS, _MOST_DECIMALS = 2, 6


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """The criteria for accepting a finding: fitted in training, stored with the version."""

    temperature: float
    """Divisor of the logits."""
    threshold: float | None
    """Lowest confidence accepted; None accepts nothing."""
    target_risk: float
    """Share of wrong answers among accepted ones that the threshold guarantees."""
    scope_threshold: float | None
    """Lowest in-scope score accepted; None accepts any."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and math.isnan(value):
                raise ValueError(f"{name} is not a number")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature!r}, not above 0")

    def judge(
        self,
        confidence: float,
        in_scope: float | None,
        override: AcceptanceOverride | None = None,
        *,
        guess: str = "",
    ) -> tuple[bool, Reason]:
        """Return whether a finding is accepted, and why. An override replaces the threshold, not the scope threshold.

        Args:
            confidence: The probability that the answer is right.
            in_scope: The in-scope score, where there is one.
            override: The acceptance override of the cost-quality policy.
            guess: The likely answer, if it is short: the caller can continue with it although it is not sure.
        """
        if self.scope_threshold is not None and in_scope is not None and in_scope < self.scope_threshold:
            apart = _decimals(in_scope, self.scope_threshold)
            return False, Reason("abstain.out_of_scope", in_scope=in_scope, needed=self.scope_threshold, decimals=apart)
        if override is not None:
            return overridden(confidence, override, guess)
        risk = 100 * self.target_risk
        if self.threshold is None:
            return False, Reason("abstain.no_threshold", guess=guess, confidence=confidence, risk_percent=risk)
        needed, apart = self.threshold, _decimals(confidence, self.threshold)
        if confidence < needed:
            return False, Reason(
                "abstain.below_threshold", guess=guess, confidence=confidence, needed=needed, decimals=apart
            )
        return True, Reason(
            "accept.above_threshold", confidence=confidence, needed=needed, decimals=apart, risk_percent=risk
        )


def overridden(confidence: float, override: AcceptanceOverride, guess: str = "") -> tuple[bool, Reason]:
    """Return whether an acceptance override accepts an answer, and why."""
    if override.confidence is None:
        return False, Reason("abstain.override_accepts_nothing", why=override.reason)
    needed = override.confidence
    about: dict[str, float | Reason] = {
        "confidence": confidence,
        "needed": needed,
        "decimals": _decimals(confidence, needed),
        "why": override.reason,
    }
    if confidence < needed:
        return False, Reason("abstain.below_override", guess=guess, **about)
    return True, Reason("accept.above_override", **about)


def _decimals(value: float, needed: float) -> int:
    """Return the number of decimals with which two numbers are shown: enough to tell them apart."""
    for decimals in range(_FEWEST_DECIMALS, _MOST_DECIMALS + 1):
        if f"{value:.{decimals}f}" != f"{needed:.{decimals}f}":
            return decimals
    return _FEWEST_DECIMALS


# --- From the probability of an answer to the confidence that it is right.

_SUREST = 1e-6
"""A probability is clipped to at least this distance from 0 and from 1."""


@dataclass(frozen=True, kw_only=True)
class ConfidenceLine:
    """A line through the log-odds, fitted in training by `coterie.learning`, stored with the version."""

    slope: float = 1.0
    intercept: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite([self.slope, self.intercept]).all() and self.slope > 0):
            raise ValueError(f"{self!r} does not rise")

    def believe(self, probability: ArrayLike) -> np.ndarray:  # (...) -> (...)
        """Return confidences for probabilities, in their shape and order."""
        probabilities = np.asarray(probability, dtype=float)
        if self == STRAIGHT:
            return probabilities
        sure = np.clip(probabilities, _SUREST, 1 - _SUREST)
        odds = self.intercept + self.slope * np.log(sure / (1 - sure))  # their logarithm
        return np.asarray(np.exp(-np.logaddexp(0.0, -odds)))


STRAIGHT = ConfidenceLine()
"""The line that leaves probabilities unchanged."""

# --- A finding that says nothing but why.


def abstention(specialist: str, task: Task, reason: Reason) -> Finding:
    """Return the finding of a specialist that cannot even try."""
    return Finding(
        specialist=specialist,
        value=None,
        text="",
        confidence=0.0,
        accepted=False,
        reason=reason,
        label=task.label,
        label_without_pii=task.label_without_pii,
    )


# --- Saying that a text was not read to its end.


def truncated_finding(finding: Finding) -> Finding:
    """Return the finding of a text that was only partly read, with a note on that added to its reason."""
    return replace(finding, reason=finding.reason.noting(Reason("note.text_truncated")), truncated=True)

"""The cost-quality policy of a running network: accept thresholds for a wanted quality, limits for a budget.

For a `quality` a specialist's answer is accepted from another confidence than its own threshold: the lowest from which
its calibration outcomes show that the whole, the generalist's answers included, keeps that share of the generalist's
quality. A `budget` limits what may be spent on models that cost money.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from coterie.errors import InputError
from coterie.policy.acceptance import AcceptThreshold, CalibrationOutcomes, find_accept_threshold, mean_interval
from coterie.policy.outcomes import RecordedOutcomes
from coterie.policy.spot_checks import SpotChecks, find_checked_threshold
from coterie.runtime.values import replace
from coterie.types import AcceptanceOverride, Reason, Request, Task
from coterie.types.usage import check_money

_MOST_THRESHOLDS = 1000
_FEWEST = 60
"""Outcomes of a domain from which the generalist's accuracy is estimated for that domain alone."""


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What the policy optimises for: exactly one of the two."""

    quality: float | None = None
    """Share of the generalist's quality to keep, 0 to 1."""
    budget: Decimal | None = None
    """Money per 1,000 requests."""

    def __post_init__(self) -> None:
        if (self.quality is None) == (self.budget is None):
            raise InputError(f"Asked for quality {self.quality!r} and budget {self.budget}: give one of the two.")
        if self.quality is not None and not 0 <= self.quality <= 1:
            raise InputError(
                f"Asked for a quality of {self.quality!r}; it is the share of the generalist's quality to keep, 0 to 1."
            )
        if self.budget is not None:
            try:
                check_money(self.budget)
            except ValueError as error:
                said = f"Asked for a budget of {str(self.budget)[:100]} per 1,000 requests; {error}."
                raise InputError(said) from None

    def __str__(self) -> str:
        if self.quality is not None:
            return f"quality {self.quality:g}"
        return f"budget {self.budget} per 1,000"


@dataclass(kw_only=True)
class CostQualityPolicy:
    """The network's aim, which a request may override, and what the accept thresholds are derived from."""

    default: Aim | None = None
    known: Mapping[str, CalibrationOutcomes] = field(default_factory=dict)
    """Calibration outcomes by specialist; one without any keeps its own threshold."""
    checked: Mapping[str, SpotChecks] = field(default_factory=dict)
    """Spot checks by specialist, of the version that serves."""
    generalist: float = 1.0
    """Accuracy of the generalist; 1, the highest possible, where no outcome of it is recorded."""
    source: str = "taken to be always right: no outcome of it is recorded"
    """Where that number comes from."""
    domains: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    """Accuracy of the generalist and its source by specialist, where outcomes of that domain are recorded."""
    _thresholds: dict[tuple[str, float], AcceptThreshold] = field(default_factory=dict, repr=False)

    def aim_of(self, request: Request) -> Aim | None:
        """Return a request's own aim, else the network's. Raises `InputError` where it is not valid."""
        if request.quality is None and request.budget is None:
            return self.default
        return Aim(quality=request.quality, budget=request.budget)

    def set_for(self, task: Task, specialist: str, request: Request) -> Task:
        """Return a task as a specialist gets it: with an acceptance override where the aim is a quality."""
        aim = self.aim_of(request)
        if aim is None or aim.quality is None or specialist not in self.known:
            return task
        source = self._generalist_on(specialist)[1]
        threshold = self.threshold(specialist, aim.quality)
        if threshold.value is None:
            why = threshold.reason or Reason("policy.not_shown")
            reason = Reason("policy.keeps_nothing", why=why, quality=aim.quality, source=source)
            return replace(task, acceptance_override=AcceptanceOverride(confidence=None, reason=reason))
        reason = Reason(
            "policy.keeps",
            quality=aim.quality,
            source=source,
            expected=threshold.expected_quality,
            escalated=1 - threshold.accepted_share,
            by="" if threshold.reason is None else threshold.reason,
        )
        return replace(task, acceptance_override=AcceptanceOverride(confidence=threshold.value, reason=reason))

    def threshold(self, specialist: str, quality: float) -> AcceptThreshold:
        """Return the accept threshold of a specialist for a quality; computed once for each pair."""
        key = (specialist, round(quality, 3))
        if key not in self._thresholds:
            if len(self._thresholds) >= _MOST_THRESHOLDS:
                self._thresholds.clear()
            self._thresholds[key] = self._find(specialist, key[1])
        return self._thresholds[key]

    def _find(self, specialist: str, quality: float) -> AcceptThreshold:
        known, checks = self.known[specialist], self.checked.get(specialist)
        generalist = self._generalist_on(specialist)[0]
        if checks is None:
            return find_accept_threshold(known, quality=quality, generalist=generalist)
        return find_checked_threshold(known, checks, quality=quality, generalist=generalist)

    def _generalist_on(self, specialist: str) -> tuple[float, str]:
        """Accuracy of the generalist on a specialist's prompts, and its source."""
        return self.domains.get(specialist, (self.generalist, self.source))


def generalist_quality(outcomes: RecordedOutcomes, model: str) -> tuple[float, str]:
    """Return the accuracy of a generalist by recorded outcomes, and its source.

    It is the upper end of the mean's 95% interval: what is kept is a share of it, so a high estimate is the safe one.

    Raises:
        DataError: the outcomes are of other models.
    """
    return _upper_end(outcomes.scores_of(model), "recorded outcomes")


def generalist_by_domain(outcomes: RecordedOutcomes, model: str) -> dict[str, tuple[float, str]]:
    """Return the same by domain, where there are enough outcomes: a large model is not equally good at everything.

    Raises:
        DataError: the outcomes are of other models.
    """
    scores = outcomes.scores_of(model)
    asked, domains = ~np.isnan(scores), outcomes.domains
    found = {}
    for domain in sorted(set(domains) - {""}):
        rows = asked & (domains == domain)
        if rows.sum() >= _FEWEST:
            found[domain] = _upper_end(scores[rows], f"recorded outcomes of {domain}")
    return found


def _upper_end(scores: np.ndarray, what: str) -> tuple[float, str]:
    scores = scores[~np.isnan(scores)]
    high = mean_interval(scores)[1]
    high = 1.0 if np.isnan(high) else min(1.0, high)
    return high, f"{scores.mean():.3f} of {len(scores):,} {what}, {high:.3f} at most"

"""The dial of a running network: what it means for each specialist.

For a `quality` a specialist's answer is kept from another confidence than its own threshold: the lowest from which
its calibration outcomes show that the whole, the generalist's answers included, keeps that share of its quality.
What a `budget` lets be spent is held by `coterie.limits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from coterie.cascade.dial import Aim
from coterie.cascade.keep import CalibrationOutcomes, Line, keep_from
from coterie.cascade.outcomes import Outcomes
from coterie.cascade.risk import mean_interval
from coterie.cascade.spot import SpotChecks, line_with_checks
from coterie.types import Keep, Request, Task

_MOST_LINES = 1000
_FEWEST = 60
"""Outcomes of a domain from which they count by themselves."""


@dataclass(kw_only=True)
class NetworkDial:
    """Where the dial of a network stands, unless a request says otherwise."""

    default: Aim | None = None
    known: Mapping[str, CalibrationOutcomes] = field(default_factory=dict)
    """Calibration outcomes by specialist; one without any keeps its own threshold."""
    checked: Mapping[str, SpotChecks] = field(default_factory=dict)
    """Spot checks by specialist, of the version that serves."""
    generalist: float = 1.0
    """How often it is right; 1, the most that it can be, where no outcome of it is recorded."""
    source: str = "taken to be always right: no outcome of it is recorded"
    """Where that number comes from."""
    domains: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    """The same by specialist, where outcomes of its own domain are recorded: how often it is right, and the source."""
    _lines: dict[tuple[str, float], Line] = field(default_factory=dict, repr=False)

    def aim_of(self, request: Request) -> Aim | None:
        """A request's own aim, else the network's. Raises `InputError` where it is none."""
        if request.quality is None and request.budget is None:
            return self.default
        return Aim(quality=request.quality, budget=request.budget)

    def set_for(self, task: Task, specialist: str, request: Request) -> Task:
        """A task as a specialist gets it: with the confidence from which its answer is kept, if the dial says one."""
        aim = self.aim_of(request)
        if aim is None or aim.quality is None or specialist not in self.known:
            return task
        source = self._generalist_on(specialist)[1]
        line, large = self.line(specialist, aim.quality), f"the generalist's quality ({source})"
        if line.value is None:
            return replace(task, keep=Keep(confidence=None, reason=f"{line.reason} {aim.quality:g} of {large} is kept"))
        sent = f"{1 - line.kept:.0%} of such requests go to it"
        by = f", {line.reason}" if line.reason else ""
        reason = f"which keeps {aim.quality:g} of {large}: {line.expected:.3f} expected, {sent}{by}"
        return replace(task, keep=Keep(confidence=line.value, reason=reason))

    def line(self, specialist: str, quality: float) -> Line:
        """From which confidence a specialist's answer is kept; worked out once for a quality."""
        key = (specialist, round(quality, 3))
        if key not in self._lines:
            if len(self._lines) >= _MOST_LINES:
                self._lines.clear()
            generalist = self._generalist_on(specialist)[0]
            self._lines[key] = self._line(specialist, key[1], generalist)
        return self._lines[key]

    def _line(self, specialist: str, quality: float, generalist: float) -> Line:
        known, checks = self.known[specialist], self.checked.get(specialist)
        if checks is None:
            return keep_from(known, quality=quality, generalist=generalist)
        return line_with_checks(known, checks, quality=quality, generalist=generalist)

    def _generalist_on(self, specialist: str) -> tuple[float, str]:
        """How often the generalist is right on a specialist's prompts, and where that comes from."""
        return self.domains.get(specialist, (self.generalist, self.source))


def generalist_quality(outcomes: Outcomes, model: str) -> tuple[float, str]:
    """How often a generalist is right by recorded outcomes, and where the number comes from.

    The upper end of the mean's 95% interval: what is kept is a share of it, so a high guess is the careful one.

    Raises:
        DataError: the outcomes are of other models.
    """
    return _upper_end(outcomes.scores[:, outcomes.model(model)], "recorded outcomes")


def generalist_by_domain(outcomes: Outcomes, model: str) -> dict[str, tuple[float, str]]:
    """The same for each domain that has outcomes enough of it: a large model is not as good at everything.

    Raises:
        DataError: the outcomes are of other models.
    """
    scores = outcomes.scores[:, outcomes.model(model)]
    asked = ~np.isnan(scores)
    found = {}
    for domain in sorted(set(outcomes.domains) - {""}):
        rows = asked & (outcomes.domains == domain)
        if rows.sum() >= _FEWEST:
            found[domain] = _upper_end(scores[rows], f"recorded outcomes of {domain}")
    return found


def _upper_end(scores: np.ndarray, what: str) -> tuple[float, str]:
    scores = scores[~np.isnan(scores)]
    high = mean_interval(scores)[1]
    high = 1.0 if np.isnan(high) else min(1.0, high)
    return high, f"{scores.mean():.3f} of {len(scores):,} {what}, {high:.3f} at most"

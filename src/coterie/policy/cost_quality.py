"""The cost-quality policy of a running network: accept thresholds and limits, from recorded outcomes of each model.

For a `quality` a specialist's answer is accepted from another confidence than its own threshold: the lowest from which
its calibration outcomes show that the whole, the generalist's answers included, keeps that share of the generalist's
quality. A `budget` limits what may be spent on models that cost money.

A record is one prompt with the models that were asked:

    {"prompt": "...", "models": {"small": {"score": 1, "cost": 0.00001, "confidence": 0.93, "tokens": 212},
                                 "large": {"score": 1, "cost": "0.0031"}}}

`score` is how good the answer was, 0 to 1. `cost` is the money it took; left out or null, it is unknown, never 0.
`confidence` (0 to 1) or `logprob` (0 or below) is the model's own confidence. `answer` shows whether two models agree.
`tokens` are those of the prompt and the answer. A model that was not asked is left out. `domain`, beside `prompt`, is
optional and names the kind of prompt, such as the specialist that it is for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from pathlib import Path

import numpy as np

from coterie.errors import DataError, InputError
from coterie.learning.files import Lines, Record, open_lines, read_records
from coterie.policy.acceptance import (
    AcceptThreshold,
    CalibrationOutcomes,
    SpotChecks,
    find_accept_threshold,
    find_checked_threshold,
    mean_interval,
)
from coterie.runtime.codec import replace
from coterie.types import AcceptanceOverride, Reason, Request, Task
from coterie.types.usage import check_money

_HINT = '{"prompt": "...", "models": {"small": {"score": 1, "cost": 0.0001}, "large": {"score": 1, "cost": 0.003}}}'
_KNOWN = {"score", "cost", "confidence", "logprob", "answer", "tokens"}


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One model's answer to one prompt."""

    score: float
    """Quality of the answer, 0 to 1."""
    cost: float | None = None
    """Money; None is unknown."""
    confidence: float | None = None
    """The model's own confidence in its answer, 0 to 1, not calibrated."""
    answer: str | None = None
    tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class RecordedOutcome:
    """One prompt with the attempt of each model that was asked."""

    prompt: str
    attempts: Mapping[str, Attempt]
    domain: str = ""
    """Kind of prompt; empty where none was given."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedOutcomes:
    """Recorded outcomes in the order of their file."""

    rows: tuple[RecordedOutcome, ...]
    models: tuple[str, ...]
    """Every model of any row, in the order of first mention."""

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def domains(self) -> np.ndarray:  # (N,) of str
        """The domain of each prompt; empty where none was given."""
        return np.array([row.domain for row in self.rows], dtype=object)

    def scores_of(self, model: str) -> np.ndarray:  # (N,)
        """Return a model's scores; nan if it was not asked. Raises `DataError` for an unknown model."""
        self.column_of(model)
        attempts = (row.attempts.get(model) for row in self.rows)
        return np.array([np.nan if attempt is None else attempt.score for attempt in attempts])

    def column_of(self, model: str) -> int:
        """Return the position of a model in `models`. Raises `DataError`."""
        if model not in self.models:
            raise DataError(f"Asked for model {model!r}; the outcomes are of {list(self.models)}.")
        return self.models.index(model)


def read_outcomes(path: Path) -> RecordedOutcomes:
    """Read the recorded outcomes of a JSONL file.

    Raises:
        DataError: the file cannot be read, or a record has another form than this module says; the message names the
            line.
    """
    with open_lines(path) as lines:
        rows = [_outcome(record, lines) for record in read_records(lines, wanted=(), check_names=_refuse_csv)]
    if not rows:
        raise DataError(f"{path.name} has no outcomes.", hint=f"One record a line: {_HINT}")
    return RecordedOutcomes(
        rows=tuple(rows), models=tuple(dict.fromkeys(name for row in rows for name in row.attempts))
    )


def _refuse_csv(names: Sequence[str]) -> None:
    raise DataError(
        f"Recorded outcomes are JSONL; this file starts like a CSV with {list(names)[:5]}.", hint=f"One a line: {_HINT}"
    )


def _outcome(record: Record, lines: Lines) -> RecordedOutcome:
    prompt, models = record.cells.get("prompt"), record.cells.get("models")
    if not isinstance(prompt, str) or not prompt.strip():
        raise lines.error(f"has the prompt {prompt!r}, which is no text", f"A record: {_HINT}", line=record.line)
    if not isinstance(models, dict) or not models:
        problem = f"has models {str(models)[:60]!r}, which are no object of models" if models else "has no models"
        raise lines.error(problem, f"A record: {_HINT}", line=record.line)
    domain = record.cells.get("domain")
    if domain is not None and not isinstance(domain, str):
        raise lines.error(f"has the domain {domain!r}, which is no text", f"A record: {_HINT}", line=record.line)
    attempts = {str(name): _attempt(name, cell, record, lines) for name, cell in models.items()}
    return RecordedOutcome(prompt=prompt, attempts=attempts, domain=(domain or "").strip())


def _attempt(name: str, cell: object, record: Record, lines: Lines) -> Attempt:
    if not isinstance(cell, dict):
        raise lines.error(f"has {cell!r} for model {name!r}, not an object", f"A record: {_HINT}", line=record.line)
    unknown = sorted(map(str, cell.keys() - _KNOWN))
    if unknown:
        hint = f"Known keys are {', '.join(sorted(_KNOWN))}."
        raise lines.error(f"has unknown keys {unknown} for model {name!r}", hint, line=record.line)

    def number(key: str, low: float, high: float) -> float | None:
        return _number(cell.get(key), f"{key} of model {name!r}", (low, high), record, lines)

    score, logprob = number("score", 0, 1), number("logprob", -math.inf, 0)
    if score is None:
        raise lines.error(f"has no score for model {name!r}", "How good the answer was, 0 to 1.", line=record.line)
    tokens, answer = number("tokens", 0, math.inf), cell.get("answer")
    return Attempt(
        score=score,
        cost=number("cost", 0, math.inf),
        confidence=number("confidence", 0, 1) if logprob is None else math.exp(logprob),
        answer=None if answer is None else str(answer),
        tokens=None if tokens is None else int(tokens),
    )


def _number(value: object, what: str, bounds: tuple[float, float], record: Record, lines: Lines) -> float | None:
    """Return a cell as a number within bounds; None if it is empty. True and false are 1 and 0."""
    if value is None:
        return None
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        number = math.nan
    low, high = bounds
    if not (math.isfinite(number) and low <= number <= high):
        span = f"{low:g} to {high:g}"
        span = f"{low:g} or more" if high == math.inf else f"{high:g} or less" if low == -math.inf else span
        raise lines.error(f"has {value!r} as the {what}, which is no number of {span}", line=record.line)
    return number


_MOST_THRESHOLDS = 1000
_FEWEST = 60
"""Outcomes of a domain from which the generalist's accuracy is estimated for that domain alone."""


@dataclass(frozen=True, kw_only=True)
class Aim:
    """The objective of the policy: exactly one of the two."""

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
                problem = f"Asked for a budget of {str(self.budget)[:100]} per 1,000 requests; {error}."
                raise InputError(problem) from None

    def __str__(self) -> str:
        if self.quality is not None:
            return f"quality {self.quality:g}"
        return f"budget {self.budget} per 1,000"


@dataclass(kw_only=True)
class CostQualityPolicy:
    """The network's objective, which a request may override, and the data for the accept thresholds."""

    default: Aim | None = None
    known: Mapping[str, CalibrationOutcomes] = field(default_factory=dict)
    """Calibration outcomes by specialist; a specialist without any keeps its own threshold."""
    checked: Mapping[str, SpotChecks] = field(default_factory=dict)
    """Spot checks by specialist, for the version in service."""
    generalist: float = 1.0
    """Accuracy of the generalist; 1, the highest possible, if none of its outcomes is recorded."""
    source: str = "taken to be always right: no outcome of it is recorded"
    """Source of the generalist's accuracy."""
    domains: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    """Accuracy of the generalist and its source by specialist, if outcomes of that domain are recorded."""
    _thresholds: dict[tuple[str, float], AcceptThreshold] = field(default_factory=dict, repr=False)

    def aim_of(self, request: Request) -> Aim | None:
        """Return a request's own aim, else the network's. Raises `InputError` if it is not valid."""
        if request.quality is None and request.budget is None:
            return self.default
        return Aim(quality=request.quality, budget=request.budget)

    def set_for(self, task: Task, specialist: str, request: Request) -> Task:
        """Return a specialist's task: with an acceptance override if the aim is a quality."""
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
        outcomes, checks = self.known[specialist], self.checked.get(specialist)
        generalist = self._generalist_on(specialist)[0]
        if checks is None:
            return find_accept_threshold(outcomes, quality=quality, generalist=generalist)
        return find_checked_threshold(outcomes, checks, quality=quality, generalist=generalist)

    def _generalist_on(self, specialist: str) -> tuple[float, str]:
        """Return the accuracy of the generalist on a specialist's prompts, and its source."""
        return self.domains.get(specialist, (self.generalist, self.source))


def generalist_quality(outcomes: RecordedOutcomes, model: str) -> tuple[float, str]:
    """Return the accuracy of a generalist by recorded outcomes, and its source.

    It is the upper end of the mean's 95% interval: a share of it is to be kept, so a high estimate is the safe
    one.

    Raises:
        DataError: the outcomes are of other models.
    """
    return _upper_end(outcomes.scores_of(model), "recorded outcomes")


def generalist_by_domain(outcomes: RecordedOutcomes, model: str) -> dict[str, tuple[float, str]]:
    """Return a generalist's accuracy by domain, with enough outcomes: a large model is not equally good at everything.

    Raises:
        DataError: the outcomes are of other models.
    """
    scores = outcomes.scores_of(model)
    scored, domains = ~np.isnan(scores), outcomes.domains
    by_domain = {}
    for domain in sorted(set(domains) - {""}):
        rows = scored & (domains == domain)
        if rows.sum() >= _FEWEST:
            by_domain[domain] = _upper_end(scores[rows], f"recorded outcomes of {domain}")
    return by_domain


def _upper_end(scores: np.ndarray, what: str) -> tuple[float, str]:
    scores = scores[~np.isnan(scores)]
    high = mean_interval(scores)[1]
    high = 1.0 if np.isnan(high) else min(1.0, high)
    return high, f"{scores.mean():.3f} of {len(scores):,} {what}, {high:.3f} at most"

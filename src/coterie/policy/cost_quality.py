"""The cost-quality policy: which model answers at which cost; accept thresholds, stops of chains, and spot checks.

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
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from math import log, sqrt
from pathlib import Path

import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from coterie.errors import ArtefactRefused, DataError, InputError
from coterie.learning.reading import Lines, Record, open_lines, read_records
from coterie.runtime.codec import from_json, parse_json, replace, to_json
from coterie.types import AcceptanceOverride, Feedback, Finding, Reason, Request, Task, Trace
from coterie.types.usage import check_money

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


# --- The cost-quality policy of a running network: accept thresholds and limits, from recorded outcomes of each model.

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

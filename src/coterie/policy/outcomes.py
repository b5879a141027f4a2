"""Recorded outcomes: how well each model answered a prompt and at what cost, read from JSONL.

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
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from coterie.errors import DataError
from coterie.learning.files import Lines, Record, open_lines, read_records

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
        """Return a model's scores; nan where it was not asked. Raises `DataError` for a model that is not there."""
        self.column_of(model)
        attempts = (row.attempts.get(model) for row in self.rows)
        return np.array([np.nan if attempt is None else attempt.score for attempt in attempts])

    def column_of(self, model: str) -> int:
        """Return the place of a model in `models`. Raises `DataError`."""
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
        found = f"has models {str(models)[:60]!r}, which are no object of models" if models else "has no models"
        raise lines.error(found, f"A record: {_HINT}", line=record.line)
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
        known = f"Known keys are {', '.join(sorted(_KNOWN))}."
        raise lines.error(f"has unknown keys {unknown} for model {name!r}", known, line=record.line)

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
    """A cell as a number within bounds; None where there is none. True and false are 1 and 0."""
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

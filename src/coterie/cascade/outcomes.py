"""Recorded outcomes: what each model made of a prompt, how well, at what cost. Read from JSONL, kept as arrays.

A record is one prompt with the models that were asked:

    {"prompt": "...", "models": {"small": {"score": 1, "cost": 0.00001, "confidence": 0.93, "tokens": 212},
                                 "large": {"score": 1, "cost": "0.0031"}}}

`score` is how good the answer was, 0 to 1. `cost` is the money it took; left out or null, it is unknown, never 0.
`confidence` (0 to 1) or `logprob` (0 or below) is what the model itself said of its answer. `answer` lets a cascade see
whether two models agree. `tokens` are those of the prompt and the answer. A model that was not asked is left out.
`domain`, beside `prompt`, says what kind of prompt it is, such as the specialist that it is for; it may be left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from coterie.engines.unicode import estimate_tokens
from coterie.errors import DataError
from coterie.learning.files import Lines, Record, open_lines, read_records

_HINT = '{"prompt": "...", "models": {"small": {"score": 1, "cost": 0.0001}, "large": {"score": 1, "cost": 0.003}}}'
_KNOWN = {"score", "cost", "confidence", "logprob", "answer", "tokens"}
_SURE = 1e-9
"""Confidences are cut to this far from 0 and 1."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One model's answer to one prompt."""

    score: float
    """How good it was, 0 to 1."""
    cost: float | None = None
    """Money; None is unknown."""
    confidence: float | None = None
    """What the model said of its own answer, 0 to 1, not calibrated."""
    answer: str | None = None
    tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one prompt at each model that was asked."""

    prompt: str
    attempts: Mapping[str, Attempt]
    domain: str = ""
    """What kind of prompt it is; empty where nobody said."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes:
    """Recorded outcomes in the order of their file. Row N, model M; nan where nothing is known."""

    rows: tuple[Outcome, ...]
    models: tuple[str, ...]
    """Every model of any row, in the order of first mention."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def prompts(self) -> list[str]:
        """The texts, one a row."""
        return [row.prompt for row in self.rows]

    @cached_property
    def domains(self) -> np.ndarray:  # (N,) of str
        """What kind of prompt each is; empty where nobody said."""
        return np.array([row.domain for row in self.rows], dtype=object)

    @cached_property
    def scores(self) -> np.ndarray:  # (N, M)
        """How good each answer was."""
        return self._table("score")

    @cached_property
    def costs(self) -> np.ndarray:  # (N, M)
        """Money for each answer."""
        return self._table("cost")

    def undominated(self) -> list[int]:
        """The columns of the models that are better than all cheaper ones, the cheapest first."""
        prices, quality = self.costs.mean(axis=0), self.scores.mean(axis=0)
        kept: list[int] = []
        for column in np.lexsort((-quality, prices)).tolist():
            if not kept or quality[column] > quality[kept[-1]]:
                kept.append(column)
        return kept

    @cached_property
    def confidences(self) -> np.ndarray:  # (N, M)
        """What each model said of its own answer."""
        return self._table("confidence")

    @cached_property
    def answers(self) -> np.ndarray:  # (N, M) of str or None
        """The answers, without what does not matter when they are compared: case, spaces, punctuation."""
        table = np.full((len(self.rows), len(self.models)), None, dtype=object)
        for i, row in enumerate(self.rows):
            for j, name in enumerate(self.models):
                attempt = row.attempts.get(name)
                if attempt is not None and attempt.answer is not None:
                    table[i, j] = "".join(c for c in attempt.answer.casefold() if c.isalnum())
        return table

    def take(self, rows: Sequence[int] | np.ndarray) -> Outcomes:
        """Some of the rows, with all of the models."""
        return Outcomes(rows=tuple(self.rows[int(row)] for row in rows), models=self.models)

    def within(self, windows: Mapping[str, int]) -> Outcomes:
        """Without the outcomes of models whose window (tokens) the prompt does not fit: it is never sent to them.

        Raises:
            DataError: a window is of another model.
        """
        for name in windows:
            self.model(name)
        rows = []
        for row in self.rows:
            fits = {
                name: attempt
                for name, attempt in row.attempts.items()
                if name not in windows or _tokens(row.prompt, attempt) <= windows[name]
            }
            rows.append(replace(row, attempts=fits))
        return Outcomes(rows=tuple(rows), models=self.models)

    def model(self, name: str) -> int:
        """The column of a model. Raises `DataError`."""
        if name not in self.models:
            raise DataError(f"Asked for model {name!r}; the outcomes are of {list(self.models)}.")
        return self.models.index(name)

    def _table(self, field: str) -> np.ndarray:
        table = np.full((len(self.rows), len(self.models)), np.nan)
        places = {name: j for j, name in enumerate(self.models)}
        for i, row in enumerate(self.rows):
            for name, attempt in row.attempts.items():
                value = getattr(attempt, field)
                table[i, places[name]] = np.nan if value is None else value
        return table


def _tokens(prompt: str, attempt: Attempt) -> int:
    """As recorded, else estimated."""
    return estimate_tokens(prompt) if attempt.tokens is None else attempt.tokens


def read_outcomes(path: Path, *, models: Sequence[str] | None = None) -> Outcomes:
    """The recorded outcomes of a JSONL file.

    Args:
        path: The file.
        models: Their order where it is given; every one must be in the file.

    Raises:
        DataError: the file cannot be read, or a record is not what the module says; the message names the line.
    """
    with open_lines(path) as lines:
        rows = [_outcome(record, lines) for record in read_records(lines, wanted=(), check_names=_refuse_csv)]
    if not rows:
        raise DataError(f"{path.name} has no outcomes.", hint=f"One record a line: {_HINT}")
    return Outcomes(rows=tuple(rows), models=_order(rows, models, path.name))


def _refuse_csv(names: Sequence[str]) -> None:
    raise DataError(
        f"Recorded outcomes are JSONL; this file starts like a CSV with {list(names)[:5]}.", hint=f"One a line: {_HINT}"
    )


def _order(rows: Sequence[Outcome], wanted: Sequence[str] | None, name: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(model for row in rows for model in row.attempts))
    missing = sorted(set(wanted or ()) - set(found))
    if missing:
        raise DataError(f"{name} has no outcome of {missing}; its models are {list(found)}.")
    return tuple(dict.fromkeys((*(wanted or ()), *found)))


def _outcome(record: Record, lines: Lines) -> Outcome:
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
    return Outcome(prompt=prompt, attempts=attempts, domain=(domain or "").strip())


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


def log_odds(confidence: np.ndarray) -> np.ndarray:
    """The logit of confidences, cut short of certainty."""
    p = np.clip(confidence, _SURE, 1 - _SURE)
    return np.asarray(np.log(p) - np.log1p(-p))

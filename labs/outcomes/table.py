"""Recorded outcomes as matrices: row N, model M; nan where nothing is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from coterie.policy.cost_quality import Attempt, RecordedOutcomes, read_outcomes
from coterie.text.folding import estimate_tokens


@dataclass(frozen=True, kw_only=True, eq=False)
class OutcomeTable(RecordedOutcomes):
    """Recorded outcomes with the matrices that policies are fitted to and replayed on."""

    @property
    def prompts(self) -> list[str]:
        """The texts, one a row."""
        return [row.prompt for row in self.rows]

    @cached_property
    def scores(self) -> np.ndarray:  # (N, M)
        """Quality of each answer."""
        return self._matrix("score")

    @cached_property
    def costs(self) -> np.ndarray:  # (N, M)
        """Money for each answer."""
        return self._matrix("cost")

    @cached_property
    def confidences(self) -> np.ndarray:  # (N, M)
        """Each model's own confidence."""
        return self._matrix("confidence")

    @cached_property
    def answers(self) -> np.ndarray:  # (N, M) of str or None
        """The answers without case, spaces and punctuation, so that they can be compared."""
        table = np.full((len(self.rows), len(self.models)), None, dtype=object)
        for i, row in enumerate(self.rows):
            for j, name in enumerate(self.models):
                attempt = row.attempts.get(name)
                if attempt is not None and attempt.answer is not None:
                    table[i, j] = "".join(c for c in attempt.answer.casefold() if c.isalnum())
        return table

    def undominated(self) -> list[int]:
        """Return the columns of the models that are better than all cheaper ones, the cheapest first."""
        prices, quality = self.costs.mean(axis=0), self.scores.mean(axis=0)
        kept: list[int] = []
        for column in np.lexsort((-quality, prices)).tolist():
            if not kept or quality[column] > quality[kept[-1]]:
                kept.append(column)
        return kept

    def take(self, rows: Sequence[int] | np.ndarray) -> OutcomeTable:
        """Return some of the rows, with all of the models."""
        return OutcomeTable(rows=tuple(self.rows[int(row)] for row in rows), models=self.models)

    def within(self, windows: Mapping[str, int]) -> OutcomeTable:
        """Return the table without outcomes of models whose window (tokens) the prompt does not fit.

        Raises:
            DataError: a window is of another model.
        """
        for name in windows:
            self.column_of(name)
        rows = []
        for row in self.rows:
            fits = {
                name: attempt
                for name, attempt in row.attempts.items()
                if name not in windows or _tokens(row.prompt, attempt) <= windows[name]
            }
            rows.append(replace(row, attempts=fits))
        return OutcomeTable(rows=tuple(rows), models=self.models)

    def _matrix(self, field: str) -> np.ndarray:
        table = np.full((len(self.rows), len(self.models)), np.nan)
        columns = {name: j for j, name in enumerate(self.models)}
        for i, row in enumerate(self.rows):
            for name, attempt in row.attempts.items():
                value = getattr(attempt, field)
                table[i, columns[name]] = np.nan if value is None else value
        return table


def read_table(path: Path) -> OutcomeTable:
    """Read a JSONL file of recorded outcomes as a table. Raises `DataError`."""
    recorded = read_outcomes(path)
    return OutcomeTable(rows=recorded.rows, models=recorded.models)


def _tokens(prompt: str, attempt: Attempt) -> int:
    """As recorded, else estimated."""
    return estimate_tokens(prompt) if attempt.tokens is None else attempt.tokens

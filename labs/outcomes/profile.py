"""Outcome profiles: how well each model would do on a prompt, learned from recorded outcomes.

On public logs, routers that look up how models did on prompts like this one tie with far larger ones (arXiv
2601.07206): the prompt's domain decides. So a profile is a ridge regression of the recorded scores on what a prompt
looks like, one a model. With few outcomes it stays near the model's average, and it moves away from it as far as
leaving each outcome out shows to be right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from coterie.errors import DataError
from labs.outcomes.features import PromptFeatures, fit_features
from labs.outcomes.table import OutcomeTable

MOST_ROWS = 20_000
"""Outcomes that a profile remembers; of more, the newest."""
_PENALTIES = tuple(float(x) for x in np.geomspace(0.25, 16.0, 7))
"""By the row. Weaker ones fit what is left out no worse, and order prompts worse (docs/history/log.md)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OutcomeProfile:
    """Predicts each model's score on a prompt, and what it would cost. It keeps the outcomes it learned from."""

    models: tuple[str, ...]
    features: PromptFeatures
    rows: np.ndarray  # (N, F) float16: the prompts it learned from
    lengths: np.ndarray  # (N,) their characters
    scores: np.ndarray  # (N, M), nan where a model was not asked
    costs: np.ndarray  # (N, M), nan where unknown

    def predict(self, prompts: Sequence[str], vectors: np.ndarray) -> np.ndarray:  # (N, D) -> (N, M)
        """Each model's expected score, 0 to 1.

        Args:
            prompts: the texts.
            vectors: their encodings, of unit length.
        """
        return self.predict_rows(self.features.of(prompts, vectors))

    def predict_rows(self, rows: np.ndarray, *, clipped: bool = True) -> np.ndarray:  # (N, F) -> (N, M)
        """The same for prompts whose features are known; without clipping, scores may order beyond 0 and 1."""
        scores = (rows - self._fit.centre) @ self._fit.weights + self._fit.means
        return np.asarray(np.clip(scores, 0.0, 1.0) if clipped else scores)

    def expected_costs(self, prompts: Sequence[str]) -> np.ndarray:  # (N, M)
        """Each model's expected money, by the prompt's length; nan where no outcome of the model has a cost."""
        lengths = np.array([len(prompt) for prompt in prompts], dtype=float)
        return np.stack([np.maximum(base + slope * lengths, least) for base, slope, least in self._prices], axis=1)

    @property
    def penalty(self) -> float:
        """How strongly predictions are drawn to each model's mean, by the row; chosen by leaving outcomes out."""
        return self._fit.penalty

    @cached_property
    def _fit(self) -> _Fit:
        return _fit_ridge(self.rows.astype(np.float64), self.scores)

    @cached_property
    def _prices(self) -> list[tuple[float, float, float]]:
        return [_price(self.lengths, self.costs[:, column]) for column in range(len(self.models))]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fit:
    centre: np.ndarray  # (F,)
    weights: np.ndarray  # (F, M)
    means: np.ndarray  # (M,)
    penalty: float


def fit_profile(
    outcomes: OutcomeTable, vectors: np.ndarray, *, seed: int, features: PromptFeatures | None = None
) -> OutcomeProfile:
    """The profile of recorded outcomes.

    Args:
        outcomes: At least two rows, and one outcome of every model.
        vectors: (N, D) encodings of the prompts.
        seed: Of the words' axes.
        features: What prompts look like, if it was learned already, from more prompts than these; see `fit_features`.

    Raises:
        DataError: there are too few outcomes.
    """
    if len(outcomes) < 2:
        raise DataError(f"A profile needs two outcomes at least; there is {len(outcomes)}.")
    features = features or fit_features(outcomes.prompts, vectors, seed=seed)
    return profile_of_rows(outcomes, features.of(outcomes.prompts, vectors), features)


def profile_of_rows(outcomes: OutcomeTable, rows: np.ndarray, features: PromptFeatures) -> OutcomeProfile:
    """The profile of outcomes whose prompts' features (N, F) are known."""
    return OutcomeProfile(
        models=outcomes.models,
        features=features,
        rows=rows[-MOST_ROWS:].astype(np.float16),
        lengths=np.array([len(prompt) for prompt in outcomes.prompts])[-MOST_ROWS:],
        scores=outcomes.scores[-MOST_ROWS:],
        costs=outcomes.costs[-MOST_ROWS:],
    )


def _fit_ridge(rows: np.ndarray, scores: np.ndarray) -> _Fit:
    """One ridge regression a model, all with the penalty whose predictions left out say best how models differ."""
    is_known = ~np.isnan(scores)
    centre = rows.mean(axis=0)
    parts = _patterns(is_known)
    solved = [
        _solve(rows[is_known[:, columns[0]]] - centre, scores[is_known[:, columns[0]]][:, columns]) for columns in parts
    ]
    best = int(np.argmin(np.sum([solution.errors for solution in solved], axis=0)))
    weights, means = np.zeros((rows.shape[1], scores.shape[1])), np.zeros(scores.shape[1])
    for columns, solution in zip(parts, solved, strict=True):
        weights[:, columns] = solution.weights[best]
        means[columns] = solution.mean - solution.shift @ solution.weights[best]
    return _Fit(centre=centre, weights=weights, means=means, penalty=_PENALTIES[best])


def _patterns(is_known: np.ndarray) -> list[list[int]]:
    """Columns by which rows they are known on: models asked on the same rows share their algebra."""
    groups: dict[bytes, list[int]] = {}
    for column in range(is_known.shape[1]):
        groups.setdefault(is_known[:, column].tobytes(), []).append(column)
    return list(groups.values())


class _Solved(NamedTuple):
    weights: list[np.ndarray]
    """(F, M) for every penalty."""
    errors: list[float]
    """Of each penalty, where each row is left out in turn."""
    mean: np.ndarray  # (M,)
    shift: np.ndarray  # (F,): the mean of the rows


def _solve(rows: np.ndarray, scores: np.ndarray) -> _Solved:
    """Ridge regressions for every penalty.

    Where several models have the same rows, what counts is how they differ, since that is what is decided by.
    """
    n = len(rows)
    mean, shift = scores.mean(axis=0), rows.mean(axis=0)
    left, values, right = _decompose(rows - shift)
    target = scores - mean
    against = target - target.mean(axis=1, keepdims=True) if target.shape[1] > 1 else target
    projected, wanted = left.T @ target, left.T @ against
    weights, errors = [], []
    for penalty in (strength * n for strength in _PENALTIES):
        shrink = values**2 / (values**2 + penalty)
        leverage = np.minimum((left**2) @ shrink + 1 / n, 1 - 1e-6)
        residual = (against - left @ (shrink[:, None] * wanted)) / (1 - leverage)[:, None]
        errors.append(float((residual**2).sum()))
        weights.append(right.T @ ((values / (values**2 + penalty))[:, None] * projected))
    return _Solved(weights, errors, mean, shift)


def _decompose(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A thin singular value decomposition; of many rows by their scatter, which is far smaller than they are."""
    if len(rows) <= rows.shape[1]:
        left, values, right = np.linalg.svd(rows, full_matrices=False)
        kept = values > values[0] * 1e-6
        return left[:, kept], values[kept], right[kept]
    squares, axes = np.linalg.eigh(rows.T @ rows)
    kept = squares > squares[-1] * 1e-12
    values, axes = np.sqrt(squares[kept]), axes[:, kept]
    return rows @ axes / values, values, axes.T


def _price(lengths: np.ndarray, costs: np.ndarray) -> tuple[float, float, float]:
    """Money as base + slope * characters, and the least it may be; nan without a known cost."""
    is_known = ~np.isnan(costs)
    if not is_known.any():
        return (float("nan"),) * 3
    x, y = lengths[is_known].astype(float), costs[is_known]
    spread = float(x.var())
    slope = max(0.0, float(((x - x.mean()) * (y - y.mean())).mean() / spread)) if spread else 0.0
    return float(y.mean() - slope * x.mean()), slope, float(y.min())

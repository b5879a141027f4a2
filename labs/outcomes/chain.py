"""Chains of models: the first answers, and the next is asked only where the answer is not sure enough.

How sure is calibrated: a logistic regression turns what a model said of its own answer, and whether the model before it
gave the same one, into the probability that it is right (after Zellinger and Thomson 2025, "Rational Tuning of LLM
Cascades via Probabilistic Modeling", whose transformation of confidences it uses). Where to stop is an optimal stopping
problem: an answer is given when its probability is at least what going on is worth, the next model's price deducted.
What that is, is estimated backwards from the last model by regression on the probability (Longstaff and Schwartz 2001).
That gives one threshold a model, smoothly and from few outcomes; searching all combinations of thresholds would fit
their noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from coterie.errors import DataError
from coterie.policy.cost_quality import DELTA, Aim, mean_p_value
from labs.outcomes.table import OutcomeTable

LONGEST = 3
"""Models of one chain, at most: what a further one adds does not pay for asking it."""
FEWEST = 40
"""Outcomes from which a chain can be fitted and tested."""
_SUREST = 1e-4
_STRENGTH = 1.0
_GRID = np.linspace(0.0, 1.0, 201)
_RATES = 60


@dataclass(frozen=True, kw_only=True, eq=False)
class Confidence:
    """Turns what a model said of its answer into the probability that it is right."""

    weights: np.ndarray  # (3,)
    bias: float

    def of(self, confidences: np.ndarray, agrees: np.ndarray) -> np.ndarray:  # (N,), (N,) -> (N,)
        """Calibrated probabilities.

        Args:
            confidences: the model's own confidence, 0 to 1; nan where it said nothing.
            agrees: 1 where the model before it gave the same answer, else 0.
        """
        return np.asarray(expit(_signs(confidences, agrees) @ self.weights + self.bias))


def _signs(confidences: np.ndarray, agrees: np.ndarray) -> np.ndarray:  # (N, 3)
    p = np.clip(np.nan_to_num(confidences, nan=0.5), _SUREST, 1 - _SUREST)
    return np.stack([-np.log1p(-p), np.log(p), agrees], axis=1)


def fit_confidence(confidences: np.ndarray, agrees: np.ndarray, scores: np.ndarray) -> Confidence:
    """The calibration of one model's confidences (N,) by its scores (N,); a score of at least a half is right."""
    # Imported here: only learning needs it, and it costs a second.
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    right = scores >= 0.5
    if right.all() or not right.any():
        share = (right.sum() + 1) / (len(right) + 2)
        return Confidence(weights=np.zeros(3), bias=float(np.log(share / (1 - share))))
    signs = _signs(confidences, agrees)
    centre, scale = signs.mean(axis=0), signs.std(axis=0) + 1e-9
    fitted = LogisticRegression(C=_STRENGTH).fit((signs - centre) / scale, right)
    weights = fitted.coef_[0] / scale
    return Confidence(weights=weights, bias=float(fitted.intercept_[0] - centre @ weights))


class Link(NamedTuple):
    """One model of a chain."""

    model: str
    confidence: Confidence
    threshold: float
    """Its answer is given from this probability on; 0 for the last one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """Models in the order they are asked."""

    links: tuple[Link, ...]
    worth: float = 0.0
    """Expected score less money times the rate it was made for."""

    @property
    def models(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(link.model for link in self.links)

    def walk(self, outcomes: OutcomeTable) -> Walked:
        """What recorded outcomes say it would have given. All its models must have been asked on every row."""
        n = len(outcomes)
        scores, costs, last = np.zeros(n), np.zeros(n), np.full(n, -1)
        still_asked, before = np.ones(n, dtype=bool), None
        for link in self.links:
            column = outcomes.column_of(link.model)
            costs[still_asked] += outcomes.costs[still_asked, column]
            sure = link.confidence.of(outcomes.confidences[:, column], _agreement(outcomes, column, before))
            stops = still_asked & (sure >= link.threshold)
            scores[stops], last[stops] = outcomes.scores[stops, column], column
            still_asked, before = still_asked & ~stops, column
        return Walked(scores, costs, last)


class Walked(NamedTuple):
    """What a chain gave on each row."""

    scores: np.ndarray  # (N,)
    costs: np.ndarray  # (N,) money for all models asked; nan where one is unknown
    last: np.ndarray  # (N,) the column whose answer was given


class Chains:
    """Every chain of a set of models, fitted to outcomes; gives the best for a rate or an aim."""

    def __init__(self, outcomes: OutcomeTable, *, longest: int = LONGEST) -> None:
        """Calibrate.

        Raises:
            DataError: there are too few rows, a model was not asked on every row, or a price is unknown.
        """
        if len(outcomes) < FEWEST:
            raise DataError(f"A chain needs {FEWEST} outcomes at least; there are {len(outcomes)}.")
        if np.isnan(outcomes.scores).any() or np.isnan(outcomes.costs).any():
            raise DataError("A chain is fitted to rows on which every model was asked and every cost is known.")
        self._outcomes = outcomes
        self._prices = outcomes.costs.mean(axis=0)  # (M,)
        columns = np.argsort(self._prices, kind="stable").tolist()
        self._orders = [order for n in range(1, longest + 1) for order in combinations(columns, n)]
        self._sure: dict[tuple[int | None, int], tuple[Confidence, np.ndarray]] = {}

    def rates(self) -> np.ndarray:
        """Exchange rates from 0 to where only the cheapest model is asked."""
        dear, cheap = float(self._prices.max()), float(self._prices[self._prices > 0].min(initial=np.inf))
        if not np.isfinite(cheap) or not dear > 0:
            return np.zeros(1)
        return np.concatenate([[0.0], np.geomspace(1e-3 / dear, 20.0 / cheap, _RATES)])

    def best(self, rate: float) -> Chain:
        """The chain whose expected score less money times `rate` is highest."""
        return max((self._chain(order, rate) for order in self._orders), key=lambda chain: chain.worth)

    def curve(self) -> list[Chain]:
        """The best chain for each rate, from money that does not matter to money that is all."""
        return [self.best(float(rate)) for rate in self.rates()]

    def _chain(self, order: Sequence[int], rate: float) -> Chain:
        fitted = [self._confidence(before, column) for before, column in zip((None, *order), order, strict=False)]
        thresholds, value = [0.0], fitted[-1][1]
        for index in range(len(order) - 2, -1, -1):
            sure, onward = fitted[index][1], value - rate * self._prices[order[index + 1]]
            threshold = _stop_from(sure, onward)
            value = np.where(sure >= threshold, sure, onward)
            thresholds.insert(0, threshold)
        links = [
            Link(self._outcomes.models[column], confidence, threshold)
            for column, (confidence, _), threshold in zip(order, fitted, thresholds, strict=True)
        ]
        return Chain(links=tuple(links), worth=float(value.mean() - rate * self._prices[order[0]]))

    def _confidence(self, before: int | None, column: int) -> tuple[Confidence, np.ndarray]:
        if (before, column) not in self._sure:
            confidences, agrees = self._outcomes.confidences[:, column], _agreement(self._outcomes, column, before)
            fitted = fit_confidence(confidences, agrees, self._outcomes.scores[:, column])
            self._sure[before, column] = fitted, fitted.of(confidences, agrees)
        return self._sure[before, column]


def _stop_from(sure: np.ndarray, onward: np.ndarray) -> float:
    """The lowest probability from which stopping is worth more than going on, which is regressed on it."""
    terms = np.vander(sure, 3, increasing=True)
    weights = np.linalg.solve(terms.T @ terms + 1e-2 * np.eye(3), terms.T @ onward)
    going_on = np.vander(_GRID, 3, increasing=True) @ weights > _GRID
    above = np.flatnonzero(going_on)
    if not len(above):
        return 0.0
    return float(_GRID[above[-1] + 1]) if above[-1] + 1 < len(_GRID) else np.inf


def _agreement(outcomes: OutcomeTable, column: int, before: int | None) -> np.ndarray:  # (N,)
    """1 where a model gave the same answer as the one before it."""
    if before is None:
        return np.zeros(len(outcomes))
    own, other = outcomes.answers[:, column], outcomes.answers[:, before]
    return np.array([float(a is not None and a == b) for a, b in zip(own, other, strict=True)])


# --- For an aim ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ChosenChain:
    """The chain for an aim, and why."""

    chain: Chain
    reason: str


def choose_chain(aim: Aim, outcomes: OutcomeTable, *, generalist: str, seed: int) -> ChosenChain:
    """The cheapest chain that is shown to keep a quality, or the best within a budget.

    Chains are fitted to one half of the outcomes and tested on the other: from the dearest to the cheapest, each must
    be shown with 95% confidence to keep the quality, and the first that is not ends the test.

    Raises:
        DataError: the outcomes do not do; see `Chains`.
    """
    half = np.random.default_rng(seed).permutation(len(outcomes))
    fitted, tested = outcomes.take(half[::2]), outcomes.take(half[1::2])
    candidates = Chains(fitted).curve()
    last = outcomes.column_of(generalist)
    alone = Chain(links=(Link(generalist, Confidence(weights=np.zeros(3), bias=0.0), 0.0),))
    if aim.budget is not None:
        money = float(aim.budget) / 1000
        for chain in candidates:
            spent = float(chain.walk(tested).costs.mean())
            if spent <= money:
                return ChosenChain(chain=chain, reason=f"{1000 * spent:.4g} per 1,000 on {len(tested):,} outcomes")
        return ChosenChain(chain=candidates[-1], reason="no chain costs less; it is above the budget")
    quality, held = aim.quality or 0.0, alone
    for chain in candidates:
        kept = chain.walk(tested).scores - quality * tested.scores[:, last]
        if mean_p_value(kept, 0.0, low=-quality, high=1.0, delta=DELTA) > DELTA:
            break
        held = chain
    shown = (
        f"{len(tested):,} outcomes show with 95% confidence that {quality:g} of the quality of {generalist!r} is kept"
    )
    return ChosenChain(
        chain=held, reason=shown if held is not alone else f"nothing cheaper is shown to keep {quality:g}"
    )

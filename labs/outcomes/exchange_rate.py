"""Routing by an exchange rate between score and money, for a quality to keep or a budget to hold.

The value of a model is its predicted score less its expected cost times the rate; the model of the highest value is
taken. The rate is set by recorded outcomes: for `quality` it is the highest at which they show, with 95% confidence,
that the share of the generalist's quality is kept; for `budget` the lowest at which the expected money stays within it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from coterie.errors import InputError
from coterie.policy.cost_quality import DELTA, Aim, mean_p_value

_RATES = 60
_BARELY = 1e-12
"""A rate at which money hardly counts, but a model without a price is left out all the same."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A routing policy: what a unit of money must bring."""

    rate: float | None
    """Score per money; None sends everything to `always`."""
    always: int
    """The model that is asked where nothing else is shown to keep the quality, or fits the budget."""
    reason: str


def decide(predicted: np.ndarray, costs: np.ndarray, setting: Setting, usable: np.ndarray) -> np.ndarray:
    """The column of each prompt's model (N,), -1 where none is usable.

    Args:
        predicted: (N, M) expected scores.
        costs: (N, M) expected money. Where money matters, nan is not usable; it is never taken for 0.
        setting: The routing policy.
        usable: (N, M) whether the prompt fits the model and the model may be asked.
    """
    priced = usable & ~np.isnan(costs)
    if setting.rate is None:
        chosen = np.full(len(predicted), setting.always)
        return np.where(usable[:, setting.always], chosen, _best(predicted, usable))
    worth = predicted - setting.rate * np.where(priced, costs, 0.0)
    return _best(worth, priced if setting.rate > 0 else usable)


def _best(worth: np.ndarray, usable: np.ndarray) -> np.ndarray:
    chosen = np.where(usable, worth, -np.inf).argmax(axis=1)
    return np.where(usable.any(axis=1), chosen, -1)


def rates(costs: np.ndarray) -> np.ndarray:
    """Exchange rates from 0 to where only the cheapest model is ever taken, in the unit of the costs (N, M)."""
    means = np.nanmean(np.where(np.isnan(costs).all(axis=0), np.inf, costs), axis=0)
    finite = np.sort(means[np.isfinite(means)])
    gaps = np.diff(finite)
    gaps = gaps[gaps > 0]
    if not len(gaps):
        return np.zeros(1)
    return np.concatenate([[0.0], np.geomspace(1e-3 / gaps.max(), 2.0 / gaps.min(), _RATES)])


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Outcomes by which the rate is set, with predictions that did not learn from them."""

    predicted: np.ndarray  # (N, M) expected scores
    costs: np.ndarray  # (N, M) expected money; nan is unknown
    scores: np.ndarray  # (N, M) recorded scores; nan where a model was not asked
    models: tuple[str, ...]
    generalist: int
    """Column of the model whose quality counts as 1."""

    @cached_property
    def usable(self) -> np.ndarray:  # (N, M)
        """Where a model's outcome is recorded."""
        return np.asarray(~np.isnan(self.scores))


def fit_rate(aim: Aim, calibration: Calibration) -> Setting:
    """Return the routing policy for an aim.

    Raises:
        InputError: the budget does not pay for the cheapest model, or no price is known.
    """
    if aim.budget is not None:
        return _for_budget(float(aim.budget) / 1000, calibration)
    return _for_quality(aim.quality or 0.0, calibration)


def _for_quality(quality: float, calibration: Calibration) -> Setting:
    """Rates from low to high, as long as each is shown to keep the quality (fixed-sequence testing)."""
    best = calibration.scores[:, calibration.generalist]
    compared = ~np.isnan(best)
    held = None
    for rate in rates(calibration.costs):
        setting = Setting(rate=float(rate), always=calibration.generalist, reason="")
        chosen = decide(calibration.predicted, calibration.costs, setting, calibration.usable)
        kept = (_taken(calibration.scores, chosen) - quality * best)[compared]
        if mean_p_value(kept, 0.0, low=-quality, high=1.0, delta=DELTA) > DELTA:
            break
        held = setting
    name, n = calibration.models[calibration.generalist], int(compared.sum())
    if held is None:
        reason = f"{n:,} outcomes do not show with 95% confidence that anything but {name!r} keeps {quality:g} of it"
        return Setting(rate=None, always=calibration.generalist, reason=reason)
    reason = f"{n:,} outcomes show with 95% confidence that {quality:g} of the quality of {name!r} is kept"
    return replace(held, reason=reason)


def _for_budget(money: float, calibration: Calibration) -> Setting:
    priced = calibration.usable & ~np.isnan(calibration.costs)
    means = [calibration.costs[here, m].mean() if here.any() else np.inf for m, here in enumerate(priced.T)]
    cheapest = int(np.argmin(means))
    if not np.isfinite(means[cheapest]):
        raise InputError(
            "A budget was asked for, and no model's price is known.", hint="Give costs, or ask for quality."
        )
    for rate in rates(calibration.costs):
        setting = Setting(rate=max(float(rate), _BARELY), always=cheapest, reason="")
        spent = float(
            _taken(
                calibration.costs, decide(calibration.predicted, calibration.costs, setting, calibration.usable)
            ).mean()
        )
        if spent <= money:
            left = [name for name, mean in zip(calibration.models, means, strict=True) if not np.isfinite(mean)]
            note = f"; the price of {', '.join(left)} is unknown, so it is not chosen" if left else ""
            reason = f"{1000 * spent:.4g} per 1,000 is expected on {len(calibration.scores):,} outcomes{note}"
            return replace(setting, reason=reason)
    raise InputError(
        f"Asked for a budget of {1000 * money:g} per 1,000; even {calibration.models[cheapest]!r}, the cheapest model, "
        f"is expected to cost {1000 * means[cheapest]:.4g}.",
        hint="Raise the budget, or add a cheaper model.",
    )


def _taken(table: np.ndarray, chosen: np.ndarray) -> np.ndarray:  # (N, M), (N,) -> (N,)
    """The cell that was chosen in each row; 0 where none was."""
    cells = np.take_along_axis(table, np.maximum(chosen, 0)[:, None], axis=1)[:, 0]
    return np.where(chosen < 0, 0.0, cells)

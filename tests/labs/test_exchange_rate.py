"""A routing policy keeps the quality it promises, holds its budget, and never takes an unknown price for 0."""

from decimal import Decimal

import numpy as np
import pytest

from coterie.errors import InputError
from coterie.policy.cost_quality import Aim
from labs.outcomes.exchange_rate import Calibration, Setting, decide, fit_rate
from labs.outcomes.replay import replay

from .conftest import make_world


def known(predicted, costs, scores):
    """What the rate is set by; the second model is the generalist."""
    return Calibration(predicted=predicted, costs=costs, scores=scores, models=("small", "large"), generalist=1)


@pytest.mark.slow
def test_quality_is_kept_with_confidence():
    """Of 100 calibration sets at most about 5% lead to a setting that keeps less than promised."""
    broken = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        predicted = np.stack([random.random(300), np.full(300, 0.95)], axis=1)
        scores = (random.random((300, 2)) < predicted).astype(float)
        costs = np.tile([0.001, 0.1], (300, 1))
        setting = fit_rate(Aim(quality=0.9), known(predicted, costs, scores))
        u = (np.arange(20_000) + 0.5) / 20_000  # the population: the share kept there is no estimate
        everyone = np.stack([u, np.full(len(u), 0.95)], axis=1)
        chosen = decide(everyone, np.tile([0.001, 0.1], (len(u), 1)), setting, np.ones_like(everyone, dtype=bool))
        kept = everyone[np.arange(len(u)), chosen].mean() / 0.95
        broken += kept < 0.9

    assert broken <= 11  # the 99.9th percentile of 5 in 100


@pytest.mark.slow
def test_a_lower_quality_costs_less(world):
    """A lower quality spends less money."""
    spent = [replay(world.outcomes, world.vectors, aim=Aim(quality=q)).chosen.per_1000 for q in (1.0, 0.9, 0.6)]

    assert spent[0] >= spent[1] > spent[2]


@pytest.mark.slow
def test_domains_are_told_apart(world):
    """At 0.9 of the quality the small model answers what it knows: half the money, nearly all of the quality."""
    result = replay(world.outcomes, world.vectors, aim=Aim(quality=0.9))
    largest = next(point for point in result.baselines if point.name.startswith("largest"))

    assert result.chosen.per_1000 < 0.7 * largest.per_1000
    assert result.chosen.quality >= 0.9 * largest.quality


@pytest.mark.slow
def test_a_budget_is_held(world):
    """The expected money stays within the budget, and the realised money is near it."""
    result = replay(world.outcomes, world.vectors, aim=Aim(budget=Decimal(30)))

    assert result.chosen.per_1000 <= 33
    assert result.chosen.quality > 0.6


def test_an_unknown_price_is_not_chosen_under_a_budget():
    """A model without a price is left out and the reason says so; where money does not matter it may be asked."""
    unpriced = make_world(200, costs={"large": None})
    result = replay(unpriced.outcomes, unpriced.vectors, aim=Aim(budget=Decimal(50)), generalist="large")

    assert result.chosen.shares == (1.0, 0.0)
    assert "price of large is unknown" in str(result.reason)
    assert any("price of large is unknown" in warning for warning in result.warnings)


def test_a_budget_below_the_cheapest_is_refused(world):
    """What cannot be paid for is said, with both amounts."""
    with pytest.raises(InputError, match=r"budget of 0.5 per 1,000; even 'small'.* cost 1"):
        replay(world.outcomes, world.vectors, aim=Aim(budget=Decimal("0.5")))


def test_what_does_not_fit_is_never_chosen():
    """A model that cannot be used for a prompt is not taken, at any rate; with none left nobody is."""
    predicted, costs = np.array([[0.1, 0.9], [0.9, 0.9]]), np.full((2, 2), 0.01)
    usable = np.array([[True, False], [False, False]])
    for rate in (0.0, 10.0):
        assert decide(predicted, costs, Setting(rate=rate, always=1, reason=""), usable).tolist() == [0, -1]
    assert decide(predicted, costs, Setting(rate=None, always=1, reason=""), usable).tolist() == [0, -1]


def test_few_outcomes_show_nothing():
    """With too few rows everything goes to the generalist, and the reason says why."""
    predicted, scores = np.tile([0.9, 0.9], (10, 1)), np.ones((10, 2))
    setting = fit_rate(Aim(quality=0.95), known(predicted, np.tile([0.1, 1.0], (10, 1)), scores))

    assert setting.rate is None
    assert setting.always == 1
    assert "do not show" in setting.reason

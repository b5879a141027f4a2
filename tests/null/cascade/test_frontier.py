"""The frontier: a chain takes a single model's place only where outcomes say so."""

import numpy as np
import pytest

from coterie.cascade import Attempt, Chains, Outcome, Outcomes, frontier
from coterie.errors import DataError

PRICES = {"tiny": 0.001, "middle": 0.05, "giant": 1.0}
SKILL = {"tiny": 0.5, "middle": 0.8, "giant": 0.95}


def world(n=240, *, seed=0, telling=True):
    """Three models, each dearer and better than the one before; their confidences tell right from wrong, or nothing."""
    random = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        attempts = {}
        for name, skill in SKILL.items():
            right = random.random() < skill
            sure = random.beta(8, 2) if right else random.beta(2, 8)
            confidence = float(sure if telling else random.random())
            attempts[name] = Attempt(score=float(right), cost=PRICES[name], confidence=confidence)
        rows.append(Outcome(prompt=f"p{i}", attempts=attempts))
    return Outcomes(rows=tuple(rows), models=tuple(SKILL))


def errors_at(policies, outcomes, prices):
    """Error of the policies at each price, where one between two is a coin."""
    walked = sorted((float(w.costs.mean()), 1 - float(w.scores.mean())) for w in (p.walk(outcomes) for p in policies))
    return np.interp(prices, *zip(*walked, strict=True))


def test_no_single_model_is_better_at_its_price():
    """Where confidences tell nothing, chains lose to the model alone at its price; the frontier does not."""
    learned, unseen = world(telling=False), world(4000, seed=1, telling=False)
    prices = list(PRICES.values())
    alone = 1 - unseen.scores.mean(axis=0)

    assert (errors_at(frontier(learned), unseen, prices) <= alone + 0.005).all()


def test_chains_are_taken_where_they_are_better():
    """Where confidences tell right from wrong, it is as good as the chains and far better than single models."""
    learned, unseen = world(), world(4000, seed=1)
    grid = np.linspace(PRICES["tiny"], PRICES["giant"], 50)
    found = errors_at(frontier(learned), unseen, grid)
    walked = [chain.walk(unseen) for chain in Chains(learned).curve()]
    points = sorted((float(each.costs.mean()), 1 - float(each.scores.mean())) for each in walked)
    chains = np.interp(grid, *zip(*points, strict=True))

    assert found.mean() < chains.mean() + 0.005
    assert found.mean() < np.interp(grid, list(PRICES.values()), 1 - unseen.scores.mean(axis=0)).mean() - 0.03


def test_there_are_as_many_policies_for_as_many_models():
    """So the k-th policies of folds belong together; a coin's expected money is between those of its sides."""
    first, second = frontier(world(seed=2)), frontier(world(seed=3))
    assert len(first) == len(second) == 25

    outcomes = world(seed=4)
    for policy in first:
        if policy.other is not None:
            ends = [each.walk(outcomes).costs.mean() for each in (policy.chain, policy.other)]
            assert min(ends) <= policy.walk(outcomes).costs.mean() <= max(ends)
            assert 0 < policy.share < 1


def test_what_chains_need_is_needed():
    """Outcomes with a model that was not asked everywhere are refused as for chains."""
    rows = list(world(60).rows)
    rows[0] = Outcome(prompt="p", attempts={"tiny": rows[0].attempts["tiny"]})
    with pytest.raises(DataError, match="every model was asked"):
        frontier(Outcomes(rows=tuple(rows), models=tuple(SKILL)))

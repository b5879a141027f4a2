"""The frontier: a chain takes a single model's place only where outcomes say so."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from coterie.errors import DataError
from coterie.policy.cost_quality import Aim, Attempt, RecordedOutcome
from labs.outcomes.chain import Chains
from labs.outcomes.chain_replay import replay_frontier
from labs.outcomes.curve import worst_excess
from labs.outcomes.frontier import _candidates, _show, frontier
from labs.outcomes.replay import replay
from labs.outcomes.table import OutcomeTable

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
        rows.append(RecordedOutcome(prompt=f"p{i}", attempts=attempts))
    return OutcomeTable(rows=tuple(rows), models=tuple(SKILL))


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
    errors = errors_at(frontier(learned), unseen, grid)
    walked = [chain.walk(unseen) for chain in Chains(learned).curve()]
    points = sorted((float(walk.costs.mean()), 1 - float(walk.scores.mean())) for walk in walked)
    chains = np.interp(grid, *zip(*points, strict=True))

    assert errors.mean() < chains.mean() + 0.005
    assert errors.mean() < np.interp(grid, list(PRICES.values()), 1 - unseen.scores.mean(axis=0)).mean() - 0.03


def test_a_policy_is_never_credited_with_more_than_it_gave():
    """What costs a hair more than the money is paid for, and no share of it is taken back for a cheaper score."""
    learned = world(120)
    shown = _show(learned, 0)
    quality = shown.scores.mean(axis=1)
    for money in np.geomspace(PRICES["tiny"], PRICES["giant"], 60):
        for coin in _candidates(float(money), shown, quality):
            assert coin.share >= 0
            second = coin.second if coin.share > 0 else coin.first
            assert coin.quality <= max(quality[coin.first], quality[second]) + 1e-12


def test_there_are_as_many_policies_for_as_many_models():
    """So the k-th policies of folds belong together; a coin's expected money is between those of its sides."""
    first, second = frontier(world(seed=2)), frontier(world(seed=3))
    assert len(first) == len(second) == 25

    outcomes = world(seed=4)
    for policy in first:
        if policy.other is not None:
            ends = [chain.walk(outcomes).costs.mean() for chain in (policy.chain, policy.other)]
            assert min(ends) <= policy.walk(outcomes).costs.mean() <= max(ends)
            assert 0 < policy.share < 1


def test_what_chains_need_is_needed():
    """OutcomeTable with a model that was not asked everywhere are refused as for chains."""
    rows = list(world(60).rows)
    rows[0] = RecordedOutcome(prompt="p", attempts={"tiny": rows[0].attempts["tiny"]})
    with pytest.raises(DataError, match="every model was asked"):
        frontier(OutcomeTable(rows=tuple(rows), models=tuple(SKILL)))


# --- In a replay ---------------------------------------------------------------------------------


def vectors_of(outcomes):
    """Encodings that tell nothing: what a replay shows of the frontier, it shows by confidences."""
    return np.random.default_rng(0).normal(size=(len(outcomes), 8))


@pytest.mark.slow
def test_a_replay_plays_the_frontier():
    """Where confidences tell right from wrong it is nowhere behind a single model; a budget's policy keeps to it."""
    outcomes = world(400)
    result = replay(outcomes, vectors_of(outcomes), aim=Aim(budget=Decimal(300)), with_frontier=True)
    single = {name: float(outcomes.scores[:, column].mean()) for column, name in enumerate(SKILL)}

    assert result.frontier_excess <= 0.005
    assert result.frontier[0].per_1000 <= result.frontier[-1].per_1000
    assert result.chosen_frontier.per_1000 <= 330
    assert result.chosen_frontier.quality > single["middle"] + 0.03
    assert "per 1,000 on" in result.frontier_reason
    assert all(sum(point.shares) == pytest.approx(1.0) for point in result.frontier)


@pytest.mark.slow
def test_a_replay_with_a_training_file_plays_its_frontier():
    """The policies are those of the training rows, walked on the others."""
    learned, unseen = world(200), world(300, seed=1)
    result = replay(unseen, vectors_of(unseen), train=learned, train_vectors=vectors_of(learned), with_frontier=True)
    walked = [policy.walk(unseen) for policy in frontier(learned, models=list(PRICES))]

    assert result.frontier[0].quality == pytest.approx(walked[0].scores.mean())
    assert result.frontier[-1].per_1000 == pytest.approx(1000 * walked[-1].costs.mean())
    assert result.chosen_frontier is None


def test_a_budget_below_every_policy_takes_the_cheapest_and_says_so():
    """Nobody is told that a budget holds which does not."""
    outcomes = world(200)
    learned, unseen = outcomes.take(range(120)), outcomes.take(range(120, 200))
    given = {"folds": np.zeros(80, dtype=int), "aim": Aim(budget=Decimal("0.01")), "seed": 0}
    result = replay_frontier(unseen, learned, **given)

    assert result.chosen.costs.mean() == pytest.approx(PRICES["tiny"])
    assert "above the budget" in str(result.reason)


@pytest.mark.parametrize(("missing", "says"), [("cost", "'middle' has no cost on 1"), ("confidence", "no confidence")])
def test_what_the_frontier_lacks_is_named(missing, says):
    """Which model lacks what, on how many rows, before anything is fitted."""
    outcomes = world(120)
    first = outcomes.rows[0]
    attempts = dict(first.attempts) | {"middle": replace(first.attempts["middle"], **{missing: None})}
    outcomes = OutcomeTable(rows=(replace(first, attempts=attempts), *outcomes.rows[1:]), models=outcomes.models)
    with pytest.raises(DataError, match=says):
        replay(outcomes, vectors_of(outcomes), with_frontier=True)


def test_too_few_rows_for_a_frontier_are_named():
    """Sixty rows have no five folds to learn from."""
    outcomes = world(60)
    with pytest.raises(DataError, match="the file has 60 rows"):
        replay(outcomes, vectors_of(outcomes), with_frontier=True)


def test_the_excess_over_single_models_by_hand():
    """Between two models the cheaper one counts; a curve that is as good at every price is behind by nothing."""
    singles = [(1.0, 0.5), (3.0, 0.9)]

    assert worst_excess([(1.0, 0.5), (3.0, 0.9)], singles) == pytest.approx(0.0)
    assert worst_excess([(1.0, 0.4), (3.0, 0.85)], singles) == pytest.approx(0.1)
    assert worst_excess([(1.0, 0.6), (2.0, 0.9), (3.0, 1.0)], singles) == pytest.approx(-0.1)

"""A chain asks the next model only where the answer is not sure enough, and keeps what it promises."""

from decimal import Decimal

import numpy as np
import pytest

from coterie.errors import DataError
from coterie.policy.cost_quality import Aim, Attempt, RecordedOutcome
from labs.outcomes.chain import Chains, choose_chain
from labs.outcomes.table import OutcomeTable


def ladder(n, *, seed=0, agree=False):
    """Three models of rising price and skill. The first knows when it is right, the second does not."""
    random = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        easy = random.random() < 0.5
        right = (random.random() < (0.97 if easy else 0.3), random.random() < 0.85, random.random() < 0.95)
        confidences = (0.95 if easy else 0.5, 0.8, 0.9)
        answers = [f"right {i}" if good else f"wrong {random.integers(50)}" for good in right]
        attempts = {
            name: Attempt(score=float(good), cost=cost, confidence=sure, answer=answer if agree else None)
            for name, good, cost, sure, answer in zip(
                "abc", right, (0.001, 0.01, 0.1), confidences, answers, strict=True
            )
        }
        rows.append(RecordedOutcome(prompt=f"prompt {i}", attempts=attempts))
    return OutcomeTable(rows=tuple(rows), models=("a", "b", "c"))


def test_it_goes_on_where_the_answer_is_doubtful():
    """The cheap model's sure answers are given, the others asked again: more right than it alone."""
    chain = Chains(ladder(400)).best(rate=5.0)
    fresh = ladder(2000, seed=1)
    walked = chain.walk(fresh)

    assert chain.models[0] == "a"
    assert len(chain.models) >= 2
    assert walked.scores.mean() > fresh.scores[:, 0].mean() + 0.15
    assert walked.costs.mean() < fresh.costs[:, 2].mean() * 0.6


def test_rates_turn_from_quality_to_money():
    """At rate 0 the most right answers are given, at the highest the cheapest model answers alone."""
    chains = Chains(ladder(400)).curve()
    fresh = ladder(2000, seed=1)

    assert chains[-1].models == ("a",)
    assert chains[0].walk(fresh).scores.mean() >= chains[-1].walk(fresh).scores.mean() + 0.2


def test_agreement_counts():
    """Where the second model gives the first one's answer, it is surer than where it does not."""
    outcomes = ladder(600, agree=True)
    chains = Chains(outcomes)
    order = next(
        chain for rate in (1.0, 2.0, 5.0, 10.0) if "b" in (chain := chains.best(rate)).models and len(chain.models) > 1
    )
    link = order.links[order.models.index("b")]
    same, other = link.confidence.of(np.array([0.8, 0.8]), np.array([1.0, 0.0]))

    assert same > other + 0.1


def test_costs_of_all_that_were_asked_count():
    """What a chain spends is the sum over its models, not the last one's price."""
    chain = Chains(ladder(400)).best(rate=5.0)
    walked = chain.walk(ladder(200, seed=2))
    prices = {"a": 0.001, "b": 0.01, "c": 0.1}
    sums = np.cumsum([prices[name] for name in chain.models])

    assert set(np.round(walked.costs, 6)) <= set(np.round(sums, 6))


@pytest.mark.slow
def test_the_quality_is_kept_with_confidence():
    """Of 60 sets of outcomes at most about 5% lead to a chain that keeps less than promised."""
    truth = ladder(20_000, seed=999)
    broken = 0
    for seed in range(60):
        chosen = choose_chain(Aim(quality=0.93), ladder(400, seed=seed), generalist="c", seed=seed)
        broken += chosen.chain.walk(truth).scores.mean() < 0.93 * truth.scores[:, 2].mean() - 0.002

    assert broken <= 9  # the 99.9th percentile of 5% of 60


def test_a_budget_takes_the_best_chain_it_pays_for():
    """A larger budget buys more quality."""
    fresh, outcomes = ladder(2000, seed=1), ladder(600)
    small, large = (
        choose_chain(Aim(budget=Decimal(money)), outcomes, generalist="c", seed=0).chain.walk(fresh)
        for money in (4, 60)
    )

    assert 1000 * small.costs.mean() <= 5
    assert 1000 * large.costs.mean() <= 66
    assert large.scores.mean() > small.scores.mean() + 0.05


def test_what_cannot_be_fitted_is_refused():
    """Few rows, a model that was not asked, an unknown price: each is said, none is guessed."""
    with pytest.raises(DataError, match="40 outcomes at least; there are 10"):
        Chains(ladder(10))
    rows = list(ladder(50).rows)
    rows[0] = RecordedOutcome(prompt="x", attempts={**rows[0].attempts, "c": Attempt(score=1.0, cost=None)})
    with pytest.raises(DataError, match="every cost is known"):
        Chains(OutcomeTable(rows=tuple(rows), models=("a", "b", "c")))

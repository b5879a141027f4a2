"""A replay never lets a row decide about itself, and its figures are those of the field."""

from dataclasses import replace

import numpy as np
import pytest

from coterie.errors import DataError
from coterie.policy.cost_quality import Aim
from labs.outcomes.curve import recovery
from labs.outcomes.replay import replay
from labs.outcomes.table import OutcomeTable

from .conftest import make_world


def test_the_curve_lies_above_chance(world):
    """At half the money routing is better than a coin between the two models."""
    result = replay(world.outcomes, world.vectors)
    costs, quality = (np.array([getattr(p, name) for p in result.curve]) for name in ("per_1000", "quality"))
    coin = next(point for point in result.baselines if point.name.startswith("random"))

    assert np.interp(coin.per_1000, costs, quality) > coin.quality + 0.1
    assert result.recovery.apgr > 0.6
    assert result.recovery_interval[0] > 0.5


@pytest.mark.slow
def test_noise_gives_no_advantage():
    """Where nothing can be learned, about half of the gap is recovered: no row's outcome leaks into its prediction."""
    shares = []
    for seed in range(5):
        noise = make_world(300, seed=seed, small=(0.5, 0.5), large=(0.8, 0.8))
        shares.append(replay(noise.outcomes, noise.vectors, seed=seed).recovery.apgr)

    assert 0.4 < np.mean(shares) < 0.6


def test_a_training_file_takes_the_place_of_folds(world):
    """Learned from another file, the figures are of the whole file and say from what."""
    other = make_world(300, seed=5)
    result = replay(world.outcomes, world.vectors, train=other.outcomes, train_vectors=other.vectors)

    assert result.learned_from == "300 rows of the training file"
    assert result.recovery.apgr > 0.6


@pytest.mark.slow
def test_it_is_the_same_again(world):
    """The seed decides everything."""
    assert replay(world.outcomes, world.vectors, seed=3) == replay(world.outcomes, world.vectors, seed=3)


def test_prompts_of_the_same_words(world):
    """A log whose prompts have no word of their own is played like any other, and nothing is warned of."""
    rows = tuple(replace(row, prompt=f"same words {i}") for i, row in enumerate(world.outcomes.rows[:60]))

    assert replay(replace(world.outcomes, rows=rows), world.vectors[:60]).curve


def test_too_little_is_refused(world):
    """Few rows, one model, or a training file of other models are named."""
    with pytest.raises(DataError, match="at least 20 rows; the file has 5"):
        replay(world.outcomes.take(range(5)), world.vectors[:5])
    alone = tuple(
        type(row)(prompt=row.prompt, attempts={"small": row.attempts["small"]}) for row in world.outcomes.rows
    )
    with pytest.raises(DataError, match="only model is 'small'"):
        replay(OutcomeTable(rows=alone, models=("small",)), world.vectors)
    with pytest.raises(DataError, match="must be the same"):
        replay(
            world.outcomes,
            world.vectors,
            train=OutcomeTable(rows=alone, models=("small",)),
            train_vectors=world.vectors,
        )


def test_recovery_by_hand():
    """Four prompts: an order that sends the two that gain first recovers all with half the calls."""
    weak, strong = np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4)
    best = recovery(np.array([2.0, 2.0, 1.0, 1.0]), weak, strong)
    worst = recovery(np.array([1.0, 1.0, 2.0, 2.0]), weak, strong)

    assert best.apgr == pytest.approx((0 + 0.5) / 2 / 4 + (0.5 + 1) / 2 / 4 + 2 / 4)
    assert (best.cpt50, best.cpt80, best.strong_for_95) == (0.25, 0.5, 0.5)
    assert worst.apgr == pytest.approx(1 - best.apgr)


@pytest.mark.slow
def test_chains_are_played_where_confidences_are_on_record(world):
    """Where the small model is sure only when it is right, asking it first gives the large one's quality for less."""
    result = replay(world.outcomes, world.vectors, aim=Aim(quality=0.9))
    largest = next(point for point in result.baselines if point.name.startswith("largest"))

    assert result.chosen_chain.quality >= 0.9 * largest.quality
    assert result.chosen_chain.per_1000 < 0.7 * largest.per_1000
    assert result.chains[0].per_1000 >= result.chains[-1].per_1000
    silent = tuple(
        replace(row, attempts={name: replace(attempt, confidence=None) for name, attempt in row.attempts.items()})
        for row in world.outcomes.rows
    )
    assert replay(replace(world.outcomes, rows=silent), world.vectors).chains == ()

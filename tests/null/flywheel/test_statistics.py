"""Evidence, estimates and monitors keep what they promise."""

import random

import numpy as np
import pytest

from coterie.flywheel.deployments import Watch
from coterie.flywheel.gates import BETS, PRIOR, estimate, exact, first_decision, paths_at, rows_needed


def paired(rng, *, wins, losses, rows):
    """Rows of a candidate that wins and loses with these probabilities."""
    return rng.choice([1, -1, 0], rows, p=[wins, losses, 1 - wins - losses])


def test_a_candidate_worse_by_the_margin_is_seldom_promoted():
    """However often one looks, at most 5% of candidates that are exactly the margin worse pass."""
    rng = np.random.default_rng(0)
    decisions = [first_decision(paired(rng, wins=0.03, losses=0.05, rows=4000), margin=0.02)[0] for _ in range(300)]

    assert decisions.count("better") <= 0.05 * 300 + 6


def test_an_equal_candidate_is_promoted_and_a_bad_one_is_turned_down():
    """Enough rows decide both."""
    rng = np.random.default_rng(1)
    equal = [first_decision(paired(rng, wins=0.04, losses=0.04, rows=4000), margin=0.02)[0] for _ in range(60)]
    bad = [first_decision(paired(rng, wins=0.02, losses=0.12, rows=4000), margin=0.02)[0] for _ in range(60)]

    assert equal.count("better") >= 54
    assert bad.count("worse") >= 54
    assert bad.count("better") == 0


@pytest.mark.parametrize("seed", range(12))
def test_evidence_at_some_places_is_that_of_the_whole_way(seed):
    """Computed from the rows that are not 0 alone, it is at each place what it is when every row is looked at."""
    rng = np.random.default_rng(seed)
    rows = paired(rng, wins=0.04 * (seed % 3), losses=0.05 * (seed % 4), rows=int(rng.integers(1, 300)))
    places = np.unique(rng.integers(0, len(rows), 40))
    at = np.flatnonzero(rows[: places[-1] + 1])

    for path, sign in zip(paths_at(places, at, rows[at], margin=0.02), (1, -1), strict=True):
        # The wealth of each bet against "the mean is at most -.02", or at most .02 of the rows with the sign turned.
        stakes = np.asarray(BETS) / max(1.0, 1 - sign * 0.02)
        wealth = np.cumprod(1 + np.outer(sign * rows + sign * 0.02, stakes), axis=0)
        highest = np.maximum.accumulate(np.maximum(np.log(wealth @ np.asarray(PRIOR)), 0.0))
        assert path == pytest.approx(highest[places], abs=1e-9)


def test_rows_that_a_gate_is_expected_to_take():
    """About as many as streams of such shares take; the more, the nearer the candidate is to the margin."""
    shares = np.array([[0.0, 0.04, 0.04, 0.03], [0.0, 0.02, 0.04, 0.045]])
    needed = rows_needed(*shares, margin=0.02, alpha=0.05)
    assert 200 < needed[0] < 260
    assert needed[0] < needed[2] < needed[3]
    draw = np.random.default_rng(1)
    took = [
        first_decision(draw.choice([1, -1, 0], size=4_000, p=[0.04, 0.02, 0.94]), margin=0.02)[1] for _ in range(60)
    ]
    assert 0.4 < np.median(took) / needed[1] < 1.6


def test_losses_alone_never_end_in_nonsense():
    """Evidence stays a number, also after a long run of losses at the widest margin."""
    rows = np.full(5_000, -1)
    better, _ = paths_at(np.arange(5_000), np.arange(5_000), rows, margin=0.99)

    assert np.isfinite(better).all()
    assert first_decision(rows[:50], margin=0.0)[0] == "worse"


@pytest.mark.parametrize("useful", [True, False])
def test_intervals_cover(useful):
    """The interval covers the mean as often as it says, with good predictions and with useless ones."""
    rng = np.random.default_rng(3)
    covered, widths, plain = 0, [], []
    for _ in range(400):
        chance = rng.beta(4, 1, 3000)
        right = (rng.random(3000) < chance).astype(float)
        predicted = chance if useful else rng.random(3000)
        estimated = estimate(right[:200], predicted[:200], predicted[200:])
        covered += estimated.low <= right.mean() <= estimated.high
        widths.append(estimated.high - estimated.low)
        alone = exact(int(right[:200].sum()), 200)
        plain.append(alone.high - alone.low)

    assert covered >= 0.92 * 400
    assert np.mean(widths) < (0.97 if useful else 1.02) * np.mean(plain)


def test_few_labels_of_a_kind_give_the_exact_interval():
    """Twenty right labels of twenty do not show that all are right."""
    estimated = estimate(np.ones(20), np.full(20, 0.9), np.full(1000, 0.9))

    assert estimated.method == "exact"
    assert estimated.low < 0.84
    assert estimated.high == 1.0


def test_stable_streams_raise_few_alarms():
    """With a patience of 20,000 rows, few of forty streams of 1,000 raise an alarm."""
    alarms = 0
    for seed in range(40):
        rng = random.Random(seed)
        watch = Watch(calibration=[rng.betavariate(8, 1) for _ in range(500)], seed=seed)
        alarms += watch.see_all(rng.betavariate(8, 1) for _ in range(1000)) is not None

    assert alarms <= 4


def test_false_alarms_are_as_rare_as_asked_and_hardly_rarer():
    """The mean number of rows before one is at least the patience; a line far above it would see changes late."""
    rows = []
    for seed in range(150):
        rng = random.Random(seed)
        watch = Watch(calibration=[rng.random() for _ in range(100)], patience=200, seed=seed)
        rows.append(watch.see_all(rng.random() for _ in range(5_000)).row)

    assert 200 <= np.mean(rows) <= 300


def test_a_drop_raises_an_alarm_that_says_since_when():
    """After a fifth of the rows have become unsure, the alarm comes soon and names about the right row."""
    rng = random.Random(5)
    watch = Watch(calibration=[rng.betavariate(8, 1) for _ in range(1000)])
    before = [rng.betavariate(8, 1) for _ in range(1000)]
    after = [rng.betavariate(2, 3) if rng.random() < 0.2 else rng.betavariate(8, 1) for _ in range(1000)]
    alarm = watch.see_all([*before, *after])

    assert alarm is not None
    assert 1000 < alarm.row < 1500
    assert 900 < alarm.since <= alarm.row


def test_a_watch_needs_something_to_compare_with():
    """Too few calibration scores are refused."""
    with pytest.raises(ValueError, match="20 calibration scores"):
        Watch(calibration=[0.5] * 19)
    with pytest.raises(ValueError, match="a patience of 100 or more, found 50 and 99"):
        Watch(calibration=[0.5] * 50, patience=99)

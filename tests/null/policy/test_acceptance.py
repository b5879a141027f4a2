"""The accept threshold for a quality is as low as the calibration outcomes allow, and no lower."""

from decimal import Decimal

import numpy as np
import pytest

from coterie.errors import InputError
from coterie.policy.cost_quality import Aim, CalibrationOutcomes, find_accept_threshold, mean_p_value


def judged(n, *, seed=0, grouped=False):
    """Answers that are right as often as their confidence says."""
    random = np.random.default_rng(seed)
    confidence = random.beta(5, 1, size=n)
    right = random.random(n) < confidence
    return CalibrationOutcomes(
        confidence=confidence, right=right, group=np.arange(n) // 50 if grouped else np.arange(n)
    )


@pytest.mark.slow
@pytest.mark.parametrize("generalist", [1.0, 0.9])
def test_the_share_of_quality_is_kept(generalist):
    """Of 200 specialists at most about 5% get a threshold under which less is kept than promised."""
    truth, broken = judged(200_000, seed=1), 0
    for seed in range(200):
        threshold = find_accept_threshold(judged(500, seed=seed + 2), quality=0.9, generalist=generalist)
        kept = truth.confidence >= (np.inf if threshold.value is None else threshold.value)
        broken += np.where(kept, truth.right, generalist).mean() < 0.9 * generalist - 0.001

    assert broken <= 20  # the 99.9th percentile of 5% of 200


def test_a_lower_quality_keeps_more():
    """For a lower quality more is answered here."""
    thresholds = [
        find_accept_threshold(judged(2000), quality=quality, generalist=1.0) for quality in (0.99, 0.95, 0.85)
    ]

    assert thresholds[0].accepted_share < thresholds[1].accepted_share < thresholds[2].accepted_share


def test_a_worse_generalist_is_asked_less():
    """Where the generalist is right less often, more local answers are as good as its own."""
    careful, worse = (find_accept_threshold(judged(2000), quality=1.0, generalist=g) for g in (0.95, 0.75))

    assert worse.accepted_share > careful.accepted_share
    assert worse.expected_quality >= 0.75


def test_few_outcomes_show_nothing():
    """Under 60 outcomes everything goes to the generalist, with the reason."""
    threshold = find_accept_threshold(judged(50), quality=0.9, generalist=1.0)

    assert threshold.value is None
    assert "50 outcomes" in str(threshold.reason)


@pytest.mark.parametrize("n", [0, 7, 500])
def test_nothing_to_keep_asks_nobody(n):
    """At quality 0 every answer stays here, however few outcomes there are."""
    threshold = find_accept_threshold(judged(n), quality=0.0, generalist=1.0)

    assert (threshold.value, threshold.accepted_share) == (0.0, 1.0)
    assert 0.0 <= threshold.expected_quality <= 1.0


def test_rows_of_one_group_count_as_one():
    """Clauses of ten contracts say less than as many that have nothing to do with each other."""
    alone, grouped = judged(500), judged(500, grouped=True)

    assert (
        find_accept_threshold(grouped, quality=0.9, generalist=1.0).accepted_share
        < find_accept_threshold(alone, quality=0.9, generalist=1.0).accepted_share
    )


def test_it_is_stored_and_read_back():
    """A version's file gives the same threshold; a version without one has none; a damaged one is refused."""
    once = judged(300)
    again = CalibrationOutcomes.from_files(once.to_files())

    assert again is not None
    assert (
        find_accept_threshold(again, quality=0.9, generalist=1.0).accepted_share
        == find_accept_threshold(once, quality=0.9, generalist=1.0).accepted_share
    )
    assert CalibrationOutcomes.from_files({}) is None
    cut = CalibrationOutcomes(confidence=once.confidence[:-1], right=once.right, group=once.group).to_files()
    with pytest.raises(ValueError, match="do not fit"):
        CalibrationOutcomes.from_files(cut)


# --- The p-value of a mean is valid for any bounded values.


def test_the_p_value_is_one():
    """Under the worst null a p-value of 0.05 or less comes in at most about 5% of samples."""
    random = np.random.default_rng(0)
    draws = random.random((400, 200)) < 0.9
    low = sum(mean_p_value(row.astype(float), 0.9, low=0.0, high=1.0, delta=0.05) <= 0.05 for row in draws)

    assert low <= 34  # the 99.9th percentile of 5% of 400
    assert mean_p_value(np.ones(200), 0.9, low=0.0, high=1.0, delta=0.05) <= 0.05


# --- An aim is a quality or a budget.


@pytest.mark.parametrize(
    "wrong", [{}, {"quality": 0.9, "budget": Decimal(1)}, {"quality": 1.1}, {"budget": Decimal(-1)}]
)
def test_an_aim_is_one_thing_within_bounds(wrong):
    """Neither, both, or out of bounds is refused."""
    with pytest.raises(InputError):
        Aim(**wrong)

"""From which confidence the cheaper rungs of a chain answer."""

import numpy as np
import pytest

from coterie.policy.cost_quality import STOPS, RungOutcomes, promised_stop, shown_stops


def outcomes(n, *, seed=0, skills=(1.6, 2.6, 3.2), true=True):
    """Rungs that are right as often as their confidences say, or, if untrue, half as often at the cheapest."""
    random = np.random.default_rng(seed)
    hard = random.normal(size=n)
    logits = np.array([skill - 1.3 * hard + 0.8 * random.normal(size=n) for skill in skills])
    confidence = 1 / (1 + np.exp(-logits))
    chance = confidence if true else confidence * np.array([0.5, *[1.0] * (len(skills) - 1)])[:, None]
    return RungOutcomes(
        confidence=confidence,
        right=random.random(confidence.shape) < chance,
        in_scope=np.ones(confidence.shape, dtype=bool),
        group=np.arange(n),
    )


def test_the_first_rung_that_is_sure_answers():
    """A row is answered by the cheapest rung at or above the stop that finds it in scope, else by the last."""
    rung_outcomes = RungOutcomes(
        confidence=np.array([[0.95, 0.95, 0.5, 0.5], [0.5, 0.92, 0.9, 0.2], [0.7, 0.7, 0.7, 0.7]]),
        right=np.array([[True, True, False, False], [False, False, True, False], [False, False, False, True]]),
        in_scope=np.array([[True, False, True, True], [True, True, True, True], [True, True, True, False]]),
        group=np.arange(4),
    )

    assert rung_outcomes.answering(0.9).tolist() == [0, 1, 1, 2]
    assert rung_outcomes.at(0.9).confidence.tolist() == [0.95, 0.92, 0.9, 0.7]
    assert rung_outcomes.at(0.9).right.tolist() == [True, False, True, True]
    assert (rung_outcomes.asked(0.9), rung_outcomes.answered(0.9)) == ((1.0, 0.75, 0.25), (0.25, 0.5, 0.25))


def test_without_a_stop_the_last_rung_alone_is_asked():
    """No cheaper rung is asked for nothing."""
    rung_outcomes = outcomes(50)

    assert rung_outcomes.answering(None).tolist() == [2] * 50
    assert rung_outcomes.asked(None) == rung_outcomes.answered(None) == (0.0, 0.0, 1.0)


def test_a_lower_quality_lets_cheaper_rungs_answer_more():
    """The less is to be kept, the lower the stop."""
    lowest = [min(shown_stops(outcomes(3000), quality=quality)) for quality in (0.995, 0.98, 0.95)]

    assert lowest == sorted(lowest, reverse=True)
    assert lowest[0] > lowest[-1]


def test_few_rows_show_nothing():
    """A hundred rows cannot show that 0.99 is kept, whatever the rungs say."""
    assert shown_stops(outcomes(100), quality=0.99) == ()


def test_a_rung_that_says_too_much_of_itself_does_not_answer():
    """Confidences promise a stop; where they are untrue, the rows do not show it."""
    rung_outcomes = outcomes(3000, true=False)

    assert min(shown_stops(rung_outcomes, quality=0.98)) > promised_stop(rung_outcomes, quality=0.98)
    assert min(shown_stops(outcomes(3000), quality=0.98)) <= promised_stop(rung_outcomes, quality=0.98)


def test_the_promised_stop_is_chosen_by_confidences_alone():
    """What was right has no part in it."""
    rung_outcomes = outcomes(500)
    other = RungOutcomes(**(vars(rung_outcomes) | {"right": ~rung_outcomes.right}))

    assert promised_stop(rung_outcomes, quality=0.99) == promised_stop(other, quality=0.99)


def test_fewer_rows_promise_less():
    """What so many rows could not show is not promised; else the threshold's level would wait at the wrong stop."""
    promised = [promised_stop(outcomes(n, seed=2), quality=0.99) for n in (400, 700, 5000)]

    assert promised[0] is None
    assert promised[1] is None or promised[1] >= promised[2]
    assert promised[2] is not None


def test_rows_of_one_group_count_as_one():
    """Of three thousand rows in thirty groups nothing is shown."""
    rung_outcomes = outcomes(3000)

    assert shown_stops(RungOutcomes(**(vars(rung_outcomes) | {"group": np.arange(3000) // 100})), quality=0.99) == ()


@pytest.mark.slow
def test_the_quality_is_kept_over_random_draws():
    """Of 200 chains whose cheap rung is too sure of itself, about 5% at most get a stop that keeps too little."""
    random = np.random.default_rng(0)

    def drawn(n):
        last = random.random(n) < 0.9
        sure = random.random(n)  # at a stop the cheap rung loses so much that 0.99 is kept just down to some stop
        cheap = np.where(random.random(n) < 0.03 + 0.25 * (1 - sure), False, last)
        confidence = np.stack([0.6 + 0.4 * sure, np.full(n, 0.9)])
        scope = np.ones((2, n), dtype=bool)
        return RungOutcomes(confidence=confidence, right=np.stack([cheap, last]), in_scope=scope, group=np.arange(n))

    truth = drawn(400_000)
    kept = {stop: float(truth.at(stop).right.mean() / truth.right[-1].mean()) for stop in STOPS}
    broken = 0
    for _ in range(200):
        shown = shown_stops(drawn(1500), quality=0.99)
        broken += any(kept[stop] < 0.99 for stop in shown)

    assert min(kept.values()) < 0.99 < max(kept.values())
    assert broken <= 20  # the 99.9th percentile of 5% of 200

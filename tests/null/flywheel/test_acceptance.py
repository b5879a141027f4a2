"""From which confidence a deployment answers."""

from dataclasses import replace

import numpy as np
import pytest

from coterie.flywheel.gates import (
    ModelSlips,
    Repeats,
    Within,
    asked_before,
    break_even,
    doubtful,
    first_decision,
    live_rows,
    model_slips,
    row_differences,
    row_gains,
    row_weights,
    unforeseen,
)

from .conftest import LABELS, compared, examples

NO_SLIPS = ModelSlips(slips=0.0)


def judged(won, lost, *, slips=0.0):
    """A model of whose differences so many were judged, whatever the confidence."""
    return ModelSlips(slips=slips, sure=(0.5,) * (won + lost), won=(True,) * won + (False,) * lost)


def test_as_much_as_the_model_slips():
    """Of rows of falling confidence each tenth differs below .9: the share of slips says how far it goes."""
    confidence = np.linspace(1, 0, 1000)
    differs = (confidence < 0.9) & (np.arange(1000) % 10 == 0)
    ones = np.ones(1000)

    def accepted(slips, won=0, lost=0):
        return break_even(confidence, differs, ones, judged(won, lost, slips=slips), margin=0.02).accepted

    assert 0.1 <= accepted(0.0) < 0.2
    assert accepted(0.0) < accepted(0.03) < accepted(0.05) < 1.0
    assert (
        accepted(0.0) < accepted(0.0, won=9, lost=20) < accepted(0.0, won=36, lost=80) < accepted(0.0, won=90, lost=10)
    )
    assert accepted(0.2) == 1.0


def test_what_people_said_of_a_row_counts_for_itself():
    """A difference that the specialist won costs nothing; one that it lost costs as much as one nobody judged."""
    confidence = np.linspace(1, 0, 1000)
    differs = (confidence < 0.9) & (np.arange(1000) % 10 == 0)

    def accepted(gain):
        gains = np.where(differs, gain, np.nan)
        return break_even(confidence, differs, np.ones(1000), NO_SLIPS, margin=0.02, gains=gains).accepted

    assert accepted(1.0) == accepted(0.0) == 1.0
    assert accepted(-1.0) == accepted(np.nan) < 0.2


def test_differences_are_won_as_others_of_their_confidence():
    """Sure ones all, unsure ones none: less a standard error."""
    model = ModelSlips(slips=0.0, sure=(0.9,) * 25 + (0.2,) * 25, won=(True,) * 25 + (False,) * 25)
    assert model.wins(np.array([0.1, 0.2, 0.9, 1.0])).tolist() == pytest.approx([0, 0, 0.8, 0.8])
    assert judged(0, 5).wins(np.array([0.5])).tolist() == [0.0]


def test_where_both_are_wrong_nothing_is_lost():
    """Of differences of which most are that, more are taken; while few were judged, all that is not won is lost."""
    confidence = np.linspace(1, 0, 1000)
    differs = np.arange(1000) % 5 == 0

    def accepted(count, lost):
        model = ModelSlips(
            slips=0.0,
            sure=(0.5,) * count,
            won=tuple(i % 5 == 0 for i in range(count)),
            lost=tuple(i < lost for i in range(count)),
        )
        return break_even(confidence, differs, np.ones(1000), model, margin=0.02).accepted

    assert accepted(100, lost=5) == 1.0
    assert accepted(100, lost=80) < 0.2
    assert accepted(15, lost=0) < 0.2


def test_what_people_say_of_rows():
    """Right alone, wrong alone, both or neither; of most rows nobody says anything."""
    gains = row_gains([True, False, True, False, True], ["a", "a", "a", "a", None], ["b", "a", "a", "b", "b"])
    assert gains[:4].tolist() == [1.0, -1.0, 0.0, 0.0]
    assert np.isnan(gains[4])


def test_equal_confidences_are_accepted_together_or_not():
    """A threshold cannot part them."""
    even = break_even(np.full(100, 0.7), np.arange(100) >= 50, np.ones(100), NO_SLIPS, margin=0.02)
    assert even.confidence is None


def test_nothing_worth_a_threshold_leaves_the_versions_own():
    """Rows that all differ."""
    even = break_even(np.linspace(0, 1, 100), np.ones(100, bool), np.ones(100), NO_SLIPS, margin=0.02)
    assert (even.confidence, even.accepted) == (None, 0.0)
    assert break_even(np.zeros(0), np.zeros(0, bool), np.zeros(0), NO_SLIPS, margin=0.02).confidence is None


def test_a_text_that_was_asked_before():
    """But for case and white space, and in order of time."""
    assert asked_before(["A  card", "a fee", "a Card", "A card", "new"]).tolist() == [False, False, True, True, False]


def test_calls_that_are_answered_from_memory_leave_room_for_others():
    """Half of the calls are repeats, answered as the model did: more new texts are answered; none if they differ."""
    confidence = np.linspace(1, 0, 1000)
    differs = (confidence < 0.9) & (np.arange(1000) % 10 == 0)

    def even(repeats):
        slipping = replace(NO_SLIPS, slips=0.04)
        return break_even(confidence, differs, np.ones(1000), slipping, margin=0.02, repeats=repeats)

    same = Repeats(confidence=np.full(50, 0.99), differs=np.zeros(50, bool), share=0.5)
    alone, helped = even(None), even(same)
    assert helped.confidence < alone.confidence
    assert helped.accepted > alone.accepted
    assert even(replace(same, differs=np.ones(50, bool))).confidence is None
    assert even(replace(same, share=0.0)).confidence == pytest.approx(alone.confidence, abs=0.01)


def test_a_version_is_tried_where_nobody_judged_yet():
    """Of rows that all differ the surest three tenths; not any more when enough differences were judged."""
    confidence, differs = np.linspace(1, 0, 1000), np.ones(1000, bool)
    month = Within(calls=2000, alpha=0.05)
    tried = break_even(confidence, differs, np.ones(1000), NO_SLIPS, margin=0.02, within=month)
    assert tried.accepted == pytest.approx(0.3, abs=0.01)
    judgements = judged(0, 20)
    assert break_even(confidence, differs, np.ones(1000), judgements, margin=0.02, within=month).confidence is None
    assert break_even(np.zeros(0), np.zeros(0, bool), np.zeros(0), NO_SLIPS, margin=0.02, within=month).accepted == 0.0


def month_of(calls, **more):
    """The threshold for a month of so many calls, where the specialist wins nearly half of the differences."""
    confidence = np.linspace(1, 0, 4000)
    differs = np.random.default_rng(1).random(4000) < 0.25 * (1 - confidence)
    within = None if calls is None else Within(calls=calls, alpha=0.05, **more)
    return break_even(confidence, differs, np.ones(4000), judged(2_500, 2_500), margin=0.02, within=within)


def test_the_fewer_calls_the_sooner_the_gate_is_to_be_passed():
    """At no gain and many differences it takes thousands of calls: with fewer to come, a higher confidence is taken."""
    few, more, all_ = month_of(500), month_of(5_000), month_of(None)
    assert few.accepted < more.accepted < all_.accepted
    assert month_of(1e9).confidence == pytest.approx(all_.confidence, abs=0.01)
    assert month_of(10).confidence == all_.confidence  # nothing is shown so soon


def test_the_fewer_differences_people_can_judge_the_fewer_are_made():
    """The gate takes no row behind a difference that nobody judged."""

    def accepted(labels):
        return month_of(20_000, labels=labels).accepted

    assert accepted(0.003) < accepted(0.01) < accepted(1.0) == accepted(float("inf"))


def test_while_a_champion_answers_the_next_version_may_take_longer():
    """What it gains is what it answers beyond the champion, which goes on meanwhile."""

    def accepted(answered):
        return month_of(2_000, answered=answered).accepted

    assert accepted(0.0) < accepted(0.3) < accepted(0.5)


def test_live_rows_are_of_calls_that_count_whether_accepted_or_not():
    """What people said of one is its gain; a failure, and a call that is not given, are no row."""
    calls = examples(6)
    rows = compared("d", calls, differ=lambda i: i in {1, 2}, accepted=lambda i: i != 4)
    rows[3] = replace(rows[3], failed=True)
    given = {call.id: call.answer for call in calls[:5]}
    live = live_rows(rows, given, {calls[1].id: "lost", calls[2].id: "other"})
    assert live.differs.tolist() == [False, True, True, False]
    assert live.confidence.tolist() == [rows[i].confidence for i in (0, 1, 2, 4)]
    assert live.gains[1:3].tolist() == [-1.0, 1.0]
    assert np.isnan(live.gains[[0, 3]]).all()


def test_the_gate_is_passed_in_about_the_calls_that_are_left_for_it():
    """Streams of the rates that the threshold expects: most pass within half of the month that it was drawn for."""
    month = month_of(2_000)
    won = 0.49 * month.differing * month.accepted
    lost = month.differing * month.accepted - won
    draw = np.random.default_rng(2)
    passed = [
        first_decision(draw.choice([1, -1, 0], 1_000, p=[won, lost, 1 - won - lost]), margin=0.02)[0] == "better"
        for _ in range(200)
    ]
    assert np.mean(passed) > 0.6


def test_a_persons_label_turns_what_differs():
    """Right by a person's label that is not the model's answer is a difference; wrong by the model's own label too."""
    differences = row_differences([True, False, True, False], ["a", "a", "b", "b"], ["a", "a", "a", "a"])
    assert differences.tolist() == [False, True, True, False]


def test_rows_of_the_control_share_stand_for_many():
    """Those that the champion would have answered, and those alone."""
    rows = [
        replace(example, propensity=p, confidence=c)
        for example, p, c in zip(examples(4), (0.5, 0.02, 0.5, 0.5), (None, None, None, 0.9), strict=True)
    ]
    accepted = {rows[0].id: True, rows[1].id: True, rows[2].id: False, rows[3].id: True}
    assert row_weights(rows, accepted).tolist() == [2.0, 10.0, 1.0, 1.0]


def test_slips_and_wins_of_the_model():
    """Answers outside the job's set are slips; wins are of judged differences, one standard error below."""
    calls = [
        replace(example, answer="hm" if i % 10 == 9 else example.answer) for i, example in enumerate(examples(100))
    ]
    rows = compared("d", calls, differ=lambda i: i % 10 == 4)
    truths = {call.id: "other" if i < 90 else "lost" for i, call in enumerate(calls) if i % 10 == 4}
    model = model_slips(LABELS, calls, rows, truths)
    assert (model.slips, model.judged) == (pytest.approx(0.1), 10)
    assert (sum(model.won), sum(model.lost)) == (9, 1)
    up_to_the_one_that_was_lost = 8 / 9
    assert model.wins(np.array([0.52])).tolist() == pytest.approx([up_to_the_one_that_was_lost * (1 - 1 / 3)])
    assert model_slips(LABELS, calls, [], {}).judged == 0


def test_an_answer_that_nothing_foretells_is_a_slip():
    """One of eight rows, none of which was foreseen; a label of few rows is not judged."""
    labels = ["a"] * 20 + ["i am not sure"] * 8 + ["rare"] * 7
    assert unforeseen(labels, [True] * 20 + [False] * 15) == {"i am not sure"}


def test_random_slips_are_found_and_a_systematic_error_is_not():
    """Of 2,000 rows in two classes a tenth has the other label: nearly all of those come first."""
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 2000)
    flipped = rng.random(2000) < 0.1
    sure = np.clip(rng.normal(0.9, 0.05, 2000), 0.5, 0.99)
    missed = rng.random(2000) < 0.03
    sure[missed] -= 0.3
    labels = truth ^ flipped
    predicted = truth ^ missed
    doubted = doubtful(sure, predicted == labels, [str(label) for label in labels])
    assert flipped[doubted].mean() > 0.95
    assert len(doubted) > 0.4 * flipped.sum()
    assert doubtful(sure, np.ones(2000, bool), [str(label) for label in labels]) == []

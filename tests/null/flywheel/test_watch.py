"""Monitors of one deployment: what they calibrate on, what raises an alarm, and what does not."""

import random
from dataclasses import replace

from coterie.flywheel.deployments import DeploymentWatch
from coterie.types import ComparedAnswer


def before(count, draw):
    """Answers that were compared before it served."""
    return [
        ComparedAnswer(
            deployment="d",
            example=str(i),
            time=float(i),
            confidence=draw.betavariate(8, 1),
            in_scope=draw.betavariate(5, 2),
            accepted=True,
            same=draw.random() < 0.95,
        )
        for i in range(count)
    ]


def test_a_fall_is_seen_and_stable_scores_are_not():
    """Whichever score falls; the alarm says how long ago it began."""
    draw = random.Random(4)
    watch = DeploymentWatch(before(500, draw), 20_000)
    for _ in range(2_000):
        assert watch.answered(draw.betavariate(8, 1), draw.betavariate(5, 2)) is None
        assert watch.compared(same=draw.random() < 0.95) is None
    drift = None
    for _ in range(1, 400):
        drift = watch.answered(draw.betavariate(8, 1), draw.betavariate(2, 5))
        if drift:
            break
    assert (drift.kind, drift.back <= 450) == ("scope", True)


def test_a_few_odd_calls_in_a_row_are_no_change():
    """Two as unsure as none before; ten are."""
    draw = random.Random(7)
    watch = DeploymentWatch(before(2_000, draw), 20_000)
    assert all(watch.answered(0.0, None) is None for _ in range(2))
    assert any(watch.answered(0.0, None) is not None for _ in range(8))


def test_one_text_many_times_is_no_change():
    """A probe every minute, or a client that tries again: one odd text. Odd texts that differ are a change."""
    draw = random.Random(7)
    watch = DeploymentWatch(before(2_000, draw), 20_000)
    assert all(watch.answered(0.1, 0.1, text="Is it up?" if i % 2 else "is it  up?") is None for i in range(500))
    assert all(watch.compared(same=False, text="is it up?") is None for _ in range(500))
    assert any(watch.answered(0.1, 0.1, text=f"is {i} up?") is not None for i in range(20))


def test_texts_that_were_common_before_count_once_there_too():
    """Half of the calls before were one text, of which it was sure: other texts alone are no change."""
    draw = random.Random(8)
    rows = before(1_000, draw)
    rows = [replace(row, confidence=0.999) if i % 2 else row for i, row in enumerate(rows)]
    texts = {row.example: "is it up?" if i % 2 else row.example for i, row in enumerate(rows)}

    def drift(given):
        watch, again = DeploymentWatch(rows, 20_000, texts=given), random.Random(9)
        return any(watch.answered(again.betavariate(8, 1), None, text=f"t{i}") is not None for i in range(2_000))

    assert drift({})
    assert not drift(texts)


def test_agreement_that_falls_is_an_alarm():
    """From 95% to 60%."""
    draw = random.Random(2)
    watch = DeploymentWatch(before(500, draw), 20_000)
    alarms = [watch.compared(same=draw.random() < 0.6) for _ in range(300)]
    assert any(alarm is not None and alarm.kind == "disagreement" for alarm in alarms)


def test_agreement_with_a_champion_is_not_that_with_the_model():
    """Beside a champion nearly all was the same; of the model's own answers a third differs, as before."""
    draw = random.Random(5)
    beside = [replace(row, same=True) for row in before(1_000, draw)]
    model = [replace(row, example=f"m{i}", same=draw.random() < 0.66) for i, row in enumerate(before(300, draw))]
    others = frozenset(row.example for row in beside)

    def drift(earlier):
        watch, again = DeploymentWatch([*beside, *model], 20_000, beside=earlier), random.Random(6)
        return any(watch.compared(same=again.random() < 0.66) is not None for _ in range(300))

    assert drift(())
    assert not drift(others)


def test_a_deployment_without_a_past_calibrates_on_what_it_sees_first():
    """The first twenty answers; one that has no scope is watched by the rest."""
    watch = DeploymentWatch([], 100)
    draw = random.Random(3)
    assert all(watch.answered(draw.uniform(0.9, 1.0), None) is None for _ in range(30))
    assert any(watch.answered(0.2, None) is not None for _ in range(50))


def test_five_failures_among_twenty():
    """Failures of any kind, also between answers."""
    watch = DeploymentWatch([], 100)
    for i in range(4):
        assert watch.failed() is None
        watch.answered(0.9 + i / 100, None)
    assert watch.failed().kind == "errors"

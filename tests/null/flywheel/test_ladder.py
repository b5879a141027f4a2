"""Thresholds that a gate tries one after the other: what is shown, what is asked of people, what a champion answers."""

from dataclasses import replace

import numpy as np
import pytest

from coterie.flywheel.gates import judge_ladder, judge_stream
from coterie.flywheel.overview import evidence_of, ladder_of, promote, stream_of
from coterie.flywheel.review import ReviewQueue
from coterie.flywheel.runs import FlywheelRunner
from coterie.types import ComparedStream, DifferingAnswer

from .conftest import NOW, compared, examples

STEPS = (0.8, 0.6, 0.5)


async def begin(books, **changes):
    """A candidate with three thresholds."""
    job = await books.job("triage")
    about = {"by": "flywheel", "reason": "trained", "figures": {}, "changed": job, "thresholds": STEPS}
    return await books.begin(job, "v1", **about, **{"accepts_from": 0.6, **changes})


def rows_of(made, calls, *, wrong_below):
    """Comparisons that differ, and are wrong, below a confidence."""
    return [
        replace(row, answer="other", same=False) if row.confidence < wrong_below else row
        for row in compared(made.id, calls)
    ]


async def label(books, calls):
    """Let a person say that the model was right."""
    queue = ReviewQueue(books, None)
    for each in calls:
        await queue.answer(each.id, each.answer, reviewer="ann")


def test_thresholds_are_tried_one_after_the_other():
    """The first that fails ends it, also where one after it would pass."""
    calls = examples(900)
    answers = {each.id: each.answer for each in calls}
    rows = compared("d", calls)
    bad = [replace(row, answer="other", same=False) if 0.6 <= row.confidence < 0.8 else row for row in rows]
    differing = tuple(
        DifferingAnswer(i, row.example, row.answer, answers[row.example], row.confidence)
        for i, row in enumerate(bad)
        if not row.same
    )
    same = tuple(sorted(row.confidence for row in bad if row.same))
    stream = ComparedStream(compared=900, accepted=900, same=len(same), failed=0, differing=differing, agreeing=same)
    found = judge_ladder(stream, answers, STEPS, margin=0.02, alpha=0.05)
    assert (found.accepts_from, [each for each, _ in found.ahead]) == (0.8, [0.6])
    assert (found.shown.decision, found.ahead[0][1].decision) == ("better", "worse")
    assert found.shown.accepted == sum(row.confidence >= 0.8 for row in rows)
    whole = judge_ladder(stream, answers, (), margin=0.02, alpha=0.05, current=0.3)
    assert (whole.shown, whole.accepts_from, whole.ahead) == (
        judge_stream(bad, answers, answers, margin=0.02, alpha=0.05),
        0.3,
        (),
    )


def walked(step, lost, aim):
    """What a ladder of three reaches; each row is answered from one of its thresholds on, and may be lost there."""
    sure = np.asarray([0.9, 0.7, 0.55])[step]
    differing = tuple(DifferingAnswer(int(i), f"e{i}", "other", "lost", float(sure[i])) for i in np.flatnonzero(lost))
    same = tuple(sorted(sure[~lost].tolist()))
    stream = ComparedStream(
        compared=len(step), accepted=len(step), same=len(same), failed=0, differing=differing, agreeing=same
    )
    truths = {each.example: "lost" for each in differing}
    return judge_ladder(stream, truths, STEPS, margin=0.02, alpha=0.05, aim=aim)


@pytest.mark.parametrize(("first", "aim"), [(0, None), (0, 0.6), (1, 0.6), (1, 0.5)])
def test_a_threshold_at_which_it_is_worse_is_seldom_reached(first, aim):
    """Exactly the margin worse from some threshold on: whatever the aim, one of those passes in no more than alpha."""
    rng, wrong, runs = np.random.default_rng(7), 0, 200
    for _ in range(runs):
        step = rng.integers(0, 3, 1_500)
        found = walked(step, (step == first) & (rng.random(1_500) < 0.06), aim)
        wrong += found.shown.decision == "better" and found.accepts_from <= STEPS[first]
    assert wrong / runs <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)


def test_the_expected_threshold_and_the_highest_are_tried_side_by_side():
    """Where the expected one is worse the walk from the highest still shows what is good; it has a fifth of alpha."""
    step = np.arange(900) % 3
    bad = walked(step, (step == 1) & (np.arange(900) % 4 == 0), 0.6)
    assert (bad.accepts_from, bad.shown.decision, [each for each, _ in bad.ahead]) == (0.8, "better", [0.6])
    short = walked(step[:240], np.zeros(240, bool), 0.6)
    assert (short.accepts_from, short.ahead) == (0.5, ())  # one from the expected one needs no more than it did
    assert walked(step[:215], np.zeros(215, bool), None).shown.decision == "open"
    early = walked(step[:60], np.zeros(60, bool), 0.6)
    assert (early.accepts_from, [each for each, _ in early.ahead]) == (0.6, [0.6, 0.8])


async def test_a_shadow_goes_live_from_the_lowest_threshold_that_was_shown(books, section, store):
    """It is wrong below .6: it answers from .6, and nobody is asked about what is below."""
    calls = examples(900)
    made = await books.move(await begin(books), "shadow", by="flywheel", reason="r")
    await store.flywheel.add_examples(calls, rows_of(made, calls, wrong_below=0.6))
    ladder = await evidence_of(books, section, made)
    assert (ladder.shown.decision, ladder.accepts_from) == ("better", 0.6)
    assert [each for each, _ in ladder.ahead] == [0.5]
    moved = await promote(books, section, made.id, by="ann", reason="shown")
    assert (moved.state, moved.accepts_from, moved.answers(0.59), moved.answers(0.6)) == ("canary", 0.6, False, True)
    assert moved.acceptance.confidence == 0.5  # what is below is compared
    stored = compared(made.id, calls)[0]
    assert [moved.took(replace(stored, confidence=each)) for each in (0.5, 0.7)] == [False, True]


async def test_people_see_differences_of_the_thresholds_that_come_next(books, section, store):
    """Those below the one that is tried, and below the one that is expected to break even, may never be needed."""
    calls = examples(60)
    made = await books.move(await begin(books), "shadow", by="flywheel", reason="r")
    rows = [replace(row, answer="other", same=False) for row in compared(made.id, calls)]
    await store.flywheel.add_examples(calls, rows)
    items = await ReviewQueue(books, section).upcoming("triage", 40, reviewer="ann")
    asked = {each.example for each in items if each.purpose == "disagreement"}
    by_example = {row.example: row.confidence for row in rows}
    assert 0.6 <= min(by_example[each] for each in asked) < 0.8


async def test_what_a_champion_answers_counts_for_lower_thresholds(books, section, store):
    """With each of them the call is answered alike: it is a row in which nothing is lost."""
    calls = examples(300)
    made = await books.move(await begin(books), "shadow", by="flywheel", reason="r")
    await store.flywheel.add_examples(calls[:20], compared(made.id, calls[:20]))
    canary = await books.move(made, "canary", by="x", reason="r", share=0.5, accepts_from=0.8)
    own = [replace(each, policy=made.id, confidence=0.9) for each in calls[20:]]
    await store.flywheel.add_examples(own)
    assert (await stream_of(books, canary)).compared == 300
    ladder = await evidence_of(books, section, canary)
    assert (ladder.accepts_from, ladder.shown.decision) == (0.5, "better")
    retired = await books.move(canary, "retired", by="x", reason="r")
    assert (await stream_of(books, retired)).compared == 20
    assert ladder_of(await stream_of(books, retired), {}, section, retired).ahead == ()


async def test_a_champion_answers_from_a_lower_threshold_once_it_is_shown(books, section, store, tmp_path):
    """As a step of its own, with its numbers; it stays champion and the watch of its job goes on."""
    calls = examples(400)
    made = await books.move(await begin(books), "shadow", by="flywheel", reason="r")
    await store.flywheel.add_examples(calls, rows_of(made, calls, wrong_below=0.52))
    made = await books.move(made, "canary", by="x", reason="r", share=0.5)
    books.clock.advance(60)
    champion = await books.move(made, "champion", by="x", reason="r", share=0.98, accepts_from=0.8)
    books.clock.advance(60)
    runner = FlywheelRunner(books=books, config=Config(section), folder=tmp_path, load=nothing)
    await runner._lower(await books.job("triage"), champion, dry_run=True)
    assert (await books.deployment(made.id)).accepts_from == 0.8
    await runner._lower(await books.job("triage"), champion, dry_run=False)
    lower = await books.deployment(made.id)
    assert (lower.state, lower.share, lower.accepts_from) == ("champion", 0.98, 0.6)
    assert lower.since == champion.since < NOW + 120
    step = (await books.transitions(made.id))[-1]
    assert (step.before, step.after, step.figures["accepts_from"]) == ("champion", "champion", 0.6)
    await runner._lower(await books.job("triage"), lower, dry_run=False)  # nothing more is shown
    assert (await books.deployment(made.id)).revision == lower.revision
    await label(
        books, [each for each, row in zip(calls, rows_of(made, calls, wrong_below=0.52), strict=True) if not row.same]
    )
    await runner._lower(await books.job("triage"), lower, dry_run=False)  # people say that it is wrong below
    assert (await books.deployment(made.id)).accepts_from == 0.6


async def nothing(job, deployment):
    """No specialist is asked: no row of the audit slice has a label."""


class Config:
    """A network's file, as far as a threshold is lowered."""

    def __init__(self, section):
        """Take the section."""
        self.flywheel = section

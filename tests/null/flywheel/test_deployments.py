"""Deployments: steps in one transaction, audited, refused to whoever comes second; and the gates' evidence."""

import asyncio
from dataclasses import replace

import pytest

from coterie.config.operation import FlywheelSection
from coterie.errors import AuditError, InputError
from coterie.flywheel.deployments import Deployment, Deployments, next_step
from coterie.flywheel.discovery import Template
from coterie.flywheel.gates import audit_sample, is_audit, judge_frozen, truths_of
from coterie.flywheel.overview import deployment_views, evidence_of, job_views, promote, roll_back
from coterie.types import FlywheelChanged, GivenLabel

from .conftest import NOW, compared, examples, judge_stream


async def begin(books, version="a" * 16):
    """A candidate of the job."""
    job = await books.job("triage")
    return await books.begin(job, version, by="flywheel", reason="trained", figures={"rows": 9}, changed=job)


def says(example, value, *, by="ann", origin="person", time=NOW):
    """A label."""
    return GivenLabel(example=example, origin=origin, by=by, value=value, time=time)


async def test_every_step_is_audited_before_it_takes_effect(books, section):
    """From candidate to champion, with shares, numbers and who did it; a hand's reason stands there as a hash."""
    made = await begin(books)
    for _ in range(5):
        made = await promote(books, section, made.id, by="ann", reason="I looked", force=True)
    assert (made.state, made.share) == ("champion", 1 - section.control)
    steps = await books.transitions(made.id)
    assert [(s.before, s.after, s.share) for s in steps] == [
        ("", "candidate", 0.0),
        ("candidate", "shadow", 0.0),
        ("shadow", "canary", 0.01),
        ("canary", "canary", 0.1),
        ("canary", "canary", 0.5),
        ("canary", "champion", 0.98),
    ]
    assert [(e.kind, e.about["after"], e.about["version"]) for e in books.audit.events] == [
        ("deployment", s.after, "a" * 16) for s in steps
    ]
    assert books.audit.events[-1].about["reason"] == "<8>"


async def test_a_new_champion_retires_the_old_one_in_one_transaction(books, section):
    """So there are never two, and never none."""
    first, second = await begin(books), await begin(books, "b" * 16)
    for deployment in (first, second):
        for _ in range(5):
            await promote(books, section, deployment.id, by="ann", reason="x", force=True)
    states = {deployment.id: deployment.state for deployment in await books.deployments()}
    assert states == {first.id: "retired", second.id: "champion"}


async def test_of_two_that_move_one_is_refused(books):
    """The second sees another revision, and nothing of its step is written."""
    made = await begin(books)
    results = await asyncio.gather(
        *(books.move(made, "shadow", by="x", reason="r") for _ in range(2)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["Deployment", "FlywheelChanged"]
    assert len(await books.transitions(made.id)) == 2
    with pytest.raises(FlywheelChanged):
        await books.move(made, "retired", by="x", reason="late")


async def test_what_the_log_refuses_does_not_happen(books):
    """A step that cannot be written down is not taken."""

    async def broken(event, *, sync=False):
        raise AuditError("full")

    made = await begin(books)
    books.audit.append = broken
    with pytest.raises(AuditError):
        await books.move(made, "shadow", by="x", reason="r")
    assert (await books.deployment(made.id)).state == "candidate"


async def test_steps_that_are_none(books, section):
    """A step over others, one without a reason, one past the gate, a name that nobody has."""
    made = await begin(books)
    with pytest.raises(InputError):
        await books.move(made, "champion", by="x", reason="r")
    with pytest.raises(InputError):
        await promote(books, section, made.id, by="ann", reason=" ")
    await promote(books, section, made.id, by="ann", reason="r")
    with pytest.raises(InputError):
        await promote(books, section, made.id, by="ann", reason="r")
    with pytest.raises(InputError):
        await books.deployment("nobody")
    with pytest.raises(InputError):
        await books.job("nobody")


async def test_roll_back_stops_the_serving(books, section):
    """It answers nobody from then on; a person may take it into shadow again, and twice it cannot be taken back."""
    made = await begin(books)
    for _ in range(2):
        await promote(books, section, made.id, by="ann", reason="r", force=True)
    back = await roll_back(books, made.id, by="ann", reason="complaints")
    assert (back.state, back.share, back.serves) == ("retired", 0.0, False)
    with pytest.raises(InputError):
        await roll_back(books, made.id, by="ann", reason="again")
    assert (await promote(books, section, made.id, by="ann", reason="mended")).state == "shadow"


async def test_a_champion_covers_what_it_answers(books, section, store):
    """Its comparisons know only the calls that it left to the model; the newest calls know all."""
    made = await begin(books)
    for _ in range(5):
        made = await promote(books, section, made.id, by="ann", reason="r", force=True)
    calls = [replace(example, policy=made.id if i % 4 else example.policy) for i, example in enumerate(examples(400))]
    left = [call for call in calls if call.policy != made.id]
    await store.flywheel.add_examples(calls, compared(made.id, left, accepted=lambda i: False))
    (view,) = await deployment_views(books, section)
    (job,) = await job_views(books, section)
    assert (view.state, view.evidence.coverage) == ("champion", 0.0)
    assert view.covers == pytest.approx(0.75)
    assert job.saves == pytest.approx(0.75 * job.monthly_cost)


async def test_views_hold_volume_cost_and_evidence(books, section, store):
    """What the console shows of a job and its deployment."""
    calls = examples(400)
    made = await begin(books)
    await store.flywheel.add_examples(calls, compared(made.id, calls, differ=lambda i: i == 200))
    await promote(books, section, made.id, by="ann", reason="r")
    (job,) = await job_views(books, section)
    assert (job.calls, job.callers, job.state, job.deployment, job.unpriced) == (400, 7, "shadow", made.id, 0)
    assert job.saves == pytest.approx(job.monthly_cost)
    (view,) = await deployment_views(books, section, job="triage")
    assert (view.evidence.compared, view.evidence.judged, view.evidence.pending) == (400, 200, ("e00200",))
    assert (view.next_state, view.next_share) == ("canary", 0.5)  # of so few calls a smaller share shows nothing
    assert view.why
    assert await job_views(books, FlywheelSection(callers=50)) != []  # what is deployed already stays in sight


async def test_a_row_whose_example_was_erased_is_no_row(books, section, store):
    """A difference that nobody can look at any more neither blocks the stream nor counts."""
    calls = examples(50)
    made = await begin(books)
    await store.flywheel.add_examples(calls[1:], compared(made.id, calls, differ=lambda i: i == 0))
    assert (await evidence_of(books, section, made)).judged == 49


def test_the_stream_stops_at_what_nobody_has_judged():
    """Rows are taken in order: later ones, which hold agreements alone, would drop differences."""
    calls = examples(6)
    rows = compared("d", calls, differ=lambda i: i in {1, 3}, accepted=lambda i: i != 4)
    answers = {call.id: call.answer for call in calls}
    first = judge_stream(rows, answers, {}, margin=0.02, alpha=0.05)
    assert (first.judged, first.pending, first.accepted, first.same) == (1, ("e00001", "e00003"), 5, 3)
    later = judge_stream(rows, answers, {"e00001": "other", "e00003": None}, margin=0.02, alpha=0.05)
    assert (later.judged, later.wins, later.losses, later.pending) == (6, 1, 0, ())


def test_equal_answers_pass_and_worse_ones_do_not():
    """Agreement alone is evidence; a specialist that people find wrong is refused."""
    calls = examples(600)
    answers = {call.id: call.answer for call in calls}
    same = judge_stream(compared("d", calls), answers, {}, margin=0.02, alpha=0.05)
    assert (same.decision, same.not_worse > 1) == ("better", True)
    rows = compared("d", calls, differ=lambda i: i % 5 == 0)
    bad = judge_stream(rows, answers, answers, margin=0.02, alpha=0.05)
    assert (bad.decision, bad.losses) == ("worse", 120)


def test_what_was_shown_once_stays_shown():
    """A later run of ties or bad luck takes nothing back, unless it shows the opposite."""
    calls = examples(900)
    answers = {call.id: call.answer for call in calls}
    truths = {call.id: "neither" for call in calls} | {call.id: call.answer for call in calls[600:612]}
    rows = compared("d", calls, differ=lambda i: 600 <= i < 612)
    later = judge_stream(rows, answers, truths, margin=0.02, alpha=0.05)
    assert (later.decision, later.losses) == ("better", 12)
    rows = compared("d", calls, differ=lambda i: i >= 600)
    assert judge_stream(rows, answers, answers, margin=0.02, alpha=0.05).decision == "worse"


def test_truth_is_what_people_say():
    """Most of them, the latest of equally many; never a teacher's or an caller's word."""
    labels = [says("a", "x"), says("a", "y", by="bob", time=NOW + 1), says("b", "z", origin="feedback")]
    assert truths_of(labels) == {"a": "y"}
    assert truths_of([*labels, says("a", "X ", by="eve", time=NOW + 2)]) == {"a": "x"}


def test_frozen_rows_refuse_one_bad_slice():
    """Overall it gains; on one label it lost twelve of twelve."""
    truths = {f"e{i}": "fee" if i < 12 else "lost" for i in range(60)}
    given = {e: t if i < 12 or i % 2 else "wrong" for i, (e, t) in enumerate(truths.items())}
    answers = dict.fromkeys(truths, "lost")
    result = judge_frozen(truths, given, answers)
    assert (result.worse, result.rows, result.passed) == (("fee",), 60, False)
    assert judge_frozen(truths, given, dict.fromkeys(truths)).passed  # whoever abstains changes nothing


def test_the_audit_sample_is_each_answers_share_of_the_slice():
    """Its examples are of the slice that is never trained on; later calls move it little."""
    calls = examples(600)
    sample = audit_sample(calls, 30, share=0.3)
    assert len(sample) == 30
    assert all(is_audit(call_id, 0.3) for call_id in sample)
    assert sum(int(call_id[1:]) % 3 == 0 for call_id in sample) == 10
    assert len(set(sample) & set(audit_sample(calls[:500], 30, share=0.3))) > 20


def test_templates_come_back_from_json():
    """A recogniser of another process finds the same input."""
    from coterie.runtime.codec import from_json, to_json

    template = Template(piece="Name the", runs=(("<user>", "Name", "the", "intent"), ("Name", "the", "intent", ":")))
    again = from_json(Template, to_json(template))
    assert again == template
    assert again.input_of([("user", "Name the intent: my card is gone")]) == "my card is gone"
    assert replace(again, piece="x").input_of([("user", "nothing")]) == "nothing"


async def test_another_process_reads_the_same(books, store):
    """Nothing is kept in memory."""
    made = await begin(books)
    assert await Deployments(store=store.flywheel).deployment(made.id) == made


def test_a_stage_of_too_few_calls_is_left_out():
    """The next one that answers enough calls in its time comes, and the last in any case."""
    shadow = Deployment(id="d", job="j1", specialist="s", version="v", state="shadow")
    shares = (0.01, 0.1, 0.5)

    def after(lane, calls):
        return next_step(lane, shares, control=0.02, calls=calls, enough=50)

    assert after(shadow, 5_000) == ("canary", 0, 0.01)
    assert after(shadow, 500) == ("canary", 1, 0.1)
    assert after(shadow, 70) == ("canary", 2, 0.5)
    canary = replace(shadow, state="canary", stage=0)
    assert after(canary, 5_000) == ("canary", 1, 0.1)
    assert after(canary, 499) == ("canary", 2, 0.5)
    assert after(replace(canary, stage=2), 70) == ("champion", 0, 0.98)


async def test_a_job_of_few_calls_goes_through_the_last_stage_alone(books, section, store):
    """By the gate; a person who forces it past the gate takes every stage."""
    made = await begin(books)
    await promote(books, section, made.id, by="ann", reason="r")
    calls = examples(400)
    await store.flywheel.add_examples(calls, compared(made.id, calls))
    forced = await begin(books, "b" * 16)
    for _ in range(2):
        forced = await promote(books, section, forced.id, by="ann", reason="r", force=True)
    assert forced.share == 0.01
    slow = section.model_copy(update={"canary_calls": 250})
    assert (await promote(books, slow, made.id, by="ann", reason="r")).share == 0.5

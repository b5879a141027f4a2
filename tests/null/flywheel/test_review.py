"""The review queue: order, blindness, claims, budget, undo, and what vanishes while it is looked at."""

from dataclasses import replace

import pytest

from coterie.config.flywheel import FlywheelSection
from coterie.errors import InputError
from coterie.flywheel.gates import drawn, is_audit
from coterie.flywheel.overview import evidence_of, promote
from coterie.flywheel.review import ReviewQueue
from coterie.store.erasure import ErasureScope

from .conftest import compared, examples
from .test_deployments import begin


@pytest.fixture
async def queue(books, section, store):
    """A job with a shadow that differs in every tenth call."""
    calls = examples(200)
    made = await begin(books)
    await promote(books, section, made.id, by="ann", reason="r")
    await store.flywheel.add_examples(calls, compared(made.id, calls, differ=lambda i: i % 10 == 4))
    return ReviewQueue(books, section)


async def ask(queue, count, *, reviewer="ann", value="fee"):
    """Answer so many items; what they were."""
    items = []
    for _ in range(count):
        item = await queue.next("triage", reviewer=reviewer)
        if item is None:
            break
        items.append(item)
        await queue.answer(item.example, value, reviewer=reviewer)
    return items


async def test_differences_come_first_in_order_and_every_third_is_an_audit(queue):
    """Until the audit slice has its labels; then what the specialist is least sure of."""
    items = await ask(queue, 18)
    purposes = [item.purpose for item in items]
    assert purposes[:6] == ["disagreement", "disagreement", "audit"] * 2
    differing = [item.example for item in items if item.purpose == "disagreement"]
    assert differing == sorted(differing)
    audits = [item for item in items if item.purpose == "audit"]
    assert all(is_audit(item.example, 0.2) and item.answers == () for item in audits)
    assert len(audits) <= 6


async def test_what_decides_the_gate_ends_its_questions(queue, books, section):
    """A shadow that loses every difference is decided after some: those that are left come after everything else."""
    items = await ask(queue, 40, value="lost")
    asked = [item.purpose for item in items]
    late = len(asked) - asked[::-1].index("margin")
    (made,) = await books.deployments()
    assert (await evidence_of(books, section, made)).decision == "worse"
    assert "disagreement" not in asked[asked.index("margin") : late]
    assert asked.count("disagreement") < 20


async def test_who_answered_what_is_not_told(queue, books, store):
    """Two answers stand in an order by the example's id, half of them turned."""
    items = [item for item in await ask(queue, 26) if item.purpose == "disagreement"]
    turned = [item.answers[0] == "other" for item in items]
    assert 0 < sum(turned) < len(turned)
    assert turned == [drawn(item.example, 0.5, salt="order") for item in items]


async def test_an_item_is_one_persons_for_a_while(queue, books):
    """Another reviewer gets another one; after five minutes it is free again; a skipped one does not come back."""
    mine = await queue.next("triage", reviewer="ann")
    assert (await queue.next("triage", reviewer="bob")).example != mine.example
    books.clock.advance(400)
    assert (await queue.next("triage", reviewer="eve")).example == mine.example
    await queue.skip(mine.example, reviewer="eve")
    assert (await queue.next("triage", reviewer="eve")).example != mine.example


async def test_undo_takes_the_last_label_back(queue, store):
    """And gives its item again; nothing of anybody else's."""
    (item,) = await ask(queue, 1)
    await ask(queue, 1, reviewer="bob")
    again = await queue.undo(reviewer="ann")
    assert (again.example, again.purpose) == (item.example, item.purpose)
    assert await queue.undo(reviewer="ann") is None
    assert [each.by for each in await store.flywheel.labels()] == ["bob"]


async def test_progress_counts_and_the_weeks_budget_ends_it(queue, books):
    """No more labels than people are to give in a week; agreement is of items that two people saw."""
    tight = ReviewQueue(books, FlywheelSection(audits=6, audit_share=0.2, labels=5))
    assert len(await ask(tight, 9)) == 5
    progress = await tight.progress("triage")
    assert (progress.labelled, progress.week, progress.budget, progress.reviewers) == (5, 5, 5, {"ann": 5})
    assert (progress.agreement, progress.teacher.method) == (None, "exact")
    assert progress.pending + progress.labelled - progress.by_purpose["audit"] == 20
    for label in await books.store.labels():
        await books.store.put_label(replace(label, by="bob"))
    assert (await tight.progress("triage")).agreement == 1.0


async def test_what_is_erased_while_it_is_looked_at(queue, store):
    """The label is refused, and the next item comes."""
    item = await queue.next("triage", reviewer="ann")
    await store.erase_all(ErasureScope(tenant="default"))
    with pytest.raises(InputError):
        await queue.answer(item.example, "fee", reviewer="ann")
    assert await queue.next("triage", reviewer="ann") is None


async def test_only_labels_of_the_job_or_none(queue, store):
    """A label is spelled as the job spells it; none of them is a label too."""
    item = await queue.next("triage", reviewer="ann")
    with pytest.raises(InputError):
        await queue.answer(item.example, "sunshine", reviewer="ann")
    assert (await queue.answer(item.example, " FEE.", reviewer="ann")).value == "fee"
    assert (await queue.answer(item.example, None, reviewer="ann")).value is None


async def test_labels_that_look_like_noise_are_asked_after_differences_and_audits(queue, books):
    """Without showing the answer that is in doubt; those that are labelled are not asked again."""
    job = await books.job("triage")
    noisy = ("e00001", "e00002")
    await books.put_job(replace(job, doubtful=noisy))
    items = await ask(queue, 30)
    assert [item.example for item in items if item.purpose == "doubt"] == list(noisy)
    assert all(item.answers == () for item in items if item.purpose == "doubt")
    order = [item.purpose for item in items]
    assert order.index("doubt") > max(i for i, each in enumerate(order) if each in {"disagreement", "audit"})
    kept = [each.purpose for each in await books.store.labels(job=job.id) if each.example in noisy]
    assert kept == ["doubt", "doubt"]

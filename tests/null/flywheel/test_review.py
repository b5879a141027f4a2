"""The review queue: order, blindness, claims, budget, undo, and what vanishes while it is looked at."""

from dataclasses import replace

import pytest

from coterie.config.operation import FlywheelSection
from coterie.errors import InputError
from coterie.flywheel.deployments import KnownJob
from coterie.flywheel.gates import drawn, is_audit
from coterie.flywheel.overview import evidence_of, promote
from coterie.flywheel.review import JobWorth, ReviewQueue
from coterie.store.erasure import ErasureScope

from .conftest import LABELS, NOW, compared, examples
from .test_deployments import begin


def replaced(section, **changes):
    """The section with other values."""
    return FlywheelSection(**{**section.model_dump(exclude={"money"}), **changes})


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
    purposes = [item.purpose for item in items]
    late = len(purposes) - purposes[::-1].index("margin")
    (made,) = await books.deployments()
    assert (await evidence_of(books, section, made)).decision == "worse"
    assert "disagreement" not in purposes[purposes.index("margin") : late]
    assert purposes.count("disagreement") < 20


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
    assert [label.by for label in await store.flywheel.labels()] == ["bob"]


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


async def test_an_object_is_chosen_by_its_fields(books, section, store):
    """Of a job of objects people see the values that each field has had, also of the audit slice; a label is one."""
    job = await books.job("triage")
    await books.put_job(replace(job, shape="json", labels={"animal": "animal", "urgent": "urgent"}))
    answers = ['{"animal": "dog", "urgent": true}', '{"urgent": false, "animal": "dog"}', '{"animal": "cat"', "no idea"]
    calls = [replace(example, answer=answers[i % 4]) for i, example in enumerate(examples(200))]
    made = await begin(books)
    await promote(books, section, made.id, by="ann", reason="r")
    await store.flywheel.add_examples(calls, compared(made.id, calls, differ=lambda i: i % 4 == 2))
    queue = ReviewQueue(books, section)
    items = await queue.upcoming("triage", 3, reviewer="ann")

    assert {item.purpose for item in items} == {"audit", "disagreement"}
    fields = {"animal": ('"dog"',), "urgent": ("true", "false")}
    assert all((item.fields, item.labels) == (fields, ()) for item in items)  # neither answer is such an object
    for wrong in ("dog", '{"animal": "dog"}', '{"animal": "dog", "urgent": true, "more": 1}'):
        with pytest.raises(InputError):
            await queue.answer(items[0].example, wrong, reviewer="ann")
    label = await queue.answer(items[0].example, '```{"urgent": true,"animal": "cat"}```', reviewer="ann")
    assert label.value == '{"animal": "cat", "urgent": true}'


async def test_labels_that_look_like_noise_are_asked_after_differences_and_audits(queue, books, section):
    """Without showing the answer that is in doubt; those that are labelled are not asked again."""
    job = await books.job("triage")
    noisy = ("e00001", "e00002")
    await books.put_job(replace(job, doubtful=noisy))
    queue = ReviewQueue(books, replaced(section, labels=200))
    items = await ask(queue, 30)
    assert [item.example for item in items if item.purpose == "doubt"] == list(noisy)
    assert all(item.answers == () for item in items if item.purpose == "doubt")
    order = [item.purpose for item in items]
    assert order.index("doubt") > max(i for i, purpose in enumerate(order) if purpose in {"disagreement", "audit"})
    kept = [label.purpose for label in await books.store.labels(job=job.id) if label.example in noisy]
    assert kept == ["doubt", "doubt"]


async def test_noise_is_asked_about_with_labels_to_spare(queue, books, section):
    """Seven tenths of the week's labels are for differences and audits, whose gates wait: noise may have the rest."""
    job = await books.job("triage")
    await books.put_job(replace(job, doubtful=tuple(f"e{i:05d}" for i in range(60, 90))))
    spare = ReviewQueue(books, replaced(section, labels=100))
    purposes = [item.purpose for item in await ask(spare, 60)]
    assert 0 < purposes.count("doubt") == 30 - purposes.count("disagreement") - purposes.count("audit")
    assert purposes.index("margin") > 29


async def test_the_shadow_that_is_nearest_its_decision_is_asked_about_first(queue, books, section, store):
    """A second one, of other calls and hardly begun, waits until the first is decided."""
    other = await begin(books, "b" * 16)
    await promote(books, section, other.id, by="ann", reason="r")
    earlier = [replace(example, id=f"a{example.id}", time=example.time - 1_000) for example in examples(40)]
    await store.flywheel.add_examples(earlier, compared(other.id, earlier, differ=lambda i: i % 2 == 1))
    first = [item.example for item in await ask(queue, 16) if item.purpose == "disagreement"]
    assert first[0].startswith("a")  # before anything is known, in order of time
    near = {
        deployment.id: (await evidence_of(books, section, deployment)).not_worse
        for deployment in await books.deployments()
    }
    items = [item.example for item in await ask(queue, 9) if item.purpose == "disagreement"]
    nearest = max(near, key=near.get)
    assert all(item.startswith("a") == (nearest == other.id) for item in items)


async def test_jobs_whose_labels_bring_most_stand_first(queue, books, store, section):
    """Of two with one shadow each the one with ten times the calls; one without a shadow comes last."""
    for number, (name, count) in enumerate({"busy": 2_000, "idle": 0}.items(), 2):
        job = KnownJob(id=f"j{number}", name=name, labels=LABELS, found=NOW)
        await books.put_job(job)
        calls = [replace(example, id=f"{name}{example.id}", job=job.id) for example in examples(count or 50)]
        rows = []
        if count:
            made = await books.begin(job, "c" * 16, by="x", reason="r", figures={}, changed=await books.job(job.id))
            await promote(books, section, made.id, by="ann", reason="r")
            rows = compared(made.id, calls, differ=lambda i: i % 10 == 4)
        await store.flywheel.add_examples(calls, rows)
    worth = await queue.worth()
    assert [entry.job for entry in worth][-1] == "j3"
    assert worth[-1].calls == 0.0
    assert worth[0].each > worth[1].each > 0
    assert (await queue.next((await books.job(worth[0].job)).name, reviewer="ann")).purpose == "disagreement"
    job, item = await queue.next_of_all(reviewer="ann")
    assert (job, item.job) == (worth[0].job, worth[0].job)


async def test_differences_beyond_what_a_gate_takes_cost_no_label(queue, books, store):
    """A job waited weeks for four labels because hundreds of its differences waited behind them."""
    before = (await queue.worth())[0]
    later = [replace(example, id=f"f{example.id}") for example in examples(4_000)]
    (made,) = await books.deployments()
    await store.flywheel.add_examples(later, compared(made.id, later, differ=lambda i: i % 10 == 4))
    after = (await queue.worth())[0]
    assert after.labels == pytest.approx(before.labels, rel=0.05)
    assert after.labels < 100


async def test_audits_that_a_promotion_needs_come_sooner_than_later_ones(books, section, store):
    """The sample moves on with each call: once a promotion has its labels, new members wait behind all differences."""
    queue = ReviewQueue(books, replaced(section, labels=500, audits=6, margin=0.0))
    made = await begin(books)
    await promote(books, section, made.id, by="ann", reason="r")
    purposes = []
    for part in range(4):
        calls = [
            replace(example, id=f"p{part}{example.id}", time=example.time + 9_000 * part) for example in examples(400)
        ]
        rows = compared(made.id, calls, differ=lambda i: i % 3 == 1)
        await store.flywheel.add_examples(calls, rows)
        purposes += [item.purpose for item in await ask(queue, 30, value=None)]
    assert purposes[2] == "audit"
    assert 0 < purposes.count("audit") <= 6


async def test_one_person_alone_gives_all_labels_that_a_promotion_needs(books, section, store):
    """Items that a second person is to see wait for nobody: they take no place among those."""
    queue = ReviewQueue(books, replaced(section, labels=120, audits=60, margin=0.0))
    made = await begin(books)
    await promote(books, section, made.id, by="ann", reason="r")
    calls = examples(900)
    await store.flywheel.add_examples(calls, compared(made.id, calls, differ=lambda i: i % 30 == 1))
    items = await ask(queue, 90, value=None)
    assert [item.purpose for item in items].count("audit") >= 50
    assert (await queue.progress("triage")).audits_missing == 0


async def test_a_job_that_asks_nothing_is_passed_over(queue, books, section):
    """Whatever its labels would bring; without a job that people can label it says so."""
    tight = ReviewQueue(books, replaced(section, labels=0))
    assert (await tight.next_of_all(reviewer="ann"))[1] is None
    await books.put_job(replace(await books.job("triage"), ignored=True))
    with pytest.raises(InputError):
        await queue.next_of_all(reviewer="ann")


async def test_what_a_promotion_of_any_job_waits_for_comes_before_the_rest(queue, books, store):
    """Not ninety rows that look like noise of the job whose labels bring most, while differences of another wait."""
    worth = await queue.worth()
    job = KnownJob(id="j2", name="idle", labels=LABELS, found=NOW, doubtful=("noise0",))
    await books.put_job(job)
    await store.flywheel.add_examples(
        [replace(example, id=f"noise{example.id[-1]}", job="j2") for example in examples(1)]
    )
    order = [JobWorth(job="j2", calls=9e9, labels=1.0), *worth]

    class First(ReviewQueue):
        async def worth(self):
            """The job without differences first."""
            return order

    job_id, item = await First(queue.books, queue.section).next_of_all(reviewer="ann")
    assert (job_id, item.purpose) == ("j1", "disagreement")

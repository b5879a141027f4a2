"""Choose the items on which a person's label is most useful, for the console and `/api/flywheel/review`.

    queue = ReviewQueue(Deployments(store=store.flywheel, audit=audit), section)     # section: config.flywheel
    item = await queue.next("triage", reviewer="ann")        # a ReviewItem, or None: nothing is to be asked
    await queue.answer(item.example, "card_lost", reviewer="ann")  # or None: no label is right, or it cannot be told
    await queue.skip(item.example, reviewer="ann")           # not now; somebody else is asked
    await queue.undo(reviewer="ann")                         # takes back her last label, returns its item
    await queue.progress("triage")                           # ReviewProgress: counts, the budget, agreement, accuracy

Order of items:

First, differences between a specialist and the current model. The deployment whose gate needs the fewest labels per
call that it would answer comes first, and its oldest difference, since the gate reads them in order. One in three items
is from the audit slice while that has too few labels for a promotion, sampled in proportion to the answers.

Then, while labels of the week are left: new members of that slice, whose sample changes with each call; training rows
whose label is likely noise; and accepted answers with the least confidence. Differences of a serving deployment come
last, since its gate was passed.

The answers of an item are in an order that does not reveal their sources. Some items, sampled by id, are shown to a
second person: `agreement` is Cohen's kappa on those. `worth` returns the jobs whose labels are most useful.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar, cast

from coterie.config.operation import FlywheelSection
from coterie.errors import InputError
from coterie.flywheel.deployments import LIVE, Deployment, Deployments, KnownJob
from coterie.flywheel.discovery import fold, items_in
from coterie.flywheel.fields import keys_of, object_of, seen_values, values_of
from coterie.flywheel.gates import Estimate, audit_sample, drawn, judge_differences, teacher_accuracy, truths_of
from coterie.flywheel.overview import served_share
from coterie.flywheel.training import TRAINABLE
from coterie.types import (
    AnsweredCall,
    CapturedExample,
    ComparedAnswer,
    FlywheelChanged,
    FlywheelRecord,
    GivenLabel,
    JobVolume,
    Label,
    ReviewPurpose,
)

T = TypeVar("T")
Asked = list[tuple[str, ReviewPurpose]]
_DAY, _WEEK, _MONTH = 86_400.0, 7 * 86_400.0, 30 * 86_400.0
_CLAIM = "claim"
_CLAIMED = 300.0
"""Seconds for which an item is reserved for one person."""
TWICE = 0.1
"""Share of items that are shown to two people."""
_ONE_IN = 3
"""One in so many items is from the audit slice while that lacks labels for a promotion and differences are waiting."""
_SPARED = 0.7
"""Share of the week's labels that is reserved for differences and audits, for which gates are waiting."""
_SHOWN = 100
"""Items of lowest confidence from which one is chosen."""
_LEAST_GAIN = 0.01
"""Smallest assumed share of calls that a shadow would answer in addition to today's."""
_DECIDES = 8
"""Judged differences below which no gate is decided."""
_REMEMBERED = 60.0
"""Seconds for which pages cache slowly changing values."""
_READ = 5_000
"""Newest answers of a job from which the audit slice is sampled."""


@dataclass(frozen=True, kw_only=True)
class ReviewItem:
    """One example for a person to label."""

    example: str
    job: str
    purpose: ReviewPurpose
    """Purpose of the item, which must not be shown before the label is given."""
    text: str
    """The input, scrubbed of personal data."""
    prompt: tuple[tuple[str, str], ...]
    """The whole prompt, scrubbed."""
    answers: tuple[str, ...]
    """The given answers without their sources: one, or two that differ.

    Empty for the audit slice, and where the answer is in doubt.
    """
    labels: tuple[str, ...]
    """All answers of the job, most frequent first; empty for free text.

    For objects, those of `answers` that have the job's fields.
    """
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of objects: the JSON texts of the values that each field has had, the most frequent first. Of lists of labels the
    labels; a list that is all of an answer is a field without a name."""
    several: tuple[str, ...] = ()
    """Fields that have any number of these."""


@dataclass(frozen=True, kw_only=True)
class ReviewProgress:
    """Progress of people's labelling of a job."""

    job: str
    labelled: int
    """Number of examples with a person's label."""
    by_purpose: dict[str, int]
    pending: int
    """Number of unjudged differences."""
    audits_missing: int
    week: int
    """Number of labels in the last seven days, for all jobs."""
    budget: int
    reviewers: dict[str, int]
    agreement: float | None
    """Cohen's kappa of two people's labels; None where no example has two."""
    twice: int
    """Number of examples for `agreement`."""
    teacher: Estimate
    """Accuracy of the current model."""


@dataclass(frozen=True, kw_only=True)
class JobWorth:
    """The expected gain from labels of a job."""

    job: str
    calls: float
    """Calls per month that a deployment would answer in addition to today's; the maximum of the job's shadows."""
    labels: float
    """Labels that its gate is expected to need for that."""

    @property
    def each(self) -> float:
        """Calls per month that one label gains."""
        return self.calls / max(1.0, self.labels)


@dataclass(frozen=True, kw_only=True)
class _Desk:
    """A snapshot of a job for choosing items."""

    job: KnownJob
    answered: list[AnsweredCall]
    """The newest calls, without their texts."""
    sample: list[str]
    """Examples of the audit slice that need a label."""
    fields: Mapping[str, tuple[str, ...]]
    """For objects: the values that each field has had."""
    several: tuple[str, ...]
    live: list[Deployment]
    differing: list[ComparedAnswer]
    """Differences of deployments with an open gate: the most useful deployment first, in order of time."""
    late: list[ComparedAnswer]
    """Differences of the other deployments."""
    unsure: list[ComparedAnswer]
    """Accepted answers with the least confidence, in ascending order."""
    labels: list[GivenLabel]


@dataclass(frozen=True)
class ReviewQueue:
    """Chooses items, and stores people's labels."""

    books: Deployments
    section: FlywheelSection
    memory: dict[tuple[str, ...], tuple[float, Any]] | None = None
    """Cache of pages for a minute: newest calls, the audit slice, whether a gate is decided. None reads anew."""
    clearance: Label | None = None
    """The most sensitive label whose text the reviewer may see; None for all of it."""

    async def next(self, job: str, *, reviewer: str, waited_for: bool = False) -> ReviewItem | None:
        """Return the next item for a reviewer; None if there is none, or the week's labels are used up.

        With `waited_for`, only items that a promotion needs. The item is reserved for five minutes. Raises
        `InputError` for an unknown job.
        """
        items = await self.upcoming(job, 1, reviewer=reviewer, only_waited_for=waited_for)
        return next(iter(items), None)

    async def upcoming(
        self, job: str, count: int, *, reviewer: str, now: float | None = None, only_waited_for: bool = False
    ) -> list[ReviewItem]:
        """Return the next items in order, for a page that shows the next one at once; see `next`."""
        now = self.books.clock() if now is None else now
        left = await self.left(now=now)
        if left <= 0:
            return []
        desk = await self._desk(job)
        taken: list[tuple[str, ReviewPurpose]] = []
        claims = {record.id: record for record in await self.books.store.records(_CLAIM, since=now - _DAY)}
        mine = {label.example for label in desk.labels if label.by == reviewer and label.origin == "person"}
        spare = left - int(_SPARED * self.section.labels)
        waited_for, others = await asyncio.to_thread(self._order, desk)
        order = [*waited_for, *(() if only_waited_for else others)]
        hidden = await self._hidden([example for example, _ in order])
        for index, (example, purpose) in enumerate(order):
            if index >= len(waited_for) and purpose in {"audit", "doubt"} and len(taken) >= spare:
                continue
            if example in mine or example in hidden or _is_taken(claims.get(example), reviewer, now):
                continue
            if _is_held(claims.get(example), reviewer, now, purpose) or await self._claim(
                example, reviewer, now, purpose=purpose
            ):
                taken.append((example, purpose))
            if len(taken) >= min(count, left):
                break
        examples = await self.books.store.examples_of([example for example, _ in taken])
        return [self._item(desk, examples[example], purpose) for example, purpose in taken if example in examples]

    async def _hidden(self, examples: Sequence[str]) -> set[str]:
        """Those whose text the reviewer may not see."""
        if self.clearance is None or self.clearance == max(Label):
            return set()
        rows = await self.books.store.examples_of(examples)
        return {key for key, example in rows.items() if example.label > self.clearance}

    async def worth(self) -> list[JobWorth]:
        """Return the jobs that people can label, the most useful first, since a week has few labels."""
        volumes = {volume.job: volume for volume in await self.books.store.volumes()}
        worths = []
        for job in await self.books.jobs():
            volume = volumes.get(job.id)
            if job.labels and not job.ignored and job.shape in TRAINABLE and volume is not None:
                worths.append(await self._worth(job, volume))
        return sorted(worths, key=lambda job_worth: -job_worth.each)

    async def next_of_all(self, *, reviewer: str) -> tuple[str, ReviewItem | None]:
        """Return the most useful job that has an item to label, and its next item.

        Items that no promotion needs come after those that a promotion of any job needs. Raises `InputError` if there
        is no job that people can label.
        """
        worth = await self.worth()
        if not worth:
            raise InputError("There is no job that people can label yet.", hint="See `coterie flywheel status`.")
        for waited_for in (True, False):
            for job_worth in worth:
                item = await self.next(job_worth.job, reviewer=reviewer, waited_for=waited_for)
                if item is not None:
                    return job_worth.job, item
        return worth[0].job, None

    async def _worth(self, job: KnownJob, volume: JobVolume) -> JobWorth:
        """Return the calls that the most useful shadow of a job would answer, and the labels until then."""
        labels = await self.books.store.labels(job=job.id, feedback=False)
        truths, best = truths_of(labels), JobWorth(job=job.id, calls=0.0, labels=0.0)
        pace = volume.calls * _MONTH / max(volume.last - volume.first, _DAY)
        lanes = [deployment for deployment in await self.books.deployments(job.id) if deployment.state in LIVE]
        margin, alpha = self.section.margin, self.section.alpha
        streams = {lane.id: await self.books.store.stream(lane.id) for lane in lanes}
        judged = {
            key: await asyncio.to_thread(judge_differences, stream, truths, margin=margin, alpha=alpha)
            for key, stream in streams.items()
        }
        served = await served_share(self.books, job.id)
        audits = max(0, self.section.audits - sum(label.purpose == "audit" for label in labels))
        for lane in lanes:
            evidence = judged[lane.id]
            if lane.serves or evidence.decision != "open" or not evidence.compared:
                continue
            # Differences that wait beyond the rows that its gate still takes need no label.
            needed = evidence.rows_left * evidence.disagreement * evidence.coverage + audits
            gain = JobWorth(job=job.id, calls=pace * max(0.0, evidence.coverage - served), labels=needed)
            best = max(best, gain, key=lambda worth: worth.each)
        return best

    async def left(self, *, now: float | None = None) -> int:
        """Return the number of labels that people may still be asked for this week."""
        now = self.books.clock() if now is None else now
        return self.section.labels - await self.books.store.given(since=now - _WEEK)

    async def answer(self, example: str, value: str | None, *, reviewer: str) -> GivenLabel:
        """Store a label; None says that no label is right, or that it cannot be decided.

        Raises:
            InputError: the example is gone (erased or expired), or the job has no such label.
        """
        job = await self._job_of(example)
        if value is not None and job.shape == "labels":
            spelled = job.labels.get(fold(value))
            if spelled is None:
                raise InputError(
                    f"{value!r} is no label of {job.name!r}; it has {sorted(job.labels.values())}.",
                    hint="Use one of these, or null for none of them.",
                )
            value = spelled
        elif value is not None and (keys := keys_of(job.shape, job.labels)):
            values = values_of(value, keys)
            is_label = job.shape == "json" or all(fold(str(item)) in job.labels for item in items_in(value) or ())
            if values is None or not is_label:
                form = "lists of" if job.shape == "lists" else "JSON objects of"
                raise InputError(
                    f"{value[:200]!r} is no answer of {job.name!r}: those are {form} {', '.join(job.labels.values())}.",
                    hint="Give one of this form, or null for none of them.",
                )
            value = object_of({key: values[key] for key in keys})
        claim = await self.books.store.record(_CLAIM, example)  # what it was shown for
        purpose: ReviewPurpose = "margin" if claim is None else claim.body.get("purpose", "margin")
        label = GivenLabel(
            example=example, origin="person", by=reviewer, value=value, time=self.books.clock(), purpose=purpose
        )
        if not await self.books.store.put_label(label):
            raise _gone(example)
        return label

    async def skip(self, example: str, *, reviewer: str) -> None:
        """Leave an item to others: it is not shown to this reviewer for a day. Raises `InputError` if it is gone."""
        await self._job_of(example)
        await self._claim(example, reviewer, self.books.clock(), skipped=True)

    async def undo(self, *, reviewer: str) -> ReviewItem | None:
        """Delete the reviewer's last label of the week and return its item; None if there is none."""
        given = await self.books.store.labels(since=self.books.clock() - _WEEK, feedback=False)
        own_labels = [label for label in given if label.origin == "person" and label.by == reviewer]
        jobs = {job.id for job in await self.books.jobs()}
        examples_found = await self.books.store.examples_of([label.example for label in own_labels])
        examples_found = {key: example for key, example in examples_found.items() if example.job in jobs}
        last = next((label for label in reversed(own_labels) if label.example in examples_found), None)
        if last is None or not await self.books.store.drop_label(last) or await self._hidden([last.example]):
            return None
        desk = await self._desk(examples_found[last.example].job)
        return self._item(desk, examples_found[last.example], last.purpose or "margin")

    async def _job_of(self, example: str) -> KnownJob:
        """The job of an example. Raises `InputError` if the example is gone, or another tenant's."""
        example_found = (await self.books.store.examples_of([example])).get(example)
        job = next(
            (job for job in await self.books.jobs() if example_found is not None and job.id == example_found.job), None
        )
        if job is None:
            raise _gone(example)
        return job

    async def progress(self, job: str) -> ReviewProgress:
        """Return the progress of labelling a job. Raises `InputError` for an unknown job."""
        desk = await self._desk(job)
        people = [label for label in desk.labels if label.origin == "person"]
        truths = truths_of(people)
        waiting = {row.example for row in [*desk.differing, *desk.late] if row.example not in truths}
        first = await self.books.store.examples_of([row.id for row in desk.answered[:1]])
        since = min((example.time for example in first.values()), default=0.0)
        compared = [row for lane in desk.live for row in await self.books.store.confidences(lane.id, since=since)]
        sample = desk.sample
        agreement, twice = agreement_of([(person.example, person.value) for person in people])
        return ReviewProgress(
            job=desk.job.id,
            labelled=len(truths),
            by_purpose=dict(Counter(person.purpose for person in people)),
            pending=len(waiting),
            audits_missing=sum(example not in truths for example in sample),
            week=await self.books.store.given(since=self.books.clock() - _WEEK),
            budget=self.section.labels,
            reviewers=dict(Counter(person.by for person in people)),
            agreement=agreement,
            twice=twice,
            teacher=await asyncio.to_thread(teacher_accuracy, truths, desk.answered, compared, sample),
        )

    # --- what is asked next ----------------------------------------------------------------------

    def _order(self, desk: _Desk) -> tuple[Asked, Asked]:
        """Return examples to label, the most useful first: those that gates need, and the others."""
        people = [label for label in desk.labels if label.origin == "person"]
        label_counts = Counter(person.example for person in people)
        done = {example for example, n in label_counts.items() if n > drawn(example, TWICE, salt="twice")}
        again = [person.example for person in people if person.purpose == "disagreement" and person.example not in done]
        differing = deque(dict.fromkeys([*again, *(row.example for row in desk.differing)]))
        audits = deque(example for example in desk.sample if example not in label_counts)
        given = {person.example for person in people if person.purpose == "audit"}.union(
            label_counts.keys() & set(desk.sample)
        )
        missing = max(0, len(desk.sample) - len(given))  # that a promotion waits for; the sample moves on all the time
        order: list[tuple[str, ReviewPurpose]] = []
        while differing or (audits and missing):
            audit = bool(audits and missing) and (
                not differing or (len(label_counts) + len(order)) % _ONE_IN == _ONE_IN - 1
            )
            missing -= audit
            order.append((audits.popleft(), "audit") if audit else (differing.popleft(), "disagreement"))
        chosen = {example for example, _ in order}
        twice = [example for example in desk.sample if example in label_counts and example not in done]
        others: list[tuple[str, ReviewPurpose]] = [(example, "audit") for example in [*twice, *audits]]
        others += [(example, "doubt") for example in desk.job.doubtful if example not in label_counts]
        others += [(row.example, "margin") for row in desk.unsure if row.example not in label_counts][:_SHOWN]
        late = dict.fromkeys(row.example for row in desk.late if row.example not in chosen)
        return order, [*others, *((example, "disagreement") for example in late)]

    def _sample(self, job: KnownJob, live: Sequence[Deployment], answered: Sequence[AnsweredCall]) -> list[str]:
        """Return examples of the audit slice that need a label: for closed answers, once there is a specialist."""
        if job.shape not in TRAINABLE or not (live or len(answered) >= self.section.calls):
            return []
        return audit_sample(answered, self.section.audits, share=self.section.audit_share)

    # --- what is known ---------------------------------------------------------------------------

    async def _desk(self, key: str) -> _Desk:
        job = await self.books.job(key)
        store = self.books.store
        live = [deployment for deployment in await self.books.deployments(job.id) if deployment.state in LIVE]
        labels = list(await store.labels(job=job.id, feedback=False))
        served = await served_share(self.books, job.id)
        open_: list[tuple[float, ComparedAnswer]] = []
        late: list[ComparedAnswer] = []
        for deployment in live:
            waiting = await store.differences(deployment.id)
            price = await self._price(deployment, labels, served) if waiting else None
            if price is None:
                late += waiting
            else:
                open_ += [(price, row) for row in waiting]
        unsure = [row for deployment in live for row in await store.unsure(deployment.id, limit=_SHOWN)]
        answered, sample, (fields, several) = await self._lately(("calls", job.id), partial(self._calls, job, live))
        return _Desk(
            job=job,
            answered=answered,
            sample=sample,
            fields=fields,
            several=several,
            live=live,
            differing=[row for _, row in sorted(open_, key=lambda item: (item[0], item[1].time, item[1].example))],
            late=sorted(late, key=lambda row: (row.time, row.example)),
            unsure=sorted(unsure, key=lambda row: row.confidence),
            labels=labels,
        )

    async def _price(self, deployment: Deployment, labels: Sequence[GivenLabel], served: float) -> float | None:
        """Return the labels that a deployment's gate is expected to need, per call that it answers beyond today's.

        None if it needs no more: the gate was passed, or the present labels decide it.
        """
        if deployment.serves:
            return None
        if sum(label.purpose == "disagreement" for label in labels) < _DECIDES:
            return 0.0

        async def judged() -> float | None:
            stream, truths = await self.books.store.stream(deployment.id), truths_of(labels)
            margin, alpha = self.section.margin, self.section.alpha
            evidence = await asyncio.to_thread(judge_differences, stream, truths, margin=margin, alpha=alpha)
            more = max(evidence.coverage - served, _LEAST_GAIN)
            return (
                evidence.rows_left * evidence.disagreement * evidence.coverage / more
                if evidence.decision == "open"
                else None
            )

        return await self._lately(("decided", deployment.id), judged)

    async def _calls(
        self, job: KnownJob, live: Sequence[Deployment]
    ) -> tuple[list[AnsweredCall], list[str], tuple[Mapping[str, tuple[str, ...]], tuple[str, ...]]]:
        """Return the newest calls of a job, those of the audit slice that need a label, and the values of fields."""
        answered = list(await self.books.store.answered(job.id, limit=_READ))
        answers = [example.answer for example in answered]
        fields = await asyncio.to_thread(seen_values, answers, keys_of(job.shape, job.labels))
        return answered, await asyncio.to_thread(self._sample, job, live, answered), fields

    async def _lately(self, key: tuple[str, ...], make: Callable[[], Awaitable[T]]) -> T:
        """Return a value cached under a key within a minute, where there is a cache; else make it."""
        if self.memory is None:
            return await make()
        now, held = self.books.clock(), self.memory.get(key)
        if held is None or not 0 <= now - held[0] < _REMEMBERED:
            self.memory[key] = held = now, await make()
        return cast("T", held[1])

    @staticmethod
    def _item(desk: _Desk, example: CapturedExample, purpose: ReviewPurpose) -> ReviewItem:
        rows = [*desk.differing, *desk.late]
        other = next((row.answer for row in rows if row.example == example.id), None)
        answers = (example.answer,) if other is None else (example.answer, other)
        shown = () if purpose in {"audit", "doubt"} else answers[:: -1 if drawn(example.id, 0.5, salt="order") else 1]
        labels: Sequence[str] = ()
        if desk.job.shape == "labels":
            labels = tuple(desk.job.labels.values())
        elif keys := keys_of(desk.job.shape, desk.job.labels):
            labels = [label for label in shown if values_of(label, keys) is not None]
        return ReviewItem(
            example=example.id,
            job=desk.job.id,
            purpose=purpose,
            text=example.input,
            prompt=example.prompt,
            answers=shown,
            labels=tuple(labels),
            fields=desk.fields,
            several=desk.several,
        )

    async def _claim(
        self, example: str, reviewer: str, now: float, *, skipped: bool = False, purpose: ReviewPurpose | None = None
    ) -> bool:
        """Reserve an item; return False if another reviewer was faster."""
        old = await self.books.store.record(_CLAIM, example)
        before = [] if old is None else list(old.body["skipped"])
        body: dict[str, object] = {
            "by": "" if skipped else reviewer,
            "skipped": [*before, reviewer] if skipped else before,
            "purpose": purpose or (old.body.get("purpose", "margin") if old else "margin"),
        }
        claim = FlywheelRecord(kind=_CLAIM, id=example, time=now, body=body)
        try:
            await self.books.store.put(claim if old is None else replace(claim, revision=old.revision))
        except FlywheelChanged:
            return False
        return True


def _gone(example: str) -> InputError:
    return InputError(
        f"Example {example!r} is gone: it was erased, or is older than [capture] days.",
        hint="Take the next item.",
    )


def _is_taken(claim: FlywheelRecord | None, reviewer: str, now: float) -> bool:
    """Return whether an item is reserved by another reviewer, or was skipped by this one within a day."""
    if claim is None:
        return False
    others = claim.body["by"] != reviewer and now < claim.time + _CLAIMED
    return others or (reviewer in claim.body["skipped"] and now < claim.time + _DAY)


def _is_held(claim: FlywheelRecord | None, reviewer: str, now: float, purpose: ReviewPurpose) -> bool:
    """Return whether an item stays reserved for this reviewer and purpose long enough without a new claim."""
    if claim is None or claim.body["by"] != reviewer or claim.body.get("purpose") != purpose:
        return False
    return now < claim.time + _CLAIMED / 2


def agreement_of(labels: Sequence[tuple[str, str | None]]) -> tuple[float | None, int]:
    """Return Cohen's kappa of the first two people's labels of the same items, and the number of those items.

    Args:
        labels: Item and label, in order of time.
    """
    by_example: dict[str, list[str]] = defaultdict(list)
    for example, value in labels:
        by_example[example].append("" if value is None else fold(value))
    pairs = [next(pairwise(values)) for values in by_example.values() if len(values) > 1]
    if not pairs:
        return None, 0
    same = sum(a == b for a, b in pairs) / len(pairs)
    first, second = (Counter(column) for column in zip(*pairs, strict=True))
    chance = sum(first[name] * second[name] for name in first) / len(pairs) ** 2
    return (1.0 if chance == 1 else (same - chance) / (1 - chance)), len(pairs)

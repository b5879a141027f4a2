"""One run of the flywheel: find jobs, train what is due, advance deployments or roll them back.

A run is a list of due steps, executed one by one. Every step ends with one transaction of the store, so the next run
continues a run that was killed. Only one run is active at a time, by a lease in the store with an expiry. The weekly
limits of runs are counted there too. `plan` returns the same steps without executing them.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import platform
import re
import time as clocks
import unicodedata
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from coterie.config.file import Config
from coterie.errors import ArtefactRefused, CoterieError, DataError, InputError
from coterie.flywheel.deployments import MONITORS, Deployment, Deployments, JobAlarm, KnownJob
from coterie.flywheel.discovery import (
    Answers,
    Discovery,
    FoundJob,
    RecordedCall,
    Template,
    answers_of,
    changes_of,
    discover,
    fold,
    items_in,
)
from coterie.flywheel.fields import keys_of
from coterie.flywheel.gates import (
    BreakEven,
    FrozenEvidence,
    Repeats,
    Within,
    asked_before,
    audit_sample,
    break_even,
    doubtful,
    is_audit,
    judge_frozen,
    live_rows,
    model_slips,
    row_differences,
    row_gains,
    row_weights,
    teacher_accuracy,
    truths_of,
    unforeseen,
)
from coterie.flywheel.overview import (
    NEWEST_ROWS,
    also_waits_for,
    answers_too_little,
    evidence_of,
    served_share,
    step_after,
    waits_for,
)
from coterie.flywheel.training import TRAINABLE, JobRows, field_name, outcomes_of, parts_of, rows_of, train_job
from coterie.learning.dataset import count
from coterie.learning.job import TextEncoder
from coterie.limits.storage import process_is_alive
from coterie.policy.cost_quality import CalibrationOutcomes
from coterie.protocols import Specialist
from coterie.store.summary import training_of
from coterie.text.segmentation import plain
from coterie.training.train import TrainedSpecialist
from coterie.types import (
    SYSTEM,
    CapturedExample,
    ComparedAnswer,
    ContextView,
    FlywheelChanged,
    FlywheelRecord,
    Task,
    Training,
)

_WEEK, _MONTH = 7 * 86_400.0, 30 * 86_400.0
_LEASE, _SPENT, _LOOK = "lease", "spent", "look"
_LEASED = 3_600.0
"""Seconds after which an unfinished run of another machine counts as dead."""
_LOOKED_AT = 50_000
"""Newest calls in which jobs are searched."""
_SIDE_BY_SIDE = 2
"""Concurrent shadows and canaries of a job: one with more rows need not wait for the previous one to finish."""
_TOLD = 40
"""Examples with a person's label, and twice as many as the last time, at which a version is retrained."""
_RARE = 0.001
"""Probability below which a difference between canary and control is an alarm, tested at each run."""
_RECOGNISED = 0.8
"""Share of a wording's calls that must be recognised for the wording to count as known."""
_SAME_THRESHOLD = 0.02
_OWN_THRESHOLD = BreakEven(confidence=None, accepted=0.0, differing=0.0, allowed=0.0)
_LEFT_OVER = 1.2
"""Growth of the unassigned calls, beyond those of a template, at which jobs are searched again."""
_MONTHS, _LEAST_MONTH = 3.0, 4.0
"""Months of calls in which a version should pay off, including the wait for its gate; least month in `calls`."""
_VERSIONS = 2.0
"""Multiple of the calls until the next version in which a version should pay off: the next one needs a gate, too."""
_NEAR = 200
"""Expected remaining rows of a gate up to which its shadow is not replaced.

It is somewhat fewer than a version without a difference needs from its beginning.
"""
_DAMAGED = "damaged"
"""Kind of alarm for a version that cannot be loaded: its rows are still good, so it is retrained."""
_LATE, _ENOUGH_LIVE = 2, 200
"""Earlier versions whose live comparisons set the next threshold, and the fewest rows of them."""
_REPEATS = 400
"""Most repeated calls by which a version's answers from memory are judged; the newest."""
_EDITED = 300
"""Newest calls in which edited prompts are counted."""
_PROMPTS = 1_000
"""Newest training prompts by which it is told whether a prompt was edited."""
_DOUBTFUL = 200
"""Rows whose label is likely noise that are kept for review."""
_NAME_WORDS = 4

Load = Callable[[KnownJob, Deployment], Awaitable[Specialist]]


@dataclass(frozen=True, kw_only=True)
class FlywheelStep:
    """A step that a run did, would do, or waits for."""

    kind: str
    """Kind of the step.

    `discover`, `train`, `shadow`, `canary`, `champion`, `retire`, `wait`, `alarm` or `expire`.
    """
    job: str = ""
    deployment: str = ""
    why: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    done: bool = False


@dataclass(frozen=True, kw_only=True)
class FlywheelReport:
    """The result of one run."""

    steps: tuple[FlywheelStep, ...]
    dry_run: bool
    busy: str = ""
    """Owner of the active run, if this run did nothing because of it."""
    cpu_seconds: float = 0.0
    """CPU-seconds of this week's trainings."""
    trainings: tuple[Training, ...] = ()
    """What this run's trainings took, for the ledger."""


@dataclass(kw_only=True)
class FlywheelRunner:
    """Runs the flywheel of a network.

    Args:
        books: Jobs and deployments.
        config: The network's file.
        folder: The network's folder.
        load: Loads the specialist of a deployment.
        owner: Owner of the run, for the lease.
    """

    books: Deployments
    config: Config
    folder: Path
    load: Load
    owner: str = field(default_factory=lambda: f"{platform.node()}:{os.getpid()}")
    encoder: TextEncoder | None = None
    """The network's encoder, if it is open already."""
    _steps: list[FlywheelStep] = field(init=False, default_factory=list)
    _trainings: list[Training] = field(init=False, default_factory=list)

    async def run(self, *, dry_run: bool = False, only: str | None = None, retrain: bool = False) -> FlywheelReport:
        """Execute the steps that are due.

        Args:
            dry_run: Whether to report the steps only.
            only: Name of the only job to process.
            retrain: Whether to train its specialist regardless of the number of new calls.

        Raises:
            InputError: there is no such job.
        """
        self._steps, self._trainings = [], []
        if not dry_run and (holder := await self._take_lease()):
            return FlywheelReport(steps=(), dry_run=False, busy=holder)
        try:
            await self._expire(dry_run=dry_run)
            await self._discover(dry_run=dry_run)
            jobs = await self.books.jobs() if only is None else [await self._named(only)]
            for job in jobs:
                if not job.ignored:
                    try:
                        await self._work_on(job, dry_run=dry_run, retrain=retrain)
                    except FlywheelChanged:
                        self._note("wait", "somebody changed it at the same moment", job=job.name)
        finally:
            if not dry_run:
                await self._give_lease()
        return FlywheelReport(
            steps=tuple(self._steps), dry_run=dry_run, cpu_seconds=await self._spent(), trainings=tuple(self._trainings)
        )

    async def _named(self, name: str) -> KnownJob:
        """Return the job with a name, which may be that of the specialist of one of its fields."""
        jobs = await self.books.jobs()
        parts = (j for j in jobs if name in {field_name(j, key) for key in keys_of(j.shape, j.labels)})
        return next(parts, None) or await self.books.job(name)

    def _note(self, kind: str, why: str, **about: Any) -> None:  # noqa: ANN401 - fields of a step
        self._steps.append(FlywheelStep(kind=kind, why=why, **about))

    # --- the lease and the budget ----------------------------------------------------------------

    async def _take_lease(self) -> str:
        """Take the lease of the run; return the owner of another active run, if there is one."""
        now = self.books.clock()
        old = await self.books.store.record(_LEASE, "run")
        if old is not None and old.body["owner"] and old.body["until"] > now and not _has_ended(old.body["owner"]):
            return str(old.body["owner"])
        body = {"owner": self.owner, "until": now + _LEASED}
        revision = 0 if old is None else old.revision
        try:
            await self.books.store.put(FlywheelRecord(kind=_LEASE, id="run", time=now, body=body, revision=revision))
        except FlywheelChanged:
            return "another run, which began at the same moment"
        return ""

    async def _give_lease(self) -> None:
        old = await self.books.store.record(_LEASE, "run")
        if old is not None and old.body["owner"] == self.owner:
            await self.books.store.put(replace(old, body={"owner": "", "until": 0.0}))

    async def _spent(self) -> float:
        """Return CPU-seconds of trainings in the last week."""
        since = self.books.clock() - _WEEK
        records = await self.books.store.records(_SPENT)
        return float(sum(record.body["cpu_seconds"] for record in records if record.time >= since))

    # --- what is old, and what is new ------------------------------------------------------------

    async def _expire(self, *, dry_run: bool) -> None:
        before = self.books.clock() - self.config.capture.days * 86_400
        if dry_run:
            return
        if gone := await self.books.store.drop_examples(before=before):
            self._note("expire", f"{gone} examples are older than {self.config.capture.days:g} days", done=True)

    async def _discover(self, *, dry_run: bool) -> None:
        """Find jobs in unassigned calls, together with assigned ones: a new wording joins its job.

        Few calls of two wordings do not show that they are one job. Jobs are therefore searched again when calls have
        grown so much that another version would be trained.
        """
        await self._find_sites(dry_run=dry_run)
        store, section = self.books.store, self.config.flywheel
        volumes = [volume for volume in await store.volumes() if not volume.job.startswith("site-")]
        loose, total = (
            sum(volume.calls for volume in volumes if not volume.job),
            sum(volume.calls for volume in volumes),
        )
        old = await store.record(_LOOK, "discover")
        grown = len(volumes) > 1 and total >= section.growth * (old.body["calls"] if old else 0)
        more = loose >= section.support + _LEFT_OVER * (old.body.get("loose", 0) if old else 0)
        if not more and not grown:
            return
        if dry_run:
            why = f"{count(loose, 'call')} of no job yet" if more else "there are more calls by now"
            self._note("discover", why)
            return
        by_tenant: dict[str, list[CapturedExample]] = {}
        for call in await store.newest(limit=_LOOKED_AT):
            if call.api != "decisions":
                by_tenant.setdefault(call.tenant, []).append(call)
        for tenant, calls in by_tenant.items():
            logged = [
                RecordedCall(prompt=call.prompt, answer=call.answer, caller=call.caller, cost=call.cost)
                for call in calls
            ]
            discovery = await asyncio.to_thread(
                partial(discover, logged, support=section.support, callers=section.callers)
            )
            jobs = {job.id: job for job in await self.books.jobs()}
            taken: dict[str, FoundJob] = {}
            for found_job in discovery.jobs:  # the largest first; none takes the place of another one
                await self._keep_job(found_job, discovery, calls, jobs, taken)
            await self._part_wordings({key: job for key, job in jobs.items() if job.tenant == tenant}, taken)
        left = sum(volume.calls for volume in await store.volumes() if not volume.job)
        looked = FlywheelRecord(
            kind=_LOOK,
            id="discover",
            time=self.books.clock(),
            body={"calls": total, "loose": left},
            revision=old.revision if old else 0,
        )
        await store.put(looked)

    async def _keep_job(
        self,
        found_job: FoundJob,
        discovery: Discovery,
        calls: Sequence[CapturedExample],
        known_jobs: dict[str, KnownJob],
        taken: dict[str, FoundJob],
    ) -> None:
        """Write a found job, or the changes of a known one, and assign its calls.

        Jobs that share a system prompt look like one while there are few calls: the largest keeps the record, the
        others get their own, and with it their wordings.
        """
        homes = Counter(calls[i].job for i in found_job.calls if calls[i].job in known_jobs)
        deployed = {deployment.job for deployment in await self.books.deployments() if deployment.state != "retired"}
        homes = Counter({key: n for key, n in homes.items() if not known_jobs[key].ignored and key not in taken})
        first = max(homes, key=lambda key: (key in deployed, homes[key]), default="")
        new_job = _new_job(found_job, calls, taken={job.name for job in known_jobs.values()}, now=self.books.clock())
        if new_job.id in taken:
            new_job = replace(new_job, id=f"{new_job.id}-{len(taken)}")
        old = known_jobs.get(first or new_job.id)  # one that is found again, after its examples expired
        if old is None:
            job = new_job
        else:
            new = _unknown_wordings(found_job, discovery, calls, homes)
            labels = _spelled(found_job.answers, (calls[i].answer for i in found_job.calls))
            job = replace(old, templates=(*old.templates, *new), labels={**labels, **old.labels})
            if old.merged_into:  # it stands apart again
                job = replace(job, templates=new_job.templates, ignored=False, merged_into="")
            better = (old.shape, found_job.answers.shape) == ("labels", "lists")  # what serves goes on as it was
            if (first not in deployed or better) and old.shape != found_job.answers.shape:  # few calls do not show it
                job = replace(job, shape=found_job.answers.shape, task=found_job.task, labels=labels)
        taken[job.id] = found_job
        for key in homes:  # wordings that were taken for jobs of their own while there were few calls
            whole = sum(call.job == key for call in calls)
            if key != first and key not in deployed and homes[key] > whole / 2:
                job = replace(job, templates=(*job.templates, *known_jobs[key].templates))
                known_jobs[key] = replace(known_jobs[key], ignored=True, merged_into=job.id, templates=())
                await self.books.put_job(known_jobs[key])
                known_jobs[key] = await self.books.job(key)
        if job != old:
            await self.books.put_job(job)
            kept = await self.books.job(job.id)
            known_jobs[job.id] = kept
            calls_in = len(found_job.calls)
            why = (
                f"{count(calls_in, 'call')} of {count(len(kept.templates), 'wording')}"
                if old is None
                else "a wording or a label is new"
            )
            self._note("discover", why, job=kept.name, figures={"calls": calls_in, "shape": kept.shape}, done=True)
        numbers = {template.piece: number for number, template in enumerate(job.templates)}
        await self.books.store.assign(
            [
                (
                    calls[i].id,
                    job.id,
                    numbers.get(_piece(found_job, discovery.template_of(i)), -1),
                    discovery.input_of(i),
                )
                for i in found_job.calls
                if calls[i].job != job.id
            ]
        )

    async def _part_wordings(self, jobs: Mapping[str, KnownJob], taken: Mapping[str, FoundJob]) -> None:
        """Assign each wording to the job in which it was found now, except for jobs with a deployment."""
        deployed = {deployment.job for deployment in await self.books.deployments() if deployment.state != "retired"}
        for key in taken:
            others = {
                template.piece for other, found_job in taken.items() if other != key for template in found_job.wordings
            }
            own = {template.piece for template in taken[key].wordings}
            kept = tuple(template for template in jobs[key].templates if template.piece not in others - own)
            if key not in deployed and len(kept) < len(jobs[key].templates):
                await self.books.put_job(replace(jobs[key], templates=kept))

    async def _find_sites(self, *, dry_run: bool) -> None:
        """Record new typed questions, which are jobs without a search."""
        known_jobs = {job.id for job in await self.books.jobs()}
        for volume in await self.books.store.volumes():
            if (
                not volume.job.startswith("site-")
                or volume.job in known_jobs
                or volume.calls < self.config.flywheel.support
            ):
                continue
            some = await self.books.store.newest(job=volume.job, limit=2_000)
            answers = Counter(example.answer for example in some if example.answer)
            words = _slug(some[-1].prompt[0][1])[:40]
            name = words if words[:1].isalpha() else f"site-{words}"  # as the registry wants it
            job = KnownJob(
                id=volume.job,
                name=f"{name.strip('-')}-{volume.job[5:9]}",
                kind="site",
                tenant=some[-1].tenant,
                labels={fold(answer): answer for answer, _ in answers.most_common()},
                found=self.books.clock(),
            )
            if not dry_run:
                await self.books.put_job(job)
            self._note("discover", count(volume.calls, "typed question"), job=job.name, done=not dry_run)

    # --- one job ---------------------------------------------------------------------------------

    async def _work_on(self, job: KnownJob, *, dry_run: bool, retrain: bool) -> None:
        under_way: list[Deployment] = []
        for deployment in await self.books.deployments(job.id):
            if deployment.state == "candidate":
                await self._to_shadow(job, deployment, dry_run=dry_run)
            elif deployment.state in {"shadow", "canary"} and await self._advance(job, deployment, dry_run=dry_run):
                under_way.append(deployment)
            elif deployment.state == "champion":
                await self._check_serving(job, deployment, dry_run=dry_run)
                await self._check_prompts(job, deployment)
        if (again := await self._after_alarm(job, dry_run=dry_run)) is not None:
            under_way.append(again)
            job = await self.books.job(job.id)
        now = {
            deployment.id: deployment for deployment in await self.books.deployments(job.id)
        }  # a new champion retired older shadows
        under_way = [now[deployment.id] for deployment in under_way if now[deployment.id].state in {"shadow", "canary"}]
        full = len(under_way) >= _SIDE_BY_SIDE and not retrain
        oldest = await self._least_shown(under_way) if full else None
        if not full or oldest is not None:
            await self._train(job, dry_run=dry_run, retrain=retrain, alone=not under_way, instead_of=oldest)

    async def _after_alarm(self, job: KnownJob, *, dry_run: bool) -> Deployment | None:
        """Let a version that an alarm rolled back shadow once more, judged on the calls since.

        Some alarms are false, and some versions still answer well after a drift: then the version passes its gate
        again.
        """
        lanes = {deployment.id: deployment for deployment in await self.books.deployments(job.id)}
        taken = [
            alarm for alarm in await self.books.alarms(open_only=True) if alarm.job == job.id and alarm.kind in MONITORS
        ]
        alarm = max(taken, key=lambda alarm: alarm.time, default=None)
        old = None if alarm is None else lanes.get(alarm.deployment)
        if alarm is None or old is None or old.state != "retired" or any(lane.serves for lane in lanes.values()):
            return None
        later = [lane for lane in lanes.values() if lane.created >= alarm.time and lane.id != old.id]
        if any(lane.version == old.version for lane in later):
            return None
        if dry_run:
            self._note("shadow", f"again after {alarm.id}", job=job.name, deployment=old.id)
            return None
        begun = await self.books.begin(
            job,
            old.version,
            by="flywheel",
            reason=f"again after {alarm.id}",
            figures={"alarm": alarm.kind},
            changed=job,
            accepts_from=old.accepts_from,
            fields=old.fields,
            lists=old.lists,
            wordings=old.wordings,
            changes=old.changes,
        )
        await self._to_shadow(await self.books.job(job.id), begun, dry_run=False)
        return begun

    async def _least_shown(self, under_way: Sequence[Deployment]) -> Deployment | None:
        """Return the shadow whose gate is farthest from passed; None where each is near it, or in canary.

        One that passed its gate and answers too little to go on is the farthest.
        """
        candidates = []
        for deployment in under_way:
            if deployment.state == "shadow":
                evidence = await evidence_of(self.books, self.config.flywheel, deployment)
                passed = evidence.decision == "better"
                stuck = passed and await answers_too_little(self.books, deployment, evidence)
                candidates.append((math.inf if stuck else evidence.rows_left, -deployment.created, deployment))
        least = max(candidates, key=lambda item: item[:2], default=None)
        return least[2] if least is not None and least[0] > _NEAR else None

    async def _train(
        self, job: KnownJob, *, dry_run: bool, retrain: bool, alone: bool, instead_of: Deployment | None = None
    ) -> None:
        """Train a version if it is due, and let it shadow, in place of one whose gate was not passed yet."""
        section = self.config.flywheel
        examples = await self.books.store.newest(job=job.id, limit=NEWEST_ROWS)
        callers = len({example.caller for example in examples})
        alarms = [alarm for alarm in await self.books.alarms(open_only=True) if alarm.job == job.id]
        labels = await self.books.store.labels(job=job.id)
        judged = len(truths_of(labels)) if alone else 0
        why = self._due(job, examples, alarms, callers=callers, judged=judged, retrain=retrain)
        if why:
            if alone:
                self._note("wait", why, job=job.name)
            return
        job = _with_new_labels(job, examples)
        rows = rows_of(job, examples, labels, audit_share=section.audit_share)
        if rows.open_fields:
            fields = ", ".join(map(repr, rows.open_fields))
            self._note("wait", f"{fields} of its objects: no closed set of values", job=job.name)
            return
        if len({label for _, label in rows.rows}) < 2:
            self._note("wait", "its answers are all the same", job=job.name)
            return
        spent = await self._spent()
        if spent >= section.cpu_seconds and not retrain:
            self._note("wait", f"trainings took {spent:.0f} of {section.cpu_seconds:.0f} CPU seconds", job=job.name)
            return
        if dry_run:
            self._note("train", f"{len(rows.rows)} rows", job=job.name, figures=dict(rows.origins))
            return
        made = await self._trained(job, rows, examples, alarms)
        if instead_of is not None and made is not None and (await self.books.deployment(made.id)).state == "shadow":
            await self._move(job, instead_of, "retired", f"{made.id}, which has more rows, takes its place", {})

    def _due(
        self,
        job: KnownJob,
        examples: Sequence[CapturedExample],
        alarms: Sequence[JobAlarm],
        *,
        callers: int,
        judged: int,
        retrain: bool,
    ) -> str:
        """Return why no version is due; empty if one is."""
        section = self.config.flywheel
        if job.shape not in TRAINABLE:
            return f"answers are {job.shape}: train a specialist of the task {job.task} by hand"
        if callers < section.callers:
            return f"{callers} callers, and a job has at least {section.callers}"
        since = max((alarm.since for alarm in alarms if alarm.kind != _DAMAGED), default=None)
        have = sum(1 for example in examples if not example.by_specialist and (since is None or example.time >= since))
        needed = section.calls if not job.trained or alarms else int(job.trained * section.growth)
        more_judged = job.trained > 0 and judged >= max(_TOLD, 2 * job.judged)  # labels say from where on it may answer
        if retrain or have >= needed or more_judged:
            return ""
        return f"{have} of {count(needed, 'call')}" + ("" if since is None else " since the alarm")

    async def _trained(
        self, job: KnownJob, rows: JobRows, examples: Sequence[CapturedExample], alarms: Sequence[JobAlarm]
    ) -> Deployment | None:
        """Train and make a deployment; None if there is none to make."""
        start = clocks.process_time()
        try:
            made = await asyncio.to_thread(
                partial(train_job, encoder=self.encoder), self.folder, self.config, job, rows
            )
        except (DataError, InputError, ArtefactRefused) as error:  # the last: a version of these rows is damaged
            self._note("wait", f"cannot be trained: {error.message}", job=job.name)
            return None
        took = clocks.process_time() - start
        now = self.books.clock()
        await self.books.store.put(
            FlywheelRecord(
                kind=_SPENT, id=self.books.new_id(), job=job.id, time=now, body={"cpu_seconds": round(took, 3)}
            )
        )
        self._trainings.append(training_of(made.took, specialist=job.name, version=made.version, time=now))
        truths = truths_of(await self.books.store.labels(job=job.id))
        fields = _fields_of(made)
        tried = Deployment(
            id="",
            job=job.id,
            specialist=job.name,
            version=made.version,
            fields=fields,
            lists=rows.lists,
            accepts_from=0.0,
        )
        outcomes = await asyncio.to_thread(outcomes_of, self.folder, self.config, job, tried.version, tried.fields)
        if outcomes is not None and len(outcomes.right) != len(rows.rows):
            outcomes = None
        even, odd = _OWN_THRESHOLD, list[int]()
        if outcomes is not None:
            even = await self._break_even(job, tried, rows, examples, truths=truths, outcomes=outcomes)
            odd = doubtful(outcomes.confidence, outcomes.right, [label for _, label in rows.rows])
        noisy = tuple(rows.examples[i] for i in odd if rows.examples[i] not in truths)
        changed = replace(job, trained=len(rows.rows), judged=len(truths), doubtful=noisy[:_DOUBTFUL])
        lost = {alarm.deployment for alarm in await self.books.alarms() if alarm.kind == _DAMAGED}
        earlier = [
            deployment
            for deployment in await self.books.deployments(job.id)
            if deployment.version == made.version and deployment.id not in lost
        ]
        if any(_nearly(other.accepts_from, even.confidence) for other in earlier):
            self._note("wait", f"the rows give version {made.version}, which is known", job=job.name)
            await self.books.put_job(changed)
            return None
        for name, version in parts_of(job, made.version, fields).items():
            await self.books.store.note_training(name, version, rows.examples)
        figures = self._training_figures(made, rows, even, took=took, doubtful_rows=len(odd))
        if figures["accuracy"] is None and outcomes is not None:  # of several parts: whole answers, out of fold
            figures["accuracy"] = round(float(outcomes.right.mean()), 4)
        section = self.config.flywheel
        sample = audit_sample(examples, section.audits, share=section.audit_share)
        teacher = teacher_accuracy(truths, examples, (), sample)
        if teacher.worth:
            figures["teacher"] = {"accuracy": round(teacher.share, 3), "low": teacher.low, "high": teacher.high}
        reason = f"trained on {len(rows.rows)} rows"
        begun = await self.books.begin(
            job,
            made.version,
            by="flywheel",
            reason=reason,
            figures=figures,
            changed=changed,
            accepts_from=even.confidence,
            fields=fields,
            lists=rows.lists,
            wordings=len(job.templates),
            changes=await asyncio.to_thread(_usual_changes, job, rows, examples),
            settled=alarms,
        )
        self._note("train", reason, job=job.name, deployment=begun.id, figures=figures, done=True)
        await self._to_shadow(job, begun, dry_run=False)
        return begun

    @staticmethod
    def _training_figures(
        made: TrainedSpecialist, rows: JobRows, even: BreakEven, *, took: float, doubtful_rows: int
    ) -> dict[str, Any]:
        """Return the recorded figures of a training."""
        metrics = made.report.get("metrics")
        figures: dict[str, Any] = {
            "rows": len(rows.rows),
            "origins": dict(rows.origins),
            "left_out": rows.left_out,
            "cpu_seconds": round(took, 2),
            "rung": made.report.get("rung"),
            "accuracy": metrics.get("accuracy") if isinstance(metrics, Mapping) else None,
            "doubtful": doubtful_rows,
        }
        if even.confidence is not None:
            figures["accepts"] = {
                "from": round(even.confidence, 4),
                "expected": round(even.accepted, 3),
                "differing": round(even.differing, 4),
                "allowed": round(even.allowed, 4),
            }
        return figures

    async def _break_even(
        self,
        job: KnownJob,
        tried: Deployment,
        rows: JobRows,
        examples: Sequence[CapturedExample],
        *,
        truths: Mapping[str, str | None],
        outcomes: CalibrationOutcomes,
    ) -> BreakEven:
        """Return the confidence from which a version loses nothing against the current model."""
        lanes = await self.books.deployments(job.id)
        compared = {lane.id: await self._compared(lane) for lane in lanes}
        before = [row for rows_of_one in compared.values() for row in rows_of_one]
        served = {row.example: row.accepted for lane in lanes if lane.serves for row in compared[lane.id]}
        rejudged = await self._audit_answers(job, tried, truths)
        labels, right = [fold(label) for _, label in rows.rows], outcomes.right.tolist()
        slips = frozenset[str]() if rows.lists else unforeseen(labels, right)  # sets of labels are seldom, not slips
        formed = rows.formed - slips
        model = model_slips(formed, examples, [*before, *rejudged], truths)
        section = self.config.flywheel
        month = max(self._a_month_of(examples), _LEAST_MONTH * section.calls)
        # Of all jobs: the queue gives them to the one where they bring most.
        labels_a_month = max(section.labels, 1) * _MONTH / _WEEK
        until_next = _VERSIONS * (section.growth - 1) * len(examples)
        within = Within(
            calls=min(_MONTHS * month, max(until_next, section.calls)),
            alpha=section.alpha,
            labels=labels_a_month / month,
            answered=await served_share(self.books, job.id) if any(lane.serves for lane in lanes) else 0.0,
        )
        late = sorted(lanes, key=lambda lane: lane.created)[-_LATE:]
        alone = {
            example.id: answer
            for example in examples
            if example.propensity == 1.0 and not example.by_specialist and (answer := fold(example.answer)) in formed
        }
        live = live_rows([row for lane in late for row in compared[lane.id]], alone, truths)
        if len(live.confidence) >= _ENOUGH_LIVE:
            return break_even(
                live.confidence,
                live.differs,
                np.ones(len(live.confidence)),
                model,
                margin=section.margin,
                gains=live.gains,
                within=within,
            )
        by_id = {example.id: example for example in examples}
        kept = [by_id[example] for example in rows.examples]
        answers = [fold(example.answer) for example in kept]
        differs = row_differences(right, labels, answers)
        gains = row_gains(right, [truths.get(example) for example in rows.examples], answers)
        weights = row_weights(kept, served) * [label not in slips for label in labels]
        again = await self._repeats(job, tried, rows, weights)
        return break_even(
            outcomes.confidence,
            differs,
            weights,
            model,
            margin=section.margin,
            gains=gains,
            repeats=again,
            within=within,
        )

    def _a_month_of(self, examples: Sequence[CapturedExample]) -> float:
        """Return the calls of a month, at the rate of the last week."""
        now = self.books.clock()
        late = [example.time for example in examples if example.time >= now - _WEEK]
        return len(late) * _MONTH / max(now - late[0], 86_400.0) if late else 0.0

    async def _repeats(
        self, job: KnownJob, tried: Deployment, rows: JobRows, weights: np.ndarray
    ) -> Repeats | None:  # (N,)
        """Return a version's answers to repeated texts of its training, and their recent share of calls."""
        again = asked_before([text for text, _ in rows.rows])
        late = np.arange(len(again)) >= len(again) // 2
        share = float(weights[again & late].sum() / max(weights[late].sum(), 1e-9))
        answers: dict[str, list[str]] = {}
        for text, label in rows.rows:
            answers.setdefault(plain(text), []).append(fold(label))
        places = np.flatnonzero(again & (weights > 0))[-_REPEATS:].tolist()
        if not places:
            return None
        specialist = await self.load(job, tried)
        sure, differs = [], []
        for number in places:
            text, label = rows.rows[number]
            task = Task(text=text, acceptance_override=tried.acceptance)
            finding = await specialist.consult(task, ContextView(), call=SYSTEM)
            answer = fold(finding.value if isinstance(finding.value, str) else finding.text)
            others = list(answers[plain(text)])
            others.remove(fold(label))
            sure.append(finding.confidence)
            differs.append(answer not in others)
        return Repeats(confidence=np.asarray(sure), differs=np.asarray(differs, dtype=bool), share=share)

    async def _compared(self, deployment: Deployment) -> Sequence[ComparedAnswer]:
        return await self.books.store.comparisons(deployment.id)

    # --- gates -----------------------------------------------------------------------------------

    async def _audit_answers(
        self, job: KnownJob, deployment: Deployment, truths: Mapping[str, str | None]
    ) -> list[ComparedAnswer]:
        """Return a version's answers to the labelled rows of the audit slice that a model answered."""
        share = self.config.flywheel.audit_share
        rows = await self.books.store.examples_of([example for example in truths if is_audit(example, share)])
        specialist = await self.load(job, deployment)
        compared = []
        for key, example in rows.items():
            if example.failed or not example.answer:
                continue
            task = Task(text=example.input, label=example.label, acceptance_override=deployment.acceptance)
            finding = await specialist.consult(task, ContextView(), call=SYSTEM)
            answer = finding.value if isinstance(finding.value, str) else finding.text
            row = ComparedAnswer(deployment=deployment.id, example=key, time=example.time, answer=answer)
            same = fold(answer) == fold(example.answer)
            compared.append(replace(row, accepted=finding.accepted, confidence=finding.confidence, same=same))
        return compared

    async def _frozen(self, job: KnownJob, deployment: Deployment) -> FrozenEvidence:
        """Return the evidence of the audit slice's labelled rows on a version."""
        truths = truths_of(await self.books.store.labels(job=job.id))
        answers = await self._audit_answers(job, deployment, truths)
        given = await self.books.store.examples_of([comparison.example for comparison in answers])
        return judge_frozen(
            truths,
            {key: example.answer for key, example in given.items()},
            {comparison.example: comparison.answer if comparison.accepted else None for comparison in answers},
        )

    async def _to_shadow(self, job: KnownJob, deployment: Deployment, *, dry_run: bool) -> None:
        if dry_run:
            self._note("shadow", "a candidate waits", job=job.name, deployment=deployment.id)
            return
        try:
            frozen = await self._frozen(job, deployment)
        except CoterieError as error:
            await self._lose(job, deployment, error)
            return
        if frozen.passed:
            reason = f"not measurably worse on {frozen.rows} frozen rows" if frozen.rows else "no frozen rows yet"
            await self._move(job, deployment, "shadow", reason, frozen.figures())
        else:
            reason = f"worse on frozen rows: {', '.join(frozen.worse)}"
            await self._move(job, deployment, "retired", reason, frozen.figures())

    async def _lose(self, job: KnownJob, deployment: Deployment, error: CoterieError) -> None:
        """Retire a version that cannot be loaded, with an alarm: the next run makes it again."""
        alarm = self.books.alarm_of(deployment, _DAMAGED, figures={"code": error.code}, back=deployment.serves)
        await self._move(job, deployment, "retired", f"cannot be loaded: {error.code}", {}, alarm=alarm)

    async def _advance(self, job: KnownJob, deployment: Deployment, *, dry_run: bool) -> bool:
        """Move a shadow or a canary forward or back; return whether it is still under way."""
        section = self.config.flywheel
        if not dry_run and deployment.serves and await self._check_serving(job, deployment, dry_run=dry_run):
            return False
        evidence = await evidence_of(self.books, section, deployment)
        figures = evidence.figures()
        if evidence.decision == "worse":
            await self._move(job, deployment, "retired", "worse than what answers", figures, dry_run=dry_run)
            return False
        # A canary goes on whatever share it answers: one that stood still would bar its successors.
        why = waits_for(evidence, deployment) or await also_waits_for(self.books, section, deployment)
        if not why and not section.promote:
            why = "a person promotes"
        if why:
            self._note("wait", why, job=job.name, deployment=deployment.id, figures=figures)
            return True
        if deployment.state == "shadow":
            try:
                frozen = await self._frozen(job, deployment)
            except CoterieError as error:
                if not dry_run:
                    await self._lose(job, deployment, error)
                return False
            figures = {**figures, **frozen.figures()}
            if not frozen.passed:
                reason = f"worse on frozen rows: {', '.join(frozen.worse)}"
                await self._move(job, deployment, "retired", reason, figures, dry_run=dry_run)
                return False
        state, stage, share = step_after(deployment, section, await self.books.store.volumes())
        reason = f"not worse by {section.margin:.0%}, {count(evidence.judged, 'call')} judged"
        await self._move(job, deployment, state, reason, figures, stage=stage, share=share, dry_run=dry_run)
        return state != "champion"

    async def _check_serving(self, job: KnownJob, deployment: Deployment, *, dry_run: bool) -> bool:
        """Compare a serving deployment with the model by complaints and abstentions; return whether it was rolled back.

        Errors, confidence, scope and disagreement are monitored call by call in the server.
        """
        store = self.books.store
        steps = await self.books.transitions(deployment.id)
        first = min((step.time for step in steps if step.after == "canary"), default=deployment.since)
        rows = await store.examples(job=job.id, after=(first, ""), limit=NEWEST_ROWS)
        ours = sum(row.policy == deployment.id for row in rows)
        theirs = sum(row.policy.startswith("model:") for row in rows)
        complaints = await store.complaints(since=first)
        against = complaints.get(deployment.id, 0)
        models = {row.policy for row in rows if row.policy.startswith("model:")}
        others = sum(complaints.get(policy, 0) for policy in models)
        compared = list(await store.comparisons(deployment.id))
        before = [comparison for comparison in compared if comparison.time < first]
        after = [
            comparison for comparison in compared if comparison.time >= first
        ]  # what it abstained from, and what others answered
        kept_back = sum(not comparison.accepted for comparison in after)
        gave = sum(comparison.accepted for comparison in after) + ours
        pairs = {
            "complaints": ((against, ours - against), (others, theirs - others)),
            "abstention": (
                (kept_back, gave),
                (
                    sum(not comparison.accepted for comparison in before),
                    sum(comparison.accepted for comparison in before),
                ),
            ),
        }
        from scipy.stats import fisher_exact  # noqa: PLC0415 - serving needs none of it

        for kind, (mine, other) in pairs.items():
            if min(*mine, *other) < 0 or not sum(mine) or not sum(other):
                continue
            chance = float(fisher_exact([mine, other], alternative="greater").pvalue)
            if chance < _RARE:
                figures = {"of_ours": list(mine), "of_the_model": list(other), "chance": chance}
                await self._alarm(job, deployment, kind, figures, rows, dry_run=dry_run)
                return True
        return False

    async def _check_prompts(self, job: KnownJob, deployment: Deployment) -> None:
        """Say how many of the newest calls have an edited prompt: a champion leaves them to the model."""
        newest = await self.books.store.newest(job=job.id, limit=_EDITED)
        edited = sum(deployment.edit_of(example.prompt, job.templates) != 0 for example in newest)
        if edited:
            why = f"{edited} of the last {len(newest)} calls have an edited prompt: the model answers unless it agrees"
            hint = f"`coterie retrain {job.name}` trains a version on it"
            self._note("wait", f"{why}; {hint}", job=job.name, deployment=deployment.id, figures={"edited": edited})

    async def _alarm(
        self,
        job: KnownJob,
        deployment: Deployment,
        kind: str,
        figures: Mapping[str, Any],
        rows: Sequence[CapturedExample],
        *,
        dry_run: bool,
    ) -> None:
        back = self.config.flywheel.on_alarm == "back"
        if dry_run:
            self._note("alarm", kind, job=job.name, deployment=deployment.id, figures=figures)
            return
        last = [row.id for row in rows if row.policy == deployment.id][-5:]
        alarm = self.books.alarm_of(deployment, kind, since=deployment.since, figures=figures, examples=last, back=back)
        if back:
            await self.books.move(deployment, "retired", by="flywheel", reason=f"alarm: {kind}", alarm=alarm)
        else:
            await self.books.raise_alarm(alarm)
        self._note("alarm", kind, job=job.name, deployment=deployment.id, figures=figures, done=True)

    async def _move(
        self,
        job: KnownJob,
        deployment: Deployment,
        state: Any,  # noqa: ANN401 - one of the states
        reason: str,
        figures: Mapping[str, Any],
        *,
        stage: int = 0,
        share: float = 0.0,
        alarm: JobAlarm | None = None,
        dry_run: bool = False,
    ) -> None:
        if not dry_run:
            await self.books.move(
                deployment, state, by="flywheel", reason=reason, figures=figures, stage=stage, share=share, alarm=alarm
            )
        kind = "retire" if state == "retired" else state
        about = {**figures, **({"share": share} if share else {})}
        self._note(kind, reason, job=job.name, deployment=deployment.id, figures=about, done=not dry_run)


def _has_ended(owner: str) -> bool:
    """Return whether a run belonged to an ended process of this machine, such as a killed one."""
    node, _, process = owner.rpartition(":")
    return node == platform.node() and process.isdigit() and not process_is_alive(int(process))


# --- Found jobs as known ones.


def _new_job(found_job: FoundJob, calls: Sequence[CapturedExample], *, taken: set[str], now: float) -> KnownJob:
    first, tenant = found_job.wordings[0] if found_job.wordings else None, calls[found_job.calls[0]].tenant
    known_by = repr((tenant, first.runs if first else found_job.inputs)).encode("utf-8", "replace")
    key = hashlib.blake2b(known_by, digest_size=6).hexdigest()
    pieces = (first.piece if first else "job").split()
    cut = len(pieces) > 1 and len(_slug(pieces[0])) < 2  # what is left of a word, as of "Dr. Berg's desk"
    words = _slug(" ".join(pieces[cut : cut + _NAME_WORDS]))
    name = words if words and words not in taken and words[0].isalpha() else f"job-{words[:50]}-{key[:4]}"
    return KnownJob(
        id=f"job-{key}",
        name=name.strip("-"),
        tenant=tenant,
        task=found_job.task,
        shape=found_job.answers.shape,
        labels=_spelled(found_job.answers, (calls[i].answer for i in found_job.calls)),
        templates=found_job.wordings,
        found=now,
    )


def _spelled(answers: Answers, written: Iterable[str]) -> dict[str, str]:
    """How most answers spell each label, also of lists; of a JSON object its keys."""
    if answers.shape not in {"labels", "lists"}:
        return {name: name for name in answers.labels}
    spellings: dict[str, Counter[str]] = {}
    for answer in written:
        for item in (items_in(answer) or ()) if answers.shape == "lists" else (answer,):
            spellings.setdefault(fold(str(item)), Counter())[" ".join(str(item).split())] += 1
    return {label: spellings[label].most_common(1)[0][0] for label in answers.labels if label in spellings}


def _with_new_labels(job: KnownJob, examples: Sequence[CapturedExample]) -> KnownJob:
    """The job with the labels that its answers have had since it was found: those that come back."""
    answers = [example.answer for example in examples if not example.failed and not example.by_specialist]
    shape_of_answers = answers_of(answers)
    if shape_of_answers.shape != job.shape or job.shape == "json":
        return job
    return replace(job, labels={**_spelled(shape_of_answers, answers), **job.labels})


def _unknown_wordings(
    found_job: FoundJob, discovery: Discovery, calls: Sequence[CapturedExample], homes: Mapping[str, int]
) -> tuple[Template, ...]:
    """Return the wordings of whose calls most were recognised as none of these jobs."""
    members: dict[int, list[int]] = {}
    for i in found_job.calls:
        members.setdefault(discovery.template_of(i), []).append(i)
    unknown = []
    for number, template in enumerate(found_job.wordings):
        some = members.get(number, [])
        recognised = sum(calls[i].job in homes and calls[i].template >= 0 for i in some)
        if some and template.piece and recognised < _RECOGNISED * len(some):
            unknown.append(template)
    return tuple(unknown)


def _fields_of(made: TrainedSpecialist) -> dict[str, str]:
    """Return the version of each field's specialist."""
    versions = made.report.get("fields")
    return {str(key): str(version) for key, version in versions.items()} if isinstance(versions, Mapping) else {}


def _usual_changes(job: KnownJob, rows: JobRows, examples: Sequence[CapturedExample]) -> int:
    """Return the most runs of its templates that the prompts of training rows lack, but for one in a hundred."""
    trained = frozenset(rows.examples)
    prompts = [example.prompt for example in examples if example.id in trained][-_PROMPTS:]
    lacking = sorted(len(changes_of(prompt, job.templates)) for prompt in prompts)
    return lacking[int(0.99 * (len(lacking) - 1))] if lacking else 0


def _nearly(a: float | None, b: float | None) -> bool:
    """Return whether two accept thresholds are practically equal."""
    return a == b if a is None or b is None else abs(a - b) < _SAME_THRESHOLD


def _piece(found_job: FoundJob, number: int) -> str:
    return found_job.wordings[number].piece if 0 <= number < len(found_job.wordings) else ""


def _slug(text: str) -> str:
    """Return words as a part of a name: letters of a to z and digits. Other Latin letters lose their marks."""
    letters = "".join(map(_plain_letter, unicodedata.normalize("NFKD", text.casefold())))
    return re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:50]


def _plain_letter(letter: str) -> str:
    """Return what Unicode's name of a Latin letter says that it is: "o" of "LATIN SMALL LETTER O WITH STROKE"."""
    if letter.isascii() or unicodedata.combining(letter):
        return letter if letter.isascii() else ""
    latin = re.match(r"LATIN SMALL LETTER (?:\w+ )*?(\w{1,2})(?: WITH .*)?$", unicodedata.name(letter, ""))
    return latin[1].lower() if latin else letter

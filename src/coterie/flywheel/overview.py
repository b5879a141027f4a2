"""The flywheel's state for people: the console's lanes, `coterie flywheel status` and `/api/flywheel`.

    books = Deployments(store=store.flywheel, audit=audit)       # store: network.store, or an open SQLiteStore
    await job_views(books, section)                   # JobView: volume, cost, callers, state, savings; largest first
    await deployment_views(books, section, job=None)  # DeploymentView: state, evidence of the gate, next step, why
    await books.alarms(open_only=True)                # JobAlarm: kind, since when, figures, examples, command
    await books.transitions(deployment_id)            # Transition: who, when, why, the numbers
    await promote(books, section, deployment_id, by="ann", reason="...")     # the next step, whatever the gates say
    await roll_back(books, deployment_id, by="ann", reason="...")            # back to the model used before, at once

All values are frozen dataclasses; `runtime.codec.readable` makes JSON of them. Examples are shown scrubbed, as they are
stored. `promote` and `roll_back` raise `InputError` where that step is not allowed, and `FlywheelChanged` where
the deployment was changed meanwhile. Both are in the audit log, with reason and figures, before they take effect.
Review is `flywheel.review`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from coterie.config.operation import FlywheelSection
from coterie.errors import InputError
from coterie.flywheel.deployments import LIVE, Deployment, Deployments, KnownJob, next_step
from coterie.flywheel.gates import StreamEvidence, audit_sample, judge_differences, truths_of
from coterie.learning.dataset import count
from coterie.types import DeploymentState, JobVolume, Label

_DAY, _MONTH = 86_400.0, 30 * 86_400.0
NEWEST_ROWS = 20_000
"""Newest calls of a job on which a version is trained and a step is judged."""
_NEARLY = 0.95
"""Share of a stage's hours after which it is over, since a daily run may start a little less than a day later."""
_COVERED_LESS, _COVERED_BY = 0.02, 50
"""Largest share of calls that a version may answer less than the champion, and the fewest calls to compare."""
_WORTH_IT = 0.05
"""Least share of calls that a shadow must answer to become a canary."""


@dataclass(frozen=True, kw_only=True)
class JobView:
    """A job with its volume, its cost and the progress of its specialist."""

    id: str
    name: str
    kind: str
    task: str
    shape: str
    state: str
    """State of the job.

    `ignored`, `small`, `found` (enough calls to train), or the state of the most advanced deployment.
    """
    calls: int
    local: int
    """Number of calls that a deployment answered."""
    cost: float
    """Known cost of the captured calls."""
    unpriced: int
    monthly_calls: float
    monthly_cost: float | None
    """Monthly cost at today's rate; None where no cost is known."""
    callers: int
    first: float | None
    last: float | None
    labels: Mapping[str, str]
    wordings: int
    examples: tuple[str, ...]
    """Inputs of the newest calls: an erased one is shown nowhere."""
    saves: float | None
    """Money per month that the most advanced deployment would save: its coverage of the monthly cost."""
    deployment: str | None
    """Id of the most advanced deployment."""


@dataclass(frozen=True, kw_only=True)
class DeploymentView:
    """A deployment, with the evidence for its next step."""

    id: str
    job: str
    job_name: str
    specialist: str
    version: str
    state: DeploymentState
    stage: int
    share: float
    created: float
    since: float
    evidence: StreamEvidence
    covers: float
    """Share of calls that it would answer; for a champion, the share of the newest calls that it answers."""
    next_state: DeploymentState | None
    next_share: float
    why: str
    """Reason why the next step is not possible yet, in words; empty if there is none."""
    open_alarms: tuple[str, ...] = ()
    figures: Mapping[str, object] = field(default_factory=dict)
    """Figures of its last transition."""


_LATELY = 300
"""Newest calls of a job for the share of local answers: comparisons contain only calls that went to the model."""
_EXAMPLES = 5
_ORDER = ("champion", "canary", "shadow", "candidate", "retired")


async def job_views(books: Deployments, section: FlywheelSection, *, clearance: Label | None = None) -> list[JobView]:
    """Return all jobs of enough callers, the most expensive first, then the largest.

    Inputs are shown up to the clearance; None shows all.
    """
    volumes = {volume.job: volume for volume in await books.store.volumes()}
    by_job: dict[str, list[Deployment]] = {}
    for deployment in await books.deployments():
        by_job.setdefault(deployment.job, []).append(deployment)
    views = []
    for job in await books.jobs():
        if job.merged_into:
            continue
        volume = volumes.get(job.id)
        if (volume.callers if volume else 0) >= section.callers or by_job.get(job.id):
            furthest = min(by_job.get(job.id, []), key=lambda d: (_ORDER.index(d.state), -d.since), default=None)
            coverage = await _coverage(books, furthest)
            newest = await books.store.newest(job=job.id, limit=_EXAMPLES)
            inputs = [example.input for example in newest if clearance is None or example.label <= clearance]
            views.append(_job_view(job, volume, section, furthest, coverage, inputs=inputs))
    return sorted(views, key=lambda view: (-(view.monthly_cost or 0), -view.calls))


async def _coverage(books: Deployments, deployment: Deployment | None) -> float | None:
    if deployment is None or deployment.state not in LIVE:
        return None
    if deployment.state == "champion":
        return await served_share(books, deployment.job)
    compared, accepted = await books.store.coverage(deployment.id)
    return accepted / compared if compared else None


def _job_view(
    job: KnownJob,
    volume: JobVolume | None,
    section: FlywheelSection,
    furthest: Deployment | None,
    coverage: float | None,
    *,
    inputs: Sequence[str],
) -> JobView:
    calls = volume.calls if volume else 0
    span = max(volume.last - volume.first, 86_400.0) if volume else 86_400.0
    priced_calls = calls - (volume.unpriced if volume else 0)
    monthly = calls * _MONTH / span
    cost = monthly * volume.cost / priced_calls if volume and priced_calls else None
    state = "ignored" if job.ignored else "found" if calls >= section.calls else "small"
    if furthest is not None and furthest.state != "retired":
        state = furthest.state
    return JobView(
        id=job.id,
        name=job.name,
        kind=job.kind,
        task=job.task,
        shape=job.shape,
        state=state,
        calls=calls,
        local=volume.local if volume else 0,
        cost=volume.cost if volume else 0.0,
        unpriced=volume.unpriced if volume else 0,
        monthly_calls=monthly,
        monthly_cost=cost,
        callers=volume.callers if volume else 0,
        first=volume.first if volume else None,
        last=volume.last if volume else None,
        labels=job.labels,
        wordings=len(job.templates),
        examples=tuple(dict.fromkeys(inputs)),
        saves=None if cost is None or coverage is None else cost * coverage,
        deployment=furthest.id if furthest else None,
    )


async def served_share(books: Deployments, job: str) -> float:
    """Return the share of a job's newest calls that its deployments answered."""
    calls = await books.store.answered(job, limit=_LATELY)
    return sum(call.by_specialist for call in calls) / len(calls) if calls else 0.0


async def evidence_of(books: Deployments, section: FlywheelSection, deployment: Deployment) -> StreamEvidence:
    """Return the evidence of a deployment's compared answers so far."""
    stream = await books.store.stream(deployment.id)
    truths = truths_of(await books.store.labels(job=deployment.job, feedback=False))
    return judge_differences(stream, truths, margin=section.margin, alpha=section.alpha)


async def deployment_views(
    books: Deployments, section: FlywheelSection, *, job: str | None = None
) -> list[DeploymentView]:
    """Return deployments, those that serve first, then the latest. Raises `InputError` if there is no such job."""
    jobs = {job_.id: job_ for job_ in ([await books.job(job)] if job is not None else await books.jobs())}
    alarms = await books.alarms(open_only=True)
    volumes = await books.store.volumes()
    views = []
    for deployment in await books.deployments():
        if deployment.job not in jobs:
            continue
        evidence = await evidence_of(books, section, deployment)
        steps = await books.transitions(deployment.id)
        state, _, share = step_after(deployment, section, volumes)
        last = deployment.state in {"champion", "retired"}
        views.append(
            DeploymentView(
                id=deployment.id,
                job=deployment.job,
                job_name=jobs[deployment.job].name,
                specialist=deployment.specialist,
                version=deployment.version,
                state=deployment.state,
                stage=deployment.stage,
                share=deployment.share,
                created=deployment.created,
                since=deployment.since,
                evidence=evidence,
                covers=await served_share(books, deployment.job)
                if deployment.state == "champion"
                else evidence.coverage,
                next_state=None if last else state,
                next_share=0.0 if last else share,
                why="" if last else waits_for(evidence, deployment) or await also_waits_for(books, section, deployment),
                open_alarms=tuple(alarm.id for alarm in alarms if alarm.deployment == deployment.id),
                figures=steps[-1].figures if steps else {},
            )
        )
    return sorted(views, key=lambda view: (_ORDER.index(view.state), -view.since))


def step_after(
    deployment: Deployment, section: FlywheelSection, volumes: Sequence[JobVolume]
) -> tuple[DeploymentState, int, float]:
    """Return the next step of a deployment, with canary stages that fit the calls of its job."""
    volume = next((volume for volume in volumes if volume.job == deployment.job), None)
    if volume is None:
        return next_step(deployment, section.canary, control=section.control)
    days = max(volume.last - volume.first, _DAY) / _DAY
    calls = volume.calls / days * section.canary_hours / 24
    return next_step(deployment, section.canary, control=section.control, calls=calls, enough=section.canary_calls)


def waits_for(evidence: StreamEvidence, deployment: Deployment) -> str:
    """Describe what the stream gate waits for; empty if it is passed."""
    if deployment.state == "candidate":
        return "not yet in shadow"
    if evidence.decision == "better":
        return ""
    if evidence.decision == "worse":
        return "worse than what answers today"
    if evidence.pending:
        return f"{count(len(evidence.pending), 'differing answer')} to be judged by a person"
    return f"{count(evidence.judged, 'row')} judged; evidence {evidence.not_worse:.0%} of what is needed"


async def also_waits_for(books: Deployments, section: FlywheelSection, deployment: Deployment) -> str:
    """Describe what the next step of a run needs beside the evidence of the stream; empty for nothing."""
    job, store = deployment.job, books.store
    if deployment.state == "shadow":
        others = await books.deployments(job)
        if any(other.state == "canary" for other in others):
            return "another deployment of the job is in canary"
        labels = await store.labels(job=job)
        truths = truths_of(labels)
        calls = await store.answered(job, limit=NEWEST_ROWS)  # without their prompts: a page asks this, too
        sample = audit_sample(calls, section.audits, share=section.audit_share)
        audited = {label.example for label in labels if label.purpose == "audit"}
        # The sample moves on with each call; what was labelled for it stays.
        if (missing := len(sample) - len(audited.union(example for example in sample if example in truths))) > 0:
            return f"{count(missing, 'example')} of the audit slice to be labelled by a person"
        return await answers_too_little(books, deployment, await evidence_of(books, section, deployment))
    rows = await store.examples(job=job, after=(deployment.since, ""), limit=NEWEST_ROWS)
    served = sum(row.policy == deployment.id for row in rows)
    hours = (books.clock() - deployment.since) / 3600
    if served >= section.canary_calls or hours >= _NEARLY * section.canary_hours:
        return ""
    needed = count(section.canary_calls, "call")
    return f"{served} of {needed}, {hours:.1f} of {section.canary_hours:g} hours in this stage"


async def answers_too_little(books: Deployments, deployment: Deployment, evidence: StreamEvidence) -> str:
    """Describe that a shadow would answer too few calls, or fewer than the champion; empty if neither is so."""
    if evidence.coverage < _WORTH_IT:
        return f"it would answer {evidence.coverage:.0%} of calls"
    others = await books.deployments(deployment.job)
    champion = next((other for other in others if other.state == "champion"), None)
    if champion is None:
        return ""
    mine = {comparison.example: comparison.accepted for comparison in await books.store.comparisons(deployment.id)}
    theirs = {comparison.example: comparison.accepted for comparison in await books.store.comparisons(champion.id)}
    both = [
        (mine[example.id], example.policy == champion.id or theirs.get(example.id, False))
        for example in await books.store.newest(job=deployment.job, limit=NEWEST_ROWS)
        if example.id in mine and example.time >= champion.since
    ]
    if len(both) < _COVERED_BY:
        return ""
    ours, now = (float(np.mean(column)) for column in zip(*both, strict=True))
    return f"it would answer {ours:.0%} of calls, the champion {now:.0%}" if ours < now - _COVERED_LESS else ""


async def promote(
    books: Deployments, section: FlywheelSection, deployment: str, *, by: str, reason: str, force: bool = False
) -> Deployment:
    """Move a deployment to its next step.

    Args:
        books: The flywheel's records.
        section: Shares of the canary, and the gate.
        deployment: Id of the deployment.
        by: Who does it.
        reason: The reason; required.
        force: Whether to move it even if the stream gate is not passed.

    Raises:
        InputError: there is no reason, no next step, or the gate is not passed.
        FlywheelChanged: the deployment was moved meanwhile.
    """
    _check_reason(reason)
    current = await books.deployment(deployment)
    if current.state == "champion":
        raise InputError(f"Deployment {deployment!r} is champion: there is no next step.")
    evidence = await evidence_of(books, section, current)
    passed = evidence.decision == "better"  # one that is forced goes through every stage
    state, stage, share = step_after(current, section, await books.store.volumes() if passed else ())
    if current.state not in {"candidate", "retired"} and not force and (why := waits_for(evidence, current)):
        raise InputError(
            f"Deployment {deployment!r} cannot be promoted: {why}.",
            hint='Decide it all the same with --force (`"force": true` over HTTP) and a reason.',
        )
    figures = {**evidence.figures(), "forced": force and not passed}
    return await books.move(current, state, by=by, reason=reason, share=share, stage=stage, figures=figures)


async def roll_back(books: Deployments, deployment: str, *, by: str, reason: str) -> Deployment:
    """Take a deployment out of the traffic: its job goes back to the model used before.

    A running server follows within a second. The deployment is retired: no run of the flywheel advances it again, but a
    person may.

    Raises:
        InputError: there is no reason, or it is retired already.
        FlywheelChanged: the deployment was moved meanwhile.
    """
    _check_reason(reason)
    current = await books.deployment(deployment)
    if current.state == "retired":
        raise InputError(f"Deployment {deployment!r} is retired already.")
    return await books.move(current, "retired", by=by, reason=reason)


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise InputError("A step by hand needs a reason.", hint="Say why: it is kept with the deployment.")

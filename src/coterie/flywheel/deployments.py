"""Jobs and deployments as records of the store: found, advanced step by step, watched without labels, and rolled back.

    candidate   trained; answers nothing
    shadow      answers after the response is sent; its answers are compared
    canary      answers a share of the callers, `[flywheel] canary`
    champion    answers all but the control share
    retired     answers nothing any more

A step is one transaction: the deployment with its new state, and the transition with person, reason and figures. It is
written into the audit log first. Of two concurrent steps of one deployment one is refused (`FlywheelChanged`), and a
process that is killed leaves the state before or the state after. Only the champion and the canary of a job answer its
calls; a job has at most one of each.

While a deployment serves, confidence, scope, agreement and failures are watched: each score is a conformal CUSUM
(`Watch`) against the scores from before the deployment served. The budget of false alarms is shared by the monitors.
They detect a change of the calls, or of the answers of the model that the specialist learnt from. A change of what is
right, with similar calls, is only visible in people's labels.
"""

from __future__ import annotations

import bisect
import hashlib
import math
import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from coterie.errors import InputError
from coterie.flywheel.discovery import Prompt, Template, changes_of
from coterie.flywheel.fields import ListForm
from coterie.protocols import Audit, FlywheelStore
from coterie.runtime.codec import from_json, to_json
from coterie.text.segmentation import plain
from coterie.types import AcceptanceOverride, AuditEvent, ComparedAnswer, DeploymentState, FlywheelRecord, Reason

T = TypeVar("T")

STEPS: Mapping[DeploymentState, frozenset[DeploymentState]] = {
    "candidate": frozenset({"shadow", "retired"}),
    "shadow": frozenset({"canary", "retired"}),
    "canary": frozenset({"canary", "champion", "retired"}),
    "champion": frozenset({"retired"}),
    "retired": frozenset({"shadow"}),
}
"""Allowed next states. `canary` to `canary` is the next stage; a person may move a retired one back into shadow."""
SERVING: frozenset[DeploymentState] = frozenset({"canary", "champion"})
LIVE: frozenset[DeploymentState] = frozenset({"shadow", "canary", "champion"})

_JOB, _DEPLOYMENT, _TRANSITION, _ALARM = "job", "deployment", "transition", "alarm"
JobKind = Literal["relay", "site"]
"""A job of relayed calls, recognised by its templates, or a typed question, known by its fingerprint."""


@dataclass(frozen=True, kw_only=True)
class KnownJob:
    """A job to which calls are assigned."""

    id: str
    name: str
    """Name of its specialists in the registry."""
    tenant: str = "default"
    """Whose calls they are: two tenants with one template have a job each."""
    kind: JobKind = "relay"
    task: str = "classify"
    shape: str = "labels"
    labels: Mapping[str, str] = field(default_factory=dict)
    """How an answer, or a label of a list, is spelled, by it folded. Of a JSON object: its keys."""
    templates: tuple[Template, ...] = ()
    found: float = 0.0
    """Time of discovery in seconds since the epoch."""
    ignored: bool = False
    """Whether a person chose to ignore the job, or it was merged into another one."""
    merged_into: str = ""
    """Id of the job into which it was merged as another wording."""
    trained: int = 0
    """Number of examples that the last version was trained with."""
    judged: int = 0
    """Number of examples with a person's label at that time."""
    doubtful: tuple[str, ...] = ()
    """Examples of the last training whose label is likely noise, the likeliest first."""
    revision: int = 0


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A version of a specialist in the traffic of a job."""

    id: str
    job: str
    specialist: str
    version: str
    fields: Mapping[str, str] = field(default_factory=dict)
    """Of JSON objects and lists: version of the specialist of each field, in the object's order."""
    lists: Mapping[str, ListForm] = field(default_factory=dict)
    """Fields whose values are lists of labels, and how those are written."""
    state: DeploymentState = "candidate"
    stage: int = 0
    """Index of a canary's stage."""
    share: float = 0.0
    """Share of callers that the deployment answers: 0 unless it serves."""
    accepts_from: float | None = None
    """Confidence from which the deployment answers; None for the version's own threshold."""
    wordings: int = 0
    """Number of the job's templates when it was trained; 0 if it has none."""
    changes: int = 0
    """Most runs of these templates that its training prompts lacked, but for one in a hundred of them."""
    created: float = 0.0
    since: float = 0.0
    """Time at which the deployment entered its state or stage."""
    revision: int = 0

    @property
    def serves(self) -> bool:
        """Whether the deployment may answer any caller."""
        return self.state in SERVING

    def edit_of(self, prompt: Prompt, templates: Sequence[Template]) -> int:
        """Return a number for what was edited in a prompt since the version was trained; 0 for nothing.

        A wording of the job that was found later, and is like none of the earlier ones, is no edited one.
        """
        changes = changes_of(prompt, templates[: self.wordings])
        return hash(changes) if len(changes) > self.changes else 0

    @property
    def acceptance(self) -> AcceptanceOverride | None:
        """The override of the version's own threshold."""
        if self.accepts_from is None:
            return None
        return AcceptanceOverride(confidence=self.accepts_from, reason=Reason("flywheel.breaks_even"))


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One step of a deployment."""

    deployment: str
    time: float
    before: str
    after: str
    share: float
    by: str
    """Author of the step: a person, or `flywheel`."""
    reason: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Measured figures."""


@dataclass(frozen=True, kw_only=True)
class JobAlarm:
    """A detected change of a job."""

    id: str
    job: str
    deployment: str
    kind: str
    """Kind of the alarm: `confidence`, `scope`, `disagreement`, `complaints`, `errors` or `damaged`."""
    time: float
    since: float
    """Estimated start of the change."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    """Ids of examples since then."""
    action: str = ""
    """Action taken: `back to the model` or empty."""
    command: str = ""
    resolved: float | None = None
    """Time at which a person resolved the alarm."""
    revision: int = 0


S = TypeVar("S", Deployment, JobAlarm)


@dataclass(frozen=True, kw_only=True)
class Deployments:
    """Reads and writes jobs, deployments and alarms of one store.

    Args:
        store: Holds them.
        audit: Where each step is written down; None keeps no log.
        clock: Seconds since the epoch.
        new_id: Makes ids.
        tenant: The one whose jobs are seen, with what belongs to them; None sees all.
    """

    store: FlywheelStore
    audit: Audit | None = None
    clock: Callable[[], float] = time.time
    new_id: Callable[[], str] = field(default=lambda: uuid.uuid4().hex[:16])
    tenant: str | None = None

    # --- jobs ------------------------------------------------------------------------------------

    async def jobs(self) -> list[KnownJob]:
        """Return all jobs, the first found first."""
        jobs_found = [_read(KnownJob, record) for record in await self.store.records(_JOB)]
        return [job for job in jobs_found if self.tenant in {None, job.tenant}]

    async def seen(self, records: Sequence[S]) -> list[S]:
        """Return those of deployments or alarms that belong to a job that is seen."""
        own = None if self.tenant is None else {job.id for job in await self.jobs()}
        return [record for record in records if own is None or record.job in own]

    async def job(self, key: str) -> KnownJob:
        """Return a job by its id or its name. Raises `InputError` if there is none."""
        jobs = await self.jobs()
        match = next((job for job in jobs if key in {job.id, job.name}), None)
        if match is None:
            raise InputError(
                f"Asked for the job {key!r}; there are {[job.name for job in jobs]}.", hint="Use one of these names."
            )
        return match

    async def put_job(self, job: KnownJob) -> None:
        """Write a job. Raises `FlywheelChanged`."""
        await self.store.put(_written(_JOB, job, job=job.id, time=job.found))

    # --- deployments -----------------------------------------------------------------------------

    async def deployments(self, job: str | None = None) -> list[Deployment]:
        """Return deployments, the oldest first."""
        return await self.seen([_read(Deployment, record) for record in await self.store.records(_DEPLOYMENT, job=job)])

    async def deployment(self, key: str) -> Deployment:
        """Return a deployment. Raises `InputError` if there is none."""
        record = await self.store.record(_DEPLOYMENT, key)
        matching = await self.seen([] if record is None else [_read(Deployment, record)])
        if not matching:
            names = [deployment.id for deployment in await self.deployments()]
            raise InputError(f"There is no deployment {key!r}; there are {names}.", hint="Use one of these ids.")
        return matching[0]

    async def begin(
        self,
        job: KnownJob,
        version: str,
        *,
        by: str,
        reason: str,
        figures: Mapping[str, Any],
        changed: KnownJob,
        accepts_from: float | None = None,
        fields: Mapping[str, str] | None = None,
        lists: Mapping[str, ListForm] | None = None,
        wordings: int = 0,
        changes: int = 0,
        settled: Sequence[JobAlarm] = (),
    ) -> Deployment:
        """Make a candidate of a version, in one transaction with what changed about its job, and alarms it settles."""
        now = self.clock()
        made = Deployment(
            id=f"dep-{self.new_id()}",
            job=job.id,
            specialist=job.name,
            version=version,
            fields=fields or {},
            lists=lists or {},
            accepts_from=accepts_from,
            wordings=wordings,
            changes=changes,
            created=now,
            since=now,
        )
        step = _step(made, "", made, by=by, reason=reason, figures=figures, now=now)
        await self._note(step, made)
        await self.store.put(
            _written(_DEPLOYMENT, made, job=job.id, time=now),
            _written(_JOB, changed, job=job.id, time=changed.found),
            self._transition(step, made),
            *(_written(_ALARM, replace(alarm, resolved=now), job=alarm.job, time=alarm.time) for alarm in settled),
        )
        return replace(made, revision=1)

    async def move(
        self,
        deployment: Deployment,
        state: DeploymentState,
        *,
        by: str,
        reason: str,
        share: float = 0.0,
        stage: int = 0,
        figures: Mapping[str, Any] | None = None,
        alarm: JobAlarm | None = None,
    ) -> Deployment:
        """Move a deployment on, or back. A new champion retires the one before and older shadows, in one transaction.

        Raises:
            InputError: it cannot go there from where it is.
            FlywheelChanged: somebody else moved it meanwhile; nothing was written.
        """
        if state not in STEPS[deployment.state]:
            raise InputError(
                f"Deployment {deployment.id!r} is {deployment.state}; it cannot become {state}.",
                hint=f"From there it can become {', '.join(sorted(STEPS[deployment.state]))}.",
            )
        now = self.clock()
        moved = replace(deployment, state=state, share=share if state in SERVING else 0.0, stage=stage, since=now)
        changes = [(deployment, moved, reason)]
        others = [other for other in await self.deployments(deployment.job) if other.id != deployment.id]
        for other in others if state in SERVING else ():
            older = state == "champion" and other.state == "shadow" and other.created < deployment.created
            if other.state == state or older:  # one canary and one champion a job
                stepped_down = replace(other, state="retired", share=0.0, stage=0, since=now)
                changes.append((other, stepped_down, f"replaced by {deployment.id}: {reason}"))
        records = [] if alarm is None else [_written(_ALARM, alarm, job=alarm.job, time=alarm.time)]
        for before, after, why in changes:
            step = _step(after, before.state, after, by=by, reason=why, figures=figures or {}, now=now)
            await self._note(step, after)
            records += [_written(_DEPLOYMENT, after, job=after.job, time=after.created), self._transition(step, after)]
        await self.store.put(*records)
        return replace(moved, revision=moved.revision + 1)

    async def transitions(self, deployment: str) -> list[Transition]:
        """Return the steps of a deployment, the first one first."""
        records = await self.store.records(_TRANSITION)
        return [step for step in (_read(Transition, record) for record in records) if step.deployment == deployment]

    @staticmethod
    def _transition(step: Transition, deployment: Deployment) -> FlywheelRecord:
        key = f"{deployment.id}-{deployment.revision:06d}"  # in order, also where the clock stands
        return _written(_TRANSITION, step, job=deployment.job, time=step.time, key=key)

    async def _note(self, step: Transition, deployment: Deployment) -> None:
        """Write a step to the audit log before it takes effect."""
        if self.audit is not None:
            about = {**to_json(step), "job": deployment.job, "version": deployment.version}
            about["reason"] = self.audit.digest(step.reason) if step.by != "flywheel" else step.reason
            await self.audit.append(AuditEvent(kind="deployment", time=step.time, tenant="", about=about), sync=True)

    # --- alarms ----------------------------------------------------------------------------------

    async def alarms(self, *, open_only: bool = False) -> list[JobAlarm]:
        """Return alarms, the oldest first."""
        alarms_found = await self.seen([_read(JobAlarm, record) for record in await self.store.records(_ALARM)])
        return [alarm for alarm in alarms_found if alarm.resolved is None or not open_only]

    def alarm_of(
        self,
        deployment: Deployment,
        kind: str,
        *,
        figures: Mapping[str, Any],
        back: bool,
        since: float | None = None,
        examples: Sequence[str] = (),
    ) -> JobAlarm:
        """Make an alarm of a deployment, with the command that handles it; nothing is written yet."""
        now = self.clock()
        return JobAlarm(
            id=f"alarm-{self.new_id()}",
            job=deployment.job,
            deployment=deployment.id,
            kind=kind,
            time=now,
            since=now if since is None else since,
            figures=figures,
            examples=tuple(examples),
            action="back to the model" if back else "",
            command=f"coterie retrain {deployment.specialist}",
        )

    async def raise_alarm(self, alarm: JobAlarm) -> None:
        """Write an alarm that moves no deployment."""
        await self.store.put(_written(_ALARM, alarm, job=alarm.job, time=alarm.time))

    async def resolve(self, alarm: JobAlarm) -> None:
        """Mark an alarm as resolved. Raises `FlywheelChanged`."""
        await self.raise_alarm(replace(alarm, resolved=self.clock()))


def _step(
    deployment: Deployment,
    before: str,
    after: Deployment,
    *,
    by: str,
    reason: str,
    figures: Mapping[str, Any],
    now: float,
) -> Transition:
    return Transition(
        deployment=deployment.id,
        time=now,
        before=before,
        after=after.state,
        share=after.share,
        by=by,
        reason=reason,
        figures=figures,
    )


def _written(kind: str, value: Any, *, job: str, time: float, key: str = "") -> FlywheelRecord:  # noqa: ANN401 - a dataclass
    body = to_json(value)
    revision = body.pop("revision", 0)
    return FlywheelRecord(kind=kind, id=key or value.id, job=job, time=time, body=body, revision=revision)


def _read(kind: type[T], record: FlywheelRecord) -> T:
    revised = {"revision": record.revision} if hasattr(kind, "revision") else {}
    return from_json(kind, {**record.body, **revised}, unknown="ignore")


def next_step(
    deployment: Deployment, shares: Sequence[float], *, control: float, calls: float = math.inf, enough: int = 0
) -> tuple[DeploymentState, int, float]:
    """Return the next step of a deployment: state, stage and share.

    Args:
        deployment: The deployment that moves.
        shares: Shares of callers in the stages of a canary.
        control: Share that a champion leaves to the model.
        calls: Calls of the job within the longest time of a stage.
        enough: Calls that a deployment answers in a stage. A stage in which fewer are expected is skipped, except the
            last: it would show nothing more than the next one.
    """
    if deployment.state in {"candidate", "retired"}:
        return "shadow", 0, 0.0
    first = {"shadow": 0, "canary": deployment.stage + 1}.get(deployment.state, len(shares))
    for stage in range(first, len(shares)):
        if shares[stage] * calls >= enough or stage == len(shares) - 1:
            return "canary", stage, shares[stage]
    return "champion", 0, 1 - control


# --- Watch a stream of scores without labels, with a bound on false alarms.
#
# Each score becomes a conformal p-value: its rank among the scores seen so far, ties broken at random. As long as the
# stream is exchangeable with the calibration scores, p-values are independent and uniform (Vovk, Gammerman, Shafer,
# *Algorithmic Learning in a Random World*, 2005). Low scores give small p-values. A mixture of CUSUM statistics of
# power bets on them is an e-detector (Shin, Ramdas, Rinaldo, *E-detectors*, 2024): with its line at L, at least L
# rows pass in the mean before a false alarm. That bound is loose. As p-values are uniform whatever the scores are,
# the mean number is a property of the bets alone, and simulated: a power of L, from 13 times L for lines of 8 to 55
# times for lines of 2,000 (`benchmarks/flywheel/run_length.py`).

# --- Monitor a deployment without labels: confidence, scope, agreement, and failures.

_POWERS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8)
"""Exponents e of the bets e * p ** (e - 1)."""
_LEAST_PATIENCE = 100
_LEAST_LINE, _LINE_POWER = 8.0, 0.79
"""Threshold for a patience of `_LEAST_PATIENCE`, and the power of the patience with which it grows."""
_LEAST_P = 1 / 300
"""Lower bound of p-values, so that a few unusual calls in a row are no change yet.

The bound lowers the expected gain of a bet, so the limit on false alarms still holds.
"""
_REMEMBERED = 20_000
"""Scores among which p-values are ranked: the calibration scores and the first of the stream."""


def line_of(patience: float) -> float:
    """Return the threshold of a watch with at most one false alarm per `patience` rows on average."""
    return float(_LEAST_LINE * (patience / _LEAST_PATIENCE) ** _LINE_POWER)


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """Alarm that the stream differs from the calibration scores."""

    row: int
    """Rows watched until the alarm."""
    since: int
    """Row at which the change began, by the statistic's last zero."""


@dataclass
class Watch:
    """Watches one score, such as confidence. Not thread-safe.

    Args:
        calibration: Scores of rows from before, at least 20.
        patience: Mean number of rows between false alarms, at least 100.
        seed: Seed of the tie-breaking.

    Raises:
        ValueError: fewer than 20 calibration scores, or a `patience` below 100.
    """

    calibration: Sequence[float]
    patience: float = 20_000
    seed: int = 0
    rows: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if len(self.calibration) < 20 or self.patience < _LEAST_PATIENCE:
            raise ValueError(
                f"needs 20 calibration scores and a patience of {_LEAST_PATIENCE} or more, "
                f"found {len(self.calibration)} and {self.patience}"
            )
        self._seen = sorted(map(float, self.calibration))
        self._random = random.Random(self.seed)  # noqa: S311 - it breaks ties
        self._line = line_of(self.patience)
        self._logs = [0.0] * len(_POWERS)
        self._since = [0] * len(_POWERS)

    def see(self, score: float) -> Alarm | None:
        """Add a score; return an alarm if the statistic exceeds its threshold."""
        low, high = bisect.bisect_left(self._seen, score), bisect.bisect_right(self._seen, score)
        p = (low + self._random.random() * (high - low + 1)) / (len(self._seen) + 1)
        if len(self._seen) < _REMEMBERED:
            self._seen.insert(high, score)
        self.rows += 1
        for i, power in enumerate(_POWERS):
            if self._logs[i] <= 0:
                self._logs[i], self._since[i] = 0.0, self.rows
            self._logs[i] += math.log(power) + (power - 1) * math.log(max(p, _LEAST_P))
        if sum(math.exp(min(log, 700)) for log in self._logs) / len(_POWERS) < self._line:
            return None
        return Alarm(row=self.rows, since=self._since[max(range(len(_POWERS)), key=self._logs.__getitem__)])

    def see_all(self, scores: Iterable[float]) -> Alarm | None:
        """Add scores until one raises an alarm."""
        return next((alarm for score in scores if (alarm := self.see(score)) is not None), None)


_FEWEST = 20
"""Fewest scores with which a monitor begins."""
CALIBRATION = 3_000
"""Most comparisons with which a monitor begins: the newest."""
_FAILURES, _LAST = 5, 20
"""Failures that raise an alarm, and the number of last answers in which they are counted."""
_EDITED, _BY_CHANCE = 30, 0.05
"""Calls of an edited prompt by which it is judged, and the least probability of as many differing answers."""
_LAST_EDITS = 100
"""Edits of prompts that are remembered at once."""
MONITORS = ("confidence", "scope", "disagreement")
"""Monitors that are updated call by call."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """A change that a monitor detected."""

    kind: str
    rows: int
    """Number of calls that the monitor had watched."""
    back: int
    """Number of calls since the change began."""


@dataclass
class DeploymentWatch:
    """Watches one deployment. Not thread-safe.

    Args:
        before: Answers that were compared before it served, in order; with fewer than 20, the first new ones are used
            for calibration.
        patience: Mean number of calls between two false alarms of all monitors together.
        beside: Examples of `before` that a specialist answered: they do not show how often it differs from the model.
        texts: Inputs of `before`, by example.

    A text counts once in some thousands of calls, whoever sends it: a client that tries again, or a probe that asks the
    same every minute, is one observation and no drift.
    """

    before: Iterable[ComparedAnswer]
    patience: float
    beside: Collection[str] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    _asked: dict[str, None] = field(init=False, default_factory=dict)
    """The last texts of each monitor, as hashes, the oldest first."""
    _edits: dict[int, deque[bool]] = field(init=False, default_factory=dict)
    """Whether the last answers to prompts of one edit were those of the model."""
    _scores: dict[str, list[float]] = field(init=False)
    _watches: dict[str, Watch] = field(init=False, default_factory=dict)
    _failed: deque[bool] = field(init=False, default_factory=lambda: deque(maxlen=_LAST))

    def __post_init__(self) -> None:
        rows = [comparison for comparison in self.before if not comparison.failed][-CALIBRATION:]
        answered = [row for row in rows if self._is_new("answered", self.texts.get(row.example, ""))]
        of_model = (row for row in rows if row.accepted and row.example not in self.beside)
        self._scores = {
            "confidence": [row.confidence for row in answered],
            "scope": [row.in_scope for row in answered if row.in_scope is not None],
            "disagreement": [
                float(row.same) for row in of_model if self._is_new("compared", self.texts.get(row.example, ""))
            ],
        }
        self.before, self.texts = (), {}
        for kind in MONITORS:
            self._begin(kind)

    def _begin(self, kind: str) -> None:
        scores = self._scores[kind]
        if len(scores) >= _FEWEST and kind not in self._watches:
            self._watches[kind] = Watch(scores, patience=self.patience * len(MONITORS))

    def _is_new(self, what: str, text: str) -> bool:
        """Remember a text; return whether it was not among the last ones. An unknown text is new."""
        if not text:
            return True
        key = what + hashlib.blake2b(plain(text).encode("utf-8", "replace"), digest_size=8).hexdigest()
        is_new = key not in self._asked
        self._asked.pop(key, None)
        self._asked[key] = None
        if len(self._asked) > 2 * CALIBRATION:
            del self._asked[next(iter(self._asked))]
        return is_new

    def trusts(self, edit: int) -> bool:
        """Return whether the deployment may answer prompts that were edited so.

        Whoever edits a prompt may want other answers: the model gives them until it agreed with the deployment on some
        of them as often as before. A date that is written in words is such an edit each day.
        """
        agreed = self._edits.get(edit, ()) if edit else ()
        if not edit or len(agreed) < _EDITED:
            return not edit
        past = self._scores["disagreement"]
        usual = (sum(score < 1 for score in past) + 1) / (len(past) + 20)  # a twentieth where nothing is known
        differing = sum(not same for same in agreed)
        chances = (math.comb(len(agreed), k) * usual**k * (1 - usual) ** (len(agreed) - k) for k in range(differing))
        return 1 - sum(chances) > _BY_CHANCE

    def answered(self, confidence: float, in_scope: float | None, *, text: str = "") -> Drift | None:
        """Add an answer or an abstention of the deployment."""
        self._failed.append(False)
        if not self._is_new("answered", text):
            return None
        alarm = self._see("confidence", confidence)
        return alarm or (None if in_scope is None else self._see("scope", in_scope))

    def compared(self, *, same: bool, text: str = "", edit: int = 0) -> Drift | None:
        """Add whether an accepted answer equals the previous model's; of edited prompts it shows nothing but that."""
        if not self._is_new("compared", text):
            return None
        if edit:
            self._edits.setdefault(edit, deque(maxlen=2 * _EDITED)).append(same)
            if len(self._edits) > _LAST_EDITS:
                del self._edits[next(iter(self._edits))]
            return None
        return self._see("disagreement", float(same))

    def failed(self) -> Drift | None:
        """Add a call on which the deployment failed."""
        self._failed.append(True)
        count = sum(self._failed)
        return Drift(kind="errors", rows=count, back=len(self._failed)) if count >= _FAILURES else None

    def _see(self, kind: str, score: float) -> Drift | None:
        watch = self._watches.get(kind)
        if watch is None:
            self._scores[kind].append(score)
            self._begin(kind)
            return None
        alarm = watch.see(score)
        return None if alarm is None else Drift(kind=kind, rows=alarm.row, back=alarm.row - alarm.since)

"""The flywheel's calls: captured and answered inside a running server, or read from log files.

In a server: it answers for deployments, runs shadows, and follows the store. A request only passes a substring search
for each template, a hash that decides the caller's side of a canary and, where a deployment serves, its specialist.
Everything else happens after the response, in one task: shadows, the scrubbing of personal data in a worker thread, the
write. That task takes calls from a bounded queue. While the queue is long, shadows are skipped; when it is full, calls
are dropped, and both are counted.

Twice a second one number is read from the store. When it has changed, jobs and deployments are read, specialists
loaded, and one reference is replaced: running requests keep the one that they began with. A failure here never fails a
request: the request goes to the model that it named.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import logging
import os
import re
import secrets
from asyncio.subprocess import DEVNULL, PIPE
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

from coterie.accounting.meter import token_money
from coterie.config.file import RemoteModel
from coterie.config.operation import CaptureSection, FlywheelSection
from coterie.errors import CoterieError, InputError, SetupError
from coterie.flywheel.deployments import CALIBRATION, LIVE, Deployment, Deployments, DeploymentWatch, Drift, KnownJob
from coterie.flywheel.discovery import Discovery, FoundJob, Recogniser, RecordedCall, Template, fold, items_in
from coterie.flywheel.gates import drawn
from coterie.learning.dataset import count
from coterie.logs.exchanges import CallReader, LoggedCall, read_answer, read_log, read_question
from coterie.logs.rows import nothing_in
from coterie.privacy.detection import Detector, Kind, PersonalData, label_of, redact
from coterie.protocols import FlywheelStore, Specialist
from coterie.runtime.concurrency import AT_ONCE
from coterie.runtime.files import write_new, write_with
from coterie.text.segmentation import plain
from coterie.types import (
    SYSTEM,
    CallContext,
    CapturedExample,
    ComparedAnswer,
    ContextView,
    Finding,
    FlywheelChanged,
    Label,
    Principal,
    Task,
)

_log = logging.getLogger("coterie.flywheel")

_SPANS = {"hour": 3_600.0, "day": 86_400.0, "week": 604_800.0}
_LOOK_SECONDS = 60.0
"""Seconds between two checks whether a run is due."""
POLL_SECONDS = 0.5
"""Seconds between two reads of the store's revision."""
_GATHER_SECONDS = 0.05
"""Seconds within which ended calls are written together."""
_BATCH = 64
_CLOSING_SECONDS = 10.0
"""Seconds for processing waiting calls when the server stops."""
_WARN_SECONDS = 60.0
"""Seconds between two warnings about calls that are left out."""
_SHADOWS_UP_TO = 100
"""Length of the queue above which no shadow is asked."""
LONGEST_CALL = 500_000
"""Longest stored call in characters: removing personal data from a million takes five seconds."""
_APIS = {
    "/chat/completions": "chat",
    "/responses": "responses",
    "/completions": "completions",
    "/messages": "messages",
}
_SESSION = ("session_id", "user", "safety_identifier", "prompt_cache_key")
_NOT_PLAIN = (
    *("tools", "functions", "logprobs", "top_logprobs", "audio", "logit_bias", "suffix", "conversation", "echo"),
    *("thinking", "output_config", "mcp_servers"),
)
"""Request parameters that a specialist's answer does not fulfil."""
_EXAMPLES = 5


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A deployment with its specialist."""

    deployment: Deployment
    specialist: Specialist
    watch: DeploymentWatch


@dataclass(frozen=True, kw_only=True)
class _Snapshot:
    """The jobs and deployments that a request uses."""

    recognisers: Mapping[str, Recogniser] = field(default_factory=dict)
    """By tenant."""
    jobs: Mapping[str, KnownJob] = field(default_factory=dict)
    live: Mapping[str, Sequence[Serving]] = field(default_factory=dict)
    """Deployments by job."""


@dataclass(kw_only=True)
class EnteredCall:
    """One call in the flywheel."""

    example: CapturedExample
    """The example as far as it is known; not scrubbed."""
    raw_input: str = ""
    plain: bool = True
    """Whether a specialist's answer would fulfil the request."""
    arm: Serving | None = None
    """The deployment that answers before the model."""
    others: Sequence[Serving] = ()
    """Deployments whose answers are compared."""
    found: Finding | None = None
    """The finding of `arm`."""
    options: tuple[str, ...] = ()
    edits: Mapping[str, int] = field(default_factory=dict)
    """Deployments for which the prompt was edited since they were trained, and how."""


Load = Callable[[KnownJob, Deployment], Awaitable[Specialist]]


class LiveFlywheel:
    """Implements `protocols.Flywheel`. Make one with `await LiveFlywheel.open(...)`.

    Args:
        books: Jobs and deployments.
        section: `[flywheel]`.
        capture: `[capture]`.
        detector: Finds the personal data that is not stored.
        load: Loads the specialist of a deployment. Raises `CoterieError` if it is damaged or gone.
        secret: Keys the hashes of callers.
        command: Runs the flywheel once, in its own process.
        scheduled: Whether to run it as often as `[flywheel] every` sets.
    """

    def __init__(
        self,
        *,
        books: Deployments,
        section: FlywheelSection,
        capture: CaptureSection,
        detector: Detector,
        load: Load,
        secret: bytes,
        command: Sequence[str] = (),
        scheduled: bool = False,
    ) -> None:
        self.books, self.section, self._capture = books, section, capture
        self._detector, self._load, self._secret = detector, load, secret
        self._command, self._scheduled = command, scheduled
        self._snapshot = _Snapshot()
        self._revision = -1
        self._loaded: dict[str, Serving] = {}
        self._queue: asyncio.Queue[tuple[EnteredCall, bytes | str]] = asyncio.Queue(capture.queue)
        self._tasks: list[asyncio.Task[None]] = []
        self._busy = False
        self._closing = False
        self._warned = -_WARN_SECONDS
        self.counts: Counter[str] = Counter()
        """Calls kept, dropped, shadows run and left out, in this process."""

    @property
    def store(self) -> FlywheelStore:
        """The store of jobs, deployments and examples."""
        return self.books.store

    async def open(self) -> LiveFlywheel:
        """Read the store, and follow it from now on."""
        await self.follow()
        self._tasks = [asyncio.create_task(self._follow_on()), asyncio.create_task(self._work_on())]
        if self._scheduled and self.section.every is not None:
            self._tasks.append(asyncio.create_task(self._run_on(_SPANS[self.section.every])))
        return self

    async def close(self) -> None:
        """Write waiting calls, and stop."""
        self._closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self.settle()
        before = self.counts["unwritten"]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while not self._queue.empty():
            self._queue.get_nowait()
            self._queue.task_done()
            self.counts["unwritten"] += 1
        if left := self.counts["unwritten"] - before:
            _log.warning("%s still waited to be scrubbed, and went unwritten", count(left, "captured call"))

    async def settle(self) -> None:
        """Wait until every ended call is written."""
        await self._queue.join()

    # --- the way of a request --------------------------------------------------------------------

    def enter(
        self,
        *,
        trace_id: str,
        time: float,
        path: str,
        content: Mapping[str, Any],
        model: str,
        principal: Principal,
        label: Label,
    ) -> EnteredCall | None:
        """Enter a relayed request; None if it does not concern the flywheel."""
        if path not in _APIS or (self._capture.models and model not in self._capture.models):
            return None
        question = read_question(content)
        if question is None:
            return None
        system, text = question
        if len(system) + len(text) > LONGEST_CALL:
            self.counts["too_long"] += 1
            return None
        prompt = ((("system", system),) if system else ()) + (("user", text),)
        example = CapturedExample(
            id=trace_id,
            request=trace_id,
            time=time,
            tenant=principal.tenant,
            label=label,
            api=_APIS[path],
            prompt=prompt,
            policy=f"model:{model}",
            caller=self._hash(principal.tenant, principal.key, _user_of(content)),
        )
        recogniser = self._snapshot.recognisers.get(principal.tenant)
        match = None if recogniser is None else recogniser.job_of(prompt)
        if match is None:
            return EnteredCall(example=example)
        job, number, left = match
        entered = EnteredCall(
            example=replace(example, job=job, template=number),
            raw_input=left,
            plain=_is_plain(content, objects=self._snapshot.jobs[job].shape in {"json", "lists"}),
        )
        self._choose(entered, self._session(principal, content, prompt))
        return entered

    def enter_site(
        self,
        *,
        trace_id: str,
        site: str,
        name: str,
        text: str,
        options: Sequence[str],
        principal: Principal,
        label: Label,
    ) -> EnteredCall:
        """Enter a typed question."""
        job = f"site-{site}" + ("" if principal.tenant == KnownJob.tenant else f"-{_short(principal.tenant)}")
        example = CapturedExample(
            id=f"{trace_id}-{site}",
            request=trace_id,
            time=self.books.clock(),
            tenant=principal.tenant,
            label=label,
            api="decisions",
            job=job,
            prompt=(("system", name), ("user", text)),
            caller=self._hash(principal.tenant, principal.key, ""),
        )
        entered = EnteredCall(example=example, raw_input=text, options=tuple(options))
        self._choose(entered, f"{principal.tenant}/{principal.key}/{text}")
        return entered

    def _choose(self, entered: EnteredCall, session: str) -> None:
        """Choose which deployment answers: the same for all calls of a session."""
        live = self._snapshot.live.get(entered.example.job, ())
        job = self._snapshot.jobs.get(entered.example.job)
        if live and job is not None and job.templates:
            entered.edits = {
                lane.deployment.id: edit
                for lane in live
                if (edit := lane.deployment.edit_of(entered.example.prompt, job.templates))
            }
        serving = sorted((lane for lane in live if lane.deployment.serves), key=lambda lane: lane.deployment.state)
        propensity = 1.0
        for lane in serving if entered.plain else ():  # the canary first
            share = lane.deployment.share
            if not lane.watch.trusts(entered.edits.get(lane.deployment.id, 0)):
                continue
            if drawn(session, share, salt=lane.deployment.job + lane.deployment.state):
                entered.arm = lane
                propensity *= share
                break
            propensity *= 1 - share
        entered.others = [lane for lane in live if lane is not entered.arm]
        policy = entered.example.policy if entered.arm is None else entered.arm.deployment.id
        entered.example = replace(entered.example, policy=policy, propensity=propensity)

    async def answer(self, entered: EnteredCall, *, call: CallContext) -> Finding | None:
        """Return the accepted answer of the chosen deployment; None if the model answers."""
        if entered.arm is None:
            return None
        finding = entered.found = await self._ask(entered.arm, entered, call)
        return finding if finding is not None and finding.accepted else None

    def leave(
        self,
        entered: EnteredCall,
        answer: bytes | str,
        *,
        model: str = "",
        cost: float | None = None,
        milliseconds: float = 0.0,
        failed: bool = False,
    ) -> None:
        """Queue a call after its response was sent. The method returns immediately.

        Args:
            entered: The call.
            answer: The body of the response, or the answer itself.
            model: `[models]` key that answered; empty if the deployment did.
            cost: Cost of the call.
            milliseconds: Duration of the answer.
            failed: Whether there is no answer.
        """
        finding = entered.found
        by_arm = not model and entered.arm is not None
        entered.example = replace(
            entered.example,
            policy=entered.example.policy if by_arm else f"model:{model}",
            cost=cost,
            milliseconds=milliseconds,
            failed=failed,
            confidence=None if finding is None else finding.confidence,
            in_scope=None if finding is None else finding.in_scope,
        )
        try:
            self._queue.put_nowait((entered, answer))
        except asyncio.QueueFull:
            self.counts["dropped"] += 1
            if (now := monotonic()) >= self._warned + _WARN_SECONDS:
                self._warned = now
                left_out = f"{count(self.counts['dropped'], 'call')} since the start went uncaptured"
                _log.warning(
                    "%s: %d wait already. [capture] queue and sample set how many do.", left_out, self._queue.qsize()
                )

    def _hash(self, *parts: str) -> str:
        return hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), key=self._secret, digest_size=8).hexdigest()

    @staticmethod
    def _session(principal: Principal, content: Mapping[str, Any], prompt: Sequence[tuple[str, str]]) -> str:
        """Return the key of a session: its name, else its first message."""
        named = next((str(content[key]) for key in _SESSION if content.get(key)), _user_of(content))
        messages = content.get("messages")
        first = messages[:2] if isinstance(messages, list) else prompt
        return f"{principal.tenant}/{principal.key}/{named or json.dumps(first, default=str)[:4000]}"

    # --- deployments -----------------------------------------------------------------------------

    async def _ask(self, serving: Serving, entered: EnteredCall, call: CallContext) -> Finding | None:
        """Return a deployment's finding; None where it failed, which does not affect the caller."""
        example = entered.example
        task = Task(
            text=entered.raw_input,
            label=example.label,
            clearance=call.principal.clearance,
            tenant=example.tenant,
            distribution=bool(entered.options),
            acceptance_override=serving.deployment.acceptance,
        )
        try:
            finding = await serving.specialist.consult(task, ContextView(), call=call)
        except Exception as error:  # noqa: BLE001 - whatever it is, the model answers
            _log.warning("Deployment %s failed: %s", serving.deployment.id, type(error).__name__)
            self._alarmed(serving, serving.watch.failed(), example)
            return None
        drift = serving.watch.answered(finding.confidence, finding.in_scope, text=entered.raw_input)
        self._alarmed(serving, drift, example)
        return finding

    def _alarmed(self, serving: Serving, drift: Drift | None, example: CapturedExample) -> None:
        """Handle an alarm: stop the deployment in this process at once, in others at their next read of the store."""
        deployment = serving.deployment
        if drift is None or self._closing or not deployment.serves:
            return
        if self.section.on_alarm == "back":
            live = {
                job: [lane for lane in some if lane.deployment.id != deployment.id]
                for job, some in self._snapshot.live.items()
            }
            self._snapshot = replace(self._snapshot, live=live)
        self._tasks.append(asyncio.create_task(self._raise(deployment, drift, example)))

    async def _raise(self, deployment: Deployment, drift: Drift, example: CapturedExample) -> None:
        """Write the alarm, and roll the job back."""
        with suppress(TimeoutError):  # the calls that it is about are its examples
            async with asyncio.timeout(POLL_SECONDS):
                await self._queue.join()
        recent = await self.store.newest(job=deployment.job, limit=max(_EXAMPLES, min(drift.back, 500)))
        back = self.section.on_alarm == "back"
        alarm = self.books.alarm_of(
            deployment,
            drift.kind,
            since=recent[0].time if recent else example.time,
            figures={"calls_watched": drift.rows, "calls_since": drift.back, "patience": self.section.patience},
            examples=[row.id for row in recent[:: max(1, len(recent) // _EXAMPLES)][:_EXAMPLES]],
            back=back,
        )
        try:
            if back:
                reason = f"alarm: {drift.kind}"
                await self.books.move(deployment, "retired", by="flywheel", reason=reason, alarm=alarm)
            elif not any(a.deployment == deployment.id for a in await self.books.alarms(open_only=True)):
                await self.books.raise_alarm(alarm)
        except FlywheelChanged:
            await self.follow()

    # --- the schedule ----------------------------------------------------------------------------

    async def _run_on(self, seconds: float) -> None:
        """Run the flywheel when the interval since the last run of any process is over, first soon after the start."""
        while True:
            await asyncio.sleep(min(_LOOK_SECONDS, seconds))
            try:
                last = await self.store.record("lease", "run")
                if last is not None and self.books.clock() - last.time < seconds:
                    continue
                await self.run()
            except (CoterieError, OSError) as error:
                _log.warning("The flywheel's schedule: %s", error)

    async def run(self, *, dry_run: bool = False, job: str | None = None, retrain: bool = False) -> dict[str, Any]:
        """Run the flywheel in a low-priority process and return what it did.

        Raises:
            InputError: it was refused; the message is its own.
            SetupError: it failed.
        """
        words = ["retrain", job or ""] if retrain else ["flywheel", "run", *(["--job", job] if job else [])]
        words += ["--dry-run"] if dry_run else []
        process = await asyncio.create_subprocess_exec(
            *self._command, *words, "--json", stdin=DEVNULL, stdout=PIPE, stderr=PIPE, preexec_fn=_step_back
        )
        output, problem = await process.communicate()
        try:
            document: dict[str, Any] = json.loads(output)
        except ValueError:
            ended = f"`coterie {' '.join(words)}` ended with {process.returncode}: {problem.decode()[-500:]}"
            raise SetupError(ended, hint="Run it by hand.") from None
        if "error" in document:
            raise InputError(str(document["error"].get("message")), hint=str(document["error"].get("hint", "")))
        await self.follow()
        return document

    # --- following the store ---------------------------------------------------------------------

    async def _follow_on(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                if await self.store.revision() != self._revision:
                    await self.follow()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look may do better
                _log.warning("The flywheel cannot read its store: %s", error)

    async def follow(self) -> None:
        """Read jobs and deployments, load new specialists, and use them from the next request on."""
        revision = await self.store.revision()
        jobs = {job.id: job for job in await self.books.jobs() if not job.ignored}
        live: dict[str, list[Serving]] = {}
        for deployment in await self.books.deployments():
            if deployment.state in LIVE and deployment.job in jobs:
                serving = await self._serving(jobs[deployment.job], deployment)
                if serving is not None:
                    live.setdefault(deployment.job, []).append(serving)
        templates: dict[str, list[tuple[str, int, Template]]] = {}
        for job in jobs.values():
            templates.setdefault(job.tenant, []).extend(
                (job.id, n, template) for n, template in enumerate(job.templates)
            )
        self._loaded = {lane.deployment.id: lane for some in live.values() for lane in some}
        recognisers = {tenant: Recogniser(some) for tenant, some in templates.items()}
        self._snapshot = _Snapshot(recognisers=recognisers, jobs=jobs, live=live)
        self._revision = revision

    async def _serving(self, job: KnownJob, deployment: Deployment) -> Serving | None:
        """Return a deployment with its specialist, loaded once; retire one whose version is damaged or gone."""
        old = self._loaded.get(deployment.id)
        if old is not None and old.deployment.serves == deployment.serves:
            return replace(old, deployment=deployment)
        try:
            specialist = await self._load(job, deployment) if old is None else old.specialist
        except CoterieError as error:
            alarm = self.books.alarm_of(deployment, "damaged", figures={"code": error.code}, back=deployment.serves)
            with suppress(FlywheelChanged):
                reason = f"cannot be loaded: {error.code}"
                await self.books.move(deployment, "retired", by="flywheel", reason=reason, alarm=alarm)
            return None
        before = (await self.store.comparisons(deployment.id))[-CALIBRATION:]
        given = await self.store.examples_of([comparison.example for comparison in before]) if deployment.serves else {}
        # Beside a champion a shadow was compared with what that one said, and not with the model.
        beside = frozenset(key for key, example in given.items() if example.by_specialist)
        texts = {key: example.input for key, example in given.items()}
        watch = DeploymentWatch(before, self.section.patience, beside=beside, texts=texts)
        return Serving(deployment=deployment, specialist=specialist, watch=watch)

    # --- after the answer ------------------------------------------------------------------------

    async def _work_on(self) -> None:
        while True:
            batch = [await self._queue.get()]
            try:
                if not self._closing:
                    await asyncio.sleep(_GATHER_SECONDS)
                while len(batch) < _BATCH and not self._queue.empty():
                    batch.append(self._queue.get_nowait())
                await self._keep(batch)
            except (CoterieError, OSError) as error:
                self.counts["unwritten"] += len(batch)
                _log.warning("%d captured calls were not written: %s", len(batch), error)
            except asyncio.CancelledError:
                self.counts["unwritten"] += len(batch)
                raise
            except Exception:  # noqa: BLE001 - the next batch must still be written
                _log.exception("%d captured calls were not written", len(batch))
            finally:
                for _ in batch:
                    self._queue.task_done()

    async def _keep(self, batch: Sequence[tuple[EnteredCall, bytes | str]]) -> None:
        """Ask the shadows, scrub, and write."""
        compared: list[ComparedAnswer] = []
        read: list[tuple[EnteredCall, str]] = []
        for entered, body in batch:
            answer = await _aside(body, lambda body=body: _answer_in(body))  # type: ignore[misc]
            if answer is None:
                entered.example = replace(entered.example, failed=True)
            read.append((entered, answer or ""))
            if answer is not None and entered.plain:
                compared += await self._compare(entered, answer)
        if not self._capture.enabled:
            return
        kept = [pair for pair in read if drawn(pair[0].example.id, self._capture.sample, salt="sample")]
        examples = await asyncio.to_thread(lambda: [self._scrubbed(*pair) for pair in kept])
        ids = {example.id for example in examples}
        # What a specialist says is a label that it was trained with, and stands in the store already.
        await self.store.add_examples(examples, [comparison for comparison in compared if comparison.example in ids])
        self.counts["kept"] += len(examples)

    async def _compare(self, entered: EnteredCall, answer: str) -> list[ComparedAnswer]:
        """Return the deployments' answers to a call that the model answered."""
        compared: list[ComparedAnswer] = []
        if entered.arm is not None and entered.found is not None and not entered.found.accepted:
            compared.append(_compared(entered.arm.deployment, entered, entered.found, answer, 0.0))
        if self._queue.qsize() > _SHADOWS_UP_TO:
            self.counts["shadows_left_out"] += len(entered.others)
            return compared
        for other in entered.others:
            start = perf_counter()
            call = replace(SYSTEM, principal=Principal(tenant=entered.example.tenant, clearance=Label.RESTRICTED))
            finding = await self._ask(other, entered, call)
            took = (perf_counter() - start) * 1000
            row = _compared(other.deployment, entered, finding, answer, took)
            compared.append(row)
            self.counts["shadows"] += 1
            if row.accepted and not row.failed and not entered.example.by_specialist:
                drift = other.watch.compared(
                    same=row.same, text=entered.raw_input, edit=entered.edits.get(other.deployment.id, 0)
                )
                self._alarmed(other, drift, entered.example)
        return compared

    def _scrubbed(self, entered: EnteredCall, answer: str) -> CapturedExample:
        example = entered.example
        texts = [text for _, text in example.prompt]
        job = self._snapshot.jobs.get(example.job)
        parts = items_in(answer) if job is not None and job.shape == "lists" else (answer,)
        # Labels of the job stand in the store already.
        is_label = job is not None and parts is not None and all(fold(str(part)) in job.labels for part in parts)
        *prompt, left, answered = scrub([*texts, entered.raw_input, "" if is_label else answer], self._detector)
        roles = [role for role, _ in example.prompt]
        prompts = tuple(zip(roles, prompt, strict=True))
        return replace(example, prompt=prompts, input=left, answer=answer if is_label else answered)


def scrub(texts: Sequence[str], detector: Detector) -> list[str]:
    """Return texts with a typed placeholder for each personal value and secret, the same for the same value.

    A single word, such as the answer "billing", may look like a name. If it occurs in an earlier text among other
    words, and was not detected as a name there, it is no name: that text keeps it too.
    """
    numbers: dict[tuple[str, str], int] = {}
    done: list[str] = []

    def is_hidden(text: str, item: PersonalData) -> bool:
        if label_of(item.kind) is None:
            return False  # a town or a date says nothing of anybody who is not named
        words = plain(text[item.start : item.end])
        named = item.kind == Kind.PERSON and (item.kind, words) not in numbers
        return not (named and any(_holds(before, words) for before in done))

    for text in texts:
        personal_data = detector.find(text) if text else ()
        done.append(redact(text, (item for item in personal_data if is_hidden(text, item)), numbers))
    return done


def _holds(text: str, words: str) -> bool:
    """Return whether words occur in a text, ignoring case and the white space between them."""
    pattern = r"\s+".join(map(re.escape, words.split()))
    return re.search(rf"(?<!\w){pattern}(?!\w)", text, re.IGNORECASE) is not None


async def _aside(body: bytes | str, work: Callable[[], str | None]) -> str | None:
    return work() if len(body) <= AT_ONCE else await asyncio.to_thread(work)


def _answer_in(body: bytes | str) -> str | None:
    """Return the answer in a response's body as text; None if there is none."""
    if isinstance(body, str):
        return body
    read = read_answer(body.decode("utf-8", "replace"))
    return read if read is None or isinstance(read, str) else json.dumps(read, ensure_ascii=False)


def _compared(
    deployment: Deployment, entered: EnteredCall, finding: Finding | None, answer: str, took: float
) -> ComparedAnswer:
    row = ComparedAnswer(
        deployment=deployment.id, example=entered.example.id, time=entered.example.time, milliseconds=took
    )
    if finding is None:
        return replace(row, failed=True)
    text = finding.value if isinstance(finding.value, str) and finding.value else finding.text
    return replace(
        row,
        answer=text,
        confidence=finding.confidence,
        accepted=finding.accepted,
        in_scope=finding.in_scope,
        same=fold(text) == fold(answer),
    )


def _short(tenant: str) -> str:
    return hashlib.blake2b(tenant.encode("utf-8", "replace"), digest_size=4).hexdigest()


def _user_of(content: Mapping[str, Any]) -> str:
    """Return the user named in a request of OpenAI's or Anthropic's APIs."""
    about = content.get("metadata")
    return str(content.get("user") or (about.get("user_id") if isinstance(about, dict) else "") or "")


def _is_plain(content: Mapping[str, Any], *, objects: bool = False) -> bool:
    """Return whether one text answers a request as its caller wishes; with `objects` it is a JSON object."""
    form = content.get("response_format")
    formed = isinstance(form, dict) and str(form.get("type") or "text") != "text" and not objects
    return (
        not formed
        and (content.get("n") is None or content["n"] == 1)
        and not any(content.get(name) for name in _NOT_PLAIN)
        and not content.get("previous_response_id")
        and not _has_other_parts(content.get("messages", content.get("input")))
    )


def _has_other_parts(messages: object) -> bool:
    """Return whether a message has a part that is no text."""
    if not isinstance(messages, list):
        return False
    parts = [part for message in messages if isinstance(message, dict) for part in _parts(message.get("content"))]
    return any(isinstance(part, dict) and "text" not in str(part.get("type", "text")) for part in parts)


def _parts(content: object) -> Sequence[object]:
    return content if isinstance(content, list) else ()


def caller_secret(database: Path) -> bytes:
    """Return the key of the hashes of callers, made at the first call; it is stored beside the database."""
    path = database.with_name("callers.key")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            write_new(path, secrets.token_bytes(32), mode=0o600)
    return path.read_bytes()[:64]


def _step_back() -> None:
    """Lower this process' priority, so that training takes only what the server leaves."""
    os.nice(15)


# --- Calls from log files, and training rows from the jobs found in them.


@dataclass(kw_only=True)
class Recorded:
    """Calls read from logs, and the skipped records, counted by reason."""

    calls: list[RecordedCall] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def read_calls(files: Sequence[Path]) -> Recorded:
    """Read every call of log files, in any known format.

    Args:
        files: JSONL, JSON or CSV files.

    Raises:
        DataError: a file cannot be read, or has records and no call among them.
    """
    recorded = Recorded()
    reader = CallReader(skipped=recorded.skipped)
    for path in files:
        for record in read_log(path, recorded.skipped):
            recorded.calls += map(_call, reader.read(record.value))
    reader.finish()
    if not recorded.calls and any(recorded.skipped.values()):
        raise nothing_in(files, recorded.skipped)
    return recorded


def _call(logged: LoggedCall) -> RecordedCall:
    answer = logged.answer if isinstance(logged.answer, str) else json.dumps(logged.answer, ensure_ascii=False)
    system = (("system", logged.system),) if logged.system else ()
    return RecordedCall(
        prompt=(*system, ("user", logged.text)),
        answer=answer,
        caller=logged.caller,
        cost=logged.cost,
        model=logged.about.get("model", ""),
        tokens=logged.tokens,
    )


def write_rows(path: Path, job: FoundJob, discovery: Discovery, calls: Sequence[RecordedCall]) -> int:
    """Write a `classify` job's calls as a CSV with the columns text and label; return the number of rows.

    A label is spelled as most answers spell it; bars separate the labels of a list. Calls whose answer is none of the
    job's labels are left out, as are repeated rows.
    """
    several = job.answers.shape == "lists"
    parts_by_call = {i: (items_in(calls[i].answer) or ()) if several else (calls[i].answer,) for i in job.calls}
    spelled: dict[str, Counter[str]] = {}
    for part in (str(item) for parts in parts_by_call.values() for item in parts):
        spelled.setdefault(fold(part), Counter())[" ".join(part.split()).strip(" .!\"'`*")] += 1
    names = {label: spelled[label].most_common(1)[0][0] for label in job.answers.labels}
    folded = {i: [fold(str(part)) for part in parts] for i, parts in parts_by_call.items()}
    rows = dict.fromkeys(
        (discovery.input_of(i), "|".join(names[label] for label in labels))
        for i, labels in folded.items()
        if names.keys() >= set(labels)
    )
    rows.pop(("", ""), None)

    def write(target: Path) -> None:
        with target.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "label"))
            writer.writerows(row for row in rows if row[0])

    write_with(path, write)
    return sum(bool(text) for text, _ in rows)


# --- Calls of log files as captured examples: scrubbed as a server scrubs them, and written once however often.

_SECOND = 1.0


def priced(recorded: Recorded, models: Mapping[str, object], *, until: float) -> int:
    """Price calls whose log has tokens but no cost, by the entry of `[models]` for their model's name.

    Args:
        recorded: Calls; those that can be priced are replaced.
        models: `[models]`: a call's model is an entry's key or its `name`, with or without a provider before a slash.
        until: Time of the prices, in seconds since the epoch, since logs write time in many formats.

    Returns:
        Number of calls that were priced.
    """
    entries = {key: model for key, model in models.items() if isinstance(model, RemoteModel)}
    entries = {**{str(getattr(model, "name", key)): model for key, model in entries.items()}, **entries}
    models_at = {name: model.prices_at(until) for name, model in entries.items()}
    count = 0
    for index, call in enumerate(recorded.calls):
        prices = models_at.get(call.model) or models_at.get(call.model.rpartition("/")[2])
        if call.cost is None and call.tokens is not None and prices is not None:
            read, written = map(Decimal, call.tokens)
            cost = token_money(read, written, price_in=prices.tokens_in, price_out=prices.tokens_out)
            recorded.calls[index] = replace(call, cost=None if cost is None else float(cost))
            count += cost is not None
    return count


def log_examples(
    recorded: Recorded, *, detector: Detector, secret: bytes, tenant: str, label: Label, until: float
) -> Iterator[CapturedExample]:
    """Yield one example per call.

    Args:
        recorded: Calls, in the order of their files; calls that are too long are counted as skipped.
        detector: Finds the personal data that is removed.
        secret: Keys the hashes of callers.
        tenant: The tenant of the calls.
        label: Sensitivity of the calls.
        until: Time of the last call, in seconds since the epoch; earlier ones are a second apart, since logs write time
            in many formats.
    """
    for index, call in enumerate(recorded.calls):
        texts = [text for _, text in call.prompt]
        if sum(map(len, texts)) + len(call.answer) > LONGEST_CALL:
            recorded.skipped["long_call"] += 1
            continue
        *prompt, answer = scrub([*texts, call.answer], detector)
        identity = "\0".join([*texts, call.answer, str(index)]).encode("utf-8", "replace")
        yield CapturedExample(
            id=f"log-{_hash(identity, secret)}",
            time=until - (len(recorded.calls) - index) * _SECOND,
            tenant=tenant,
            label=label,
            api="log",
            prompt=tuple((role, text) for (role, _), text in zip(call.prompt, prompt, strict=True)),
            answer=answer,
            cost=call.cost,
            policy="model:log",
            caller=_hash(call.caller.encode("utf-8", "replace"), secret) if call.caller else "",
        )


def _hash(content: bytes, secret: bytes) -> str:
    return hashlib.blake2b(content, key=secret, digest_size=8).hexdigest()


def batches(examples: Iterator[CapturedExample], size: int = 500) -> Iterator[Sequence[CapturedExample]]:
    """Yield examples in batches of `size`."""
    some: list[CapturedExample] = []
    for example in examples:
        some.append(example)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some

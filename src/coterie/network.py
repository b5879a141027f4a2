"""A request's life, top to bottom: admit, route, gather, consult, decide, synthesise, check, settle.

The network knows protocols only: no HTTP, no file, no library that runs weights. Each stage is one
function, timed and traced; `Network.stream` runs them in order. The parts of a compound request are
worked on side by side and answered in order.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from functools import reduce
from time import perf_counter
from time import time as wall_clock

from coterie.context import build_view, describe_view
from coterie.errors import EngineError, InputError, PolicyError, SetupError, UnknownSpecialist
from coterie.protocols import Engine, Meter, Router, SpeakingSpecialist, Specialist, Store
from coterie.routing import pinned_route
from coterie.types import (
    Answer,
    Columns,
    Context,
    ContextView,
    Delta,
    Entry,
    Finding,
    Label,
    Message,
    Output,
    Part,
    Prompt,
    Request,
    Route,
    Settlement,
    Stage,
    Status,
    Step,
    Task,
    Trace,
    Usage,
    Verdict,
    ViewRecord,
)

Say = Callable[[str], None]
"""Shows a piece of a part's answer as soon as it is certain."""


@dataclass
class Network:
    """Specialists with a router before them, a store behind them and, perhaps, a generalist above them.

    Build one with `coterie.open_network(folder)`, or from your own implementations of the protocols.
    """

    specialists: Mapping[str, Specialist]
    router: Router
    store: Store
    meter: Meter
    encoder: Engine
    generalist: Specialist | None = None
    escalate_out_of_scope: bool = False
    default_label: Label = Label.INTERNAL
    name: str = "network"
    engines: Sequence[Engine] = ()
    """Closed with the network."""
    clock: Callable[[], float] = wall_clock
    new_id: Callable[[], str] = field(default=lambda: uuid.uuid4().hex)

    async def ask(self, request: Request, *, trace_id: str | None = None) -> Answer:
        """The whole answer at once. Raises what `stream` raises."""
        async with aclosing(self.stream(request, trace_id=trace_id)) as events:
            async for event in events:
                if isinstance(event, Answer):
                    return event
        raise AssertionError("stream ends with an Answer")

    async def stream(self, request: Request, *, trace_id: str | None = None) -> AsyncGenerator[Delta | Answer]:
        """Deltas as they become certain, then the `Answer`, which is given only once it is settled.

        A door that shows the trace's id before the answer exists makes it with `new_id` and gives it here.

        Raises:
            InputError: the request itself cannot be served (empty, unknown specialist).
            Overloaded: an engine's queue is full.
            StoreError: the answer could not be written down, so it is not given.
        """
        life = _Life(id=trace_id or self.new_id(), time=self.clock())
        with life.stage("admit"):
            request, context = await self._admit(request)
        with life.stage("route"):
            route = await self._route(request, context)
        outcomes: list[Outcome] = []
        shown: list[str] = []
        try:
            async with aclosing(self._work_on_parts(request, context, route, life)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Outcome):
                        outcomes.append(piece)
                    else:
                        shown.append(piece)
                        yield Delta(text=piece)
        except (asyncio.CancelledError, GeneratorExit):
            # Who asked is gone; what was spent for them still belongs in the ledger.
            await asyncio.shield(self._settle(request, route, outcomes, life, "".join(shown)))
            raise
        # Shielded: who leaves at the last moment has still been answered, and is in the ledger.
        yield await asyncio.shield(self._settle(request, route, outcomes, life, "".join(shown)))

    async def embed(self, texts: Sequence[str]) -> Sequence[Output]:
        """One vector a text, from the encoder that router and specialists share."""
        return await self.encoder.run([Prompt(text=text) for text in texts])

    async def close(self) -> None:
        """Finish what is queued in the store and free engines and files."""
        for engine in self.engines:
            await engine.close()
        await self.store.close()

    # --- admit -----------------------------------------------------------------------------------

    async def _admit(self, request: Request) -> tuple[Request, Context]:
        """Label the request, find structured input in its text, fetch its session's context."""
        if request.specialist is not None and request.specialist not in self.specialists:
            raise UnknownSpecialist(
                f"Asked for specialist {request.specialist!r}; this network has {sorted(self.specialists)}.",
                hint="Use one of these names, or leave it out to let the router choose.",
            )
        if request.columns is None:
            text, columns = split_columns(request.text)
            request = replace(request, text=text, columns=columns)
        if not request.text.strip() and not request.columns:
            raise InputError("The request is empty.", hint="Send a text, or columns as a JSON object.")
        request = replace(request, label=request.label or self.default_label)
        context = Context()
        if request.session is not None:
            context = await self.store.context(request.session, request.tenant)
        return request, context.append(*self._history(request))

    def _history(self, request: Request) -> tuple[Entry, ...]:
        """Earlier turns that the caller sent along, as entries of the context; they are not stored again."""
        now, label = self.clock(), _label(request)
        return tuple(Entry(content=turn, producer=turn.role, label=label, time=now) for turn in request.history)

    # --- route -----------------------------------------------------------------------------------

    async def _route(self, request: Request, context: Context) -> Route:
        """Whom to ask: the pinned specialist, or whom the router names."""
        if request.specialist is None:
            route = await self.router.route(request, context)
        else:
            cards = {name: specialist.card for name, specialist in self.specialists.items()}
            route = pinned_route(request, cards)
        return replace(route, steps=tuple(self.meter.price(step) for step in route.steps))

    # --- gather, consult, decide, synthesise: each part of the request ---------------------------

    async def _work_on_parts(
        self, request: Request, context: Context, route: Route, life: _Life
    ) -> AsyncGenerator[str | Outcome, None]:
        """Pieces of the answer in the order of the parts, each part's `Outcome` after its pieces."""
        parts = route.parts or (Part(text=request.text, waves=(), score=0.0),)
        channels = [asyncio.Queue[str | None]() for _ in parts]
        tasks = [
            asyncio.create_task(self._work_on(part, request, context, route, life, channel))
            for part, channel in zip(parts, channels, strict=True)
        ]
        try:
            for index, (channel, task) in enumerate(zip(channels, tasks, strict=True)):
                before, spoken = ("\n\n" if index else ""), False
                while (piece := await channel.get()) is not None:
                    yield before + piece
                    before, spoken = "", True
                outcome = await task
                if not spoken:
                    yield before + synthesise(outcome, named=len(parts) > 1)
                yield outcome
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work_on(  # noqa: PLR0917 - a stage's inputs
        self,
        part: Part,
        request: Request,
        context: Context,
        route: Route,
        life: _Life,
        channel: asyncio.Queue[str | None],
    ) -> Outcome:
        """Consult a part's specialists wave by wave, then decide. None in the channel ends its pieces."""
        task = _task(part, request)
        outcome = Outcome(part=part)
        try:
            for wave in part.waves:
                alone = channel.put_nowait if wave == part.waves[-1] and len(wave) == 1 else None
                with life.stage("gather", note=", ".join(wave)):
                    views = {name: build_view(context, self.specialists[name].card) for name in wave}
                with life.stage("consult", note=", ".join(wave)):
                    findings = await asyncio.gather(
                        *(self._consult(self.specialists[name], task, view, alone) for name, view in views.items())
                    )
                outcome = outcome.having(findings, views)
                facts = self._facts(findings)
                context = context.append(*facts)
                outcome = replace(outcome, entries=outcome.entries + facts)
                if not any(finding.accepted for finding in findings):
                    break  # whoever comes next reads what was not written
            with life.stage("decide"):
                return await self._decide(outcome, task, context, route, channel.put_nowait)
        finally:
            channel.put_nowait(None)

    async def _consult(self, specialist: Specialist, task: Task, view: ContextView, say: Say | None) -> Finding:
        """Ask one specialist. What its engine cannot do becomes an abstention with the reason."""
        try:
            if say is None or not isinstance(specialist, SpeakingSpecialist):
                finding = await specialist.consult(task, view)
            else:
                finding = await _listen(specialist, task, view, say)
        except PolicyError as refusal:
            finding = _abstention(specialist.card.name, task, refusal.message, refusal.verdict)
        except (EngineError, InputError, SetupError) as error:
            finding = _abstention(specialist.card.name, task, error.message)
        steps = tuple(self.meter.price(step) for step in finding.steps)
        return replace(finding, task=specialist.card.task, steps=steps)

    def _facts(self, findings: Sequence[Finding]) -> tuple[Entry, ...]:
        """The facts of accepted findings as context entries."""
        now = self.clock()
        return tuple(
            Entry(content=fact, producer=finding.specialist, label=finding.label, time=now)
            for finding in findings
            if finding.accepted
            for fact in finding.facts
        )

    async def _decide(self, outcome: Outcome, task: Task, context: Context, route: Route, say: Say) -> Outcome:
        """Accept what the specialists found, or ask the generalist if there is one, or abstain."""
        if outcome.answering:
            return replace(outcome, status="accepted")
        nobody_fits = not outcome.findings
        reason = route.reason if nobody_fits else "; ".join(f"{f.specialist}: {f.reason}" for f in outcome.findings)
        outcome = replace(outcome, status="abstained", reason=reason)
        if self.generalist is None or (nobody_fits and not self.escalate_out_of_scope):
            return outcome
        view = build_view(context, self.generalist.card)
        finding = await self._consult(self.generalist, task, view, say)
        outcome = outcome.having([finding], {self.generalist.card.name: view})
        if finding.accepted:
            return replace(outcome, status="escalated", reason=finding.reason)
        return replace(outcome, reason=f"{reason}; {finding.specialist}: {finding.reason}")

    # --- settle ----------------------------------------------------------------------------------

    async def _settle(
        self, request: Request, route: Route, outcomes: Sequence[Outcome], life: _Life, text: str
    ) -> Answer:
        """Check the findings, write trace, ledger and context in one transaction, give the answer."""
        with life.stage("check"):
            outcomes = [check(outcome, _label(request)) for outcome in outcomes]
        trace = self._trace(request, route, outcomes, life, text)
        entries: tuple[Entry, ...] = ()
        if request.session is not None:
            said = self._said(request, text)
            entries = (said[0], *(e for outcome in outcomes for e in outcome.entries), said[1])
        await self.store.settle(Settlement(trace=trace, entries=entries))
        return Answer(text=text, trace=trace)

    def _said(self, request: Request, text: str) -> tuple[Entry, Entry]:
        """The exchange as two messages of the context."""
        now, label = self.clock(), _label(request)
        asked = Message(role="user", text=request.text)
        answered = Message(role="assistant", text=text)
        return (
            Entry(content=asked, producer="user", label=label, time=now),
            Entry(content=answered, producer=self.name, label=label, time=now),
        )

    def _trace(self, request: Request, route: Route, outcomes: Sequence[Outcome], life: _Life, text: str) -> Trace:
        findings = tuple(finding for outcome in outcomes for finding in outcome.findings)
        steps = route.steps + tuple(step for finding in findings for step in finding.steps)
        waited = (perf_counter() - life.start) * 1000
        return Trace(
            id=life.id,
            time=life.time,
            tenant=request.tenant,
            session=request.session,
            label=_label(request),
            status=overall_status([outcome.status for outcome in outcomes]),
            route=route,
            findings=findings,
            views=tuple(view for outcome in outcomes for view in outcome.views),
            verdicts=tuple(verdict for finding in findings for verdict in finding.verdicts),
            stages=tuple(life.stages),
            steps=steps,
            usage=replace(_total(steps), milliseconds=waited),
            counterfactual_cost=self.meter.counterfactual(request.text, text),
        )


# --- The stages that are functions of values alone -----------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one part of a request."""

    part: Part
    status: Status = "abstained"
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    views: tuple[ViewRecord, ...] = ()
    entries: tuple[Entry, ...] = ()
    """Facts it adds to the context."""

    def having(self, findings: Sequence[Finding], views: Mapping[str, ContextView]) -> Outcome:
        """The outcome with the findings and views of one more wave."""
        records = tuple(describe_view(name, view) for name, view in views.items())
        return replace(self, findings=self.findings + tuple(findings), views=self.views + records)

    @property
    def answering(self) -> tuple[Finding, ...]:
        """The accepted findings of the last wave that has any: earlier ones were read by it."""
        asked = {finding.specialist: finding for finding in self.findings if finding.accepted}
        for wave in reversed(self.part.waves):
            if found := tuple(asked[name] for name in wave if name in asked):
                return found
        return ()


def split_columns(text: str) -> tuple[str, Columns | None]:
    """Structured input sent inside a text: the text without its JSON object, and the object.

    Only an object of plain values counts; any other brace is part of the text.
    """
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return text, None
    try:
        columns = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return text, None
    if not isinstance(columns, dict) or not columns or not all(_is_cell(value) for value in columns.values()):
        return text, None
    return (text[:start] + text[end + 1 :]).strip(), columns


def _is_cell(value: object) -> bool:
    """Whether a column may hold it: a text, a number that a float can hold (so no NaN), true, false or null."""
    if isinstance(value, int | float):
        return abs(value) <= sys.float_info.max
    return value is None or isinstance(value, str)


def synthesise(outcome: Outcome, *, named: bool) -> str:
    """An outcome as text: what was found (with who found it, where there are several), or why nothing was.

    A finding that gives its reasons, such as a score, is shown even where it abstains: a person decides with it.
    """
    if outcome.status == "escalated":
        return outcome.findings[-1].text
    if outcome.status == "abstained":
        known = [finding.text for finding in outcome.findings if any(e.kind == "reason" for e in finding.evidence)]
        return "\n".join([f"Not answered: {outcome.reason}.", *known])
    named = named or len(outcome.answering) > 1
    return "\n".join(
        f"{finding.specialist}: {finding.text}" if named else finding.text for finding in outcome.answering
    )


def check(outcome: Outcome, label: Label) -> Outcome:
    """No finding is less sensitive than the request it came from: raise those that claim to be."""
    return replace(outcome, findings=tuple(_checked(finding, label) for finding in outcome.findings))


def _checked(finding: Finding, label: Label) -> Finding:
    if finding.label >= label:
        return finding
    verdict = Verdict(
        allowed=False,
        rule="label.flow",
        reason=f"{finding.specialist} labelled its finding {finding.label.value!r}, below the request's "
        f"{label.value!r}; it carries {label.value!r}",
    )
    return replace(finding, label=label, verdicts=(*finding.verdicts, verdict))


def overall_status(statuses: Sequence[Status]) -> Status:
    """Escalated if the generalist answered any part, else accepted if anybody did."""
    return next((status for status in ("escalated", "accepted") if status in statuses), "abstained")


def _total(steps: Sequence[Step]) -> Usage:
    """What the steps took together; measured only if all of it was."""
    return reduce(Usage.__add__, (step.usage for step in steps)) if steps else Usage()


async def _listen(specialist: SpeakingSpecialist, task: Task, view: ContextView, say: Say) -> Finding:
    """Pass a specialist's deltas on and return its finding."""
    events = specialist.speak(task, view)
    try:
        async for event in events:
            if isinstance(event, Finding):
                return event
            say(event.text)
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()
    raise AssertionError("speak ends with a Finding")


def _abstention(name: str, task: Task, reason: str, *verdicts: Verdict) -> Finding:
    return Finding(
        specialist=name,
        value=None,
        text="",
        confidence=0.0,
        accepted=False,
        reason=reason,
        label=task.label,
        verdicts=verdicts,
    )


def _task(part: Part, request: Request) -> Task:
    return Task(
        text=part.text,
        columns=request.columns,
        label=_label(request),
        max_tokens=request.max_tokens,
        vector=part.vector,
    )


def _label(request: Request) -> Label:
    """An admitted request's label."""
    assert request.label is not None, "requests are labelled when admitted"
    return request.label


@dataclass
class _Life:
    """One request's stopwatch."""

    id: str
    time: float
    start: float = field(default_factory=perf_counter)
    stages: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str, *, note: str = "") -> Iterator[None]:
        """Time a stage; parts that run side by side each write their own."""
        start = perf_counter()
        try:
            yield
        finally:
            self.stages.append(Stage(name=name, milliseconds=(perf_counter() - start) * 1000, note=note))

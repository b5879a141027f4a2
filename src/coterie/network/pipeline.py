"""A request's life, top to bottom: admit, restate, route, gather, consult, check, decide, synthesise, settle.

A request that brings a document is not routed: small models read it, and the generalist, if there is one, plans and
concludes (`hybrid`).

The network knows protocols only: no HTTP, no file, no library that runs weights. Each stage is one
function, timed and traced; `Network.stream` runs them in order. The parts of a compound request are
worked on side by side and answered in order.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace
from functools import cached_property
from time import perf_counter
from time import time as wall_clock
from typing import cast

from coterie.accounting.overhead import Overhead
from coterie.context.entries import entries_of
from coterie.context.view import build_view
from coterie.errors import EngineError, InputError, PolicyError, SetupError
from coterie.generalist.collaboration import Collaboration
from coterie.generalist.generalist import NAME, Asking
from coterie.generalist.pack import pack_context, topic
from coterie.generalist.reading import default_reader
from coterie.governance.audit_events import audit_request, refusals_noted
from coterie.governance.pseudonyms import PseudonymBook
from coterie.network.admission import Admission, Admitted
from coterie.network.gathering import SecretFinder, charged, look_up
from coterie.network.outcome import (
    PartOutcome,
    abstain,
    check,
    for_generalist,
    label_of,
    nothing_to_read,
    outcome_of,
    overall_status,
    refused,
    synthesise,
    task_of,
    told,
)
from coterie.network.state import Life, begun, standing_alone
from coterie.policy.cost_quality import CostQualityPolicy
from coterie.privacy.detection import Detector
from coterie.privacy.patterns import PatternDetector
from coterie.protocols import Audit, Budget, Engine, Meter, Retriever, Router, SpeakingSpecialist, Specialist, Store
from coterie.routing.plan import permitted, pinned_route
from coterie.runtime.concurrency import cancel, side_by_side, to_the_end
from coterie.runtime.cpu import billed
from coterie.types import (
    Account,
    Answer,
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
    Task,
    Trace,
    impersonal,
    total_usage,
)

_FEWEST_TO_COMPOSE = 2
"""Accepted findings: fewer need nobody to put them together."""
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
    knowledge: Mapping[str, Retriever] = field(default_factory=dict)
    """Shelves by their `[knowledge]` key; closed with the network."""
    generalist: Specialist | None = None
    """Asked last. A `hybrid.Generalist` also puts findings together, and plans and concludes for documents."""
    reader: Specialist | None = None
    """Reads the documents that requests bring; None for the one that comes with Coterie."""
    untrained: Sequence[str] = ()
    """Specialists of the file without a version: the others answer, and a request that names one of these fails."""
    escalate_out_of_scope: bool = False
    default_label: Label = Label.INTERNAL
    name: str = "network"
    engines: Sequence[Engine] = ()
    """Closed with the network."""
    audit: Audit | None = None
    """Where each request is written down; closed with the network."""
    budget: Budget | None = None
    """How much may be asked; closed with the network."""
    detector: Detector = field(default_factory=PatternDetector)
    """Finds the personal data and the secrets that raise a request's label."""
    pseudonyms: PseudonymBook = field(default_factory=PseudonymBook)
    """What stands for what in which session, at the engines that see pseudonyms only."""
    overhead: Overhead | None = None
    """Counts what answering takes beside the steps; None leaves it uncounted."""
    dial: CostQualityPolicy = field(default_factory=CostQualityPolicy)
    """Between quality and money, unless a request says otherwise."""
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
            BudgetExceeded: no request is left to who asks.
            Overloaded: an engine's queue is full.
            StoreError, AuditError: the answer could not be written down, so it is not given.
        """
        large = begun(self.generalist, request)
        life = Life(id=trace_id or self.new_id(), admitted=self.clock(), request=request, large=large)
        try:
            with life.attending(self.overhead):
                async with aclosing(self._live(life)) as events:
                    async for event in events:
                        yield event
        finally:
            await to_the_end(life.pay(self.budget))

    async def _live(self, life: Life) -> AsyncGenerator[Delta | Answer]:
        """The request's life, stage by stage."""
        request = life.request
        with life.stage("admit"):
            async with refusals_noted(self.audit, request, time=life.admitted):
                life.enter(await self._admit(request))
            if self.budget is not None:
                life.reserved = await self.budget.admit(Account(tenant=request.tenant, key=request.key))
        with life.stage("restate") as note:
            life.question, reason = standing_alone(life.request, life.context)
            note(reason)
        with life.stage("route"):
            life.route = await self._route(life.question, life.context)
        try:
            with self.dial.spending(life.request):
                async with aclosing(self._answer(life)) as pieces:
                    async for piece in pieces:
                        life.show(piece)
                        yield Delta(text=piece)
        except (asyncio.CancelledError, GeneratorExit):
            # Who asked is gone; what was spent for them still belongs in the ledger.
            await to_the_end(self._settle(life))
            raise
        except Exception:
            if life.asker.crossings:  # something may have left: that is written down whatever came of the request
                await to_the_end(self._settle(life))
            raise
        yield await to_the_end(self._settle(life))

    async def prepare(self, request: Request) -> tuple[Request, Context]:
        """A request as the router gets it: admitted and standing on its own; and what is known beside it.

        Nothing is asked and nothing is written down. Raises `InputError` where the request cannot be served.
        """
        admitted = await self._admit(request)
        return standing_alone(admitted.request, admitted.context)[0], admitted.context

    async def embed(self, texts: Sequence[str]) -> Sequence[Output]:
        """One vector a text, from the encoder that router and specialists share."""
        return await self.encoder.run([Prompt(text=text) for text in texts])

    async def close(self) -> None:
        """Finish what is queued in the store and free engines and files, each even if another one fails."""
        async with AsyncExitStack() as last_first:
            last_first.push_async_callback(self.store.close)
            if self.audit is not None:
                last_first.push_async_callback(self.audit.close)
            if self.budget is not None:
                last_first.push_async_callback(self.budget.close)
            for engine in reversed(self.engines):
                last_first.push_async_callback(engine.close)
            for shelf in self.knowledge.values():
                last_first.push_async_callback(shelf.close)

    # --- admit -----------------------------------------------------------------------------------

    async def _admit(self, request: Request) -> Admitted:
        """Check and label the request, and fetch what its session knows."""
        self.dial.aim_of(request)  # refuses one that is none
        door = Admission(
            specialists=self.specialists,
            untrained=self.untrained,
            knowledge=self.knowledge,
            store=self.store,
            default_label=self.default_label,
            detector=self.detector,
            pseudonyms=self.pseudonyms,
        )
        return await door.admit(request, now=self.clock())

    # --- route -----------------------------------------------------------------------------------

    async def _route(self, request: Request, context: Context) -> Route:
        """Whom to ask: the pinned specialist, or whom the router names."""
        if request.document is not None:
            name = self._reader.card.name
            part = Part(text=request.text, waves=((name,),), score=1.0)
            route = Route(parts=(part,), reason="the request brings a document, which is read for it")
        elif request.specialist is None:
            route = await self.router.route(request, context)
        else:
            cards = {name: specialist.card for name, specialist in self.specialists.items()}
            route = pinned_route(request, cards)
        route = permitted(route, request.allowed)
        return replace(route, steps=tuple(self.meter.price(step) for step in route.steps))

    # --- gather, consult, check, decide, synthesise: each part of the request ---------------------

    async def _answer(self, life: Life) -> AsyncGenerator[str, None]:
        """Pieces of the answer in the order of the parts; what became of each part is kept in `life`."""
        parts = life.route.parts or (Part(text=life.question.text, waves=(), score=0.0),)
        life.outcomes = [PartOutcome(part=part, pinned=life.request.specialist is not None) for part in parts]
        life.done = [asyncio.Event() for _ in parts]
        channels = [asyncio.Queue[str | None]() for _ in parts]
        work = self._read_document if life.reads else self._work_on
        together = self._composes(life.large, parts)
        tasks = [
            life.task(work(index, life, _ends(channel) if together else channel.put_nowait))
            for index, channel in enumerate(channels)
        ]
        composing = life.task(self._compose(life, tasks)) if together else None
        try:
            if composing and (text := await composing):
                yield text
                return
            for index, (channel, task) in enumerate(zip(channels, tasks, strict=True)):
                before, spoken = ("\n\n" if index else ""), False
                about = f"{topic(parts[index].text)}: " if len(parts) > 1 else ""
                while (piece := await channel.get()) is not None:
                    yield piece if spoken else before + about + piece
                    spoken = True
                await task
                if not spoken:
                    with life.stage("synthesise"):
                        text = synthesise(life.outcomes[index], part=len(parts) > 1)
                    yield before + text
        finally:
            await cancel([*tasks, composing] if composing else tasks)

    async def _work_on(self, index: int, life: Life, say: Callable[[str | None], None]) -> None:
        """Consult a part's specialists wave by wave, then decide. Saying None ends its pieces."""
        outcome, context = life.outcomes[index], await life.known_to(index)
        task, waves = task_of(outcome.part, life.question, life.request.text), outcome.part.waves
        try:
            for wave in waves:
                alone = say if wave == waves[-1] and len(wave) == 1 else None
                with life.stage("gather", note=", ".join(wave)):
                    gathered = await side_by_side(self._gather(name, task, context, life) for name in wave)
                    views = dict(zip(wave, gathered, strict=True))
                    life.look_at(gathered)
                with life.stage("consult", note=", ".join(wave)):
                    found = await side_by_side(
                        self._consult(
                            life, self.specialists[name], self.dial.set_for(task, name, life.request), view, alone
                        )
                        for name, view in views.items()
                    )
                with life.stage("check", note=", ".join(wave)):
                    findings = [
                        check(finding, self.specialists[name].card.writes, task, view)
                        for finding, (name, view) in zip(found, views.items(), strict=True)
                    ]
                entries = entries_of(zip(findings, views.values(), strict=True), now=self.clock())
                context = context.append(*entries)
                life.outcomes[index] = outcome = outcome.having(findings, views, entries)
                if not any(finding.accepted for finding in findings):
                    break  # whoever comes next reads what was not written
            with life.stage("decide"):
                life.outcomes[index] = await self._decide(outcome, task, context, life, say)
        finally:
            life.done[index].set()
            say(None)

    async def _gather(self, name: str, task: Task, context: Context, life: Life) -> ContextView:
        """What a specialist reads of the context, and what its shelves say of the task."""
        card = self.specialists[name].card
        found, now = await look_up(self.knowledge, card, task, self._secrets), self.clock()
        life.steps += map(self.meter.price, found.steps)
        passages = [
            Entry(content=passage, producer=passage.shelf, label=passage.label, time=now) for passage in found.passages
        ]
        return build_view(context, card, passages, found.unsearched)

    @cached_property
    def _secrets(self) -> SecretFinder:
        return SecretFinder(self.detector)

    async def _consult(
        self, life: Life, specialist: Specialist, task: Task, view: ContextView, say: Say | None
    ) -> Finding:
        """Ask one specialist. What its engine cannot do becomes an abstention with the reason."""
        card = specialist.card
        with billed() as bill:
            try:
                finding = await self._ask_one(specialist, task, view, say)
            except BaseException:  # who asked is gone: there is no finding, and what was spent was spent
                life.steps += map(self.meter.price, charged((), card.name, bill))
                raise
        finding = replace(finding, task=card.task, steps=charged(finding.steps, card.name, bill))
        return self._priced(finding)

    async def _ask_one(self, specialist: Specialist, task: Task, view: ContextView, say: Say | None) -> Finding:
        try:
            if blind := nothing_to_read(view):
                return abstain(specialist.card.name, task, blind)
            if say is None or not (id(specialist) in self._speaking or isinstance(specialist, Asking)):
                return await specialist.consult(task, view)
            return await _listen(cast("SpeakingSpecialist", specialist), task, view, say)
        except PolicyError as refusal:
            return abstain(specialist.card.name, task, refusal.message, refusal.verdict)
        except (EngineError, InputError, SetupError) as error:
            return abstain(specialist.card.name, task, error.message)

    def _priced(self, finding: Finding) -> Finding:
        return replace(finding, steps=tuple(self.meter.price(step) for step in finding.steps))

    @cached_property
    def _speaking(self) -> frozenset[int]:
        """Which specialists can be listened to; asking a protocol takes longer than many a specialist."""
        every = [*self.specialists.values(), self.generalist]
        return frozenset(id(specialist) for specialist in every if isinstance(specialist, SpeakingSpecialist))

    async def _decide(self, outcome: PartOutcome, task: Task, context: Context, life: Life, say: Say) -> PartOutcome:
        """Accept what the specialists found, or ask the generalist if there is one, or abstain."""
        if outcome.answering:
            return replace(outcome, status="accepted")
        nobody_fits = not outcome.findings
        doubts = [f"{finding.specialist}: {finding.reason}" for finding in outcome.findings if not finding.accepted]
        reason = life.route.reason if nobody_fits else "; ".join(doubts)
        outcome = replace(outcome, status="abstained", reason=reason)
        unread = life.request.document is not None  # nobody who may be asked reads it: there is nothing to answer from
        if life.large is None or (nobody_fits and (unread or not self.escalate_out_of_scope)):
            return outcome
        asked = [self.specialists[each.specialist].card for each in outcome.findings]
        task, view = for_generalist(task, asked), pack_context(context, life.large.card)
        finding = check(await self._consult(life, life.large, task, view, say), (), task, view)
        left = entries_of([(finding, view)], now=self.clock())
        outcome = outcome.having([finding], {finding.specialist: view}, left)
        failed = "" if (finding.accepted and not finding.broken) or refused(finding) else finding.reason
        if finding.accepted:
            return replace(outcome, status="escalated", reason=finding.reason, degraded=failed)
        return replace(outcome, reason=f"{reason}; {finding.specialist}: {finding.reason}", degraded=failed)

    # --- several findings as one answer, and documents -------------------------------------------

    @staticmethod
    def _composes(large: Specialist | None, parts: Sequence[Part]) -> bool:
        """Whether the generalist is to put into one what is found: of several parts, or several side by side."""
        several = len(parts) > 1 or any(len(part.waves[-1]) > 1 for part in parts if part.waves)
        return several and isinstance(large, Asking) and large.section.synthesise

    async def _compose(self, life: Life, tasks: Sequence[asyncio.Task[None]]) -> str:
        """The generalist's text of all findings; empty where it may not, cannot, or says what nobody found."""
        await asyncio.gather(*tasks)
        found = [finding for outcome in life.outcomes for finding in told(outcome)]
        if not isinstance(life.large, Asking) or sum(finding.accepted for finding in found) < _FEWEST_TO_COMPOSE:
            return ""
        with life.stage("synthesise") as note:
            whole = Part(text=life.question.text, waves=(), score=0.0)
            composed = await life.large.compose(task_of(whole, life.question, life.request.text), found)
            life.composed = composed = self._priced(composed)
            note(f"by {NAME}: {composed.reason}" if composed.accepted else f"here, since {composed.reason}")
        return composed.text if composed.accepted else ""

    @cached_property
    def _reader(self) -> Specialist:
        """Who reads documents."""
        return self.reader or default_reader(self.encoder)

    async def _read_document(self, index: int, life: Life, say: Callable[[str | None], None]) -> None:
        """Have the document read that the request brings. Its answer is checked whole, so no piece is said before."""
        outcome, document = life.outcomes[index], life.request.document
        task = task_of(outcome.part, life.question, life.request.text)
        try:
            if document is None:
                raise AssertionError("a request without a document is routed")
            large = life.large if isinstance(life.large, Asking) else None
            work = Collaboration(task=task, document=document, reader=self._reader, large=large)
            concluded = await work.run()
            life.stages += concluded.stages
            outcome = outcome_of(outcome, concluded, now=self.clock())
            life.outcomes[index] = replace(outcome, findings=tuple(map(self._priced, outcome.findings)))
        finally:
            life.done[index].set()
            say(None)

    # --- settle ----------------------------------------------------------------------------------

    async def _settle(self, life: Life) -> Answer:
        """Write trace, ledger and context in one transaction, give the answer."""
        text = "".join(life.shown)
        trace = self._trace(life, text)
        life.spent = trace.usage
        entries: tuple[Entry, ...] = ()
        if life.request.session is not None:
            asked, answered = self._said(life, text)
            entries = (asked, *(entry for outcome in life.outcomes for entry in outcome.entries), answered)
        writing = (self.store.settle(Settlement(trace=trace, entries=entries)), *self._audited(life, trace))
        for error in await asyncio.gather(*writing, return_exceptions=True):  # where one fails, the other still ends
            if isinstance(error, BaseException):
                raise error
        return Answer(text=text, trace=trace)

    def _audited(self, life: Life, trace: Trace) -> list[Awaitable[None]]:
        """Writing the request into the audit log, where there is one."""
        if self.audit is None:
            return []
        asked = {finding.specialist for finding in trace.findings}
        cards = {name: self.specialists[name].card for name in asked & self.specialists.keys()}
        digest, answer = self.audit.digest, "".join(life.shown)
        return [self.audit.append(audit_request(trace, life.request, answer, cards=cards, digest=digest))]

    def _said(self, life: Life, text: str) -> tuple[Entry, Entry]:
        """The exchange as two messages of the context. The answer is as sensitive as the findings in it."""
        now, label, bare = self.clock(), label_of(life.request), life.request.impersonal
        least = label_of(life.question)
        found = [finding for outcome in life.outcomes for finding in outcome.findings]
        asked = Message(role="user", text=life.request.text)
        answered = Message(role="assistant", text=text)
        return (
            Entry(content=asked, producer="user", label=label, impersonal=bare, time=now),
            Entry(
                content=answered,
                producer=self.name,
                label=max([least, *(finding.label for finding in found)]),
                impersonal=impersonal(life.question, *found),
                time=now,
            ),
        )

    def _trace(self, life: Life, text: str) -> Trace:
        findings = tuple(finding for outcome in life.outcomes for finding in outcome.findings)
        findings += (life.composed,) if life.composed is not None else ()
        steps = (*life.route.steps, *life.steps, *(step for finding in findings for step in finding.steps))
        steps += tuple(map(self.meter.price, life.overhead()))
        waited = (perf_counter() - life.start) * 1000
        return Trace(
            id=life.id,
            time=life.admitted,
            tenant=life.request.tenant,
            session=life.request.session,
            label=label_of(life.question),
            status=overall_status([outcome.status for outcome in life.outcomes]),
            route=life.route,
            findings=findings,
            views=tuple(view for outcome in life.outcomes for view in outcome.views),
            verdicts=life.decided(verdict for finding in findings for verdict in finding.verdicts),
            stages=tuple(life.stages),
            steps=steps,
            usage=replace(total_usage(step.usage for step in steps), milliseconds=waited),
            counterfactual_cost=self.meter.counterfactual(life.request, text, steps),
            degraded=life.degraded,
            restated="" if life.question.text == life.request.text else life.question.text,
        )


def _ends(channel: asyncio.Queue[str | None]) -> Callable[[str | None], None]:
    """What a part says when its pieces are not to be heard: that it has ended."""
    return lambda piece: channel.put_nowait(None) if piece is None else None


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

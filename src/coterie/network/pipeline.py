"""A request from admission to settlement, stage by stage, top to bottom.

    admit      set principal, label, clearance and language; find personal data; fetch the context of the session
    rewrite    make a follow-up question self-contained
    route      name the specialists for each part of the request, or none
    gather     make the view of each specialist, from the context and its indexes
    consult    ask the specialists of a part side by side
    verify     check the labels and facts of their findings
    decide     accept, escalate to the generalist, or abstain
    compose    pass one finding through, or make one answer of several
    settle     write ledger, trace, session and audit log, before the answer is returned

`gather` to `decide` run for each part of a request. Parts run side by side and are answered in order. A request with a
document is not routed: small models read the document, and the generalist, if there is one, plans and concludes.

The pipeline knows protocols only: no HTTP, no file, no library that runs weights, no concrete specialist, engine, index
or policy. Each stage is one function, timed and traced. `state.call`, the call context, goes to every specialist, index
and engine.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from coterie.errors import NotTrained
from coterie.network.admission import Admission, Admitted
from coterie.network.gathering import SecretFinder, charged, gather
from coterie.network.outcomes import Outcome, calls_of, kind_of, outcome_of, render, verified, verify
from coterie.network.stages import (
    Channel,
    Collected,
    Say,
    audit_entry,
    begin_questions,
    compose,
    composing,
    consult,
    decide,
    escalated,
    filled,
    handed_up,
    heading,
    in_one,
    is_quickly_traced,
    question_steps,
    record_answers,
    schema_route,
    select,
    session_entries,
    texts_in,
    traced,
    without_call,
)
from coterie.network.state import RequestState, generalist_for
from coterie.protocols import (
    AcceptancePolicy,
    Audit,
    DocumentAnswerer,
    Generalist,
    Limits,
    Meter,
    Overhead,
    QuestionAnswerer,
    Retriever,
    Router,
    Specialist,
    Store,
)
from coterie.runtime.codec import replace
from coterie.runtime.concurrency import cancel, side_by_side, to_the_end
from coterie.types import (
    Answer,
    Bill,
    Context,
    ContextView,
    Decisions,
    Delta,
    Finding,
    Question,
    Request,
    Route,
    Settlement,
    SpecialistCard,
    Task,
    note_egress,
)


class WholeAnswer(NamedTuple):
    """An answer, and the kinds of text that it is made of (`Delta.kind`)."""

    answer: Answer
    kinds: frozenset[str]


def _composer(state: RequestState) -> Generalist | None:
    """Return the generalist, if it is to combine the findings; else None."""
    return None if state.request.tools is not None else composing(state.large, state.parts)


@dataclass(kw_only=True)
class Pipeline(ABC):
    """The stages and the components that they use. `coterie.network.network.Network` adds the defaults."""

    specialists: Mapping[str, Specialist]
    router: Router
    store: Store
    meter: Meter
    knowledge: Mapping[str, Retriever]
    """Indexes by their `[knowledge]` key."""
    generalist: Specialist | None
    """Asked last. A `protocols.Generalist` also composes findings, and plans and concludes for documents."""
    policy: AcceptancePolicy
    """The cost-quality policy."""
    audit: Audit | None
    """The audit log; None for no log."""
    limits: Limits | None
    """Budgets of requests and energy; None for no limit."""
    overhead: Overhead | None
    """Measures the overhead of each request; None does not measure it."""
    escalate_out_of_scope: bool
    name: str
    clock: Callable[[], float]
    """Returns seconds since the epoch."""
    new_id: Callable[[], str]

    @property
    @abstractmethod
    def admission(self) -> Admission:
        """The stage `admit`, with what it needs."""

    @property
    @abstractmethod
    def secrets(self) -> SecretFinder:
        """Finds secrets in passages."""

    @property
    @abstractmethod
    def decider(self) -> QuestionAnswerer:
        """Answers typed questions."""

    @property
    @abstractmethod
    def documents(self) -> DocumentAnswerer:
        """Answers questions about documents that come with requests."""

    async def stream(self, request: Request, *, trace_id: str | None = None) -> AsyncGenerator[Delta | Answer]:
        """Yield final pieces of the text, then the `Answer`, once it is settled.

        Args:
            request: The request.
            trace_id: Id of the trace, from `new_id`, for a caller that shows it before the answer exists.

        Raises:
            InputError: the request cannot be served (empty, unknown specialist).
            NotTrained: no specialist is trained yet, or the one that the request names.
            BudgetExceeded: a budget of the principal has no request left.
            Overloaded: the queue of an engine is full.
            StoreError, AuditError: the answer could not be stored or logged, so it is not returned.
        """
        state = self._begin(request, trace_id, live=True)
        async with self._at_work(state), aclosing(self._run(state)) as events:
            async for event in events:
                yield event

    async def whole(self, request: Request, *, trace_id: str | None = None) -> WholeAnswer:
        """Return the answer in one piece. No caller sees pieces of it, so models return whole answers.

        It goes through the same stages as `stream`, raises the same errors, and costs less.
        """
        state = self._begin(request, trace_id, live=False)
        async with self._at_work(state):
            return await self._run_whole(state)

    def _begin(self, request: Request, trace_id: str | None, *, live: bool) -> RequestState:
        large = generalist_for(self.generalist, request)
        return RequestState(
            id=trace_id or self.new_id(), admitted=self.clock(), request=request, large=large, live=live
        )

    @asynccontextmanager
    async def _at_work(self, state: RequestState) -> AsyncIterator[None]:
        """Measure the network's own work; add egresses to an error; settle the reservation however the request ends."""
        try:
            with state.attending(self.overhead):
                yield
        except Exception as error:
            note_egress(error, state.call.outgoing, trace=state.id if state.is_recorded(error) else "")
            raise
        finally:
            if state.reserved:
                await to_the_end(state.pay(self.limits))

    async def decide(
        self, request: Request, questions: Sequence[Question], *, trace_id: str | None = None
    ) -> Decisions:
        """Answer typed questions about a request's text, its state: stages `admit`, `decide` and `settle`.

        Args:
            request: Text and columns are the state (`coterie.decisions.questions`). Nothing is routed or remembered.
            questions: At most 64. A specialist answers those that it was trained for, the others are zero-shot.
            trace_id: As in `stream`.

        Raises:
            InputError: the request or a question cannot be served.
            BudgetExceeded, Overloaded, StoreError, AuditError: as `stream` raises them.
        """
        self.decider.check(questions)
        state = RequestState(id=trace_id or self.new_id(), admitted=self.clock(), request=request)
        async with self._at_work(state):
            with state.stage("admit"):
                state.enter(await self._admit(state))
            try:
                with state.stage("decide"):
                    await self._answer_questions(state, questions)
            except BaseException as error:
                if state.is_recorded(error):
                    await to_the_end(self._settle(state))
                raise
            answer = await self._settled(state)
            return Decisions(decisions=state.decisions, trace=answer.trace)

    async def _answer_questions(self, state: RequestState, questions: Sequence[Question]) -> None:
        """Answer each question, and note in the state which specialists were asked and the usage."""
        request, bill = state.request, Bill()

        async def consult(specialist: Specialist, task: Task) -> Finding:
            return await self._consult(
                specialist, self.policy.set_for(task, specialist.card.name, request), ContextView(), state, None
            )

        begin_questions(state)
        try:
            deciding = await self.decider.decide(
                state.task_of(0),
                questions,
                only=request.allowed,
                pinned=request.specialist,
                consult=consult,
                call=replace(state.call, bill=bill),
            )
        finally:
            state.steps += map(self.meter.price, question_steps(bill))
        state.steps += map(self.meter.price, deciding.steps)
        record_answers(state, deciding)

    async def _run(self, state: RequestState) -> AsyncGenerator[Delta | Answer]:
        """Run the stages in order."""
        await self._understand(state)
        try:
            async with aclosing(self._answer(state)) as pieces:
                async for piece in pieces:
                    state.show(piece.text)
                    yield piece
        except BaseException as error:
            if state.is_recorded(error):
                await to_the_end(self._settle(state))
            raise
        yield await self._settled(state)

    async def _run_whole(self, state: RequestState) -> WholeAnswer:
        """Run the stages in order; a single part needs no task, queue or generator."""
        await self._understand(state)
        kinds: set[str] = set()
        try:
            if len(state.outcomes) == 1 and _composer(state) is None:
                kinds.add(await self._answer_one(state))
            else:
                async with aclosing(self._answer(state)) as pieces:
                    async for piece in pieces:
                        state.show(piece.text)
                        kinds.add(piece.kind)
        except BaseException as error:
            if state.is_recorded(error):
                await to_the_end(self._settle(state))
            raise
        return WholeAnswer(await self._settled(state), frozenset(kinds))

    async def _understand(self, state: RequestState) -> None:
        """Run the stages before any specialist is asked."""
        with state.stage("admit"):
            state.enter(await self._admit(state))
            self._check_somebody(state)
        with state.stage("rewrite") as note:
            rewritten = await self.admission.rewrite(state.request, state.context, call=state.call)
            state.question, reason, steps = rewritten
            state.steps += map(self.meter.price, steps)
            note(reason)
        with state.stage("route"):
            state.route = await self._route(state)
        state.begin()

    # --- admit, route ------------------------------------------------------------------------------

    async def _admit(self, state: RequestState) -> Admitted:
        """Check and label the request, fetch the context of its session, and count it under the limits."""
        admitted = await self.admission.admit(state.request, now=state.admitted)
        if self.limits is not None:
            state.reserved = await self.limits.admit(admitted.call.principal)
        return admitted

    def _check_somebody(self, state: RequestState) -> None:
        """Check that a specialist, a generalist or a document reader can answer. Raises `NotTrained` if none can."""
        if not self.specialists and state.large is None and state.request.document is None:
            raise NotTrained(
                f"The network {self.name!r} answers nothing yet: it has no trained specialist.",
                hint="Train the first one: in the console, at the root of this address, or by `coterie add NAME "
                "--data FILE` and `coterie train`.",
            )

    async def _route(self, state: RequestState) -> Route:
        """Name the specialists for each part of the request."""
        route, state.slots = schema_route(state.question, self._cards)
        if route is not None and not route.parts and state.request.tools and state.request.specialist:
            route = None  # the one that is named may call the function, though it cannot fill the form
        route = route or await select(
            state.question,
            state.context,
            router=self.router,
            specialists=self.specialists,
            reader="" if state.question.document is None else self.documents.name,
            call=state.call,
        )
        if state.request.schema is not None or state.request.tools is not None:
            route = in_one(route, state.question)
        return replace(route, steps=tuple(map(self.meter.price, route.steps)))

    @property
    def _cards(self) -> Mapping[str, SpecialistCard]:
        return {name: specialist.card for name, specialist in self.specialists.items()}

    # --- each part of the request --------------------------------------------------------------------

    async def _answer(self, state: RequestState) -> AsyncGenerator[Delta, None]:
        """Yield pieces of the answer in the order of the parts. The outcome of each part is kept in the state."""
        composer = _composer(state)
        channels = [Channel(muted=composer is not None) for _ in state.parts]
        work = self._read_document if state.reads else self._work_on
        tasks = [asyncio.create_task(work(index, state, channel)) for index, channel in enumerate(channels)]
        whole = asyncio.create_task(self._compose(composer, state, tasks)) if composer is not None else None
        try:
            if whole and (text := await whole):
                yield Delta(text=text, kind="written")
                return
            for index, channel in enumerate(channels):
                gap, about = heading(state.outcomes, index)
                spoken = False
                while (piece := await channel.next()) is not None:
                    text = piece.text if spoken else gap + about + piece.text
                    yield Delta(text=text, kind="written", offered=piece.offered)
                    spoken = True
                await tasks[index]
                if not spoken:
                    outcome = state.outcomes[index]
                    with state.stage("compose"):
                        text = render(outcome, part=len(channels) > 1)
                    offered = any(finding.offered for finding in outcome.findings)
                    yield Delta(text=gap + text, kind=kind_of(outcome), offered=offered)
        finally:
            await cancel([*tasks, whole] if whole else tasks)

    async def _answer_one(self, state: RequestState) -> str:
        """Work on a request's only part; return the kind of its text."""
        channel = Collected()
        await (self._read_document if state.reads else self._work_on)(0, state, channel)
        for piece in channel.pieces:
            state.show(piece.text)
        if channel.pieces:
            return "written"
        with state.stage("compose"):
            text = render(state.outcomes[0], part=False)
        state.show(text)
        return kind_of(state.outcomes[0])

    async def _work_on(self, index: int, state: RequestState, channel: Channel | Collected) -> None:
        """Consult the specialists of a part stage by stage, then the alternative ones; decide."""
        try:
            context, task = await state.known_to(index), state.task_of(index)
            part = state.outcomes[index].part
            context = await self._ask_in_turn(index, part.stages, (task, context), state, channel)
            # Who did not ask for the results of functions knows nothing of them.
            results = task.tools is not None and bool(task.tools.since)
            for stages in () if results else (part.otherwise, *(((name,),) for name in part.further)):
                if any(finding.reason.code != "accept.no_function" for finding in state.outcomes[index].answering):
                    break
                part = replace(part, stages=(*part.stages, *stages), otherwise=(), further=())
                state.outcomes[index] = replace(state.outcomes[index], part=part)
                context = await self._ask_in_turn(index, stages, (task, context), state, channel)
            with state.stage("decide"):
                say = channel.say if state.live else None
                state.outcomes[index] = await self._decide(state.outcomes[index], task, context, state, say)
        finally:
            state.done[index].set()
            channel.end()

    async def _ask_in_turn(
        self,
        index: int,
        stages: Sequence[tuple[str, ...]],
        about: tuple[Task, Context],
        state: RequestState,
        channel: Channel | Collected,
    ) -> Context:
        """Consult specialists stage by stage, so that each reads the facts of the previous; return the context."""
        task, context = about
        for stage in stages:
            say = channel.say if stage == stages[-1] and len(stage) == 1 else None
            with state.stage("gather", note=", ".join(stage)):
                views = await self._gather(stage, task, context, state)
            with state.stage("consult", note=", ".join(stage)):
                consulted = await side_by_side(
                    self._consult(
                        self.specialists[name], self.policy.set_for(task, name, state.request), view, state, say
                    )
                    for name, view in views.items()
                )
            with state.stage("verify", note=", ".join(stage)):
                findings = [
                    verify(finding, self.specialists[name].card.writes, task, view)
                    for finding, (name, view) in zip(consulted, views.items(), strict=True)
                ]
            outcome, context = verified(state.outcomes[index], findings, views, context, now=self.clock())
            state.outcomes[index] = outcome
            if not any(finding.accepted for finding in findings):
                break  # the next ones read facts that were not written
        return context

    async def _gather(
        self, names: tuple[str, ...], task: Task, context: Context, state: RequestState
    ) -> dict[str, ContextView]:
        """Make the views of several specialists side by side."""
        gathered_views = await side_by_side(
            gather(
                self.knowledge,
                self.specialists[name].card,
                task,
                context,
                secrets=self.secrets,
                call=state.call,
                clock=self.clock,
            )
            for name in names
        )
        for gathered in gathered_views:
            state.steps += map(self.meter.price, gathered.steps)
        state.look_at(gathered_one.view for gathered_one in gathered_views)
        return {name: gathered_one.view for name, gathered_one in zip(names, gathered_views, strict=True)}

    async def _consult(
        self, specialist: Specialist, task: Task, view: ContextView, state: RequestState, say: Say | None
    ) -> Finding:
        """Return the finding of one specialist, with the usage of its engines."""
        card, bill = specialist.card, Bill()
        try:
            finding = await consult(specialist, task, view, call=replace(state.call, bill=bill), say=say)
        except BaseException:  # cancelled: there is no finding, but what was spent is in the ledger
            state.steps += map(self.meter.price, charged((), card.name, bill))
            raise
        steps = tuple(map(self.meter.price, charged(finding.steps, card.name, bill)))
        # That no function fits is an answer to who asked for one, or for that specialist.
        beside = finding.reason.code == "accept.no_function" and not finding.offered and not state.request.specialist
        accepted = finding.accepted and not beside
        return replace(finding, task=card.task, form=card.form, accepted=accepted, steps=steps)

    def _priced(self, finding: Finding) -> Finding:
        return replace(finding, steps=tuple(map(self.meter.price, finding.steps)))

    async def _decide(
        self, outcome: Outcome, task: Task, context: Context, state: RequestState, say: Say | None
    ) -> Outcome:
        """Accept the findings, or ask the generalist if there is one, or abstain."""
        outcome = decide(outcome, state.route.reason)
        if state.request.schema is not None and not calls_of(outcome):
            outcome = filled(outcome, state.request.schema, state.slots, self._cards, nulls=state.large is None)
        tools = state.request.tools
        if tools is not None and tools.required and state.request.schema is None:
            outcome = without_call(outcome)
        nobody_fits = not outcome.findings
        unread = state.request.document is not None  # no permitted specialist reads it: nothing to answer from
        if outcome.status == "accepted" or state.large is None:
            return outcome
        may_call = tools is not None and bool(tools.functions)
        off_topic = not self.escalate_out_of_scope and state.request.schema is None and not may_call
        if nobody_fits and (unread or off_topic):
            return outcome
        cards_asked = [self.specialists[finding.specialist].card for finding in outcome.findings]
        task, view = handed_up(task, context, tried=cards_asked, above=state.large.card)
        finding = await self._consult(state.large, task, view, state, say)
        above = escalated(outcome, finding, task, view, now=self.clock())
        if state.request.schema is None or above.status == "escalated" or calls_of(above):
            return above
        typed = filled(above, state.request.schema, state.slots, self._cards, nulls=True)
        return typed if typed.status == "accepted" else above

    async def _read_document(self, index: int, state: RequestState, channel: Channel | Collected) -> None:
        """Answer from the request's document. The answer is verified whole, so no piece of it is streamed."""
        document, task = state.request.document, state.task_of(index)
        try:
            if document is None:
                raise AssertionError("a request without a document is routed")
            answered = await self.documents.answer(task, document, large=state.large, call=state.call)
            state.stages += answered.stages
            outcome = outcome_of(state.outcomes[index], answered, now=self.clock())
            state.outcomes[index] = replace(outcome, findings=tuple(map(self._priced, outcome.findings)))
        finally:
            state.done[index].set()
            channel.end()

    # --- compose, settle -----------------------------------------------------------------------------

    async def _compose(self, composer: Generalist, state: RequestState, parts: list[asyncio.Task[None]]) -> str:
        """Return the generalist's text of all findings; empty if it may not, cannot, or adds something to them."""
        await asyncio.gather(*parts)
        if not state.composable:
            return ""
        with state.stage("compose") as note:
            state.composed = composed = self._priced(await compose(composer, state))
            by = composer.card.name
            note(f"by {by}: {composed.reason}" if composed.accepted else f"here, since {composed.reason}")
        return composed.text if composed.accepted else ""

    async def _settled(self, state: RequestState) -> Answer:
        """Settle to the end even if cancelled. With short texts only the store is awaited, which ends by itself."""
        if self.audit is not None and is_quickly_traced(state, "".join(state.shown)):
            return await self._settle(state)
        return await to_the_end(self._settle(state))

    async def _settle(self, state: RequestState) -> Answer:
        """Write trace, ledger, context and audit entry, and return the answer."""
        text = "".join(state.shown)
        trace = await traced(state, text, self.meter)
        state.spent = trace.usage
        entries = session_entries(state, text, producer=self.name, now=self.clock())
        settlement = Settlement(trace=trace, entries=entries, texts=texts_in(state.request))
        if self.audit is None:
            await self.store.settle(settlement)
            return Answer(text=text, trace=trace)
        entry = audit_entry(state, trace, text, specialists=self.specialists, digest=self.audit.digest)
        await self.store.record(settlement, entry, self.audit)
        return Answer(text=text, trace=trace)

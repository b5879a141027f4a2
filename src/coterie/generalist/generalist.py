"""The generalist: a large model, asked when the specialists abstain, and to combine several findings.

It is the one specialist without a meaningful confidence, since it is not measured on this network's requests. Its
answers say so. Its input is prepared by the small models; it never sees a document.

It is asked in time, with fallback and hedging: the next model is asked when one fails (fallback), or concurrently when
one is silent (hedge). The first to respond is read to the end. Every try is a step of the ledger with a note.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from decimal import Decimal
from time import perf_counter
from typing import Any, NamedTuple, cast

from coterie.config.file import DecisionModel, LlamaModel, ModelEntry, RemoteModel
from coterie.config.operation import GeneralistSection
from coterie.context.sharing import CONVERSATION
from coterie.errors import AuditError, EngineError, InputError, Overloaded, PolicyError, SetupError, TooLong
from coterie.generalist.pack import in_words, lay_out, narrowed, question_of
from coterie.generalist.reading import hallucinated
from coterie.limits.memory import MemoryAllowance
from coterie.limits.storage import nano
from coterie.models.catalogue import CATALOGUE
from coterie.protocols import Meter, StreamingEngine
from coterie.runtime.codec import parse_json, replace
from coterie.runtime.concurrency import cancel
from coterie.specialists.parts import abstention
from coterie.structured.filling import is_free
from coterie.structured.schema import ROOM as TOOL_ROOM
from coterie.structured.schema import (
    Node,
    correction,
    decodable,
    read_answer,
    read_reply,
    reply_schema,
    told_of,
    within,
    written_calls,
)
from coterie.text.folding import estimate_tokens
from coterie.text.language import language_of
from coterie.types import (
    SYSTEM,
    Amount,
    CallContext,
    ContextView,
    Delta,
    Entry,
    Failure,
    Finding,
    FindingSummary,
    Label,
    Labelled,
    Message,
    Output,
    Prompt,
    Question,
    Reason,
    SpecialistCard,
    Step,
    Task,
    Tools,
    Usage,
    Verdict,
    all_of,
    label_without_pii,
)

_EXPECTED = (EngineError, InputError, Overloaded, PolicyError, SetupError)
"""Errors of a model that cannot be asked; any other is a bug."""
_IMPATIENCE = 1.0
"""Seconds that a model may pause before it retries, while another has not been asked yet."""


@dataclass(frozen=True, kw_only=True)
class CandidateModel:
    """A model that may be asked."""

    engine: StreamingEngine
    window: int
    """Its context window, in tokens of prompt and answer."""
    pseudonymised: bool = False
    """Whether personal data reaches it under pseudonyms only."""
    typed: bool = False
    """Whether it only answers typed questions: it chooses among the labels of the specialist that abstained."""


@dataclass(frozen=True, kw_only=True)
class ModelReply:
    """The result of asking."""

    text: str
    """The whole text, also of an interrupted answer."""
    output: Output | None
    """Output of the model that answered to the end; None if none did."""
    engine: str
    """The model that was read; empty if there was none."""
    steps: tuple[Step, ...]
    verdicts: tuple[Verdict, ...]
    reason: Reason | None
    """The problem on the way; None if there was none."""


@dataclass(eq=False)
class _Try:
    candidate: CandidateModel
    prompt: Prompt
    note: str
    start: float = field(default_factory=perf_counter)
    texts: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.candidate.engine.name

    def so_far(self) -> Usage:
        """Return the estimated usage so far: it may be billed although the answer is no longer waited for."""
        tokens_in = sum(estimate_tokens(message.text) for message in self.prompt.messages)
        milliseconds = (perf_counter() - self.start) * 1000
        return Usage(tokens_in=tokens_in, tokens_out=estimate_tokens("".join(self.texts)), milliseconds=milliseconds)


class Tries:
    """One question to one of several models."""

    def __init__(
        self,
        candidates: Sequence[CandidateModel],
        prompt_for: Callable[[CandidateModel], Prompt],
        *,
        call: CallContext,
        producer: str,
        deadline: float,
        hedge_after: float | None = None,
    ) -> None:
        """Describe the question; nothing is asked yet.

        Args:
            candidates: The models, in the order in which they are asked.
            prompt_for: Makes the prompt for a model. Raises `TooLong` where it does not fit: the model is then skipped.
            call: The caller's context.
            producer: Producer of the steps.
            deadline: The event loop's time by which the answer must be complete.
            hedge_after: Seconds of silence after which the next is asked concurrently; the first again if there is no
                next.
        """
        self._waiting = deque(candidates)
        self._spare = candidates[0] if len(candidates) == 1 and hedge_after is not None else None
        self._prompt_for = prompt_for
        self._call = call
        self._producer = producer
        self._deadline = deadline
        self._hedge_after = hedge_after
        self._events: asyncio.Queue[tuple[_Try, Delta | Output | Exception]] = asyncio.Queue()
        self._running: dict[_Try, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._heard: _Try | None = None
        self._steps: list[Step] = []
        self._verdicts: list[Verdict] = []
        self._reasons: list[Reason] = []

    async def stream(self) -> AsyncGenerator[Delta | ModelReply, None]:
        """Yield pieces of the first model that responds, then the result."""
        try:
            self._ask_next("")
            while self._running:
                happened = await self._wait()
                if happened is None:
                    continue
                attempt, event = happened
                if attempt not in self._running:
                    continue  # given up meanwhile
                if isinstance(event, Delta):
                    attempt.texts.append(event.text)
                    if self._heard is attempt:
                        yield event
                    elif event.text.strip():  # white space is no beginning
                        self._listen_to(attempt)
                        yield Delta(text="".join(attempt.texts))
                elif isinstance(event, Output) and event.text.strip():
                    self._listen_to(attempt)
                    yield self._ending(attempt, event)
                    return
                else:
                    self._lost(attempt, event)
            yield self._ending(self._heard, None)
        finally:
            await cancel(self._tasks)

    async def ask(self) -> ModelReply:
        """Return the result at once.

        If no other model may be asked concurrently or afterwards, the model is asked for its whole answer: no pieces,
        and no task.
        """
        if len(self._waiting) == 1 and self._hedge_after is None:
            return await self._ask_whole()
        async with aclosing(self.stream()) as events:
            async for event in events:
                if isinstance(event, ModelReply):
                    return event
        raise AssertionError("a stream ends with how it ended")

    async def _ask_whole(self) -> ModelReply:
        candidate = self._waiting.popleft()
        try:
            prompt = replace(self._prompt_for(candidate), patience=self._patience())
        except InputError as error:
            self._reasons.append(error.reason)
            return self._ending(None, None)
        attempt = _Try(candidate=candidate, prompt=prompt, note="")
        event: Output | Exception
        try:
            async with asyncio.timeout_at(self._deadline):
                (event,) = await candidate.engine.run([prompt], call=self._call)
        except TimeoutError:
            self._reasons.append(Reason("attempt.out_of_time", model=attempt.name))
            self._steps.append(self._step(attempt, attempt.so_far(), f"given up: {self._reasons[-1]}"))
            return self._ending(None, None)
        except Exception as error:  # noqa: BLE001 - raised again if it is not an expected one
            event = error
        if isinstance(event, Output) and event.text.strip():
            return self._ending(attempt, event)
        self._lost(attempt, event)
        return self._ending(None, None)

    async def _wait(self) -> tuple[_Try, Delta | Output | Exception] | None:
        """Return the next event; None when a time limit has passed, after handling it."""
        hedge = self._next_hedge()
        until = self._deadline if hedge is None else min(hedge, self._deadline)
        try:
            async with asyncio.timeout_at(until):
                return await self._events.get()
        except TimeoutError:
            if hedge is not None and hedge < self._deadline:
                self._hedge()
            else:
                self._out_of_time()
            return None

    def _next_hedge(self) -> float | None:
        """Return when the next model is asked beside silent ones; None if it is not."""
        more = self._waiting or self._spare
        if self._hedge_after is None or self._heard is not None or not more:
            return None
        return self._last_asked + self._hedge_after

    def _hedge(self) -> None:
        if not self._waiting and self._spare is not None:
            self._waiting.append(self._spare)
        self._spare = None
        silent = ", ".join(repr(attempt.name) for attempt in self._running)
        self._ask_next(f"hedge: {silent} had said nothing after {self._hedge_after:g} s")

    def _out_of_time(self) -> None:
        self._waiting.clear()
        for attempt in list(self._running):
            self._give_up(attempt, Reason("attempt.out_of_time", model=attempt.name))

    def _ask_next(self, note: str) -> None:
        """Ask the next model whose window fits the question, if there is one."""
        while self._waiting:
            candidate = self._waiting.popleft()
            try:
                prompt = self._prompt_for(candidate)
            except InputError as error:
                self._reasons.append(error.reason)
                continue
            attempt = _Try(candidate=candidate, prompt=replace(prompt, patience=self._patience()), note=note)
            self._running[attempt] = asyncio.create_task(self._follow(attempt))
            self._tasks.append(self._running[attempt])
            self._last_asked = asyncio.get_running_loop().time()
            return

    def _patience(self) -> float:
        """Return how long a model may wait before it retries: within the deadline, briefly if another could answer."""
        left = max(0.0, self._deadline - asyncio.get_running_loop().time())
        return min(left, _IMPATIENCE) if self._waiting else left

    async def _follow(self, attempt: _Try) -> None:
        """Put a model's output into the queue."""
        stream: AsyncIterator[Delta | Output] = attempt.candidate.engine.stream(attempt.prompt, call=self._call)
        try:
            async with aclosing(cast("AsyncGenerator[Delta | Output, None]", stream)) as events:
                async for event in events:
                    if isinstance(event, Output) or event.text:
                        self._events.put_nowait((attempt, event))
        except Exception as error:  # noqa: BLE001 - raised again by whoever reads the queue, if it is not an expected one
            self._events.put_nowait((attempt, error))

    def _listen_to(self, heard: _Try) -> None:
        self._heard = heard
        self._waiting.clear()
        self._spare = None
        for other in [attempt for attempt in self._running if attempt is not heard]:
            self._give_up(other, Reason("attempt.other_first", model=heard.name), failed=False)

    def _give_up(self, attempt: _Try, why: Reason, *, failed: bool = True) -> None:
        self._running.pop(attempt).cancel()
        if failed:
            self._reasons.append(why)
        self._steps.append(self._step(attempt, attempt.so_far(), f"given up: {why}"))

    def _lost(self, attempt: _Try, event: Output | Exception) -> None:
        """Record a model's failure, and ask the next if no other is running."""
        self._running.pop(attempt, None)
        if isinstance(event, Output):
            self._take_failures(attempt, event.failures)
            code = "attempt.refused" if event.finish == "aborted" else "attempt.empty"
            self._take(attempt, event.usage, Reason(code, model=attempt.name), event.verdict)
        elif isinstance(event, PolicyError):
            self._verdicts.append(event.verdict)
            self._reasons.append(event.reason)
        elif isinstance(event, _EXPECTED) and not isinstance(event, AuditError):
            failures = getattr(event, "failures", ()) or (Failure(reason=event.message),)
            self._take_failures(attempt, failures)
            self._reasons.append(event.reason)
        else:
            raise event
        if not self._running and self._heard is None:
            self._ask_next(f"fallback: {attempt.name!r} failed")

    def _take(self, attempt: _Try, usage: Usage, why: Reason, verdict: Verdict | None) -> None:
        self._verdicts += [verdict] if verdict is not None else []
        self._reasons.append(why)
        self._steps.append(self._step(attempt, usage, f"failed: {why}"))

    def _take_failures(self, attempt: _Try, failures: Sequence[Failure]) -> None:
        self._steps += [self._step(attempt, failure.usage, f"failed: {failure.reason}") for failure in failures]

    def _step(self, attempt: _Try, usage: Usage, note: str) -> Step:
        notes = "; ".join(part for part in (attempt.note, note) if part)
        return Step(producer=self._producer, engine=attempt.name, usage=usage, note=notes)

    def _ending(self, heard: _Try | None, output: Output | None) -> ModelReply:
        if heard is not None and output is not None:
            self._running.pop(heard, None)
            self._take_failures(heard, output.failures)
            self._steps.append(self._step(heard, output.usage, ""))
            self._verdicts += [output.verdict] if output.verdict is not None else []
        text = "".join(heard.texts) if heard is not None else ""
        return ModelReply(
            text=text or (output.text if output is not None else ""),
            output=output,
            engine=heard.name if heard is not None else "",
            steps=tuple(self._steps),
            verdicts=tuple(self._verdicts),
            reason=all_of(self._reasons) if self._reasons else None,
        )


# --- The generalist: a large model, asked when the specialists abstain, and to combine several findings.

NAME = "generalist"
INSTRUCTION = (
    "The narrow models of a network could not answer the message that follows; what they prepared for it, if anything, "
    "stands above. Answer the message yourself, briefly and only as far as you know; say so when you do not know."
)
LABEL = (
    "If one of the labels that a narrow model names above is right, answer with that label alone, written as it is "
    "there."
)
AS_JSON = "Answer with nothing but JSON of this schema:"
AS_OBJECT = "Answer with nothing but a JSON object."
TOGETHER = (
    "Narrow models each did a part of the request that follows; what they found stands above. Write one answer, "
    "natural, short, in the order of the request. Repeat figures and quotes exactly, add nothing, and say what was not "
    "found."
)
_LONGEST = 512  # tokens of an answer, unless the request says
_ROOM = (0, 3)
"""Levels of length (`structured.schema.LEVELS`) that are tried for JSON, until it fits."""
_SHARE = 2  # an answer gets at most this part of the window: half


class PromptedGeneralist:
    """The models that may be asked, and the rules of asking. `begin` starts the use of one request."""

    def __init__(
        self,
        models: Sequence[tuple[StreamingEngine, ModelEntry]],
        section: GeneralistSection,
        *,
        meter: Meter | None = None,
    ) -> None:
        """Describe the generalist.

        Args:
            models: The model, then its fallbacks; each with its section.
            section: The rules of its use.
            meter: Computes the cost of a step, for a limit in money.
        """
        self.section = section
        self.meter = meter
        self.candidates = tuple(
            CandidateModel(
                engine=engine,
                window=model.window,
                pseudonymised=_pseudonymises(model),
                typed=isinstance(model, DecisionModel),
            )
            for engine, model in models
        )
        engine, model = models[0]
        self.card = SpecialistCard(
            name=NAME,
            task="generate",
            description="A large model for what the specialists cannot do.",
            rung="llm",
            version=_version(model),
            reads=(CONVERSATION,) if section.history else (),
            clearance=engine.clearance,
            pseudonymised=_pseudonymises(model),
            view_tokens=model.window // _SHARE,
        )

    @property
    def composes(self) -> bool:
        """Whether it combines several findings into one text."""
        return self.section.synthesise

    async def compose(self, task: Task, findings: Sequence[Finding], *, call: CallContext = SYSTEM) -> Finding:
        """Combine several findings into one text, for a caller without further questions."""
        return await self.begin().compose(task, findings, call=call)

    def begin(self) -> Asking:
        """Begin the use of one request: its time limit runs from the first question on."""
        return Asking(self)

    async def consult(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> Finding:
        """Answer one task, for a caller without further questions."""
        return await self.begin().consult(task, view, call=call)

    def speak(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> AsyncIterator[Delta | Finding]:
        """Answer one task and yield the pieces."""
        return self.begin().speak(task, view, call=call)


@dataclass
class Asking:
    """The use of the generalist by one request, within one deadline."""

    generalist: PromptedGeneralist
    allowance: MemoryAllowance = field(init=False)
    """The limits for a question about a document."""
    _deadline: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        section = self.generalist.section
        self.allowance = MemoryAllowance("this question", tokens=section.tokens, money=section.money)

    @property
    def card(self) -> SpecialistCard:
        """The generalist's card."""
        return self.generalist.card

    @property
    def section(self) -> GeneralistSection:
        """The rules of its use."""
        return self.generalist.section

    @property
    def composes(self) -> bool:
        """Whether it combines several findings into one text."""
        return self.section.synthesise

    def begin(self) -> Asking:
        """Return the object itself, which has begun already."""
        return self

    def idle(self, seconds: float) -> None:
        """Exclude time from the deadline, such as that of reading a document."""
        if self._deadline is not None:
            self._deadline += seconds

    @property
    def spent(self) -> Reason | None:
        """The limit in tokens or money that is used up; None if none is."""
        return self.allowance.used_up

    # --- a task that nobody else could do --------------------------------------------------------

    async def consult(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> Finding:
        """Return the model's answer. A failure is an abstention with the reason, never an exception."""
        if not task.text.strip() and not task.columns:
            return replace(abstention(NAME, task, Reason("abstain.no_text")), task="generate")
        source = _Sensitivity.of(task, *view.entries)
        if (tools := _callable(task)) is not None:
            return await self._calling(task, tools, view, source, call)
        if task.schema is not None:
            return await self._as_json(task, task.schema, view, source, call)
        heard = await self._tries(self._escalation(task, view), call).ask()
        self._count(heard)
        return _answered(heard, source)

    async def speak(
        self, task: Task, view: ContextView, *, call: CallContext = SYSTEM
    ) -> AsyncGenerator[Delta | Finding, None]:
        """Yield pieces as they arrive, then the finding.

        An answer that breaks off after its first piece ends with a piece that says why.
        """
        whole = task.schema is not None or (task.tools is not None and bool(task.tools.functions))
        if whole or not (task.text.strip() or task.columns):
            # A piece that is shown cannot be withdrawn, and half of a JSON text is none.
            yield await self.consult(task, view, call=call)
            return
        source = _Sensitivity.of(task, *view.entries)
        begun, held = False, ""
        async with aclosing(self._tries(self._escalation(task, view), call).stream()) as events:
            async for event in events:
                if isinstance(event, ModelReply):
                    self._count(event)
                    finding = _answered(event, source)
                    if finding.broken:
                        yield Delta(text=_broken_off(event))
                    yield finding
                    return
                piece = held + event.text if begun else event.text.lstrip()
                held = piece[len(piece.rstrip()) :]  # white space at either end is no part of the answer
                if piece := piece.rstrip():
                    begun = True
                    yield Delta(text=piece)

    async def _as_json(
        self, task: Task, schema: Node, view: ContextView, source: _Sensitivity, call: CallContext
    ) -> Finding:
        """Return the model's answer, if it is JSON of the schema."""
        before: Finding | None = None
        again: tuple[Message, ...] = ()
        wrong = ""
        for level in _ROOM:
            finding, model = await self._try(task, view, source, call, level=level, again=again, before=before)
            if not finding.accepted:
                return finding
            text, wrong = read_answer(schema, finding.text)
            if not wrong:
                break
            before, again = finding, correction(finding.text, wrong)
        if wrong:
            why = Reason("abstain.not_in_schema", model=model, found=wrong)
            return replace(finding, value=None, text="", accepted=False, reason=why, confidence=0.0)
        return replace(finding, value=text, text=text)

    async def _calling(
        self, task: Task, tools: Tools, view: ContextView, source: _Sensitivity, call: CallContext
    ) -> Finding:
        """Return calls of the request's functions, or the model's answer in words or in the request's form."""
        formed = task.schema is not None
        before: Finding | None = None
        again: tuple[Message, ...] = ()
        for level in TOOL_ROOM:
            finding, model = await self._try(task, view, source, call, level=level, again=again, before=before)
            finding = replace(finding, offered=bool(finding.steps))
            if not finding.accepted:
                return finding
            reply = read_reply(reply_schema(tools, task.schema), finding.text, formed=formed)
            if not reply.wrong:
                break
            before, again = finding, correction(finding.text, reply.wrong)
        if reply.calls:
            why = Reason("accept.called", model=model, functions=", ".join(call.name for call in reply.calls))
            text = written_calls(reply.calls)
            return replace(finding, value=text, text=text, reason=why, called=True)
        if reply.wrong or not reply.answer:
            problem = reply.wrong or "its answer is empty"
            why = Reason("abstain.not_in_schema", model=model, found=problem)
            return replace(finding, value=None, text="", accepted=False, reason=why, confidence=0.0)
        return replace(finding, value=reply.answer, text=reply.answer)

    async def _try(
        self,
        task: Task,
        view: ContextView,
        source: _Sensitivity,
        call: CallContext,
        *,
        level: int,
        again: tuple[Message, ...],
        before: Finding | None,
    ) -> tuple[Finding, str]:
        """Ask once, with the correction of the reply before; return the finding of all tries, and the model's name."""
        heard = await self._tries(self._escalation(task, view, level, again), call).ask()
        self._count(heard)
        finding = _answered(heard, source)
        if before is not None:
            steps, verdicts = (*before.steps, *finding.steps), (*before.verdicts, *finding.verdicts)
            finding = replace(finding, steps=steps, verdicts=verdicts)
        return finding, heard.engine

    def _escalation(
        self, task: Task, view: ContextView, level: int = 0, again: tuple[Message, ...] = ()
    ) -> Callable[[CandidateModel], Prompt]:
        question = question_of(task)
        instruction = fixed = f"{INSTRUCTION} {LABEL}" if any(map(_names_labels, view.entries)) else INSTRUCTION
        if task.schema is not None:
            form = AS_OBJECT if is_free(task.schema) else f"{AS_JSON}\n{json.dumps(task.schema, ensure_ascii=False)}"
            instruction = f"{INSTRUCTION} {form}"
        since = (*(() if task.tools is None else task.tools.since), *again)
        schema: Mapping[str, Any] | None = None if task.schema is None else decodable(task.schema, level)
        if (tools := _callable(task)) is not None:
            instruction = f"{INSTRUCTION} {told_of(tools, task.schema)}"
            schema = within(reply_schema(tools, task.schema), level)

        def prompt(candidate: CandidateModel) -> Prompt:
            if candidate.typed:
                return self._fitting(candidate, _typed(task, question))
            usual = _LONGEST if schema is None else candidate.window // _SHARE
            longest = min(task.max_tokens or usual, candidate.window // _SHARE)
            room = (
                candidate.window - longest - _tokens((*lay_out((), instruction=instruction, question=question), *since))
            )
            seen = narrowed(
                view,
                replace(self.card, pseudonymised=candidate.pseudonymised),
                clearance=candidate.engine.clearance,
                room=room,
            ).entries
            messages = (*lay_out(seen, instruction=instruction, question=question), *since)
            label, bare = _Sensitivity.of(task, *seen)
            whole = Prompt(
                messages=messages,
                instruction=f"{fixed}\n\n" if instruction == fixed else "",
                label=label,
                label_without_pii=bare,
                max_tokens=longest,
            )
            return self._fitting(candidate, replace(whole.sampled(task.sampling), json_schema=schema))

        return prompt

    # --- several findings as one answer ----------------------------------------------------------

    async def compose(self, task: Task, findings: Sequence[Finding], *, call: CallContext = SYSTEM) -> Finding:
        """Combine several findings into one text. An addition of the model makes it an abstention with the reason.

        The model gets the findings with their quotes, as sensitive as the most sensitive of them, and no document.
        """
        notes = [in_words(finding) for finding in findings]
        source = _Sensitivity.of(task, *findings)
        heard = await self._ask(TOGETHER, task.text, notes, source, call, max_tokens=task.max_tokens)
        finding = _answered(heard, source)
        sources = [task.text, *notes]
        marks = max((len(finding.citations) for finding in findings), default=0)
        language = language_of(finding.text, task.language or "en")
        if finding.accepted and (added := hallucinated(finding.text, sources, marks=marks, language=language)):
            reason = Reason("abstain.unsupported", added=", ".join(map(repr, added)))
            return replace(finding, accepted=False, reason=reason)
        return finding

    async def structured(
        self,
        instruction: str,
        question: str,
        notes: Sequence[str],
        label: Labelled,
        *,
        schema: Mapping[str, object],
        call: CallContext,
    ) -> tuple[ModelReply, dict[str, Any] | None]:
        """Return an answer as an object of a JSON schema; None if there is none, or an invalid one.

        Args:
            instruction: What to do.
            question: The input of the instruction.
            notes: Known facts.
            label: Has the labels of all of it.
            schema: Schema of the answer.
            call: The caller's context.
        """
        heard = await self._ask(instruction, question, notes, _Sensitivity.of(label), call, schema=schema)
        try:
            content = parse_json(heard.text) if heard.output is not None else None
        except ValueError:
            content = None
        return heard, content if isinstance(content, dict) else None

    async def _ask(
        self,
        instruction: str,
        question: str,
        notes: Sequence[str],
        source: _Sensitivity,
        call: CallContext,
        *,
        schema: Mapping[str, object] | None = None,
        max_tokens: int | None = None,
    ) -> ModelReply:
        first = (Message(role="system", text="\n\n".join(notes)),) if notes else ()
        messages = (*first, Message(role="user", text=f"{instruction}\n\n{question}"))

        def prompt(candidate: CandidateModel) -> Prompt:
            longest = min(max_tokens or _LONGEST, candidate.window // _SHARE)
            label, bare = source
            whole = Prompt(
                messages=messages,
                instruction=f"{instruction}\n\n",
                label=label,
                label_without_pii=bare,
                max_tokens=longest,
                json_schema=schema,
            )
            return self._fitting(candidate, whole)

        heard = await self._tries(prompt, call).ask()
        self._count(heard)
        return heard

    # --- asking ----------------------------------------------------------------------------------

    def _tries(self, prompt_for: Callable[[CandidateModel], Prompt], call: CallContext) -> Tries:
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self.section.deadline
        return Tries(
            self.generalist.candidates,
            prompt_for,
            call=call,
            producer=NAME,
            deadline=self._deadline,
            hedge_after=self.section.hedge_after,
        )

    def _count(self, heard: ModelReply) -> None:
        """Add the usage of a reply; one with an unknown price exhausts the limit in money."""
        meter = self.generalist.meter
        for step in heard.steps:
            cost = None if meter is None else meter.price(step).usage.cost
            if cost is None:
                self.allowance.lift_money()
            took = Amount(step.usage.tokens_in + step.usage.tokens_out, nano(cost or Decimal(0)))
            self.allowance.settle(Amount(), took)

    @staticmethod
    def _fitting(candidate: CandidateModel, prompt: Prompt) -> Prompt:
        """Return the prompt if it fits the model's window with its answer. Raises `TooLong`."""
        tokens = _tokens(prompt.messages)
        if tokens + prompt.max_tokens > candidate.window:
            raise TooLong(
                f"The question takes about {tokens:,} tokens and its answer {prompt.max_tokens:,}; the window of "
                f"{candidate.engine.name!r} is {candidate.window:,}."
            )
        return prompt


def _callable(task: Task) -> Tools | None:
    """Return the functions that may be called; None without any, or for a forced call, whose form is the schema."""
    tools = task.tools
    if tools is None or not tools.functions or (tools.required and task.schema is not None):
        return None
    return tools


def _typed(task: Task, question: str) -> Prompt:
    """Return a task as a choice among labels; without labels, as a prompt that a decision model refuses."""
    choice = (Question(kind="choice", options=task.labels),) if len(task.labels) > 1 else ()
    messages = (Message(role="user", text=question),)
    return Prompt(
        messages=messages, questions=choice, label=task.label, label_without_pii=task.label_without_pii, max_tokens=1
    )


def _names_labels(entry: Entry) -> bool:
    """Return whether an entry is a guess at a label, which the caller may want."""
    summary = entry.content
    return (
        isinstance(summary, FindingSummary) and summary.form == "label" and not summary.accepted and bool(summary.guess)
    )


class _Sensitivity(NamedTuple):
    label: Label
    label_without_pii: Label
    """The label without personal data."""

    @classmethod
    def of(cls, *things: Labelled) -> _Sensitivity:
        return cls(max(thing.label or Label.RESTRICTED for thing in things), label_without_pii(*things))


def _pseudonymises(model: ModelEntry) -> bool:
    return isinstance(model, RemoteModel) and model.pseudonymise


def _answered(heard: ModelReply, source: _Sensitivity) -> Finding:
    text, broken = heard.text.strip(), False
    if heard.output is None:
        broken = bool(text)
        text += _broken_off(heard) if broken else ""
        reason = heard.reason or Reason("abstain.no_model")
    else:
        notes = [Reason("note.answer_cut")] if heard.output.finish != "stop" else []
        notes += [Reason("note.before", why=heard.reason)] if heard.reason else []
        reason = Reason("accept.generalist", *notes, model=heard.engine)
    return Finding(
        specialist=NAME,
        value=text or None,
        text=text,
        confidence=0.0,  # not known, and the cautious number for that
        accepted=bool(text),
        reason=reason,
        label=source.label,
        label_without_pii=source.label_without_pii,
        task="generate",
        steps=heard.steps,
        verdicts=heard.verdicts,
        broken=broken,
        cut=heard.output is not None and heard.output.finish == "length",
    )


def _broken_off(heard: ModelReply) -> str:
    return f"\n\n[The answer breaks off here: {heard.reason}.]"


def _version(model: ModelEntry) -> str:
    """Return the model file's checksum; for a remote model only the name is known."""
    listed = CATALOGUE.get(model.name) if isinstance(model, LlamaModel) else None
    checksum = model.sha256 if isinstance(model, LlamaModel) else None
    return (listed.sha256 if listed else checksum) or model.name


def _tokens(messages: Sequence[Message]) -> int:
    return sum(estimate_tokens(message.text) + 4 for message in messages)

"""The generalist: a large model, asked when the specialists abstain, and to combine several findings.

It is the one specialist without a meaningful confidence, since it is not measured on this network's requests. Its
answers say so. Its input is prepared by the small models; it never sees a document.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from coterie.config.file import DecisionModel, LlamaModel, ModelEntry, RemoteModel
from coterie.config.operation import GeneralistSection
from coterie.context.view import CONVERSATION
from coterie.errors import TooLong
from coterie.generalist.attempts import CandidateModel, ModelReply, Tries
from coterie.generalist.pack import in_words, lay_out, narrowed, question_of
from coterie.generalist.reading import hallucinated
from coterie.limits.memory import MemoryAllowance
from coterie.limits.storage import nano
from coterie.models.catalogue import CATALOGUE
from coterie.protocols import Meter, StreamingEngine
from coterie.runtime.codec import parse_json, replace
from coterie.specialists.acceptance import abstention
from coterie.structured.filling import is_free
from coterie.structured.functions import ROOM as TOOL_ROOM
from coterie.structured.functions import correction, read_reply, reply_schema, told_of, within, written_calls
from coterie.structured.schema import Node, decodable, read_answer
from coterie.text.folding import estimate_tokens
from coterie.text.language import language_of
from coterie.types import (
    SYSTEM,
    Amount,
    CallContext,
    ContextView,
    Delta,
    Entry,
    Finding,
    FindingSummary,
    Label,
    Labelled,
    Message,
    Prompt,
    Question,
    Reason,
    SpecialistCard,
    Task,
    Tools,
    label_without_pii,
)

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

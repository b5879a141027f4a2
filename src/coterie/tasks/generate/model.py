"""`generate`: writes a text that states only what a source text states.

The fact it reads selects the source text; a generative model drafts from it. Each sentence of the draft is checked
before it is shown. At the first one that the source does not support, the draft is stopped and the source text takes
over. So whatever the model or the caller writes, the reply holds the network's own words or equivalents of them.

A specialist that reads no fact has no source to check its reply against, sentence by sentence. What can be known is how
often similar replies are right: a logistic regression, fitted on pairs its adapter had not seen, computes a probability
from the likelihood of the reply's words under the model, their number, and the similarity of the text to the training
texts. That is known when the reply is complete, and a delta is final: so this specialist does not stream.

It calls the request's functions, and those of MCP servers. For that the model is used without its adapter, which has
learned replies and no calls, and is restricted to JSON: calls or an answer. Calls of the request's functions are
returned to the caller as the finding. Calls of an MCP server's functions are made here, through the egress gate, and
their results are shown to the model, for a few rounds. Where the model neither calls nor has results to answer from,
the specialist answers as usual, with its own calibrated confidence; an answer from results has none.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from coterie.engines.linear import stored_array
from coterie.errors import AuditError, EngineError, InputError, Overloaded, PolicyError, SetupError, TooLong
from coterie.protocols import Engine, FunctionServer, StreamingEngine
from coterie.runtime.codec import from_json, to_json
from coterie.specialists.parts import Acceptance, abstention
from coterie.structured.schema import (
    ROOM,
    ToolReply,
    call_turn,
    correction,
    read_reply,
    reply_schema,
    result_turn,
    told_of,
    within,
    written_calls,
)
from coterie.tasks.classify.prompted import Agreement
from coterie.tasks.generate.grounding import Drafting, DraftModels, SupportedDraft, bundled_models, one_line
from coterie.text.folding import estimate_tokens
from coterie.types import (
    SYSTEM,
    CallContext,
    ContextView,
    Delta,
    Entry,
    Evidence,
    Fact,
    Finding,
    Function,
    FunctionCall,
    Label,
    Message,
    Output,
    Prompt,
    Reason,
    Scalar,
    SpecialistCard,
    Step,
    Task,
    Tools,
    Usage,
    Verdict,
    label_without_pii,
)

_LONGEST = 512  # tokens of a reply
_ROUNDS = 4
_REFUSED = (EngineError, InputError, Overloaded, PolicyError, SetupError)


@dataclass(frozen=True, kw_only=True)
class Calling:
    """Asks the model of a `generate` specialist which functions to call."""

    name: str
    """The specialist's name."""
    engine: Engine
    instruction: str
    window: int | None = None
    """Context window of the model: tokens of prompt and reply; None where it is unknown."""
    servers: Mapping[str, FunctionServer] = field(default_factory=dict)
    """MCP servers by their `[mcp]` key, whose functions the specialist may call itself."""
    rounds: int = _ROUNDS
    """Most rounds of calls before it must answer."""

    async def consult(self, task: Task, *, call: CallContext) -> tuple[Finding | None, tuple[Step, ...]]:
        """Return calls, an answer from results, or an abstention; None where the specialist answers as usual.

        The returned steps belong to the None case, which has no finding to hold them.
        """
        offered = task.tools or Tools()
        if not (offered.functions or offered.since or self.servers):
            return None, ()
        work = _Rounds(calling=self, task=task, offered=offered, call=call)
        finding = await work.run()
        return finding, () if finding is not None else tuple(work.steps)


@dataclass(kw_only=True)
class _Rounds:
    """The rounds of asking and calling for one request."""

    calling: Calling
    task: Task
    offered: Tools
    call: CallContext
    owners: dict[str, tuple[FunctionServer, str]] = field(default_factory=dict)
    """For each name that the model sees, its server and its name there."""
    turns: list[Message] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    label: Label = Label.PUBLIC
    bare: Label = Label.PUBLIC
    results: bool = False

    async def run(self) -> Finding | None:
        """Ask until there is an answer, or calls for the caller."""
        self.label, self.bare = self.task.label, label_without_pii(self.task)
        self.turns, self.results = list(self.offered.since), bool(self.offered.since)
        try:
            functions = (*self.offered.functions, *await self._theirs())
            for left in range(self.calling.rounds, -1, -1):
                open_functions = functions if left else self.offered.functions
                tools = replace(self.offered, functions=open_functions, since=tuple(self.turns))
                reply = await self._ask(tools)
                if reply.wrong:
                    why = Reason("abstain.not_in_schema", model=self.calling.engine.name, found=reply.wrong)
                    return self._done(abstention(self.calling.name, self.task, why))
                ours = [call for call in reply.calls if call.name in self.owners]
                if not ours:
                    return self._ended(reply)
                await self._make(ours)
        except AuditError:
            raise
        except _REFUSED as error:
            self.verdicts += [error.verdict] if isinstance(error, PolicyError) else []
            return self._done(abstention(self.calling.name, self.task, error.reason))
        why = Reason("abstain.rounds", rounds=self.calling.rounds)
        return self._done(abstention(self.calling.name, self.task, why))

    async def _theirs(self) -> Sequence[Function]:
        """Return the functions of the MCP servers, renamed where names clash."""
        taken, functions = set(self.offered.names), []
        for key, server in self.calling.servers.items():
            for function in await server.functions():
                name = function.name if function.name not in taken else f"{key}.{function.name}"[:64]
                taken.add(name)
                self.owners[name] = (server, function.name)
                functions.append(replace(function, name=name))
        return functions

    async def _ask(self, tools: Tools) -> ToolReply:
        """Return the model's reply, with less room at each attempt until it fits."""
        schema, reply = reply_schema(tools), ToolReply()
        instruction = f"{self.calling.instruction}\n\n{told_of(tools)}".strip()
        messages = (Message(role="system", text=instruction), Message(role="user", text=self.task.text), *self.turns)
        again: tuple[Message, ...] = ()
        for level in ROOM:
            turns = (*messages, *again)
            longest = min(self.task.max_tokens or _LONGEST, _LONGEST)
            if self.calling.window is not None:
                room = self.calling.window - sum(estimate_tokens(message.text) + 4 for message in turns)
                longest = max(1, min(longest, room))
            prompt = Prompt(messages=turns, label=self.label, label_without_pii=self.bare, max_tokens=longest)
            prompt = replace(prompt.sampled(self.task.sampling), json_schema=within(schema, level))
            (output,) = await self.calling.engine.run([prompt], call=self.call)
            self.steps.append(
                Step(producer=self.calling.name, engine=self.calling.engine.name, usage=output.usage, note="functions")
            )
            self.verdicts += [output.verdict] if output.verdict is not None else []
            reply = read_reply(schema, output.text)
            if not reply.wrong:
                break
            again = correction(output.text, reply.wrong)
        return reply

    async def _make(self, calls: Sequence[FunctionCall]) -> None:
        """Call functions of MCP servers, and keep each result for the model, failures too."""
        self.turns.append(call_turn(calls))
        for call in calls:
            server, name = self.owners[call.name]
            about = FunctionCall(name=name, arguments=call.arguments)
            try:
                result = await server.call(about, label=self.label, label_without_pii=self.bare, call=self.call)
            except AuditError:
                raise
            except _REFUSED as error:
                self.verdicts += [error.verdict] if isinstance(error, PolicyError) else []
                self.turns.append(result_turn(f"it failed: {error.reason}", call.name))
                self.steps += [
                    Step(producer=self.calling.name, engine=server.name, usage=failure.usage, note="failed")
                    for failure in getattr(error, "failures", ())
                ]
                continue
            self.results = True
            self.label, self.bare = max(self.label, result.label), max(self.bare, result.label_without_pii)
            self.turns.append(result_turn(result.text, call.name))
            self.steps.append(
                Step(producer=self.calling.name, engine=server.name, usage=result.usage, note=f"function {name}")
            )
            self.verdicts += result.verdicts

    def _ended(self, reply: ToolReply) -> Finding | None:
        """Return calls for the caller, or words; None if there is nothing to call and no result."""
        model = self.calling.engine.name
        if reply.calls:
            names = ", ".join(call.name for call in reply.calls)
            reason = Reason("accept.called", model=model, functions=names)
            return self._done(self._accepted(written_calls(reply.calls), reason, called=True))
        if not self.results:
            return None  # nothing to call: it answers as it was trained to
        if not reply.answer:
            return self._done(abstention(self.calling.name, self.task, Reason("abstain.empty_answer")))
        return self._done(self._accepted(reply.answer, Reason("accept.from_results", model=model), called=False))

    def _accepted(self, text: str, reason: Reason, *, called: bool) -> Finding:
        return Finding(
            specialist=self.calling.name,
            value=text,
            text=text,
            confidence=0.0,  # not known, and the cautious number for that
            accepted=True,
            reason=reason,
            task="generate",
            called=called,
        )

    def _done(self, finding: Finding) -> Finding:
        return replace(
            finding,
            offered=bool(self.offered.functions and self.steps),
            label=self.label,
            label_without_pii=self.bare,
            steps=tuple(self.steps),
            verdicts=(*finding.verdicts, *self.verdicts),
        )


# --- `generate`: writes a text that states only what a source text states.

PATIENCE = 15.0
"""Seconds that the next sentence of a draft may take before the source text takes over."""


@dataclass(frozen=True, kw_only=True)
class GenerateSpecialist:
    """Drafts with its engine from the source text that its fact selects."""

    card: SpecialistCard
    engine: StreamingEngine
    sources: Mapping[str, str]
    """Source text by the fact's value."""
    drafting: Drafting
    max_tokens: int = 160
    """Longest draft, in tokens. The source text in its place may be longer: half an answer is useless."""
    patience: float = PATIENCE
    adapter: str | None = None
    """The adapter that its engine drafts with; None where the model is only prompted."""
    label: Label = Label.PUBLIC
    """Sensitivity of the source texts."""
    calling: Calling | None = None
    """The function calls; None where it only drafts."""
    models: DraftModels = field(default_factory=bundled_models)
    """What judges sentences beside the check by words."""

    async def consult(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> Finding:
        """Return everything that `speak` yields as one finding."""
        async with aclosing(self.speak(task, view, call=call)) as events:
            async for event in events:
                if isinstance(event, Finding):
                    return event
        raise AssertionError("speak ends with a Finding")

    async def speak(
        self, task: Task, view: ContextView, *, call: CallContext = SYSTEM
    ) -> AsyncGenerator[Delta | Finding]:
        """Yield the draft's sentences once they are checked, the source's in place of the others, then the finding."""
        called, steps_of_calls = (None, ()) if self.calling is None else await self.calling.consult(task, call=call)
        if called is not None:
            yield called
            return
        entry = _newest(view, self.card.reads[0])
        if entry is None:
            unknown = Reason("abstain.no_fact", fact=self.card.reads[0])
            yield replace(abstention(self.card.name, task, unknown), steps=steps_of_calls, offered=bool(steps_of_calls))
            return
        fact = cast("Fact", entry.content)
        key = written(fact.value)
        if (source := self.sources.get(key)) is None:
            unknown = Reason("abstain.no_source", fact=fact.name, value=key)
            yield replace(abstention(self.card.name, task, unknown), steps=steps_of_calls, offered=bool(steps_of_calls))
            return
        draft = SupportedDraft(source=source, message=one_line(task.text), models=self.models)
        prompt = replace(
            self._prompt(task, key),
            label=max(task.label, entry.label, self.label),
            label_without_pii=max(label_without_pii(task, entry), self.label),
        )
        run = _Run(call=call, producer=self.card.name, engine=self.engine.name, prompt=prompt)
        spoken = ""
        async with aclosing(self._write(draft, run)) as sentences:
            async for sentence in sentences:
                piece = f" {sentence}" if spoken else sentence
                spoken += piece
                yield Delta(text=piece, offered=bool(steps_of_calls))
        if rest := draft.replacement():
            spoken += rest
            yield Delta(text=rest, offered=bool(steps_of_calls))
        yield Finding(
            specialist=self.card.name,
            value=spoken,
            text=spoken,
            confidence=fact.confidence,  # the text is the source's, so it is right if the fact is
            accepted=True,
            reason=draft.reason(key),
            label=prompt.label,
            label_without_pii=prompt.label_without_pii,
            task="generate",
            evidence=(Evidence(kind="quote", name=key, text=source),),
            steps=(*steps_of_calls, *run.steps()),
            offered=bool(steps_of_calls),
            verdicts=tuple(run.verdicts),
        )

    async def warm(self, *, slots: int = 1) -> None:
        """Load the models and let one read what all prompts begin with, so that the first caller does not wait for it.

        Args:
            slots: Requests that the engine works on side by side; each has a memory of its own to fill.
        """
        messages = self.drafting.messages(message="", key="", source="")
        prompt = Prompt(messages=messages, label=Label.PUBLIC, max_tokens=1, adapter=self.adapter)
        await asyncio.to_thread(self.models.courtesies)
        await self.engine.run([prompt] * slots, call=SYSTEM)

    def _prompt(self, task: Task, key: str) -> Prompt:
        longest = self.max_tokens if task.max_tokens is None else min(self.max_tokens, task.max_tokens)
        messages = self.drafting.messages(message=task.text, key=key, source=self.sources[key])
        prompt = Prompt(messages=messages, max_tokens=longest, adapter=self.adapter)
        return prompt.sampled(task.sampling)

    async def _write(self, draft: SupportedDraft, run: _Run) -> AsyncGenerator[str]:
        """Yield the supported sentences. Closing this generator closes the engine's stream and ends the generation."""
        try:
            async with aclosing(
                cast("AsyncGenerator[Delta | Output]", self.engine.stream(run.prompt, call=run.call))
            ) as events:
                while not (draft.fault or run.output):
                    async with asyncio.timeout(self.patience - run.silence()):
                        event = await anext(events, None)
                    for sentence in await run.take(event, draft):
                        yield sentence
                        run.heard()
        except TimeoutError:
            run.timed_out = True
            draft.give_up(Reason("draft.too_slow", seconds=self.patience))
        except PolicyError as error:
            run.verdicts.append(error.verdict)
            draft.give_up(Reason("draft.refused", why=error.reason))
        except (EngineError, TooLong, Overloaded) as error:
            draft.give_up(Reason("draft.failed", why=error.reason))


@dataclass(kw_only=True)
class _Run:
    call: CallContext
    producer: str
    engine: str
    prompt: Prompt
    output: Output | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    pieces: int = 0
    timed_out: bool = False
    start: float = field(default_factory=time.perf_counter)
    last: float = field(default_factory=time.perf_counter)

    async def take(self, event: Delta | Output | None, draft: SupportedDraft) -> list[str]:
        """Hand what came to the draft: the sentences that may be said, which models judge in a thread."""
        if isinstance(event, Delta):
            self.pieces += 1
            whole = draft.completed(event.text)
            return await asyncio.to_thread(list, draft.judge(whole)) if whole else list(draft.judge(()))
        if event is None:
            draft.give_up(Reason("draft.no_result"))
            return []
        self.output = event
        if event.verdict is not None:
            self.verdicts.append(event.verdict)
        return await asyncio.to_thread(list, draft.end(cut=event.finish != "stop"))

    def heard(self) -> None:
        """Note the time at which the consumer took a sentence."""
        self.last = time.perf_counter()

    def silence(self) -> float:
        """Return the seconds since the last sentence."""
        return time.perf_counter() - self.last

    def steps(self) -> tuple[Step, ...]:
        """Return the rows of the ledger. A stopped generation reports no usage, so that is estimated here."""
        if self.output is not None:
            return (Step(producer=self.producer, engine=self.engine, usage=self.output.usage),)
        if not (self.pieces or self.timed_out):
            return ()
        usage = Usage(
            tokens_in=sum(estimate_tokens(message.text) for message in self.prompt.messages),
            tokens_out=self.pieces,  # engines give a piece a token, or nearly
            milliseconds=(time.perf_counter() - self.start) * 1000,
        )  # its engine puts the CPU time on the bill of whoever listens
        return (Step(producer=self.producer, engine=self.engine, usage=usage),)


def written(value: Scalar) -> str:
    """Return a fact's value as the key of a source text, in the form of a CSV file."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(int(value) if isinstance(value, float) and value.is_integer() else value)


def load_generate(
    card: SpecialistCard,
    described: Mapping[str, Any],
    engine: StreamingEngine,
    *,
    adapter: str | None = None,
    label: Label = Label.PUBLIC,
    calling: Calling | None = None,
) -> GenerateSpecialist:
    """Load the specialist of a stored description. Raises `KeyError` or `TypeError` if it is invalid."""
    return GenerateSpecialist(
        card=card,
        engine=engine,
        sources={str(key): str(text) for key, text in described["sources"].items()},
        drafting=from_json(Drafting, described, unknown="ignore"),
        max_tokens=int(described["max_tokens"]),
        adapter=adapter,
        label=label,
        calling=calling,
    )


def _newest(view: ContextView, name: str) -> Entry | None:
    """Return the newest entry with this fact, unless it says that there is none."""
    for entry in reversed(view.entries):
        if isinstance(entry.content, Fact) and entry.content.name == name:
            return None if entry.content.value is None else entry
    return None


# --- `generate` without a source text: writes the reply that it learnt to write, or abstains.

SEEN_FILE = "seen.safetensors"
"""Vectors of the texts that it was trained on, in half precision; the texts are never stored."""
MOST_SEEN = 5_000


@dataclass(frozen=True, kw_only=True)
class Writing:
    """The prompt for a reply; the same in training and in use."""

    instruction: str = "Reply to the message."
    examples: tuple[tuple[str, str], ...] = ()
    """Texts and replies that the model sees; none where it was tuned."""

    def messages(self, text: str) -> tuple[Message, ...]:
        """Return the prompt for one text."""
        turns = [Message(role="system", text=self.instruction)]
        for question, reply in self.examples:
            turns += [Message(role="user", text=question), Message(role="assistant", text=reply)]
        return (*turns, Message(role="user", text=text))


@dataclass(frozen=True, kw_only=True, eq=False)
class WriteSpecialist:
    """Writes with its adapter, and accepts the reply where its confidence reaches the threshold."""

    card: SpecialistCard
    engine: Engine
    encoder: Engine
    writing: Writing
    seen: np.ndarray  # (N, D) unit vectors of the texts it was trained on
    agreement: Agreement
    acceptance: Acceptance
    max_tokens: int
    adapter: str | None = None
    calling: Calling | None = None
    """The function calls; None where it only writes."""

    async def consult(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> Finding:  # noqa: ARG002 - it reads the text alone
        """Return the reply and its confidence, or an abstention where there is no complete one.

        Raises the errors of its engines, except for a text that does not fit the window.
        """
        if not task.text.strip():
            return abstention(self.card.name, task, Reason("abstain.no_text"))
        called, steps_of_calls = (None, ()) if self.calling is None else await self.calling.consult(task, call=call)
        if called is not None:
            return called
        vector, steps, cut = await self._encode(task, call)
        try:
            (output,) = await self.engine.run([self.prompt(task)], call=call)
        except TooLong as error:
            return replace(
                abstention(self.card.name, task, error.reason),
                steps=(*steps_of_calls, *steps),
                offered=bool(steps_of_calls),
            )
        steps = (*steps_of_calls, *steps, Step(producer=self.card.name, engine=self.engine.name, usage=output.usage))
        return replace(self._finding(task, vector, output), steps=steps, truncated=cut, offered=bool(steps_of_calls))

    def prompt(self, task: Task) -> Prompt:
        """Return its model's prompt."""
        longest = self.max_tokens if task.max_tokens is None else min(self.max_tokens, task.max_tokens)
        return Prompt(
            messages=self.writing.messages(task.text),
            label=task.label,
            label_without_pii=task.label_without_pii,
            max_tokens=longest,
            adapter=self.adapter,
            logprobs=True,
        )

    async def warm(self, *, slots: int = 1) -> None:
        """Load the model and let it read the common prefix of all prompts, in each of its engine's slots."""
        prompt = Prompt(messages=self.writing.messages(""), label=Label.PUBLIC, max_tokens=1, adapter=self.adapter)
        await self.engine.run([prompt] * slots, call=SYSTEM)

    def to_files(self) -> dict[str, bytes]:
        """Return the files of a version beside its adapter's files and the base that they belong to."""
        return {SEEN_FILE: save_arrays({"vectors": self.seen.astype(np.float16)})}

    def describe(self) -> dict[str, object]:
        """Return the description as JSON."""
        return {
            "task": self.card.task,
            "rung": self.card.rung,
            "instruction": self.writing.instruction,
            "max_tokens": self.max_tokens,
            "agreement": to_json(self.agreement),
            "acceptance": to_json(self.acceptance),
        }

    async def _encode(self, task: Task, call: CallContext) -> tuple[np.ndarray, tuple[Step, ...], bool]:
        """Return the text's vector (D,), its usage, and whether only the beginning of the text was read."""
        if task.vector is not None:
            return task.vector, (), task.truncated
        (encoded,) = await self.encoder.run([Prompt(text=task.text, label=task.label)], call=call)
        step = Step(producer=self.card.name, engine=self.encoder.name, usage=encoded.usage)
        return np.asarray(encoded.vector), (step,), encoded.finish == "length"

    def _finding(self, task: Task, vector: np.ndarray, output: Output) -> Finding:
        if fault := fault_of(output):
            return abstention(self.card.name, task, fault)
        near = likeness(self.seen, vector)
        confidence = self.agreement.confidence(signs_of(output, near))
        accepted, reason = self.acceptance.judge(confidence, None)
        text = output.text.strip()
        return Finding(
            specialist=self.card.name,
            value=text,
            text=text,
            confidence=confidence,
            accepted=accepted,
            reason=reason,
            in_scope=near,
            label=task.label,
            label_without_pii=task.label_without_pii,
            task="generate",
        )


def fault_of(output: Output) -> Reason | None:
    """Return why an output is no reply; None if it is one."""
    if not output.text.strip():
        return Reason("abstain.empty_answer")
    return None if output.finish == "stop" else Reason("abstain.reply_cut")


def signs_of(output: Output, near: float) -> dict[str, float]:
    """Return the signs for the confidence in a written reply.

    Tokens that the engine guessed by prompt lookup come without a probability and count as certain, both when the
    confidence is fitted and when it is used.
    """
    tokens = max(output.usage.tokens_out, 1)
    signs = {"cosine": near, "length": math.log(tokens)}
    return signs if output.logprob is None else {**signs, "logprob": output.logprob / tokens}


def likeness(seen: np.ndarray, vector: np.ndarray) -> float:  # (N, D), (D,)
    """Return the cosine to the nearest text that was seen in training."""
    return float((seen @ vector).max()) if len(seen) else 0.0


def thin_out(vectors: np.ndarray) -> np.ndarray:  # (N, D) to (M, D)
    """Return at most as many vectors as a version keeps, evenly spread, in the stored precision."""
    if len(vectors) > MOST_SEEN:
        vectors = vectors[np.arange(MOST_SEEN) * len(vectors) // MOST_SEEN]
    return np.asarray(vectors.astype(np.float16).astype(np.float32))


def load_write(
    card: SpecialistCard,
    described: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    engine: Engine,
    encoder: Engine,
    calling: Calling | None = None,
) -> WriteSpecialist:
    """Load the specialist of a stored description. Raises `LookupError`, `TypeError` or `ValueError` if invalid."""
    return WriteSpecialist(
        card=card,
        engine=engine,
        encoder=encoder,
        writing=Writing(instruction=str(described["instruction"])),
        seen=stored_array(load_arrays(files[SEEN_FILE]), "vectors", None, None).astype(np.float32),
        agreement=from_json(Agreement, described["agreement"]),
        acceptance=from_json(Acceptance, described["acceptance"]),
        max_tokens=int(described["max_tokens"]),
        adapter=card.name,
        calling=calling,
    )

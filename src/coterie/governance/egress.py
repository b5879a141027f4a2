"""The egress gate: the only path to an engine outside this process.

Only this module opens an engine that is not `local`; a test checks that. Each prompt is judged before any
part of it is sent: by its label, and by the findings of a detector in every field, whatever the label is. The
prompt is allowed or refused. If only its personal data is too sensitive and the model's section allows it,
the prompt is sent with pseudonyms, and the values are restored in the answer. Each answer carries the verdict
that allowed its prompt.

Before the first byte leaves, an entry in the audit log announces the egress and is synced to the disk; if it
cannot be written, nothing is sent. A second entry has the outcome: the request's own entry, or one by the
gate.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from coterie.config.file import RemoteModel
from coterie.config.operation import McpSection
from coterie.engines.kinds import ENGINE_TYPES, EnginePlace
from coterie.engines.mcp import McpEngine
from coterie.errors import EgressRefused, EngineError, InputError, Overloaded
from coterie.governance.audit import audit_egress, audit_outcome
from coterie.governance.disguise import (
    Disguised,
    Look,
    Restorer,
    Sighting,
    Undisguisable,
    disguise,
    sight,
    texts_of_prompt,
    worth_a_thread,
)
from coterie.governance.injection import suspect
from coterie.governance.pseudonyms import SessionPseudonyms, TooManyValues
from coterie.limits.limits import StoredLimits
from coterie.privacy.detection import Detector, PersonalData
from coterie.privacy.patterns import PatternDetector
from coterie.protocols import Audit, Policy, StreamingEngine
from coterie.runtime.caches import KnownTexts
from coterie.runtime.codec import replace
from coterie.runtime.concurrency import AT_ONCE, aside, side_by_side, to_the_end
from coterie.structured.schema import function_of
from coterie.types import (
    NOT_SENT,
    CallContext,
    Delta,
    Egress,
    Flow,
    Function,
    FunctionCall,
    FunctionResult,
    Label,
    Output,
    Prompt,
    Reason,
    RelayHead,
    Verdict,
)

PSEUDONYMISED = "egress.pseudonymised"
_LONGEST_KNOWN, _MOST_KNOWN = 4_000, 1_024
"""Longest instructions, in characters, that are remembered as free of findings, and how many of them."""


class Gate:
    """Opens remote engines, each behind the policy."""

    def __init__(
        self,
        policy: Policy,
        limits: StoredLimits | None = None,
        *,
        detector: Detector | None = None,
        audit: Audit | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the rules.

        Args:
            policy: Judges each flow.
            limits: Limit each call; None applies only the limits that come with the call itself.
            detector: Finds personal data and secrets in what is to be sent; None for the patterns of `privacy`.
            audit: The log to which each prompt is written before it leaves; None keeps no log.
            clock: Returns seconds since the epoch.
        """
        self._policy = policy
        self._journal = _Journal(audit=audit, clock=clock)
        self._limits = limits
        self._detector = detector or PatternDetector()

    def open(
        self,
        name: str,
        model: RemoteModel,
        *,
        adapters: Mapping[str, Path] | None = None,
        **options: Any,  # noqa: ANN401 - the engine's own
    ) -> StreamingEngine:
        """Return the engine of a configured model, whoever offers it: only allowed prompts reach it.

        Args:
            name: The model's `[models]` key.
            model: The model's section.
            adapters: Folders of versions with an adapter for the model, by specialist.
            options: Replacements for the network, the clock and randomness: see `OpenAIEngine`.
        """
        judge = _Judge(policy=self._policy, detector=self._detector, name=name, model=model)
        engine = ENGINE_TYPES.load(model.engine).open(
            name, model, EnginePlace(adapters=adapters or {}, options=options)
        )
        return _GatedEngine(engine, judge, self._journal, self._limits)

    def open_server(self, name: str, section: McpSection, *, label: Label, **options: Any) -> McpServer:  # noqa: ANN401 - the engine's own
        """Return the tools of an MCP server. Arguments are judged, audited and budgeted as prompts are.

        Args:
            name: The server's `[mcp]` key.
            section: The server's section.
            label: Label of its results, if the section names none.
            options: Replacements for the connection: see `McpEngine`.
        """
        server = McpEngine(name, section, **options)
        judge = _Judge(policy=self._policy, detector=self._detector, name=server.name, model=section)
        engine = _GatedEngine(server, judge, self._journal, self._limits)
        return McpServer(server=server, engine=engine, detector=self._detector, label=section.label or label)

    def check(self, name: str, model: RemoteModel, label: Label) -> None:
        """Check whether data of this label could be sent to a model at all, before work that would be refused entirely.

        Raises:
            EgressRefused: data of this label may not be sent.
        """
        flow = Flow(destination=name, label=label, clearance=model.clearance)
        verdict = self._policy.judge(flow)
        if verdict.allowed is not True:
            raise _refused(verdict, name)


@dataclass(frozen=True, kw_only=True)
class _Sent:
    """A prompt as it leaves, the verdict that allows it, and the way its answer is read."""

    prompt: Prompt
    label: Label
    """Label of the prompt as it leaves."""
    verdict: Verdict
    restorer: Restorer | None = None

    def egress(self, engine: str, call: CallContext, audit: Audit | None) -> Egress:
        """Return the record of this egress."""
        prompt = self.prompt
        if prompt.verbatim is not None:
            text = prompt.verbatim.decode("utf-8", "replace")
        else:
            messages = [f"{message.role}: {message.text}" for message in prompt.messages]
            text = "\n\n".join([prompt.text, *messages] if prompt.text else messages)
        return Egress(
            id=f"{call.trace}.{len(call.outgoing)}" if call.trace and call.outgoing is not None else uuid.uuid4().hex,
            engine=engine,
            label=self.label,
            rule=self.verdict.rule,
            pseudonymised=self.verdict.rule == PSEUDONYMISED,
            characters=len(text),
            digest="" if audit is None else audit.digest(text),
            text=text,
        )


@dataclass(frozen=True, kw_only=True)
class _Journal:
    """Writes each egress down before it happens, and its outcome afterwards."""

    audit: Audit | None
    clock: Callable[[], float]

    def around(self, sent: Sequence[_Sent], engine: str, call: CallContext) -> _Crossing:
        """Return a context manager around a call of an engine; call the function it yields once the answers are there.

        Entering raises `AuditError` if the entry cannot be written: nothing is sent then.
        """
        return _Crossing(self, sent, engine, call)


class _Crossing:
    """The egresses of one call: written down before the call, with their outcome after it."""

    __slots__ = ("_call", "_engine", "_journal", "_leaving", "_outcome", "_sent")

    def __init__(self, journal: _Journal, sent: Sequence[_Sent], engine: str, call: CallContext) -> None:
        self._journal, self._sent, self._engine, self._call = journal, sent, engine, call
        self._leaving: list[Egress] = []
        self._outcome = NOT_SENT

    async def __aenter__(self) -> Callable[[], None]:
        audit, call = self._journal.audit, self._call
        try:
            for sent in self._sent:
                egress = sent.egress(self._engine, call, audit)
                self._leaving.append(egress)
                call.left(egress)
            if audit is not None:  # all of them share a write and a sync, with those of other callers
                now = self._journal.clock()
                await side_by_side(
                    audit.append(audit_egress(sent, call, time=now), sync=True) for sent in self._leaving
                )
            for sent in self._sent:
                call.decided(sent.verdict)
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise
        self._outcome = "cancelled"
        return self._answered

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        announced = self._outcome != NOT_SENT
        if isinstance(error, Exception) and announced:
            alone = len(self._leaving) == 1  # of several, others may have been sent
            unsent = alone and _stayed_here(error)
            self._outcome = NOT_SENT if unsent else getattr(error, "code", type(error).__name__)
        leaving = [replace(sent, outcome=self._outcome) for sent in self._leaving]
        for done in leaving:
            self._call.left(done)
        audit = self._journal.audit
        if audit is not None and self._call.outgoing is None and announced:
            entry = audit_outcome(leaving, self._call, time=self._journal.clock())
            await to_the_end(audit.append(entry, sync=True))

    def _answered(self) -> None:
        self._outcome = "answered"


def _stayed_here(error: Exception) -> bool:
    """Return whether an engine's error means that no attempt left: no connection, or a paused engine."""
    tries = (error, *error.failures) if isinstance(error, EngineError | Overloaded) else ()
    return bool(tries) and not any(attempt.sent for attempt in tries)


@dataclass(frozen=True, kw_only=True)
class _Judge:
    """Judges each prompt for one model."""

    policy: Policy
    detector: Detector
    name: str
    model: RemoteModel | McpSection
    clean: KnownTexts[bool] = field(default_factory=lambda: KnownTexts(_MOST_KNOWN))
    """Instructions in which nothing was found: many prompts share them."""

    async def judge(self, prompt: Prompt, call: CallContext) -> _Sent:
        """Return what may be sent for a prompt. Raises `EgressRefused`, and writes the refusal down."""
        texts = texts_of_prompt(prompt)
        searched = self._searched(prompt, texts, call)
        to_search = [text for text in texts if searched.get(text) != ()]  # what is left beside pseudonyms, too
        try:
            size = AT_ONCE + 1 if worth_a_thread(self.detector, to_search) else sum(map(len, texts))
            return await aside(size, partial(self._judge, prompt, texts, searched, call))
        except EgressRefused as refusal:
            call.decided(refusal.verdict)
            raise

    def _searched(self, prompt: Prompt, texts: Sequence[str], call: CallContext) -> dict[str, tuple[PersonalData, ...]]:
        """Return the findings in texts that the detector has searched before: instructions, and the caller's own."""
        searched: dict[str, tuple[PersonalData, ...]] = {
            text: () for text in _instructions(prompt) if self.clean.get(call.principal.tenant, text)
        }
        if call.sent is not None:
            findings = ((text, call.sent.found(self.detector, text)) for text in texts)
            searched |= {text: personal_data for text, personal_data in findings if personal_data is not None}
        return searched

    def _judge(
        self, prompt: Prompt, texts: Sequence[str], searched: Mapping[str, tuple[PersonalData, ...]], call: CallContext
    ) -> _Sent:
        look = Look.at(self.detector, texts, searched=searched)
        ours = _instructions(prompt)
        for text, personal_data in zip(look.texts, look.found, strict=True):
            if not personal_data and text in ours and text not in searched:
                self.clean.put(call.principal.tenant, text, result=True)
        seen = look.sighting(ignore=call.sent.has if call.released and call.sent is not None else None)
        label = max(Label(prompt.label), seen.label)
        verdict = self._ask(label)
        if verdict.allowed is True:
            return _Sent(prompt=prompt, label=label, verdict=verdict)
        label_without_pii = max(prompt.label_without_pii or Label(prompt.label), seen.label_without_pii)
        allowing = self._ask(label_without_pii)
        if prompt.verbatim is not None or not self.model.pseudonymise or allowing.allowed is not True:
            raise _refused(_with_cause(verdict, prompt, seen), self.name)
        try:
            # Who may see the text that a value stands in may see the value.
            pseudonyms = call.pseudonyms or SessionPseudonyms()
            hidden = disguise(prompt, self.detector, pseudonyms, label=label_without_pii, look=look)
        except (Undisguisable, TooManyValues) as trouble:
            reason = _with_cause(verdict, prompt, seen).reason
            reason = reason.noting(Reason("note.no_pseudonyms", why=str(trouble)))
            raise _refused(replace(verdict, reason=reason), self.name) from None
        return _Sent(
            prompt=hidden.prompt,
            label=label_without_pii,
            verdict=replace(
                allowing,
                rule=PSEUDONYMISED,
                reason=Reason("egress.pseudonymised", allowing.reason, hidden=str(hidden)),
            ),
            restorer=_restorer(hidden, call, as_json=prompt.json_schema is not None),
        )

    def _ask(self, label: Label) -> Verdict:
        # The configuration's clearance, not the engine's: nobody changes that one.
        return self.policy.judge(Flow(destination=self.name, label=label, clearance=self.model.clearance))


def _instructions(prompt: Prompt) -> list[str]:
    """Return the texts of a prompt that many prompts share."""
    ours = [message.text for message in prompt.messages if message.role == "system"]
    return [text for text in (prompt.instruction, *ours) if text and len(text) <= _LONGEST_KNOWN]


class _GatedEngine:
    """A remote engine that receives only prompts within the policy and the limits.

    While the engine is awaited, other requests may use the request's worker slot.
    """

    def __init__(
        self,
        engine: Any,  # noqa: ANN401 - each has what its caller asks of it
        judge: _Judge,
        journal: _Journal,
        limits: StoredLimits | None,
    ) -> None:
        self.name = engine.name
        self.clearance = engine.clearance
        self._engine = engine
        self._judge, self._journal = judge, journal
        self._limits = limits or StoredLimits({}, Path())

    async def run(self, batch: Sequence[Prompt], *, call: CallContext) -> Sequence[Output]:
        """Return one answer a prompt, with its verdict. Raises `EgressRefused` if one is refused, sending nothing."""
        prompts = tuple(batch)  # what is judged is what is sent
        sent = [await self._judge.judge(prompt, call) for prompt in prompts]
        prompts = tuple(sent_prompt.prompt for sent_prompt in sent)
        async with (
            self._limits.held(prompts, self._judge.model, self.name, call) as held,
            self._journal.around(sent, self.name, call) as answered,
        ):
            inner = replace(call, before_retry=held.before_retry)
            async with call.release_slot():
                held.outputs = outputs = await self._engine.run(held.prompts, call=inner)
            answered()
        return [_read(output, sent_prompt) for output, sent_prompt in zip(outputs, sent, strict=True)]

    async def stream(self, prompt: Prompt, *, call: CallContext) -> AsyncIterator[Delta | Output]:
        """Yield pieces as they arrive, then the answer with its verdict. Raises `EgressRefused` before any sending.

        If a stream breaks off, text that might have become a pseudonym is not yielded.
        """
        sent = await self._judge.judge(prompt, call)
        restorer = sent.restorer
        async with (
            self._limits.held([sent.prompt], self._judge.model, self.name, call) as held,
            self._journal.around([sent], self.name, call) as answered,
        ):
            inner = replace(call, before_retry=held.before_retry)
            pieces = self._engine.stream(held.prompts[0], call=inner)  # closing it ends the request
            async with call.release_slot(), aclosing(pieces) as events:
                async for event in events:
                    if isinstance(event, Output):
                        held.outputs = [event]
                        answered()
                        if restorer is not None and (rest := restorer.end()):
                            yield Delta(text=rest)
                        yield _read(event, sent)
                    elif restorer is None:
                        yield event
                    elif text := restorer.feed(event.text):
                        yield Delta(text=text)

    async def relay(
        self, prompt: Prompt, *, path: str, call: CallContext
    ) -> AsyncGenerator[RelayHead | bytes | Output, None]:
        """Relay a verbatim request and its answer. Raises `EgressRefused` before sending: it has no pseudonyms."""
        sent = await self._judge.judge(prompt, call)
        async with (
            self._limits.held([sent.prompt], self._judge.model, self.name, call) as held,
            self._journal.around([sent], self.name, call) as answered,
        ):
            pieces = self._engine.relay(sent.prompt, path=path, call=call)
            async with call.release_slot(), aclosing(pieces) as events:
                async for event in events:
                    if isinstance(event, Output):
                        held.outputs = [event]
                        answered()
                        event = replace(event, verdict=sent.verdict)  # noqa: PLW2901 - the same with why it may
                    yield event

    async def load(self) -> None:
        """Have the server load its adapters, if it has any: nothing of a request is sent for that."""
        if (load := getattr(self._engine, "load", None)) is not None:
            await load()

    async def close(self) -> None:
        await self._engine.close()


def leaves(engine: object) -> bool:
    """Return whether an engine is behind the gate: its prompts may leave this machine, and cost money."""
    return isinstance(engine, _GatedEngine)


@dataclass(frozen=True, kw_only=True)
class McpServer:
    """The tools of an MCP server, behind the gate. Implements `protocols.FunctionServer`, and `close`."""

    server: McpEngine
    engine: _GatedEngine
    detector: Detector
    label: Label

    @property
    def name(self) -> str:
        """`mcp:` and the key of its section."""
        return self.server.name

    async def functions(self) -> Sequence[Function]:
        """Return the callable tools with valid parameters. Nothing of a request is sent for that."""
        functions_ = []
        for tool in await self.server.tools():
            with suppress(InputError):
                functions_.append(function_of(**tool))
        return functions_

    async def call(
        self, about: FunctionCall, *, label: Label, label_without_pii: Label | None, call: CallContext
    ) -> FunctionResult:
        """Return the result of a call, labelled by its content."""
        text = json.dumps({"name": about.name, "arguments": about.arguments}, ensure_ascii=False)
        prompt = Prompt(text=text, label=label, label_without_pii=label_without_pii, max_tokens=1)
        (output,) = await self.engine.run([prompt], call=call)
        result = output.text
        seen, suspected = await aside(
            len(result), lambda: (sight(self.detector, [result]), suspect([result], f"a result of {self.name}"))
        )
        return FunctionResult(
            text=result,
            label=max(self.label, seen.label),
            label_without_pii=max(self.label, seen.label_without_pii),
            usage=output.usage,
            verdicts=(*([output.verdict] if output.verdict is not None else []), *suspected),
        )

    async def close(self) -> None:
        """Close the connection."""
        await self.server.close()


def _restorer(hidden: Disguised, call: CallContext, *, as_json: bool) -> Restorer | None:
    """Return a restorer for values of this prompt that the principal may see; it ignores invented pseudonyms."""
    shown = {value.name: value for value in hidden.values if call.knows(value)}
    for pseudonym in tuple(
        shown.values()
    ):  # of a person who is named in another form only, that is how the model names them
        shown.setdefault((pseudonym.kind, pseudonym.number, 0), pseudonym)
    if not shown:
        return None
    return Restorer(lambda *name: shown.get(name), {kind for kind, *_ in shown}, as_json=as_json)


def _read(output: Output, sent: _Sent) -> Output:
    text = output.text if sent.restorer is None else sent.restorer.whole(output.text)
    return replace(output, text=text, verdict=sent.verdict)


def _with_cause(verdict: Verdict, prompt: Prompt, seen: Sighting) -> Verdict:
    """Return a refusal with its cause, if personal data is the cause."""
    if seen.label <= prompt.label:
        return verdict
    cause = Reason("note.personal_data", label=prompt.label.value, found=str(seen))
    return replace(verdict, reason=verdict.reason.noting(cause))


def _refused(verdict: Verdict, name: str) -> EgressRefused:
    return EgressRefused(
        verdict,
        hint=f"Raise `clearance` of model {name!r} in coterie.toml, let it have pseudonyms in place of personal data "
        "(`pseudonymise = true`), or keep such requests local.",
    )


# --- The one rule of the egress gate: nothing goes where its label is above the clearance.


class ClearancePolicy:
    """Allows a flow whose label does not exceed the destination's clearance."""

    RULE = "egress.clearance"

    def judge(self, flow: Flow) -> Verdict:
        """Return whether a flow is allowed, and why."""
        label, clearance = Label(flow.label), Label(flow.clearance)
        allowed = label <= clearance
        code = "egress.within_clearance" if allowed else "egress.above_clearance"
        reason = Reason(code, label=label.value, destination=flow.destination, clearance=clearance.value)
        return Verdict(allowed=allowed, rule=self.RULE, reason=reason)

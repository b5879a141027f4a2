"""A network: the pipeline with default components, and operations other than requests, such as a relayed call.

A request for one model alone is passed through verbatim, and is budgeted, judged, audited and settled like any other.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, nullcontext
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from threading import Lock
from time import perf_counter
from time import time as wall_clock
from typing import Any, Protocol

from coterie.config.operation import DecisionsSection
from coterie.decisions.deciding import Decider, ZeroShot
from coterie.generalist.collaboration import DocumentReading
from coterie.generalist.reading import default_reader
from coterie.governance.audit import audit_request
from coterie.governance.pseudonyms import PseudonymBook
from coterie.limits.memory import request_allowance
from coterie.logs.exchanges import read_question
from coterie.network.admission import Admission, Inspected
from coterie.network.gathering import SecretFinder
from coterie.network.pipeline import Pipeline
from coterie.policy.cost_quality import CostQualityPolicy
from coterie.privacy.detection import Detector
from coterie.privacy.patterns import PatternDetector
from coterie.protocols import Audit, Engine, Flywheel, Limits, Meter, Overhead, Retriever, Specialist, Store, TurnModel
from coterie.runtime.caches import KnownTexts
from coterie.runtime.codec import each_once, replace
from coterie.runtime.concurrency import aside, to_the_end
from coterie.types import (
    EGRESS_IN_STREAM,
    NOT_SENT,
    Answer,
    CallContext,
    Context,
    Finding,
    Label,
    Message,
    Output,
    Principal,
    Prompt,
    Reason,
    RelayHead,
    ReleaseSlot,
    Request,
    Route,
    Settlement,
    Step,
    Trace,
    Usage,
    note_egress,
    summarise_egress,
    total_usage,
)

_END = b"[DONE]"
"""The end of a stream: clients read no further."""
_FAILED = 400
_ROLES = ("system", "developer", "user", "assistant", "tool")
_FIELDS = ("model", "messages", "role", "content", "input", "prompt", "type", "text")
_SETTINGS = ("stream", "max_tokens", "max_completion_tokens", "temperature", "top_p", "n", "seed", "stop")
_STRUCTURE = frozenset((*_ROLES, *_FIELDS, *_SETTINGS))
"""Names that the interfaces themselves use in a body. Any other name is inspected like a text."""
_WISHES: Mapping[str, Sequence[str]] = {
    "/chat/completions": ("max_completion_tokens", "max_tokens"),
    "/completions": ("max_tokens",),
    "/messages": ("max_tokens",),
    "/responses": ("max_output_tokens",),
}
"""By path, the parameters that limit an answer's length; those of another API limit nothing."""
_LONGEST: Mapping[str, int] = {
    **dict.fromkeys(("/embeddings", "/rerank", "/score", "/messages/count_tokens"), 0),
    **dict.fromkeys(("/decisions", "/systemone"), 256),
}
"""By path, the most tokens that count as written for an answer that is not text."""


@dataclass(frozen=True, kw_only=True)
class RelayModel:
    """A model that can be called directly."""

    engine: Any
    """The engine, which has `relay`; one outside this process is behind the egress gate."""
    name: str
    """The model's name on its server."""
    window: int
    local: bool = False
    """Whether the model runs in this process: its prompts need not be verbatim."""


@dataclass(frozen=True, kw_only=True)
class Relayed:
    """A request for one model."""

    model: str
    """The `[models]` key."""
    path: str
    """Path below the server's `/v1`, such as `/chat/completions`."""
    body: bytes
    content: dict[str, Any]
    """The body, parsed."""
    principal: Principal
    label: Label | None = None
    """Label of the request; None for the network's default."""
    budget: Decimal | None = None
    """Money per 1,000 such requests: this request may cost a thousandth of it."""
    release_slot: ReleaseSlot = nullcontext
    """Context that is entered while a remote model is awaited."""
    schema: Mapping[str, Any] | None = None
    """Schema that constrains a model in this process, as `structured.schema.decodable` returns it."""
    on_settled: Callable[[Trace], None] = lambda _: None
    """Called with the trace once the request is settled, also if it failed or its caller left."""


@dataclass(frozen=True, kw_only=True)
class RelayAnswer:
    """An answer of a settled request, which the gateway writes in its own format.

    In `relay` it is the answer of a deployment in place of the model's, and then the only event.
    """

    text: str
    trace: Trace
    called: bool = False
    """Whether the text consists of function calls."""
    cut: bool = False
    """Whether the text ends at the length limit."""


class RelayingNetwork(Protocol):
    """The parts of a network that a relayed request needs."""

    store: Store
    meter: Meter
    audit: Audit | None
    limits: Limits | None
    default_label: Label
    flywheel: Flywheel | None

    def clock(self) -> float:
        """Return seconds since the epoch."""


@dataclass(kw_only=True)
class _Course:
    """The state of one relayed request."""

    trace_id: str
    admitted: float
    relayed: Relayed
    label: Label
    call: CallContext
    start: float = field(default_factory=perf_counter)
    answer: bytearray = field(default_factory=bytearray)
    usage: Usage | None = None
    status: int = 200
    held: list[RelayHead | bytes] = field(default_factory=list)
    """A whole answer, or the end of a stream, which is passed on once the request is settled."""
    settled: bool = False
    finding: Finding | None = None
    """The finding of a deployment that answered."""
    cost: Decimal | None = None

    def passes(self, event: RelayHead | bytes | Output) -> bool:
        """Record an event of the model; return whether the caller may have it at once.

        The event that completes an answer waits: a whole answer, or the end of a stream, after which clients read no
        further.
        """
        if isinstance(event, Output):
            self.usage = event.usage
            return False
        if isinstance(event, RelayHead):
            self.status, completes = event.status, bool(event.body)
            self.answer += event.body
        else:
            completes = event.rstrip().endswith(_END)
            self.answer += event
        if self.held or completes:
            self.held.append(event)
            return False
        return True

    def shown(self, event: RelayHead | bytes) -> RelayHead | bytes:
        """Return the event to pass on: a head lists the egresses, and their outcomes if known."""
        if not isinstance(event, RelayHead):
            return event
        left = (self.call.outgoing or {}).values()
        return replace(
            event,
            egress=summarise_egress(
                crossing if crossing.sent else replace(crossing, outcome=EGRESS_IN_STREAM) for crossing in left
            ),
        )

    @property
    def milliseconds(self) -> float:
        """Milliseconds since the request began."""
        return (perf_counter() - self.start) * 1000


async def relay(
    network: RelayingNetwork, model: RelayModel, relayed: Relayed, *, trace_id: str
) -> AsyncGenerator[RelayHead | RelayAnswer | bytes]:
    """Yield the model's output as it arrives, ending once it is settled; or the answer of the flywheel's deployment.

    Raises:
        EgressRefused: the request is too sensitive for the model; verbatim requests cannot have pseudonyms.
        BudgetExceeded: a budget of the principal has too little left.
        EngineError, Overloaded: the model cannot be called.
    """
    label = network.default_label if relayed.label is None else relayed.label
    call = CallContext(
        principal=relayed.principal,
        egress=[],
        outgoing={},
        limits=() if relayed.budget is None else (request_allowance(relayed.budget),),
        trace=trace_id,
        release_slot=relayed.release_slot,
    )
    course = _Course(trace_id=trace_id, admitted=network.clock(), relayed=relayed, label=label, call=call)
    prompt = await aside(len(relayed.body), lambda: _prompt(relayed, model, label))
    reserved = () if network.limits is None else await network.limits.admit(relayed.principal)
    try:
        entered = _entered(network, course)
        deployed = await _deployed(network, course, entered)
        if deployed is not None:
            yield deployed
        else:
            async with aclosing(model.engine.relay(prompt, path=relayed.path, call=call)) as events:
                async for event in events:
                    if course.passes(event):
                        yield course.shown(event)
            await _settle(network, course)
            _leave(network, entered, course)
    except (asyncio.CancelledError, GeneratorExit, Exception) as error:
        note_egress(error, call.outgoing, trace=trace_id if call.egress or call.outgoing else "")
        if (call.egress or call.outgoing) and not course.settled:  # what may have left is recorded however it ended
            await to_the_end(_settle(network, course))
        raise
    finally:
        if network.limits is not None and reserved:
            await to_the_end(network.limits.settle(reserved, course.usage))
    for event in course.held:
        yield course.shown(event)


async def _deployed(network: RelayingNetwork, course: _Course, entered: Any) -> RelayAnswer | None:  # noqa: ANN401
    """Return the settled answer of a deployment; None if the model is to answer."""
    if entered is None or network.flywheel is None:
        return None
    course.finding = await network.flywheel.answer(entered, call=course.call)
    if course.finding is None:
        return None
    course.usage = total_usage(step.usage for step in course.finding.steps)
    trace = await _settle(network, course)
    _leave(network, entered, course)
    return RelayAnswer(text=answer_text(course.finding), trace=trace)


def _entered(network: RelayingNetwork, course: _Course) -> Any:  # noqa: ANN401 - the flywheel's own
    """Return the flywheel's handling of a request; None for nothing."""
    relayed = course.relayed
    if network.flywheel is None or relayed.schema is not None:
        return None
    return network.flywheel.enter(
        trace_id=course.trace_id,
        time=course.admitted,
        path=relayed.path,
        content=relayed.content,
        model=relayed.model,
        principal=relayed.principal,
        label=course.label,
    )


def _leave(network: RelayingNetwork, entered: Any, course: _Course) -> None:  # noqa: ANN401 - the flywheel's own
    """Give the answer to the flywheel."""
    if entered is None or network.flywheel is None:
        return
    body = bytes(course.answer) if course.finding is None else answer_text(course.finding)
    network.flywheel.leave(
        entered,
        body,
        model=course.relayed.model if course.finding is None else "",
        cost=None if course.cost is None else float(course.cost),
        milliseconds=course.milliseconds,
        failed=course.status >= _FAILED,
    )


def answer_text(finding: Finding) -> str:
    """Return the answer that a caller of a model gets: the value as a model would write it."""
    return finding.value if isinstance(finding.value, str) and finding.value else finding.text


def _prompt(relayed: Relayed, model: RelayModel, label: Label) -> Prompt:
    """Return the request as a prompt, with every text in a field that the gate inspects."""
    named = relayed.content.get("model")
    texts = list[str]()
    _collect(relayed.content, texts)
    body = relayed.body
    if not model.local and named != model.name:
        body = with_model(body, model.name)
    messages = tuple([Message(role="user", text=text) for text in dict.fromkeys(texts) if text != named])
    answers, wishes = _answers(relayed), _wishes(relayed)
    longest = min(max(wishes, default=_LONGEST.get(relayed.path, model.window)), model.window)
    return Prompt(
        verbatim=body,
        messages=messages,
        label=label,
        max_tokens=longest * answers,
        unbounded=0 if wishes or relayed.path in _LONGEST else answers,
        json_schema=relayed.schema,
    )


def _wishes(relayed: Relayed) -> list[int]:
    """Return the length limits that a request states."""
    limits = [relayed.content.get(name) for name in _WISHES.get(relayed.path, ())]
    return [limit for limit in limits if isinstance(limit, int) and limit > 0]


def _answers(relayed: Relayed) -> int:
    """Return how many answers a request may produce: for each prompt, as many as requested."""
    content = relayed.content
    times = [number for name in ("n", "best_of") if isinstance(number := content.get(name), int)]
    prompts = content.get("prompt") if relayed.path == "/completions" else None
    several = len(prompts) if isinstance(prompts, list) and not all(isinstance(item, int) for item in prompts) else 1
    return max([1, *times]) * max(1, several)


def _collect(value: object, texts: list[str]) -> None:
    """Add every text of a JSON value, names included; a number may be an account number, so it counts as text."""
    if isinstance(value, str):
        if value not in _STRUCTURE:
            texts.append(value)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in _STRUCTURE:
                texts.append(name)
            _collect(item, texts)
    elif isinstance(value, list):
        for item in value:
            _collect(item, texts)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        texts.append(str(value))


def read_body(body: bytes) -> dict[str, Any]:
    """The JSON object of a body. Raises `ValueError` if it is none or has a name twice."""
    content = _decoder.decode(body.decode(json.detect_encoding(body), "surrogatepass"))  # as `json.loads` does
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - a wrong body, not a mistake in our code
    return content


_decoder = json.JSONDecoder(object_pairs_hook=each_once)


def with_model(body: bytes, name: str) -> bytes:
    """Return the body with another value of its own `model`, and no other byte changed."""
    text, decoder = body.decode(), json.JSONDecoder()
    at = text.index("{") + 1
    while (at := _skip(text, at)) < len(text) and text[at] != "}":
        at += text[at] == ","
        key, at = decoder.raw_decode(text, _skip(text, at))
        start = _skip(text, _skip(text, at) + 1)
        _, at = decoder.raw_decode(text, start)
        if key == "model":
            return (text[:start] + json.dumps(name) + text[at:]).encode()
    raise ValueError("it names no model")


def _skip(text: str, at: int) -> int:
    """Return the next position that is not white space."""
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


async def _settle(network: RelayingNetwork, course: _Course) -> Trace:
    """Write ledger, trace and audit entry, even if cancelled. Raises what the store or the log raises."""
    course.settled = True
    relayed, name = course.relayed, course.relayed.model
    findings = () if course.finding is None else (course.finding,)
    steps = tuple(map(network.meter.price, findings[0].steps)) if findings else _step_of(network, course)
    text, answer = relayed.body.decode("utf-8", "replace"), course.answer.decode("utf-8", "replace")
    key, tenant = relayed.principal.key, relayed.principal.tenant
    request = Request(text=text, tenant=tenant, key=key, clearance=relayed.principal.clearance, label=course.label)
    question, reply = request, answer
    if findings:  # the least that the model would have read and written: texts without the form around them
        question = replace(request, text="\n".join(read_question(relayed.content) or (text,)))
        reply = answer_text(findings[0])
    verdicts = tuple(course.call.egress or ())
    outgoing = tuple((course.call.outgoing or {}).values())
    unasked = not findings and (
        all(crossing.outcome == NOT_SENT for crossing in outgoing) if outgoing else bool(verdicts)
    )
    steps = () if unasked else steps
    usage = replace(total_usage(step.usage for step in steps), milliseconds=(perf_counter() - course.start) * 1000)
    counterfactual = network.meter.counterfactual(question, reply, steps, named=name)
    if outgoing and not findings and usage.cost is not None:
        counterfactual = usage.cost  # it was this model's own turn: an outage, too, saves nothing
    trace = Trace(
        id=course.trace_id,
        time=course.admitted,
        tenant=tenant,
        session=None,
        label=course.label,
        status="accepted" if findings else "abstained" if unasked else "escalated",
        route=Route(parts=(), reason=_why(course)),
        findings=findings,
        views=(),
        verdicts=verdicts,
        egress=outgoing,
        stages=(),
        steps=steps,
        usage=usage,
        counterfactual_cost=counterfactual,
    )
    course.cost = trace.usage.cost
    settlement = Settlement(trace=trace, texts=(text,))
    if network.audit is None:
        await to_the_end(network.store.settle(settlement))
    else:
        entry = audit_request(trace, request, answer, cards={}, digest=network.audit.digest)
        await network.store.record(settlement, entry, network.audit)
    relayed.on_settled(trace)
    return trace


def _step_of(network: RelayingNetwork, course: _Course) -> tuple[Step, ...]:
    """Return the single call of a relayed request; the usage of a call that was cut off is unknown."""
    name = course.relayed.model
    if course.usage is None:
        usage = Usage(milliseconds=(perf_counter() - course.start) * 1000, cost=None)
        return (Step(producer=name, engine=name, usage=usage, note="cut off"),)
    return (network.meter.price(Step(producer=name, engine=name, usage=course.usage, note="relayed")),)


def _why(course: _Course) -> Reason:
    """Return which model or deployment answered, and for which model."""
    if course.finding is None:
        return Reason("route.relayed", model=course.relayed.model)
    return Reason("route.deployed", specialist=course.finding.specialist, model=course.relayed.model)


# --- A network: the pipeline with default components, and operations other than requests.

_BYTES, _BLOCK = 10, 256
"""Random bytes of one id, and the number of ids whose bytes are requested from the system at once."""
_TIMES = (1 << 48) - 1


class RandomIds:
    """Makes ids of 32 hexadecimal digits: milliseconds since the epoch, and 80 random bits.

    Ids of one moment have the same prefix, so their rows lie side by side in every tree of the store: sixteen
    requests of one commit change 46 pages, and 134 with unordered ids. Each system call releases the
    interpreter's lock, for which an event loop then waits: so many ids are requested at once. A forked process
    makes other ids than its parent.
    """

    def __init__(self, clock: Callable[[], float] = wall_clock) -> None:
        self._clock = clock
        self._lock, self._left, self._process = Lock(), b"", 0

    def new(self) -> str:
        """Return a new id."""
        with self._lock:
            if not self._left or self._process != os.getpid():
                self._left, self._process = os.urandom(_BYTES * _BLOCK), os.getpid()
            random_bytes, self._left = self._left[:_BYTES], self._left[_BYTES:]
        return f"{int(self._clock() * 1000) & _TIMES:012x}{random_bytes.hex()}"


_MOST_LOOKED = 8192
"""Most texts, of all tenants together, whose findings are cached."""


@dataclass(kw_only=True)
class Network(Pipeline):
    """Specialists with a router before them, a store behind them and, optionally, a generalist above them.

    Build one with `coterie.open_network(folder)`, or from your own implementations of the protocols.
    """

    encoder: Engine
    knowledge: Mapping[str, Retriever] = field(default_factory=dict)
    """Indexes by their `[knowledge]` key; closed with the network."""
    generalist: Specialist | None = None
    reader: Specialist | None = None
    """Reads the documents that requests bring; None for the bundled reader."""
    untrained: Sequence[str] = ()
    """Configured specialists without a version: the others answer, and a request that names one of these fails."""
    escalate_out_of_scope: bool = False
    default_label: Label = Label.INTERNAL
    language: str = "en"
    """Language of a request whose own cannot be detected."""
    name: str = "network"
    engines: Sequence[Engine] = ()
    """Engines that are closed with the network."""
    models: Mapping[str, RelayModel] = field(default_factory=dict)
    """Models that can be called directly, by `[models]` key."""
    audit: Audit | None = None
    """Audit log of each request; closed with the network."""
    limits: Limits | None = None
    """Limits on spending; closed with the network."""
    detector: Detector = field(default_factory=PatternDetector)
    """Finds the personal data and the secrets that raise a request's label."""
    pseudonyms: PseudonymBook = field(default_factory=PseudonymBook)
    """Pseudonyms of each session, for engines that see pseudonyms only."""
    overhead: Overhead | None = None
    deciding: DecisionsSection = field(default_factory=DecisionsSection)
    """Settings of typed questions."""
    zero_shot: Mapping[str, ZeroShot] = field(default_factory=dict)
    """Models that answer typed questions without training, by `[models]` key, beside the encoder."""
    deciding_encoders: tuple[Engine, ...] = ()
    """Encoders that score choices without training; empty for the network's own encoder alone."""
    turns: TurnModel | None = None
    """Distinguishes follow-ups from self-contained questions; None if the package has no model for the encoder."""
    policy: CostQualityPolicy = field(default_factory=CostQualityPolicy)
    flywheel: Flywheel | None = None
    """Captures calls, and answers for deployments; closed with the network. None does neither."""
    clock: Callable[[], float] = wall_clock
    new_id: Callable[[], str] = field(default_factory=lambda: RandomIds().new)

    async def ask(self, request: Request, *, trace_id: str | None = None) -> Answer:
        """Return the whole answer at once. Raises what `stream` raises."""
        return (await self.whole(request, trace_id=trace_id)).answer

    async def prepare(self, request: Request) -> tuple[Request, Context]:
        """Return a request in the self-contained form that the router gets, and its context.

        Nothing is asked and nothing is written down. Raises `InputError` if the request cannot be served.
        """
        admitted = await self.admission.prepare(request, now=self.clock())
        question, _, _ = await self.admission.rewrite(admitted.request, admitted.context, call=admitted.call)
        return question, admitted.context

    async def embed(self, texts: Sequence[str], *, states: bool = False, call: CallContext) -> Sequence[Output]:
        """Return one vector a text, from the encoder of router and specialists, with token `states` on request."""
        return await self.encoder.run([Prompt(text=text, states=states) for text in texts], call=call)

    def relay(
        self, relayed: Relayed, *, trace_id: str | None = None
    ) -> AsyncGenerator[RelayHead | RelayAnswer | bytes]:
        """Call one model verbatim and yield its output as it arrives. See `network.relaying.relay`."""
        return relay(self, self.models[relayed.model], relayed, trace_id=trace_id or self.new_id())

    async def close(self) -> None:
        """Finish the store's queue and free engines and files, each even if another one fails."""
        async with AsyncExitStack() as last_first:
            if self.audit is not None:
                last_first.push_async_callback(self.audit.close)  # what the store's thread wrote there is in it
            last_first.push_async_callback(self.store.close)
            if self.flywheel is not None:
                last_first.push_async_callback(self.flywheel.close)
            if self.limits is not None:
                last_first.push_async_callback(self.limits.close)
            for engine in reversed(self.engines):
                last_first.push_async_callback(engine.close)
            for index in self.knowledge.values():
                last_first.push_async_callback(index.close)

    @property
    def admission(self) -> Admission:
        """The components that requests are admitted with."""
        return Admission(
            specialists=self.specialists,
            untrained=self.untrained,
            knowledge=self.knowledge,
            store=self.store,
            default_label=self.default_label,
            language=self.language,
            detector=self.detector,
            pseudonyms=self.pseudonyms,
            policy=self.policy,
            encoder=self.encoder,
            turns=self.turns,
            audit=self.audit,
            looked=self.looked,
        )

    @cached_property
    def looked(self) -> KnownTexts[Inspected]:
        """The cache of detector findings in earlier texts, separate for each tenant."""
        return KnownTexts(_MOST_LOOKED)

    @cached_property
    def secrets(self) -> SecretFinder:
        """Finds secrets in passages, and caches the result."""
        return SecretFinder(self.detector)

    @cached_property
    def decider(self) -> Decider:
        """Answers typed questions, and caches the options that it has encoded."""
        return Decider(
            specialists=self.specialists,
            encoder=self.encoder,
            section=self.deciding,
            models=self.zero_shot,
            choosing=self.deciding_encoders,
            flywheel=self.flywheel,
        )

    def inherit(self, before: Network) -> None:
        """Take over what the replaced network learnt from requests and holds in memory alone."""
        if self.deciding.adapt and before.deciding.adapt:
            self.decider.inherit(before.decider)

    @property
    def documents(self) -> DocumentReading:
        """The reader of documents that requests bring."""
        return DocumentReading(self.reader or self._own_reader)

    @cached_property
    def _own_reader(self) -> Specialist:
        return default_reader(self.encoder)

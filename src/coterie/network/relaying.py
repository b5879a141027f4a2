"""A request for one model alone: passed through verbatim, and budgeted, judged, audited and settled like any other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field
from decimal import Decimal
from time import perf_counter
from typing import Any, Protocol

from coterie.governance.audit_events import audit_request
from coterie.limits.memory import request_allowance
from coterie.logs.exchanges import read_question
from coterie.protocols import Audit, Flywheel, Limits, Meter, Store
from coterie.runtime.codec import each_once, replace
from coterie.runtime.concurrency import aside, to_the_end
from coterie.types import (
    EGRESS_IN_STREAM,
    NOT_SENT,
    CallContext,
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
        usage=replace(total_usage(step.usage for step in steps), milliseconds=(perf_counter() - course.start) * 1000),
        counterfactual_cost=network.meter.counterfactual(question, reply, steps, named=name),
    )
    course.cost = trace.usage.cost
    settlement = Settlement(trace=trace, texts=(text,))
    if network.audit is None:
        await to_the_end(network.store.settle(settlement))
    else:
        entry = audit_request(trace, request, answer, cards={}, digest=network.audit.digest)
        await network.store.record(settlement, entry, network.audit)
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

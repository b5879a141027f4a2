"""Contract checks of the protocols. Unlike `assert`, `require` works under `python -O` too."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal
from itertools import count, pairwise, product
from typing import cast

import numpy as np

from coterie.errors import NotIndexed
from coterie.knowledge.documents import Chunk, DocumentIndex, IndexedDocument
from coterie.privacy.detection import Detector
from coterie.protocols import (
    Engine,
    FlywheelStore,
    Meter,
    Policy,
    Retriever,
    Router,
    SpeakingSpecialist,
    Specialist,
    Store,
    StreamingEngine,
)
from coterie.types import (
    SYSTEM,
    AuditEvent,
    CapturedExample,
    ComparedAnswer,
    Content,
    Context,
    ContextView,
    Delta,
    Entry,
    Fact,
    Feedback,
    Finding,
    FindingSummary,
    Flow,
    FlywheelChanged,
    FlywheelRecord,
    GivenLabel,
    Label,
    Message,
    Output,
    Part,
    Passage,
    Prompt,
    Reason,
    Request,
    Retraction,
    Route,
    Settlement,
    SpecialistCard,
    Stage,
    Status,
    Step,
    Task,
    Trace,
    Usage,
    Verdict,
    worded,
)


def require(clause: str, holds: object) -> None:
    """Raise `AssertionError` with the clause unless it holds."""
    if not holds:
        raise AssertionError(clause)


def check_usage(usage: Usage) -> None:
    """Check that no figure is negative."""
    figures = {
        "tokens_in": usage.tokens_in,
        "tokens_out": usage.tokens_out,
        "milliseconds": usage.milliseconds,
        "cpu_seconds": usage.cpu_seconds,
        "joules": usage.joules,
        "cost": usage.cost or 0,
    }
    for name, value in figures.items():
        require(f"usage.{name} is not negative: {value!r}", value >= 0)


def check_step(step: Step) -> None:
    """Check that a step names producer and engine and has a valid usage."""
    require("a step names its producer and its engine", step.producer and step.engine)
    check_usage(step.usage)


def check_output(output: Output) -> None:
    """Check an output of any engine: type, shapes, finite numbers, usage."""
    require(f"an output is an Output, not {type(output).__name__}", isinstance(output, Output))
    for name, array in (("vector", output.vector), ("scores", output.scores)):
        if array is not None:
            wanted = 2 if name == "scores" and output.offsets is not None else 1  # a tagger's, a row a token
            require(f"{name} has {wanted} dimensions, not {array.ndim}", array.ndim == wanted)
            require(f"{name} has no NaN", (array == array).all())  # noqa: PLR0124 - only NaN differs from itself
    check_usage(output.usage)


# --- What every router, retriever and policy must do.


async def check_router(router: Router, request: Request | None = None, context: Context | None = None) -> None:
    """Check the clauses of `protocols.Router` with one request, routed twice.

    Args:
        router: Any router.
        request: Request to route; whether a specialist fits does not matter.
        context: The context; empty by default.
    """
    request = request or Request(text="my card was stolen, and does clause 7 let me end the loan?")
    context = context or Context()
    require("it has `route`", isinstance(router, Router))
    route = await router.route(request, context, call=SYSTEM)
    _check_route(route)
    again = await router.route(request, context, call=SYSTEM)
    require("the same request has the same route", again.specialists == route.specialists)


def _is_reason(reason: object) -> bool:
    """Return whether an object is a reason with a code and words."""
    return isinstance(reason, Reason) and bool(reason.code and str(reason).strip())


def _check_route(route: Route) -> None:
    require(f"it gives a Route, not {type(route).__name__}", isinstance(route, Route))
    require("a route says why, also when it asks nobody", _is_reason(route.reason))
    for part in route.parts:
        require("a part names whom it asks; a route for nobody has no parts", part.specialists)
        require("a part has no empty stage", all(part.stages))
        require("nobody is asked twice about one part", len(set(part.specialists)) == len(part.specialists))
        require(f"a part's score is from 0 to 1: {part.score!r}", 0.0 <= part.score <= 1.0)
        require("a part has text", part.text.strip())
    for name, score in route.scores.items():
        require(f"the score of {name!r} is from 0 to 1: {score!r}", 0.0 <= score <= 1.0)
    for step in route.steps:
        check_step(step)


async def check_retriever(retriever: Retriever, query: str, *, k: int = 5) -> None:
    """Check the clauses of `protocols.Retriever` with one query at every clearance."""
    require("it has `search`", isinstance(retriever, Retriever))
    for clearance in Label:
        passages = list(await retriever.search(query, k=k, clearance=clearance, call=SYSTEM))
        require(f"at most {k} passages are asked for, {len(passages)} come", len(passages) <= k)
        scores = [passage.score for passage in passages]
        require(f"the best comes first: {scores}", scores == sorted(scores, reverse=True))
        for passage in passages:
            _check_passage(passage, clearance)


def _check_passage(passage: Passage, clearance: Label) -> None:
    require(
        f"nothing above the clearance {clearance.value!r} is found, not even {passage.label.value!r}",
        passage.label <= clearance,
    )
    require("a passage names its document", passage.document)
    offsets = f"{passage.start}:{passage.end}"
    require(f"offsets {offsets} span the passage's text", passage.end - passage.start == len(passage.text))
    require(f"offsets {offsets} are not negative", passage.start >= 0)


async def check_policy(policy: Policy) -> None:
    """Check the clauses of `protocols.Policy` for every label and clearance."""
    require("it has `judge`", isinstance(policy, Policy))
    for label, clearance in product(Label, Label):
        flow = Flow(destination="somewhere", label=label, clearance=clearance)
        verdict = policy.judge(flow)
        require(f"it gives a Verdict, not {type(verdict).__name__}", isinstance(verdict, Verdict))
        require("a verdict is allowed or not, a bool", isinstance(verdict.allowed, bool))
        require("a verdict names its rule", verdict.rule)
        require("a verdict says why", _is_reason(verdict.reason))
        require("the same flow gives the same verdict", policy.judge(flow) == verdict)


# --- The contract of a detector of personal data.

ODD_TEXTS = (
    "",
    " \n\t ",
    "\x00\ud800\u202e\ufeff",
    "👩‍👩‍👧 wrote to anna@example.org",
    "Anna Kowalska, 14 High Street, Leeds, +44 20 7946 0958, 4111 1111 1111 1111.",
    "a" * 5_000,
    "1 " * 2_500,
    "İSTANBUL ß ﬁ e\u0301",
)
"""Difficult texts for detectors: empty, lone surrogates, joined emoji, letters that change length with case."""


async def check_detector(detector: Detector) -> None:
    """Check that spans are valid, ordered and disjoint, scores are probabilities, and results equal in threads."""
    alone = [detector.find(text) for text in ODD_TEXTS]
    for text, personal_data in zip(ODD_TEXTS, alone, strict=True):
        require(f"what is found is a tuple, not {type(personal_data).__name__}", isinstance(personal_data, tuple))
        for item in personal_data:
            require(f"it is in the text of {len(text)} characters: {item}", 0 <= item.start < item.end <= len(text))
            require(f"a score is a chance: {item.score}", 0 <= item.score <= 1)
            require(f"it has a kind: {item}", item.kind)
        for one, other in pairwise(personal_data):
            require(f"finds are in order and apart: {one}, {other}", one.end <= other.start)
    beside = await asyncio.gather(*(asyncio.to_thread(detector.find, text) for text in ODD_TEXTS))
    require("several threads find what one finds", list(beside) == alone)


# --- What every engine must do.

_NOTICEABLE = 0.1
"""Seconds of a call within which the event loop must have run."""


async def check_engine(engine: Engine, *, prompts: Sequence[Prompt] | None = None) -> None:
    """Check the clauses of `protocols.Engine`, and close the engine.

    Args:
        engine: An engine that can answer at least eight prompts.
        prompts: Two or more prompts that it can answer; short texts, also as messages, by default.
    """
    prompts = prompts or [_prompt("hello there"), _prompt("where is my card?"), _prompt("goodbye")]
    _check_description(engine)
    require("an empty batch gives no outputs", list(await engine.run([], call=SYSTEM)) == [])
    together = list(await _without_blocking(engine, prompts))
    require(f"{len(prompts)} prompts give as many outputs, not {len(together)}", len(together) == len(prompts))
    for output in together:
        check_output(output)
    if any(output.vector is not None or output.scores is not None for output in together):
        for prompt, output in zip(prompts, together, strict=True):
            (alone,) = await engine.run([prompt], call=SYSTEM)
            require("outputs come in the order of the prompts, whoever shares the batch", _close(alone, output))
    await engine.close()
    await engine.close()  # a second call does nothing


async def check_streaming_engine(engine: StreamingEngine, *, prompt: Prompt | None = None) -> None:
    """Check the clauses of `protocols.StreamingEngine` beyond those of `Engine`; the engine stays open.

    Args:
        engine: An engine that can answer at least four prompts.
        prompt: Prompt whose answer has several pieces; a short request by default.
    """
    prompt = prompt or _prompt("Tell me a story about a lighthouse, in a few words.")
    require("it has `stream` and all that an Engine has", isinstance(engine, StreamingEngine))
    pieces, output = await _read(engine, prompt)
    require(f"the deltas together are the text: {pieces!r}, {output.text!r}", "".join(pieces) == output.text)
    require("a delta has text", all(pieces))
    check_output(output)
    async with aclosing(_stream(engine, prompt)) as events:
        async for _ in events:
            break  # closing early must neither hang nor spoil the engine
    (first, one), (second, two) = await asyncio.gather(_read(engine, prompt), _read(engine, prompt))
    for parts, ended in ((first, one), (second, two)):
        require("streams that run at once do not mix", "".join(parts) == ended.text)


async def check_choices(engine: Engine, *, prompt: Prompt) -> None:
    """Check that an engine scores choices as `types.Prompt` says; the engine stays open.

    Args:
        engine: An engine that can answer at least three prompts.
        prompt: Prompt with two choices or more.
    """
    (output,) = await engine.run([prompt], call=SYSTEM)
    check_output(output)
    scores = output.scores
    require("a prompt with choices has scores", scores is not None)
    scores = np.asarray(scores)
    wanted = (len(prompt.choices),)
    require(f"there is a score a choice: {scores.shape}, not {wanted}", scores.shape == wanted)
    require(f"a score is the log of a probability: {scores}", np.isfinite(scores).all() and (scores <= 1e-6).all())
    require(
        "the choices, each with its end, exclude each other: together they have at most all the probability",
        np.exp(scores).sum() <= 1 + 1e-6,
    )
    require("nothing is generated", output.text == "")
    turned = replace(prompt, choices=prompt.choices[::-1])
    (again,) = await engine.run([turned], call=SYSTEM)
    require("scores come in the order of the choices", np.allclose(np.asarray(again.scores)[::-1], scores, atol=0.3))
    (alone,) = await engine.run([replace(prompt, choices=prompt.choices[:1])], call=SYSTEM)
    require("a single choice has a score too", np.asarray(alone.scores).shape == (1,))


def _check_description(engine: Engine) -> None:
    require("it has name, clearance, run and close", isinstance(engine, Engine))
    require("its name is a string, not empty", isinstance(engine.name, str) and engine.name)
    require("its clearance is a Label", isinstance(engine.clearance, Label))


async def _without_blocking(engine: Engine, prompts: Sequence[Prompt]) -> Sequence[Output]:
    """Return the outputs, and check that the event loop was not blocked."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.005)
            turns += 1

    counter = asyncio.create_task(count())
    start = time.perf_counter()
    try:
        outputs = await engine.run(prompts, call=SYSTEM)
    finally:
        took = time.perf_counter() - start
        counter.cancel()
    require(f"a call of {took:.2f} s lets the event loop go on meanwhile", took < _NOTICEABLE or turns > 0)
    return outputs


async def _read(engine: StreamingEngine, prompt: Prompt) -> tuple[list[str], Output]:
    """Return the pieces of a stream and its final output."""
    events = [event async for event in engine.stream(prompt, call=SYSTEM)]
    outputs = [event for event in events if isinstance(event, Output)]
    require(f"a stream has one Output, not {len(outputs)}", len(outputs) == 1)
    require("the Output is the last of a stream", events[-1] is outputs[0])
    require("before the Output there are only deltas", all(isinstance(event, Delta) for event in events[:-1]))
    return [event.text for event in events if isinstance(event, Delta)], outputs[0]


def _stream(engine: StreamingEngine, prompt: Prompt) -> AsyncGenerator[Delta | Output, None]:
    return cast("AsyncGenerator[Delta | Output, None]", engine.stream(prompt, call=SYSTEM))


def _close(a: Output, b: Output) -> bool:
    """Return whether two outputs are equal up to rounding."""
    pairs = ((a.vector, b.vector), (a.scores, b.scores))
    return all(
        (x is None and y is None) or (x is not None and y is not None and np.allclose(x, y, atol=1e-3))
        for x, y in pairs
    )


def _prompt(text: str) -> Prompt:
    return Prompt(text=text, messages=(Message(role="user", text=text),), max_tokens=24)


# --- What every meter and store must do.


async def check_meter(meter: Meter, step: Step | None = None) -> None:
    """Check the clauses of `protocols.Meter`.

    Args:
        meter: Any meter.
        step: Step to price; one of an unknown engine by default.
    """
    step = step or Step(
        producer="triage", engine="onnx", usage=Usage(tokens_in=12, milliseconds=2.0, cpu_seconds=0.002)
    )
    require("it has `price` and `counterfactual`", isinstance(meter, Meter))
    priced = meter.price(step)
    filled = {"joules": 0.0, "joules_kind": "estimated", "cost": None}
    require(
        "pricing fills joules, their kind and the cost, and changes nothing else",
        replace(priced, usage=replace(priced.usage, **filled)) == replace(step, usage=replace(step.usage, **filled)),  # type: ignore[arg-type]
    )
    check_usage(priced.usage)
    require("a cost is a Decimal, or None when it is unknown", isinstance(priced.usage.cost, Decimal | None))
    require("the same step has the same price", meter.price(step) == priced)
    would = meter.counterfactual(Request(text="Where is my card?"), "It is on its way.")
    require("the counterfactual is a Decimal, or None when it is unknown", isinstance(would, Decimal | None))
    require(f"the counterfactual is not negative: {would}", would is None or would >= 0)


async def check_store(factory: Callable[[], Awaitable[Store]]) -> None:
    """Check the clauses of `protocols.Store`.

    Args:
        factory: Opens a store. The first one must be empty; each call opens the data of the last.
    """
    store = await factory()
    parts = "settle, context, sessions, erase, trace, feedback, summary and close"
    require(f"it has {parts}", isinstance(store, Store))
    require("an empty store has no requests", (await store.summary()).requests == 0)
    await _check_sessions(store)
    await _check_traces(store)
    await _check_feedback(store)
    await _check_summary(store)
    await _check_erasure(store)
    await store.close()
    await store.close()  # a second call does nothing
    reopened = await factory()
    try:
        await _check_survival(reopened)
    finally:
        await reopened.close()


_TIME = 1_700_000_000.0


async def _check_sessions(store: Store) -> None:
    require("an unknown session is empty", await store.context("s1", "acme") == Context())
    entry = _entry(Message(role="user", text="hello"), "user")
    fact = _entry(Fact(name="intent", value="greeting", confidence=0.9), "triage")
    await store.settle(Settlement(trace=_trace("t1", session="s1"), entries=(entry,)))
    await store.settle(Settlement(trace=_trace("t2", session="s1", status="abstained"), entries=(fact,)))
    context = await store.context("s1", "acme")
    require("a session's entries come back as they were, oldest first", context.entries == (entry, fact))
    require("the whole is the same where it is short", await store.context("s1", "acme", whole=True) == context)
    require("another tenant's session is empty", await store.context("s1", "other") == Context())
    await _check_kinds(store)
    await _check_list(store)


async def _check_kinds(store: Store) -> None:
    """Check that every kind of content is restored unchanged."""
    passage = Passage(document="d", start=0, end=2, text="so", score=0.5, label=Label.PUBLIC, index="help")
    summary = FindingSummary(
        specialist="triage", task="classify", form="label", text="greeting", confidence=0.9, accepted=True
    )
    entries = tuple(_entry(content, "triage") for content in (passage, summary, Retraction(name="intent")))
    await store.settle(Settlement(trace=_trace("k1", session="kinds", time=_TIME + 10), entries=entries))
    kept = (await store.context("kinds", "acme")).entries
    require("passages, findings and retractions come back as they were", kept == entries)


async def _check_list(store: Store) -> None:
    (last, first) = await store.sessions("acme")
    require("sessions are listed, the one used last first", (last.id, first.id) == ("kinds", "s1"))
    require("with their turns and entries", (first.turns, first.entries) == (1, 2))
    require("with when they began and were used", (first.began, first.used) == (_TIME, _TIME))
    require("with their most sensitive label", first.label is Label.INTERNAL)
    require("another tenant's are not", not await store.sessions("other"))


async def _check_erasure(store: Store) -> None:
    before = await store.summary()
    require("another tenant erases nothing", not await store.erase("kinds", "other"))
    require("an unknown session cannot be erased", not await store.erase("nope", "acme"))
    require("a session can be erased", await store.erase("kinds", "acme"))
    require("then it is empty", await store.context("kinds", "acme") == Context())
    require("and not listed", [session.id for session in await store.sessions("acme")] == ["s1"])
    trace = await store.trace("k1", "acme")
    require("its traces stay, without its name", trace is not None and trace.session is None)
    require("the ledger stays as it was", await store.summary() == before)
    require("it cannot be erased again", not await store.erase("kinds", "acme"))


async def _check_traces(store: Store) -> None:
    trace = await store.trace("t1", "acme")
    require("a settled trace comes back", trace is not None)
    if trace is not None:
        _check_same(trace, _trace("t1", session="s1"))
    require("an unknown trace is None", await store.trace("nope", "acme") is None)
    require("another tenant's trace is None", await store.trace("t1", "other") is None)


def _check_same(returned: Trace, settled: Trace) -> None:
    """Check that two traces are equal, except for texts, which a store may drop."""
    for name in ("id", "time", "tenant", "session", "label", "status", "stages", "steps", "usage"):
        was, now = getattr(settled, name), getattr(returned, name)
        require(f"a trace keeps its {name}: {was!r}, not {now!r}", was == now)
    require("a trace keeps its unknown costs", returned.counterfactual_cost == settled.counterfactual_cost)
    require("a trace keeps the route's specialists", returned.route.specialists == settled.route.specialists)
    for finding, other in zip(returned.findings, settled.findings, strict=True):
        for name in ("specialist", "confidence", "accepted", "reason"):
            require(f"a finding keeps its {name}", getattr(finding, name) == getattr(other, name))


async def _check_feedback(store: Store) -> None:
    feedback = Feedback(trace_id="t1", tenant="acme", time=_TIME, thumb="up")
    require("feedback on a trace is kept", await store.feedback(feedback))
    require("so is what the same caller says next", await store.feedback(replace(feedback, thumb="down", comment="no")))
    require("there is none on an unknown trace", not await store.feedback(replace(feedback, trace_id="nope")))
    require("nor on another tenant's", not await store.feedback(replace(feedback, tenant="other")))


async def _check_summary(store: Store) -> None:
    settlement, log = Settlement(trace=_trace("t3", time=_TIME + 100, status="escalated", cost=None)), _Log()
    entry = AuditEvent(kind="request", time=_TIME + 100, tenant="acme", about={"trace": "t3"})
    recording = asyncio.ensure_future(store.record(settlement, entry, log))
    await asyncio.sleep(0)
    recording.cancel()  # what was begun is finished, and who was cancelled hears of that afterwards
    await asyncio.wait([recording])
    require("what is settled with an entry of the audit log is written in both", log.entries == [entry])
    summary = await store.summary()
    counts = (summary.requests, summary.accepted, summary.abstained, summary.escalated)
    require(f"a summary counts requests by how they ended: {counts}", counts == (4, 2, 1, 1))
    require("one unknown cost makes the sum unknown", summary.cost is None)
    require("joules add up", abs(summary.joules - 4.0) < 1e-9)
    require("latencies are the middle and the slow end", (summary.p50_ms or 0) <= (summary.p95_ms or 0))
    late = await store.summary(since=_TIME + 100)
    require(f"a summary since a time counts what came at it or after: {late.requests}", late.requests == 1)
    by_day = await store.ledger(by="day")
    counted = (by_day.total.requests, sum(row.requests for row in by_day.rows), by_day.total.unpriced)
    require(f"the ledger adds up, what has no price counted apart: {counted}", counted == (4, 4, 1))
    early = await store.summary(since=_TIME + 100.001)
    require("a summary of nothing has no latency", early.requests == 0 and early.p50_ms is None)


async def _check_survival(store: Store) -> None:
    require("what was settled is there after the store was closed", (await store.summary()).requests == 4)
    require("so is a session", len((await store.context("s1", "acme")).entries) == 2)
    require("so is a trace", await store.trace("t3", "acme") is not None)


class _Log:
    """An audit log in memory. Implements `protocols.Audit`."""

    def __init__(self) -> None:
        self.entries: list[AuditEvent] = []

    async def append(self, event: AuditEvent, *, sync: bool = False) -> None:  # noqa: ARG002 - the protocol's argument
        self.entries.append(event)

    def append_soon(self, events: Sequence[AuditEvent]) -> None:
        self.entries.extend(events)

    def sync_soon(self) -> None:
        pass

    def digest(self, text: str) -> str:
        return f"<{len(text)}>"

    async def close(self) -> None:
        pass


def _entry(content: Content, producer: str) -> Entry:
    return Entry(content=content, producer=producer, label=Label.INTERNAL, time=_TIME)


def _trace(
    trace_id: str,
    *,
    session: str | None = None,
    time: float = _TIME,
    status: Status = "accepted",
    cost: Decimal | None = Decimal("0.000125"),
) -> Trace:
    usage = Usage(tokens_in=7, milliseconds=3.5, cpu_seconds=0.003, joules=1.0, cost=cost)
    finding = Finding(
        specialist="triage",
        value="greeting",
        text="greeting",
        confidence=0.9,
        accepted=status == "accepted",
        reason=worded("0.90 is above the threshold of 0.50"),
    )
    return Trace(
        id=trace_id,
        time=time,
        tenant="acme",
        session=session,
        label=Label.CONFIDENTIAL,
        status=status,
        route=Route(parts=(Part(text="hello", stages=(("triage",),), score=0.8),), reason=worded("it is a greeting")),
        findings=(finding,),
        views=(),
        verdicts=(),
        stages=(Stage(name="route", milliseconds=1.0),),
        steps=(Step(producer="triage", engine="onnx", usage=usage),),
        usage=usage,
        counterfactual_cost=None,
    )


# --- What every specialist must do.


async def check_specialist(specialist: Specialist, task: Task, view: ContextView | None = None) -> None:
    """Check the clauses of `protocols.Specialist` and, if it streams, of `SpeakingSpecialist`.

    Args:
        specialist: It is consulted once and, if it streams, streamed once.
        task: Task of its kind; whether it answers or abstains does not matter.
        view: What it may see of the context; nothing by default.
    """
    view = view or ContextView()
    require("it has a card and can be consulted", isinstance(specialist, Specialist))
    _check_card(specialist.card)
    _check_finding(await specialist.consult(task, view, call=SYSTEM), specialist.card, task)
    if isinstance(specialist, SpeakingSpecialist):
        await _check_speaking(specialist, task, view)


def _check_card(card: SpecialistCard) -> None:
    require("its card is a SpecialistCard", isinstance(card, SpecialistCard))
    require("its card has a name", card.name)
    require("its card has a version: a content hash or the checksum of its model", card.version)


def _check_finding(finding: Finding, card: SpecialistCard, task: Task) -> None:
    require(f"it gives a Finding, not {type(finding).__name__}", isinstance(finding, Finding))
    require(f"the finding names who found it: {finding.specialist!r}", finding.specialist == card.name)
    require(f"confidence is from 0 to 1: {finding.confidence!r}", 0.0 <= finding.confidence <= 1.0)
    require("accepted or not, the finding says why", _is_reason(finding.reason))
    require(
        "an accepted finding has a value and a text",
        not finding.accepted or (finding.value is not None and finding.text),
    )
    require("the finding's label is at least the task's", finding.label >= task.label)
    unannounced = {fact.name for fact in finding.facts} - set(card.writes)
    require(f"it writes only the facts its card names, not {sorted(unannounced)}", not unannounced)
    for fact in finding.facts:
        require(f"a fact's confidence is from 0 to 1: {fact.confidence!r}", 0.0 <= fact.confidence <= 1.0)
    for step in finding.steps:
        check_step(step)


async def _check_speaking(specialist: SpeakingSpecialist, task: Task, view: ContextView) -> None:
    events = [event async for event in specialist.speak(task, view, call=SYSTEM)]
    findings = [event for event in events if isinstance(event, Finding)]
    require(f"speaking ends with one Finding, not {len(findings)}", len(findings) == 1)
    require("the Finding is the last", events[-1] is findings[0])
    (finding,) = findings
    _check_finding(finding, specialist.card, task)
    spoken = "".join(event.text for event in events if isinstance(event, Delta))
    if finding.accepted:
        require(f"the deltas together are the finding's text: {spoken!r}, {finding.text!r}", spoken == finding.text)
    else:
        require(f"who abstains has said nothing before: {spoken!r}", not spoken)


# --- The contract check of an index of documents (`DocumentIndex`).

MakeIndex = Callable[[], Awaitable[DocumentIndex]]

ODD_QUERIES: tuple[str, ...] = (
    "",
    "   \n\t",
    "?!… --- ((",
    "the of and",
    "\0",
    "late \ud800 fee",
    "日本語 🎉 ça va?",
    "late:* & !fee | (<-> 'payment",
    '+late -"fee payment"~2 body:[a TO *] OR AND NOT \\',
    "'; DROP TABLE documents; --",
    "%s %(x)s {} {chunks}",
    "late " * 20_000,
    "x" * 100_000,
)
"""Queries that must not raise an error; their results are not checked."""

_LATE = "A late payment costs a fee of ten euros."
_LOAN = "The loan is paid back over forty-eight months."
_WORDS = "Ärger 🎉🎉 with the naïve café: 日本語 e\u0301 and more words about the deposit."


FOUND_BY: tuple[tuple[str, str], ...] = (
    ("Der Kaffee im Café Müller ist heiß.", "CAFE MULLER"),
    ("A re\u0301sume\u0301 is enclosed with the letter.", "résumé"),
    ("The \ufb01nancing of \uff46\uff4c\uff41\uff54\uff53 was refused.", "finance flats"),
    ("押金为两个月的租金。", "租金"),
    ("営業時間は午前九時からです", "午前"),
    ("สวัสดีครับทุกคน", "ครับ"),
    ("\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd \u05e8\u05d1", "\u05e9\u05dc\u05d5\u05dd"),
    (
        "\u0627\u0644\u0645\u064e\u0628\u0652\u0644\u064e\u063a \u0645\u0633\u062a\u062d\u0642",
        "\u0627\u0644\u0645\u0628\u0644\u063a",
    ),
    ("The landlord/tenant clause is in schedule-b.pdf of archive.example.org.", "tenant"),
    ("Write to billing@example.org or https://example.org/kestrel/form.html", "kestrel"),
    ("Version 4.17 of the firmware (AX-2091) is current.", "2091"),
    ("Who was it that did this to them?", "who did this"),
    ("The intere\u00adsts accrue daily on 62 m².", "interest m2"),
)
"""Texts, each with a query that has its words in another spelling and no words of the other texts."""


async def check_index(make_index: MakeIndex, *, dimension: int = 384) -> None:
    """Check the clauses of `knowledge.documents.DocumentIndex`, and of `protocols.Retriever` for its results.

    Args:
        make_index: Opens an index. The first one must be empty; each call opens the data of the last.
        dimension: Length D of the vectors of its encoder.
    """
    index = await make_index()
    bench = _Bench(index, dimension)
    try:
        require("it has documents, update, text, search and close", isinstance(index, DocumentIndex))
        for check in (_check_empty, _check_passages, _check_words, _check_replacing, _check_visibility, _check_hidden):
            await check(bench)
            await bench.clear()
        for check in (_check_odd_queries, _check_failing, _check_one_state):
            await check(bench)
            await bench.clear()
        await index.update([bench.document("loan", _LOAN)])
    finally:
        await index.close()
    await index.close()  # a second call does nothing
    await _check_index_survival(make_index)


class _Bench:
    """An index with documents and queries for it. The vector of a text is drawn from its hash."""

    def __init__(self, index: DocumentIndex, dimension: int) -> None:
        self.index, self.dimension = index, dimension

    def document(
        self,
        name: str,
        *texts: str,
        label: Label = Label.INTERNAL,
        tenant: str | None = None,
        vector_of: str | None = None,
    ) -> IndexedDocument:
        """Make a document with a chunk, a heading and a page for each text."""
        ends = np.cumsum([len(text) + 1 for text in texts]).tolist()
        chunks = tuple(
            Chunk(start=end - 1 - len(text), end=end - 1, heading=f"Part {i} > {name}", page=i)
            for i, (text, end) in enumerate(zip(texts, ends, strict=True), start=1)
        )
        body = "".join(f"{text}\n" for text in texts)
        return IndexedDocument(
            name=name,
            sha256=hashlib.sha256(body.encode()).hexdigest(),
            text=body,
            label=label,
            tenant=tenant,
            chunks=chunks,
            vectors=np.array([self.vector(vector_of or text) for text in texts], np.float32).reshape(
                -1, self.dimension
            ),
        )

    def vector(self, text: str) -> np.ndarray:
        """Return the unit vector (D,) of a text."""
        seed = int.from_bytes(hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:8])
        drawn = np.random.default_rng(seed).normal(size=self.dimension)
        return (drawn / np.linalg.norm(drawn)).astype(np.float32)

    async def ask(
        self, query: str, *, k: int = 20, clearance: Label = Label.INTERNAL, tenant: str = "default"
    ) -> Sequence[Passage]:
        """Search with the vector of the query."""
        vector = self.vector(query)
        return await self.index.search(query, k=k, clearance=clearance, tenant=tenant, vector=vector)

    async def state(self) -> tuple[object, ...]:
        """Return everything that a reader can observe of the index."""
        passages_by_query = [
            await self.ask(query, clearance=Label.RESTRICTED) for query in ("late payment fee", "loan")
        ]
        return dict(await self.index.documents()), [
            [_essence(passage) for passage in passages] for passages in passages_by_query
        ]

    async def clear(self) -> None:
        """Remove all documents."""
        await self.index.update([], list(await self.index.documents()))
        require("an index whose documents are all removed is empty", not await self.index.documents())


async def _check_empty(bench: _Bench) -> None:
    require("a new index has no documents", dict(await bench.index.documents()) == {})
    try:
        require("nothing is found in a new index", list(await bench.ask("late payment")) == [])
    except NotIndexed as error:
        require("a new index says how it is filled", "coterie index" in error.hint)
    await bench.index.update([])
    require("nothing is found on an empty index", list(await bench.ask("late payment")) == [])
    nothing = await bench.index.text("loan", 0, 10, clearance=Label.RESTRICTED)
    require("the text of a document that is not there is None", nothing is None)
    await bench.index.update([], ["loan", "late"])
    require("removing what is not there does nothing", dict(await bench.index.documents()) == {})


async def _check_passages(bench: _Bench) -> None:
    documents = [bench.document("late.md", _LATE, _LOAN), bench.document("ç/日本.txt", _WORDS), bench.document("none")]
    await bench.index.update(documents)
    by_name = {document.name: document for document in documents}
    sums = {name: document.sha256 for name, document in by_name.items()}
    require("documents are known by name and sha256", dict(await bench.index.documents()) == sums)
    for query, name in (("late fee", "late.md"), ("deposit café", "ç/日本.txt")):
        passages = await bench.ask(query)
        require(f"{query!r} finds the document that has these words first", passages and passages[0].document == name)
        require(f"all three passages are found where {len(passages)} are", len(passages) == 3)
        for passage in passages:
            _check_quote(passage, by_name[passage.document])
        require(
            "one passage is asked for, the best comes", _places(await bench.ask(query, k=1)) == _places(passages[:1])
        )
        await check_retriever(bench.index, query, k=2)
    within = await bench.index.search("late", k=50, clearance=Label.INTERNAL, document="late.md")
    chunks = by_name["late.md"].chunks
    require(
        "a named document is searched alone, every chunk of it is found",
        {passage.document for passage in within} == {"late.md"} and len(within) == len(chunks),
    )
    for passage in within:
        _check_quote(passage, by_name["late.md"])
    unseen = await bench.index.search("late", k=50, clearance=Label.INTERNAL, document="no such document")
    require("of a document that is not there nothing is found", not unseen)
    (nearest,) = await bench.index.search("zzz", k=1, clearance=Label.INTERNAL, vector=bench.vector(_LOAN))
    require("without a word in common, the passage with the nearest vector is the best", nearest.text == _LOAN)
    await _check_text(bench, by_name["ç/日本.txt"])


async def _check_words(bench: _Bench) -> None:
    """Check that each text is found by its own words, in every script and whatever its vector."""
    await bench.index.update([bench.document(f"w{i}", text) for i, (text, _) in enumerate(FOUND_BY)])
    for i, (text, query) in enumerate(FOUND_BY):
        passages = await bench.ask(query)
        require(
            f"{query!r} finds the text with these words first: {text!r}", passages and passages[0].document == f"w{i}"
        )


def _check_quote(passage: Passage, document: IndexedDocument) -> None:
    """Check that a passage has the text of its document at its offsets."""
    quoted = document.text[passage.start : passage.end]
    require(f"a passage is its document's text at its offsets: {passage.text!r}, {quoted!r}", passage.text == quoted)
    chunk = next((chunk for chunk in document.chunks if chunk.start == passage.start), None)
    require("a passage is one of the document's chunks", chunk is not None and chunk.end == passage.end)
    if chunk is not None:
        require(f"it has the chunk's heading: {passage.heading!r}", passage.heading == chunk.heading)
        require(f"it has the chunk's page: {passage.page!r}", passage.page == chunk.page)
    require(f"it has the document's label: {passage.label!r}", passage.label is document.label)


async def _check_text(bench: _Bench, document: IndexedDocument) -> None:
    length = len(document.text)
    for start, end in ((0, 5), (6, 8), (3, length), (10, length + 100), (length, length + 1), (7, 7)):
        text = await bench.index.text(document.name, start, end, clearance=Label.INTERNAL)
        require(f"text({start}, {end}) is text[{start}:{end}], not {text!r}", text == document.text[start:end])


async def _check_replacing(bench: _Bench) -> None:
    await bench.index.update([bench.document("a", _LATE), bench.document("b", _LOAN), bench.document("c", _WORDS)])
    newer = bench.document("a", _LOAN, "Deposits are insured.")
    await bench.index.update([newer, bench.document("d", "New.")], ["b", "nobody"])
    names = {"a", "c", "d"}
    require("a document of the same name is replaced", (await bench.index.documents())["a"] == newer.sha256)
    require("those named in `remove` are gone, the others stay", set(await bench.index.documents()) == names)
    passages = await bench.ask("late fee loan deposits")
    require("the old passages are gone with their documents", _LATE not in {passage.text for passage in passages})
    require(
        "each new passage is there once", len(passages) == 4 and len(_places(passages)) == len(set(_places(passages)))
    )
    gone = await bench.index.text("b", 0, 5, clearance=Label.RESTRICTED)
    require("so is the text of a document that was removed", gone is None)
    higher = bench.document("a", _LATE, label=Label.RESTRICTED)
    await bench.index.update([higher])
    passages = await bench.ask("late fee")
    require("a document that got a higher label is hidden", "a" not in {passage.document for passage in passages})


async def _check_visibility(bench: _Bench) -> None:
    """Check that each caller finds all documents that it may see, and no others, for every label and tenant."""
    kinds = {f"{label}-{tenant}": (label, tenant) for label, tenant in product(Label, (None, "acme", "other"))}
    await bench.index.update(
        [bench.document(name, f"{_LATE} {name}", label=label, tenant=tenant) for name, (label, tenant) in kinds.items()]
    )
    require("tenants with documents of their own are named", await bench.index.tenants() == {"acme", "other"})
    for clearance, tenant in product(Label, ("default", "acme")):
        may = {name for name, (label, owner) in kinds.items() if label <= clearance and owner in {None, tenant}}
        for query in ("late payment fee", "zzz", " ".join(kinds)):
            documents = {passage.document for passage in await bench.ask(query, clearance=clearance, tenant=tenant)}
            who = f"{tenant!r} with clearance {clearance.value!r}"
            require(f"{who} finds {sorted(may)}, not {sorted(documents)}", documents == may)
        listed = set(await bench.index.documents(clearance=clearance, tenant=tenant))
        require(f"{who} is told of {sorted(may)}, not {sorted(listed)}", listed == may)
        for name in kinds:
            text = await bench.index.text(name, 0, 6, clearance=clearance, tenant=tenant)
            require(f"{who} may read {name!r} if it may find it: {text!r}", (text is not None) == (name in may))


async def _check_hidden(bench: _Bench) -> None:
    """Check that hidden documents change no visible result, whatever their text."""
    visible = [bench.document(f"v{i}", f"{_LATE} Paragraph {i}.", f"{_LOAN} {'fee ' * i}") for i in range(5)]
    await bench.index.update([*visible, bench.document("w", _WORDS)])
    queries = ("late payment fee", "loan months fee", "deposit", "zzz", _LATE)
    before = [await bench.ask(query, k=8) for query in queries]
    hidden = [
        bench.document(f"h{i}", f"{query} {_LATE} fee {i}", label=label, tenant=tenant, vector_of=query)
        for i, (query, (label, tenant)) in enumerate(
            product(queries, ((Label.RESTRICTED, None), (Label.CONFIDENTIAL, None), (Label.PUBLIC, "other")))
        )
    ]
    await bench.index.update(hidden)
    for query, was in zip(queries, before, strict=True):
        now = await bench.ask(query, k=8)
        require(f"what is hidden changes no passage and no order for {query!r}", _places(now) == _places(was))
        same = np.allclose([passage.score for passage in now], [passage.score for passage in was], rtol=1e-9, atol=0)
        require(f"what is hidden changes no score for {query!r}", same)


async def _check_odd_queries(bench: _Bench) -> None:
    await bench.index.update([bench.document("late", _LATE), bench.document("secret", _LOAN, label=Label.RESTRICTED)])
    before = await bench.state()
    for query in ODD_QUERIES:
        for passages in (await bench.ask(query, k=3), await bench.index.search(query, k=3, clearance=Label.INTERNAL)):
            named = {passage.document for passage in passages}
            require(f"{query[:40]!r} finds only what may be seen: {named}", named <= {"late"} and len(passages) <= 3)
    require("nothing that is asked changes the index", await bench.state() == before)


class _Torn(IndexedDocument):
    """A document that raises an error when its attributes are read for the n-th time."""

    def __getattribute__(self, name: str) -> object:
        value = object.__getattribute__(self, name)
        if (
            name in IndexedDocument.__dataclass_fields__
            and next(object.__getattribute__(self, "_reads")) == _Torn.fails_at
        ):
            raise OSError("torn")
        return value

    fails_at = 0


async def _check_failing(bench: _Bench) -> None:
    """Check that an update that fails changes nothing: at the first, second ... read, until one succeeds."""
    await bench.index.update([bench.document("late", _LATE), bench.document("loan", _LOAN)])
    before = await bench.state()
    for n in count(1):
        torn = _torn(bench.document("torn", _LATE, _LOAN), fails_at=n)
        try:
            await bench.index.update([bench.document("late", _WORDS), torn, bench.document("more", _LATE)], ["loan"])
        except Exception:  # noqa: BLE001 - which one is the index's affair
            require("an update that fails leaves the old state", await bench.state() == before)
        else:
            break
    require("an update reads the documents it is given", n > 1)
    require(
        "an update can be tried again after it failed", set(await bench.index.documents()) == {"late", "torn", "more"}
    )


def _torn(document: IndexedDocument, *, fails_at: int) -> IndexedDocument:
    _Torn.fails_at = 0
    torn = object.__new__(_Torn)
    object.__setattr__(torn, "_reads", count(1))
    for name in IndexedDocument.__dataclass_fields__:
        object.__setattr__(torn, name, getattr(document, name))
    _Torn.fails_at = fails_at
    return torn


async def _check_one_state(bench: _Bench) -> None:
    """Check that two documents are replaced together: a concurrent search finds both old or both new ones."""

    def version(number: int) -> list[IndexedDocument]:
        return [bench.document(name, f"{_LATE} This is version {number}.") for name in ("left", "right")]

    async def replace() -> None:
        for number in range(1, _VERSIONS):
            await bench.index.update(version(number))

    await bench.index.update(version(0))
    writer = asyncio.ensure_future(replace())
    try:
        while not writer.done():
            for passages in await asyncio.gather(*(bench.ask("late payment") for _ in range(3))):
                texts = {passage.text for passage in passages}
                require(
                    f"a search sees one state of the index, not {sorted(texts)}", len(passages) == 2 and len(texts) == 1
                )
    finally:
        await writer
    (left, right) = await bench.ask("late payment")
    last = f"version {_VERSIONS - 1}."
    require("the last update is seen when it is done", left.text.endswith(last) and right.text.endswith(last))


_VERSIONS = 12


async def _check_index_survival(make_index: MakeIndex) -> None:
    index = await make_index()
    try:
        require("what was put is there after the index was closed", set(await index.documents()) == {"loan"})
        (passage,) = await index.search("loan", k=3, clearance=Label.INTERNAL)
        require("and is found", passage.text == _LOAN)
    finally:
        await index.close()


def _places(passages: Sequence[Passage]) -> list[tuple[str, int]]:
    return [(passage.document, passage.start) for passage in passages]


def _essence(passage: Passage) -> tuple[object, ...]:
    return passage.document, passage.start, passage.text, round(passage.score, 9)


# --- The flywheel's store.


def example(number: int, **changes: object) -> CapturedExample:
    """Return an example whose every field has a distinct value."""
    made = CapturedExample(
        id=f"e{number:04d}",
        request=f"r{number}",
        time=_TIME + number,
        tenant="acme",
        label=Label.CONFIDENTIAL,
        prompt=(("system", "Name the intent\u2028."), ("user", f'"{number}" 猫')),
        answer="card_lost",
        cost=0.002,
        milliseconds=12.5,
        policy="model:large",
        propensity=0.99,
        confidence=0.7,
        in_scope=0.5,
        caller=f"a{number % 3}",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


async def check_flywheel_store(store: FlywheelStore, other: FlywheelStore) -> None:
    """Check the clauses of `protocols.FlywheelStore`.

    Args:
        store: An empty store.
        other: The same data, opened a second time.
    """
    require("it has the methods", isinstance(store, FlywheelStore))
    await _check_examples(store, other)
    await _check_opinions(store, other)
    await _check_records(store, other)
    dropped = await store.drop_examples(before=_TIME + 3)
    require(
        "older examples are dropped", dropped == 3 and set(await store.examples_of(["e0002", "e0003"])) == {"e0003"}
    )
    require(
        "and what was about them", [comparison.example for comparison in await other.comparisons("d1")] == ["e0003"]
    )
    left = {volume.job: (volume.calls, volume.callers, volume.first) for volume in await other.volumes()}
    require("and they are counted no more", left == {"j1": (1, 1, _TIME + 3), "": (3, 3, _TIME + 4)})


async def _check_examples(store: FlywheelStore, other: FlywheelStore) -> None:
    made = [example(number) for number in range(6)]
    await store.add_examples(made)
    await store.add_examples([replace(made[0], answer="other"), example(6, id="e0005b", time=_TIME + 5, cost=None)])
    examples = list(await other.examples())
    require("examples come back as they were, oldest first", examples[:6] == made and examples[6].id == "e0005b")
    require("pages join", list(await store.examples(after=(made[2].time, made[2].id), limit=2)) == made[3:5])
    require("equal times are in order of ids", (await store.examples(after=(_TIME + 5, "e0005")))[0].id == "e0005b")
    require("the newest are oldest first", [e.id for e in await store.newest(limit=2)] == ["e0005", "e0005b"])
    await store.assign([(captured.id, "j1", 2, f"text {captured.id}") for captured in made[:4]])
    mine = await other.examples(job="j1")
    require("assigned examples are the job's", [e.input for e in mine] == [f"text e000{i}" for i in range(4)])
    require("the others are of none", [e.id for e in await store.newest(job="")] == ["e0004", "e0005", "e0005b"])
    (largest, rest) = await store.volumes()
    require("volumes count calls and callers", (largest.job, largest.calls, largest.callers) == ("j1", 4, 3))
    require("unknown costs are counted apart", (rest.unpriced, round(rest.cost, 6)) == (1, 0.004))
    require("volumes know first and last", (largest.first, largest.last) == (_TIME, _TIME + 3))
    require("what was not found is left out", set(await store.examples_of(["e0001", "x"])) == {"e0001"})


async def _check_opinions(store: FlywheelStore, other: FlywheelStore) -> None:
    compared = [
        ComparedAnswer(deployment="d1", example=f"e000{i}", time=_TIME + i, answer="lost", accepted=i > 1, same=i > 2)
        for i in range(4)
    ]
    await store.add_examples([], compared)
    await store.add_examples([], [replace(compared[0], answer="late")])
    require("comparisons come back in order", list(await other.comparisons("d1")) == compared)
    require("and by pages", list(await store.comparisons("d1", after=(_TIME + 1, "e0001"), limit=1)) == compared[2:3])
    require(
        "differences are accepted", [difference.example for difference in await store.differences("d1")] == ["e0002"]
    )
    require("as is what is unsure", [comparison.example for comparison in await store.unsure("d1")] == ["e0003"])
    require("coverage is counted", tuple(await store.coverage("d1")) == (4, 2))
    stream = await other.stream("d1")
    require("a stream is counted", (stream.compared, stream.accepted, stream.same, stream.failed) == (4, 2, 1, 0))
    require("and says where answers differ", stream.differing == ((2, "e0002", "lost", "card_lost"),))
    sure = await store.confidences("d1", since=_TIME + 2)
    require(
        "confidences are those of a time",
        [tuple(confidence) for confidence in sure] == [("e0002", 0.0, 0), ("e0003", 0.0, 1)],
    )
    (light,) = await store.newest(job="j1", limit=1, texts=False)
    require("texts are left out", (light.prompt, light.input, light.id) == ((), "", "e0003"))
    seen = GivenLabel(example="e0002", origin="person", by="ann", value="lost", time=_TIME)
    await store.put_label(seen)
    require("a labelled difference is none", not list(await store.differences("d1")))
    await store.drop_label(seen)
    ann = GivenLabel(example="e0001", origin="person", by="ann", value="lost", time=_TIME + 9, purpose="audit")
    require("a label is kept", await store.put_label(ann))
    require("its second replaces it", await store.put_label(replace(ann, value=None, time=_TIME + 10)))
    require("a label of nothing is refused", not await store.put_label(replace(ann, example="gone")))
    labels = list(await other.labels(job="j1"))
    require("labels of people are counted", await store.given(since=_TIME + 10) == 1)
    require("from a time on", await store.given(since=_TIME + 11) == 0)
    require("labels are those of the job", labels == [replace(ann, value=None, time=_TIME + 10)])
    require("a label is taken back once", await store.drop_label(ann) and not await store.drop_label(ann))
    await store.note_training("triage", "0" * 16, ["e0001", "e0002"])
    await store.note_training("triage", "0" * 16, ["e0002"])
    require("nobody complained", dict(await store.complaints()) == {})


async def _check_records(store: FlywheelStore, other: FlywheelStore) -> None:
    before = await store.revision()
    first = FlywheelRecord(
        kind="deployment", id="d1", job="j1", time=_TIME, body={"state": "shadow", "n": [1, None, "猫"]}
    )
    await store.put(first, FlywheelRecord(kind="transition", id="t1", job="j1", time=_TIME))
    require("writing shows", await other.revision() > before)
    stored = await other.record("deployment", "d1")
    require("a record comes back with its first revision", stored == replace(first, revision=1))
    require("records are those of a time", list(await other.records("deployment", since=_TIME)) == [stored])
    require("and no earlier ones", not await other.records("deployment", since=_TIME + 1))
    require("records are by kind and job", not await store.records("deployment", job="j2"))
    if stored is None:
        raise AssertionError("it was there")
    await other.put(replace(stored, body={"state": "canary"}))
    for late in (stored, replace(first, revision=0)):
        try:
            await store.put(FlywheelRecord(kind="transition", id="t2"), replace(late, body={"state": "retired"}))
        except FlywheelChanged:
            continue
        raise AssertionError("who comes second is refused")
    require("and nothing of that is written", await store.record("transition", "t2") is None)
    (kept,) = await store.records("deployment", job="j1")
    require("the first stands", (kept.body, kept.revision) == ({"state": "canary"}, 2))

"""What every meter and store must do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal

from coterie.protocols import Meter, Store
from coterie.types import (
    Content,
    Context,
    Entry,
    Fact,
    Feedback,
    Finding,
    FindingSummary,
    Label,
    Message,
    Part,
    Passage,
    Request,
    Retraction,
    Route,
    Settlement,
    Stage,
    Status,
    Step,
    Trace,
    Usage,
)

from ._clauses import check_usage, require


async def check_meter(meter: Meter, step: Step | None = None) -> None:
    """Check the clauses of `protocols.Meter`.

    Args:
        meter: any.
        step: what to price; one of an unknown engine by default.
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
        factory: opens a store. The first one must be empty; each call opens what the last one left.
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
    said = _entry(Message(role="user", text="hello"), "user")
    fact = _entry(Fact(name="intent", value="greeting", confidence=0.9), "triage")
    await store.settle(Settlement(trace=_trace("t1", session="s1"), entries=(said,)))
    await store.settle(Settlement(trace=_trace("t2", session="s1", status="abstained"), entries=(fact,)))
    context = await store.context("s1", "acme")
    require("a session's entries come back as they were, oldest first", context.entries == (said, fact))
    require("the whole is the same where it is short", await store.context("s1", "acme", whole=True) == context)
    require("another tenant's session is empty", await store.context("s1", "other") == Context())
    await _check_kinds(store)
    await _check_list(store)


async def _check_kinds(store: Store) -> None:
    """Every kind of content comes back as it was."""
    passage = Passage(document="d", start=0, end=2, text="so", score=0.5, label=Label.PUBLIC, shelf="help")
    found = FindingSummary(specialist="triage", task="classify", text="greeting", confidence=0.9, accepted=True)
    entries = tuple(_entry(content, "triage") for content in (passage, found, Retraction(name="intent")))
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
    require("and not listed", [each.id for each in await store.sessions("acme")] == ["s1"])
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


def _check_same(found: Trace, settled: Trace) -> None:
    """Equal but for the texts, which a store may drop."""
    for name in ("id", "time", "tenant", "session", "label", "status", "stages", "steps", "usage"):
        was, now = getattr(settled, name), getattr(found, name)
        require(f"a trace keeps its {name}: {was!r}, not {now!r}", was == now)
    require("a trace keeps its unknown costs", found.counterfactual_cost == settled.counterfactual_cost)
    require("a trace keeps the route's specialists", found.route.specialists == settled.route.specialists)
    for finding, other in zip(found.findings, settled.findings, strict=True):
        for name in ("specialist", "confidence", "accepted", "reason"):
            require(f"a finding keeps its {name}", getattr(finding, name) == getattr(other, name))


async def _check_feedback(store: Store) -> None:
    said = Feedback(trace_id="t1", tenant="acme", time=_TIME, thumb="up")
    require("feedback on a trace is kept", await store.feedback(said))
    require("so is what the same asker says next", await store.feedback(replace(said, thumb="down", comment="no")))
    require("there is none on an unknown trace", not await store.feedback(replace(said, trace_id="nope")))
    require("nor on another tenant's", not await store.feedback(replace(said, tenant="other")))


async def _check_summary(store: Store) -> None:
    await store.settle(Settlement(trace=_trace("t3", time=_TIME + 100, status="escalated", cost=None)))
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
        reason="0.90 is above the threshold of 0.50",
    )
    return Trace(
        id=trace_id,
        time=time,
        tenant="acme",
        session=session,
        label=Label.CONFIDENTIAL,
        status=status,
        route=Route(parts=(Part(text="hello", waves=(("triage",),), score=0.8),), reason="it is a greeting"),
        findings=(finding,),
        views=(),
        verdicts=(),
        stages=(Stage(name="route", milliseconds=1.0),),
        steps=(Step(producer="triage", engine="onnx", usage=usage),),
        usage=usage,
        counterfactual_cost=None,
    )

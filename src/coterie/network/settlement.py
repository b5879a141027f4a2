"""What a request leaves behind: its trace, the lines of its session, its entry in the audit log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter

from coterie.governance.audit_events import audit_request
from coterie.governance.pseudonyms import texts_of
from coterie.network.outcomes import label_of, overall_status
from coterie.network.state import RequestState
from coterie.protocols import Meter, Specialist
from coterie.runtime.concurrency import AT_ONCE, aside
from coterie.runtime.values import replace
from coterie.types import AuditEvent, Entry, Message, Request, Trace, label_without_pii, total_usage


async def traced(state: RequestState, text: str, meter: Meter) -> Trace:
    """Make the trace, in a worker thread where the texts are long: counting their tokens takes time."""
    return await aside(_read_for(state, text), partial(trace_of, state, text, meter))


def is_quickly_traced(state: RequestState, text: str) -> bool:
    """Whether `traced` makes the trace at once, without a thread."""
    return _read_for(state, text) <= AT_ONCE


def _read_for(state: RequestState, text: str) -> int:
    """Characters that a trace is made of."""
    document = state.request.document
    return sum(map(len, texts_of(state.request))) + len(text) + (0 if document is None else len(document.text))


def trace_of(state: RequestState, text: str, meter: Meter) -> Trace:
    """The trace of a request that ends now with this text."""
    findings = tuple(finding for outcome in state.outcomes for finding in outcome.findings)
    findings += (state.composed,) if state.composed is not None else ()
    steps = (*state.route.steps, *state.steps, *(step for finding in findings for step in finding.steps))
    steps += tuple(map(meter.price, state.overhead()))
    waited = (perf_counter() - state.start) * 1000
    return Trace(
        id=state.id,
        time=state.admitted,
        tenant=state.request.tenant,
        session=state.request.session,
        label=label_of(state.question),
        status=overall_status([outcome.status for outcome in state.outcomes]),
        route=state.route,
        findings=findings,
        views=tuple(view for outcome in state.outcomes for view in outcome.views),
        verdicts=state.decided(verdict for finding in findings for verdict in finding.verdicts),
        stages=tuple(state.stages),
        steps=steps,
        usage=replace(total_usage(step.usage for step in steps), milliseconds=waited),
        counterfactual_cost=meter.counterfactual(state.request, text, steps),
        degraded=state.degraded,
        decisions=state.decisions,
        egress=tuple((state.call.outgoing or {}).values()),
        rewritten="" if state.question.text == state.request.text else state.question.text,
    )


def texts_in(request: Request) -> tuple[str, ...]:
    """What came in with a request as text. A document's own text is left out: what is quoted of it has its place."""
    document = request.document
    return (*texts_of(request), *(filter(None, [document.name]) if document is not None else ()))


def session_entries(state: RequestState, text: str, *, producer: str, now: float) -> tuple[Entry, ...]:
    """What the session remembers: the question, what its specialists wrote, the answer. Nothing without a session.

    The answer is as sensitive as the findings in it.
    """
    if state.request.session is None:
        return ()
    found = [finding for outcome in state.outcomes for finding in outcome.findings]
    asked = Entry(
        content=Message(role="user", text=state.request.text),
        producer="user",
        label=label_of(state.request),
        label_without_pii=state.request.label_without_pii,
        time=now,
    )
    answered = Entry(
        content=Message(role="assistant", text=text),
        producer=producer,
        label=max([label_of(state.question), *(finding.label for finding in found)]),
        label_without_pii=label_without_pii(state.question, *found),
        time=now,
    )
    return (asked, *(entry for outcome in state.outcomes for entry in outcome.entries), answered)


def audit_entry(
    state: RequestState,
    trace: Trace,
    text: str,
    *,
    specialists: Mapping[str, Specialist],
    digest: Callable[[str], str],
) -> AuditEvent:
    """The request's entry in the audit log."""
    asked = {finding.specialist for finding in trace.findings}
    cards = {name: specialists[name].card for name in asked & specialists.keys()}
    return audit_request(trace, state.request, text, cards=cards, digest=digest)

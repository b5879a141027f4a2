"""The records of a request: its trace, its session entries, its audit entry; and the values that feedback may name."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from time import perf_counter

from coterie.errors import EngineBroken, EngineTimeout, InputError
from coterie.governance.audit_events import audit_request
from coterie.governance.pseudonyms import texts_of
from coterie.network.outcomes import label_of, overall_status
from coterie.network.state import RequestState
from coterie.protocols import Meter, Specialist
from coterie.runtime.codec import replace
from coterie.runtime.concurrency import AT_ONCE, aside
from coterie.types import (
    AuditEvent,
    Entry,
    Feedback,
    Finding,
    Message,
    Request,
    Step,
    Trace,
    Usage,
    label_without_pii,
    total_usage,
)


async def traced(state: RequestState, text: str, meter: Meter) -> Trace:
    """Make the trace, in a worker thread if the texts are long: counting their tokens takes time."""
    return await aside(_read_for(state, text), partial(trace_of, state, text, meter))


def is_quickly_traced(state: RequestState, text: str) -> bool:
    """Return whether `traced` makes the trace at once, without a thread."""
    return _read_for(state, text) <= AT_ONCE


def _read_for(state: RequestState, text: str) -> int:
    """Return the number of characters that a trace is made of."""
    document = state.request.document
    return sum(map(len, texts_of(state.request))) + len(text) + (0 if document is None else len(document.text))


def trace_of(state: RequestState, text: str, meter: Meter) -> Trace:
    """Return the trace of a request that ends now with this text."""
    findings = tuple(finding for outcome in state.outcomes for finding in outcome.findings)
    findings += (state.composed,) if state.composed is not None else ()
    steps = (*state.route.steps, *state.steps, *(step for finding in findings for step in finding.steps))
    steps += tuple(_unpaid(state, steps))
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


def _unpaid(state: RequestState, steps: Sequence[Step]) -> Iterator[Step]:
    """Yield a step of unknown cost for each call that a provider may bill but no step covers (cut off or unusable)."""
    calls = (state.call.outgoing or {}).values()
    answered = Counter(call.engine for call in calls if call.outcome == "answered")
    noted = Counter(step.engine for step in steps) - answered
    for call in calls:
        if call.outcome in _MAY_BE_BILLED:
            noted[call.engine] -= 1
            if noted[call.engine] < 0:
                yield Step(producer=call.engine, engine=call.engine, usage=Usage(cost=None), note="cut off")


def texts_in(request: Request) -> tuple[str, ...]:
    """Return the incoming texts of a request. A document's own text is left out: quotes of it carry their position."""
    document = request.document
    return (*texts_of(request), *(filter(None, [document.name]) if document is not None else ()))


def session_entries(state: RequestState, text: str, *, producer: str, now: float) -> tuple[Entry, ...]:
    """Return what the session remembers: question, specialists' entries, answer. Empty without a session.

    The answer has the highest label of the findings in it.
    """
    if state.request.session is None or not state.request.remembers:
        return ()
    findings = [finding for outcome in state.outcomes for finding in outcome.findings]
    question = Entry(
        content=Message(role="user", text=state.request.text),
        producer="user",
        label=label_of(state.request),
        label_without_pii=state.request.label_without_pii,
        time=now,
        envelope=state.request.envelope,
    )
    answered = Entry(
        content=Message(role="assistant", text=text),
        producer=producer,
        label=max([label_of(state.question), *(finding.label for finding in findings)]),
        label_without_pii=label_without_pii(state.question, *findings),
        time=now,
    )
    entries = (question, *(entry for outcome in state.outcomes for entry in outcome.entries), answered)
    return tuple(replace(entry, request=state.id) for entry in entries)


def audit_entry(
    state: RequestState,
    trace: Trace,
    text: str,
    *,
    specialists: Mapping[str, Specialist],
    digest: Callable[[str], str],
) -> AuditEvent:
    """Return the request's entry in the audit log."""
    consulted = {finding.specialist for finding in trace.findings}
    cards = {name: specialists[name].card for name in consulted & specialists.keys()}
    return audit_request(trace, state.request, text, cards=cards, digest=digest)


_MAY_BE_BILLED = {"cancelled", EngineBroken.code, EngineTimeout.code}
"""Outcomes of calls without an answer that a provider may bill."""
_NAMED = 3
_LIKE, _MISSPELT = 0.6, 0.8
"""Similarity (difflib's ratio) from which a label is suggested for a wrong value, and from which it is a misspelling.

The second applies if a specialist without labels took part, for which any value is valid.
"""


def check_value(feedback: Feedback, trace: Trace, labels: Callable[[str], Collection[str]]) -> None:
    """Check that a specialist which the feedback may be about can return its value, and that the thumb agrees with it.

    Args:
        feedback: The feedback.
        trace: The trace of the request.
        labels: Returns the labels of a specialist; empty if its values are not labels, or it does not exist.

    Raises:
        InputError: there is no such label, and the message names the nearest ones; or the thumb says the opposite.
    """
    if feedback.value is None:
        return
    findings = [finding for finding in trace.findings if feedback.specialist in {"", finding.specialist}]
    _check_thumb(feedback, findings)
    about = {finding.specialist for finding in findings}
    label_sets = [frozenset(labels(name)) for name in sorted(about)]
    values = [str(value) for value in (feedback.value if isinstance(feedback.value, tuple) else [feedback.value])]
    every = {label for labels in label_sets for label in labels}
    if not every or any(label_set.issuperset(values) for label_set in label_sets if label_set):
        return
    free = not all(label_sets)
    odd = next((value for value in values if value not in every), values[0])
    folded = {label.casefold(): label for label in sorted(every)}
    least = _MISSPELT if free else _LIKE
    near = [folded[match] for match in difflib.get_close_matches(odd.casefold(), list(folded), n=_NAMED, cutoff=least)]
    if free and not near:
        return
    shown = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"There are: {', '.join(sorted(every)[:20])}."
    shown += " Else name the specialist that should have said it." * free
    raise InputError(
        f"The right value is given as {odd[:100]!r}; {', '.join(sorted(about))} has no such label.",
        hint=f"{shown} What fits no label is said with --comment.",
    )


def _check_thumb(feedback: Feedback, findings: Sequence[Finding]) -> None:
    """Check that a thumb up comes with a label or number that was found, and a thumb down with another one."""
    if feedback.thumb is None:
        return
    comparable = (
        finding.value for finding in findings if finding.form == "label" or not isinstance(finding.value, str)
    )
    right = [feedback.names(value) for value in comparable if value is not None]
    if feedback.thumb == "up" and right and not any(right):
        raise InputError(
            "The thumb says that the answer was right, and the value says that another one would have been.",
            hint="Give the value with a thumb down or alone; give the thumb up alone.",
        )
    if feedback.thumb == "down" and right and all(right):
        raise InputError(
            "The thumb says that the answer was wrong, and the value is the one that was given.",
            hint="Give the value that would have been right, or the thumb alone.",
        )

"""Functions of the pipeline's stages: select specialists, consult them, decide, combine findings, and settle.

To settle is to record a request: its trace, its session entries, its audit entry, and the values that feedback may
name.
"""

from __future__ import annotations

import asyncio
import difflib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import cast

from coterie.context.sharing import entries_of
from coterie.decisions.deciding import PRODUCER
from coterie.errors import AuditError, EngineBroken, EngineError, EngineTimeout, InputError, PolicyError, SetupError
from coterie.generalist.pack import pack_context, topic
from coterie.governance.audit import audit_request
from coterie.governance.pseudonyms import texts_of
from coterie.network.gathering import charged
from coterie.network.outcomes import (
    Outcome,
    abstain,
    for_generalist,
    label_of,
    nothing_to_read,
    overall_status,
    refused,
    rendered_findings,
    said_by,
    task_of,
    verify,
)
from coterie.network.state import RequestState
from coterie.protocols import Generalist, Meter, Router, SpeakingSpecialist, Specialist
from coterie.routing.plan import permitted, pinned_route, plan_stages
from coterie.runtime.codec import replace
from coterie.runtime.concurrency import AT_ONCE, aside
from coterie.structured.filling import Place, PropertySlot, assign, fill, fill_freely, is_free
from coterie.structured.schema import Node
from coterie.types import (
    AuditEvent,
    Bill,
    CallContext,
    Context,
    ContextView,
    Deciding,
    Decision,
    Delta,
    Entry,
    Feedback,
    Finding,
    Message,
    Part,
    Reason,
    Request,
    Route,
    SpecialistCard,
    Status,
    Step,
    Task,
    Trace,
    Usage,
    all_of,
    label_without_pii,
    total_usage,
)


class Channel:
    """A queue for the pieces of one part's answer, which are shown in the order of the parts."""

    def __init__(self, *, muted: bool) -> None:
        """Open the channel; a muted one passes only the end."""
        self._pieces: asyncio.Queue[Delta | None] = asyncio.Queue()
        self._muted = muted

    def say(self, piece: Delta) -> None:
        """Pass a piece on."""
        if not self._muted:
            self._pieces.put_nowait(piece)

    def end(self) -> None:
        """Mark the end: no further piece follows."""
        self._pieces.put_nowait(None)

    async def next(self) -> Delta | None:
        """Return the next piece; None at the end."""
        return await self._pieces.get()


class Collected:
    """The pieces of a single-part answer that is shown only when it is complete."""

    def __init__(self) -> None:
        self.pieces: list[Delta] = []

    def say(self, piece: Delta) -> None:
        """Keep a piece."""
        self.pieces.append(piece)

    def end(self) -> None:
        """Do nothing: the caller awaits the work itself."""


def composing(large: Specialist | None, parts: Sequence[Part]) -> Generalist | None:
    """Return the generalist if it is to combine findings of several parts, or of several specialists; else None."""
    several = len(parts) > 1 or any(len(part.stages[-1]) > 1 for part in parts if part.stages)
    return cast("Generalist", large) if several and getattr(large, "composes", False) else None


async def compose(generalist: Generalist, state: RequestState) -> Finding:
    """Return the generalist's text of all findings; an abstention if it may not say it."""
    findings = [finding for outcome in state.outcomes for finding in rendered_findings(outcome)]
    whole = Part(text=state.question.text, stages=(), score=0.0)
    return await generalist.compose(task_of(whole, state.question, state.request.text), findings, call=state.call)


def heading(outcomes: Sequence[Outcome], index: int) -> tuple[str, str]:
    """Return what precedes the pieces of a part: a gap, and its topic if there are several parts."""
    about = f"{topic(outcomes[index].part.text)}: " if len(outcomes) > 1 else ""
    return "\n\n" if index else "", about


# --- Asking one specialist. What its engine cannot do becomes an abstention with the reason.

Say = Callable[[Delta], None]
"""A function that shows a piece of a part's answer as soon as it is certain."""


async def consult(
    specialist: Specialist, task: Task, view: ContextView, *, call: CallContext, say: Say | None
) -> Finding:
    """Return a specialist's finding; pass pieces to `say` as they arrive, if it streams.

    Raises:
        Overloaded: an engine's queue is full; the whole request may be retried.
        AuditError: the audit log cannot be written, so nothing was sent to a remote engine.
    """
    try:
        if blind := nothing_to_read(view):
            return abstain(specialist.card.name, task, blind)
        if say is None or not hasattr(specialist, "speak"):  # asking a protocol takes longer than many a specialist
            return await specialist.consult(task, view, call=call)
        return await _listen(cast("SpeakingSpecialist", specialist), task, view, say=say, call=call)
    except PolicyError as refusal:
        return abstain(specialist.card.name, task, refusal.reason, refusal.verdict)
    except AuditError:  # what cannot be written down is not done: no abstention may hide it
        raise
    except (EngineError, InputError, SetupError) as error:
        return abstain(specialist.card.name, task, error.reason)


async def _listen(
    specialist: SpeakingSpecialist, task: Task, view: ContextView, *, say: Say, call: CallContext
) -> Finding:
    """Pass a specialist's deltas on and return its finding."""
    events = specialist.speak(task, view, call=call)
    try:
        async for event in events:
            if isinstance(event, Finding):
                return event
            say(event)
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()
    raise AssertionError("speak ends with a Finding")


# --- Whether a part is answered by its specialists, by the generalist, or by nobody.


def decide(outcome: Outcome, route_reason: Reason) -> Outcome:
    """Accept the findings, or abstain with their reasons; with the route's reason if no specialist was asked."""
    if outcome.answering:
        return replace(outcome, status="accepted")
    doubts = [said_by(finding) for finding in outcome.findings if not finding.accepted]
    return replace(outcome, status="abstained", reason=all_of(doubts or [route_reason]))


def without_call(outcome: Outcome) -> Outcome:
    """Return the outcome of a request that requires a call: only calls answer it."""
    if any(finding.called for finding in outcome.answering):
        return outcome
    reason = outcome.reason if outcome.status == "abstained" else Reason("abstain.no_call")
    return replace(outcome, status="abstained", reason=reason)


def filled(
    outcome: Outcome,
    schema: Node,
    slots: Mapping[Place, PropertySlot],
    cards: Mapping[str, SpecialistCard],
    *,
    nulls: bool,
) -> Outcome:
    """Return the outcome of a request for JSON: accepted only if the findings fill the schema.

    `nulls` applies when no one else is left to ask for a property that may be null.
    """
    if is_free(schema):
        text = fill_freely(outcome.answering, cards) if outcome.answering else ""
        return replace(outcome, filled=text)
    text, lacks = fill(schema, slots, outcome.findings, cards, nulls=nulls) if slots else ("", None)
    if text:
        return replace(outcome, status="accepted", filled=text, degraded=lacks)
    reasons = [] if lacks is None else [lacks]
    doubts = [said_by(finding) for finding in outcome.findings if not finding.accepted]
    doubts = [outcome.reason] if outcome.status == "abstained" else doubts
    if not reasons and not doubts:  # what was found is no part of the schema, such as that no function fits
        doubts = [said_by(finding) for finding in outcome.answering]
    return replace(outcome, status="abstained", reason=all_of([*reasons, *doubts]))


def handed_up(
    task: Task, context: Context, *, tried: Sequence[SpecialistCard], above: SpecialistCard
) -> tuple[Task, ContextView]:
    """Return the task and the context pack for the generalist, after these specialists could not answer."""
    return for_generalist(task, tried), pack_context(context, above)


def escalated(outcome: Outcome, finding: Finding, task: Task, view: ContextView, *, now: float) -> Outcome:
    """Return an abstention's outcome after the generalist: its answer, or its reason beside the others."""
    finding = verify(finding, (), task, view)
    outcome = outcome.having([finding], {finding.specialist: view}, entries_of([(finding, view)], now=now))
    failed = None if (finding.accepted and not finding.broken) or refused(finding) else finding.reason
    if finding.accepted:
        return replace(outcome, status="escalated", reason=finding.reason, degraded=failed)
    return replace(outcome, reason=outcome.reason.noting(said_by(finding)), degraded=failed)


# --- Whom to ask: the specialist that a request names, the reader of its document, or whom the router names.


async def select(
    request: Request,
    context: Context,
    *,
    router: Router,
    specialists: Mapping[str, Specialist],
    reader: str,
    call: CallContext,
) -> Route:
    """Return the route of an admitted request, without specialists that may not be asked.

    Args:
        request: The self-contained request.
        context: The context of the request.
        router: Asked if the request neither names a specialist nor brings a document.
        specialists: The specialists by name.
        reader: The name of the document reader.
        call: The call context.
    """
    if request.document is not None:
        part = Part(text=request.text, stages=((reader,),), score=1.0)
        route = Route(parts=(part,), reason=Reason("route.document"))
    elif request.specialist is None:
        route = await router.route(request, context, call=call)
    else:
        cards = {name: specialist.card for name, specialist in specialists.items()}
        route = pinned_route(request, cards)
    return permitted(route, request.allowed)


def schema_route(
    request: Request, cards: Mapping[str, SpecialistCard]
) -> tuple[Route | None, Mapping[Place, PropertySlot]]:
    """Return the route of a request for JSON or a call: who fills or makes it, or none. None if the router decides."""
    candidates = {request.specialist} if request.specialist is not None else set(request.allowed or cards)
    among = {name: card for name, card in cards.items() if name in candidates}
    makers = [name for name, card in among.items() if request.document is None and _makes(card, request)]
    if len(makers) == 1:  # trained for this call, where others have fields or labels of its arguments' names
        part = Part(text=request.text, stages=plan_stages(makers[0], cards, readers=False), score=1.0)
        return Route(parts=(part,), reason=Reason("route.schema", specialists=makers[0])), {}
    if request.schema is None or is_free(request.schema):
        return None, {}
    slots = assign(request.schema, among, pinned=request.specialist is not None)
    if isinstance(slots, Reason):
        return Route(parts=(), reason=slots), {}
    names = dict.fromkeys(slot.specialist for slot in slots.values())
    parts = tuple(Part(text=request.text, stages=plan_stages(name, cards, readers=False), score=1.0) for name in names)
    return in_one(Route(parts=parts, reason=Reason("route.schema", specialists=", ".join(names))), request), slots


def _makes(card: SpecialistCard, request: Request) -> bool:
    """Return whether a specialist was trained for a function that must be called."""
    wanted = request.tools.names if request.tools is not None and request.tools.required else ()
    return card.makes_calls and any(option.name in wanted for option in card.options)


def in_one(route: Route, request: Request) -> Route:
    """Return the route with one part, the whole request, for all specialists that were named."""
    if not route.parts:
        return route
    depth = max(len(part.stages) for part in route.parts)
    seen: set[str] = set()
    stages = []
    for i in range(depth):
        stage = dict.fromkeys(name for part in route.parts for name in (part.stages[i : i + 1] or ((),))[0])
        stages.append(tuple(name for name in stage if name not in seen))
        seen |= stage.keys()
    whole = Part(text=request.text, stages=tuple(filter(None, stages)), score=max(part.score for part in route.parts))
    return replace(route, parts=(whole if len(route.parts) > 1 else route.parts[0],))


def begin_questions(state: RequestState) -> None:
    """Prepare the state: nothing is routed, so the request is one part without a specialist."""
    part = Part(text=state.request.text, stages=(), score=1.0)
    state.route = Route(parts=(part,), reason=Reason("route.not_yet"))
    state.begin()


def question_steps(bill: Bill) -> tuple[Step, ...]:
    """Return the usage of answering questions that is not part of a specialist's finding."""
    return charged((), PRODUCER, bill)


def record_answers(state: RequestState, deciding: Deciding) -> None:
    """Record in the state who was asked and the results; the text of the answers is for the audit log's digest."""
    names = tuple(finding.specialist for finding in deciding.findings)
    part = replace(state.route.parts[0], stages=(names,) if names else ())
    state.decisions = deciding.decisions
    state.route = replace(state.route, parts=(part,), reason=_reason(deciding.decisions))
    state.outcomes = [replace(state.outcomes[0], findings=deciding.findings, status=_status(deciding.decisions))]
    state.shown.append(
        "\n".join(f"{decision.question or decision.site}: {decision.value}" for decision in deciding.decisions)
    )


def _status(decisions: Sequence[Decision]) -> Status:
    """Return escalated if a remote model answered a question, accepted if any is accepted, else abstained."""
    if any(decision.method == "model" for decision in decisions):
        return "escalated"
    return "accepted" if any(decision.accepted for decision in decisions) else "abstained"


def _reason(decisions: Sequence[Decision]) -> Reason:
    """Return how many questions each specialist or model answered."""
    trained = sum(not decision.zero_shot for decision in decisions)
    return Reason("route.decisions", questions=len(decisions), trained=trained, zero_shot=len(decisions) - trained)


# --- The records of a request: its trace, its session entries, its audit entry; and the values that feedback may name.


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

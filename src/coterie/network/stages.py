"""Functions of the pipeline's stages: select specialists, consult them, decide, and combine findings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import cast

from coterie.context.entries import entries_of
from coterie.decisions.zero_shot import PRODUCER
from coterie.errors import AuditError, EngineError, InputError, PolicyError, SetupError
from coterie.generalist.pack import pack_context, topic
from coterie.network.gathering import charged
from coterie.network.outcomes import (
    Outcome,
    abstain,
    for_generalist,
    nothing_to_read,
    refused,
    rendered_findings,
    said_by,
    task_of,
    verify,
)
from coterie.network.state import RequestState
from coterie.protocols import Generalist, Router, SpeakingSpecialist, Specialist
from coterie.routing.plan import permitted, pinned_route, plan_stages
from coterie.runtime.codec import replace
from coterie.structured.filling import Place, PropertySlot, assign, fill, fill_freely, is_free
from coterie.structured.schema import Node
from coterie.types import (
    Bill,
    CallContext,
    Context,
    ContextView,
    Deciding,
    Decision,
    Delta,
    Finding,
    Part,
    Reason,
    Request,
    Route,
    SpecialistCard,
    Status,
    Step,
    Task,
    all_of,
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

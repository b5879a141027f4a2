"""Whether a part is answered by its specialists, by the generalist, or by nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from coterie.context.entries import entries_of
from coterie.generalist.pack import pack_context
from coterie.network.outcomes import Outcome, for_generalist, refused, said_by, verify
from coterie.runtime.values import replace
from coterie.structured.filling import PropertySlot, fill, fill_freely, is_free
from coterie.structured.schema import Node
from coterie.types import Context, ContextView, Finding, Reason, SpecialistCard, Task, all_of


def decide(outcome: Outcome, route_reason: Reason) -> Outcome:
    """Accept what the specialists found, or abstain with their reasons; with the route's where nobody was asked."""
    if outcome.answering:
        return replace(outcome, status="accepted")
    doubts = [said_by(finding) for finding in outcome.findings if not finding.accepted]
    return replace(outcome, status="abstained", reason=all_of(doubts or [route_reason]))


def without_call(outcome: Outcome) -> Outcome:
    """The outcome of a request that requires a call: answered only by calls."""
    if any(finding.called for finding in outcome.answering):
        return outcome
    reason = outcome.reason if outcome.status == "abstained" else Reason("abstain.no_call")
    return replace(outcome, status="abstained", reason=reason)


def filled(
    outcome: Outcome, schema: Node, slots: Mapping[str, PropertySlot], cards: Mapping[str, SpecialistCard]
) -> Outcome:
    """The outcome of a request for JSON: accepted only if what was found makes JSON of the schema."""
    if is_free(schema):
        text = fill_freely(outcome.answering, cards) if outcome.answering else ""
        return replace(outcome, filled=text)
    text, why_not = fill(schema, slots, outcome.findings) if slots else ("", None)
    if text:
        return replace(outcome, status="accepted", filled=text)
    reasons = [] if why_not is None else [why_not]
    known = outcome.reason if outcome.status == "abstained" else None
    return replace(outcome, status="abstained", reason=all_of([*reasons, *([known] if known else [])]))


def handed_up(
    task: Task, context: Context, *, asked: Sequence[SpecialistCard], above: SpecialistCard
) -> tuple[Task, ContextView]:
    """The task and the context pack that the generalist is given, where these specialists could not answer."""
    return for_generalist(task, asked), pack_context(context, above)


def escalated(outcome: Outcome, finding: Finding, task: Task, view: ContextView, *, now: float) -> Outcome:
    """An abstention after the generalist was asked: answered by it, or with its reason beside the others."""
    finding = verify(finding, (), task, view)
    outcome = outcome.having([finding], {finding.specialist: view}, entries_of([(finding, view)], now=now))
    failed = None if (finding.accepted and not finding.broken) or refused(finding) else finding.reason
    if finding.accepted:
        return replace(outcome, status="escalated", reason=finding.reason, degraded=failed)
    return replace(outcome, reason=outcome.reason.noting(said_by(finding)), degraded=failed)

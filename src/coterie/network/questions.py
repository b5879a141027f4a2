"""What a request records of its typed questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from coterie.decisions.zero_shot import PRODUCER
from coterie.network.gathering import charged
from coterie.network.state import RequestState
from coterie.types import Bill, Deciding, Decision, Part, Reason, Route, Status, Step


def begin_questions(state: RequestState) -> None:
    """Prepare the state: nothing is routed, so the request is one part of nobody."""
    part = Part(text=state.request.text, stages=(), score=1.0)
    state.route = Route(parts=(part,), reason=Reason("route.not_yet"))
    state.begin()


def question_steps(bill: Bill) -> tuple[Step, ...]:
    """What was billed while questions were answered, beside what specialists did."""
    return charged((), PRODUCER, bill)


def record_answers(state: RequestState, found: Deciding) -> None:
    """Note in the state who was asked and what came of it; the text of the answers is for the audit log's digest."""
    names = tuple(finding.specialist for finding in found.findings)
    part = replace(state.route.parts[0], stages=(names,) if names else ())
    state.decisions = found.decisions
    state.route = replace(state.route, parts=(part,), reason=_reason(found.decisions))
    state.outcomes = [replace(state.outcomes[0], findings=found.findings, status=_status(found.decisions))]
    state.shown.append("\n".join(f"{each.question or each.site}: {each.value}" for each in found.decisions))


def _status(decisions: Sequence[Decision]) -> Status:
    """Escalated if a remote model answered a question, accepted if any is accepted."""
    if any(decision.method == "model" for decision in decisions):
        return "escalated"
    return "accepted" if any(decision.accepted for decision in decisions) else "abstained"


def _reason(decisions: Sequence[Decision]) -> Reason:
    """How many questions went to whom."""
    trained = sum(not decision.zero_shot for decision in decisions)
    return Reason("route.decisions", questions=len(decisions), trained=trained, zero_shot=len(decisions) - trained)

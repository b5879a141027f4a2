"""The JSON summary of an answer for its caller."""

from __future__ import annotations

from coterie.runtime.codec import Json, readable, replace
from coterie.types import Decisions, Egress, Finding, Trace

EGRESS_HEADER = "x-coterie-egress"
"""HTTP header that lists the egresses of an answer, as in `Trace.egress_summary`."""

TRACE_HEADER = "x-coterie-trace"
"""HTTP header with the id of the trace of an answer, or of an error of which one is kept."""


def without_egress_text(trace: Trace) -> Trace:
    """Return the trace without the texts that left, which are shown on request only."""
    return replace(trace, egress=tuple(replace(crossing, text="") for crossing in trace.egress))


def summarise(trace: Trace) -> dict[str, Json]:
    """Return the summary beside an answer: the `coterie` object of the gateway and of `coterie ask --json`."""
    usage = trace.usage
    rewritten: dict[str, Json] = {"rewritten": trace.rewritten} if trace.rewritten else {}
    degraded: dict[str, Json] = {} if trace.degraded is None else readable({"degraded": trace.degraded})
    near = trace.guess
    guess: dict[str, Json] = {}
    if near is not None:  # no answer, and marked as none
        guess = {"guess": readable({key: getattr(near, key) for key in ("specialist", "value", "confidence")})}
    return {
        "trace_id": trace.id,
        "status": trace.status,
        "accepted": trace.status != "abstained",
        "route": {
            "specialists": list(trace.route.specialists),
            **readable({"reason": trace.route.reason, "scores": trace.route.scores}),
        },
        **rewritten,
        **degraded,
        **guess,
        "egress": {"summary": trace.egress_summary, "prompts": [_egress(crossing) for crossing in trace.egress]},
        "findings": [_finding(finding) for finding in trace.findings],
        "usage": {
            "milliseconds": readable(usage.milliseconds),
            "joules": readable(usage.joules),
            "joules_kind": usage.joules_kind,
            "cost": readable(usage.cost),
            "counterfactual_cost": readable(trace.counterfactual_cost),
        },
    }


def summarise_decisions(answer: Decisions) -> dict[str, Json]:
    """Return the summary beside answers to typed questions: who answered, egresses, usage."""
    keys = (
        "question",
        "site",
        "kind",
        "value",
        "confidence",
        "accepted",
        "reason",
        "answered_by",
        "method",
        "zero_shot",
    )
    decisions: list[Json] = [readable({key: getattr(decision, key) for key in keys}) for decision in answer.decisions]
    whole = summarise(answer.trace)
    return {key: whole[key] for key in ("trace_id", "status", "accepted", "egress")} | {
        "decisions": decisions,
        "usage": whole["usage"],
    }


def _egress(egress: Egress) -> Json:
    keys = ("id", "engine", "label", "pseudonymised", "characters", "outcome")
    shown: Json = readable({key: getattr(egress, key) for key in keys})
    return shown


def _finding(finding: Finding) -> Json:
    keys = ("specialist", "value", "text", "confidence", "accepted", "reason", "evidence")
    shown: dict[str, Json] = readable({key: getattr(finding, key) for key in keys})
    shown["confidence"] = readable(finding.known_confidence)
    if finding.fields:
        shown["fields"] = readable(finding.fields)
    if finding.citations:  # the answer's text refers to them by number
        shown["citations"] = [
            {"number": number, **readable(citation)} for number, citation in enumerate(finding.citations, start=1)
        ]
    if finding.contradictions:
        shown["contradictions"] = readable(finding.contradictions)
    return shown

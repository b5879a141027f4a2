"""What an asker is told beside an answer, as JSON."""

from __future__ import annotations

from coterie.runtime.codec import Json, readable
from coterie.types import Decisions, Finding, Trace


def summarise(trace: Trace) -> dict[str, Json]:
    """What an asker is told beside the answer: the `coterie` object of the gateway and of `coterie ask --json`."""
    usage = trace.usage
    restated: dict[str, Json] = {"restated": trace.restated} if trace.restated else {}
    degraded: dict[str, Json] = {} if trace.degraded is None else readable({"degraded": trace.degraded})
    return {
        "trace_id": trace.id,
        "status": trace.status,
        "accepted": trace.status != "abstained",
        "route": {
            "specialists": list(trace.route.specialists),
            **readable({"reason": trace.route.reason, "scores": trace.route.scores}),
        },
        **restated,
        **degraded,
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
    """What an asker is told beside answers to typed questions: who answered, whether it is calibrated, what it took."""
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
    decisions: list[Json] = [readable({key: getattr(each, key) for key in keys}) for each in answer.decisions]
    whole = summarise(answer.trace)
    return {key: whole[key] for key in ("trace_id", "status", "accepted")} | {
        "decisions": decisions,
        "usage": whole["usage"],
    }


def _finding(finding: Finding) -> Json:
    keys = ("specialist", "value", "text", "confidence", "accepted", "reason", "evidence")
    told: dict[str, Json] = readable({key: getattr(finding, key) for key in keys})
    if finding.fields:
        told["fields"] = readable(finding.fields)
    if finding.citations:  # the answer's text refers to them by number
        told["citations"] = [
            {"number": number, **readable(each)} for number, each in enumerate(finding.citations, start=1)
        ]
    return told

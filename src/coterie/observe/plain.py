"""Values of the core as plain JSON: what `/api/traces` and `coterie ask --json` show.

One way only: storing and reading back is the store's business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum

from coterie.types import Citation, Evidence, Field, Finding, Reason, Scalar, Trace

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""What `json.dumps(..., allow_nan=False)` accepts."""

_NOT_SHOWN = frozenset({"vector"})
"""Fields that hold arrays: large, and meaningless to a reader."""


def plain(value: object) -> Json:
    """Any value of `coterie.types` as JSON. Money becomes a number; what JSON cannot hold (NaN, infinity) becomes null.

    Raises:
        TypeError: a value that is none of these, named by its type.
    """
    if isinstance(value, Enum | Reason):
        return plain(value.value if isinstance(value, Enum) else value.described())
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if is_dataclass(value):
        told: dict[str, Json] = {}
        for each in fields(value):
            if each.name not in _NOT_SHOWN:
                told |= _named(each.name, getattr(value, each.name))
        return told
    raise TypeError(f"No plain form for {type(value).__name__!r}.")


def _named(name: str, value: object) -> dict[str, Json]:
    """A field as JSON; a reason's code and values stand beside its words."""
    if isinstance(value, Reason):
        return {key: plain(item) for key, item in value.described(name).items()}
    return {name: plain(value)}


def summarise(trace: Trace) -> dict[str, Json]:
    """What an asker is told beside the answer: the `coterie` object of the gateway and of `coterie ask --json`."""
    usage = trace.usage
    restated: dict[str, Json] = {"restated": trace.restated} if trace.restated else {}
    degraded: dict[str, Json] = {} if trace.degraded is None else _named("degraded", trace.degraded)
    return {
        "trace_id": trace.id,
        "status": trace.status,
        "accepted": trace.status != "abstained",
        "route": {
            "specialists": list(trace.route.specialists),
            **_named("reason", trace.route.reason),
            "scores": {name: _number(score) for name, score in trace.route.scores.items()},
        },
        **restated,
        **degraded,
        "findings": [_finding(finding) for finding in trace.findings],
        "usage": {
            "milliseconds": _number(usage.milliseconds),
            "joules": _number(usage.joules),
            "joules_kind": usage.joules_kind,
            "cost": _number(usage.cost),
            "counterfactual_cost": _number(trace.counterfactual_cost),
        },
    }


def _finding(finding: Finding) -> Json:
    told: dict[str, Json] = {
        "specialist": finding.specialist,
        "value": _value(finding.value),
        "text": finding.text,
        "confidence": _number(finding.confidence),
        "accepted": finding.accepted,
        **_named("reason", finding.reason),
        "evidence": [_evidence(evidence) for evidence in finding.evidence],
    }
    if finding.fields:
        told["fields"] = [_field(each) for each in finding.fields]
    if finding.citations:
        told["citations"] = [_citation(number, each) for number, each in enumerate(finding.citations, start=1)]
    return told


def _evidence(evidence: Evidence) -> Json:
    return {
        "kind": evidence.kind,
        "name": evidence.name,
        "text": evidence.text,
        "weight": _number(evidence.weight),
        "start": evidence.start,
        "end": evidence.end,
    }


def _citation(number: int, each: Citation) -> Json:
    """`number` is the one by which the answer's text refers to it."""
    return {
        "number": number,
        "document": each.document,
        "start": each.start,
        "end": each.end,
        "text": each.text,
        "shelf": each.shelf,
        "heading": each.heading,
        "page": each.page,
        "label": each.label.value,
    }


def _field(each: Field) -> Json:
    return {
        "name": each.name,
        "value": _value(each.value),
        "text": each.text,
        "start": each.start,
        "end": each.end,
        "confidence": _number(each.confidence),
        "accepted": each.accepted,
        **_named("reason", each.reason),
    }


def _value(value: Scalar | tuple[str, ...]) -> Json:
    if isinstance(value, tuple):
        return list(value)
    return _number(value) if isinstance(value, float) else value


def _number(value: float | Decimal | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)

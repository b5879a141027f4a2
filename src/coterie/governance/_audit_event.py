"""What the audit log says of a request: who, what was decided, by which versions; hashes of what was said."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from coterie.types import AuditEvent, Request, SpecialistCard, Trace


def audit_request(
    trace: Trace, request: Request, answer: str, *, cards: Mapping[str, SpecialistCard], digest: Callable[[str], str]
) -> AuditEvent:
    """The entry of a settled request.

    Args:
        trace: Its life.
        request: As it was admitted.
        answer: What the asker was given.
        cards: Of the specialists, for the versions of those that were asked.
        digest: Stands for content.
    """
    asked = dict.fromkeys(finding.specialist for finding in trace.findings)
    about: dict[str, object] = {
        "trace": trace.id,
        "key": request.key,
        "status": trace.status,
        "label": trace.label.value,
        "clearance": (request.clearance or trace.label).value,
        "session": None if trace.session is None else digest(trace.session),
        "asked": digest(request.text),
        **({} if request.document is None else {"document": digest(request.document.text)}),
        "answered": digest(answer),
        "specialists": {name: cards[name].version if name in cards else "" for name in asked},
        "verdicts": [
            {"allowed": verdict.allowed, "rule": verdict.rule, "reason": verdict.reason} for verdict in trace.verdicts
        ],
        "cost": None if trace.usage.cost is None else str(trace.usage.cost),
    }
    return AuditEvent(kind="request", time=trace.time, tenant=trace.tenant, about=about)

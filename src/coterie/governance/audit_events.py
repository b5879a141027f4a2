"""What the audit log says of a request and of feedback: who, what was decided, hashes of what was said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from coterie.errors import ReleaseRefused
from coterie.protocols import Audit
from coterie.runtime.codec import to_json
from coterie.types import AuditEvent, Feedback, Request, SpecialistCard, Trace

Digest = Callable[[str], str]
"""Stands for content."""


def audit_request(
    trace: Trace, request: Request, answer: str, *, cards: Mapping[str, SpecialistCard], digest: Digest
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
        "verdicts": to_json(trace.verdicts),
        "cost": None if trace.usage.cost is None else str(trace.usage.cost),
    }
    return AuditEvent(kind="request", time=trace.time, tenant=trace.tenant, about=about)


@asynccontextmanager
async def refusals_noted(audit: Audit | None, request: Request, *, time: float) -> AsyncIterator[None]:
    """A release that is refused within the block is written down, where there is a log, before anybody is told."""
    try:
        yield
    except ReleaseRefused as refused:
        if audit is not None:
            await audit.append(audit_refusal(request, refused.verdict.reason, time=time, digest=audit.digest))
        raise


def audit_refusal(request: Request, reason: str, *, time: float, digest: Digest) -> AuditEvent:
    """The entry of a release that was refused, for a reason in our own words."""
    about: dict[str, object] = {
        "key": request.key,
        "to": None if request.release is None else request.release.to.value,
        "asked": digest(request.text),
        **({} if request.document is None else {"document": digest(request.document.text)}),
        "reason": reason,
    }
    return AuditEvent(kind="release_refused", time=time, tenant=request.tenant, about=about)


def audit_feedback(feedback: Feedback, *, digest: Digest, refused: str = "") -> AuditEvent:
    """The entry of what somebody said of an answer.

    Args:
        feedback: What was said.
        digest: Stands for content. Of what was refused, the trace's name is content too: anybody may have made it up.
        refused: The code of the error, where it was not kept.
    """
    about: dict[str, object] = {"trace": feedback.trace_id, "key": feedback.key}
    if refused:
        about = {**about, "trace": digest(feedback.trace_id), "reason": refused}
        return AuditEvent(kind="feedback_refused", time=feedback.time, tenant=feedback.tenant, about=about)
    value = None if feedback.value is None else digest(str(feedback.value))
    comment = digest(feedback.comment) if feedback.comment else None
    about |= {"thumb": feedback.thumb, "specialist": feedback.specialist, "value": value, "comment": comment}
    return AuditEvent(kind="feedback", time=feedback.time, tenant=feedback.tenant, about=about)

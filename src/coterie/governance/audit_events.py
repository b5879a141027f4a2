"""Audit events of requests and feedback, and the hash-chained lines that the audit log holds."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, NamedTuple

from coterie.errors import ReleaseRefused
from coterie.protocols import Audit
from coterie.runtime.codec import parse_json, readable
from coterie.types import AuditEvent, CallContext, Egress, Feedback, Reason, Request, SpecialistCard, Trace, Verdict

# --- Lines of an audit log: JSON, each with the SHA-256 of the line before it.

GENESIS = "0" * 64
"""What the first line names as the hash of the line before it."""
CHECKPOINT = "checkpoint"
"""Kind of an entry that the log writes itself: a signature of all lines before it."""
REPAIR = "repair"
"""Kind of an entry that the log writes itself: half a line, left by a writer that was killed, was removed."""
EGRESS = "egress"
"""Kind of an entry that says what is about to leave. The entry with its outcome names its id under `egress`."""

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_BEGINNING = re.compile(rb'\{"prev":"([0-9a-f]{64})","n":(\d{1,18}),"time":')
_TIME = re.compile(rb'"time":(-?[\d.eE+-]{1,40})[,}]')


class LogPosition(NamedTuple):
    """Where a log stands after some line."""

    n: int
    """Number of that line, from 1; 0 before the first."""
    digest: str
    """Its hash."""

    @property
    def statement(self) -> bytes:
        """What is signed to say that the log stood there."""
        return f"{self.n} {self.digest}".encode()


START = LogPosition(0, GENESIS)


def digest_of(line: bytes) -> str:
    """The hash of a line without its end."""
    return hashlib.sha256(line).hexdigest()


def write_line(
    after: LogPosition, time: float, kind: str, tenant: str, about: Mapping[str, Any]
) -> tuple[bytes, LogPosition]:
    """One more line, without its end, and where the log stands after it."""
    entry = {"prev": after.digest, "n": after.n + 1, "time": time, "kind": kind, "tenant": tenant, "about": about}
    line = _encoder.encode(entry).encode("utf-8", "replace")
    return line, LogPosition(after.n + 1, digest_of(line))


def read_beginning(line: bytes) -> tuple[str, int] | None:
    """The hash that a line names and its number; None if it is no line of an audit log."""
    found = _BEGINNING.match(line)
    return (found[1].decode(), int(found[2])) if found else None


def read_time(line: bytes) -> float | None:
    """When a line says that it was written; None if it does not."""
    found = _TIME.search(line, 0, 200)
    try:
        return float(found[1]) if found else None
    except ValueError:
        return None


def read_entry(line: bytes) -> dict[str, Any]:
    """A line as an entry, with its own hash. Raises `ValueError` if it is none."""
    entry = parse_json(line)
    if not isinstance(entry, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - a wrong file, not a mistake in our code
    if not (isinstance(entry.get("n"), int) and isinstance(entry.get("time"), int | float) and "kind" in entry):
        raise ValueError("it has no number, time or kind")
    return {**entry, "hash": digest_of(line)}


# --- Events.

Digest = Callable[[str], str]
"""Stands for content."""


@lru_cache(maxsize=256)
def _readable(verdict: Verdict) -> object:
    """A verdict in words, code and values: most requests have one that another had."""
    return readable(verdict)


def audit_request(
    trace: Trace, request: Request, answer: str, *, cards: Mapping[str, SpecialistCard], digest: Digest
) -> AuditEvent:
    """The entry of a settled request.

    Args:
        trace: Its life.
        request: As it was admitted.
        answer: What the caller was given.
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
        "verdicts": [_readable(verdict) for verdict in trace.verdicts],
        "cost": None if trace.usage.cost is None else str(trace.usage.cost),
        **({"egress": {each.id: each.outcome for each in trace.egress}} if trace.egress else {}),
    }
    return AuditEvent(kind="request", time=trace.time, tenant=trace.tenant, about=about)


def audit_egress(egress: Egress, call: CallContext, *, time: float) -> AuditEvent:
    """The entry of what is about to leave, written before its first byte does."""
    about = {
        **{name: getattr(egress, name) for name in ("id", "engine", "rule", "pseudonymised", "characters", "digest")},
        "label": egress.label.value,
        "trace": call.trace,
        "key": call.principal.key,
    }
    return AuditEvent(kind=EGRESS, time=time, tenant=call.principal.tenant, about=about)


def audit_outcome(sent: Iterable[Egress], call: CallContext, *, time: float) -> AuditEvent:
    """The entry of what came of egresses that belong to no request, as in training: a request's has its own."""
    about = {"egress": {each.id: each.outcome for each in sent}}
    return AuditEvent(kind="egress_outcome", time=time, tenant=call.principal.tenant, about=about)


@asynccontextmanager
async def refusals_noted(audit: Audit | None, request: Request, *, time: float) -> AsyncIterator[None]:
    """A release that is refused within the block is written down, where there is a log, before anybody is told."""
    try:
        yield
    except ReleaseRefused as refused:
        if audit is not None:
            await audit.append(audit_refusal(request, refused.verdict.reason, time=time, digest=audit.digest))
        raise


def audit_refusal(request: Request, reason: Reason, *, time: float, digest: Digest) -> AuditEvent:
    """The entry of a release that was refused, and why."""
    about: dict[str, object] = {
        "key": request.key,
        "to": None if request.release is None else request.release.to.value,
        "asked": digest(request.text),
        **({} if request.document is None else {"document": digest(request.document.text)}),
        **reason.described(),
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

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
"""The hash of the previous line, as the first line names it."""
CHECKPOINT = "checkpoint"
"""Kind of an entry that the log writes itself: a signature of all previous lines."""
REPAIR = "repair"
"""Kind of an entry that the log writes itself: an incomplete line, left by a killed writer, was removed."""
EGRESS = "egress"
"""Kind of an entry that announces an egress. The entry with its outcome names its id under `egress`."""

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_BEGINNING = re.compile(rb'\{"prev":"([0-9a-f]{64})","n":(\d{1,18}),"time":')
_TIME = re.compile(rb'"time":(-?[\d.eE+-]{1,40})[,}]')


class LogPosition(NamedTuple):
    """The position of a log after one of its lines."""

    n: int
    """Number of the line, from 1; 0 before the first line."""
    digest: str
    """Hash of the line."""

    @property
    def statement(self) -> bytes:
        """The bytes that are signed to attest this position."""
        return f"{self.n} {self.digest}".encode()


START = LogPosition(0, GENESIS)


def digest_of(line: bytes) -> str:
    """Return the hash of a line without its line ending."""
    return hashlib.sha256(line).hexdigest()


def write_line(
    after: LogPosition, time: float, kind: str, tenant: str, about: Mapping[str, Any]
) -> tuple[bytes, LogPosition]:
    """Return the next line, without its line ending, and the position of the log after it."""
    entry = {"prev": after.digest, "n": after.n + 1, "time": time, "kind": kind, "tenant": tenant, "about": about}
    line = _encoder.encode(entry).encode("utf-8", "replace")
    return line, LogPosition(after.n + 1, digest_of(line))


def read_beginning(line: bytes) -> tuple[str, int] | None:
    """Return the hash of the previous line and the number that a line names; None if it is not an audit log's line."""
    match = _BEGINNING.match(line)
    return (match[1].decode(), int(match[2])) if match else None


def read_time(line: bytes) -> float | None:
    """Return the time at which a line says it was written; None if it names no time."""
    match = _TIME.search(line, 0, 200)
    try:
        return float(match[1]) if match else None
    except ValueError:
        return None


def read_entry(line: bytes) -> dict[str, Any]:
    """Return a line as an entry, with its own hash. Raises `ValueError` if it is not an entry."""
    entry = parse_json(line)
    if not isinstance(entry, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - a wrong file, not a mistake in our code
    if not (isinstance(entry.get("n"), int) and isinstance(entry.get("time"), int | float) and "kind" in entry):
        raise ValueError("it has no number, time or kind")
    return {**entry, "hash": digest_of(line)}


# --- Events.

Digest = Callable[[str], str]
"""A function that returns a digest of content, to be written in its place."""


@lru_cache(maxsize=256)
def _readable(verdict: Verdict) -> object:
    """Return a verdict as words, code and values. The result is cached, since most requests share their verdicts."""
    return readable(verdict)


def audit_request(
    trace: Trace, request: Request, answer: str, *, cards: Mapping[str, SpecialistCard], digest: Digest
) -> AuditEvent:
    """Return the audit entry of a settled request.

    Args:
        trace: The trace of the request.
        request: The request as it was admitted.
        answer: The answer that the caller received.
        cards: The specialists' cards, for the versions of the specialists that were asked.
        digest: Returns the digest that is written in place of content.
    """
    specialists = dict.fromkeys(finding.specialist for finding in trace.findings)
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
        "specialists": {name: cards[name].version if name in cards else "" for name in specialists},
        "verdicts": [_readable(verdict) for verdict in trace.verdicts],
        "cost": None if trace.usage.cost is None else str(trace.usage.cost),
        **({"egress": {crossing.id: crossing.outcome for crossing in trace.egress}} if trace.egress else {}),
    }
    return AuditEvent(kind="request", time=trace.time, tenant=trace.tenant, about=about)


def audit_egress(egress: Egress, call: CallContext, *, time: float) -> AuditEvent:
    """Return the entry of an egress, which is written before the first byte leaves."""
    about = {
        **{name: getattr(egress, name) for name in ("id", "engine", "rule", "pseudonymised", "characters", "digest")},
        "label": egress.label.value,
        "trace": call.trace,
        "key": call.principal.key,
    }
    return AuditEvent(kind=EGRESS, time=time, tenant=call.principal.tenant, about=about)


def audit_outcome(sent: Iterable[Egress], call: CallContext, *, time: float) -> AuditEvent:
    """Return the entry with the outcome of egresses that belong to no request, as in training."""
    about = {"egress": {crossing.id: crossing.outcome for crossing in sent}}
    return AuditEvent(kind="egress_outcome", time=time, tenant=call.principal.tenant, about=about)


@asynccontextmanager
async def refusals_noted(audit: Audit | None, request: Request, *, time: float) -> AsyncIterator[None]:
    """Write a release that is refused within the block to the audit log, if any, before raising the error."""
    try:
        yield
    except ReleaseRefused as refused:
        if audit is not None:
            await audit.append(audit_refusal(request, refused.verdict.reason, time=time, digest=audit.digest))
        raise


def audit_refusal(request: Request, reason: Reason, *, time: float, digest: Digest) -> AuditEvent:
    """Return the entry of a refused release, with the reason."""
    about: dict[str, object] = {
        "key": request.key,
        "to": None if request.release is None else request.release.to.value,
        "asked": digest(request.text),
        **({} if request.document is None else {"document": digest(request.document.text)}),
        **reason.described(),
    }
    return AuditEvent(kind="release_refused", time=time, tenant=request.tenant, about=about)


def audit_feedback(feedback: Feedback, *, digest: Digest, refused: str = "") -> AuditEvent:
    """Return the entry of feedback on an answer.

    Args:
        feedback: The feedback.
        digest: Returns the digest that is written in place of content. In refused feedback the trace id is
            content too, since a caller may have invented it.
        refused: The code of the error, if the feedback was not kept.
    """
    about: dict[str, object] = {"trace": feedback.trace_id, "key": feedback.key}
    if refused:
        about = {**about, "trace": digest(feedback.trace_id), "reason": refused}
        return AuditEvent(kind="feedback_refused", time=feedback.time, tenant=feedback.tenant, about=about)
    value = None if feedback.value is None else digest(str(feedback.value))
    comment = digest(feedback.comment) if feedback.comment else None
    about |= {"thumb": feedback.thumb, "specialist": feedback.specialist, "value": value, "comment": comment}
    return AuditEvent(kind="feedback", time=feedback.time, tenant=feedback.tenant, about=about)

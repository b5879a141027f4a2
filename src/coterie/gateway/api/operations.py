"""Endpoints for operators: liveness, readiness, counters, traces and feedback."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.errors import InputError
from coterie.gateway.access import Caller
from coterie.gateway.connection import JSONBody, encode
from coterie.gateway.errors import WireError, no_trace
from coterie.gateway.wire import FeedbackRequest, read_wire
from coterie.gateway.work import Gateway
from coterie.governance.audit_events import audit_feedback
from coterie.network.settlement import check_value
from coterie.observe.plain import without_egress_text
from coterie.runtime.codec import readable
from coterie.runtime.concurrency import AT_ONCE, aside
from coterie.store.content import without_content
from coterie.types import Feedback, Trace


async def tell_health(_http: HTTPRequest) -> Response:
    """Respond that the process is alive."""
    return JSONBody({"status": "ok"})


async def tell_readiness(http: HTTPRequest) -> Response:
    """Respond whether the gateway takes requests: 200, or 503 once it drains."""
    if Gateway.of(http).draining:
        return JSONBody({"status": "draining"}, status_code=503)
    return JSONBody({"status": "ok"})


async def show_metrics(http: HTTPRequest) -> Response:
    """Respond with the counters, for Prometheus."""
    metrics = Gateway.of(http).metrics
    return Response(metrics.render(), media_type=metrics.content_type)


async def show_trace(http: HTTPRequest) -> Response:
    """Respond with a settled request's trace, as far as the caller may see it. Raises `WireError` if there is none.

    With `?show_egress=true` it includes the texts that were sent, where content is kept.
    """
    gateway, caller, trace_id = Gateway.of(http), Caller.of(http.scope), http.path_params["trace_id"]
    trace = await find_trace(gateway, caller, trace_id)
    label = max([trace.label, *(finding.label for finding in trace.findings)])
    above = caller.key is not None and label > caller.clearance(gateway.network.default_label)
    if http.query_params.get("show_egress") != "true":
        trace = without_egress_text(trace)

    def written() -> bytes:
        return encode(readable(without_content(trace) if above else trace))

    return Response(await aside(AT_ONCE + 1, written), media_type=JSONBody.media_type)


async def find_trace(gateway: Gateway, caller: Caller, trace_id: str) -> Trace:
    """Return a settled request of the caller's tenant that involves only specialists visible to the caller.

    Raises:
        WireError: there is none such; the message is the same for every reason.
    """
    trace = await gateway.network.store.trace(trace_id, caller.tenant)
    if trace is None or not all(map(caller.sees, _specialists_of(trace))):
        raise no_trace(trace_id)
    return trace


def _specialists_of(trace: Trace) -> set[str]:
    """Return the names of all that took part in a request."""
    return {*trace.route.specialists, *(finding.specialist for finding in trace.findings)}


# --- `POST /api/feedback`: what a caller says of an answer that was given.


def take_feedback(gateway: Gateway, caller: Caller, body: bytes) -> ASGIApp:
    """Return the ASGI app that stores feedback. Raises `WireError` or pydantic's `ValidationError`."""
    wire = read_wire(FeedbackRequest, body)
    if wire.thumb is None and wire.value is None and not wire.comment.strip():
        raise WireError("invalid_request", "The feedback says nothing: send `thumb`, `value` or `comment`.")
    feedback = Feedback(
        trace_id=wire.trace_id,
        time=gateway.network.clock(),
        tenant=caller.tenant,
        key=caller.key_id,
        specialist=wire.specialist,
        thumb=wire.thumb,
        value=tuple(wire.value) if isinstance(wire.value, list) else wire.value,
        comment=wire.comment,
    )
    return _Keeping(gateway=gateway, caller=caller, feedback=feedback)


@dataclass(frozen=True, kw_only=True)
class _Keeping:
    """ASGI app that stores feedback and confirms it."""

    gateway: Gateway
    caller: Caller
    feedback: Feedback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Store the feedback and respond.

        Raises:
            WireError: there is no such trace that the caller may see.
            InputError: it is about a specialist that found nothing there, or names no label of it.
            AuditError: it could not be recorded.
        """
        try:
            trace = await find_trace(self.gateway, self.caller, self.feedback.trace_id)
            check_value(self.feedback, trace, self._labels)
            if not await self.gateway.network.store.feedback(self.feedback):
                raise no_trace(self.feedback.trace_id)
        except (WireError, InputError) as error:
            await self._write_down(refused=error.code)
            raise
        await self._write_down()
        self.gateway.metrics.count_feedback(self.feedback)
        await JSONBody({"trace_id": self.feedback.trace_id, "status": "kept"})(scope, receive, send)

    def _labels(self, name: str) -> tuple[str, ...]:
        specialist = self.gateway.network.specialists.get(name)
        return () if specialist is None else specialist.card.labels

    async def _write_down(self, *, refused: str = "") -> None:
        audit = self.gateway.network.audit
        if audit is not None:
            await audit.append(audit_feedback(self.feedback, digest=audit.digest, refused=refused))

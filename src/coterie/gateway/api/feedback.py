"""`POST /api/feedback`: what a caller says of an answer that was given."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.errors import InputError
from coterie.gateway.access import Caller
from coterie.gateway.api.operations import find_trace
from coterie.gateway.connection import JSONBody
from coterie.gateway.errors import WireError, no_trace
from coterie.gateway.wire import FeedbackRequest
from coterie.gateway.work import Gateway
from coterie.governance.audit_events import audit_feedback
from coterie.network.feedback import check_value
from coterie.types import Feedback


def take_feedback(gateway: Gateway, caller: Caller, body: bytes) -> ASGIApp:
    """What keeps it. Raises `WireError` or pydantic's `ValidationError`."""
    wire = FeedbackRequest.model_validate_json(body)
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
    """Writes it down and says so."""

    gateway: Gateway
    caller: Caller
    feedback: Feedback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it.

        Raises:
            WireError: there is no such trace that the caller may know of.
            InputError: it is about a specialist that found nothing there, or names no label of it.
            AuditError: it could not be written down.
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

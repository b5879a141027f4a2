"""`POST /v1/chat/completions`, whole and streamed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.gateway.access import Caller
from coterie.gateway.connection import DONE, TRACE_HEADER, ClientGone, JSONBody, event, send_event
from coterie.gateway.errors import WireError, error_response
from coterie.gateway.openai.translation import chunk, chunk_head, completion, finish_reason, read_request, token_usage
from coterie.gateway.wire import ChatRequest
from coterie.gateway.work import Gateway
from coterie.governance.audit_events import audit_refusal
from coterie.observe.plain import EGRESS_HEADER, EGRESS_IN_STREAM, summarise
from coterie.types import Answer, Delta, Reason, Request


def complete_chat(gateway: Gateway, caller: Caller, body: bytes) -> ASGIApp:
    """What answers a chat request. Raises `WireError` or pydantic's `ValidationError` for one that cannot be served."""
    wire = ChatRequest.model_validate_json(body)
    network = gateway.network
    most = caller.clearance(network.default_label)
    seen = [name for name in network.specialists if caller.sees(name)]
    request = read_request(wire, specialists=seen, tenant=caller.tenant, clearance=most)
    request = replace(
        request,
        clearance=request.clearance or most,
        key=caller.key_id,
        allowed=caller.specialists,
        release_slot=caller.release_slot,
    )
    if request.release is not None and not caller.may("release"):
        return Unreleased(gateway=gateway, caller=caller, request=request)
    with_usage = bool(wire.stream_options and wire.stream_options.include_usage)
    kind = Streamed if wire.stream else Whole
    return kind(
        gateway=gateway,
        request=request,
        trace_id=gateway.network.new_id(),
        model=wire.model,
        with_usage=with_usage,
    )


@dataclass(frozen=True, kw_only=True)
class Unreleased:
    """Refuses to release for somebody whose role does not, once that is written down."""

    gateway: Gateway
    caller: Caller
    request: Request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - an ASGI app
        """Raises `WireError`, or `AuditError` where it cannot be written down."""
        network = self.gateway.network
        if network.audit is not None:
            reason = Reason("release.role", role=self.caller.role)
            entry = audit_refusal(self.request, reason, time=network.clock(), digest=network.audit.digest)
            await network.audit.append(entry)
        self.caller.require("release")


@dataclass(frozen=True, kw_only=True)
class Whole:
    """The answer in one piece."""

    gateway: Gateway
    request: Request
    trace_id: str
    model: str
    with_usage: bool
    """Streams only: a last chunk with the token counts."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask and answer."""
        answer = await self.gateway.network.ask(self.request, trace_id=self.trace_id)
        self.gateway.metrics.count_answer(answer.trace)
        headers = {TRACE_HEADER: answer.trace.id, EGRESS_HEADER: answer.trace.egress_summary}
        await JSONBody(completion(answer, model=self.model), headers=headers)(scope, receive, send)


@dataclass(frozen=True, kw_only=True)
class Streamed(Whole):
    """The answer as server-sent events, each sent when the caller has read those before it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - an ASGI app
        """Ask and answer. What fails before the first piece still has a status of its own."""
        start, network = time.perf_counter(), self.gateway.network
        async with (
            aclosing(network.stream(self.request, trace_id=self.trace_id)) as events,
            aclosing(self._pieces(events)) as pieces,
        ):
            first = await anext(pieces)
            await send({"type": "http.response.start", "status": 200, "headers": self._headers()})
            await send_event(send, first)
            self.gateway.metrics.count_first_text(time.perf_counter() - start)
            await self._send_rest(pieces, send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_rest(self, pieces: AsyncIterator[bytes], send: Send) -> None:
        """The pieces after the first. The status is sent: what fails now is said in the stream."""
        try:
            async for piece in pieces:
                await send_event(send, piece)
        except ClientGone:
            raise
        except asyncio.CancelledError:
            if not self.gateway.draining:
                raise
            cut = WireError("shutting_down", "The gateway shut down before the answer was complete.")
            await send_event(send, event({"error": error_response(cut).error}))
        except Exception as error:  # noqa: BLE001 - every error becomes an event; see error_response
            await send_event(send, event({"error": error_response(error).error}))

    async def _pieces(self, events: AsyncIterator[Delta | Answer]) -> AsyncGenerator[bytes]:
        """The network's events as the bytes of the stream."""
        created = int(self.gateway.network.clock())
        head = chunk_head(self.trace_id, model=self.model, created=created, with_usage=self.with_usage)
        opening = event(chunk(head, {"role": "assistant", "content": ""}))
        async for said in events:
            if isinstance(said, Delta):
                yield opening + event(chunk(head, {"content": said.text}))
            else:
                self.gateway.metrics.count_answer(said.trace)
                yield opening + self._ending(head, said)
            opening = b""

    def _ending(self, head: dict[str, Any], answer: Answer) -> bytes:
        """The last chunks: the reason to stop with the `coterie` object, the token counts, the end mark."""
        last = event(chunk(head, {}, finish=finish_reason(answer)) | {"coterie": summarise(answer.trace)})
        counts = event(head | {"choices": [], "usage": token_usage(answer.trace)}) if self.with_usage else b""
        return last + counts + DONE

    def _headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (TRACE_HEADER.encode(), self.trace_id.encode()),
            (EGRESS_HEADER.encode(), EGRESS_IN_STREAM.encode()),
        ]

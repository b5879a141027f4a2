"""One question and its answer, whole or streamed, in the format of the requested API."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from coterie.gateway.connection import ClientGone, JSONBody, send_event
from coterie.gateway.errors import ErrorResponse, WireError, error_response
from coterie.gateway.work import Gateway
from coterie.generalist.generalist import NAME
from coterie.governance.egress import leaves
from coterie.observe.plain import EGRESS_HEADER, TRACE_HEADER
from coterie.types import EGRESS_IN_STREAM, Answer, Delta, Request, Trace

IGNORED_HEADER = "x-coterie-ignored"
"""Header with the options of a request that had no effect."""
SAMPLING = frozenset(
    {
        *("temperature", "top_p", "seed", "stop", "stop_sequences", "frequency_penalty", "presence_penalty"),
        *("max_tokens", "max_completion_tokens", "max_output_tokens"),
    }
)
"""Parameters that only affect a generating model."""
FUNCTIONS = frozenset({"tools", "parallel_tool_calls", "tool_choice.disable_parallel_tool_use"})
"""Parameters that only affect a generating model that may call functions."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MOST_NAMED = 64
BY_A_MODEL = frozenset({"written", "called"})

Abstain = Literal["refusal", "content_filter", "text", "status"]


def ignored_header(names: Iterable[str]) -> dict[str, str]:
    """Return the header that names options without effect; empty if there are none. Invalid names are left out."""
    ignored = sorted(filter(_NAME.fullmatch, names))
    return {IGNORED_HEADER: ", ".join(ignored[:_MOST_NAMED])} if ignored else {}


def idle_options(gateway: Gateway, request: Request) -> list[str]:
    """Return which of the request's options `quality` and `budget` have no effect in this network."""
    network = gateway.network
    idle = [] if request.quality is None or network.policy.known else ["quality"]
    return idle if request.budget is None or any(map(leaves, network.engines)) else [*idle, "budget"]


def asked_a_model(answer: Answer) -> bool:
    """Return whether the generalist wrote for the answer, also where its text was not taken."""
    steps = (step for finding in answer.findings if finding.specialist == NAME for step in finding.steps)
    return any(step.usage.tokens_out for step in steps)


def _offered(answer: Answer) -> bool:
    """Return whether a model could call the request's functions, also one that did not."""
    return any(finding.offered for finding in answer.findings)


class ToldAnswer(Protocol):
    """The parts of an answer that an API writes: the network's answer, or a single model's."""

    @property
    def text(self) -> str:
        """The answer, or why there is none."""
        ...

    @property
    def trace(self) -> Trace:
        """The record of the request."""
        ...

    @property
    def called(self) -> bool:
        """Whether the text is function calls (`Finding.called`)."""
        ...

    @property
    def cut(self) -> bool:
        """Whether the text was cut at the length limit."""
        ...


class AnswerFormat(Protocol):
    """Writes an answer in the format of one API. One instance for each request."""

    def whole(self, answer: ToldAnswer, *, refused: bool) -> dict[str, Any]:
        """Return the answer in one piece."""
        ...

    def begin(self) -> bytes:
        """Return the data before the first piece of a stream."""
        ...

    def piece(self, text: str, *, refused: bool) -> bytes:
        """Return a piece of the text, or of the reason why there is none."""
        ...

    def calls(self, text: str) -> bytes:
        """Return a text that is function calls (`Finding.called`)."""
        ...

    def end(self, answer: ToldAnswer, *, refused: bool) -> bytes:
        """Return the data after the last piece."""
        ...

    def failed(self, error: ErrorResponse) -> bytes:
        """Return the event that ends a failed stream."""
        ...


STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"}


def written(
    form: AnswerFormat, answer: ToldAnswer, *, stream: bool, headers: Mapping[str, str], refused: bool = False
) -> Response:
    """Return the ASGI app that sends a complete answer, in one piece or as the events of a stream."""
    if not stream:
        return JSONBody(form.whole(answer, refused=refused), headers=dict(headers))
    piece = form.calls(answer.text) if answer.called else form.piece(answer.text, refused=refused)
    body = form.begin() + piece + form.end(answer, refused=refused)
    return Response(body, headers={**headers, **STREAM_HEADERS})


@asynccontextmanager
async def failing_in_stream(gateway: Gateway, form: AnswerFormat, send: Send) -> AsyncIterator[None]:
    """Send an error inside the block as the last event of a stream, whose status was already sent."""
    try:
        yield
    except ClientGone:
        raise
    except asyncio.CancelledError:
        if not gateway.draining:
            raise
        cut = WireError("shutting_down", "The gateway shut down before the answer was complete.")
        await send_event(send, form.failed(error_response(cut)))
    except Exception as error:  # noqa: BLE001 - every error becomes an event; see error_response
        await send_event(send, form.failed(error_response(error)))


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """ASGI app for one request that asks the network and answers."""

    gateway: Gateway
    request: Request
    trace_id: str
    format: AnswerFormat
    stream: bool
    abstain: Abstain
    set: Collection[str] = ()
    """Parameters of the request that may have no effect."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask and answer. An error before the first piece has its own status."""
        if self.stream:
            await self._streamed(send)
            return
        answer, kinds = await self.gateway.network.whole(self.request, trace_id=self.trace_id)
        written = not kinds.isdisjoint(BY_A_MODEL) or asked_a_model(answer)
        self.gateway.metrics.count_answer(answer.trace)
        headers = self._headers(written=written, offered=_offered(answer)) | {
            EGRESS_HEADER: answer.trace.egress_summary
        }
        if self.abstain == "status" and not answer.accepted:
            response = ErrorResponse(422, "abstained", answer.text, headers=headers)
            await response.for_path(scope["path"])(scope, receive, send)
            return
        body = self.format.whole(answer, refused=self._refused(answer))
        await JSONBody(body, headers=headers)(scope, receive, send)

    def _refused(self, answer: Answer) -> bool:
        """Return whether an answer's text belongs in the refusal field of its API."""
        return not answer.accepted and self.abstain != "text"

    def _headers(self, *, written: bool, offered: bool) -> dict[str, str]:
        acted = (SAMPLING if written else frozenset()) | (FUNCTIONS if offered else frozenset())
        return {TRACE_HEADER: self.trace_id, **ignored_header(name for name in self.set if name not in acted)}

    # --- streams -----------------------------------------------------------------------------------

    async def _streamed(self, send: Send) -> None:
        start, network = time.perf_counter(), self.gateway.network
        async with (
            aclosing(network.stream(self.request, trace_id=self.trace_id)) as events,
            aclosing(self._pieces(events)) as pieces,
        ):
            first, written, offered = await anext(pieces)
            streamed_headers = {**STREAM_HEADERS, EGRESS_HEADER: EGRESS_IN_STREAM}
            headers = [
                (k.encode(), v.encode())
                for k, v in (streamed_headers | self._headers(written=written, offered=offered)).items()
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send_event(send, first)
            self.gateway.metrics.count_first_text(time.perf_counter() - start)
            await self._send_rest(pieces, send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_rest(self, pieces: AsyncIterator[tuple[bytes, bool, bool]], send: Send) -> None:
        """Send the pieces after the first. The status was sent, so an error becomes an event of the stream."""
        async with failing_in_stream(self.gateway, self.format, send):
            async for piece, *_ in pieces:
                await send_event(send, piece)

    async def _pieces(self, events: AsyncIterator[Delta | Answer]) -> AsyncGenerator[tuple[bytes, bool, bool]]:
        """Yield the network's events as bytes, each with whether a model wrote it, and whether it could call functions.

        The reason why a part is not answered waits until it is known whether another part is: then it is text.
        """
        opening, held = self.format.begin(), ""
        async for event in events:
            if isinstance(event, Delta) and event.kind == "abstained":
                held += event.text
                continue
            if isinstance(event, Delta):
                called = event.kind == "called"
                piece = self.format.calls(event.text) if called else self.format.piece(held + event.text, refused=False)
                yield opening + piece, event.kind in BY_A_MODEL, event.offered
                held = ""
            else:
                self.gateway.metrics.count_answer(event.trace)
                refused = self._refused(event)
                if self.abstain == "status" and not event.accepted:
                    raise WireError("abstained", event.text)
                rest = self.format.piece(held, refused=refused) if held else b""
                yield opening + rest + self.format.end(event, refused=refused), asked_a_model(event), _offered(event)
            opening = b""

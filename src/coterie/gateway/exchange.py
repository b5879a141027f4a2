"""One question and its answer, whole or streamed, in the format of the API that was asked."""

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

from coterie.gateway.connection import TRACE_HEADER, ClientGone, JSONBody, send_event
from coterie.gateway.errors import ErrorResponse, WireError, error_response
from coterie.gateway.work import Gateway
from coterie.governance.egress import leaves
from coterie.observe.plain import EGRESS_HEADER
from coterie.types import EGRESS_IN_STREAM, Answer, Delta, Request, Trace

IGNORED_HEADER = "x-coterie-ignored"
"""Names what a request asked for and nobody could do."""
SAMPLING = frozenset(
    {
        *("temperature", "top_p", "seed", "stop", "stop_sequences", "frequency_penalty", "presence_penalty"),
        *("max_tokens", "max_completion_tokens", "max_output_tokens"),
    }
)
"""What acts where a model writes, and nowhere else."""
FUNCTIONS = frozenset({"tools", "parallel_tool_calls", "tool_choice.disable_parallel_tool_use"})
"""What acts where such a model may call functions."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MOST_NAMED = 64
BY_A_MODEL = frozenset({"written", "called"})

Abstain = Literal["refusal", "content_filter", "text", "status"]


def ignored_header(names: Iterable[str]) -> dict[str, str]:
    """The header that names what had no effect; none if all had. A name that is no header's is left out."""
    ignored = sorted(filter(_NAME.fullmatch, names))
    return {IGNORED_HEADER: ", ".join(ignored[:_MOST_NAMED])} if ignored else {}


def idle_options(gateway: Gateway, request: Request) -> list[str]:
    """Which of a request's wishes for quality and budget nothing here can follow."""
    network = gateway.network
    idle = [] if request.quality is None or network.policy.known else ["quality"]
    return idle if request.budget is None or any(map(leaves, network.engines)) else [*idle, "budget"]


class ToldAnswer(Protocol):
    """What an API writes of an answer: of the network's, or of one model's."""

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
        """The text is calls of functions (`Finding.called`)."""
        ...

    @property
    def cut(self) -> bool:
        """The text ends because it might be no longer."""
        ...


class AnswerFormat(Protocol):
    """How one API writes an answer. One instance for each request."""

    def whole(self, answer: ToldAnswer, *, refused: bool) -> dict[str, Any]:
        """The answer in one piece."""
        ...

    def begin(self) -> bytes:
        """What comes before the first piece of a stream."""
        ...

    def piece(self, text: str, *, refused: bool) -> bytes:
        """A piece of the text, or of the reason why there is none."""
        ...

    def calls(self, text: str) -> bytes:
        """Calls of functions, which the text is (`Finding.called`)."""
        ...

    def end(self, answer: ToldAnswer, *, refused: bool) -> bytes:
        """What comes after the last piece."""
        ...

    def failed(self, error: ErrorResponse) -> bytes:
        """The event that ends a stream which cannot go on."""
        ...


STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"}


def written(
    form: AnswerFormat, answer: ToldAnswer, *, stream: bool, headers: Mapping[str, str], refused: bool = False
) -> Response:
    """What sends an answer that is there as a whole, in one piece or as the events of a stream."""
    if not stream:
        return JSONBody(form.whole(answer, refused=refused), headers=dict(headers))
    piece = form.calls(answer.text) if answer.called else form.piece(answer.text, refused=refused)
    body = form.begin() + piece + form.end(answer, refused=refused)
    return Response(body, headers={**headers, **STREAM_HEADERS})


@asynccontextmanager
async def failing_in_stream(gateway: Gateway, form: AnswerFormat, send: Send) -> AsyncIterator[None]:
    """Say what fails within as the last event of a stream: its status is sent."""
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
    """Asks the network and answers; an ASGI app for one request."""

    gateway: Gateway
    request: Request
    trace_id: str
    format: AnswerFormat
    stream: bool
    abstain: Abstain
    set: Collection[str] = ()
    """Parameters of the request that may turn out to have no effect."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask and answer. What fails before the first piece still has a status of its own."""
        if self.stream:
            await self._streamed(send)
            return
        answer, kinds = await self.gateway.network.whole(self.request, trace_id=self.trace_id)
        written = not kinds.isdisjoint(BY_A_MODEL)
        self.gateway.metrics.count_answer(answer.trace)
        offered = any(finding.offered for finding in answer.findings)
        headers = self._headers(written=written, offered=offered) | {EGRESS_HEADER: answer.trace.egress_summary}
        if self.abstain == "status" and not answer.accepted:
            response = ErrorResponse(422, "abstained", answer.text, headers=headers)
            await response.for_path(scope["path"])(scope, receive, send)
            return
        body = self.format.whole(answer, refused=self._refused(answer))
        await JSONBody(body, headers=headers)(scope, receive, send)

    def _refused(self, answer: Answer) -> bool:
        """Whether the text of an answer goes where its API has refusals."""
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
            told = {**STREAM_HEADERS, EGRESS_HEADER: EGRESS_IN_STREAM}
            headers = [
                (k.encode(), v.encode()) for k, v in (told | self._headers(written=written, offered=offered)).items()
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send_event(send, first)
            self.gateway.metrics.count_first_text(time.perf_counter() - start)
            await self._send_rest(pieces, send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_rest(self, pieces: AsyncIterator[tuple[bytes, bool, bool]], send: Send) -> None:
        """The pieces after the first. The status is sent: what fails now is said in the stream."""
        async with failing_in_stream(self.gateway, self.format, send):
            async for piece, *_ in pieces:
                await send_event(send, piece)

    async def _pieces(self, events: AsyncIterator[Delta | Answer]) -> AsyncGenerator[tuple[bytes, bool, bool]]:
        """The network's events as bytes, each with whether a model wrote it, and whether it could call functions.

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
                yield opening + rest + self.format.end(event, refused=refused), False, False
            opening = b""

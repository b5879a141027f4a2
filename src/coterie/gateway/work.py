"""The life of a request that asks the network: body, admission, a slot among a bounded number, answer.

A request holds an admission from its whole body to its response's last byte, and a worker slot only while the network
works on it here. While a remote model is waited for, it holds neither, so that slow remote answers leave the slots to
local work. A request beyond all admissions, or beyond its client's share, is refused at once with an estimate of when
to retry. Slots are assigned in turn to clients: the client that has waited longest is next, not the request.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.config.file import GatewaySection
from coterie.errors import Overloaded
from coterie.gateway.access import Caller
from coterie.gateway.connection import ARRIVED, Bodies, ClientGone, JSONBody, send_event, while_connected
from coterie.gateway.errors import ErrorResponse, WireError, error_response
from coterie.generalist.generalist import NAME
from coterie.governance.egress import leaves
from coterie.governance.keys import KeyRing
from coterie.observe.metrics import Metrics
from coterie.observe.plain import EGRESS_HEADER, TRACE_HEADER
from coterie.runtime.codec import replace
from coterie.runtime.concurrency import aside
from coterie.types import EGRESS_IN_STREAM, Answer, Delta, Request, Trace

if TYPE_CHECKING:
    from coterie.network.network import Network

_LONGEST_WAIT = 60.0
_MEMORY = 0.9
"""Weight of the past in the moving average of a request's time."""


class Shared:
    """A limited number of places, of which one client may hold a share."""

    def __init__(self, most: int, share: float = 1.0) -> None:
        """Store the number of places, and the share of it for one client, which is at least one place."""
        self.most, self.most_each = most, max(1, math.ceil(most * share))
        self.total = 0
        self._held: dict[str, int] = {}

    def of(self, client: str) -> int:
        """Return the number of places that one client holds."""
        return self._held.get(client, 0)

    def free(self, client: str) -> bool:
        """Return whether this client may take another place."""
        return self.total < self.most and self._held.get(client, 0) < self.most_each

    def take(self, client: str) -> None:
        """Count one more place, even if none is free."""
        self.total += 1
        self._held[client] = self._held.get(client, 0) + 1

    def give(self, client: str) -> None:
        """Count one place less."""
        self.total -= 1
        left = self._held.pop(client) - 1
        if left:
            self._held[client] = left


class _Entered:
    """Requests that were admitted between two moments."""

    def __init__(self) -> None:
        self.inside = 0
        self.gone = asyncio.Event()


class WorkerSlots:
    """Admissions and worker slots of one gateway; used from its event loop only."""

    def __init__(
        self,
        *,
        concurrency: int,
        queue: int,
        remote: int = 256,
        share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Store the limits.

        Args:
            concurrency: Requests that are processed here at once.
            queue: Requests that may wait for a slot.
            remote: Requests that may wait for remote models at once.
            share: Share of each of these that one client may take.
            clock: Monotonic seconds.
        """
        self.admissions, self.slots, self.remote = (
            Shared(n, share) for n in (concurrency + queue, concurrency, remote)
        )
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}
        """Who waits for a slot, by client; the client whose turn is next comes first."""
        self._clock = clock
        self._mean_seconds = 0.0
        self._empty = asyncio.Event()
        self._empty.set()
        self._lately = _Entered()
        self._earlier: set[_Entered] = set()
        self.admitted = 0
        """Requests that are inside, those that wait for remote models included."""

    @property
    def working(self) -> int:
        """Number of requests that hold a slot."""
        return self.slots.total

    @property
    def waiting(self) -> int:
        """Number of requests that hold an admission and no slot."""
        return self.admitted - self.working - self.remote.total

    def check(self, client: str) -> None:
        """Check that a client may have another admission. Raise `Overloaded` otherwise."""
        if not self.admissions.free(client):
            mine, most = self.admissions.of(client), self.admissions.most_each
            whose = f"; {mine} of them are of this client, which may have {most}" if mine >= most else ""
            raise Overloaded(
                f"{self.working} requests at work and {self.waiting} waiting: the gateway takes {self.admissions.most} "
                f"at once{whose}.",
                retry_after=self._retry_after(),
                hint="Try again later, or raise [gateway] concurrency, queue or share in coterie.toml.",
            )

    @contextmanager
    def admit(self, client: str = "") -> Iterator[WorkerSlot]:
        """Admit a request, and yield a slot to enter. Raises `Overloaded` where there is no admission."""
        self.check(client)
        entered = self._lately
        self.admissions.take(client)
        self.admitted += 1
        entered.inside += 1
        self._empty.clear()
        try:
            yield WorkerSlot(self, client)
        finally:
            self.admissions.give(client)
            self.admitted -= 1
            entered.inside -= 1
            if not entered.inside and entered in self._earlier:
                self._earlier.remove(entered)
                entered.gone.set()
            if self.admitted == 0:
                self._empty.set()

    async def empty(self) -> None:
        """Wait until no request is admitted any more."""
        await self._empty.wait()

    def leaving(self) -> Sequence[asyncio.Event]:
        """Return events that are set when all currently admitted requests have left; later ones are not waited for."""
        if self._lately.inside:
            self._earlier.add(self._lately)
            self._lately = _Entered()
        return [waiting.gone for waiting in self._earlier]

    async def acquire(self, client: str) -> None:
        """Wait for a slot and take it; requests of one client are served in order."""
        if self.slots.free(client):
            self.slots.take(client)
            return
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(client)  # it came when nobody waited for it any more
            raise

    def release(self, client: str) -> None:
        """Return a slot and pass it on to the next request."""
        self.slots.give(client)
        while self._queues and (after := next(filter(self.slots.free, self._queues), None)) is not None:
            self._pass_on(after)

    def _pass_on(self, client: str) -> None:
        """Give a free slot to a client's first waiting request; the client is then the last in turn."""
        queue = self._queues.pop(client)
        while queue:
            turn = queue.popleft()
            if not turn.cancelled():
                self.slots.take(client)
                turn.set_result(None)
                break
        if queue:
            self._queues[client] = queue

    def now(self) -> float:
        """Return seconds on the clock."""
        return self._clock()

    def remember(self, began: float) -> None:
        """Record how long a request held its slot, from the given time on."""
        seconds, measured_before = self._clock() - began, self._mean_seconds > 0
        self._mean_seconds = _MEMORY * self._mean_seconds + (1 - _MEMORY) * seconds if measured_before else seconds

    def _retry_after(self) -> float:
        """Return the estimated whole seconds until the waiting requests have been served."""
        estimate = self._mean_seconds * (self.waiting + 1) / self.slots.most
        return float(min(_LONGEST_WAIT, max(1, math.ceil(estimate))))


class ReleasedSlot:
    """A context in which other requests may use a request's slot."""

    __slots__ = ("_slot",)

    def __init__(self, slot: WorkerSlot) -> None:
        self._slot = slot

    async def __aenter__(self) -> None:
        self._slot.go()

    async def __aexit__(self, *_: object) -> None:
        self._slot.come_back()


class WorkerSlot:
    """The worker slot of one request: an async context that waits for it and holds it."""

    def __init__(self, slots: WorkerSlots, client: str) -> None:
        self._all, self._client = slots, client
        self._began: float | None = None
        self._away = 0

    async def __aenter__(self) -> None:
        await self._all.acquire(self._client)
        self._began = self._all.now()

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def released(self) -> ReleasedSlot:
        """Return a context that frees slot and admission while a remote model is waited for, and takes them back.

        They are taken back at once, even if all are in use by then: later requests wait longer. Other parts of the
        request continue without a slot meanwhile. Entering raises `Overloaded` where too many wait for remote models.
        """
        return ReleasedSlot(self)

    def go(self) -> None:
        """Begin to wait for a remote model. Raises `Overloaded`."""
        if not self._away:
            self._go()
        self._away += 1

    def come_back(self) -> None:
        """End the wait for a remote model."""
        self._away -= 1
        if not self._away:
            self._all.remote.give(self._client)
            self._all.admissions.take(self._client)
            self._all.slots.take(self._client)
            self._began = self._all.now()

    def _go(self) -> None:
        remote, client = self._all.remote, self._client
        if not remote.free(client):
            raise Overloaded(
                f"{remote.total} requests wait for remote models, {remote.of(client)} of them of this client: the "
                f"gateway lets {remote.most} wait at once, and {remote.most_each} of one client.",
                retry_after=1.0,
                hint="Try again later, or raise [gateway] remote or share in coterie.toml.",
            )
        self._leave()
        remote.take(client)
        self._all.admissions.give(client)

    def _leave(self) -> None:
        if self._began is not None:
            self._all.remember(self._began)
            self._began = None
            self._all.release(self._client)


# --- What every endpoint needs: the network, the limits and the counters of one gateway.

# --- The life of a request that makes the network work: body, admission, slot, answer; stopped when its caller leaves.

_LONGEST_WORK = 600.0
"""Seconds after which a replaced network is closed, even if requests are still running on it."""
_PAGE_SECONDS = 1.0
"""Seconds for which a replaced network is kept for requests without an admission, such as pages of the console."""
_SETTLE_SECONDS = 5.0
"""Seconds that requests which were cut off at shutdown have to settle."""


@dataclass
class Gateway:
    """A running gateway. It does not own the network, which its opener closes."""

    network: Network
    section: GatewaySection
    admission: WorkerSlots
    bodies: Bodies
    metrics: Metrics
    opened: int
    """Start of the gateway in seconds since the epoch."""
    ring: KeyRing | None = None
    """The keys of the gateway; None where there can be none."""
    draining: bool = False
    """Set once at shutdown: running requests finish, further ones are refused."""
    _closing: set[asyncio.Task[None]] = field(default_factory=set)
    """Tasks that close replaced networks."""

    @staticmethod
    def of(connection: HTTPConnection | Scope) -> Gateway:
        """Return the gateway that serves this request."""
        gateway: Gateway = connection["app"].state.gateway
        return gateway

    async def replace_network(self, network: Network) -> None:
        """Serve another network from the next request on; close the previous one once its requests have ended."""
        network.inherit(self.network)
        before, self.network = self.network, network
        task = asyncio.create_task(self._close_idle(before))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_idle(self, network: Network) -> None:
        there = self.admission.leaving()  # who comes later works with another
        await asyncio.sleep(_PAGE_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_WORK):
                for left in there:
                    await left.wait()
        await network.close()

    async def drain(self) -> None:
        """Refuse further work, and wait until running and cut-off requests have recorded their usage."""
        self.draining = True
        try:
            async with asyncio.timeout(_SETTLE_SECONDS):
                await self.admission.empty()
                await asyncio.gather(*self._closing)
        except TimeoutError:
            return
        finally:
            self.metrics.refresh()  # other workers go on telling what was counted here


def open_gateway(network: Network, section: GatewaySection, ring: KeyRing | None = None) -> Gateway:
    """Open a gateway in front of a network, with the limits of its section and the keys."""
    admission = WorkerSlots(
        concurrency=section.concurrency, queue=section.queue, remote=section.remote, share=section.share
    )
    metrics = Metrics(
        working=lambda: admission.working,
        waiting=lambda: admission.waiting,
        remote=lambda: admission.remote.total,
        workers=section.workers,
    )
    return Gateway(
        network=network,
        section=section,
        admission=admission,
        bodies=Bodies(section.concurrency + section.queue, limit=section.max_body, seconds=section.body_seconds),
        metrics=metrics,
        opened=int(network.clock()),
        ring=ring,
    )


Handler = Callable[[Gateway, Caller, bytes], ASGIApp]
"""Checks a body and returns the ASGI app that answers it. It must be fast; a refused request never waits for a slot."""


class Work:
    """An endpoint with bounded work, around a handler."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises errors that `errors.error_response` and the middleware handle."""
        gateway, headers = Gateway.of(scope), Headers(scope=scope)
        if gateway.draining:
            raise WireError("shutting_down", "The gateway is shutting down; try again in a moment.")
        caller = Caller.of(scope)
        gateway.admission.check(caller.client)  # before a body is read in vain
        arrived = scope[ARRIVED]() if ARRIVED in scope else None
        await self.serve(await gateway.bodies.read(headers, receive, arrived), scope, receive, send)

    async def serve(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request whose body was read already; the same limits apply."""
        gateway, caller = Gateway.of(scope), Caller.of(scope)
        with gateway.admission.admit(caller.client) as slot:
            caller = replace(caller, release_slot=slot.released)

            async def work() -> None:
                answer = await aside(len(body), partial(self.handler, gateway, caller, body))
                async with slot:
                    await answer(scope, receive, send)

            await while_connected(scope, receive, work())


# --- One question and its answer, whole or streamed, in the format of the requested API.

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
_BLOCK = "```json\n{}\n```"

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
    fenced: bool = False
    """Whether the JSON of an answer goes into a Markdown code block."""

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
        body = self.format.whole(self._in_block(answer), refused=self._refused(answer))
        await JSONBody(body, headers=headers)(scope, receive, send)

    def _refused(self, answer: Answer) -> bool:
        """Return whether an answer's text belongs in the refusal field of its API."""
        return not answer.accepted and self.abstain != "text"

    def _in_block(self, answer: Answer) -> Answer:
        """Return an answer, its JSON in a code block if that is wanted; JSON comes in one piece."""
        return replace(answer, text=_BLOCK.format(answer.text)) if self.fenced and answer.accepted else answer

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
                text = held + (_BLOCK.format(event.text) if self.fenced else event.text)
                piece = self.format.calls(event.text) if called else self.format.piece(text, refused=False)
                yield opening + piece, event.kind in BY_A_MODEL, event.offered
                held = ""
            else:
                self.gateway.metrics.count_answer(event.trace)
                refused = self._refused(event)
                if self.abstain == "status" and not event.accepted:
                    raise WireError("abstained", event.text)
                rest = self.format.piece(held, refused=refused) if held else b""
                yield (
                    opening + rest + self.format.end(self._in_block(event), refused=refused),
                    asked_a_model(event),
                    _offered(event),
                )
            opening = b""

"""One request's connection: reading its body, sending its events, and detecting a disconnect."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from coterie.gateway.errors import WireError

STALLED_SECONDS = 60.0
"""Seconds that a caller may read nothing of a stream before its slot is freed."""


class ClientGone(Exception):
    """The caller left before its response was complete, so no response can be sent."""


@dataclass(eq=False)
class _Arriving:
    """A body that is not complete yet."""

    limit: asyncio.Timeout
    began: float
    body: bytearray = field(default_factory=bytearray)

    def pace(self, now: float) -> float:
        """Return bytes per second so far; within the first second, all bytes."""
        return len(self.body) / max(now - self.began, 1.0)


class Bodies:
    """Incoming bodies: a bounded number at once; for a further one the slowest is dropped."""

    def __init__(self, most: int, *, limit: int, seconds: float) -> None:
        """Store the limits: bodies at once, bytes of one, and seconds until it must be complete."""
        self._most, self._limit, self._seconds = most, limit, seconds
        self._arriving: dict[_Arriving, None] = {}

    async def read(self, headers: Headers, receive: Receive, arrived: bytes | None = None) -> bytes:
        """Return the whole body of a request; `arrived` is the body if the server already had it.

        Raises:
            WireError: it is compressed, too large, or still incomplete when its time is up or another needs its place.
            ClientGone: the caller left.
        """
        if (encoding := headers.get("content-encoding", "identity").lower()) not in {"identity", ""}:
            problem = f"The body is encoded as {encoding[:40]!r}: send it without Content-Encoding."
            raise WireError("unsupported_encoding", problem)
        if arrived is not None:
            if len(arrived) > self._limit:
                raise self._too_large(str(len(arrived)))
            return arrived
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._limit:
            raise self._too_large(declared)
        if len(self._arriving) >= self._most:
            self._drop_slowest()
        now = asyncio.get_running_loop().time()
        arriving = _Arriving(asyncio.timeout(self._seconds), now)
        self._arriving[arriving] = None
        try:
            async with arriving.limit:
                return await self._read(receive, arriving.body)
        except TimeoutError:
            raise self._late(dropped=arriving not in self._arriving) from None
        finally:
            self._arriving.pop(arriving, None)

    async def _read(self, receive: Receive, body: bytearray) -> bytes:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            body += message.get("body", b"")
            if len(body) > self._limit:
                raise self._too_large(f"more than {self._limit}")
            if not message.get("more_body", False):
                return bytes(body)

    def _drop_slowest(self) -> None:
        """Drop the slowest incoming body; of equally slow ones the oldest."""
        now = asyncio.get_running_loop().time()
        slowest = min(self._arriving, key=lambda arrival: arrival.pace(now))
        del self._arriving[slowest]
        slowest.limit.reschedule(now)

    def _late(self, *, dropped: bool) -> WireError:
        if dropped:
            return WireError("body_timeout", f"{self._most} bodies were arriving, and this one was the slowest.")
        return WireError("body_timeout", f"The body was not complete after {self._seconds:g} seconds.")

    def _too_large(self, size: str) -> WireError:
        return WireError(
            "body_too_large", f"The body has {size} bytes; the limit is {self._limit} ([gateway] max_body)."
        )


ARRIVED = "coterie.arrived"
"""Scope key for a server that reads bodies early: a function that returns the whole body, or None if incomplete."""
ON_LOST = "coterie.on_lost"
"""Scope key for a server that reports lost connections: registers a callback and returns its removal."""
Listen = Callable[[Callable[[], None]], Callable[[], None]]


async def while_connected(scope: Scope, receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, and cancel it if the caller disconnects. The request's body must have been read.

    Raises:
        ClientGone: the caller left; the work has ended by then.
    """
    task, gone = asyncio.current_task(), False
    if task is None:
        raise AssertionError("a coroutine runs in a task")

    def left() -> None:
        nonlocal gone
        gone = True
        task.cancel()

    listen: Listen = scope.get(ON_LOST) or partial(_listen, receive)
    forget = listen(left)
    try:
        await work
    except asyncio.CancelledError:
        if gone and not task.uncancel():
            raise ClientGone from None
        raise
    finally:
        forget()


def _listen(receive: Receive, left: Callable[[], None]) -> Callable[[], None]:
    """Call `left` at a disconnect, with any ASGI server; this costs a task. Return the function that ends it."""

    async def wait() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    def ended(waiting: asyncio.Task[None]) -> None:
        if not waiting.cancelled():
            waiting.exception()  # looked at, or asyncio would report it as forgotten
            left()

    def forget() -> None:
        waiting.remove_done_callback(ended)
        waiting.cancel()

    waiting = asyncio.create_task(wait())
    waiting.add_done_callback(ended)
    return forget


async def send_event(send: Send, event: bytes) -> None:
    """Send a piece of a stream after the caller has read the previous ones.

    Raises:
        ClientGone: the caller has read nothing for `STALLED_SECONDS`.
    """
    try:
        async with asyncio.timeout(STALLED_SECONDS):
            await send({"type": "http.response.body", "body": event, "more_body": True})
    except TimeoutError:
        raise ClientGone from None


# --- How the gateway writes JSON, whole or as server-sent events.
#
# Strict JSON (no NaN), and a text that is not valid Unicode, which a model may produce, is repaired instead of
# failing.

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

DONE = b"data: [DONE]\n\n"
"""End mark of a stream."""


class JSONBody(Response):
    """A JSON response."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Return the content as UTF-8 JSON."""
        return encode(content)


def encode(content: object) -> bytes:
    """Return plain values as compact UTF-8 JSON. Raises `ValueError` on NaN and infinity."""
    return _encode(content).encode("utf-8", "replace")


def event(data: Mapping[str, Any]) -> bytes:
    """Return one server-sent event."""
    return b"data: " + encode(data) + b"\n\n"

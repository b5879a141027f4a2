"""One request's connection: its body in, its events out, and the moment its caller leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Send

from coterie.gateway.errors import WireError

BODY_SECONDS = 30.0
"""How long a body may take to arrive."""
STALLED_SECONDS = 60.0
"""How long a caller may read nothing of a stream before its place is given to another."""


class ClientGone(Exception):
    """The caller left before its response was complete. Nobody is there to be told."""


async def read_body(headers: Headers, receive: Receive, *, limit: int, seconds: float = BODY_SECONDS) -> bytes:
    """The whole body.

    Raises:
        WireError: it is larger than `limit` bytes, or still not here after `seconds`.
        ClientGone: the caller left.
    """
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit, declared)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                body += message.get("body", b"")
                if len(body) > limit:
                    raise _too_large(limit, f"more than {limit}")
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise WireError("body_timeout", f"The body was not complete after {seconds:g} seconds.") from None


def _too_large(limit: int, found: str) -> WireError:
    return WireError("body_too_large", f"The body has {found} bytes; the limit is {limit} ([gateway] max_body).")


async def while_connected(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, and cancel it if its caller leaves meanwhile. The request's body must have been read.

    Raises:
        ClientGone: the caller left; the work has ended by then.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_leaving(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        working.result()
    finally:
        leaving.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))
        if not working.cancelled():
            working.exception()  # looked at, or asyncio would report it as forgotten


async def _leaving(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_event(send: Send, event: bytes, *, seconds: float = STALLED_SECONDS) -> None:
    """Send a piece of a stream once the caller has read what came before it.

    Raises:
        ClientGone: the caller has read nothing for `seconds`.
    """
    try:
        async with asyncio.timeout(seconds):
            await send({"type": "http.response.body", "body": event, "more_body": True})
    except TimeoutError:
        raise ClientGone from None


# --- How the gateway writes JSON, whole or as server-sent events.
#
# Strict JSON (no NaN), and a text that is not valid Unicode, which a model may produce, is repaired instead of
# failing.

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

DONE = b"data: [DONE]\n\n"
"""Ends a stream."""

TRACE_HEADER = "x-coterie-trace"
"""Names the trace of an answer."""


class JSONBody(Response):
    """A JSON response."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """The content as UTF-8."""
        return encode(content)


def encode(content: object) -> bytes:
    """Plain values as compact UTF-8 JSON. Raises `ValueError` on NaN and infinity."""
    return _encode(content).encode("utf-8", "replace")


def event(data: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + encode(data) + b"\n\n"

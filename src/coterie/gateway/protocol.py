"""Connections: how long one may be silent, how many one client may hold, and which makes room when all are taken.

uvicorn ends a connection that idles after a response. It waits for ever for the head of a request, however long that
is, for the rest of a body that nobody reads any more, and for a caller who reads nothing of a response.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from coterie.gateway.access import network_of
from coterie.gateway.connection import ARRIVED, ON_LOST
from coterie.gateway.slots import Shared

_REST_SECONDS = 2.0
"""How long the rest of a body is read and thrown away, so that its sender sees why it was refused."""
_LATE = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_LONGEST_HEAD = 1 << 16
"""Bytes of a head that is not complete; the parser itself has no limit."""
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class OpenConnections:
    """All open connections of a server. When one more is too many, one that no answer is made for is closed."""

    def __init__(self, most: int, *, share: float, head_seconds: float) -> None:
        """Take the limits: connections at once, a client's part of them, and the time for the head of a request."""
        self.open, self.head_seconds = Shared(most, share), head_seconds
        self.leaving = False
        """Each connection is closed after its next response: the server is being replaced."""
        self._silent: dict[GatewayProtocol, None] = {}
        """Those whose request is not complete, the longest waiting first."""

    def enter(self, connection: GatewayProtocol) -> bool:
        """Count one more; False where there is no room for it."""
        client = connection.peer
        if not self.open.free(client):
            self.make_room(client if self.open.of(client) >= self.open.most_each else None)
        if not self.open.free(client):
            return False
        self.open.take(client)
        return True

    def leave(self, connection: GatewayProtocol) -> None:
        """Count one less."""
        self._silent.pop(connection, None)
        self.open.give(connection.peer)

    def wait_for(self, connection: GatewayProtocol, *, request: bool) -> None:
        """Note that the next request of a connection is waited for from now on, or is complete."""
        if request:
            self._silent.setdefault(connection)
        else:
            self._silent.pop(connection, None)

    def make_room(self, client: str | None = None) -> None:
        """Close the connection that waits longest: of a client, or of the client that has the most."""
        waiting = [each for each in self._silent if client in (None, each.peer)]
        if waiting:
            max(waiting, key=lambda each: self.open.of(each.peer)).drop()


class HeadWithBody:
    """A transport for one response: one call of the system sends its head and what is written right behind it."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self.is_closing = transport.is_closing
        self._head: bytes | None = None
        self._sending: asyncio.Handle | None = None

    def write(self, data: bytes) -> None:
        """Send some bytes: the first of them with the next, or when the event loop comes round."""
        if self._head is None:
            self._head, self._sending = data, self._loop.call_soon(self._send)
        elif self._sending is not None:
            self._send(data)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Send what is still here, and close."""
        self._send()
        self._transport.close()

    def _send(self, more: bytes = b"") -> None:
        """Send the head, if it is still here."""
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
            self._transport.write((self._head or b"") + more)


def _take_body(cycle: RequestResponseCycle) -> bytes | None:
    """The whole body of a request, if it is here: what `receive` would give at once, with less to wait for."""
    if cycle.more_body or cycle.disconnected or cycle.response_complete or cycle.waiting_for_100_continue:
        return None
    cycle.flow.resume_reading()
    cycle.message_event.clear()
    body, cycle.body = bytes(cycle.body), bytearray()
    return body


class GatewayProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, connections: OpenConnections, **more: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(*args, **more)
        self.peer = ""
        self._all = connections
        self._counted = False
        self._phase = ""
        self._timer: asyncio.TimerHandle | None = None
        self._unread = 0
        self._coming: Literal["", "head", "body"] = ""
        """The part of a request that has begun and is not complete."""
        self._head_bytes = 0
        self._listeners: dict[Callable[[], None], None] | None = {}
        """Called when the connection is lost; None once it is."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it, and wait for the first head."""
        super().connection_made(transport)
        self.peer = network_of((self.client or ("",))[0])
        self._counted = self._all.enter(self)
        if self._counted:
            self._turn("head")
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more."""
        self._turn("over")
        self._uncount()
        listeners, self._listeners = self._listeners, None
        super().connection_lost(exc)
        for each in listeners or ():
            each()

    def on_lost(self, call: Callable[[], None]) -> Callable[[], None]:
        """Call something when the connection is lost, soon if it is; what is given takes that back."""
        if self._listeners is None:
            return self.loop.call_soon(call).cancel
        listeners = self._listeners
        listeners[call] = None
        return lambda: listeners.pop(call, None)

    def data_received(self, data: bytes) -> None:
        """Take some bytes."""
        if not self._counted:
            return
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._coming == "head" else 0
        if self._head_bytes > _LONGEST_HEAD and not self.transport.is_closing():
            self.transport.write(_TOO_LONG)
            self.transport.close()
        self._look()

    def on_message_begin(self) -> None:
        """A head begins."""
        self._coming = "head"
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)[ON_LOST] = self.on_lost

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; white space around a value is no part of it (RFC 9110, 5.5), which the parser leaves there."""
        super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        """A head is complete."""
        self._coming = "body"
        super().on_headers_complete()
        if self.cycle is not None:
            cast("dict[str, Any]", self.scope)[ARRIVED] = partial(_take_body, self.cycle)
            self.cycle.transport = cast("asyncio.Transport", HeadWithBody(self.transport, self.loop))
            if self._all.leaving:
                self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """A body is complete, be it none."""
        self._coming = ""
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of this one."""
        super().on_response_complete()
        self._look()

    def timeout_keep_alive_handler(self) -> None:
        """End an idle connection; one whose caller reads on stays until they have read the response."""
        unread = self.transport.get_write_buffer_size()
        if not unread:
            super().timeout_keep_alive_handler()
        elif unread == self._unread:
            self.transport.abort()
        else:
            self._unread = unread
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def drop(self) -> None:
        """Close it at once: its room is needed."""
        self._uncount()
        self.transport.abort()

    def _uncount(self) -> None:
        if self._counted:
            self._counted = False
            self._all.leave(self)

    def _look(self) -> None:
        """Find out what is waited for."""
        cycle = self.cycle
        if self.transport.is_closing():
            self._turn("over")
        elif cycle is not None and not cycle.response_complete:
            self._turn("body" if cycle.more_body else "answer")
        elif cycle is not None and self._coming == "body":
            self._turn("rest")
        elif cycle is None or self._phase == "head" or self._coming == "head":
            self._turn("head")
        else:
            self._turn("idle")

    def _turn(self, phase: str) -> None:
        """Wait for something else than before, for so long. More of the same buys no time."""
        if phase == self._phase:
            return
        self._phase = phase
        if self._timer is not None:
            self._timer.cancel()
        seconds = {"head": self._all.head_seconds, "rest": _REST_SECONDS}.get(phase)
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._late)
        if self._counted:
            self._all.wait_for(self, request=phase in {"head", "body", "rest", "idle"})

    def _late(self) -> None:
        if self._phase == "head" and self._coming == "head":
            self.transport.write(_LATE)
        self.transport.close()

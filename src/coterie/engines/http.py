"""Plain HTTP/1.1 on kept connections, for model servers on this machine or in this cluster.

A request takes some forty Python calls; in aiohttp three hundred and a task. TLS and proxies are left to aiohttp.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools

from coterie.engines.transport import CONNECT_SECONDS, KEPT_SECONDS, AiohttpTransport, ServerAnswer, TransportError

_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_TARGET = re.compile(r"/[!-~]*")
_HELD = 1 << 20
"""Bytes of an answer that are buffered before reading from its server is paused."""
_JOINED = 1 << 16
"""Largest body in bytes that is sent in one piece with its head."""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """The server of an address, and the constant beginning of its requests."""

    host: str
    port: int
    begins: str

    def head(self, headers: Mapping[str, str], size: int) -> bytes:
        """Return the head of one request."""
        named = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        return f"{self.begins}{named}Content-Length: {size}\r\n\r\n".encode("latin-1")


def _place_of(url: str) -> _Place | None:
    """Return the server of an address; None for an address that is not plain HTTP, or has an unusual form."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
    except ValueError:
        return None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme != "http" or "@" in parts.netloc or not _HOST.fullmatch(host) or not _TARGET.fullmatch(target):
        return None
    begins = f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: */*\r\nUser-Agent: coterie\r\n"
    return _Place(host=host, port=port, begins=begins)


class HttpConnection(asyncio.Protocol):
    """One connection, and the answer to its current request."""

    def __init__(self) -> None:
        self.status, self.headers = 0, dict[str, str]()
        self.begun = self.complete = False
        """Something of the request may have left; the whole answer is here."""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._pieces, self._size, self._paused = deque[bytes](), 0, False
        self._waiter: asyncio.Future[None] | None = None
        self._lost: str | None = None
        """Why no more will come."""
        self._interim = self._spoiled = self._alive = False

    def is_usable(self) -> bool:
        """Return whether another request may be sent on the connection, in this event loop."""
        open_here = self._transport is not None and not self._transport.is_closing() and self._lost is None
        return open_here and not self._spoiled and self._loop is asyncio.get_running_loop()

    def is_reusable(self) -> bool:
        """Return whether the connection can serve another request after this one."""
        return self.complete and self._alive and self.is_usable()

    async def ask(self, head: bytes, body: bytes) -> None:
        """Send a request; return when the head of its answer has arrived. Raises `TransportError`."""
        self.status, self.headers, self.complete, self.begun = 0, {}, False, True
        self._pieces.clear()
        self._size = 0
        if self._transport is not None:
            if len(body) <= _JOINED:
                self._transport.write(head + body)
            else:
                self._transport.writelines([head, body])
        while not self.status:
            await self._more()

    async def read(self) -> bytes:
        """Return the data since the last call; empty at the end. Raises `TransportError`."""
        while not self._pieces and not self.complete:
            await self._more()
        return self.take()

    def take(self) -> bytes:
        """Return the data that has arrived."""
        joined = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return joined

    def close(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    async def _more(self) -> None:
        if self._lost is not None:
            raise TransportError("dropped", self._lost)
        self._waiter = self._loop.create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- asyncio's protocol ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Parse some bytes, and wake the waiting caller."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._lost = self._lost or type(error).__name__
            self.close()
        if self._size > _HELD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the answer: one without a stated length is complete, any other is cut off."""
        framed = "content-length" in self.headers or "transfer-encoding" in self.headers
        if self.status and not framed and exc is None:
            self.complete = True
        self._lost = self._lost or type(exc or ConnectionResetError()).__name__
        self._wake()

    # --- the parser's callbacks --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Mark the connection as unusable if an answer comes without a request."""
        self._spoiled |= self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Read a header."""
        if self._spoiled:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """Read the status; one below 200 is not the answer yet."""
        status = self._parser.get_status_code()
        self._interim = status < 200
        if self._interim:
            self.headers = {}
        elif not self.complete:
            self.status = status

    def on_body(self, body: bytes) -> None:
        """Read a piece of the body."""
        if not self._spoiled:
            self._pieces.append(body)
            self._size += len(body)

    def on_message_complete(self) -> None:
        """Mark the answer as complete."""
        if not self._interim:
            self.complete, self._alive = True, bool(self._parser.should_keep_alive())


class HttpTransport(AiohttpTransport):
    """Implements `Transport`: kept connections for plain HTTP, and aiohttp for everything else."""

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[str, _Place | None] = {}
        self._idle: dict[tuple[str, int], list[tuple[float, HttpConnection]]] = {}
        self._reaper: asyncio.TimerHandle | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, until: float) -> ServerAnswer:
        """See `Transport`."""
        target = self._target(url)
        if target is None:
            return await super().post(url, headers, body, until=until)
        await self._enter(until)
        connection, trouble = self._kept(target), None
        try:
            head = target.head(headers, len(body))
            async with asyncio.timeout_at(until):
                if connection is None:
                    connection = await self._connected(target)
                await connection.ask(head, body)
            return _KeptAnswer(self, target, connection)
        except TransportError as error:
            trouble = TransportError(error.kind, error.about, sent=error.sent)
        except TimeoutError as error:
            trouble = TransportError("late", type(error).__name__, sent=connection is not None and connection.begun)
        except UnicodeError as error:
            trouble = TransportError("unusable", type(error).__name__, sent=False)
        finally:
            if connection is None or not connection.status:
                self.give_back(target, connection)
        raise trouble

    async def close(self) -> None:
        """See `Transport`."""
        idle, self._idle = self._idle, {}
        for _, connection in (idle_one for kept in idle.values() for idle_one in kept):
            connection.close()
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        await super().close()

    def give_back(self, target: _Place, connection: HttpConnection | None) -> None:
        """Release a connection, or its slot, for another request."""
        self._free.release()
        if connection is None:
            return
        if not connection.is_reusable():
            connection.close()
            return
        loop = asyncio.get_running_loop()
        connection.begun = False
        self._idle.setdefault((target.host, target.port), []).append((loop.time(), connection))
        if self._reaper is None:
            self._reaper = loop.call_later(KEPT_SECONDS, self._reap)

    def _target(self, url: str) -> _Place | None:
        if url not in self._places:
            target = _place_of(url)
            self._places[url] = None if target is None or self._address(url)[1] is not None else target
        return self._places[url]

    def _kept(self, target: _Place) -> HttpConnection | None:
        """Return the most recently used connection, if it is still usable."""
        kept = self._idle.get((target.host, target.port))
        oldest = asyncio.get_running_loop().time() - KEPT_SECONDS
        while kept:
            since, connection = kept.pop()
            if since >= oldest and connection.is_usable():
                return connection
            connection.close()
        return None

    @staticmethod
    async def _connected(target: _Place) -> HttpConnection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(HttpConnection, target.host, target.port)
        except TimeoutError:
            raise
        except OSError as error:
            why = error.strerror or type(error).__name__
            trouble = TransportError("unreachable", f"{target.host}:{target.port}: {why}", sent=False)
        else:
            return connection
        raise trouble

    def _reap(self) -> None:
        """Close connections that have been idle too long."""
        self._reaper = None
        loop = asyncio.get_running_loop()
        oldest = loop.time() - KEPT_SECONDS
        for key, kept in list(self._idle.items()):
            for _, connection in (item for item in kept if item[0] <= oldest):
                connection.close()
            self._idle[key] = [item for item in kept if item[0] > oldest]
            if not self._idle[key]:
                del self._idle[key]
        if self._idle:
            self._reaper = loop.call_later(KEPT_SECONDS / 2, self._reap)


@dataclass(kw_only=False, eq=False)
class _KeptAnswer:
    """An answer on a kept connection."""

    transport: HttpTransport
    place: _Place
    connection: HttpConnection
    status: int = field(init=False)
    headers: Mapping[str, str] = field(init=False)
    _open: bool = True

    def __post_init__(self) -> None:
        self.status, self.headers = self.connection.status, self.connection.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `ServerAnswer`."""
        while chunk := await self.connection.read():
            yield chunk

    def whole(self) -> bytes | None:
        """See `ServerAnswer`."""
        return self.connection.take() if self.connection.complete else None

    def close(self) -> None:
        """See `ServerAnswer`."""
        if self._open:
            self._open = False
            self.transport.give_back(self.place, self.connection)

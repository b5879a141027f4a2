"""Transport of a request to a server and of its answer back: plain HTTP/1.1, or TLS and proxies by aiohttp.

`Transport` is the interface. Plain HTTP keeps its connections: a request takes some forty Python calls; in aiohttp
three hundred and a task. No error of a library leaves this module, since it would contain the request, and with it the
key. `Connection` is that to an OpenAI-compatible server: its key, its time limits, and the mapping of errors.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httptools
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from yarl import URL

from coterie.config.file import ServerModel
from coterie.config.section import EnvSecret
from coterie.errors import (
    ConfigError,
    CoterieError,
    EngineBroken,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    Overloaded,
    SetupError,
)
from coterie.runtime.codec import parse_json

_CONNECTIONS = 64
"""Most concurrent connections of one engine to its server."""
CONNECT_SECONDS = 10.0
"""Seconds to wait for a new connection, or for one in use to become free."""
KEPT_SECONDS = 4.0
"""Seconds after which an idle connection is closed: many servers close theirs after five."""
_PIECE = 1 << 16
"""Bytes that are written between two waits for the operating system."""

Trouble = Literal["full", "late", "unreachable", "dropped", "unusable"]


class TransportError(Exception):
    """Missing or incomplete answer. The error contains nothing of the request."""

    def __init__(self, kind: Trouble, about: str, *, sent: bool = True) -> None:
        """Store the description of the failure.

        Args:
            kind: `full` (no connection became free), `late` (the time is up), `unreachable`, `dropped` (the connection
                broke), `unusable` (the request cannot be made, nor the next one).
            about: The library's name for it; the address for `unreachable`.
            sent: Whether part of the request may have been sent.
        """
        super().__init__(about)
        self.kind, self.about, self.sent = kind, about, sent


class ServerAnswer(Protocol):
    """The head of an answer, and access to its body. The holder must close it."""

    status: int

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by name, ignoring case."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives. Raises `TransportError`."""
        ...

    def whole(self) -> bytes | None:
        """Return the body if all of it came with the head; None otherwise, and `chunks` yields it."""
        ...

    def close(self) -> None:
        """Release the connection: it is kept if the body was read to its end, else closed."""
        ...


class Transport(Protocol):
    """Sends requests to one server."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, until: float) -> ServerAnswer:
        """Return the head of the answer. Redirects are not followed, and nothing is sent again.

        Args:
            url: the whole address.
            headers: headers other than those that frame the body.
            body: the request's body.
            until: the event loop's time by which the head must have arrived.

        Raises:
            TransportError: there is no answer.
        """
        ...

    async def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        ...


class AiohttpTransport:
    """Kept HTTP/1.1 connections through aiohttp; proxies are taken from the environment."""

    def __init__(self) -> None:
        """Make the transport without opening a connection."""
        self._session: aiohttp.ClientSession | None = None
        self._free = asyncio.Semaphore(_CONNECTIONS)
        self._known: dict[str, tuple[URL, URL | None]] = {}

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, until: float) -> ServerAnswer:
        """See `Transport`."""
        content = _Body(body)
        trouble: TransportError | None = None
        await self._enter(until)
        answer = None
        try:
            address, proxy = self._address(url)
            async with asyncio.timeout_at(until):
                response = await self._opened().post(
                    address, data=content, headers=headers, proxy=proxy, allow_redirects=False
                )
            answer = _AiohttpAnswer(response, self._free)
            return answer
        except Exception as error:  # noqa: BLE001 - what the library lets through of its own libraries too
            trouble = _trouble(error, sent=content.begun)
        finally:
            if answer is None:
                self._free.release()
        raise trouble

    async def close(self) -> None:
        """See `Transport`."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _enter(self, until: float) -> None:
        """Wait for a free connection. Raises `TransportError`."""
        if not self._free.locked():
            await self._free.acquire()  # at once
            return
        try:
            async with asyncio.timeout_at(min(until, asyncio.get_running_loop().time() + CONNECT_SECONDS)):
                await self._free.acquire()
        except TimeoutError:
            full = TransportError("full", f"all {_CONNECTIONS} connections are in use", sent=False)
        else:
            return
        raise full

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_SECONDS),
                timeout=aiohttp.ClientTimeout(connect=CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "coterie"},
                auto_decompress=False,
            )
        return self._session

    def _address(self, url: str) -> tuple[URL, URL | None]:
        """Return an address and the environment's proxy for it, looked up once. Raises `ValueError`."""
        if url not in self._known:
            parts, proxies = urlsplit(url), getproxies()
            proxy = proxies.get(parts.scheme) or proxies.get("all")
            bypassed = parts.hostname is None or bool(proxy_bypass(parts.netloc.rpartition("@")[2]))
            self._known[url] = URL(url), URL(proxy) if proxy and not bypassed else None
        return self._known[url]


class _AiohttpAnswer:
    """An answer read through aiohttp."""

    def __init__(self, response: aiohttp.ClientResponse, free: asyncio.Semaphore) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response, self._free = response, free
        self._open = True

    async def chunks(self) -> AsyncIterator[bytes]:
        content, trouble = self._response.content, None
        while True:
            try:
                chunk = await content.readany()
            except Exception as error:  # noqa: BLE001 - as in `AiohttpTransport.post`
                trouble = _trouble(error, sent=True)
                break
            if not chunk:
                return
            yield chunk
        raise trouble

    def whole(self) -> bytes | None:
        content = self._response.content
        return content.read_nowait() if content.is_eof() and content.exception() is None else None

    def close(self) -> None:
        if self._open:
            self._open = False
            self._response.close()  # nothing is left to close of one that was read to its end
            self._free.release()


class _Body(Payload):
    """Request body that records whether any of its bytes was written."""

    _default_content_type = "application/json"

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._size = len(content)
        self.begun = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return bytes(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        self.begun = True
        content = self._value
        for at in range(0, len(content), _PIECE):
            await writer.write(content[at : at + _PIECE] if len(content) > _PIECE else content)


def _trouble(error: Exception, *, sent: bool) -> TransportError:
    """Map an error of the library to a `TransportError`."""
    kind = type(error).__name__
    if isinstance(error, TimeoutError):  # aiohttp's own too
        return TransportError("late", kind, sent=sent)
    if isinstance(error, aiohttp.ClientConnectorError):
        why = error.os_error.strerror or type(error.os_error).__name__
        return TransportError("unreachable", f"{error.host}:{error.port}: {why}", sent=False)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return TransportError("unreachable", f"{error.host}:{error.port}: its certificate is not trusted", sent=False)
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return TransportError("unusable", kind, sent=False)
    if isinstance(error, aiohttp.ClientError | OSError):
        return TransportError("dropped", kind, sent=sent)
    return TransportError("unusable", kind, sent=sent)


# --- Plain HTTP/1.1 on kept connections, for model servers on this machine or in this cluster.

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


# --- The connection to an OpenAI-compatible server: its key, its time limits, and the mapping of errors.

_LONGEST_ANSWER = 8 << 20
"""Largest answer in bytes, streamed or not; a larger one is refused."""
_LONGEST_REFUSAL = 64 << 10
"""Bytes of an error response that are read."""
_HEADERS = {
    "Content-Type": "application/json",
    "Accept-Encoding": "identity",  # a compressed answer has no size that could be bounded
}
_MESSAGES = "/messages"
"""Path of Anthropic's Messages API, which needs its own headers beside those of the other APIs."""
_VERSION = {"anthropic-version": "2023-06-01"}


class Deadline:
    """The time by which the server must have sent something, in the event loop's time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Restart the time limit after something was received."""
        self.until = asyncio.get_running_loop().time() + self._seconds

    def limit(self) -> asyncio.Timeout:
        """Return a context that raises `TimeoutError` at the deadline."""
        return asyncio.timeout_at(self.until)


class PostedRequest:
    """A context with the open answer to a request."""

    __slots__ = ("_answer", "_asked", "_connection")

    def __init__(
        self, connection: ModelConnection, body: Mapping[str, object] | bytes, deadline: Deadline, path: str
    ) -> None:
        self._connection, self._asked = connection, (body, deadline, path)
        self._answer: ServerAnswer | None = None

    async def __aenter__(self) -> ServerAnswer:
        self._answer = answer = await self._connection.ask(*self._asked)
        return answer

    async def __aexit__(self, *_: object) -> None:
        if self._answer is not None:
            self._answer.close()


class ModelConnection:
    """Sends a JSON request and returns the answer's bytes; opened by the first request."""

    def __init__(self, engine: str, model: ServerModel, transport: Transport | None) -> None:
        self._engine = engine
        self._timeout = model.timeout
        self._url = model.base_url.rstrip("/")
        self._headers = RequestHeaders(model.api_key)
        self._for_messages = RequestHeaders(model.api_key, messages=True)
        self._transport = transport or HttpTransport()

    def deadline(self, least: float = 0.0) -> Deadline:
        """Return a deadline of the configured time from now on, or of `least` seconds if that is more."""
        return Deadline(max(self._timeout, least))

    def scrubbed(self, text: str) -> str:
        """Remove the key from a server's text, in case the server repeats it."""
        for form in self._headers.forms():
            text = text.replace(form, "[key]")
        return text

    def post(
        self, body: Mapping[str, object] | bytes, deadline: Deadline, *, path: str = "/chat/completions"
    ) -> PostedRequest:
        """Return a context with the answer to a request, of any status, of which only the head was read."""
        return PostedRequest(self, body, deadline, path)

    async def ask(self, body: Mapping[str, object] | bytes, deadline: Deadline, path: str) -> ServerAnswer:
        """Send a request and return the answer, which the caller closes."""
        content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        self._headers.check()
        try:
            headers = self._for_messages if path == _MESSAGES else self._headers
            return await self._transport.post(self._url + path, headers, content, until=deadline.until)
        except Exception as error:  # noqa: BLE001 - a transport of somebody else's may raise anything
            failure = self._mapped(error)
        raise failure  # here, out of sight of an error that may remember the request

    async def chunks(self, answer: ServerAnswer, deadline: Deadline) -> AsyncGenerator[bytes, None]:
        """Yield an answer's bytes as they arrive. Raises `EngineTimeout` or `EngineBroken`."""
        self._check_plain(answer)
        chunks, size = answer.chunks(), 0
        while True:
            chunk, failure = None, None
            try:
                async with deadline.limit():
                    chunk = await anext(chunks, None)
            except Exception as error:  # noqa: BLE001 - as in `post`
                failure = self._mapped(error, answering=True)
            if failure is not None:
                raise failure
            if chunk is None:
                return
            size += len(chunk)
            self._check_size(size)
            yield chunk

    def arrived(self, answer: ServerAnswer) -> bytes | None:
        """Return the whole body of an answer, if it has arrived. Raises `EngineBroken`."""
        self._check_plain(answer)
        body = answer.whole()
        self._check_size(len(body or b""))
        return body

    def _check_plain(self, answer: ServerAnswer) -> None:
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise EngineBroken(
                f"Engine {self._engine!r} sent a compressed answer nobody asked for.", engine=self._engine
            )

    def _check_size(self, size: int) -> None:
        if size > _LONGEST_ANSWER:
            raise EngineBroken(f"Engine {self._engine!r} sent more than {_LONGEST_ANSWER} bytes.", engine=self._engine)

    async def read_answer(self, answer: ServerAnswer, deadline: Deadline) -> str:
        """Read the whole body of an answer. Raises what `chunks` raises."""
        body = self.arrived(answer)
        if body is None:
            body = b"".join([chunk async for chunk in self.chunks(answer, deadline)])
        return self.scrubbed(body.decode("utf-8", "replace"))

    async def read_refusal(self, answer: ServerAnswer, deadline: Deadline) -> str:
        """Read the beginning of an error response; empty if it cannot be read."""
        body = bytearray()
        with suppress(CoterieError):
            async with aclosing(self.chunks(answer, deadline)) as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) > _LONGEST_REFUSAL:
                        break
        text = self.scrubbed(body[:_LONGEST_REFUSAL].decode("utf-8", "replace"))
        path = urlsplit(self._url).path  # beyond its first part it may be a key: some servers repeat what they lack
        return text.replace(path, "[path]") if path.count("/") > 1 else text

    async def close(self) -> None:
        """Close open connections; a later request opens them again."""
        await self._transport.close()

    def _mapped(self, error: Exception, *, answering: bool = False) -> CoterieError:
        """Map a transport error to an error of Coterie. Details are quoted only for an unreachable address."""
        engine = self._engine
        if not isinstance(error, TransportError):
            kind = "late" if isinstance(error, TimeoutError) else "unusable"
            error = TransportError(kind, type(error).__name__)  # type: ignore[arg-type]
        if error.kind == "full":
            full = Overloaded(f"Engine {engine!r}: {error.about}.")
            full.sent = error.sent
            return full
        mapped: EngineRejected | EngineBroken | EngineTimeout | EngineUnavailable
        if error.kind == "late":
            mapped = EngineTimeout(f"Engine {engine!r} gave no answer within {self._timeout:g} s.", engine=engine)
        elif error.kind == "unreachable":
            mapped = EngineUnavailable(f"Engine {engine!r} cannot be reached: {error.about}.", engine=engine)
        elif answering:
            mapped = EngineBroken(
                f"Engine {engine!r} broke off in the middle of its answer ({error.about}).", engine=engine
            )
        elif error.kind == "dropped":
            mapped = EngineUnavailable(f"Engine {engine!r} dropped the connection ({error.about}).", engine=engine)
            mapped.turned_away = False  # it may have read the prompt by then
        else:
            mapped = EngineRejected(
                f"The request to {engine!r} cannot be made ({error.about}).",
                engine=engine,
                hint="Check the model's `base_url` in coterie.toml.",
            )
        if not error.sent:
            mapped.turned_away = True  # it waited for a connection until its time was up: nothing was sent
            mapped.sent = False
        return mapped


class RequestHeaders(Mapping[str, str]):
    """The headers of every request. The key is read from the environment for each, and shown nowhere else."""

    def __init__(self, secret: EnvSecret | None, *, messages: bool = False) -> None:
        """Store the key's name; with `messages`, the key is also sent in the header of Anthropic's API."""
        self._secret = secret
        self._plain = {**_HEADERS, **(_VERSION if messages else {})}
        keyed = ("Authorization", *(("x-api-key",) if messages else ())) if secret is not None else ()
        self._names = (*self._plain, *keyed)

    def __getitem__(self, name: str) -> str:
        if name in self._plain:
            return self._plain[name]
        return self._key() if name == "x-api-key" else f"Bearer {self._key()}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<headers {', '.join(self._names)}>"

    def check(self) -> None:
        """Check that the key fits into a header. Raise `ConfigError` otherwise."""
        if self._secret is not None and not self._sendable():
            raise ConfigError(
                f"The key in {self._secret!s} has characters that an HTTP header cannot carry.",
                hint="Set the variable to the key alone: ASCII, no spaces, one line.",
            )

    def forms(self) -> list[str]:
        """Return the forms of the key that may occur in an answer: plain, and escaped as JSON."""
        if self._secret is None:
            return []
        return sorted({self._key(), json.dumps(self._key())[1:-1]}, key=len, reverse=True)

    def _sendable(self) -> bool:
        key = self._key()
        return bool(key) and all("!" <= character <= "~" for character in key)

    def _key(self) -> str:
        return "" if self._secret is None else self._secret.reveal().strip()


# --- Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), split anywhere; `data` only.

_LINE_END = re.compile(rb"\r\n|\n|\r")


class EventParser:
    """Parses bytes into the `data` of each complete event. Raises `ValueError` for an invalid event stream."""

    def __init__(self, *, limit: int = 1 << 20) -> None:
        """Start a stream; `limit` bounds the bytes of one line and of one event."""
        self._limit = limit
        self._line = bytearray()  # the part of a line whose end has not come
        self._data: list[str] = []
        self._size = 0
        self._after_cr = False
        self._first = True  # a byte order mark may come before the first line

    def feed(self, chunk: bytes) -> list[str]:
        """Return the events that this chunk completes."""
        if not chunk:
            return []
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]  # the second half of a CRLF that was split between chunks
        self._after_cr = chunk.endswith(b"\r")
        *ends, rest = _LINE_END.split(chunk)
        events = []
        for end in ends:
            line, self._line = bytes(self._line) + end, bytearray()
            if (event := self._take(line)) is not None:
                events.append(event)
        self._line += rest
        self._check(len(self._line))
        return events

    def end(self) -> list[str]:
        """Return the event that is left when a stream ends without its blank line, if any."""
        return [*self.feed(b"\n"), *self.feed(b"\n")]

    def _take(self, line: bytes) -> str | None:
        """Read a complete line; return the event's data if the line is the blank one that ends an event."""
        if self._first:
            line, self._first = line.removeprefix(b"\xef\xbb\xbf"), False
        if not line:
            data, self._data, self._size = self._data, [], 0
            return "\n".join(data) if data else None
        name, _, value = line.partition(b":")
        if name == b"data":
            self._size += len(value)
            self._check(self._size)
            self._data.append(value.removeprefix(b" ").decode())
        return None

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise ValueError(f"an event has more than {self._limit} bytes")


_FETCH_SECONDS, _FETCHED = 10.0, 1 << 20


# --- Fetch of one JSON object from one address, for the discovery of a sign-in provider.


async def fetch_json(address: str, form: Mapping[str, str] | None = None) -> Mapping[str, Any]:
    """Get the JSON object at an address, or post a form to it. Redirects are not followed.

    Raises:
        SetupError: there is no answer in time, or none that is a JSON object of at most 1 MiB.
    """
    shown_address = address.split("?", maxsplit=1)[0]
    try:
        timeout = aiohttp.ClientTimeout(total=_FETCH_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.request("GET" if form is None else "POST", address, data=form, allow_redirects=False) as response,
        ):
            body = await response.content.read(_FETCHED)
            if response.status != 200:
                raise SetupError(f"{shown_address!r} answered {response.status}.", hint="Check [oidc] in coterie.toml.")
        document = parse_json(body)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise SetupError(f"{shown_address!r} cannot be read ({type(error).__name__}).", hint="Check [oidc].") from error
    if not isinstance(document, dict):
        raise SetupError(f"{shown_address!r} sent no JSON object.", hint="Check [oidc] in coterie.toml.")
    return document

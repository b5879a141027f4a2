"""Transport of a request to a server, and of its answer back.

`Transport` is the interface. `AiohttpTransport` is for TLS and proxies, `engines.http` for plain HTTP. No error of a
library leaves these modules, since it would contain the request, and with it the key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Literal, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from yarl import URL

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

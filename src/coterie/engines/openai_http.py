"""The connection to an OpenAI-compatible server: the one engine module that knows HTTP.

Errors of the HTTP library are never chained to ours: they remember the request, and with it the key.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress

import httpx

from coterie.config.file import ServerModel
from coterie.config.section import EnvSecret
from coterie.errors import (
    ConfigError,
    CoterieError,
    EngineBroken,
    EngineError,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    Overloaded,
)
from coterie.runtime.concurrency import cancelled_once, to_the_end

_CONNECT_TIMEOUT = 10.0
_CONNECTIONS = 64
_LONGEST_ANSWER = 8 << 20
"""Bytes of an answer, streamed or not, beyond which it is refused."""
_LONGEST_REFUSAL = 64 << 10
"""Bytes of a refusal that are read."""
_HEADERS = {
    "Content-Type": "application/json",
    "Accept-Encoding": "identity",  # a compressed answer has no size that could be bounded
}

_OUR_FAULT = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
"""Transport errors that the next try will have too."""


class Deadline:
    """The moment by which the server must have said something, in the event loop's time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Allow the whole time again: something was said."""
        self._when = asyncio.get_running_loop().time() + self._seconds

    def limit(self) -> asyncio.Timeout:
        """A context that raises `TimeoutError` at the deadline."""
        return asyncio.timeout_at(self._when)


class Connection:
    """Sends a JSON request and gives the answer's bytes; opened by the first request."""

    def __init__(self, engine: str, model: ServerModel, transport: httpx.AsyncBaseTransport | None) -> None:
        self._engine = engine
        self._timeout = model.timeout
        self._url = model.base_url.rstrip("/")
        self._auth = _KeyAuth(model.api_key) if model.api_key is not None else None
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    def deadline(self) -> Deadline:
        """The configured time from now on."""
        return Deadline(self._timeout)

    def scrubbed(self, said: str) -> str:
        """What a server said, without the key, should it repeat it."""
        for form in self._auth.forms() if self._auth is not None else ():
            said = said.replace(form, "[key]")
        return said

    @asynccontextmanager
    async def post(
        self, body: Mapping[str, object] | bytes, deadline: Deadline, *, path: str = "/chat/completions"
    ) -> AsyncIterator[httpx.Response]:
        """The answer to a request, whatever its status, with nothing but its head read."""
        content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        response = await self._sent(content, deadline, path)
        if isinstance(response, CoterieError):
            raise response
        try:
            yield response
        finally:
            await to_the_end(_close(response))

    async def chunks(self, response: httpx.Response, deadline: Deadline) -> AsyncGenerator[bytes, None]:
        """An answer's bytes as they come. Raises `EngineTimeout` or `EngineBroken`."""
        if response.headers.get("content-encoding", "identity") != "identity":
            raise EngineBroken(
                f"Engine {self._engine!r} sent a compressed answer nobody asked for.", engine=self._engine
            )
        chunks, size = response.aiter_bytes(), 0
        while True:
            chunk, failure = None, None
            try:
                async with deadline.limit():
                    chunk = await cancelled_once(_next(chunks))
            except Exception as error:  # noqa: BLE001 - see `_sent`
                failure = self._mapped(error, answering=True)
            if failure is not None:
                raise failure
            if chunk is None:
                return
            size += len(chunk)
            if size > _LONGEST_ANSWER:
                raise EngineBroken(
                    f"Engine {self._engine!r} sent more than {_LONGEST_ANSWER} bytes.", engine=self._engine
                )
            yield chunk

    async def read_answer(self, response: httpx.Response, deadline: Deadline) -> str:
        """The whole body of an answer. Raises what `chunks` raises."""
        body = b"".join([chunk async for chunk in self.chunks(response, deadline)])
        return self.scrubbed(body.decode("utf-8", "replace"))

    async def read_refusal(self, response: httpx.Response, deadline: Deadline) -> str:
        """The beginning of the body of an answer that is none; empty if it cannot be read."""
        body = bytearray()
        with suppress(CoterieError):
            async with aclosing(self.chunks(response, deadline)) as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) > _LONGEST_REFUSAL:
                        break
        return self.scrubbed(body[:_LONGEST_REFUSAL].decode("utf-8", "replace"))

    async def close(self) -> None:
        """Close what is open; a later request opens it again."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _sent(self, content: bytes, deadline: Deadline, path: str) -> httpx.Response | CoterieError:
        """The answer's head, or what went wrong: raised by the caller, out of sight of the HTTP library's error."""
        client, begun = self._opened(), list[str]()

        async def note(event: str, _: object) -> None:
            if event.endswith("send_request_headers.started"):
                begun.append(event)

        try:
            request = client.build_request(
                "POST", self._url + path, content=content, headers=_HEADERS, extensions={"trace": note}
            )
            async with deadline.limit():
                return await cancelled_once(client.send(request, stream=True, auth=self._auth), undo=_close)
        except CoterieError:
            raise
        except Exception as error:  # noqa: BLE001 - what the HTTP library lets through of its own libraries too
            mapped = self._mapped(error)
            if isinstance(mapped, EngineError) and self._transport is None and not begun:
                mapped.turned_away = True  # it waited for a connection until its time was up: nothing was sent
            return mapped

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            connect = min(_CONNECT_TIMEOUT, self._timeout)
            self._client = httpx.AsyncClient(
                transport=self._transport,
                timeout=httpx.Timeout(self._timeout, connect=connect, pool=connect),
                limits=httpx.Limits(max_connections=_CONNECTIONS),
                follow_redirects=False,  # the address was judged by the egress gate; another was not
            )
        return self._client

    def _mapped(self, error: Exception, *, answering: bool = False) -> CoterieError:
        """Ours for one of the HTTP library. Only `ConnectError` is quoted: it knows the address, not the request."""
        engine, kind = self._engine, type(error).__name__
        if isinstance(error, httpx.PoolTimeout):
            return Overloaded(f"All {_CONNECTIONS} connections to {engine!r} are in use.")
        if isinstance(error, httpx.TimeoutException | TimeoutError):
            return EngineTimeout(f"Engine {engine!r} gave no answer within {self._timeout:g} s.", engine=engine)
        if isinstance(error, httpx.ConnectError):
            return EngineUnavailable(f"Engine {engine!r} cannot be reached: {error}.", engine=engine)
        if answering:
            return EngineBroken(f"Engine {engine!r} broke off in the middle of its answer ({kind}).", engine=engine)
        if isinstance(error, httpx.TransportError) and not isinstance(error, _OUR_FAULT):
            dropped = EngineUnavailable(f"Engine {engine!r} dropped the connection ({kind}).", engine=engine)
            dropped.turned_away = False  # it may have read the prompt by then
            return dropped
        return EngineRejected(
            f"The request to {engine!r} cannot be made ({kind}).",
            engine=engine,
            hint="Check the model's `base_url` in coterie.toml.",
        )


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    """The next chunk; None at the end."""
    return await anext(chunks, None)


async def _close(response: httpx.Response) -> None:
    """Give a connection back to the pool. The HTTP library forgets one for ever if this is cancelled in the middle."""
    with suppress(httpx.HTTPError, OSError):
        await response.aclose()


class _KeyAuth(httpx.Auth):
    """Puts the key into the request's header, and nowhere else."""

    def __init__(self, secret: EnvSecret) -> None:
        self._secret = secret

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Read the key from the environment for this one request."""
        if not self._sendable():
            raise ConfigError(
                f"The key in {self._secret!s} has characters that an HTTP header cannot carry.",
                hint="Set the variable to the key alone: ASCII, no spaces, one line.",
            )
        request.headers["Authorization"] = f"Bearer {self._key()}"
        yield request

    def forms(self) -> list[str]:
        """The key as it may turn up in an answer: plain and as JSON writes it."""
        return sorted({self._key(), json.dumps(self._key())[1:-1]}, key=len, reverse=True)

    def _sendable(self) -> bool:
        key = self._key()
        return bool(key) and all("!" <= character <= "~" for character in key)

    def _key(self) -> str:
        return self._secret.reveal().strip()


# --- Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), split anywhere; `data` only.

_LINE_END = re.compile(rb"\r\n|\n|\r")


class EventParser:
    """Bytes in, the `data` of each complete event out. Raises `ValueError` for what is no event stream."""

    def __init__(self, *, limit: int = 1 << 20) -> None:
        """Start a stream; `limit` bounds the bytes of one line and of one event."""
        self._limit = limit
        self._line = bytearray()  # the part of a line whose end has not come
        self._data: list[str] = []
        self._size = 0
        self._after_cr = False
        self._first = True  # a byte order mark may come before the first line

    def feed(self, chunk: bytes) -> list[str]:
        """The events that this chunk completes."""
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
        """The event that a stream ending without its blank line leaves, if any."""
        return [*self.feed(b"\n"), *self.feed(b"\n")]

    def _take(self, line: bytes) -> str | None:
        """Take a complete line; the event's data if it is the blank line that ends one."""
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

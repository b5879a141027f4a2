"""The connection to an OpenAI-compatible server: its key, its time limits, and the mapping of errors."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, suppress
from urllib.parse import urlsplit

from coterie.config.file import ServerModel
from coterie.config.section import EnvSecret
from coterie.engines.http import HttpTransport
from coterie.engines.transport import ServerAnswer, Transport, TransportError
from coterie.errors import (
    ConfigError,
    CoterieError,
    EngineBroken,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    Overloaded,
)

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

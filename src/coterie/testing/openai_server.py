"""A scripted OpenAI-compatible server on a free port of 127.0.0.1, and a scripted transport without one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from coterie.engines.http import ServerAnswer


@dataclass(frozen=True, kw_only=True)
class ServerReply:
    """The server's reaction to one request. The default is a short answer, whole or streamed as requested."""

    text: str = "Hello from the fake server."
    pieces: Sequence[str] | None = None
    """Pieces of a streamed text; one per word by default."""
    finish: str = "stop"
    usage: bool = True
    """Whether the reply counts tokens (one per word)."""
    logprobs: Sequence[float] | None = None
    """Log-probabilities of the tokens of a whole answer, sent on request."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """Bytes to send in place of an answer."""
    delay: float = 0.0
    """Seconds before the answer, by the server's `sleep`."""
    hang: bool = False
    """Whether to never answer; the connection stays open until the client closes it."""
    cut_after: int | None = None
    """Close the connection after this number of pieces of a stream, or bytes of a whole answer; 0 sends nothing."""
    error_after: int | None = None
    """In a stream, send an error object after this number of pieces, and end."""

    @classmethod
    def refused(cls, status: int, message: str = "no", *, code: str | None = None, **headers: str) -> ServerReply:
        """Make an error in OpenAI's form; `retry_after="2"` becomes the header `retry-after: 2`."""
        error = {"error": {"message": message, "type": "error", "param": None, "code": code}}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status=status, body=json.dumps(error).encode(), headers=named)


@dataclass(frozen=True, kw_only=True)
class ReceivedRequest:
    """One request as the server received it."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Headers by lower-case name."""
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        content = json.loads(self.body)
        if not isinstance(content, dict):
            raise TypeError(f"the body is {type(content).__name__}, not an object")
        return content


class FakeOpenAIServer:
    """Answers `POST .../chat/completions` with the replies of its script, then with the default reply.

    The default may be a function of the request's JSON object. Use the server as an async context manager;
    `base_url` is the value for `coterie.toml`.

        async with FakeOpenAIServer([ServerReply.refused(429, retry_after="1"), ServerReply(text="Paris")]) as server:
            ...
    """

    def __init__(
        self,
        script: Iterable[ServerReply] = (),
        *,
        default: ServerReply | Callable[[Mapping[str, Any]], ServerReply] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.script = list(script)
        self.default = default or ServerReply()
        self.requests: list[ReceivedRequest] = []
        """All requests, in order."""
        self.received = bytearray()
        """All received bytes of all connections."""
        self.connections = 0
        """Number of opened connections."""
        self.asked = asyncio.Event()
        """Set when the first request was received."""
        self.disconnected = asyncio.Event()
        """Set when a client disconnects during an answer."""
        self._sleep = sleep
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._port = 0

    @property
    def base_url(self) -> str:
        """Address of the server up to and including `/v1`."""
        return f"http://127.0.0.1:{self._port}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, request after request."""
        self.connections += 1
        if (task := asyncio.current_task()) is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            while (request := await self._read(reader)) is not None:
                self.requests.append(request)
                self.asked.set()
                if not await self._answer(request, self._reply(request), reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self.disconnected.set()
        except asyncio.CancelledError:
            pass  # the server is closing
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def _reply(self, request: ReceivedRequest) -> ServerReply:
        """Return the next reply of the script, or the default."""
        if self.script:
            return self.script.pop(0)
        return self.default if isinstance(self.default, ServerReply) else self.default(request.json)

    async def _read(self, reader: asyncio.StreamReader) -> ReceivedRequest | None:
        """Read the next request; None if the client closed the connection."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as end:
            self.received += end.partial
            return None
        self.received += head
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.received += body
        return ReceivedRequest(method=method, path=path, headers=headers, body=body)

    async def _answer(
        self, request: ReceivedRequest, reply: ServerReply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Send a reply. Returns False if the connection is to be closed."""
        if reply.delay:
            await self._sleep(reply.delay)
        if reply.hang:
            await reader.read(1)  # nothing comes but the end
            self.disconnected.set()
            return False
        if request.method != "POST" or not request.path.endswith("/chat/completions"):
            reply = ServerReply.refused(404, f"no {request.method} {request.path} here")
        streams = reply.status == HTTPStatus.OK and reply.body is None and bool(request.json.get("stream"))
        if streams:
            return await self._stream(request.json, reply, writer)
        body = reply.body if reply.body is not None else json.dumps(_completion(request.json, reply)).encode()
        kind = {"content-type": "application/json", "content-length": str(len(body))} | dict(reply.headers)
        writer.write(_head(reply.status, kind) + body[: reply.cut_after])
        await writer.drain()
        return reply.cut_after is None

    async def _stream(self, body: Mapping[str, Any], reply: ServerReply, writer: asyncio.StreamWriter) -> bool:
        """Send the text as server-sent events. A complete stream is chunked, and its connection stays open."""
        whole = reply.cut_after is None and reply.error_after is None
        ends = {"transfer-encoding": "chunked"} if whole else {"connection": "close"}
        writer.write(_head(200, {"content-type": "text/event-stream", **ends} | dict(reply.headers)))
        send = partial(_send, writer, in_chunks=whole)
        pieces = reply.pieces if reply.pieces is not None else [f"{word} " for word in reply.text.split(" ")]
        if reply.pieces is None and pieces:
            pieces = [*pieces[:-1], pieces[-1].removesuffix(" ")]
        for count, piece in enumerate(pieces):
            if count in {reply.cut_after, reply.error_after}:
                break
            await send(_event(_chunk(body, {"content": piece})))
        if reply.cut_after is not None and reply.cut_after <= len(pieces):
            return False
        if reply.error_after is not None:
            await send(_event({"error": {"message": "the model fell over", "code": 500}}))
            return False
        await send(_event(_chunk(body, {}, finish=reply.finish)))
        if reply.usage:
            await send(_event(_chunk(body, None) | {"usage": _usage(body, reply)}))
        await send(b"data: [DONE]\n\n")
        if whole:
            await send(b"")
        return whole


async def _send(writer: asyncio.StreamWriter, content: bytes, *, in_chunks: bool) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(content), content) if in_chunks else content)
    await writer.drain()


def _event(content: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _completion(body: Mapping[str, Any], reply: ServerReply) -> dict[str, Any]:
    """Return a whole answer."""
    message = {"role": "assistant", "content": reply.text if reply.pieces is None else "".join(reply.pieces)}
    completion: dict[str, Any] = {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model"),
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish, "logprobs": None}],
    }
    if reply.logprobs is not None and body.get("logprobs"):
        completion["choices"][0]["logprobs"] = {"content": [{"token": "t", "logprob": x} for x in reply.logprobs]}
    return completion | ({"usage": _usage(body, reply)} if reply.usage else {})


def _chunk(body: Mapping[str, Any], delta: Mapping[str, str] | None, *, finish: str | None = None) -> dict[str, Any]:
    """Return a chunk of a stream; without a delta it has no choices."""
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": body.get("model"),
        "choices": [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def _usage(body: Mapping[str, Any], reply: ServerReply) -> dict[str, int]:
    """Return the usage, counting one token per word."""
    prompt = sum(len(str(message.get("content", "")).split()) for message in body.get("messages", []))
    completion = len(reply.text.split() if reply.pieces is None else "".join(reply.pieces).split())
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


@dataclass(kw_only=True)
class ScriptedAnswer:
    """An answer of a `ScriptedTransport`."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers by lower-case name."""
    body: bytes | Sequence[bytes] | AsyncIterable[bytes] = b""
    """The body at once, or in pieces; an iterator may raise `TransportError`."""
    json: Any = None
    """A body as JSON, in place of `body`."""
    closed: bool = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body."""
        if self.json is not None:
            yield json.dumps(self.json).encode()
        elif isinstance(self.body, AsyncIterable):
            async for piece in self.body:
                yield piece
        else:
            for piece in [self.body] if isinstance(self.body, bytes) else self.body:
                yield piece

    def whole(self) -> bytes | None:
        """Return the body if it was given at once."""
        if self.json is not None:
            return json.dumps(self.json).encode()
        return self.body if isinstance(self.body, bytes) else None

    def close(self) -> None:
        """Note that the answer was closed."""
        self.closed = True


class ScriptedTransport:
    """Answers each request with the result of a function; the function may raise `TransportError`."""

    def __init__(self, answer: Callable[[ReceivedRequest], ScriptedAnswer | Awaitable[ScriptedAnswer]]) -> None:
        """Set the function."""
        self._answer = answer

    async def post(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        until: float,
    ) -> ServerAnswer:
        """Return the function's answer."""
        named = {name.lower(): value for name, value in headers.items()}
        answer = self._answer(ReceivedRequest(method="POST", path=urlsplit(url).path, headers=named, body=body))
        if isinstance(answer, ScriptedAnswer):
            return answer
        async with asyncio.timeout_at(until):
            return await answer

    async def close(self) -> None:
        """Do nothing: there is no connection to close."""

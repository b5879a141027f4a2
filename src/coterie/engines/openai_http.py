"""OpenAI-compatible servers: the wire format, and the one place that knows HTTP.

Servers differ: whatever they send raises nothing but an `EngineError` or `TooLong`. Errors of the HTTP library are
never chained to ours, because they remember the request, and with it the key.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx

from coterie.config.file import OpenAIModel
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
    TooLong,
)
from coterie.runtime.concurrency import cancelled_once, to_the_end
from coterie.text.unicode import estimate_tokens, valid_text
from coterie.types import Failure, Output, Prompt, Usage

# --- Wire format: requests, responses and refusals.

# --- Prompts in the shape of OpenAI's chat requests, which llama.cpp and the servers share.


def read_logprob(choice: Mapping[str, Any]) -> float | None:
    """The summed logarithms of the probabilities of a choice's tokens; None where they are not given, or are none."""
    described = choice.get("logprobs")
    tokens = described.get("content") if isinstance(described, dict) else None
    if not isinstance(tokens, list) or not tokens:
        return None
    values = [token.get("logprob") for token in tokens if isinstance(token, dict)]
    numbers = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return sum(numbers) if len(numbers) == len(tokens) else None


def chat_body(prompt: Prompt) -> dict[str, object]:
    """A prompt as the JSON of a streamed chat request, without the model's name."""
    body: dict[str, object] = {
        "messages": [{"role": message.role, "content": valid_text(message.text)} for message in prompt.messages],
        "max_tokens": max(prompt.max_tokens, 1),  # servers read other numbers as "no limit"
        "temperature": prompt.temperature,
        "seed": prompt.seed,
    }
    if prompt.stop:
        body["stop"] = [valid_text(stop) for stop in prompt.stop]
    if prompt.logprobs:
        body["logprobs"] = True
    if prompt.json_schema is not None:
        schema = {"name": "answer", "strict": True, "schema": dict(prompt.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


Finish = Literal["stop", "length", "aborted"]

STREAM_END = "[DONE]"

_FINISHES: Mapping[str, Finish] = {"length": "length", "content_filter": "aborted"}
"""Finish reasons that are not a plain stop."""
_RETRYABLE = frozenset({408, 409, 425, 429})
"""Status codes below 500 after which the same request may succeed."""
_LONGEST_MESSAGE = 200
"""Characters of a provider's own words that are repeated in an error."""
_ECHO = 24
"""Characters in a row of a provider's message that, found in the request, make it a repetition of it."""
_REDIRECTED = "Redirects are not followed: set `base_url` in coterie.toml to the final address."
_HINTS = {
    301: _REDIRECTED,
    302: _REDIRECTED,
    307: _REDIRECTED,
    308: _REDIRECTED,
    401: "Check the key: `api_key` in coterie.toml names the environment variable that holds it.",
    403: "Check the key and what it may use: `api_key` in coterie.toml names its environment variable.",
    404: "Check `base_url` (up to and including /v1) and the model's `name` in coterie.toml.",
}
_UNSUPPORTED = frozenset({"unsupported_parameter", "unsupported_value"})


@dataclass(kw_only=True)
class Transcript:
    """What an answer has said so far, chunk by chunk or at once."""

    engine: str
    prompt: Prompt
    start: float = field(default_factory=time.perf_counter)
    texts: list[str] = field(default_factory=list)
    finish: Finish | None = None
    tokens: tuple[int, int] | None = None
    """Prompt and generated tokens, if the server counts them."""
    cached: int = 0
    """Of the prompt's, those that the server says it remembered."""
    logprobs: list[float] = field(default_factory=list)
    """Of the pieces whose probability the server says."""

    def take_event(self, data: str) -> str:
        """Take the data of a stream's event; the text it brings. Raises `EngineBroken`."""
        if data.strip() == STREAM_END:
            self.finish = self.finish or "stop"
            return ""
        return self.take(data, part="delta")

    def take(self, data: str, *, part: Literal["message", "delta"]) -> str:
        """Take a chunk of a stream (`delta`) or a whole answer (`message`); the text it brings."""
        content = read_json(data, self.engine)
        if content.get("error"):  # servers send it in the middle of a stream, where there is no status left
            said = quotable(read_error(data), self.prompt)
            raise EngineBroken(
                f"Engine {self.engine!r} failed while it answered{_after_colon(said)}.", engine=self.engine
            )
        choices = content.get("choices")
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
            raise EngineBroken(f"Engine {self.engine!r} sent an answer without choices.", engine=self.engine)
        self.tokens = _tokens(content.get("usage")) or self.tokens
        self.cached = _cached(content.get("usage")) or self.cached
        if not choices and part == "message":
            raise EngineBroken(f"Engine {self.engine!r} sent an answer without choices.", engine=self.engine)
        if not choices:  # the chunk that carries nothing but usage
            return ""
        message, finish = choices[0].get(part) or {}, choices[0].get("finish_reason")
        text = message.get("content") if isinstance(message, dict) else message
        if not isinstance(text, str | None) or not isinstance(finish, str | None):
            raise EngineBroken(f"Engine {self.engine!r} sent content that is no text.", engine=self.engine)
        self.finish = _FINISHES.get(finish, "stop") if finish else self.finish
        self.texts.append(text or "")
        if self.prompt.logprobs and (logprob := read_logprob(choices[0])) is not None:
            self.logprobs.append(logprob)
        return text or ""

    def output(self) -> Output:
        """The whole answer. Raises `EngineBroken` when its end has not come.

        Tokens are estimated from the texts' bytes when the server does not count them.
        """
        if self.finish is None:
            raise EngineBroken(f"Engine {self.engine!r} broke off in the middle of its answer.", engine=self.engine)
        logprob = sum(self.logprobs) if self.logprobs else None
        return Output(text="".join(self.texts), finish=self.finish, usage=self._usage(), logprob=logprob)

    def failure(self, error: EngineError) -> Failure:
        """The try as one that failed. One that was refused is free; of any other the prompt counts as read.

        A server that was too slow or sent rubbish may bill for it: to count too much is better than too little.
        """
        if isinstance(error, EngineTimeout | EngineBroken) and not error.turned_away:
            return Failure(reason=error.message, usage=self._usage())
        milliseconds = (time.perf_counter() - self.start) * 1000
        usage = Usage(milliseconds=milliseconds)
        return Failure(reason=error.message, usage=usage, turned_away=error.turned_away)

    def _usage(self) -> Usage:
        """What it took so far."""
        asked = sum(estimate_tokens(message.text) for message in self.prompt.messages)
        tokens_in, tokens_out = self.tokens or (asked, estimate_tokens("".join(self.texts)))
        milliseconds = (time.perf_counter() - self.start) * 1000
        cached = min(self.cached, tokens_in)
        return Usage(tokens_in=tokens_in, tokens_cached=cached, tokens_out=tokens_out, milliseconds=milliseconds)


@dataclass
class Dialect:
    """What one server takes: learns from its refusals which optional parameters to leave out.

    OpenAI's reasoning models, for one, know `max_completion_tokens` only and no temperature.
    """

    dropped: set[str] = field(default_factory=set)

    def body(self, model: str, prompt: Prompt, *, stream: bool) -> dict[str, object]:
        """The request for a prompt."""
        body = {"model": model, **chat_body(prompt), "stream": stream}
        if stream:
            body["stream_options"] = {"include_usage": True}
        if "max_tokens" in self.dropped:
            body["max_completion_tokens"] = body["max_tokens"]
        return {name: value for name, value in body.items() if name not in self.dropped}

    def learn(self, status: int, error: Mapping[str, Any]) -> bool:
        """True if the refusal names a parameter that can be left out from now on."""
        name = error.get("param")
        optional = {"max_tokens", "temperature", "seed", "stop", "stream_options", "logprobs"} - self.dropped
        if status != 400 or error.get("code") not in _UNSUPPORTED or not isinstance(name, str) or name not in optional:
            return False
        self.dropped.add(name)
        return True


def read_json(data: str, engine: str) -> dict[str, Any]:
    """An answer's JSON object. Raises `EngineBroken`."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise EngineBroken(f"Engine {engine!r} sent what is no JSON object.", engine=engine)
    return content


def read_error(data: str) -> Mapping[str, Any]:
    """The error object of a refusal, or an empty one: it may be HTML or anything else."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    error = content.get("error", content) if isinstance(content, dict) else {}
    return error if isinstance(error, dict) else {"message": error}


def refusal(
    status: int, error: Mapping[str, Any], *, engine: str, said: str, retry_after: float | None
) -> CoterieError:
    """The error for a status that is not 200; `said` is what may be repeated of the provider's words."""
    message = f"Engine {engine!r} answered with status {status}{_after_colon(said)}."
    if error.get("code") == "context_length_exceeded":
        return TooLong(message, hint="Send less text, or use a model with a larger window.")
    if status in _RETRYABLE or status >= 500:
        return EngineUnavailable(message, engine=engine, retry_after=retry_after)
    return EngineRejected(message, engine=engine, hint=_HINTS.get(status, ""))


def _after_colon(said: str) -> str:
    return f": {said}" if said else ""


def quotable(error: Mapping[str, Any], prompt: Prompt) -> str:
    """A provider's own words, fit for logs: short, and without a repetition of the request."""
    message = error.get("message")
    if not isinstance(message, str) or not message.strip():
        return ""
    message = " ".join(message[: 4 * _LONGEST_MESSAGE].split())[:_LONGEST_MESSAGE]
    sent = " ".join(" ".join(each.text for each in prompt.messages).split())
    windows = range(max(len(message) - _ECHO + 1, 0))
    if any(message[at : at + _ECHO] in sent for at in windows):
        return "its message repeats the request and is left out"
    return message.rstrip(".")


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds a `Retry-After` header asks to wait: a number, or a date after the answer's own `Date`."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_between(headers.get("date", ""), value)
    return seconds if 0 <= seconds < float("inf") else None


def _seconds_between(start: str, end: str) -> float:
    try:
        return max((parsedate_to_datetime(end) - parsedate_to_datetime(start)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return float("nan")


def _cached(usage: object) -> int:
    """Remembered prompt tokens of a usage object; 0 where it says nothing sensible of them."""
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    count = details.get("cached_tokens") if isinstance(details, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 0


def _tokens(usage: object) -> tuple[int, int] | None:
    """Prompt and generated tokens of a usage object, if it has sensible ones."""
    if not isinstance(usage, dict):
        return None
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    if all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
        return counts  # type: ignore[return-value]  # just checked
    return None


# --- Connections.

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

    def __init__(self, engine: str, model: OpenAIModel, transport: httpx.AsyncBaseTransport | None) -> None:
        self._engine = engine
        self._timeout = model.timeout
        self._url = f"{model.base_url.rstrip('/')}/chat/completions"
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
    async def post(self, body: Mapping[str, object], deadline: Deadline) -> AsyncIterator[httpx.Response]:
        """The answer to a request, whatever its status, with nothing but its head read."""
        response = await self._sent(json.dumps(body, ensure_ascii=False).encode(), deadline)
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

    async def _sent(self, content: bytes, deadline: Deadline) -> httpx.Response | CoterieError:
        """The answer's head, or what went wrong: raised by the caller, out of sight of the HTTP library's error."""
        client, begun = self._opened(), list[str]()

        async def note(event: str, _: object) -> None:
            if event.endswith("send_request_headers.started"):
                begun.append(event)

        try:
            request = client.build_request(
                "POST", self._url, content=content, headers=_HEADERS, extensions={"trace": note}
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

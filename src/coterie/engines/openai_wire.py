"""The formats of OpenAI-compatible servers: requests, answers and errors. No connection.

Servers differ, so their data is parsed defensively: nothing in it raises anything but an
`EngineError` or `TooLong`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from coterie.errors import (
    CoterieError,
    EngineBroken,
    EngineError,
    EngineRejected,
    EngineTimeout,
    EngineUnavailable,
    TooLong,
)
from coterie.runtime.codec import parse_json
from coterie.text.folding import estimate_tokens, valid_text
from coterie.types import Failure, Output, Prompt, Usage

# --- Prompts in the shape of OpenAI's chat requests, which llama.cpp and the servers share.


def read_logprob(choice: Mapping[str, Any]) -> float | None:
    """Return the sum of the log-probabilities of a choice's tokens; None where they are missing or invalid."""
    described = choice.get("logprobs")
    tokens = described.get("content") if isinstance(described, dict) else None
    if not isinstance(tokens, list) or not tokens:
        return None
    values = [token.get("logprob") for token in tokens if isinstance(token, dict)]
    numbers = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return sum(numbers) if len(numbers) == len(tokens) else None


def chat_body(prompt: Prompt) -> dict[str, object]:
    """Return a prompt as the JSON of a streamed chat request, without the model's name."""
    body: dict[str, object] = {
        "messages": [{"role": message.role, "content": valid_text(message.text)} for message in prompt.messages],
        "max_tokens": max(prompt.max_tokens, 1),  # servers read other numbers as "no limit"
        "temperature": prompt.temperature,
        "seed": prompt.seed,
    }
    for name in ("top_p", "frequency_penalty", "presence_penalty"):
        if (value := getattr(prompt, name)) is not None:
            body[name] = value
    if prompt.stop:
        body["stop"] = [valid_text(stop) for stop in prompt.stop]
    if prompt.logprobs:
        body["logprobs"] = True
    if prompt.json_schema is not None:
        schema = {"name": "answer", "strict": True, "schema": portable(prompt.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


COMPACT = "x-guidance"
"""Key of a schema for `llguidance` that sets its JSON format. Servers get the schema without this key and bounds."""
_BOUNDS = frozenset({COMPACT, "minLength", "maxLength", "minProperties", "maxProperties"})


def portable(schema: Mapping[str, object]) -> dict[str, object]:
    """Return a schema that servers accept: OpenAI's strict mode refuses bounds of lengths, which are checked here."""
    return _without_bounds(schema) if COMPACT in schema else dict(schema)  # type: ignore[return-value]


def _without_bounds(node: object, *, names: bool = False) -> object:
    if isinstance(node, list):
        return [_without_bounds(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if names or key not in _BOUNDS}
    return {
        key: value if key == "enum" and not names else _without_bounds(value, names=key in {"properties"} and not names)
        for key, value in kept.items()
    }


Finish = Literal["stop", "length", "aborted"]

STREAM_END = "[DONE]"

_FINISHES: Mapping[str, Finish] = {"length": "length", "content_filter": "aborted"}
"""Finish reasons that are not a plain stop."""
_RETRYABLE = frozenset({408, 409, 425, 429})
"""Status codes below 500 after which the same request may succeed."""
_LONGEST_MESSAGE = 200
"""Characters of a provider's message that are repeated in an error."""
_ECHO = 24
"""Characters in a row that a provider's message and the request must share to count as a repetition."""
_REPEATS = "its message repeats the request and is left out"
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
_OPTIONAL = {
    *("max_tokens", "temperature", "seed", "stop", "stream_options", "logprobs"),
    *("top_p", "frequency_penalty", "presence_penalty"),
}
_UNSUPPORTED = frozenset({"unsupported_parameter", "unsupported_value"})


@dataclass(kw_only=True)
class Transcript:
    """The content of an answer so far, read chunk by chunk or at once."""

    engine: str
    prompt: Prompt
    start: float = field(default_factory=time.perf_counter)
    texts: list[str] = field(default_factory=list)
    finish: Finish | None = None
    refused: bool = False
    """Whether the model refused to answer; the words of the refusal are no answer."""
    tokens: tuple[int, int] | None = None
    """Prompt and generated tokens, if the server reports them."""
    cached: int = 0
    """Prompt tokens that the server reports as cached."""
    logprobs: list[float] = field(default_factory=list)
    """Log-probabilities of the pieces for which the server reports them."""

    def take_event(self, data: str) -> str:
        """Read the data of a stream's event and return its text. Raises `EngineBroken`."""
        if data.strip() == STREAM_END:
            self.finish = self.finish or "stop"
            return ""
        return self.take(data, part="delta")

    def take(self, data: str, *, part: Literal["message", "delta"]) -> str:
        """Read a chunk of a stream (`delta`) or a whole answer (`message`) and return its text."""
        content = read_json(data, self.engine)
        if content.get("error"):  # servers send it in the middle of a stream, where there is no status left
            problem = quotable(read_error(data), self.prompt)
            raise EngineBroken(
                f"Engine {self.engine!r} failed while it answered{_after_colon(problem)}.", engine=self.engine
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
        self.refused |= isinstance(message, dict) and bool(message.get("refusal"))
        self.texts.append(text or "")
        if self.prompt.logprobs and (logprob := read_logprob(choices[0])) is not None:
            self.logprobs.append(logprob)
        return text or ""

    def output(self) -> Output:
        """Return the whole answer. Raises `EngineBroken` when its end is missing.

        Tokens are estimated from the texts' bytes when the server does not report them.
        """
        if self.finish is None:
            raise EngineBroken(f"Engine {self.engine!r} broke off in the middle of its answer.", engine=self.engine)
        logprob = sum(self.logprobs) if self.logprobs else None
        finish = "aborted" if self.refused else self.finish
        return Output(text="".join(self.texts), finish=finish, usage=self._usage(), logprob=logprob)

    def failure(self, error: EngineError) -> Failure:
        """Return the record of a failed try. A refused one is free; for any other the prompt counts as read.

        A server that was too slow or sent an invalid answer may bill for it: counting too much is better than too
        little.
        """
        if isinstance(error, EngineTimeout | EngineBroken) and not error.turned_away:
            return Failure(reason=error.message, usage=self._usage())
        milliseconds = (time.perf_counter() - self.start) * 1000
        usage = Usage(milliseconds=milliseconds)
        return Failure(reason=error.message, usage=usage, turned_away=error.turned_away, sent=error.sent)

    def relayed(self, body: bytes, *, streamed: bool) -> Usage:
        """Return the usage of a relayed answer: as reported in the format of any API, else estimated by its bytes."""
        text = body.decode("utf-8", "replace")
        lines = [line[5:] for line in text.splitlines() if line.startswith("data:")] if streamed else [text]
        for line in lines:
            if '"usage"' not in line and streamed:
                continue
            with suppress(ValueError, RecursionError):
                event = parse_json(line)
                for part in (event, event.get("response"), event.get("message")) if isinstance(event, dict) else ():
                    usage = part.get("usage") if isinstance(part, dict) else None
                    self.tokens = _tokens(usage) or self.tokens
                    self.cached = _cached(usage) or self.cached
        self.texts.append(text)
        return self._usage()

    def _estimated(self) -> tuple[int, int]:
        tokens_in = sum(estimate_tokens(message.text) for message in self.prompt.messages)
        return tokens_in, estimate_tokens("".join(self.texts))

    def _usage(self) -> Usage:
        """Return the usage so far."""
        tokens_in, tokens_out = self.tokens or self._estimated()
        milliseconds = (time.perf_counter() - self.start) * 1000
        cached = min(self.cached, tokens_in)
        return Usage(tokens_in=tokens_in, tokens_cached=cached, tokens_out=tokens_out, milliseconds=milliseconds)


@dataclass
class Dialect:
    """The parameters that one server accepts; learns from its errors which optional ones to leave out.

    OpenAI's reasoning models, for example, accept only `max_completion_tokens` and no temperature.
    """

    dropped: set[str] = field(default_factory=set)

    def body(self, model: str, prompt: Prompt, *, stream: bool) -> dict[str, object]:
        """Return the request for a prompt."""
        body = {"model": model, **chat_body(prompt), "stream": stream}
        if stream:
            body["stream_options"] = {"include_usage": True}
        if "max_tokens" in self.dropped:
            body["max_completion_tokens"] = body["max_tokens"]
        return {name: value for name, value in body.items() if name not in self.dropped}

    def learn(self, status: int, error: Mapping[str, Any]) -> bool:
        """Return True if the error names a parameter that will be left out from now on."""
        name = error.get("param")
        optional = _OPTIONAL - self.dropped
        if status != 400 or error.get("code") not in _UNSUPPORTED or not isinstance(name, str) or name not in optional:
            return False
        self.dropped.add(name)
        return True


def read_json(data: str, engine: str) -> dict[str, Any]:
    """Parse an answer's JSON object. Raises `EngineBroken`."""
    try:
        content = parse_json(data)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise EngineBroken(f"Engine {engine!r} sent what is no JSON object.", engine=engine)
    return content


def read_error(data: str) -> Mapping[str, Any]:
    """Return the error object of an error response, or an empty one: the response may be HTML or anything else."""
    try:
        content = parse_json(data)
    except ValueError:
        return {}
    error = content.get("error", content) if isinstance(content, dict) else {}
    return error if isinstance(error, dict) else {"message": error}


def refusal(
    status: int, error: Mapping[str, Any], *, engine: str, quoted: str, retry_after: float | None
) -> CoterieError:
    """Return the error for a status that is not 200; `quoted` is the part of the provider's message to repeat."""
    message = f"Engine {engine!r} answered with status {status}{_after_colon(quoted)}."
    if error.get("code") == "context_length_exceeded":
        return TooLong(message, hint="Send less text, or use a model with a larger window.")
    if status in _RETRYABLE or status >= 500:
        return EngineUnavailable(message, engine=engine, retry_after=retry_after)
    return EngineRejected(message, engine=engine, hint=_HINTS.get(status, ""))


def _after_colon(quoted: str) -> str:
    """Return a provider's message in quotation marks: quoted text is content, which a trace keeps only if allowed."""
    return "" if not quoted else f": {quoted if quoted == _REPEATS else repr(quoted)}"


def quotable(error: Mapping[str, Any], prompt: Prompt) -> str:
    """Return a provider's message fit for logs: short, and without a repetition of the request."""
    message = error.get("message")
    if not isinstance(message, str) or not message.strip():
        return ""
    message = " ".join(message[: 4 * _LONGEST_MESSAGE].split())[:_LONGEST_MESSAGE]
    sent = " ".join(" ".join(message.text for message in prompt.messages).split())
    windows = range(max(len(message) - _ECHO + 1, 0))
    if any(message[at : at + _ECHO] in sent for at in windows):
        return _REPEATS
    return message.rstrip(".")


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a `Retry-After` header: a number, or a date relative to the answer's own `Date`."""
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
    """Return cached prompt tokens of a usage object; 0 where the value is missing or invalid."""
    details = usage.get("prompt_tokens_details") if isinstance(usage, dict) else None
    count = details.get("cached_tokens") if isinstance(details, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 0


_COUNTED = (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))
"""Names of the token counts in the chat API and in the other APIs."""


def _tokens(usage: object) -> tuple[int, int] | None:
    """Return prompt and generated tokens of a usage object; None where they are missing or invalid."""
    if not isinstance(usage, dict):
        return None
    counts = tuple(usage.get(old, usage.get(new)) for old, new in _COUNTED)
    if all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
        return counts  # type: ignore[return-value]  # just checked
    return None


# --- Chunks of a chat as a server sends them: one event each, or put together.


class ChatChunks:
    """The chunks of one answer in the format of an OpenAI-compatible server."""

    def __init__(self, model: str, body: Mapping[str, Any]) -> None:
        self._model, self._streamed = model, bool(body.get("stream"))
        self._with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self._head: dict[str, Any] = {}
        self._message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        self._calls: dict[int, dict[str, Any]] = {}
        self._logprobs: list[Any] = []
        self._finish, self._usage = "stop", dict[str, int]()

    def take(self, chunk: Mapping[str, Any]) -> bytes:
        """Store a chunk and return its event for a stream, or nothing."""
        self._head = {"id": chunk.get("id", ""), "created": chunk.get("created", 0), "model": self._model}
        self._usage = {key: n for key, n in (chunk.get("usage") or self._usage).items() if key.endswith("_tokens")}
        for choice in chunk.get("choices", ()):
            self._keep(choice)
        choices = [choice for choice in chunk.get("choices") or () if choice.get("finish_reason") or any(_news(choice))]
        if not self._streamed or not (choices or (chunk.get("usage") and self._with_usage)):
            return b""
        chunk_ = {**self._head, "object": "chat.completion.chunk", "choices": choices}
        return _event(chunk_ | ({} if choices else {"usage": self._usage}))

    def end(self) -> bytes:
        """Return the end of the stream, or the whole answer."""
        if self._streamed:
            return f"data: {STREAM_END}\n\n".encode()
        message = self._message | ({"tool_calls": list(self._calls.values())} if self._calls else {})
        logprobs = {"content": self._logprobs} if self._logprobs else None
        choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": self._finish}
        answer = {**self._head, "object": "chat.completion", "choices": [choice], "usage": self._usage}
        return json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace")

    def _keep(self, choice: Mapping[str, Any]) -> None:
        delta = choice.get("delta") or {}
        self._finish = choice.get("finish_reason") or self._finish
        for name in ("content", "reasoning_content"):
            if delta.get(name):
                self._message[name] = (self._message.get(name) or "") + delta[name]
        self._logprobs += (choice.get("logprobs") or {}).get("content") or ()
        for call in delta.get("tool_calls") or ():
            known_call = self._calls.setdefault(
                call.get("index", 0), {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
            )
            known_call["id"] = call.get("id") or known_call["id"]
            for name, value in (call.get("function") or {}).items():
                known_call["function"][name] = known_call["function"].get(name, "") + (value or "")


def _news(choice: Mapping[str, Any]) -> list[Any]:
    """Return the new content of a delta; chunks about prompt progress have none."""
    return [value for name, value in (choice.get("delta") or {}).items() if value or name == "role"]


def _event(data: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode("utf-8", "replace")

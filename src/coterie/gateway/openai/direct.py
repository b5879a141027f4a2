"""Chat with a model in this process: what it can do acts, what it cannot is named, and JSON that is asked for is JSON.

Tools work with any model: it is constrained to an object of calls or, where no call is forced, an answer in words; so
the arguments are always JSON of the function's parameters, whatever its chat template knows of tools.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coterie.gateway.access import Caller
from coterie.gateway.connection import DONE, TRACE_HEADER, JSONBody, encode, event, send_event
from coterie.gateway.errors import WireError
from coterie.gateway.exchange import IGNORED_HEADER, AnswerFormat, failing_in_stream
from coterie.gateway.openai.relay import Relay
from coterie.gateway.openai.translation import (
    chunk,
    read_form,
    read_texts,
    refuse_unsupported,
    tool_turns,
    tools_of,
    without_effect,
)
from coterie.gateway.wire import ChatMessage, ChatRequest, Extension
from coterie.gateway.work import Gateway
from coterie.observe.plain import EGRESS_HEADER
from coterie.structured.functions import ROOM, read_reply, reply_schema, told_of, written_calls
from coterie.structured.schema import Node, decodable, read_answer
from coterie.types import FunctionCall, Label, Trace

_PATH = "/chat/completions"
_ACTING = frozenset(
    {
        *("temperature", "top_p", "seed", "stop", "max_tokens", "frequency_penalty", "presence_penalty"),
        *("logit_bias", "logprobs", "top_logprobs", "stream", "stream_options"),
    }
)
_TOOLS = frozenset({"tools", "tool_choice", "parallel_tool_calls"})


def chat_directly(gateway: Gateway, caller: Caller, body: bytes, model: str) -> ASGIApp:
    """What asks a model in this process. Raises `WireError` or pydantic's `ValidationError`."""
    return ask_model(gateway, caller, ChatRequest.model_validate_json(body), model)


def ask_model(
    gateway: Gateway, caller: Caller, wire: ChatRequest, model: str, *, ignored: frozenset[str] = frozenset()
) -> Relay:
    """What asks a model in this process, and answers as chat does.

    Args:
        gateway: Its door.
        caller: Whose rights it has.
        wire: The request, whichever API it came through.
        model: The `[models]` key.
        ignored: What else of the request has no effect.

    Raises:
        WireError: something that would be missed cannot be done.
    """
    refuse_unsupported(wire.model_copy(update={"logprobs": None}))  # there are some here
    biases = (wire.model_extra or {}).get("logit_bias") or {}
    if not isinstance(biases, dict) or not all(isinstance(each, int | float) for each in biases.values()):
        raise WireError("invalid_request", "logit_bias has a number for each token.", param="logit_bias")
    label, unread = _own_options(wire.coterie)
    texts = read_texts(wire.messages)
    content = wire.model_dump(include=set(_ACTING), exclude_unset=True) | (wire.model_extra or {})
    kept = {name: content[name] for name in _ACTING & content.keys() if content[name] is not None}
    if wire.max_completion_tokens is not None:
        kept["max_tokens"] = wire.max_completion_tokens
    calling = bool(wire.tools) and wire.tool_choice != "none"
    _, schema = read_form(wire.model_copy(update={"tool_choice": None}) if wire.tools else wire)
    if calling and schema is not None:
        raise WireError("unsupported_parameter", "A JSON form and tools together are not supported.", param="tools")
    messages = _turns(wire.messages, texts)
    if calling:
        tools = tools_of(wire)
        schema = reply_schema(tools)
        messages.insert(0, {"role": "system", "content": told_of(tools)})
    kept |= {"model": wire.model, "messages": _joined(messages)}
    ignored |= unread | (without_effect(wire) - _ACTING - (_TOOLS if calling or not wire.tools else set()))
    common: dict[str, Any] = {"gateway": gateway, "caller": caller, "model": model, "path": _PATH, "ignored": ignored}
    common["label"] = label
    if schema is None:
        return Relay(body=encode(kept), content=kept, **common)
    kept["stream"] = False
    return Constrained(body=encode(kept), content=kept, schema=schema, wire=wire, calling=calling, **common)


def _own_options(extension: Extension | None) -> tuple[Label | None, frozenset[str]]:
    """The label of the `coterie` object, and what else in it has no effect. Raises `WireError` for what is missed."""
    if extension is None:
        return None, frozenset()
    given = {name for name in extension.model_fields_set if getattr(extension, name) is not None} - {"label"}
    for name in ("document", "columns", "session"):
        if name in given:
            said = "A model that is asked directly is shown the messages and nothing else: put it there."
            raise WireError("unsupported_parameter", said, param=f"coterie.{name}")
    return extension.label, frozenset(f"coterie.{name}" for name in given)


def _turns(messages: Sequence[ChatMessage], texts: Sequence[str]) -> list[dict[str, str]]:
    """Messages as any chat template takes them: calls as the model writes them, results as the caller's words."""
    told: list[dict[str, str]] = []
    for at, (message, text) in enumerate(zip(messages, texts, strict=True)):
        if message.role == "tool" or message.tool_calls:
            *_, turn = tool_turns(messages[: at + 1], texts[: at + 1])
            told.append({"role": turn.role, "content": turn.text})
        else:
            told.append({"role": "system" if message.role == "developer" else message.role, "content": text})
    return told


def _joined(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """System messages as one, at the beginning, where templates want it."""
    system = "\n\n".join(each["content"] for each in messages if each["role"] == "system")
    rest = [each for each in messages if each["role"] != "system"]
    return [{"role": "system", "content": system}, *rest] if system else rest


@dataclass(frozen=True, kw_only=True)
class Constrained(Relay):
    """Asks for JSON: valid, or a refusal. It is sent whole, in a stream as one piece."""

    schema: Node
    wire: ChatRequest
    calling: bool
    """The JSON is calls, or an answer in words."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask, with less room each time, until the answer is JSON of the schema."""
        network, wrong, text = self.gateway.network, "", ""
        told: dict[str, Any] = {}
        trace_id = ""
        for level in ROOM:
            trace_id = network.new_id()
            relayed = replace(self.asked(scope), schema=decodable(self.schema, level))
            async with aclosing(network.relay(relayed, trace_id=trace_id)) as events:
                told = json.loads(b"".join([said async for said in events if isinstance(said, bytes)]))
            text, wrong = read_answer(self.schema, told["choices"][0]["message"]["content"] or "")
            if not wrong:
                break
        message = self._message(text, wrong, trace_id)
        told["choices"][0] |= {"message": message, "finish_reason": "tool_calls" if "tool_calls" in message else "stop"}
        headers = {**self.named, TRACE_HEADER: trace_id}
        if not self.wire.stream:
            await JSONBody(told, headers=headers)(scope, receive, send)
            return
        headers |= {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"}
        await Response(self._events(told), headers=headers)(scope, receive, send)

    def _message(self, text: str, wrong: str, trace_id: str) -> dict[str, Any]:
        """The answer's message."""
        message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": None}
        if wrong:
            return message | {"content": None, "refusal": f"The model gave no JSON of the schema: {wrong}."}
        if not self.calling:
            return message
        reply = read_reply(self.schema, text, wrapped=False)
        if not reply.calls:
            return message | {"content": reply.answer}
        calls = [
            {
                "id": f"call_{trace_id[:20]}_{i}",
                "type": "function",
                "function": {"name": call.name, "arguments": encode(call.arguments).decode()},
            }
            for i, call in enumerate(reply.calls)
        ]
        return message | {"content": None, "tool_calls": calls}

    def _events(self, told: dict[str, Any]) -> bytes:
        """The answer as a stream."""
        head = {"id": told["id"], "object": "chat.completion.chunk", "created": told["created"], "model": told["model"]}
        ((choice),) = told["choices"]
        delta = {name: value for name, value in choice["message"].items() if value is not None}
        for i, call in enumerate(delta.get("tool_calls", ())):
            call["index"] = i
        with_usage = self.wire.stream_options and self.wire.stream_options.include_usage
        usage = event(head | {"choices": [], "usage": told["usage"]}) if with_usage else b""
        return event(chunk(head, delta)) + event(chunk(head, {}, finish=choice["finish_reason"])) + usage + DONE


# --- The same at the doors of other APIs: their requests are read as chat, and chat's answers are written as theirs.


@dataclass(frozen=True, kw_only=True)
class ModelAnswer:
    """What a model that was asked directly says, as a format writes it."""

    text: str
    trace: Trace
    called: bool
    cut: bool


@dataclass(frozen=True, kw_only=True)
class Translated:
    """Asks a model and answers in the format of another API than chat."""

    chat: Relay
    form: Callable[[str], AnswerFormat]
    """Makes the format of the answer from the id of its trace."""
    stream: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask and answer. What fails before the first piece still has a status of its own."""
        translation = _Translation(self, send)
        try:
            await self.chat(scope, receive, translation)
        except (asyncio.CancelledError, Exception):
            if translation.form is None or not self.stream:
                raise
            async with failing_in_stream(self.chat.gateway, translation.form, send):
                raise
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Translation:
    """Takes what chat sends of an answer, and sends it in the format of another API."""

    def __init__(self, app: Translated, send: Send) -> None:
        self.form: AnswerFormat | None = None
        self._app, self._send, self._rest = app, send, b""
        self._trace_id, self._headers = "", dict[str, str]()
        self._text, self._called, self._cut, self._refused = "", False, False, False

    async def __call__(self, message: Message) -> None:
        """Take one message of ASGI."""
        if message["type"] == "http.response.start":
            await self._begin(message)
            return
        self._rest += message.get("body", b"")
        if self._app.stream:
            *events, self._rest = self._rest.split(b"\n\n")
            for each in events:
                await self._take(each.removeprefix(b"data: "))
        if not message.get("more_body", False):
            await self._end()

    async def _begin(self, message: Message) -> None:
        headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
        self._trace_id = headers[TRACE_HEADER]
        self._headers = {name: headers[name] for name in _HEADERS & headers.keys()}
        self.form = self._app.form(self._trace_id)
        if self._app.stream:
            told = self._headers | {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"}
            pairs = [(name.encode(), value.encode("latin-1")) for name, value in told.items()]
            await self._send({"type": "http.response.start", "status": 200, "headers": pairs})
            await self._say(self.form.begin())

    async def _take(self, event_data: bytes) -> None:
        """Take the data of one event of a chat's stream."""
        if self.form is None or event_data == _END:
            return
        for choice in json.loads(event_data)["choices"]:
            delta, calls = choice["delta"], self._calls(choice["delta"])
            self._read(delta, choice.get("finish_reason"))
            if calls:
                await self._say(self.form.calls(calls))
            elif text := delta.get("content") or delta.get("refusal"):
                await self._say(self.form.piece(text, refused=self._refused))

    def _read(self, message: Mapping[str, Any], finish: str | None) -> None:
        """Keep what a message, or a piece of it, says."""
        calls = self._calls(message)
        self._called |= bool(calls)
        self._refused |= bool(message.get("refusal"))
        self._cut |= finish == "length"
        self._text += calls or message.get("content") or message.get("refusal") or ""

    def _calls(self, message: Mapping[str, Any]) -> str:
        """The calls of a message as the text of a finding that called; empty for none."""
        called = [each["function"] for each in message.get("tool_calls") or ()]
        calls = [FunctionCall(name=each["name"], arguments=json.loads(each["arguments"])) for each in called]
        return written_calls(calls) if calls else ""

    async def _end(self) -> None:
        """Send what completes the answer: all of one that is not a stream."""
        if self.form is None:
            return
        relay, whole = self._app.chat, not self._app.stream
        if whole:
            (choice,) = json.loads(self._rest)["choices"]
            self._read(choice["message"], choice["finish_reason"])
        trace = await relay.gateway.network.store.trace(self._trace_id, relay.caller.tenant)
        if trace is None:
            raise AssertionError("a request is settled before its answer is complete")
        answer = ModelAnswer(text=self._text, trace=trace, called=self._called, cut=self._cut)
        if whole:
            body = JSONBody(self.form.whole(answer, refused=self._refused), headers=self._headers)
            await self._send({"type": "http.response.start", "status": 200, "headers": body.raw_headers})
            await self._send({"type": "http.response.body", "body": body.body})
            return
        await self._say(self.form.end(answer, refused=self._refused))
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _say(self, piece: bytes) -> None:
        if piece:
            await send_event(self._send, piece)


_HEADERS = {TRACE_HEADER, IGNORED_HEADER, EGRESS_HEADER}
"""What a translated answer keeps of chat's."""
_END = b"[DONE]"

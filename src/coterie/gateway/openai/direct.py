"""Chat with a model in this process: what it can do acts, what it cannot is named, and JSON that is asked for is JSON.

Tools work with any model: it is constrained to an object of calls or, where no call is forced, an answer in words; so
the arguments are always JSON of the function's parameters, whatever its chat template knows of tools.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.gateway.access import Caller
from coterie.gateway.connection import DONE, TRACE_HEADER, JSONBody, encode, event
from coterie.gateway.errors import WireError
from coterie.gateway.openai.relay import Relay
from coterie.gateway.openai.translation import (
    chunk,
    read_form,
    read_texts,
    tool_turns,
    tools_of,
    without_effect,
)
from coterie.gateway.wire import ChatMessage, ChatRequest
from coterie.gateway.work import Gateway
from coterie.network.relaying import read_body
from coterie.structured.functions import ROOM, read_reply, reply_schema, told_of
from coterie.structured.schema import Node, decodable, read_answer

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
    wire, content = ChatRequest.model_validate_json(body), read_body(body)
    if wire.n not in {None, 1}:
        raise WireError("unsupported_parameter", "There is one answer, so n must be 1.", param="n")
    texts = read_texts(wire.messages)
    kept = {name: content[name] for name in _ACTING & content.keys() if content[name] is not None}
    if wire.max_completion_tokens is not None:
        kept["max_tokens"] = wire.max_completion_tokens
    calling = bool(wire.tools) and wire.tool_choice != "none"
    _, schema = read_form(wire.model_copy(update={"tool_choice": None}))
    if calling and schema is not None:
        raise WireError("unsupported_parameter", "A JSON form and tools together are not supported.", param="tools")
    messages = _turns(wire.messages, texts)
    if calling:
        tools = tools_of(wire)
        schema = reply_schema(tools)
        messages.insert(0, {"role": "system", "content": told_of(tools)})
    kept["messages"] = _joined(messages)
    ignored = without_effect(wire) - _ACTING - (_TOOLS if calling or not wire.tools else set())
    common: dict[str, Any] = {"gateway": gateway, "caller": caller, "model": model, "path": _PATH, "ignored": ignored}
    if schema is None:
        return Relay(body=encode(kept), content=kept, **common)
    kept["stream"] = False
    return Constrained(body=encode(kept), content=kept, schema=schema, wire=wire, calling=calling, **common)


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

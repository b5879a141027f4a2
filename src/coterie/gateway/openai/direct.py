"""Chat with a model in this process: what it can do acts, what it cannot is named, and JSON that is asked for is JSON.

Tools work with any model: it is constrained to an object of calls or, where no call is forced, an answer in words; so
the arguments are always JSON of the function's parameters, whatever its chat template knows of tools.
"""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.gateway.access import Caller
from coterie.gateway.connection import DONE, TRACE_HEADER, JSONBody, encode, event
from coterie.gateway.errors import WireError
from coterie.gateway.openai.relay import Relay
from coterie.gateway.openai.translation import chunk, read_form, read_texts, schema_of, without_effect
from coterie.gateway.wire import ChatMessage, ChatRequest, NamedTool, ToolWire
from coterie.gateway.work import Gateway
from coterie.network.relaying import read_body
from coterie.structured.schema import Node, decodable, read_answer

_PATH = "/chat/completions"
_ACTING = frozenset(
    {
        *("temperature", "top_p", "seed", "stop", "max_tokens", "frequency_penalty", "presence_penalty"),
        *("logit_bias", "logprobs", "top_logprobs", "stream", "stream_options"),
    }
)
_TOOLS = frozenset({"tools", "tool_choice", "parallel_tool_calls"})
_ROOM = (0, 2, 4)
"""Levels of room (`structured.schema.LEVELS`) in which JSON is asked for, until it fits."""
_MOST_CALLS = 4
_CALLING = (
    "These functions can be called:\n{functions}\n"
    'Answer with JSON: {{"calls": [{{"name": ..., "arguments": {{...}}}}]}} to call them{otherwise}.'
)
_OR_ANSWER = ', or {"answer": "..."} if none is needed'


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
    messages = [_turn(message, text) for message, text in zip(wire.messages, texts, strict=True)]
    if calling:
        schema, told = _calls(wire)
        messages.insert(0, {"role": "system", "content": told})
    kept["messages"] = _joined(messages)
    ignored = without_effect(wire) - _ACTING - (_TOOLS if calling or not wire.tools else set())
    common: dict[str, Any] = {"gateway": gateway, "caller": caller, "model": model, "path": _PATH, "ignored": ignored}
    if schema is None:
        return Relay(body=encode(kept), **common)
    return Constrained(body=encode(kept | {"stream": False}), schema=schema, wire=wire, calling=calling, **common)


def _turn(message: ChatMessage, text: str) -> dict[str, str]:
    """A message as any chat template takes it: calls as the model writes them, results as the caller's words."""
    if message.role == "assistant" and message.tool_calls:
        calls = [each.get("function") or {} for each in message.tool_calls]
        return {"role": "assistant", "content": json.dumps({"calls": calls}, ensure_ascii=False)}
    if message.role == "tool":
        return {"role": "user", "content": f"Result of the call: {text}"}
    return {"role": "system" if message.role == "developer" else message.role, "content": text}


def _joined(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """System messages as one, at the beginning, where templates want it."""
    system = "\n\n".join(each["content"] for each in messages if each["role"] == "system")
    rest = [each for each in messages if each["role"] != "system"]
    return [{"role": "system", "content": system}, *rest] if system else rest


def _calls(wire: ChatRequest) -> tuple[Node, str]:
    """The schema of calls, or of an answer in words where none is forced; and what the model is told of it."""
    tools = wire.tools or []
    if isinstance(wire.tool_choice, NamedTool):
        tools = [tool for tool in tools if tool.function.name == wire.tool_choice.function.name]
    if not tools:
        raise WireError(
            "invalid_request", "The function that is to be called is not among `tools`.", param="tool_choice"
        )
    most = 1 if (wire.model_extra or {}).get("parallel_tool_calls") is False else _MOST_CALLS
    calls = {
        "type": "array",
        "minItems": 1,
        "maxItems": most,
        "uniqueItems": True,
        "items": {"anyOf": list(map(_call, tools))},
    }
    options = [_object({"calls": calls})]
    free = wire.tool_choice in {None, "auto"}
    if free:
        options.append(_object({"answer": {"type": "string"}}))
    functions = json.dumps([tool.function.model_dump(exclude_none=True) for tool in tools], ensure_ascii=False)
    told = _CALLING.format(functions=functions, otherwise=_OR_ANSWER if free else "")
    return schema_of({"anyOf": options}, "tools"), told


def _call(tool: ToolWire) -> dict[str, object]:
    parameters = tool.function.parameters or {"type": "object", "properties": {}, "additionalProperties": False}
    # Normalised, and so without references to a root that is another's here.
    return _object({"name": {"const": tool.function.name}, "arguments": schema_of(parameters, "tools")})


def _object(properties: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


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
        for level in _ROOM:
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
        said = json.loads(text)
        if "answer" in said:
            return message | {"content": said["answer"]}
        calls = [
            {
                "id": f"call_{trace_id[:20]}_{i}",
                "type": "function",
                "function": {"name": call["name"], "arguments": encode(call["arguments"]).decode()},
            }
            for i, call in enumerate(said["calls"])
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

"""`POST /v1/messages`: Anthropic's Messages API, whole and streamed; `count_tokens` of what would be asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictBool, StrictFloat, StrictInt
from starlette.types import ASGIApp

from coterie.gateway.access import Caller
from coterie.gateway.connection import JSONBody, encode
from coterie.gateway.errors import ErrorResponse, WireError, as_anthropic
from coterie.gateway.openai.completions import abstaining, ask_model, asked_of, exchange
from coterie.gateway.openai.translation import (
    check_results,
    finish_reason,
    made_calls,
    pinned_specialist,
    read_texts,
    unread_options,
)
from coterie.gateway.wire import ChatRequest, Extension, Wire, read_wire
from coterie.gateway.work import Gateway, ToldAnswer, ignored_header
from coterie.observe.plain import EGRESS_HEADER, summarise
from coterie.text.folding import estimate_tokens

_FUNCTIONS = frozenset({None, "custom"})
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_NAMES = {"stop": "stop_sequences", "parallel_tool_calls": "tool_choice.disable_parallel_tool_use"}
"""Names of chat parameters in this API."""


class AnthropicMessage(Wire):
    """One turn of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | list[dict[str, Any]]


class AnthropicTool(Wire):
    """A function that may be called; a tool with its own `type` is left out."""

    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class MessagesRequest(Wire):
    """`POST /v1/messages`."""

    model_config = ConfigDict(extra="allow")

    model: str
    max_tokens: Annotated[StrictInt, Field(ge=1)]
    messages: Annotated[list[AnthropicMessage], Field(min_length=1)]
    system: str | list[dict[str, Any]] | None = None
    stream: StrictBool | None = None
    stop_sequences: list[str] | None = None
    temperature: Annotated[StrictFloat, Field(ge=0, le=1)] | None = None
    top_p: StrictFloat | None = None
    tools: list[AnthropicTool] | None = None
    tool_choice: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None
    """Format of the output: `{"format": {"type": "json_schema", "schema": ...}}` requests JSON."""
    coterie: Extension | None = None


class CountRequest(MessagesRequest):
    """`POST /v1/messages/count_tokens`: a request as for `/v1/messages`, which is not asked."""

    max_tokens: Annotated[StrictInt, Field(ge=1)] = 1


class CountView(Wire):
    """Response of `POST /v1/messages/count_tokens`."""

    input_tokens: int
    """Estimated tokens of system, messages and tools: four bytes a token, as budgets reserve."""


class MessageView(Wire):
    """Response of `POST /v1/messages`."""

    model_config = ConfigDict(extra="allow")

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[dict[str, Any]]
    stop_reason: str | None


class MessageEvent(Wire):
    """One event of a stream."""

    model_config = ConfigDict(extra="allow")

    type: str


class AnthropicErrorBody(Wire):
    """Details of an error in Anthropic's format, with Coterie's code and the parameter."""

    type: str
    message: str
    code: str
    param: str | None


class AnthropicError(Wire):
    """Body of every response with a status of 400 or more."""

    type: Literal["error"]
    error: AnthropicErrorBody


def answer_message(gateway: Gateway, caller: Caller, body: bytes) -> ASGIApp:
    """Return the ASGI app that answers a request. Raises `WireError` or pydantic's `ValidationError`."""
    wire = read_wire(MessagesRequest, body)
    chat = asked_of(gateway, caller, _as_chat(wire))
    idle = frozenset(_NAMES.get(name, name) for name in chat.set - {"max_tokens"})  # that one nobody can leave out
    chat = replace(chat, set=idle | _without_types(wire))
    trace_id, abstain = gateway.network.new_id(), abstaining(gateway, wire.coterie, chat.request)
    form = message_format(gateway, wire.model_dump(include={"model", "output_config"}), trace_id, chat.function)
    return exchange(gateway, caller, chat, form, trace_id=trace_id, stream=bool(wire.stream), abstain=abstain)


def message_directly(gateway: Gateway, caller: Caller, body: bytes, model: str) -> ASGIApp:
    """Return the ASGI app that asks a model in this process. Raises `WireError` or pydantic's `ValidationError`."""
    wire = read_wire(MessagesRequest, body)
    form = partial(message_format, gateway, wire.model_dump(include={"model", "output_config"}))
    return ask_model(gateway, caller, _as_chat(wire), model, form=form, ignored=_without_types(wire))


_COUNTED = frozenset({"model", "messages", "system", "tools", "tool_choice", "output_config", "coterie", "max_tokens"})


def count_tokens(gateway: Gateway, caller: Caller, body: bytes, _model: str = "") -> ASGIApp:
    """Return the ASGI app that counts the tokens of a request; nobody is asked, and nothing is kept.

    Raises `WireError` or pydantic's `ValidationError`.
    """
    wire = read_wire(CountRequest, body)
    if not _model:
        pinned_specialist(wire.model, [name for name in gateway.network.specialists if caller.sees(name)])
    chat = _as_chat(wire)
    texts = [*read_texts(chat.messages), *(encode(tool.model_dump()).decode() for tool in chat.tools or ())]
    given = {name: getattr(wire, name) for name in wire.model_fields_set - _COUNTED} | (wire.model_extra or {})
    given |= {"coterie": wire.coterie.model_dump(exclude_unset=True)} if wire.coterie else {}
    counted = CountView(input_tokens=sum(estimate_tokens(text) + _FRAME for text in texts))
    return JSONBody(counted.model_dump(), headers={EGRESS_HEADER: "none", **ignored_header(unread_options(given))})


_FRAME = 4
"""Tokens of the form around a message."""


def message_format(_gateway: Gateway, content: Mapping[str, Any], trace_id: str, function: str = "") -> MessageFormat:
    """Return the format of the answer to a body."""
    config = content.get("output_config")
    typed = isinstance(config, Mapping) and bool(config.get("format"))
    return MessageFormat(name=trace_id, model=content["model"], function=function, typed=typed)


def _without_types(wire: MessagesRequest) -> frozenset[str]:
    """Return types of tools that are not supported here, and unsupported options of the output."""
    tools = {f"tools.{tool.type}" for tool in wire.tools or () if tool.type not in _FUNCTIONS}
    return frozenset(tools | {f"output_config.{name}" for name in wire.output_config or {} if name != "format"})


def _as_chat(wire: MessagesRequest) -> ChatRequest:
    """Convert the request to an equivalent chat request."""
    system = _text(wire.system, "system") if wire.system else ""
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for index, message in enumerate(wire.messages):
        messages += _turns(message, f"messages[{index}].content")
    body: dict[str, Any] = {
        **(wire.model_extra or {}),
        "model": wire.model,
        "messages": messages,
        "max_tokens": wire.max_tokens,
        "stop": wire.stop_sequences,
        "temperature": wire.temperature,
        "top_p": wire.top_p,
        "stream": wire.stream,
        "response_format": _form(wire.output_config),
    }
    if functions := [tool for tool in wire.tools or () if tool.type in _FUNCTIONS]:
        body["tools"] = [_tool(tool, index) for index, tool in enumerate(wire.tools or ()) if tool in functions]
        if (wire.tool_choice or {}).get("disable_parallel_tool_use") is True:
            body["parallel_tool_calls"] = False
    if functions or not wire.tools:
        body["tool_choice"] = _choice(wire.tool_choice)
    checked = ChatRequest.model_validate({name: value for name, value in body.items() if value is not None})
    check_results(checked.messages, session=wire.coterie is not None and wire.coterie.session is not None)
    return checked.model_copy(update={"coterie": wire.coterie})


def _tool(tool: AnthropicTool, number: int) -> dict[str, Any]:
    if tool.input_schema is None:
        problem = f"The tool {tool.name!r:.100} has no input_schema: write the JSON Schema of its arguments."
        raise WireError("invalid_request", problem, param=f"tools[{number}].input_schema")
    about = {"name": tool.name, "description": tool.description, "parameters": tool.input_schema}
    return {"type": "function", "function": about}


def _choice(choice: dict[str, Any] | None) -> object:
    if choice is None:
        return None
    if choice.get("type") == "tool":
        return {"type": "function", "function": {"name": choice.get("name")}}
    if choice.get("type") not in _CHOICES:
        raise WireError(
            "invalid_request", "tool_choice has the type auto, any, tool or none.", param="tool_choice.type"
        )
    return _CHOICES[choice["type"]]


def _form(config: dict[str, Any] | None) -> dict[str, Any] | None:
    form = (config or {}).get("format")
    if form is None:
        return None
    if not isinstance(form, dict):
        problem = "The format is an object, such as {'type': 'json_schema', 'schema': ...}."
        raise WireError("invalid_request", problem, param="output_config.format")
    return {"type": form.get("type"), "json_schema": {"schema": form.get("schema")}}


def _turns(message: AnthropicMessage, param: str) -> list[dict[str, Any]]:
    """Convert a turn to chat messages: its text, its calls, and the results in it."""
    if isinstance(message.content, str):
        return [{"role": message.role, "content": message.content}]
    calls = [block for block in message.content if block.get("type") == "tool_use"]
    results = [block for block in message.content if block.get("type") == "tool_result"]
    rest = [block for block in message.content if block not in calls and block not in results]
    turns: list[dict[str, Any]] = [
        {
            "role": "tool",
            "content": _text(block.get("content") or "", param),
            "tool_call_id": str(block.get("tool_use_id", "")),
        }
        for block in results
    ]
    text = _text([block for block in rest if block.get("type") not in {"thinking", "redacted_thinking"}], param)
    if text or not turns:
        turns.append({"role": message.role, "content": text})
    if calls:
        calls_ = [
            {"id": call.get("id"), "function": {"name": call.get("name"), "arguments": json.dumps(call.get("input"))}}
            for call in calls
        ]
        turns[-1]["tool_calls"] = calls_
    return turns


def _text(content: object, param: str) -> str:
    """Return the text of a content. Raises `WireError` for a block that is no text."""
    if isinstance(content, str):
        return content
    texts = []
    for index, block in enumerate(content if isinstance(content, list) else [content]):
        if not isinstance(block, dict) or block.get("type") != "text" or not isinstance(block.get("text"), str):
            kind = block.get("type") if isinstance(block, dict) else type(block).__name__
            message = f"Only text can be read; this block is of type {str(kind)[:100]!r}."
            raise WireError("unsupported_content", message, param=f"{param}[{index}]")
        texts.append(block["text"])
    return "\n".join(texts)


# --- Out -----------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class MessageFormat:
    """Writes an answer as a `message`, or as its events."""

    name: str
    model: str
    function: str
    typed: bool = False
    """Whether JSON is requested: clients parse each text, so the text of a refusal is in its explanation only."""
    open: bool = False
    """Whether a content block was begun."""

    def whole(self, answer: ToldAnswer, *, refused: bool) -> dict[str, Any]:
        """Return the message."""
        usage = {"input_tokens": answer.trace.usage.tokens_in, "output_tokens": answer.trace.usage.tokens_out}
        made = [] if refused else made_calls(answer.text, self.function, called=answer.called)
        blocks = [self._use(i, name) | {"input": json.loads(arguments)} for i, (name, arguments) in enumerate(made)]
        words = [] if refused and self.typed else [{"type": "text", "text": answer.text}]
        body = self._head() | {"content": blocks or words, "usage": usage} | self._ended(answer, refused=refused)
        return body | {"coterie": summarise(answer.trace)}

    def begin(self) -> bytes:
        """Return the message without content."""
        usage = {"input_tokens": 0, "output_tokens": 0}
        return _event("message_start", message=self._head() | {"content": [], "stop_reason": None, "usage": usage})

    def piece(self, text: str, *, refused: bool) -> bytes:
        """Return a delta, with the start of its block if needed."""
        if refused and self.typed:
            return b""
        if self.function and not refused:
            return self._stream_calls([(self.function, text)])
        block = {"type": "text", "text": ""}
        opening = b"" if self.open else _event("content_block_start", index=0, content_block=block)
        self.open = True
        return opening + _event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def calls(self, text: str) -> bytes:
        """Return one block per call."""
        return self._stream_calls(made_calls(text, "", called=True))

    def _stream_calls(self, made: list[tuple[str, str]]) -> bytes:
        events = b""
        for i, (name, arguments) in enumerate(made):
            events += _event("content_block_start", index=i, content_block=self._use(i, name) | {"input": {}})
            delta = {"type": "input_json_delta", "partial_json": arguments}
            events += _event("content_block_delta", index=i, delta=delta) + _event("content_block_stop", index=i)
        return events

    def end(self, answer: ToldAnswer, *, refused: bool) -> bytes:
        """Return the stop reason and the token counts."""
        closing = _event("content_block_stop", index=0) if self.open else b""
        usage = {"input_tokens": answer.trace.usage.tokens_in, "output_tokens": answer.trace.usage.tokens_out}
        delta = {**self._ended(answer, refused=refused), "stop_sequence": None}
        last = _event("message_delta", delta=delta, usage=usage, coterie=summarise(answer.trace))
        return closing + last + _event("message_stop")

    def failed(self, error: ErrorResponse) -> bytes:
        """Return the error as an event."""
        return _event("error", error=as_anthropic(error.error, error.status_code)["error"])

    def _head(self) -> dict[str, Any]:
        about = {"id": f"msg_{self.name}", "type": "message", "role": "assistant", "model": self.model}
        return about | {"stop_sequence": None}

    def _use(self, number: int, function: str) -> dict[str, Any]:
        return {"type": "tool_use", "id": f"toolu_{self.name[:24]}{f'_{number}' if number else ''}", "name": function}

    def _ended(self, answer: ToldAnswer, *, refused: bool) -> dict[str, Any]:
        """Return the stop reason, and the text of a refusal."""
        details = {"type": "refusal", "category": None, "explanation": answer.text} if refused else None
        return {"stop_reason": self._stop(answer, refused=refused), "stop_details": details}

    def _stop(self, answer: ToldAnswer, *, refused: bool) -> str:
        if refused:
            return "refusal"
        if self.function or answer.called:
            return "tool_use"
        return "max_tokens" if finish_reason(answer) == "length" else "end_turn"


def _event(kind: str, **about: object) -> bytes:
    return f"event: {kind}\n".encode() + b"data: " + encode({"type": kind, **about}) + b"\n\n"

"""`POST /v1/responses`: the Responses API, by itself or on the session that an earlier response began.

Item and tool types that are nobody's here are left out, since agents send them by habit: what they ask for is named in
`x-coterie-ignored`. A response is remembered unless `store` is false; `previous_response_id` goes on where it ended.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.gateway.access import Caller
from coterie.gateway.connection import DONE, encode
from coterie.gateway.errors import ErrorResponse, WireError
from coterie.gateway.openai.chat import abstaining, asked_of, exchange
from coterie.gateway.openai.translation import finish_reason
from coterie.gateway.wire import ChatRequest, Extension, SamplingWire, Wire
from coterie.gateway.work import Gateway
from coterie.observe.plain import summarise
from coterie.types import Answer, Request

_ID = re.compile(r"resp_([0-9a-f]{32})([0-9a-f]{32})")
_TEXTS = frozenset({"input_text", "output_text", "text"})
_CHOICES = frozenset({"none", "auto", "required"})


class ResponsesFormat(Wire):
    """The form of the text: words, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str = "answer"
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None


class ResponsesText(Wire):
    """How the text is to be."""

    format: ResponsesFormat | None = None


class ResponsesRequest(SamplingWire):
    """`POST /v1/responses`."""

    model: str
    input: str | list[dict[str, Any]]
    """A text, or items: messages, calls of functions and their results; other items are left out."""
    instructions: str | None = None
    previous_response_id: Annotated[str, Field(max_length=200)] | None = None
    stream: bool | None = None
    store: bool | None = None
    """False remembers nothing."""
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    text: ResponsesText | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    background: bool | None = None
    """Only false."""
    coterie: Extension | None = None


class ResponseView(Wire):
    """Response of `POST /v1/responses`."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["completed", "incomplete", "failed", "in_progress"]
    model: str
    output: list[dict[str, Any]]
    usage: dict[str, Any] | None


class ResponseEvent(Wire):
    """One event of a stream."""

    model_config = ConfigDict(extra="allow")

    type: str
    sequence_number: int


def respond(gateway: Gateway, caller: Caller, body: bytes) -> ASGIApp:
    """What answers a request. Raises `WireError` or pydantic's `ValidationError`."""
    wire, network = ResponsesRequest.model_validate_json(body), gateway.network
    if wire.background:
        raise WireError("unsupported_parameter", "Answers are not made in the background.", param="background")
    asked = asked_of(gateway, caller, _as_chat(wire))
    trace_id = network.new_id()
    root = _root(wire.previous_response_id) or trace_id
    remembered = wire.store is not False and not asked.request.session
    request = replace(asked.request, session=f"response-{root}" if remembered else asked.request.session)
    unknown = without_types(wire)
    asked = replace(asked, request=request, set=asked.set | unknown)
    abstain = abstaining(gateway, wire.coterie, request)
    form = ResponseFormat(
        head=_head(wire, f"resp_{root}{trace_id}"),
        function=asked.function,
        created=int(network.clock()),
    )
    answering = exchange(gateway, caller, asked, form, trace_id=trace_id, stream=bool(wire.stream), abstain=abstain)
    if wire.previous_response_id is None:
        return answering
    if not remembered:
        said = "What is not stored (`store: false`, or a session of its own) cannot go on from an earlier response."
        raise WireError("invalid_request", said, param="previous_response_id")
    return _GoesOn(gateway=gateway, request=request, named=wire.previous_response_id, answering=answering)


@dataclass(frozen=True, kw_only=True)
class _GoesOn:
    """Answers on the session of an earlier response."""

    gateway: Gateway
    request: Request
    named: str
    answering: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer. Raises `WireError` if there is no such response of the caller's tenant."""
        context = await self.gateway.network.store.context(self.request.session or "", self.request.tenant)
        if not context.entries:
            raise _no_response(self.named)
        await self.answering(scope, receive, send)


def _no_response(named: str) -> WireError:
    said = f"There is no response {named[:100]!r}, or it was not stored."
    return WireError("response_not_found", said, param="previous_response_id")


def _root(previous: str | None) -> str | None:
    """What the first response of a conversation is named by."""
    if previous is None:
        return None
    found = _ID.fullmatch(previous)
    if found is None:
        raise _no_response(previous)
    return found[1]


def without_types(wire: ResponsesRequest) -> frozenset[str]:
    """Tools of types that nobody has here, by the name of their type."""
    return frozenset(
        f"tools.{str(each.get('type'))[:40]}" for each in wire.tools or () if each.get("type") != "function"
    )


def _as_chat(wire: ResponsesRequest) -> ChatRequest:
    """The request as one for chat, which says the same."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": wire.instructions}] if wire.instructions else []
    items = [{"role": "user", "content": wire.input}] if isinstance(wire.input, str) else wire.input
    for place, item in enumerate(items):
        if (message := _message(item, place)) is not None:
            messages.append(message)
    told: dict[str, Any] = {name: getattr(wire, name) for name in SamplingWire.model_fields}
    told |= wire.model_extra or {}
    told |= {"model": wire.model, "messages": messages, "max_completion_tokens": wire.max_output_tokens}
    told |= {"metadata": wire.metadata, "response_format": _form(wire), "stream": wire.stream}
    functions = [each for each in wire.tools or () if each.get("type") == "function"]
    if functions:
        kept = ("name", "description", "parameters")
        told["tools"] = [{"type": "function", "function": {k: each.get(k) for k in kept}} for each in functions]
        told["tool_choice"] = _choice(wire.tool_choice)
    checked = ChatRequest.model_validate({name: value for name, value in told.items() if value is not None})
    return checked.model_copy(update={"coterie": wire.coterie})


def _message(item: dict[str, Any], place: int) -> dict[str, Any] | None:
    """An item as a message; None for one that says nothing here."""
    kind = item.get("type", "message" if "role" in item else None)
    if kind == "function_call":
        function = {"name": str(item.get("name", "")), "arguments": str(item.get("arguments", ""))}
        return {"role": "assistant", "tool_calls": [{"id": item.get("call_id"), "function": function}]}
    if kind == "function_call_output":
        said = item.get("output", "")
        return {"role": "tool", "content": said if isinstance(said, str) else _content(said, place)}
    if kind != "message":
        return None
    return {"role": item.get("role"), "content": _content(item.get("content"), place)}


def _content(content: object, place: int) -> object:
    """The content of an item with the names that chat has for its parts."""
    if not isinstance(content, list):
        return content
    parts = []
    for part in content:
        if not isinstance(part, dict):
            raise WireError("invalid_request", "A part of the content is no object.", param=f"input[{place}].content")
        parts.append({**part, "type": "text"} if part.get("type") in _TEXTS else part)
    return parts


def _form(wire: ResponsesRequest) -> dict[str, Any] | None:
    form = None if wire.text is None else wire.text.format
    if form is None:
        return None
    return {"type": form.type, "json_schema": {"name": form.name, "schema": form.schema_}}


def _choice(choice: str | dict[str, Any] | None) -> object:
    if isinstance(choice, dict):
        return {"type": "function", "function": {"name": choice["name"]}} if "name" in choice else "auto"
    return choice if choice in _CHOICES else None


# --- Out -----------------------------------------------------------------------------------------


def _head(wire: ResponsesRequest, response_id: str) -> dict[str, Any]:
    """What a response repeats of its request."""
    return {
        "id": response_id,
        "object": "response",
        "error": None,
        "incomplete_details": None,
        "instructions": wire.instructions,
        "max_output_tokens": wire.max_output_tokens,
        "metadata": wire.metadata or {},
        "model": wire.model,
        "parallel_tool_calls": False,
        "previous_response_id": wire.previous_response_id,
        "store": wire.store is not False,
        "temperature": wire.temperature,
        "text": {"format": _told_form(wire)},
        "tool_choice": wire.tool_choice or "auto",
        "tools": wire.tools or [],
        "top_p": wire.top_p,
        "truncation": "disabled",
        "background": False,
    }


def _told_form(wire: ResponsesRequest) -> dict[str, Any]:
    form = (wire.text and wire.text.format) or ResponsesFormat()
    if form.type != "json_schema":
        return {"type": form.type}
    return {"type": form.type, "name": form.name, "schema": form.schema_, "strict": True}


@dataclass(kw_only=True)
class ResponseFormat:
    """A `response`, or its events, numbered."""

    head: dict[str, Any]
    function: str
    created: int
    text: str = ""
    kind: str = ""
    """Of what was begun: `output_text`, `refusal` or `function_call`."""
    number: int = field(default=0)

    def whole(self, answer: Answer, *, refused: bool) -> dict[str, Any]:
        """The response."""
        self.kind = self._kind(refused=refused)
        self.text = answer.text
        cut = finish_reason(answer) == "length" and not refused
        read, written = answer.trace.usage.tokens_in, answer.trace.usage.tokens_out
        usage = {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": answer.trace.usage.tokens_cached},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + written,
        }
        return self._response("incomplete" if cut else "completed", [self._item("completed")], usage) | {
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "coterie": summarise(answer.trace),
        }

    def begin(self) -> bytes:
        """That the work has begun."""
        response = self._response("in_progress", [], None)
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def piece(self, text: str, *, refused: bool) -> bytes:
        """A delta, with the item and the part that it begins."""
        opening = b""
        if not self.kind:
            self.kind = self._kind(refused=refused)
            opening = self._event("response.output_item.added", output_index=0, item=self._item("in_progress"))
            if self.kind != "function_call":
                opening += self._event("response.content_part.added", **self._place(), part=self._part())
        self.text += text
        where = self._place() if self.kind != "function_call" else self._call_place()
        extra: dict[str, Any] = {"logprobs": []} if self.kind == "output_text" else {}
        return opening + self._event(f"response.{self._named()}.delta", **where, delta=text, **extra)

    def end(self, answer: Answer, *, refused: bool) -> bytes:
        """That each thing which was begun is done, and the whole response."""
        opening = b"" if self.kind else self.piece("", refused=refused)
        if self.kind == "function_call":
            place = {**self._call_place(), "name": self.function, "arguments": self.text}
            done = self._event("response.function_call_arguments.done", **place)
        else:
            said = {"refusal": self.text} if self.kind == "refusal" else {"text": self.text, "logprobs": []}
            done = self._event(f"response.{self._named()}.done", **self._place(), **said)
            done += self._event("response.content_part.done", **self._place(), part=self._part())
        done += self._event("response.output_item.done", output_index=0, item=self._item("completed"))
        kind = self.kind
        response = self.whole(answer, refused=kind == "refusal")
        self.kind = kind
        return opening + done + self._event(f"response.{response['status']}", response=response) + DONE

    def failed(self, error: ErrorResponse) -> bytes:
        """The error as an event."""
        told = error.error
        return self._event("error", code=told["code"], message=told["message"], param=told["param"])

    def _kind(self, *, refused: bool) -> str:
        return "refusal" if refused else "function_call" if self.function else "output_text"

    def _named(self) -> str:
        return "function_call_arguments" if self.kind == "function_call" else self.kind

    def _response(self, status: str, output: list[Any], usage: dict[str, Any] | None) -> dict[str, Any]:
        return self.head | {"created_at": self.created, "status": status, "output": output, "usage": usage}

    def _item(self, status: str) -> dict[str, Any]:
        name = str(self.head["id"])[-32:]
        if self.kind == "function_call":
            called = {"name": self.function, "arguments": self.text, "call_id": f"call_{name}"}
            return {"type": "function_call", "id": f"fc_{name}", **called, "status": status}
        content = [self._part()] if self.text or status == "completed" else []
        return {"type": "message", "id": f"msg_{name}", "role": "assistant", "status": status, "content": content}

    def _part(self) -> dict[str, Any]:
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": self.text}
        return {"type": "output_text", "text": self.text, "annotations": [], "logprobs": []}

    def _place(self) -> dict[str, Any]:
        return {"item_id": f"msg_{str(self.head['id'])[-32:]}", "output_index": 0, "content_index": 0}

    def _call_place(self) -> dict[str, Any]:
        return {"item_id": f"fc_{str(self.head['id'])[-32:]}", "output_index": 0}

    def _event(self, kind: str, **about: object) -> bytes:
        told = {"type": kind, "sequence_number": self.number, **about}
        self.number += 1
        return f"event: {kind}\n".encode() + b"data: " + encode(told) + b"\n\n"

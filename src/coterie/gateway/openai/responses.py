"""`/v1/responses`: the Responses API, alone or on the session that an earlier response began.

Unsupported item and tool types are left out, since agents send them by default: they are named in
`x-coterie-ignored`. A response is stored unless `store` is false; `previous_response_id` continues where it ended.
It is stored as a turn of a session: the answer as its text, the parameters that it repeats in the envelope of its
question. It is shown to whom its trace is shown: callers of its tenant who may see the specialists that took part, up
to the clearance of the key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictBool, StrictInt
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.gateway.access import Caller
from coterie.gateway.connection import DONE, JSONBody, encode
from coterie.gateway.errors import ErrorResponse, WireError
from coterie.gateway.openai.completions import abstaining, ask_model, asked_of, exchange
from coterie.gateway.openai.translation import AskedChat, finish_reason, made_calls, unread_options
from coterie.gateway.operations import find_trace
from coterie.gateway.wire import ChatMessage, ChatRequest, Extension, SamplingWire, Wire, read_wire
from coterie.gateway.work import Gateway, ToldAnswer
from coterie.observe.plain import summarise
from coterie.types import Answer, Context, Entry, Message, Request, Tools

_ID = re.compile(r"resp_([0-9a-f]{32})([0-9a-f]{32})")
_TEXTS = frozenset({"input_text", "output_text", "text"})
_CHOICES = frozenset({"none", "auto", "required"})
_NAMES = {"max_completion_tokens": "max_output_tokens"}
"""Names of chat parameters in this API."""


class ResponsesFormat(Wire):
    """The format of the text: plain text, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str = "answer"
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None


class ResponsesText(Wire):
    """Options of the text."""

    model_config = ConfigDict(extra="allow")

    format: ResponsesFormat | None = None


class ResponsesRequest(SamplingWire):
    """`POST /v1/responses`."""

    model: str
    input: str | list[dict[str, Any]]
    """A text, or items: messages, calls of functions and their results; other items are left out."""
    instructions: str | None = None
    previous_response_id: Annotated[str, Field(max_length=200)] | None = None
    stream: StrictBool | None = None
    store: StrictBool | None = None
    """False: the response is not stored."""
    max_output_tokens: Annotated[StrictInt, Field(ge=1)] | None = None
    text: ResponsesText | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    background: StrictBool | None = None
    """Only false is supported."""
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
    """Return the ASGI app that answers a request. Raises `WireError` or pydantic's `ValidationError`."""
    wire, network = _read(body), gateway.network
    chat, resumed = _as_chat(wire), False
    if wire.previous_response_id is not None and not any(message.role == "user" for message in chat.messages):
        # Results of calls alone: what was asked stands in the session.
        resumed = True
        chat = chat.model_copy(update={"messages": [ChatMessage(role="user", content="?"), *chat.messages]})
    chat_ = asked_of(gateway, caller, chat)
    trace_id = network.new_id()
    goes_on = wire.previous_response_id is not None
    session = f"response-{trace_id}"
    if wire.previous_response_id is not None:
        session, _ = parts_of(wire.previous_response_id, "previous_response_id")
    remembers = not chat_.request.session and gateway.section.sessions
    stored = remembers and wire.store is not False
    request = chat_.request
    if stored or (remembers and goes_on):
        request = replace(request, session=session, remembers=stored)
    idle = frozenset(_NAMES.get(name, name) for name in chat_.set)
    abstain = abstaining(gateway, wire.coterie, request)
    head = _head(wire, f"resp_{session[-32:] if stored else trace_id}{trace_id}", stored=stored)
    if stored:
        kept = {"head": head, "function": chat_.function, "abstain": abstain, "input": wire.input}
        request = replace(request, envelope=kept)
    chat_ = replace(chat_, request=request, set=idle | without_types(wire))
    form = ResponseFormat(
        head=head,
        function=chat_.function,
        created=int(network.clock()),
        filtered=abstain == "content_filter",
    )

    def answering(chat: AskedChat) -> ASGIApp:
        return exchange(gateway, caller, chat, form, trace_id=trace_id, stream=bool(wire.stream), abstain=abstain)

    if wire.previous_response_id is None:
        return answering(chat_)
    if not remembers:
        problem = "A request with a session of its own, or in a network without sessions, goes on from no response."
        raise WireError("invalid_request", problem, param="previous_response_id")
    return _GoesOn(gateway=gateway, asked=chat_, named=wire.previous_response_id, resumed=resumed, answering=answering)


def respond_directly(gateway: Gateway, caller: Caller, body: bytes, model: str) -> ASGIApp:
    """Return the ASGI app that asks a model in this process and stores nothing.

    Raises `WireError` or `ValidationError`.
    """
    wire = _read(body)
    if wire.previous_response_id is not None:
        problem = "A model that is asked directly remembers nothing: send the earlier items along."
        raise WireError("unsupported_parameter", problem, param="previous_response_id")

    def form(trace_id: str) -> ResponseFormat:
        head = _head(wire, f"resp_{trace_id}{trace_id}", stored=False)
        return ResponseFormat(head=head, function="", created=int(gateway.network.clock()))

    return ask_model(gateway, caller, _as_chat(wire), model, form=form, ignored=without_types(wire))


def response_format(gateway: Gateway, content: Mapping[str, Any], trace_id: str) -> ResponseFormat:
    """Return the format of the answer to a body that was not parsed yet."""
    about = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "incomplete_details": None, "error": None}
    head = {"id": f"resp_{trace_id}", "object": "response", "model": content["model"], **about}
    return ResponseFormat(head=head, function="", created=int(gateway.network.clock()))


def _read(body: bytes) -> ResponsesRequest:
    wire = read_wire(ResponsesRequest, body)
    if wire.background:
        raise WireError("unsupported_parameter", "Answers are not made in the background.", param="background")
    for name in ("conversation", "prompt"):
        if (wire.model_extra or {}).get(name):
            problem = f"No {name} is stored here: send its items and instructions, or `previous_response_id`."
            raise WireError("unsupported_parameter", problem, param=name)
    for index, tool in enumerate(wire.tools or ()):
        if not isinstance(tool.get("type"), str):
            raise WireError("invalid_request", "A tool has a type, such as 'function'.", param=f"tools[{index}].type")
    return wire


@dataclass(frozen=True, kw_only=True)
class _GoesOn:
    """ASGI app that answers on the session of an earlier response."""

    gateway: Gateway
    asked: AskedChat
    named: str
    resumed: bool
    """Whether the request has only results of calls, for the question that the session ends with."""
    answering: Callable[[AskedChat], ASGIApp]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer. Raises `WireError` if the caller's tenant has no such response."""
        request = self.asked.request
        context = await self.gateway.network.store.context(request.session or "", request.tenant)
        turns = turns_until(self.named, context)
        if not turns:
            raise no_response(self.named)
        context = replace(context, entries=tuple(entry for entry in context.entries if entry.request in turns))
        request = replace(_resumed(request, context) if self.resumed else request, turns=turns)
        await self.answering(replace(self.asked, request=request))(scope, receive, send)


def turns_until(named: str | None, context: Context) -> tuple[str, ...]:
    """Return the ids of the requests that led to a response and its own, newest first; empty if it is not stored."""
    before = {
        entry.request: entry.envelope["head"]["previous_response_id"] for entry in context.entries if entry.envelope
    }
    turns: list[str] = []
    while named is not None and (match := _ID.fullmatch(named)) and match[2] in before and match[2] not in turns:
        turns.append(match[2])
        named = before[match[2]]
    return tuple(turns)


def _resumed(request: Request, context: Context) -> Request:
    """Return the request with the session's last question, and the turns since, before its results."""
    turns = [entry.content for entry in context.entries if isinstance(entry.content, Message)]
    last = max((i for i, turn in enumerate(turns) if turn.role == "user"), default=None)
    if last is None:
        raise WireError("invalid_request", "No item has the role 'user': nothing is asked.", param="input")
    tools = request.tools or Tools()
    since = (*(turn for turn in turns[last + 1 :] if turn.role == "assistant"), *tools.since)
    return replace(request, text=turns[last].text, tools=replace(tools, since=since))


def no_response(named: str, param: str = "previous_response_id") -> WireError:
    """Return the error of a response that the caller's tenant does not have."""
    problem = f"There is no response {named[:100]!r}, or it was not stored."
    return WireError("response_not_found", problem, param=param)


def parts_of(named: str, param: str) -> tuple[str, str]:
    """Return the session of a response and the id of its request. Raises `WireError` for what is no id of one."""
    match = _ID.fullmatch(named)
    if match is None:
        raise no_response(named, param)
    return f"response-{match[1]}", match[2]


def without_types(wire: ResponsesRequest) -> frozenset[str]:
    """Return unsupported types of tools, and the choice of such a tool."""
    unknown = {f"tools.{str(tool.get('type'))[:40]}" for tool in wire.tools or () if tool.get("type") != "function"}
    unknown |= {f"text.{name}" for name in unread_options(None if wire.text is None else wire.text.model_extra)}
    chosen = wire.tool_choice.get("type") if isinstance(wire.tool_choice, dict) else None
    return frozenset(unknown if chosen in {None, "function", "allowed_tools"} else {*unknown, "tool_choice"})


def _as_chat(wire: ResponsesRequest) -> ChatRequest:
    """Convert the request to an equivalent chat request."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": wire.instructions}] if wire.instructions else []
    items = [{"role": "user", "content": wire.input}] if isinstance(wire.input, str) else wire.input
    _check_results(wire, items)
    for index, item in enumerate(items):
        if (message := _message(item, index)) is not None:
            messages.append(message)
    if not messages:
        problem = "No item of the input is a message, a call or a result: nothing is asked."
        raise WireError("invalid_request", problem, param="input")
    chat: dict[str, Any] = {name: getattr(wire, name) for name in SamplingWire.model_fields}
    chat |= wire.model_extra or {}
    chat |= {"model": wire.model, "messages": messages, "max_completion_tokens": wire.max_output_tokens}
    chat |= {"metadata": wire.metadata, "response_format": _form(wire), "stream": wire.stream}
    functions = [tool for tool in wire.tools or () if tool.get("type") == "function"]
    if functions:
        kept = ("name", "description", "parameters")
        chat["tools"] = [{"type": "function", "function": {k: function.get(k) for k in kept}} for function in functions]
    if functions or not wire.tools:
        chat["tool_choice"] = _choice(wire.tool_choice)
    checked = ChatRequest.model_validate({name: value for name, value in chat.items() if value is not None})
    return checked.model_copy(update={"coterie": wire.coterie})


def _check_results(wire: ResponsesRequest, items: list[dict[str, Any]]) -> None:
    """Check that each call result has its call before it or in the continued response."""
    made: set[object] = set()
    earlier = f"call_{(wire.previous_response_id or '')[-32:]}" if wire.previous_response_id else None
    within = wire.coterie is not None and wire.coterie.session is not None
    for index, item in enumerate(items):
        if item.get("type") == "function_call":
            made.add(item.get("call_id"))
        elif item.get("type") == "function_call_output":
            of, place_of = item.get("call_id"), f"input[{index}]"
            if not isinstance(item.get("output"), str | list):
                problem = "The result of a call has an output: a text, or parts."
                raise WireError("invalid_request", problem, param=f"{place_of}.output")
            is_known = isinstance(of, str) and (
                of in made or within or of.rpartition("_")[0] == earlier or of == earlier
            )
            if not is_known:
                problem = f"No call before it has this call_id: {of!r:.100}."
                raise WireError("invalid_request", problem, param=f"{place_of}.call_id")


def _message(item: dict[str, Any], number: int) -> dict[str, Any] | None:
    """Convert an item to a message; None for an item without effect here."""
    kind = item.get("type", "message" if "role" in item else None)
    if kind == "function_call":
        function = {"name": str(item.get("name", "")), "arguments": str(item.get("arguments", ""))}
        return {"role": "assistant", "tool_calls": [{"id": item.get("call_id"), "function": function}]}
    if kind == "function_call_output":
        output = item.get("output", "")
        content = output if isinstance(output, str) else _content(output, number)
        return {"role": "tool", "content": content, "tool_call_id": item.get("call_id")}
    if kind != "message":
        return None
    return {"role": item.get("role"), "content": _content(item.get("content"), number)}


def _content(content: object, number: int) -> object:
    """Return the content of an item with chat's names for its parts."""
    if not isinstance(content, list):
        return content
    parts = []
    for part in content:
        if not isinstance(part, dict):
            raise WireError("invalid_request", "A part of the content is no object.", param=f"input[{number}].content")
        parts.append({**part, "type": "text"} if part.get("type") in _TEXTS else part)
    return parts


def _form(wire: ResponsesRequest) -> dict[str, Any] | None:
    form = None if wire.text is None else wire.text.format
    if form is None:
        return None
    return {"type": form.type, "json_schema": {"name": form.name, "schema": form.schema_}}


def _choice(choice: str | dict[str, Any] | None) -> object:
    if not isinstance(choice, dict):
        if choice not in {*_CHOICES, None}:
            problem = f"tool_choice is none, auto, required or an object, not {choice!r:.100}."
            raise WireError("invalid_request", problem, param="tool_choice")
        return choice
    if not isinstance(choice.get("type"), str) or (choice["type"] == "function" and "name" not in choice):
        problem = "The object tool_choice has a type and, of the type function, a name."
        raise WireError("invalid_request", problem, param="tool_choice")
    if choice["type"] == "allowed_tools":
        listed = choice.get("tools")
        if isinstance(listed, list):  # tools that are no functions are left out
            kept = (item for item in listed if not isinstance(item, dict) or item.get("type") == "function")
            listed = [{"type": "function", "function": item} for item in kept]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode", "auto"), "tools": listed}}
    return {"type": "function", "function": {"name": choice["name"]}} if "name" in choice else "auto"


# --- Out -----------------------------------------------------------------------------------------


def _head(wire: ResponsesRequest, response_id: str, *, stored: bool) -> dict[str, Any]:
    """Return the parts of the request that a response repeats."""
    return {
        "id": response_id,
        "object": "response",
        "error": None,
        "incomplete_details": None,
        "instructions": wire.instructions,
        "max_output_tokens": wire.max_output_tokens,
        "metadata": wire.metadata or {},
        "model": wire.model,
        "parallel_tool_calls": (wire.model_extra or {}).get("parallel_tool_calls") is not False,
        "previous_response_id": wire.previous_response_id,
        "store": stored,
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
    """Writes an answer as a `response`, or as its numbered events."""

    head: dict[str, Any]
    function: str
    created: int
    filtered: bool = False
    """Whether a refusal is marked as filtered content."""
    text: str = ""
    kind: str = ""
    """Kind of the open part: `output_text`, `refusal` or `function_call`."""
    made: list[tuple[str, str]] = field(default_factory=list)
    """Name and arguments of each call."""
    number: int = field(default=0)

    def whole(self, answer: ToldAnswer, *, refused: bool) -> dict[str, Any]:
        """Return the response."""
        self.kind = self._kind(refused=refused)
        self.text = answer.text
        if not refused:
            self.made = made_calls(answer.text, self.function, called=answer.called)
        why = "max_output_tokens" if finish_reason(answer) == "length" else None
        if refused:
            why = "content_filter" if self.filtered else None
        read, written = answer.trace.usage.tokens_in, answer.trace.usage.tokens_out
        usage = {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": answer.trace.usage.tokens_cached},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + written,
        }
        return self._response("incomplete" if why else "completed", self._items(), usage) | {
            "incomplete_details": {"reason": why} if why else None,
            "coterie": summarise(answer.trace),
        }

    def begin(self) -> bytes:
        """Return the events for the start of the work."""
        response = self._response("in_progress", [], None)
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def piece(self, text: str, *, refused: bool) -> bytes:
        """Return a delta, with the start of its item and part if needed."""
        if self.function and not refused:
            return self._stream_calls([(self.function, text)])
        opening = b""
        if not self.kind:
            self.kind = self._kind(refused=refused)
            opening = self._event("response.output_item.added", output_index=0, item=self._item("in_progress"))
            opening += self._event("response.content_part.added", **self._position(), part=self._part())
        self.text += text
        extra: dict[str, Any] = {"logprobs": []} if self.kind == "output_text" else {}
        return opening + self._event(f"response.{self.kind}.delta", **self._position(), delta=text, **extra)

    def calls(self, text: str) -> bytes:
        """Return the events of each call."""
        return self._stream_calls(made_calls(text, "", called=True))

    def _stream_calls(self, made: list[tuple[str, str]]) -> bytes:
        self.kind, self.made, events = "function_call", made, b""
        for i, (name, arguments) in enumerate(made):
            where = {"item_id": self._call(i, "completed")["id"], "output_index": i}
            begun = self._call(i, "in_progress") | {"arguments": ""}
            events += self._event("response.output_item.added", output_index=i, item=begun)
            events += self._event("response.function_call_arguments.delta", **where, delta=arguments)
            call = {"name": name, "arguments": arguments}
            events += self._event("response.function_call_arguments.done", **where, **call)
            events += self._event("response.output_item.done", output_index=i, item=self._call(i, "completed"))
        return events

    def end(self, answer: ToldAnswer, *, refused: bool) -> bytes:
        """Return the end events of every open item, and the whole response."""
        opening = b"" if self.kind else self.piece("", refused=refused)
        done = b""
        if self.kind != "function_call":
            content = {"refusal": self.text} if self.kind == "refusal" else {"text": self.text, "logprobs": []}
            done = self._event(f"response.{self.kind}.done", **self._position(), **content)
            done += self._event("response.content_part.done", **self._position(), part=self._part())
            done += self._event("response.output_item.done", output_index=0, item=self._item("completed"))
        kind = self.kind
        response = self.whole(answer, refused=kind == "refusal")
        self.kind = kind
        return opening + done + self._event(f"response.{response['status']}", response=response) + DONE

    def failed(self, error: ErrorResponse) -> bytes:
        """Return the error as an event."""
        details = error.error
        return self._event("error", code=details["code"], message=details["message"], param=details["param"])

    def _kind(self, *, refused: bool) -> str:
        return "refusal" if refused else "output_text"

    def _response(self, status: str, output: list[Any], usage: dict[str, Any] | None) -> dict[str, Any]:
        return self.head | {"created_at": self.created, "status": status, "output": output, "usage": usage}

    def _items(self) -> list[dict[str, Any]]:
        """Return the items of a whole response: calls, or a message."""
        return [self._call(i, "completed") for i in range(len(self.made))] or [self._item("completed")]

    def _call(self, number: int, status: str) -> dict[str, Any]:
        name = str(self.head["id"])[-32:] + (f"_{number}" if number else "")
        function, arguments = self.made[number]
        called = {"name": function, "arguments": arguments, "call_id": f"call_{name}"}
        return {"type": "function_call", "id": f"fc_{name}", **called, "status": status}

    def _item(self, status: str) -> dict[str, Any]:
        name = str(self.head["id"])[-32:]
        content = [self._part()] if self.text or status == "completed" else []
        return {"type": "message", "id": f"msg_{name}", "role": "assistant", "status": status, "content": content}

    def _part(self) -> dict[str, Any]:
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": self.text}
        return {"type": "output_text", "text": self.text, "annotations": [], "logprobs": []}

    def _position(self) -> dict[str, Any]:
        return {"item_id": f"msg_{str(self.head['id'])[-32:]}", "output_index": 0, "content_index": 0}

    def _event(self, kind: str, **about: object) -> bytes:
        body = {"type": kind, "sequence_number": self.number, **about}
        self.number += 1
        return f"event: {kind}\n".encode() + b"data: " + encode(body) + b"\n\n"


# --- Stored responses: `GET` and `DELETE /v1/responses/{response_id}`, and the items of its input.

_PARAM = "response_id"
_PAGE, _LONGEST_PAGE = 20, 100


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """A response that the caller may see."""

    id: str
    session: str
    envelope: Mapping[str, Any]
    answer: Answer


async def show_response(http: HTTPRequest) -> Response:
    """Respond with a stored response. Raises `WireError` if the caller may see none of this id."""
    if http.query_params.get("stream") == "true":
        raise WireError("unsupported_parameter", "A stored response is shown whole, not as a stream.", param="stream")
    stored = await _find(http)
    kept, trace = stored.envelope, stored.answer.trace
    form = ResponseFormat(
        head=dict(kept["head"]),
        function=kept["function"],
        created=int(trace.time),
        filtered=kept["abstain"] == "content_filter",
    )
    refused = not stored.answer.accepted and kept["abstain"] != "text"
    return JSONBody(form.whole(stored.answer, refused=refused))


async def delete_response(http: HTTPRequest) -> Response:
    """Erase a stored response with its question. Raises `WireError` if the caller may see none of this id."""
    stored = await _find(http)
    await Gateway.of(http).network.store.erase(stored.session, stored.answer.trace.tenant, stored.answer.trace.id)
    return JSONBody({"id": stored.id, "object": "response", "deleted": True})


async def list_input_items(http: HTTPRequest) -> Response:
    """Respond with a page of the items of a response's input, the last one first. Raises `WireError`."""
    given, stored = http.query_params, await _find(http)
    if (order := given.get("order", "desc")) not in {"asc", "desc"}:
        raise WireError("invalid_request", f"order is asc or desc, not {order!r:.100}.", param="order")
    limit = given.get("limit", str(_PAGE))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= _LONGEST_PAGE):
        raise WireError("invalid_request", f"limit is a number from 1 to {_LONGEST_PAGE}.", param="limit")
    items = _items(stored)
    items = items if order == "asc" else items[::-1]
    if (after := given.get("after")) is not None:
        names = [item["id"] for item in items]
        if after not in names:
            raise WireError("invalid_request", f"The input has no item {after!r:.100}.", param="after")
        items = items[names.index(after) + 1 :]
    page = items[: int(limit)]
    ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
    return JSONBody({"object": "list", "data": page, **ends, "has_more": len(page) < len(items)})


async def _find(http: HTTPRequest) -> _Stored:
    gateway, caller, named = Gateway.of(http), Caller.of(http.scope), http.path_params[_PARAM]
    session, request = parts_of(named, _PARAM)
    context = await gateway.network.store.context(session, caller.tenant)
    turn = [entry for entry in context.entries if entry.request == request and isinstance(entry.content, Message)]
    clearance = caller.clearance(gateway.network.default_label)
    if not turn or not turn[0].envelope or any(entry.label > clearance for entry in turn):
        raise no_response(named, _PARAM)
    try:
        trace = await find_trace(gateway, caller, request)
    except WireError:
        raise no_response(named, _PARAM) from None
    return _Stored(
        id=named, session=session, envelope=turn[0].envelope, answer=Answer(text=_text(turn[-1]), trace=trace)
    )


def _text(entry: Entry) -> str:
    return entry.content.text if isinstance(entry.content, Message) else ""


def _items(stored: _Stored) -> Sequence[dict[str, Any]]:
    """Return the items of the input, each with an id and its parts as a list."""
    given, items = stored.envelope["input"], []
    for number, item in enumerate([{"role": "user", "content": given}] if isinstance(given, str) else given):
        whole = {"id": f"item_{stored.answer.trace.id}_{number}", "status": "completed", **item}
        if "role" in item:
            whole["type"] = "message"
            kind = "output_text" if item["role"] == "assistant" else "input_text"
            content = item.get("content")
            whole["content"] = [{"type": kind, "text": content}] if isinstance(content, str) else content
        items.append(whole)
    return items

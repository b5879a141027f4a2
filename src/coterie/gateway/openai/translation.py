"""Conversion between OpenAI's API and core values, both ways. The module knows neither HTTP nor the network.

Decisions where the two differ:
- The last user message is the question. Only system messages, or calls and results of tools, may follow it: a model
  that may call again gets the ones after the question.
- `developer` is `system`. A tool's result is text from the caller, so it becomes a user's turn.
- A forced call of one function (`tool_choice`) is an answer in the form of its parameters, like `response_format`:
  specialists fill it in. Other functions are offered to generating models; other specialists answer as usual.
- An unsupported option is refused where an answer would be wrong without it (`n`, `logprobs`, audio); the others are
  named in the header `x-coterie-ignored`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from coterie.gateway.connection import DONE, encode, event
from coterie.gateway.errors import ErrorResponse, WireError
from coterie.gateway.wire import (
    AllowedTools,
    ChatMessage,
    ChatRequest,
    ContentPart,
    DocumentWire,
    Extension,
    FunctionWire,
    NamedTool,
    ReleaseWire,
    SamplingWire,
)
from coterie.gateway.work import FUNCTIONS, ToldAnswer
from coterie.observe.plain import summarise
from coterie.runtime.codec import replace
from coterie.structured.schema import Node, SchemaRefused, function_of, read_schema, result_turn, stored_calls
from coterie.types import (
    MOST_CALLS,
    Document,
    Function,
    Label,
    Message,
    Release,
    Request,
    Sampling,
    SpecialistCard,
    Tools,
    Trace,
)

ROUTED = "coterie"
"""The model name for which the router chooses; `coterie/NAME` selects a specialist."""

_LONGEST_ANSWER = 1_048_576
"""Most tokens of an answer, more than any window has: larger values are equivalent."""

_ROLES: Mapping[str, Any] = {"developer": "system", "tool": "user"}


# --- In ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class AskedChat:
    """A chat request in the network's form, with the required form of its answer."""

    request: Request
    set: frozenset[str]
    """Parameters that may have no effect."""
    function: str = ""
    """The function that the answer is a call of; empty for an answer in the content."""
    fenced: bool = False
    """Whether the JSON of an answer goes into a Markdown code block."""


def read_request(
    wire: ChatRequest, *, specialists: Collection[str], tenant: str, clearance: Label = Label.RESTRICTED
) -> AskedChat:
    """Return the request to the network.

    Args:
        wire: The request.
        specialists: Specialists that a model's name may select.
        tenant: The caller's tenant.
        clearance: The most sensitive label that the caller may see.

    Raises:
        WireError: an unknown model, a conversation without a question, unsupported content or parameters, or
            a clearance above the caller's.
    """
    specialist = pinned_specialist(wire.model, specialists)
    refuse_unsupported(wire)
    text, history, since = _split_conversation(wire.messages)
    function, schema = read_form(wire)
    fenced = None if schema or wire.tools or (wire.coterie and wire.coterie.document) else _block_told(wire, text)
    if fenced:
        text, schema = fenced
    tools = replace(tools_of(wire), since=since)
    schema = schema if function or not tools.required else None  # only calls are asked for
    request = Request(
        text=text,
        history=history,
        tenant=tenant,
        specialist=specialist,
        max_tokens=longest(wire.max_completion_tokens or wire.max_tokens),
        sampling=read_sampling(wire),
        schema=schema,
        tools=tools if tools.functions or since else None,
    )
    request = extended(request, wire.coterie, clearance=clearance)
    if request.document is not None and schema is not None:
        message = "An answer about a document is text with citations; it has no JSON form."
        raise WireError("unsupported_parameter", message, param="response_format")
    lengths = {name for name in ("max_tokens", "max_completion_tokens") if getattr(wire, name) is not None}
    idle = (without_effect(wire) | lengths) - (FUNCTIONS if function else set())
    return AskedChat(request=request, set=idle, function=function, fenced=fenced is not None)


def tools_of(wire: ChatRequest) -> Tools:
    """Return the functions that may be called. Raises `WireError` for unreadable parameters, or equal names."""
    if wire.tool_choice == "none" or not wire.tools:
        return Tools()
    functions_: dict[str, Function] = {}
    for index, tool in enumerate(wire.tools):
        function = tool.function
        if function.name in functions_:
            problem = f"Two of the tools are named {function.name!r}."
            raise WireError("invalid_request", problem, param=f"tools[{index}].function.name")
        try:
            functions_[function.name] = function_of(function.name, function.description or "", function.parameters)
        except (SchemaRefused, RecursionError) as refused:
            raise _bad_schema(refused, f"tools[{index}].function.parameters") from None
    allowed, required = allowed_functions(wire)
    alone = (wire.model_extra or {}).get("parallel_tool_calls") is False or isinstance(wire.tool_choice, NamedTool)
    functions = tuple(functions_[function.name] for function in allowed)
    return Tools(functions=functions, required=required, most=1 if alone else MOST_CALLS)


def allowed_functions(wire: ChatRequest) -> tuple[list[FunctionWire], bool]:
    """Return the functions that may be called, and whether one of them must be. Raises `WireError` if there is none."""
    functions, choice = [tool.function for tool in wire.tools or ()], wire.tool_choice
    required, names = choice == "required", {function.name for function in functions}
    if isinstance(choice, NamedTool):
        required, names = True, {choice.function.name} & names
    elif isinstance(choice, AllowedTools):
        required, wanted = (
            choice.allowed_tools.mode == "required",
            {t.function.name for t in choice.allowed_tools.tools},
        )
        if unknown := ", ".join(map(repr, sorted(wanted - names)))[:200]:
            problem = f"tool_choice allows functions that are not among `tools`: {unknown}."
            raise WireError("invalid_request", problem, param="tool_choice")
        names = wanted
    if required and not names:
        problem = "A call is forced, and there is no such function among `tools`."
        raise WireError("invalid_request", problem, param="tool_choice")
    return [function for function in functions if choice != "none" and function.name in names], required


def extended(request: Request, extension: Extension | None, *, clearance: Label) -> Request:
    """Return the request with its `coterie` object. Raises `WireError` for a clearance above the caller's."""
    if extension is None:
        return request
    wanted = extension.clearance
    if wanted is not None and wanted > clearance:
        problem = f"Asked with the clearance {wanted.value!r}; the most that is given here is {clearance.value!r}."
        raise WireError("invalid_request", problem, param="coterie.clearance")
    return replace(
        request,
        columns=extension.columns,
        document=_document(extension.document),
        label=extension.label,
        release=_release(extension.release),
        clearance=wanted,
        session=extension.session or request.session,
        language=extension.language,
        quality=extension.quality,
        budget=extension.budget,
    )


def longest(wished: int | None) -> int | None:
    """Return the longest answer in tokens."""
    return min(wished, _LONGEST_ANSWER) if wished else None


def read_sampling(wire: SamplingWire) -> Sampling:
    """Return the sampling options."""
    stop = (wire.stop,) if isinstance(wire.stop, str) else tuple(wire.stop or ())
    names = ("temperature", "top_p", "seed", "frequency_penalty", "presence_penalty")
    return Sampling(stop=stop, **{name: getattr(wire, name) for name in names})


_ACTING = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "coterie", "n", "max_tokens", "max_completion_tokens"),
        *("response_format", "modalities", "tool_choice", "logprobs"),
    }
)
"""Parameters of chat that have an effect, or are refused."""


def without_effect(wire: BaseModel) -> frozenset[str]:
    """Return the parameters that were set and affect only a generating model, or nothing."""
    given = {name: getattr(wire, name) for name in wire.model_fields_set} | (wire.model_extra or {})
    options = unread_options(getattr(given.get("stream_options"), "model_extra", None))
    names = (name for name, value in given.items() if name not in _ACTING and is_set(value))
    if getattr(given.get("stream_options"), "include_usage", False) and not given.get("stream"):
        options |= {"include_usage"}
    return frozenset(names) | {f"stream_options.{name}" for name in options}


def is_set(value: object) -> bool:
    """Return whether a parameter's value asks for something; the number 0 does."""
    return not (value is None or value is False or value in ([], {}))


def unread_options(extra: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the names of parameters that an endpoint does not know; for a `coterie` object, its keys."""
    names = set[str]()
    for name, value in (extra or {}).items():
        if isinstance(value, dict) and name in {"coterie", "x_coterie"}:
            names |= {f"{name}.{key}" for key in value}
        elif is_set(value):
            names.add(name)
    return frozenset(names)


def read_form(wire: ChatRequest) -> tuple[str, Node | None]:
    """Return the function to be called, or empty, and the schema of the answer. Raises `WireError`."""
    functions, required = allowed_functions(wire)
    if required and len(functions) == 1:
        return functions[0].name, schema_of(functions[0].parameters or {"type": "object"}, "tools")
    form = wire.response_format
    if form is None or form.type == "text":
        return "", None
    if form.type == "json_object":
        return "", _schema_told(wire.messages) or read_schema({"type": "object"})
    if form.json_schema is None or form.json_schema.schema_ is None:
        message = "The type 'json_schema' needs a schema."
        raise WireError("invalid_request", message, param="response_format.json_schema")
    return "", schema_of(form.json_schema.schema_, "response_format.json_schema.schema")


def _schema_told(messages: Sequence[ChatMessage]) -> Node | None:
    """Return the JSON schema in a system message, where clients write it for servers without `json_schema`."""
    decoder = json.JSONDecoder()
    for text in (text for m, text in zip(messages, read_texts(messages), strict=True) if m.role in _TELLING):
        starts = [at for at, letter in enumerate(text) if letter == "{"][:_MOST_STARTS]
        for at in starts:
            with suppress(ValueError, RecursionError, SchemaRefused):
                value, _ = decoder.raw_decode(text, at)
                if isinstance(value.get("properties"), dict) and value.get("type", "object") == "object":
                    return read_schema(value)
    return None


_TELLING, _MOST_STARTS = ("system", "developer"), 8
_FENCE = "```"


def _block_told(wire: ChatRequest, question: str) -> tuple[str, Node] | None:
    """Return the question and the schema of the JSON that it wants in a code block; None if it wants none.

    It does if its last line opens a block `json` that it does not close, and a system message has a schema. That line
    says what form the answer has, so it is no part of the question.
    """
    text, _, line = question.rstrip().rpartition("\n")
    if f"{_FENCE}json" not in line or question.count(_FENCE) % 2 == 0 or not text.strip():
        return None
    schema = _schema_told(wire.messages)
    return None if schema is None else (text.rstrip(), schema)


def schema_of(raw: object, param: str) -> Node:
    """Return a normalised schema. Raises `WireError` with the problem and its position."""
    try:
        return read_schema(raw)
    except (SchemaRefused, RecursionError) as refused:
        raise _bad_schema(refused, param) from None


def _bad_schema(refused: SchemaRefused | RecursionError, param: str) -> WireError:
    if isinstance(refused, RecursionError):
        return WireError("invalid_schema", "The schema is nested too deeply.", param=param)
    return WireError("invalid_schema", str(refused), param=f"{param}{refused.place.removeprefix('$')}")


def _release(wire: ReleaseWire | None) -> Release | None:
    return None if wire is None else Release(to=wire.to, because=wire.because)


def _document(wire: str | DocumentWire | None) -> Document | None:
    if isinstance(wire, DocumentWire):
        return Document(text=wire.text, name=wire.name, label=wire.label, index=wire.index)
    return None if wire is None else Document(text=wire)


def pinned_specialist(model: str, specialists: Collection[str]) -> str | None:
    """Return the specialist in a model's name, None for the router. Raises `WireError` for an unknown one."""
    if model == ROUTED:
        return None
    name = model.removeprefix(f"{ROUTED}/")
    if name == model or name not in specialists:
        names = ", ".join(repr(model_name) for model_name in model_names(specialists))
        raise WireError("model_not_found", f"Asked for model {model[:100]!r}; there are {names}.", param="model")
    return name


def model_names(specialists: Collection[str]) -> list[str]:
    """Return the model names of a network: the router, and each specialist."""
    return [ROUTED, *(f"{ROUTED}/{name}" for name in sorted(specialists))]


def refuse_unsupported(wire: ChatRequest) -> None:
    """Refuse unsupported options whose absence would make an answer wrong. Raises `WireError`."""
    refusals = (
        (wire.n not in {None, 1}, "n", "There is one answer, so n must be 1."),
        (bool(wire.logprobs), "logprobs", "There are no logprobs; findings carry a calibrated confidence instead."),
        (set(wire.modalities or ()) - {"text"}, "modalities", "Answers are text."),
    )
    for unsupported, param, message in refusals:
        if unsupported:
            raise WireError("unsupported_parameter", message, param=param)


def _split_conversation(messages: list[ChatMessage]) -> tuple[str, tuple[Message, ...], tuple[Message, ...]]:
    """Return the question's text, the other turns with a text, and the calls and results after it, oldest first."""
    texts = read_texts(messages)
    roles = [_ROLES.get(message.role, message.role) for message in messages]
    last = max((i for i, message in enumerate(messages) if message.role == "user"), default=None)
    if last is None:
        raise WireError("invalid_request", "No message has the role 'user': nothing is asked.", param="messages")
    called = False
    for message in messages[last + 1 :]:
        called |= bool(message.tool_calls) or (message.role == "tool" and message.tool_call_id is not None)
        if message.role not in {"system", "developer"} and not called:
            problem = f"The conversation ends with a message of role {message.role!r}; the last one must be the user's."
            raise WireError("invalid_request", problem, param="messages")
    since = tuple(tool_turns(messages[last + 1 :], texts[last + 1 :]))
    end = last if since else len(messages)
    turns = zip(roles, texts, strict=True)
    history = tuple(
        Message(role=role, text=text)
        for i, (role, text) in enumerate(turns)
        if i != last and text and (i < end or role == "system")
    )
    return texts[last], history, since


def check_results(messages: Sequence[ChatMessage], *, session: bool = False) -> None:
    """Check that calls have a function, and that results have a call before them.

    Args:
        messages: The conversation.
        session: Whether the calls may be in the continued session.
    """
    made: set[object] = set()
    for message in messages:
        for tool_call in message.tool_calls or ():
            about = tool_call.get("function")
            if not isinstance(about, dict) or not isinstance(about.get("name"), str):
                problem = "A call names its function: {'id': ..., 'function': {'name': ..., 'arguments': ...}}."
                raise WireError("invalid_request", problem, param="messages")
            made.add(str(tool_call.get("id")))
        if message.role == "tool" and message.tool_call_id not in made and not session:
            problem = f"No call before it has this id: {message.tool_call_id!r:.100}."
            raise WireError("invalid_request", problem, param="messages")


def tool_turns(messages: Sequence[ChatMessage], texts: Sequence[str]) -> Iterator[Message]:
    """Yield calls and results as turns that any model reads; each result names its function if its id tells it."""
    names: dict[str, str] = {}
    for message, text in zip(messages, texts, strict=True):
        if message.role == "tool":
            yield result_turn(text, names.get(str(message.tool_call_id), ""))
        elif message.tool_calls:
            made = [tool_call.get("function") for tool_call in message.tool_calls]
            calls = [call if isinstance(call, dict) else {} for call in made]
            for tool_call, about in zip(message.tool_calls, calls, strict=True):
                names[str(tool_call.get("id"))] = str(about.get("name", ""))[:64]
            made_calls_ = [{"name": call.get("name"), "arguments": _as_object(call.get("arguments"))} for call in calls]
            yield Message(role="assistant", text=encode({"calls": made_calls_}).decode())
        elif message.role == "assistant" and text:
            yield Message(role="assistant", text=text)


def _as_object(arguments: object) -> object:
    """Return arguments as the object in their text; unchanged if there is none."""
    with suppress(ValueError, RecursionError):
        return json.loads(arguments) if isinstance(arguments, str) else arguments
    return arguments


def read_texts(messages: Sequence[ChatMessage]) -> list[str]:
    """Return each message as text. Raises `WireError` for unsupported content."""
    return [_text(message, index) for index, message in enumerate(messages)]


def _text(message: ChatMessage, number: int) -> str:
    """Return a message's text: its content, its text parts on separate lines, or its calls."""
    if not message.content and message.tool_calls:
        return encode(message.tool_calls).decode()
    if isinstance(message.content, str):
        return message.content
    parts = enumerate(message.content or ())
    return "\n".join(_part_text(part, f"messages[{number}].content[{i}]") for i, part in parts)


def _part_text(part: ContentPart, param: str) -> str:
    text = {"text": part.text, "refusal": part.refusal}.get(part.type)
    if part.type not in {"text", "refusal"}:
        message = f"Only text can be read; this part is of type {part.type[:100]!r}."
        raise WireError("unsupported_content", message, param=param)
    if text is None:
        raise WireError("invalid_request", f"A part of type {part.type!r} needs {part.type!r}.", param=param)
    return text


# --- Out -----------------------------------------------------------------------------------------


class ChatFormat:
    """Writes an answer as a `chat.completion`, or as its chunks."""

    def __init__(
        self, trace_id: str, *, model: str, created: int, with_usage: bool, function: str = "", abstain: str = "refusal"
    ) -> None:
        # `usage` is there, and null, only where the caller asked for it.
        head = {"id": f"chatcmpl-{trace_id}", "object": "chat.completion.chunk", "created": created, "model": model}
        self._head = {**head, "usage": None} if with_usage else head
        self._call_id, self._function = f"call_{trace_id[:24]}", function
        self._filtered, self._with_usage = abstain == "content_filter", with_usage

    def whole(self, answer: ToldAnswer, *, refused: bool) -> dict[str, Any]:
        """Return an answer as a `chat.completion`."""
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
        if refused:
            message |= {"content": None, "refusal": answer.text}
        elif calls := self._calls(answer.text, called=answer.called):
            message |= {"content": None, "tool_calls": calls}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": self._finish(answer, refused=refused),
        }
        return {
            "id": self._head["id"],
            "object": "chat.completion",
            "created": int(answer.trace.time),
            "model": self._head["model"],
            "choices": [choice],
            "usage": token_usage(answer.trace),
            "coterie": summarise(answer.trace),
        }

    def begin(self) -> bytes:
        """Return the chunk with the role."""
        return event(chunk(self._head, {"role": "assistant", "content": None if self._function else ""}))

    def piece(self, text: str, *, refused: bool) -> bytes:
        """Return a delta."""
        if not refused and (calls := self._calls(text, called=False)):
            return self._streamed(calls)
        return event(chunk(self._head, {"refusal" if refused else "content": text}))

    def calls(self, text: str) -> bytes:
        """Return one chunk per call."""
        return self._streamed(self._calls(text, called=True))

    def end(self, answer: ToldAnswer, *, refused: bool) -> bytes:
        """Return the last chunks: the finish reason with the `coterie` object, the token counts, the end mark."""
        finish = self._finish(answer, refused=refused)
        last = event(chunk(self._head, {}, finish=finish) | {"coterie": summarise(answer.trace)})
        counts = event(self._head | {"choices": [], "usage": token_usage(answer.trace)}) if self._with_usage else b""
        return last + counts + DONE

    def failed(self, error: ErrorResponse) -> bytes:
        """Return the error as an event; `[DONE]` does not follow."""
        return event({"error": error.error})

    def _streamed(self, calls: Sequence[dict[str, Any]]) -> bytes:
        chunks = (chunk(self._head, {"tool_calls": [{"index": i, **call}]}) for i, call in enumerate(calls))
        return b"".join(map(event, chunks))

    def _calls(self, text: str, *, called: bool) -> list[dict[str, Any]]:
        return [
            {
                "id": self._call_id if i == 0 else f"{self._call_id}_{i}",
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for i, (name, arguments) in enumerate(made_calls(text, self._function, called=called))
        ]

    def _finish(self, answer: ToldAnswer, *, refused: bool) -> str:
        if refused:
            return "content_filter" if self._filtered else "stop"
        return "tool_calls" if self._function or answer.called else finish_reason(answer)


def made_calls(text: str, forced: str, *, called: bool) -> list[tuple[str, str]]:
    """Return name and arguments, as JSON, of each call in an answer's text; empty if the text is words.

    Args:
        text: The answer's text.
        forced: The one function that had to be called, whose arguments the text is; empty if there was none.
        called: Whether the text is calls of functions.
    """
    if called:
        return [(stored_call.name, encode(stored_call.arguments).decode()) for stored_call in stored_calls(text)]
    return [(forced, text)] if forced else []


def with_usage(content: Mapping[str, Any]) -> bool:
    """Return whether a body requests token counts at the end of a stream."""
    options = content.get("stream_options")
    return isinstance(options, Mapping) and bool(options.get("include_usage"))


def finish_reason(answer: ToldAnswer) -> str:
    """Return `length` where a text of the answer was cut at its limit, else `stop`."""
    return "length" if answer.cut else "stop"


def chunk(head: Mapping[str, Any], delta: Mapping[str, Any], *, finish: str | None = None) -> dict[str, Any]:
    """Return a piece of an answer as a `chat.completion.chunk`; `head` has the fields that all chunks share."""
    return {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}


def token_usage(trace: Trace) -> dict[str, int]:
    """Return token counts with OpenAI's names: all that engines read and wrote for the answer."""
    read, written = trace.usage.tokens_in, trace.usage.tokens_out
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def model_view(name: str, card: SpecialistCard | None, *, created: int, owner: str) -> dict[str, Any]:
    """Return a model in the form of `GET /v1/models`; the card is the specialist's, None for the router."""
    view: dict[str, Any] = {"id": name, "object": "model", "created": created, "owned_by": owner}
    if card is not None:
        view["coterie"] = {
            "task": card.task,
            "description": card.description,
            "rung": card.rung,
            "version": card.version,
            "columns": list(card.columns),
        }
    return view

"""`POST /v1/chat/completions` and `/v1/completions`, whole and streamed, by the network or a model in this process.

A model in this process: supported options act, others are named, and requested JSON is valid JSON. Tools work with any
model: it is constrained to an object of calls or, where no call is forced, an answer in words. The arguments are
therefore always JSON of the function's parameters, independent of the model's chat template.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from pydantic import ConfigDict, StrictBool, StrictInt
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.gateway.access import Caller
from coterie.gateway.connection import DONE, encode, event, send_event
from coterie.gateway.errors import ErrorResponse, WireError
from coterie.gateway.openai.relay import Form, Relay, own_options
from coterie.gateway.openai.translation import (
    AskedChat,
    ChatFormat,
    check_results,
    finish_reason,
    longest,
    read_form,
    read_request,
    read_texts,
    refuse_unsupported,
    token_usage,
    tool_turns,
    tools_of,
    with_usage,
    without_effect,
)
from coterie.gateway.wire import ChatMessage, ChatRequest, Extension, SamplingWire, StreamOptions, Wire, read_wire
from coterie.gateway.work import (
    STREAM_HEADERS,
    Abstain,
    AnswerFormat,
    Exchange,
    Gateway,
    ToldAnswer,
    failing_in_stream,
    idle_options,
)
from coterie.governance.audit import audit_refusal
from coterie.network.network import RelayAnswer
from coterie.observe.plain import TRACE_HEADER, summarise
from coterie.runtime.codec import replace
from coterie.structured.schema import (
    ROOM,
    Node,
    decodable,
    read_answer,
    read_reply,
    reply_schema,
    told_of,
    written_calls,
)
from coterie.types import Reason, RelayHead, Request

_PATH = "/chat/completions"
_ACTING = frozenset(
    {
        *("temperature", "top_p", "seed", "stop", "max_tokens", "frequency_penalty", "presence_penalty"),
        *("logit_bias", "logprobs", "top_logprobs", "stream", "stream_options"),
    }
)
_MOST_LOGPROBS = 20
_NOT_SHOWN = ("document", "columns", "session")
_TOOLS = frozenset({"tools", "tool_choice", "parallel_tool_calls"})


def chat_directly(gateway: Gateway, caller: Caller, body: bytes, model: str) -> ASGIApp:
    """Return the ASGI app that asks a model in this process. Raises `WireError` or pydantic's `ValidationError`."""
    wire = read_wire(ChatRequest, body)
    check_results(wire.messages)
    about = wire.model_dump(include={"model", "stream_options"})
    return ask_model(gateway, caller, wire, model, form=partial(chat_format, gateway, about), verbatim=True)


def chat_format(gateway: Gateway, content: Mapping[str, Any], trace_id: str) -> ChatFormat:
    """Return the format of the answer to a chat body."""
    created = int(gateway.network.clock())
    return ChatFormat(trace_id, model=content["model"], created=created, with_usage=with_usage(content))


def ask_model(
    gateway: Gateway,
    caller: Caller,
    wire: ChatRequest,
    model: str,
    *,
    form: Form,
    verbatim: bool = False,
    ignored: frozenset[str] = frozenset(),
) -> ASGIApp:
    """Return the ASGI app that asks a model in this process.

    Args:
        gateway: The gateway.
        caller: The caller, whose rights apply.
        wire: The request, converted from any API.
        model: The `[models]` key.
        form: Writes the answer in the API's format.
        verbatim: Whether text is passed on as the model's engine writes it: as chat does.
        ignored: Further options of the request without effect.

    Raises:
        WireError: an option that matters is not supported.
    """
    refuse_unsupported(wire.model_copy(update={"logprobs": None}))  # there are some here
    biases = (wire.model_extra or {}).get("logit_bias") or {}
    if not isinstance(biases, dict) or not all(isinstance(bias, int | float) for bias in biases.values()):
        raise WireError("invalid_request", "logit_bias has a number for each token.", param="logit_bias")
    given = None if wire.coterie is None else wire.coterie.model_dump(exclude_unset=True, exclude_none=True)
    options, unread = own_options(given, acting=("label",))
    for name in _NOT_SHOWN:
        if f"coterie.{name}" in unread:
            problem = "A model that is asked directly is shown the messages and nothing else: put it there."
            raise WireError("unsupported_parameter", problem, param=f"coterie.{name}")
    texts = read_texts(wire.messages)
    if wire.messages[-1].role == "user" and not texts[-1].strip():
        raise WireError("invalid_request", "The last message is empty: nothing is asked.", param="messages")
    content = wire.model_dump(include=set(_ACTING), exclude_unset=True) | (wire.model_extra or {})
    kept = {name: content[name] for name in _ACTING & content.keys() if content[name] is not None}
    if (most := longest(wire.max_completion_tokens or wire.max_tokens)) is not None:
        kept["max_tokens"] = most
    top = kept.get("top_logprobs")
    if top is not None and not (wire.logprobs and type(top) is int and 0 <= top <= _MOST_LOGPROBS):
        problem = f"top_logprobs is a whole number from 0 to {_MOST_LOGPROBS}, and needs logprobs: true."
        raise WireError("invalid_request", problem, param="top_logprobs")
    calling = bool(wire.tools) and wire.tool_choice != "none"
    _, schema = read_form(wire.model_copy(update={"tool_choice": None}) if wire.tools else wire)
    formed = calling and schema is not None
    messages = _turns(wire.messages, texts)
    if calling:
        tools = tools_of(wire)
        messages.insert(0, {"role": "system", "content": told_of(tools, schema)})
        schema = reply_schema(tools, schema)
    kept |= {"model": wire.model, "messages": _joined(messages)}
    ignored |= unread | (without_effect(wire) - _ACTING - (_TOOLS if calling or not wire.tools else set()))
    common: dict[str, Any] = {"gateway": gateway, "caller": caller, "model": model, "path": _PATH, "ignored": ignored}
    common |= {"label": options.label, "form": form, "content": kept}
    if schema is None:
        relay = Relay(body=encode(kept), **common)
        return relay if verbatim else Translated(relay=relay, stream=bool(wire.stream))
    kept["stream"] = False
    common |= {"calling": calling, "formed": formed, "stream": bool(wire.stream)}
    return Constrained(body=encode(kept), schema=schema, **common)


def _turns(messages: Sequence[ChatMessage], texts: Sequence[str]) -> list[dict[str, str]]:
    """Convert messages for any chat template: calls as the model writes them, results as text of the user."""
    turns: list[dict[str, str]] = []
    for at, (message, text) in enumerate(zip(messages, texts, strict=True)):
        if message.role == "tool" or message.tool_calls:
            *_, turn = tool_turns(messages[: at + 1], texts[: at + 1])
            turns.append({"role": turn.role, "content": turn.text})
        else:
            turns.append({"role": "system" if message.role == "developer" else message.role, "content": text})
    return turns


def _joined(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Join system messages into one at the beginning, where templates expect it."""
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    rest = [message for message in messages if message["role"] != "system"]
    return [{"role": "system", "content": system}, *rest] if system else rest


@dataclass(frozen=True, kw_only=True)
class Constrained(Relay):
    """Asks for JSON: valid, or a refusal. It is sent whole, in a stream as one piece."""

    schema: Node
    calling: bool
    """Whether the JSON is calls, or an answer in words."""
    formed: bool = False
    """Whether such an answer is JSON of the request's schema."""
    stream: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask, with a smaller limit each time, until the answer is JSON of the schema."""
        network, wrong, text, trace_id, called = self.gateway.network, "", "", "", False
        for level in ROOM:
            trace_id = network.new_id()
            relayed = replace(self.asked(scope), schema=decodable(self.schema, level))
            async with aclosing(network.relay(relayed, trace_id=trace_id)) as events:
                completion = json.loads(b"".join([event async for event in events if isinstance(event, bytes)]))
            text, wrong = read_answer(self.schema, completion["choices"][0]["message"]["content"] or "")
            if not wrong:
                break
        if wrong:
            text = f"The model gave no JSON of the schema: {wrong}."
        elif self.calling:
            reply = read_reply(self.schema, text, wrapped=False, formed=self.formed)
            called, text = bool(reply.calls), written_calls(reply.calls) if reply.calls else reply.answer
        answer = await self.settled(trace_id, text, called=called)
        await self.answer(answer, stream=self.stream, refused=bool(wrong))(scope, receive, send)


@dataclass(frozen=True, kw_only=True)
class Translated:
    """Asks a model for text, and answers in the format of another API than chat."""

    relay: Relay
    stream: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask and answer. An error before the first piece has its own status."""
        relay, network = self.relay, self.relay.gateway.network
        trace_id = network.new_id()
        async with aclosing(network.relay(relay.asked(scope), trace_id=trace_id)) as events:
            first = await anext(events)
            if isinstance(first, RelayAnswer):
                await relay.answer(first, stream=self.stream)(scope, receive, send)
                return
            if self.stream:
                await self._streamed(events, trace_id, send)
                return
            body = b"".join([event async for event in events if isinstance(event, bytes)])
        (choice,) = json.loads(body)["choices"]
        cut = choice["finish_reason"] == "length"
        answer = await relay.settled(trace_id, choice["message"]["content"] or "", cut=cut)
        await relay.answer(answer, stream=False)(scope, receive, send)

    async def _streamed(
        self, events: AsyncIterator[RelayHead | RelayAnswer | bytes], trace_id: str, send: Send
    ) -> None:
        """Pass the pieces on as they arrive."""
        relay, text, cut = self.relay, "", False
        if relay.form is None:
            raise AssertionError("another API has a format of its own")
        form, headers = relay.form(trace_id), {**relay.named, TRACE_HEADER: trace_id, **STREAM_HEADERS}
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": pairs})
        async with failing_in_stream(relay.gateway, form, send):
            if opening := form.begin():
                await send_event(send, opening)
            async for event in events:
                for choice in _choices(event) if isinstance(event, bytes) else ():
                    cut |= choice.get("finish_reason") == "length"
                    if piece := choice["delta"].get("content"):
                        text += piece
                        await send_event(send, form.piece(piece, refused=False))
            await send_event(send, form.end(await relay.settled(trace_id, text, cut=cut), refused=False))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _choices(body: bytes) -> Iterator[dict[str, Any]]:
    """Yield the choices in the events of a chat stream."""
    for sent in body.split(b"\n\n"):
        if sent and sent != b"data: [DONE]":
            yield from json.loads(sent.removeprefix(b"data: "))["choices"]


# --- `POST /v1/chat/completions` and `/v1/completions`, whole and streamed.


def complete_chat(gateway: Gateway, caller: Caller, body: bytes) -> ASGIApp:
    """Return the ASGI app that answers a chat request. Raises `WireError` or pydantic's `ValidationError`."""
    wire, network = read_wire(ChatRequest, body), gateway.network
    check_results(wire.messages, session=wire.coterie is not None and wire.coterie.session is not None)
    chat = asked_of(gateway, caller, wire)
    trace_id, abstain = network.new_id(), abstaining(gateway, wire.coterie, chat.request)
    form = ChatFormat(
        trace_id,
        model=wire.model,
        function=chat.function,
        abstain=abstain,
        created=int(network.clock()),
        with_usage=bool(wire.stream_options and wire.stream_options.include_usage),
    )
    return exchange(gateway, caller, chat, form, trace_id=trace_id, stream=bool(wire.stream), abstain=abstain)


def asked_of(gateway: Gateway, caller: Caller, wire: ChatRequest) -> AskedChat:
    """Return the request of a caller to the network. Raises `WireError`."""
    seen = [name for name in gateway.network.specialists if caller.sees(name)]
    most = caller.clearance(gateway.network.default_label)
    if wire.coterie is not None and wire.coterie.session is not None and not gateway.section.sessions:
        problem = "This network remembers no conversations ([gateway] sessions = false): leave the session out."
        raise WireError("unsupported_parameter", problem, param="coterie.session")
    chat = read_request(wire, specialists=seen, tenant=caller.tenant, clearance=most)
    idle = {f"coterie.{name}" for name in idle_options(gateway, chat.request)}
    return replace(chat, set=chat.set | idle)


def abstaining(gateway: Gateway, extension: Extension | None, request: Request) -> Abstain:
    """Return the form of an abstention. Where JSON is requested, its text is never the answer's text."""
    mode: Abstain = (extension.abstain if extension else None) or gateway.section.abstain
    return "refusal" if mode == "text" and request.schema is not None else mode


def exchange(
    gateway: Gateway,
    caller: Caller,
    chat: AskedChat,
    form: AnswerFormat,
    *,
    trace_id: str,
    stream: bool,
    abstain: Abstain,
) -> ASGIApp:
    """Return the ASGI app that asks the network for a caller and answers in the format of an API."""
    request, most = chat.request, caller.clearance(gateway.network.default_label)
    request = replace(
        request,
        clearance=request.clearance or most,
        key=caller.key_id,
        allowed=caller.specialists,
        release_slot=caller.release_slot,
    )
    if request.release is not None and not caller.may("release"):
        return Unreleased(gateway=gateway, caller=caller, request=request)
    return Exchange(
        gateway=gateway,
        request=request,
        trace_id=trace_id,
        format=form,
        stream=stream,
        abstain=abstain,
        set=chat.set,
        fenced=chat.fenced,
    )


@dataclass(frozen=True, kw_only=True)
class Unreleased:
    """ASGI app that refuses a release to a role without the permission, after recording the refusal."""

    gateway: Gateway
    caller: Caller
    request: Request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - an ASGI app
        """Record and refuse. Raises `WireError`, or `AuditError` where it cannot be recorded."""
        network = self.gateway.network
        if network.audit is not None:
            reason = Reason("release.role", role=self.caller.role)
            entry = audit_refusal(self.request, reason, time=network.clock(), digest=network.audit.digest)
            await network.audit.append(entry)
        self.caller.require("release")


class CompletionRequest(SamplingWire):
    """`POST /v1/completions`."""

    model: str
    prompt: str | list[str] | list[int] | list[list[int]]
    """One text. Token ids are refused, since they belong to another model's vocabulary."""
    max_tokens: StrictInt | None = None
    n: StrictInt | None = None
    best_of: StrictInt | None = None
    echo: StrictBool | None = None
    suffix: str | None = None
    logprobs: StrictInt | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    coterie: Extension | None = None


class CompletionView(Wire):
    """Response of `POST /v1/completions`."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[dict[str, Any]]
    """One choice, with `text` and `finish_reason`; for an abstention `content_filter`, and the text is the reason."""


def complete_text(gateway: Gateway, caller: Caller, body: bytes) -> ASGIApp:
    """Return the ASGI app that answers a request. Raises `WireError` or pydantic's `ValidationError`."""
    wire = read_wire(CompletionRequest, body)
    chat = asked_of(gateway, caller, _as_chat(wire))
    chat = replace(chat, set=chat.set | _without_chat(wire))
    trace_id = gateway.network.new_id()
    abstain = abstaining(gateway, wire.coterie, chat.request)
    form = completion_format(gateway, _about(wire), trace_id)
    return exchange(gateway, caller, chat, form, trace_id=trace_id, stream=bool(wire.stream), abstain=abstain)


def complete_directly(gateway: Gateway, caller: Caller, body: bytes, model: str) -> ASGIApp:
    """Return the ASGI app that asks a model in this process. Raises `WireError` or pydantic's `ValidationError`."""
    wire = read_wire(CompletionRequest, body)
    form = partial(completion_format, gateway, _about(wire))
    return ask_model(gateway, caller, _as_chat(wire), model, form=form, ignored=_without_chat(wire))


def _without_chat(wire: CompletionRequest) -> frozenset[str]:
    """Return the parameters that chat has and this API has not."""
    return frozenset(name for name in ("tools", "tool_choice") if (wire.model_extra or {}).get(name))


def _about(wire: CompletionRequest) -> dict[str, Any]:
    return wire.model_dump(include={"model", "stream_options"})


def completion_format(gateway: Gateway, content: Mapping[str, Any], trace_id: str) -> CompletionFormat:
    """Return the format of the answer to a body."""
    created = int(gateway.network.clock())
    head = {"id": f"cmpl-{trace_id}", "object": "text_completion", "created": created, "model": content["model"]}
    return CompletionFormat(head=head, with_usage=with_usage(content))


def _as_chat(wire: CompletionRequest) -> ChatRequest:
    """Convert the request to an equivalent chat request. Raises `WireError`."""
    given = [wire.prompt] if isinstance(wire.prompt, str) else wire.prompt
    if len(given) != 1 or not isinstance(given[0], str):
        raise WireError("unsupported_content", "One prompt is answered at a time, and it is a text.", param="prompt")
    for name in ("n", "best_of"):
        if getattr(wire, name) not in {None, 1}:
            raise WireError("unsupported_parameter", f"There is one answer, so {name} must be 1.", param=name)
    for name in ("echo", "suffix", "logprobs"):
        if getattr(wire, name):
            raise WireError("unsupported_parameter", f"{name} is not supported.", param=name)
    options = {name: getattr(wire, name) for name in SamplingWire.model_fields} | (wire.model_extra or {})
    options |= {
        "tools": None,
        "tool_choice": None,
        "model": wire.model,
        "max_tokens": wire.max_tokens,
        "stream": wire.stream,
        "messages": [{"role": "user", "content": given[0]}],
    }
    chat = ChatRequest.model_validate({name: value for name, value in options.items() if value is not None})
    return chat.model_copy(update={"coterie": wire.coterie})


@dataclass(frozen=True, kw_only=True)
class CompletionFormat:
    """Writes an answer as a `text_completion`, or as its chunks."""

    head: dict[str, Any]
    with_usage: bool

    def whole(self, answer: ToldAnswer, *, refused: bool) -> dict[str, Any]:
        """Return the completion."""
        usage = {"usage": token_usage(answer.trace), "coterie": summarise(answer.trace)}
        return self._chunk(answer.text, finish=self._finish(answer, refused=refused)) | usage

    def begin(self) -> bytes:
        """Return nothing: this stream has no beginning."""
        return b""

    def piece(self, text: str, *, refused: bool) -> bytes:  # noqa: ARG002 - a text either way
        """Return a piece of the text."""
        return event(self._chunk(text))

    def calls(self, text: str) -> bytes:
        """Return a piece of the text, since this API has no calls."""
        return self.piece(text, refused=False)

    def end(self, answer: ToldAnswer, *, refused: bool) -> bytes:
        """Return the finish reason, the token counts and the end mark."""
        last = self._chunk("", finish=self._finish(answer, refused=refused)) | {"coterie": summarise(answer.trace)}
        counts = event({**self.head, "choices": [], "usage": token_usage(answer.trace)}) if self.with_usage else b""
        return event(last) + counts + DONE

    def failed(self, error: ErrorResponse) -> bytes:
        """Return the error as an event."""
        return event({"error": error.error})

    def _chunk(self, text: str, *, finish: str | None = None) -> dict[str, Any]:
        return {**self.head, "choices": [{"text": text, "index": 0, "logprobs": None, "finish_reason": finish}]}

    def _finish(self, answer: ToldAnswer, *, refused: bool) -> str:
        return "content_filter" if refused else finish_reason(answer)

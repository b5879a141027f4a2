"""`POST /v1/chat/completions` and `/v1/completions`, whole and streamed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from pydantic import ConfigDict, StrictBool, StrictInt
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.gateway.access import Caller
from coterie.gateway.connection import DONE, event
from coterie.gateway.errors import ErrorResponse, WireError
from coterie.gateway.exchange import Abstain, AnswerFormat, Exchange, ToldAnswer, idle_options
from coterie.gateway.openai.direct import ask_model
from coterie.gateway.openai.translation import (
    AskedChat,
    ChatFormat,
    check_results,
    finish_reason,
    read_request,
    token_usage,
    with_usage,
)
from coterie.gateway.wire import ChatRequest, Extension, SamplingWire, StreamOptions, Wire, read_wire
from coterie.gateway.work import Gateway
from coterie.governance.audit_events import audit_refusal
from coterie.observe.plain import summarise
from coterie.runtime.codec import replace
from coterie.types import Reason, Request


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

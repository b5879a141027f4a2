"""`POST /v1/chat/completions`, whole and streamed."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.gateway.access import Caller
from coterie.gateway.errors import WireError
from coterie.gateway.exchange import Abstain, AnswerFormat, Exchange, idle_options
from coterie.gateway.openai.translation import AskedChat, ChatFormat, read_request
from coterie.gateway.wire import ChatRequest, Extension
from coterie.gateway.work import Gateway
from coterie.governance.audit_events import audit_refusal
from coterie.runtime.values import replace
from coterie.types import Reason, Request


def complete_chat(gateway: Gateway, caller: Caller, body: bytes) -> ASGIApp:
    """What answers a chat request. Raises `WireError` or pydantic's `ValidationError` for one that cannot be served."""
    wire, network = ChatRequest.model_validate_json(body), gateway.network
    asked = asked_of(gateway, caller, wire)
    trace_id, abstain = network.new_id(), abstaining(gateway, wire.coterie, asked.request)
    form = ChatFormat(
        trace_id,
        model=wire.model,
        function=asked.function,
        abstain=abstain,
        created=int(network.clock()),
        with_usage=bool(wire.stream_options and wire.stream_options.include_usage),
    )
    return exchange(gateway, caller, asked, form, trace_id=trace_id, stream=bool(wire.stream), abstain=abstain)


def asked_of(gateway: Gateway, caller: Caller, wire: ChatRequest) -> AskedChat:
    """What a caller asks of the network. Raises `WireError`."""
    seen = [name for name in gateway.network.specialists if caller.sees(name)]
    most = caller.clearance(gateway.network.default_label)
    if wire.coterie is not None and wire.coterie.session is not None and not gateway.section.sessions:
        said = "This network remembers no conversations ([gateway] sessions = false): leave the session out."
        raise WireError("unsupported_parameter", said, param="coterie.session")
    asked = read_request(wire, specialists=seen, tenant=caller.tenant, clearance=most)
    idle = {f"coterie.{name}" for name in idle_options(gateway, asked.request)}
    return replace(asked, set=asked.set | idle)


def abstaining(gateway: Gateway, extension: Extension | None, request: Request) -> Abstain:
    """How an abstention is to look. Where JSON is asked for, its words are never the answer's text."""
    asked: Abstain = (extension.abstain if extension else None) or gateway.section.abstain
    return "refusal" if asked == "text" and request.schema is not None else asked


def exchange(
    gateway: Gateway,
    caller: Caller,
    asked: AskedChat,
    form: AnswerFormat,
    *,
    trace_id: str,
    stream: bool,
    abstain: Abstain,
) -> ASGIApp:
    """What asks the network on behalf of a caller and answers in the format of an API."""
    request, most = asked.request, caller.clearance(gateway.network.default_label)
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
        set=asked.set,
    )


@dataclass(frozen=True, kw_only=True)
class Unreleased:
    """Refuses to release for somebody whose role does not, once that is written down."""

    gateway: Gateway
    caller: Caller
    request: Request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - an ASGI app
        """Raises `WireError`, or `AuditError` where it cannot be written down."""
        network = self.gateway.network
        if network.audit is not None:
            reason = Reason("release.role", role=self.caller.role)
            entry = audit_refusal(self.request, reason, time=network.clock(), digest=network.audit.digest)
            await network.audit.append(entry)
        self.caller.require("release")

"""The models that a caller may name: `GET /v1/models`, and requests whose `model` is an entry of `[models]`.

Such a request is passed to the model verbatim, and its answer is passed back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from time import perf_counter
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.config.section import Money
from coterie.gateway.access import Caller
from coterie.gateway.connection import JSONBody, send_event
from coterie.gateway.errors import WireError
from coterie.gateway.openai.translation import ROUTED, model_names, model_view, pinned_specialist
from coterie.gateway.wire import Wire
from coterie.gateway.work import AnswerFormat, Gateway, ignored_header, written
from coterie.network.network import RelayAnswer, Relayed, read_body
from coterie.observe.plain import EGRESS_HEADER, TRACE_HEADER
from coterie.types import Label, Principal, RelayHead

LABEL_HEADER = "x-coterie-label"
"""Header with the sensitivity of a relayed request, whose body may have no such field."""

Handler = Callable[[Gateway, Caller, bytes], ASGIApp]


Local = Callable[[Gateway, Caller, bytes, str], ASGIApp]
"""Returns the ASGI app for a body that names a model in this process, by its key."""
Form = Callable[[str], AnswerFormat]
"""Makes the format of an answer from the id of its trace."""
ReadForm = Callable[[Gateway, Mapping[str, Any], str], AnswerFormat]
"""Makes the format of an answer from a body and the id of its trace."""


def relaying(
    path: str,
    otherwise: Handler,
    local: Local | None = None,
    form: ReadForm | None = None,
    *,
    aliases: str = "",
    extension: str = "coterie",
) -> Handler:
    """Return the handler of an endpoint that relays requests for one of the models, and calls `otherwise` for others.

    Args:
        path: Path below `/v1`.
        otherwise: Handles requests that name no model.
        local: Asks a model of this process; None where the endpoint does not support that.
        form: Writes the answer of a deployment in place of the model; None where there are none.
        aliases: Prefix of names that mean the network itself.
        extension: Name of the `coterie` object in the endpoint's bodies.
    """
    kept_keys: tuple[object, dict[str, str], Sequence[bytes]] = (None, {}, ())

    def handle(gateway: Gateway, caller: Caller, body: bytes) -> ASGIApp:
        nonlocal kept_keys
        names, current = gateway.network.models, kept_keys
        if names is not current[0]:  # they change with the network alone, and each request asks
            keys = {model.name: key for key, model in names.items()} | {key: key for key in names}
            current = kept_keys = names, keys, [json.dumps(name).encode() for name in keys]
        key, content = _named(body, *current[1:], aliases)
        if key is None or not may_relay(gateway, caller, key):
            return otherwise(gateway, caller, body)
        if names[key].local and local is None:
            problem = (
                f"The model {key!r} runs in this process and writes text: it answers at the endpoints of chat only."
            )
            raise WireError("unsupported_parameter", problem, param="model")
        if names[key].local and local is not None:
            return local(gateway, caller, body, key)
        options, ignored = own_options(content.get(extension), name=extension)
        common: dict[str, Any] = {"gateway": gateway, "caller": caller, "model": key, "path": path, "body": body}
        common["form"] = None if form is None else partial(form, gateway, content)
        return Relay(content=content, label=options.label, budget=options.budget, ignored=ignored, **common)

    return handle


class RelayOptions(Wire):
    """Options of a `coterie` object that have an effect when the body is passed on unchanged."""

    label: Label | None = None
    budget: Money | None = None


def own_options(
    given: object, acting: Collection[str] = ("label", "budget"), *, name: str = "coterie"
) -> tuple[RelayOptions, frozenset[str]]:
    """Return the effective options of a `coterie` object, and the names of the others.

    Raises pydantic's `ValidationError`.
    """
    if not isinstance(given, Mapping):
        return _NO_OPTIONS, frozenset()
    others = frozenset(f"{name}.{option}" for option in given.keys() - set(acting))
    return _Body.model_validate(
        {"coterie": {option: given[option] for option in acting if option in given}}
    ).coterie, others


_NO_OPTIONS = RelayOptions()


class _Body(Wire):
    coterie: RelayOptions = RelayOptions()


def may_relay(gateway: Gateway, caller: Caller, model: str) -> bool:
    """Return whether a caller may name this model; it is not shown to other callers."""
    if caller.key is None:
        return True
    named = {"*", caller.key.name, f"role:{caller.role}"}
    return bool(named & set(gateway.section.relay)) and caller.sees(model)


def _named(
    body: bytes, names: Mapping[str, str], written: Sequence[bytes], aliases: str
) -> tuple[str | None, dict[str, Any]]:
    """Return the key of the model that a body names, if it is one of these, and the body.

    The network's own names are never relayed.
    """
    if not any(name in body for name in written):
        return None, {}
    try:
        content = read_body(body)
    except (ValueError, RecursionError):
        return None, {}
    model = content.get("model")
    if not isinstance(model, str) or model.split("/", maxsplit=1)[0] == ROUTED:
        return None, {}
    if aliases and model.startswith(aliases):
        return None, {}
    return names.get(model), content


@dataclass(frozen=True, kw_only=True)
class Relay:
    """Passes one request on, and its answer back byte by byte."""

    gateway: Gateway
    caller: Caller
    model: str
    path: str
    body: bytes
    content: dict[str, Any]
    """The body, parsed."""
    ignored: frozenset[str] = frozenset()
    """Options of the body that the model does not get."""
    label: Label | None = None
    """Sensitivity in the body; a header may state a higher one."""
    budget: Decimal | None = None
    """Money per 1,000 such requests, from the body."""
    form: Form | None = None
    """Format of an answer that is not the model's own bytes."""

    @property
    def named(self) -> dict[str, str]:
        """The headers on options without effect and on egress: none, where the model is in this process."""
        return {**ignored_header(self.ignored), EGRESS_HEADER: "none"}

    def asked(self, scope: Scope) -> Relayed:
        """Return the request with its caller. Raises `WireError` for an invalid label."""
        most = self.caller.clearance(self.gateway.network.default_label)
        return Relayed(
            model=self.model,
            path=self.path,
            body=self.body,
            content=self.content,
            principal=Principal(tenant=self.caller.tenant, key=self.caller.key_id, clearance=most),
            label=_highest(self.label, _label(Headers(scope=scope))),
            budget=self.budget,
            release_slot=self.caller.release_slot,
            on_settled=self.gateway.metrics.count_answer,
        )

    async def settled(self, trace_id: str, text: str, *, called: bool = False, cut: bool = False) -> RelayAnswer:
        """Return the model's answer, with the trace of its request."""
        trace = await self.gateway.network.store.trace(trace_id, self.caller.tenant)
        if trace is None:
            raise AssertionError("a request is settled before its answer is complete")
        return RelayAnswer(text=text, trace=trace, called=called, cut=cut)

    def answer(self, answer: RelayAnswer, *, stream: bool, refused: bool = False) -> ASGIApp:
        """Return the ASGI app that sends an answer of a model or a specialist of this process, in its API's format."""
        if self.form is None:
            raise AssertionError(f"{self.path} has no format of its own")
        left = answer.trace.egress_summary
        headers = {**self.named, EGRESS_HEADER: left, TRACE_HEADER: answer.trace.id, "cache-control": "no-store"}
        return written(self.form(answer.trace.id), answer, stream=stream, headers=headers, refused=refused)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Relay. An error before the first byte has its own status; afterwards the answer is cut off."""
        start, metrics, trace_id = perf_counter(), self.gateway.metrics, self.gateway.network.new_id()
        first = bool(self.content.get("stream"))
        async with aclosing(self.gateway.network.relay(self.asked(scope), trace_id=trace_id)) as events:
            async for event in events:
                if isinstance(event, RelayAnswer):
                    await self.answer(event, stream=bool(self.content.get("stream")))(scope, receive, send)
                    return
                if isinstance(event, RelayHead):
                    headers = {**event.headers, **self.named, EGRESS_HEADER: event.egress}
                    headers |= {TRACE_HEADER: trace_id, "cache-control": "no-store"}
                    if event.body:
                        headers["content-length"] = str(len(event.body))
                    raw_headers = [
                        (name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()
                    ]
                    await send({"type": "http.response.start", "status": event.status, "headers": raw_headers})
                    if event.body:
                        await send({"type": "http.response.body", "body": event.body})
                        return
                else:
                    await send_event(send, event)
                    if first:
                        metrics.count_first_text(perf_counter() - start)
                        first = False
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _label(headers: Headers) -> Label | None:
    if (value := headers.get(LABEL_HEADER)) is None:
        return None
    try:
        return Label(value)
    except ValueError:
        labels = ", ".join(label.value for label in Label)
        raise WireError(
            "invalid_request", f"The header {LABEL_HEADER} is {value[:50]!r}; labels are {labels}."
        ) from None


def _highest(*labels: Label | None) -> Label | None:
    return max((label for label in labels if label is not None), default=None)


# --- `GET /v1/models`: the router, each specialist, and the models that a caller may name.


async def list_models(http: HTTPRequest) -> Response:
    """List all of them, the router first: as OpenAI lists models (`data`), and as System One does (`models`)."""
    gateway, seen = Gateway.of(http), _seen(http)
    data = [_view(gateway, name, seen) for name in model_names(seen)]
    models = [_systemone_view(model) for model in data]  # of those that are asked alone none decides
    data += [_alone(gateway, key) for key in _relayed(http)]
    return JSONBody({"object": "list", "data": data, "models": models})


async def show_model(http: HTTPRequest) -> Response:
    """Show one of them. Raises `WireError` for an unknown name."""
    gateway, model = Gateway.of(http), http.path_params["model"]
    if model in _relayed(http):
        return JSONBody(_alone(gateway, model))
    return JSONBody(_view(gateway, model, _seen(http)))


def _systemone_view(view: dict[str, Any]) -> dict[str, str]:
    described = view.get("coterie", {}).get("description", "")
    return {
        "name": view["id"],
        "description": described,
        "release_date": f"{datetime.fromtimestamp(view['created'], UTC):%Y-%m-%d}",
    }


def _seen(http: HTTPRequest) -> list[str]:
    """Return the specialists that the caller may see."""
    caller = Caller.of(http.scope)
    return [name for name in Gateway.of(http).network.specialists if caller.sees(name)]


def _relayed(http: HTTPRequest) -> list[str]:
    """Return the keys of `[models]` that the caller may name."""
    gateway, caller = Gateway.of(http), Caller.of(http.scope)
    return [key for key in gateway.network.models if may_relay(gateway, caller, key)]


def _alone(gateway: Gateway, key: str) -> dict[str, Any]:
    return model_view(key, None, created=gateway.opened, owner=gateway.network.name)


def _view(gateway: Gateway, model: str, seen: Collection[str]) -> dict[str, Any]:
    network = gateway.network
    name = pinned_specialist(model, seen)
    card = None if name is None else network.specialists[name].card
    return model_view(model, card, created=gateway.opened, owner=network.name)

"""The app: routes, handlers and middleware."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coterie import __version__
from coterie.config.file import GatewaySection
from coterie.errors import CoterieError
from coterie.gateway.access import Caller, admit
from coterie.gateway.anthropic import (
    AnthropicError,
    CountRequest,
    CountView,
    MessageEvent,
    MessagesRequest,
    MessageView,
    answer_message,
    count_tokens,
    message_directly,
    message_format,
)
from coterie.gateway.connection import ClientGone, JSONBody, encode
from coterie.gateway.decisions import OPENAI_ALIASES, DecisionsRequest, DecisionsResponse, decide_openai
from coterie.gateway.errors import WireError, error_response
from coterie.gateway.mcp import speak_mcp
from coterie.gateway.openai.completions import (
    CompletionRequest,
    CompletionView,
    chat_directly,
    chat_format,
    complete_chat,
    complete_directly,
    complete_text,
    completion_format,
)
from coterie.gateway.openai.embeddings import (
    RerankRequest,
    RerankResponse,
    ScoreRequest,
    ScoreResponse,
    embed,
    rerank,
    score,
)
from coterie.gateway.openai.relay import list_models, relaying, show_model
from coterie.gateway.openai.responses import (
    ResponseEvent,
    ResponsesRequest,
    ResponseView,
    delete_response,
    list_input_items,
    respond,
    respond_directly,
    response_format,
    show_response,
)
from coterie.gateway.operations import (
    AlarmAction,
    DeploymentAction,
    ReviewAction,
    RunRequest,
    list_alarms,
    list_deployments,
    list_jobs,
    move_deployment,
    next_review,
    review_example,
    run_flywheel,
    settle_alarm,
    show_deployment,
    show_metrics,
    show_trace,
    take_feedback,
    tell_health,
    tell_readiness,
)
from coterie.gateway.systemone import PATH as SYSTEM_ONE
from coterie.gateway.systemone import (
    SYSTEM_ONE_ALIASES,
    SystemOneError,
    SystemOneRequest,
    SystemOneResponse,
    decide_systemone,
    systemone_error,
)
from coterie.gateway.wire import (
    ChatChunk,
    ChatCompletion,
    ChatRequest,
    Embeddings,
    EmbeddingsRequest,
    Error,
    FeedbackKept,
    FeedbackRequest,
    Health,
    MCPFailure,
    MCPMessage,
    Models,
    ModelView,
)
from coterie.gateway.work import Gateway, Work, open_gateway
from coterie.governance.keys import KeyRing, Permission
from coterie.runtime.concurrency import AT_ONCE, aside

if TYPE_CHECKING:
    from coterie.network.network import Network

_REFERENCE = "#/components/schemas/{model}"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One path with its handler and its request and response models."""

    method: str
    path: str
    """A Starlette path template."""
    serve: Callable[..., Any]
    summary: str
    request: type[BaseModel] | None = None
    response: type[BaseModel] | None = None
    """Model of the JSON response; None for one that is not described by a model."""
    streamed: type[BaseModel] | None = None
    """Model of the data of each server-sent event."""
    failed: type[BaseModel] = Error
    """Model of every response with a status of 400 or more."""
    media_type: str = "application/json"
    needs: Permission | None = None
    """Permission that the caller's role needs; None for any role."""
    open_to_all: bool = False
    """Whether it answers without a key too."""

    @property
    def template(self) -> str:
        """The path in OpenAPI's form: without Starlette's converters."""
        return self.path.replace(":path}", "}")


def describe_api(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of these endpoints."""
    requests = {model for e in endpoints for model in (e.request,) if model}
    responses = {model for e in endpoints for model in (e.response, e.streamed, e.failed) if model}
    ordered = sorted(requests | responses, key=lambda model: model.__name__)
    wanted = [(model, "validation" if model in requests else "serialization") for model in ordered]
    _, schemas = models_json_schema(wanted, ref_template=_REFERENCE)  # type: ignore[arg-type]
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.template, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Coterie gateway", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "ctr_..."}},
        },
        "security": [{"key": []}, {}],
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    content: dict[str, Any] = {
        endpoint.media_type: {"schema": _reference(endpoint.response) if endpoint.response else {}}
    }
    if endpoint.streamed:
        content["text/event-stream"] = {"schema": _reference(endpoint.streamed)}
    failed = {"description": "Error", "content": {"application/json": {"schema": _reference(endpoint.failed)}}}
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "responses": {"200": {"description": "Success", "content": content}, "default": failed},
    }
    if endpoint.open_to_all:
        operation["security"] = []
    if endpoint.needs:
        operation["x-coterie-needs"] = endpoint.needs
    if endpoint.request:
        body = {"application/json": {"schema": _reference(endpoint.request)}}
        operation["requestBody"] = {"required": True, "content": body}
    if names := [part[1:-1] for part in endpoint.template.split("/") if part.startswith("{")]:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    return operation


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


# --- Around every request: who may come in, what became of it, and nothing of ours in an error.

_GONE = 499
"""Status counted for a caller who left before the response was complete."""


class AccessMiddleware:
    """The outermost layer of the app: checks headers, counts responses, and catches unhandled errors."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        paths: Mapping[object, str],
        open_paths: Collection[str],
        direct: Mapping[tuple[str, str], ASGIApp],
    ) -> None:
        """Wrap `app`.

        Args:
            app: The gateway's app.
            paths: The path template of each endpoint, for the counters.
            open_paths: Paths that need no key.
            direct: Handlers by method and path without parameters. They are called directly: a route search and a
                second layer that catches the same errors take as long as reading the request.
        """
        self.app = app
        self.paths = paths
        self.direct = direct
        self.open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        gateway, sending, start = Gateway.of(scope), _Sending(send), time.perf_counter()
        gateway.metrics.note_start()
        try:
            await admit(scope, gateway.ring, open_to_all=scope["path"] in self.open_paths)
            direct = None if scope.get("root_path") else self.direct.get((scope["method"], scope["path"]))
            if direct is not None:
                scope["endpoint"] = direct
            await (direct or self.app)(scope, receive, sending)
        except ClientGone:
            sending.status = _GONE
        except asyncio.CancelledError:
            if not gateway.draining:
                raise
            cut = WireError("shutting_down", "The gateway shut down before the answer was complete.")
            await _say(cut, sending, scope, receive)
        except Exception as error:  # noqa: BLE001 - every error becomes a response; see error_response
            await _say(error, sending, scope, receive)
        finally:
            endpoint = self.paths.get(scope.get("endpoint"), "other")
            gateway.metrics.count_response(endpoint, sending.status, time.perf_counter() - start)


@dataclass
class _Sending:
    """A `send` that stores the status that it sent; 0 before."""

    send: Send
    status: int = field(default=0)

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self.send(message)


async def _say(error: Exception, sending: _Sending, scope: Scope, receive: Receive) -> None:
    """Send the error's response, unless another response has begun."""
    response = _shaped(error, scope)
    if sending.status == 0:
        await response(scope, receive, sending)


def _shaped(error: Exception, scope: Scope) -> Response:
    """Return the response to an error, in the format of the requested API."""
    return systemone_error(error) if scope["path"] == SYSTEM_ONE else error_response(error).for_path(scope["path"])


async def _answer_error(http: HTTPRequest, error: Exception) -> Response:
    """Return the response to an error, as Starlette's exception handler.

    A path may have a route a method; Starlette names the methods of the first.
    """
    if isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        routes = [route for route in http.app.routes if isinstance(route, Route)]
        methods = {m for route in routes if route.matches(http.scope)[0] != Match.NONE for m in route.methods or ()}
        error = HTTPException(error.status_code, headers={"Allow": ", ".join(sorted(methods))})
    return _shaped(error, http.scope)


async def show_api(_http: HTTPRequest) -> Response:
    """Respond with the OpenAPI document."""
    return Response(await aside(AT_ONCE + 1, _written_api), media_type=JSONBody.media_type)


@cache
def _written_api() -> bytes:
    return encode(describe_api(ENDPOINTS))


def _ask_endpoint(path: str, serve: Callable[..., ASGIApp], summary: str, **wire: Any) -> Endpoint:  # noqa: ANN401 - classes of the wire
    """Return an endpoint that asks the network."""
    return Endpoint(method="POST", path=path, serve=Work(serve), summary=summary, needs="ask", **wire)


def _flywheel(
    method: str,
    path: str,
    serve: Callable[..., Any],
    summary: str,
    request: type[BaseModel] | None = None,
    *,
    needs: Permission = "flywheel",
) -> Endpoint:
    """Return an endpoint that shows or moves jobs and deployments."""
    return Endpoint(
        method=method, path=f"/api/flywheel/{path}", serve=serve, summary=summary, request=request, needs=needs
    )


ENDPOINTS: Sequence[Endpoint] = (
    _ask_endpoint(
        "/v1/chat/completions",
        relaying("/chat/completions", complete_chat, chat_directly, chat_format),
        "Ask the network; `stream` gives the answer as it is made.",
        request=ChatRequest,
        response=ChatCompletion,
        streamed=ChatChunk,
    ),
    _ask_endpoint(
        "/v1/decisions",
        relaying("/decisions", decide_openai, aliases=OPENAI_ALIASES),
        "Answer typed questions with probabilities: OpenAI's Decisions API.",
        request=DecisionsRequest,
        response=DecisionsResponse,
    ),
    _ask_endpoint(
        "/v1/responses",
        relaying("/responses", respond, respond_directly, response_format),
        "Ask the network through the Responses API, on the session of an earlier response or by itself.",
        request=ResponsesRequest,
        response=ResponseView,
        streamed=ResponseEvent,
    ),
    Endpoint(
        method="GET",
        path="/v1/responses/{response_id}",
        serve=show_response,
        summary="A stored response.",
        response=ResponseView,
        needs="ask",
    ),
    Endpoint(
        method="DELETE",
        path="/v1/responses/{response_id}",
        serve=delete_response,
        summary="Erase a stored response with its question.",
        needs="ask",
    ),
    Endpoint(
        method="GET",
        path="/v1/responses/{response_id}/input_items",
        serve=list_input_items,
        summary="The items of the input of a stored response.",
        needs="ask",
    ),
    _ask_endpoint(
        SYSTEM_ONE,
        relaying("/systemone", decide_systemone, aliases=SYSTEM_ONE_ALIASES, extension="x_coterie"),
        "Answer typed questions with probabilities: TypeSafe's System One.",
        request=SystemOneRequest,
        response=SystemOneResponse,
        failed=SystemOneError,
    ),
    _ask_endpoint(
        "/v1/messages",
        relaying("/messages", answer_message, message_directly, message_format),
        "Ask the network through Anthropic's Messages API.",
        request=MessagesRequest,
        response=MessageView,
        streamed=MessageEvent,
        failed=AnthropicError,
    ),
    _ask_endpoint(
        "/v1/messages/count_tokens",
        relaying("/messages/count_tokens", count_tokens, count_tokens),
        "Count the tokens of a request for `/v1/messages`; nobody is asked.",
        request=CountRequest,
        response=CountView,
        failed=AnthropicError,
    ),
    _ask_endpoint(
        "/v1/completions",
        relaying("/completions", complete_text, complete_directly, completion_format),
        "Ask the network with a prompt, for clients that know no chat.",
        request=CompletionRequest,
        response=CompletionView,
        streamed=CompletionView,
    ),
    _ask_endpoint(
        "/v1/embeddings",
        relaying("/embeddings", embed),
        "Vectors of texts, from the encoder that router and specialists share.",
        request=EmbeddingsRequest,
        response=Embeddings,
    ),
    *(
        _ask_endpoint(
            path,
            relaying("/rerank", rerank),
            "Order documents by how well they fit a query.",
            request=RerankRequest,
            response=RerankResponse,
        )
        for path in ("/v1/rerank", "/v2/rerank")
    ),
    _ask_endpoint(
        "/v1/score",
        relaying("/score", score),
        "How well texts fit others, a score a pair.",
        request=ScoreRequest,
        response=ScoreResponse,
    ),
    Endpoint(
        method="GET", path="/v1/models", serve=list_models, summary="The router and each specialist.", response=Models
    ),
    Endpoint(
        method="GET", path="/v1/models/{model:path}", serve=show_model, summary="One of them.", response=ModelView
    ),
    _ask_endpoint(
        "/mcp",
        speak_mcp,
        "The Model Context Protocol: specialists as tools, indexes as resources. Needs the extra `mcp`.",
        request=MCPMessage,
        failed=MCPFailure,
    ),
    Endpoint(
        method="GET",
        path="/api/traces/{trace_id}",
        serve=show_trace,
        summary="One request's whole life.",
        needs="traces",
    ),
    _ask_endpoint(
        "/api/feedback",
        take_feedback,
        "Say whether an answer was right.",
        request=FeedbackRequest,
        response=FeedbackKept,
    ),
    _flywheel("GET", "jobs", list_jobs, "Jobs of captured calls, with volume, cost and state."),
    _flywheel("GET", "deployments", list_deployments, "Deployments, with the evidence of their gates."),
    _flywheel(
        "GET", "deployments/{deployment}", show_deployment, "The steps of a deployment, with reasons and numbers."
    ),
    _flywheel(
        "POST", "deployments/{deployment}", move_deployment, "Promote a deployment, or roll it back.", DeploymentAction
    ),
    _flywheel("GET", "alarms", list_alarms, "Alarms, with what, since when and the command."),
    _flywheel("POST", "alarms/{alarm}", settle_alarm, "Say that an alarm is dealt with.", AlarmAction),
    _flywheel("POST", "run", run_flywheel, "Do what is due, or say it.", RunRequest, needs="manage"),
    _flywheel("GET", "review", next_review, "The next example that a person is asked about."),
    _flywheel("POST", "review", review_example, "Keep a label, skip an example, or take a label back.", ReviewAction),
    Endpoint(
        method="GET",
        path="/healthz",
        serve=tell_health,
        summary="The process is alive.",
        response=Health,
        open_to_all=True,
    ),
    Endpoint(
        method="GET",
        path="/readyz",
        serve=tell_readiness,
        summary="Requests are taken; 503 if not.",
        response=Health,
        open_to_all=True,
    ),
    Endpoint(
        method="GET",
        path="/metrics",
        serve=show_metrics,
        summary="Counters, for Prometheus.",
        media_type="text/plain",
        needs="metrics",
    ),
    Endpoint(method="GET", path="/openapi.json", serve=show_api, summary="This document."),
)
"""All endpoints of the gateway, in the order of its documentation."""


def create_app(network: Network, section: GatewaySection, ring: KeyRing | None = None) -> Starlette:
    """Return an ASGI app in front of an open network, which the caller closes.

    With a ring that has keys, requests without a key are refused.

    Call it in the event loop that will serve it. `app.state.gateway.draining = True` makes it refuse further work.
    """
    guarded = [(e, _guard(e)) for e in ENDPOINTS]
    open_paths = [e.path for e in ENDPOINTS if e.open_to_all]
    direct = {(e.method, e.path): serve for e, serve in guarded if isinstance(e.serve, Work)}
    paths: dict[object, str] = {serve: e.path for e, serve in guarded}
    app = Starlette(
        routes=[Route(e.path, serve, methods=[e.method]) for e, serve in guarded],
        middleware=[Middleware(AccessMiddleware, paths=paths, open_paths=open_paths, direct=direct)],
        exception_handlers=dict.fromkeys((CoterieError, WireError, ValidationError, HTTPException), _answer_error),
        lifespan=_lifespan,
    )
    app.router.redirect_slashes = False
    app.state.gateway = open_gateway(network, section, ring)
    return app


def _guard(endpoint: Endpoint) -> Callable[..., Any]:
    """Return the handler of an endpoint, with a check of the caller's permission first."""
    if endpoint.needs is None:
        return endpoint.serve
    return _Guard(endpoint.serve, endpoint.needs) if isinstance(endpoint.serve, Work) else _guarded(endpoint)


def _guarded(endpoint: Endpoint) -> Callable[[HTTPRequest], Awaitable[Response]]:
    async def serve(http: HTTPRequest) -> Response:
        if endpoint.needs is not None:
            Caller.of(http.scope).require(endpoint.needs)
        response: Response = await endpoint.serve(http)
        return response

    return serve


class _Guard:
    """An ASGI app behind a check of the caller's permission."""

    def __init__(self, app: ASGIApp, permission: Permission) -> None:
        self.app, self.permission = app, permission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        Caller.of(scope).require(self.permission)
        await self.app(scope, receive, send)


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    """At shutdown, wait until all requests have ended."""
    yield
    gateway: Gateway = app.state.gateway
    await gateway.drain()

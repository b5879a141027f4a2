"""The app: every path, what serves it, and what surrounds them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.config import GatewaySection
from coterie.errors import CoterieError
from coterie.governance import KeyRing, Permission

from ._access import Caller
from ._chat import complete_chat
from ._door import Door
from ._embeddings import embed
from ._errors import WireError, answer_error
from ._feedback import take_feedback
from ._gateway import Gateway, open_gateway
from ._models import list_models, show_model
from ._openapi import Endpoint, describe_api
from ._operations import show_metrics, show_trace, tell_health, tell_readiness
from ._responses import JSONBody
from ._wire import (
    ChatChunk,
    ChatCompletion,
    ChatRequest,
    Embeddings,
    EmbeddingsRequest,
    FeedbackKept,
    FeedbackRequest,
    Health,
    Models,
    ModelView,
)
from ._work import Work

if TYPE_CHECKING:
    from coterie.network import Network


async def show_api(_http: HTTPRequest) -> Response:
    """The OpenAPI document."""
    return JSONBody(describe_api(ENDPOINTS))


ENDPOINTS: Sequence[Endpoint] = (
    Endpoint(
        method="POST",
        path="/v1/chat/completions",
        serve=Work(complete_chat),
        summary="Ask the network; `stream` gives the answer as it is made.",
        asked=ChatRequest,
        told=ChatCompletion,
        streamed=ChatChunk,
        needs="ask",
    ),
    Endpoint(
        method="POST",
        path="/v1/embeddings",
        serve=Work(embed),
        summary="Vectors of texts, from the encoder that router and specialists share.",
        asked=EmbeddingsRequest,
        told=Embeddings,
        needs="ask",
    ),
    Endpoint(
        method="GET", path="/v1/models", serve=list_models, summary="The router and each specialist.", told=Models
    ),
    Endpoint(method="GET", path="/v1/models/{model:path}", serve=show_model, summary="One of them.", told=ModelView),
    Endpoint(
        method="GET",
        path="/api/traces/{trace_id}",
        serve=show_trace,
        summary="One request's whole life.",
        needs="traces",
    ),
    Endpoint(
        method="POST",
        path="/api/feedback",
        serve=Work(take_feedback),
        summary="Say whether an answer was right.",
        asked=FeedbackRequest,
        told=FeedbackKept,
        needs="ask",
    ),
    Endpoint(
        method="GET", path="/healthz", serve=tell_health, summary="The process is alive.", told=Health, open_to_all=True
    ),
    Endpoint(
        method="GET",
        path="/readyz",
        serve=tell_readiness,
        summary="Requests are taken; 503 if not.",
        told=Health,
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
"""Everything the gateway answers, in the order of its documentation."""


def create_app(network: Network, section: GatewaySection, ring: KeyRing | None = None) -> Starlette:
    """An ASGI app before an open network, which stays the caller's to close.

    With a ring that has keys, whoever has none is refused.

    Call it in the event loop that will serve it. `app.state.gateway.draining = True` makes it refuse further work.
    """
    guarded = [(e, _guard(e)) for e in ENDPOINTS]
    open_paths = [e.path for e in ENDPOINTS if e.open_to_all]
    app = Starlette(
        routes=[Route(e.path, serve, methods=[e.method]) for e, serve in guarded],
        middleware=[Middleware(Door, paths={serve: e.path for e, serve in guarded}, open_paths=open_paths)],
        exception_handlers=dict.fromkeys((CoterieError, WireError, ValidationError, HTTPException), answer_error),
        lifespan=_lifespan,
    )
    app.router.redirect_slashes = False
    app.state.gateway = open_gateway(network, section, ring)
    return app


def _guard(endpoint: Endpoint) -> Callable[..., Any]:
    """What serves an endpoint, asking first whether the caller may."""
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
    """An ASGI app behind the question whether the caller may."""

    def __init__(self, app: ASGIApp, permission: Permission) -> None:
        self.app, self.permission = app, permission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        Caller.of(scope).require(self.permission)
        await self.app(scope, receive, send)


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    """At shutdown, leave when everybody has."""
    yield
    gateway: Gateway = app.state.gateway
    await gateway.drain()

"""`GET /v1/models`: the router and each specialist, as models a client can choose."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from ._gateway import Gateway
from ._responses import JSONBody
from ._translate import model_names, model_view, pinned_specialist


async def list_models(http: HTTPRequest) -> Response:
    """All of them, the router first."""
    gateway = Gateway.of(http)
    names = model_names(gateway.network.specialists)
    return JSONBody({"object": "list", "data": [_view(gateway, name) for name in names]})


async def show_model(http: HTTPRequest) -> Response:
    """One of them. Raises `WireError` when there is none of that name."""
    return JSONBody(_view(Gateway.of(http), http.path_params["model"]))


def _view(gateway: Gateway, model: str) -> dict[str, Any]:
    network = gateway.network
    name = pinned_specialist(model, network.specialists)
    card = None if name is None else network.specialists[name].card
    return model_view(model, card, created=gateway.opened, owner=network.name)

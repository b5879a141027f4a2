"""`GET /v1/models`: the router and each specialist, as models a client can choose."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from coterie.gateway.access import Caller
from coterie.gateway.connection import JSONBody
from coterie.gateway.openai.translation import model_names, model_view, pinned_specialist
from coterie.gateway.work import Gateway


async def list_models(http: HTTPRequest) -> Response:
    """All of them, the router first: as OpenAI lists models (`data`), and as System One does (`models`)."""
    gateway, seen = Gateway.of(http), _seen(http)
    data = [_view(gateway, name, seen) for name in model_names(seen)]
    return JSONBody({"object": "list", "data": data, "models": [_systemone_view(each) for each in data]})


async def show_model(http: HTTPRequest) -> Response:
    """One of them. Raises `WireError` when there is none of that name."""
    return JSONBody(_view(Gateway.of(http), http.path_params["model"], _seen(http)))


def _systemone_view(view: dict[str, Any]) -> dict[str, str]:
    described = view.get("coterie", {}).get("description", "")
    return {
        "name": view["id"],
        "description": described,
        "release_date": f"{datetime.fromtimestamp(view['created'], UTC):%Y-%m-%d}",
    }


def _seen(http: HTTPRequest) -> list[str]:
    """The specialists that who asks may know of."""
    caller = Caller.of(http.scope)
    return [name for name in Gateway.of(http).network.specialists if caller.sees(name)]


def _view(gateway: Gateway, model: str, seen: Collection[str]) -> dict[str, Any]:
    network = gateway.network
    name = pinned_specialist(model, seen)
    card = None if name is None else network.specialists[name].card
    return model_view(model, card, created=gateway.opened, owner=network.name)

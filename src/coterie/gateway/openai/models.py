"""`GET /v1/models`: the router, each specialist, and the models that a caller may name."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request as HTTPRequest
from starlette.responses import Response

from coterie.gateway.access import Caller
from coterie.gateway.connection import JSONBody
from coterie.gateway.openai.relay import may_relay
from coterie.gateway.openai.translation import model_names, model_view, pinned_specialist
from coterie.gateway.work import Gateway


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

"""`GET /openapi.json`, made from the endpoints and their wire models, so that it cannot say anything else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from coterie import __version__
from coterie.gateway.wire import Error
from coterie.governance.keys import Permission

_REFERENCE = "#/components/schemas/{model}"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One path: what serves it, and what goes in and out."""

    method: str
    path: str
    """A Starlette path template."""
    serve: Callable[..., Any]
    summary: str
    request: type[BaseModel] | None = None
    response: type[BaseModel] | None = None
    """The JSON response; None for one that is not described by a model."""
    streamed: type[BaseModel] | None = None
    """The data of each server-sent event."""
    failed: type[BaseModel] = Error
    """Every response with a status of 400 or more."""
    media_type: str = "application/json"
    needs: Permission | None = None
    """What the caller's role must allow; None for any role."""
    open_to_all: bool = False
    """Answered without a key too."""

    @property
    def template(self) -> str:
        """The path as OpenAPI writes it: without Starlette's converters."""
        return self.path.replace(":path}", "}")


def describe_api(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these endpoints."""
    asked = {model for e in endpoints for model in (e.request,) if model}
    told = {model for e in endpoints for model in (e.response, e.streamed, e.failed) if model}
    ordered = sorted(asked | told, key=lambda model: model.__name__)
    wanted = [(model, "validation" if model in asked else "serialization") for model in ordered]
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

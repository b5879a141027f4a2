"""`POST /mcp`: streamable HTTP without sessions. The SDK is an extra, imported with the first request."""

from __future__ import annotations

import asyncio
from functools import cache
from http import HTTPStatus
from types import ModuleType

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coterie.errors import ExtraMissing
from coterie.gateway.access import Caller
from coterie.gateway.errors import ErrorResponse, WireError
from coterie.gateway.wire import read_strict
from coterie.gateway.work import Gateway


def speak_mcp(gateway: Gateway, caller: Caller, body: bytes) -> ASGIApp:
    """Return the ASGI app that answers one MCP message. Raises `WireError` for errors outside JSON-RPC."""
    message = read_strict(body)
    if not isinstance(message, dict):
        raise WireError("invalid_request", "A message is one JSON object; several in a list are not read.")
    named = message.get("id", 0)
    if isinstance(named, bool) or not isinstance(named, str | int):
        raise WireError("invalid_request", "The id of a request is a text or a whole number.", param="id")

    async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
        loaded = load_server.cache_info().currsize
        module = load_server() if loaded else await asyncio.to_thread(load_server)
        if why := module.refused_revision(Headers(scope=scope), body):
            await ErrorResponse(400, "unsupported_version", why).for_path(scope["path"])(scope, _replay(b""), send)
            return
        manager = module.stateless_manager(gateway, caller, Headers(scope=scope))
        async with manager.run():
            await manager.handle_request(scope, _replay(body), _shaped(scope, send))

    return answer


@cache
def load_server() -> ModuleType:
    """Return the fully imported MCP module; concurrent imports wait for each other. Raises `ExtraMissing`."""
    try:
        from coterie.gateway import mcp_server  # noqa: PLC0415 - it imports the SDK
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"mcp", "mcp_types"}:
            raise
        raise ExtraMissing("MCP needs the package 'mcp'.", hint="pip install 'coterie[mcp]'") from None
    return mcp_server


def _replay(body: bytes) -> Receive:
    """Return a `receive` that yields a read body, then nothing: its reader watches for a disconnect."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    return receive


def _shaped(scope: Scope, send: Send) -> Send:
    """Return a `send` that converts the SDK's plain-text or empty errors to JSON-RPC."""
    refused: list[int] = []

    async def forward(message: Message) -> None:
        refusal = message["type"] == "http.response.start" and message["status"] >= 400
        if refusal and b"application/json" not in dict(message["headers"]).get(b"content-type", b""):
            refused.append(message["status"])
            return
        if not refused:
            await send(message)
            return
        status = refused.pop()
        problem = message.get("body", b"").decode("utf-8", "replace") or HTTPStatus(status).phrase
        response = ErrorResponse(status, "invalid_request", f"{problem}.").for_path(scope["path"])
        await response(scope, _replay(b""), send)

    return forward

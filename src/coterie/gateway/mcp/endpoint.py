"""`POST /mcp`: streamable HTTP without sessions. The SDK is an extra, imported with the first request."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coterie.errors import CoterieError, ExtraMissing
from coterie.gateway.access import Caller
from coterie.gateway.connection import JSONBody
from coterie.gateway.errors import WireError, error_response
from coterie.gateway.work import Gateway, Work

REFUSED = -32010
"""JSON-RPC code of what the gateway refuses before the protocol is spoken; `data.code` says what."""
_SERVER = "coterie.gateway.mcp.server"


class MCPWork(Work):
    """An endpoint of bounded work whose refusals are JSON-RPC errors, with the HTTP status of the others."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            Caller.of(scope).require("ask")
            await super().__call__(scope, receive, send)
        except (CoterieError, WireError) as error:
            refusal = error_response(error)
            about = {"code": REFUSED, "message": refusal.error["message"], "data": {"code": refusal.error["code"]}}
            body = {"jsonrpc": "2.0", "id": None, "error": about}
            kept = {name: value for name, value in refusal.headers.items() if not name.startswith("content-")}
            await JSONBody(body, status_code=refusal.status_code, headers=kept)(scope, receive, send)


def speak_mcp(gateway: Gateway, caller: Caller, body: bytes) -> ASGIApp:
    """What answers one message of the protocol."""

    async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
        module = sys.modules.get(_SERVER) or await asyncio.to_thread(load_server)
        manager = module.stateless_manager(gateway, caller, Headers(scope=scope))
        async with manager.run():
            await manager.handle_request(scope, _replay(body), send)

    return answer


def load_server() -> ModuleType:
    """The module that speaks the protocol. Raises `ExtraMissing`."""
    try:
        from coterie.gateway.mcp import server  # noqa: PLC0415 - it imports the SDK
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"mcp", "mcp_types"}:
            raise
        raise ExtraMissing("MCP needs the package 'mcp'.", hint="pip install 'coterie[mcp]'") from None
    return server


def _replay(body: bytes) -> Receive:
    """A body that was read, then nothing: who leaves is noticed by who read it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    return receive

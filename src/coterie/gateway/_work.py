"""The life of a request that makes the network work: seat, body, place, answer; stopped when its caller leaves."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ._access import Caller
from ._connection import read_body, while_connected
from ._errors import WireError
from ._gateway import Gateway

Handler = Callable[[Gateway, Caller, bytes], ASGIApp]
"""Checks a body and gives what will answer it. Quick; whatever it refuses never waits for a place."""


class Work:
    """An endpoint of bounded work, around a handler."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises what `_errors.error_response` and the door understand."""
        gateway, headers = Gateway.of(scope), Headers(scope=scope)
        if gateway.draining:
            raise WireError("shutting_down", "The gateway is shutting down; try again in a moment.")
        with gateway.admission.seat():
            body = await read_body(headers, receive, limit=gateway.section.max_body)
            answer = self.handler(gateway, Caller.of(scope), body)

            async def work() -> None:
                async with gateway.admission.place():
                    await answer(scope, receive, send)

            await while_connected(receive, work())

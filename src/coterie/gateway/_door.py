"""Around every request: who may come in, what became of it, and nothing of ours in an error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ._access import admit
from ._connection import ClientGone
from ._errors import WireError, error_response
from ._gateway import Gateway

_GONE = 499
"""Counted for a caller who left before the response was complete."""


class Door:
    """The outermost layer of the app: checks headers, counts responses, and catches what nobody else did."""

    def __init__(self, app: ASGIApp, *, paths: Mapping[object, str], open_paths: Collection[str]) -> None:
        """Wrap `app`.

        Args:
            app: The gateway's.
            paths: The path template of each endpoint, for the counters.
            open_paths: Those that need no key.
        """
        self.app = app
        self.paths = paths
        self.open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        gateway, sending, start = Gateway.of(scope), _Sending(send), time.perf_counter()
        try:
            admit(scope, gateway.ring, open_to_all=scope["path"] in self.open_paths)
            await self.app(scope, receive, sending)
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
    """A `send` that remembers the status it sent; 0 before."""

    send: Send
    status: int = field(default=0)

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self.send(message)


async def _say(error: Exception, sending: _Sending, scope: Scope, receive: Receive) -> None:
    """Send the error's response, unless another has begun."""
    response = error_response(error)
    if sending.status == 0:
        await response(scope, receive, sending)

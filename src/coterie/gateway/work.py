"""The life of a request that makes the network work: seat, body, place, answer; stopped when its caller leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.config.file import GatewaySection
from coterie.gateway.access import Caller
from coterie.gateway.connection import read_body, while_connected
from coterie.gateway.errors import WireError
from coterie.gateway.slots import WorkerSlots
from coterie.governance.keys import KeyRing
from coterie.observe.metrics import Metrics
from coterie.runtime.concurrency import aside

if TYPE_CHECKING:
    from coterie.network.network import Network

# --- What every endpoint needs: the network, the limits and the counters of one gateway.

_SETTLE_SECONDS = 5.0
"""How long requests that were cut off at shutdown get to settle."""


@dataclass
class Gateway:
    """One open door. It does not own the network: whoever opened that closes it."""

    network: Network
    section: GatewaySection
    admission: WorkerSlots
    metrics: Metrics
    opened: int
    """Seconds since the epoch."""
    ring: KeyRing | None = None
    """Who may come in; None where there can be no keys."""
    draining: bool = False
    """Set once at shutdown: running requests finish, further ones are refused."""

    @staticmethod
    def of(place: HTTPConnection | Scope) -> Gateway:
        """The gateway that serves this request."""
        gateway: Gateway = place["app"].state.gateway
        return gateway

    async def drain(self) -> None:
        """Refuse further work, and wait until whoever is at work, or was cut off, has written down what it spent."""
        self.draining = True
        try:
            async with asyncio.timeout(_SETTLE_SECONDS):
                await self.admission.empty()
        except TimeoutError:
            return


def open_gateway(network: Network, section: GatewaySection, ring: KeyRing | None = None) -> Gateway:
    """A gateway before a network, with the limits of its section and the keys that open it."""
    admission = WorkerSlots(concurrency=section.concurrency, queue=section.queue)
    metrics = Metrics(working=lambda: admission.working, waiting=lambda: admission.waiting)
    opened = int(network.clock())
    return Gateway(network=network, section=section, admission=admission, metrics=metrics, opened=opened, ring=ring)


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
            answer = await aside(len(body), partial(self.handler, gateway, Caller.of(scope), body))

            async def work() -> None:
                async with gateway.admission.place():
                    await answer(scope, receive, send)

            await while_connected(receive, work())

"""The life of a request that makes the network work: body, admission, slot, answer; stopped when its caller leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from coterie.config.file import GatewaySection
from coterie.gateway.access import Caller
from coterie.gateway.connection import ARRIVED, Bodies, while_connected
from coterie.gateway.errors import WireError
from coterie.gateway.slots import WorkerSlots
from coterie.governance.keys import KeyRing
from coterie.observe.metrics import Metrics
from coterie.runtime.concurrency import aside
from coterie.runtime.values import replace

if TYPE_CHECKING:
    from coterie.network.network import Network

# --- What every endpoint needs: the network, the limits and the counters of one gateway.

_LONGEST_WORK = 600.0
"""Seconds after which a network that serves no longer is closed, whoever may still be at work in it."""
_PAGE_SECONDS = 1.0
"""How long a network that serves no longer is kept for what takes no admission, such as a page of the console."""
_SETTLE_SECONDS = 5.0
"""How long requests that were cut off at shutdown get to settle."""


@dataclass
class Gateway:
    """One open door. It does not own the network: whoever opened that closes it."""

    network: Network
    section: GatewaySection
    admission: WorkerSlots
    bodies: Bodies
    metrics: Metrics
    opened: int
    """Seconds since the epoch."""
    ring: KeyRing | None = None
    """Who may come in; None where there can be no keys."""
    draining: bool = False
    """Set once at shutdown: running requests finish, further ones are refused."""
    _closing: set[asyncio.Task[None]] = field(default_factory=set)
    """What closes networks that serve no longer."""

    @staticmethod
    def of(place: HTTPConnection | Scope) -> Gateway:
        """The gateway that serves this request."""
        gateway: Gateway = place["app"].state.gateway
        return gateway

    async def replace_network(self, network: Network) -> None:
        """Serve another network from the next request on, and close the one before once who came before has left."""
        network.inherit(self.network)
        before, self.network = self.network, network
        task = asyncio.create_task(self._close_idle(before))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_idle(self, network: Network) -> None:
        there = self.admission.leaving()  # who comes later works with another
        await asyncio.sleep(_PAGE_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_WORK):
                for left in there:
                    await left.wait()
        await network.close()

    async def drain(self) -> None:
        """Refuse further work, and wait until whoever is at work, or was cut off, has written down what it spent."""
        self.draining = True
        try:
            async with asyncio.timeout(_SETTLE_SECONDS):
                await self.admission.empty()
                await asyncio.gather(*self._closing)
        except TimeoutError:
            return
        finally:
            self.metrics.refresh()  # other workers go on telling what was counted here


def open_gateway(network: Network, section: GatewaySection, ring: KeyRing | None = None) -> Gateway:
    """A gateway before a network, with the limits of its section and the keys that open it."""
    admission = WorkerSlots(
        concurrency=section.concurrency, queue=section.queue, remote=section.remote, share=section.share
    )
    metrics = Metrics(
        working=lambda: admission.working,
        waiting=lambda: admission.waiting,
        remote=lambda: admission.remote.total,
        workers=section.workers,
    )
    return Gateway(
        network=network,
        section=section,
        admission=admission,
        bodies=Bodies(section.concurrency + section.queue, limit=section.max_body, seconds=section.body_seconds),
        metrics=metrics,
        opened=int(network.clock()),
        ring=ring,
    )


Handler = Callable[[Gateway, Caller, bytes], ASGIApp]
"""Checks a body and gives what will answer it. Quick; whatever it refuses never waits for a slot."""


class Work:
    """An endpoint of bounded work, around a handler."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises what `_errors.error_response` and the door understand."""
        gateway, headers = Gateway.of(scope), Headers(scope=scope)
        if gateway.draining:
            raise WireError("shutting_down", "The gateway is shutting down; try again in a moment.")
        caller = Caller.of(scope)
        gateway.admission.check(caller.client)  # before a body is read in vain
        arrived = scope[ARRIVED]() if ARRIVED in scope else None
        await self.serve(await gateway.bodies.read(headers, receive, arrived), scope, receive, send)

    async def serve(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request whose body has been read; the same limits hold."""
        gateway, caller = Gateway.of(scope), Caller.of(scope)
        with gateway.admission.admit(caller.client) as slot:
            caller = replace(caller, release_slot=slot.released)

            async def work() -> None:
                answer = await aside(len(body), partial(self.handler, gateway, caller, body))
                async with slot:
                    await answer(scope, receive, send)

            await while_connected(scope, receive, work())

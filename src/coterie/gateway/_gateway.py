"""What every endpoint needs: the network, the limits and the counters of one gateway."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection
from starlette.types import Scope

from coterie.config import GatewaySection
from coterie.governance import KeyRing
from coterie.observe import Metrics

from ._admission import Admission

if TYPE_CHECKING:
    from coterie.network import Network

_SETTLE_SECONDS = 5.0
"""How long requests that were cut off at shutdown get to settle."""


@dataclass
class Gateway:
    """One open door. It does not own the network: whoever opened that closes it."""

    network: Network
    section: GatewaySection
    admission: Admission
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
    admission = Admission(concurrency=section.concurrency, queue=section.queue)
    metrics = Metrics(working=lambda: admission.working, waiting=lambda: admission.waiting)
    opened = int(network.clock())
    return Gateway(network=network, section=section, admission=admission, metrics=metrics, opened=opened, ring=ring)

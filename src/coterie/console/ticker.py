"""What happens now: one stream of events for each open page, fed by one clock for all of them.

An event says how many requests were answered since the gateway began and how many are at work, by all of its workers.
A page that is hidden closes its stream, and nothing is asked of the store for it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from coterie.gateway.work import Gateway

_SECONDS = 2.0
"""Between two events at least."""
_MOST = 64
"""Streams at once; one more is told to come again later."""


@dataclass
class Ticker:
    """Counts for all pages."""

    gateway: Gateway
    _streams: int = field(default=0)
    _read: float = field(default=0.0)
    _last: dict[str, int] | None = field(default=None)

    async def now(self) -> dict[str, int]:
        """What an event says: read once for all pages."""
        now = time.monotonic()
        if self._last is None or now - self._read >= _SECONDS / 2:
            self._read = now
            self._last = await asyncio.to_thread(self.gateway.metrics.live)
        return self._last

    async def events(self) -> AsyncIterator[bytes]:
        """Events of one page, until it leaves or the gateway shuts down."""
        self._streams += 1
        try:
            before: dict[str, int] | None = None
            while not self.gateway.draining:
                found = await self.now()
                yield b"data: " + json.dumps(found).encode() + b"\n\n" if found != before else b": still here\n\n"
                before = found
                await asyncio.sleep(_SECONDS)
        finally:
            self._streams -= 1

    @property
    def full(self) -> bool:
        """Whether no further page gets a stream."""
        return self._streams >= _MOST

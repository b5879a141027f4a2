"""What happens now: one stream of events for each open page, fed by one clock for all of them.

An event says how many requests were answered since the gateway began and how many are at work, by all of its workers.
It is sent where that has changed, so a page for which nothing happens costs nothing. A page that is hidden closes its
stream, and nothing is asked of the store for it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from coterie.gateway.work import Gateway

T = TypeVar("T")
_SECONDS = 2.0
"""Between two looks."""
_QUIET = 15.0
"""Seconds without a change after which a stream says that it is still there."""
_MOST = 64
"""Streams at once; one more is told to come again later."""


@dataclass
class Ticker:
    """Counts for all pages."""

    gateway: Gateway
    _streams: int = field(default=0)
    _read: float = field(default=0.0)
    _last: dict[str, int] | None = field(default=None)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set, and replaced, whenever there is something to tell."""
    _clock: asyncio.Task[None] | None = field(default=None)

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
            if self._clock is None or self._clock.done():
                self._clock = asyncio.create_task(self._tick())
            shown = await self.now()
            yield _event(shown)
            while not self.gateway.draining:
                changed = self._changed
                try:
                    async with asyncio.timeout(_QUIET):
                        await changed.wait()
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if self._last is not None and self._last != shown:
                    shown = self._last
                    yield _event(shown)
        finally:
            self._streams -= 1

    async def _tick(self) -> None:
        """Look from time to time, as long as somebody listens, and wake the streams where something has changed."""
        before = await self.now()
        while self._streams and not self.gateway.draining:
            await asyncio.sleep(_SECONDS)
            found = await self.now()
            if found != before or self.gateway.draining:
                before, changed, self._changed = found, self._changed, asyncio.Event()
                changed.set()

    @property
    def full(self) -> bool:
        """Whether no further page gets a stream."""
        return self._streams >= _MOST


def _event(found: dict[str, int]) -> bytes:
    return b"data: " + json.dumps(found).encode() + b"\n\n"


@dataclass
class SharedViews:
    """What several viewers look at, made once for all of them."""

    clock: Callable[[], float] = time.monotonic
    _held: dict[Hashable, tuple[float, asyncio.Task[Any]]] = field(default_factory=dict)

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]], *, seconds: float) -> T:
        """Return what was made under this key within so many seconds, else what is made now.

        Args:
            key: Names what is shown and who may see it.
            make: Makes it; who comes meanwhile waits for the same. What it raises is not kept.
            seconds: How old it may be.
        """
        now, held = self.clock(), self._held.get(key)
        if held is None or now - held[0] >= seconds or (held[1].done() and held[1].exception() is not None):

            async def made() -> T:
                return await make()

            self._held = {each: one for each, one in self._held.items() if now - one[0] < _KEPT}
            held = self._held[key] = now, asyncio.create_task(made())
        return cast("T", await asyncio.shield(held[1]))


_KEPT = 60.0
"""Seconds after which what nobody asks for is forgotten."""

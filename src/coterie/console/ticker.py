"""Live updates: one event stream for each open page, fed by one shared clock.

An event has the number of requests that were answered since the gateway began and the number that are running, over
all of its workers. It is sent on a change, so an idle page costs nothing. A hidden page closes its stream, and then the
store is not read for it.
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
"""Seconds between two readings."""
_QUIET = 15.0
"""Seconds without a change after which a stream sends a keep-alive comment."""
_MOST = 64
"""The most streams at once; a further client is told to retry later."""


@dataclass
class Ticker:
    """Counts for all pages, and their event streams."""

    gateway: Gateway
    _streams: int = field(default=0)
    _read: float = field(default=0.0)
    _last: dict[str, int] | None = field(default=None)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set, and replaced, at every change."""
    _clock: asyncio.Task[None] | None = field(default=None)

    async def now(self) -> dict[str, int]:
        """Return the content of an event, read once for all pages."""
        now = time.monotonic()
        if self._last is None or now - self._read >= _SECONDS / 2:
            self._read = now
            self._last = await asyncio.to_thread(self.gateway.metrics.live)
        return self._last

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the events of one page, until it leaves or the gateway shuts down."""
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
        """Read the counts periodically while a stream is open, and wake the streams at a change."""
        before = await self.now()
        while self._streams and not self.gateway.draining:
            await asyncio.sleep(_SECONDS)
            counts = await self.now()
            if counts != before or self.gateway.draining:
                before, changed, self._changed = counts, self._changed, asyncio.Event()
                changed.set()

    @property
    def full(self) -> bool:
        """Whether no further stream is accepted."""
        return self._streams >= _MOST


def _event(counts: dict[str, int]) -> bytes:
    return b"data: " + json.dumps(counts).encode() + b"\n\n"


@dataclass
class SharedViews:
    """A cache of views that several viewers share."""

    clock: Callable[[], float] = time.monotonic
    _held: dict[Hashable, tuple[float, asyncio.Task[Any]]] = field(default_factory=dict)

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]], *, seconds: float) -> T:
        """Return the value made under this key within the last seconds, else make it now.

        Args:
            key: Identifies the view and who may see it.
            make: Makes the view; concurrent callers wait for the same. An error of `make` is not kept.
            seconds: The largest age of the value.
        """
        now, held = self.clock(), self._held.get(key)
        if held is None or now - held[0] >= seconds or (held[1].done() and held[1].exception() is not None):

            async def made() -> T:
                return await make()

            self._held = {key: one for key, one in self._held.items() if now - one[0] < _KEPT}
            held = self._held[key] = now, asyncio.create_task(made())
        return cast("T", await asyncio.shield(held[1]))


_KEPT = 60.0
"""Seconds after which an unused entry is dropped."""

"""Who may come in: a bounded number at work, a bounded number waiting, and nobody else.

A seat is held from a request's headers to its response's last byte, so it bounds the bodies in memory; a
place is held only while the network works. One more than all seats is turned away at once, before its body
is read, with an estimate of when another try makes sense.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from coterie.errors import Overloaded

_LONGEST_WAIT = 60.0
_MEMORY = 0.9
"""Weight of the past in the mean time of a request."""


class WorkerSlots:
    """Seats and places of one gateway; used from its event loop only."""

    def __init__(self, *, concurrency: int, queue: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seats = concurrency + queue
        self._concurrency = concurrency
        self._places = asyncio.Semaphore(concurrency)
        self._clock = clock
        self._mean_seconds = 0.0
        self._empty = asyncio.Event()
        self._empty.set()
        self.seated = 0
        self.working = 0

    @property
    def waiting(self) -> int:
        """Requests that hold a seat and no place: their body is being read, or all places are taken."""
        return self.seated - self.working

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Come in. Raises `Overloaded` when every seat is taken."""
        if self.seated >= self._seats:
            raise Overloaded(
                f"{self.working} requests at work and {self.waiting} waiting: the gateway takes {self._seats} at once.",
                retry_after=self._retry_after(),
                hint="Try again later, or raise [gateway] concurrency or queue in coterie.toml.",
            )
        self.seated += 1
        self._empty.clear()
        try:
            yield
        finally:
            self.seated -= 1
            if self.seated == 0:
                self._empty.set()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place, first come first served, and hold it."""
        async with self._places:
            self.working += 1
            start = self._clock()
            try:
                yield
            finally:
                self.working -= 1
                self._remember(self._clock() - start)

    async def empty(self) -> None:
        """Return when nobody holds a seat."""
        await self._empty.wait()

    def _remember(self, seconds: float) -> None:
        known = self._mean_seconds > 0
        self._mean_seconds = _MEMORY * self._mean_seconds + (1 - _MEMORY) * seconds if known else seconds

    def _retry_after(self) -> float:
        """Whole seconds until those who wait now will have been served, as far as the past tells."""
        estimate = self._mean_seconds * (self.waiting + 1) / self._concurrency
        return float(min(_LONGEST_WAIT, max(1, math.ceil(estimate))))

"""CPU time of work that cannot be told apart, split evenly among those at work at the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self


class SharedTime:
    """Splits what a CPU clock says, while anything runs, among those that run at once.

    Args:
        threads: Time beyond what so many can use is somebody else's and not counted; None counts all.
        wall: A clock in seconds.
        cpu: What is split, in CPU-seconds.
    """

    def __init__(
        self,
        threads: int | None,
        *,
        wall: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self._threads = threads
        self._wall = wall
        self._cpu = cpu
        self._lock = threading.Lock()
        self._running = 0
        self._share = 0.0  # CPU-seconds of somebody who runs all the time
        self._total = 0.0
        self._last = (0.0, 0.0)

    def share(self) -> Share:
        """A context that measures one participant's CPU-seconds."""
        return Share(self)

    def change(self, by: int = 0) -> float:
        """Let one come or go; the running total of a participant's share."""
        with self._lock:
            wall, cpu = self._wall(), self._cpu()
            if self._running:
                spent = cpu - self._last[1]
                if self._threads is not None:
                    spent = min(spent, (wall - self._last[0]) * self._threads)
                self._share += spent / self._running
                self._total += spent
            self._last = (wall, cpu)
            self._running += by
            return self._share

    def total(self) -> float:
        """CPU-seconds that were split so far, among all."""
        self.change()
        return self._total


class Share:
    """One participant's CPU-seconds, known after leaving."""

    def __init__(self, shared: SharedTime) -> None:
        self._shared = shared
        self._start = 0.0
        self._over = False
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._start = self._shared.change(+1)
        return self

    def so_far(self) -> float:
        """Its CPU-seconds up to now."""
        return self.seconds if self._over else self._shared.change() - self._start

    def __exit__(self, *_: object) -> None:
        self.seconds, self._over = self._shared.change(-1) - self._start, True

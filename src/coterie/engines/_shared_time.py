"""CPU time of work that runs side by side in one native library, split among those that asked for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self


class SharedTime:
    """Splits the CPU time of this process, while anything runs, among those that run at once.

    Time beyond what `threads` can use is somebody else's and not counted.
    """

    def __init__(
        self,
        threads: int,
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
        self._last = (0.0, 0.0)

    def share(self) -> Share:
        """A context that measures one participant's CPU-seconds."""
        return Share(self)

    def change(self, by: int) -> float:
        """Let one come or go; the running total of a participant's share."""
        with self._lock:
            wall, cpu = self._wall(), self._cpu()
            if self._running:
                spent = min(cpu - self._last[1], (wall - self._last[0]) * self._threads)
                self._share += spent / self._running
            self._last = (wall, cpu)
            self._running += by
            return self._share


class Share:
    """One participant's CPU-seconds, known after leaving."""

    def __init__(self, shared: SharedTime) -> None:
        self._shared = shared
        self._start = 0.0
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._start = self._shared.change(+1)
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = self._shared.change(-1) - self._start

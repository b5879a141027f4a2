"""Where this process' CPU time goes: each second is claimed by one step, or is the network's own.

Three clocks, none of which counts a second twice. A `Stretch` is Python code in one thread, by that thread's clock. A
native library's own threads are told apart by the name that they are born with (`NativeThreads`). The rest
(`CpuTime.rest`: event loop, HTTP, JSON, SQLite) is what the process took and nobody claims. It knows neither joules
nor money.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from coterie.types import Usage

_TASKS = Path("/proc/self/task")
_LONGEST_NAME = 15
"""Bytes of a thread's name that Linux keeps."""


def thread_seconds(tid: int) -> float | None:
    """CPU-seconds of one of this process' threads by its kernel id; None where that cannot be read, or it has ended.

    Linux packs the id into a clock's number: see `CPUCLOCK_PERTHREAD_MASK` in its `posix-timers_types.h`, which is
    what `pthread_getcpuclockid` computes too, and cannot for a thread that has ended.
    """
    if sys.platform != "linux":
        return None
    try:
        return time.clock_gettime((~tid << 3) | 6)
    except OSError:
        return None


class CpuTime:
    """What of a process' CPU time is claimed. There is one a process: `CPU`."""

    def __init__(self, process: Callable[[], float] = time.process_time) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._claimed = 0.0
        self._open: dict[int, float] = {}  # by thread, where its clock stood when its outermost stretch began
        self._sources: list[Callable[[], float]] = []

    def rest(self) -> float:
        """CPU-seconds so far that nobody claims; those of work in progress count as claimed where they can be read."""
        with self._lock:
            claimed = self._claimed + sum(source() for source in self._sources)
            for tid, start in self._open.items():
                now = thread_seconds(tid)
                claimed += 0.0 if now is None else now - start
            return self._process() - claimed

    def add(self, source: Callable[[], float]) -> Callable[[], None]:
        """Count what a native library's clock says as claimed; call what is given back when it has ended."""
        with self._lock:
            self._sources.append(source)

        def end() -> None:
            with self._lock:
                if source in self._sources:
                    self._sources.remove(source)
                    self._claimed += source()

        return end

    def begin(self, tid: int, start: float) -> None:
        """A thread's outermost stretch begins."""
        with self._lock:
            self._open[tid] = start

    def end(self, tid: int, seconds: float) -> None:
        """It has ended and took so long."""
        with self._lock:
            self._open.pop(tid, None)
            self._claimed += seconds

    @property
    def claimed(self) -> float:
        """CPU-seconds of all spans that have ended."""
        return self._claimed

    def claim(self, seconds: float) -> None:
        """Something that was not announced took so long."""
        with self._lock:
            self._claimed += seconds


CPU = CpuTime()
"""This process'."""


class CpuSpan:
    """Code that runs in one thread from beginning to end: what it took, without what stretches inside it took.

    It must not wait for the event loop: whatever ran meanwhile would be counted for it.
    """

    def __init__(self) -> None:
        self.cpu_seconds = 0.0
        self.milliseconds = 0.0
        self._inside = 0.0

    @property
    def usage(self) -> Usage:
        """What it took, once it has ended."""
        return Usage(milliseconds=self.milliseconds, cpu_seconds=self.cpu_seconds)

    def __enter__(self) -> Self:
        self._outer: CpuSpan | None = getattr(_innermost, "stretch", None)
        _innermost.stretch = self
        self._wall, self._cpu = time.perf_counter(), time.thread_time()
        if self._outer is None:
            CPU.begin(threading.get_native_id(), self._cpu)
        return self

    def __exit__(self, *_: object) -> None:
        took = time.thread_time() - self._cpu
        self.milliseconds = (time.perf_counter() - self._wall) * 1000
        self.cpu_seconds = took - self._inside
        _innermost.stretch = self._outer
        if self._outer is None:
            CPU.end(threading.get_native_id(), took)
        else:
            self._outer._inside += took  # noqa: SLF001 - one of its own


_innermost = threading.local()
_MEASURED = 16
"""Of so many short spans of one kind one is measured."""
_MEMORY = 0.9
"""Weight of the past in what one is expected to take."""


class ShortSpans:
    """Spans of one kind that take a fraction of a millisecond each: one in 16 is measured, the rest reckoned by it.

    Reading a thread's CPU clock twice would take as long as the work: see `SharedTime`.
    """

    def __init__(self) -> None:
        self._count = 0
        self._each: float | None = None  # CPU-seconds a unit of size

    def span(self, size: float = 1.0) -> ShortSpan:
        """A span of so much of what its time grows with."""
        self._count += 1
        measured = self._each is None or self._count % _MEASURED == 0
        return ShortSpan(self, size, CpuSpan() if measured else None)

    def expect(self, size: float) -> float:
        """CPU-seconds that a span of this size takes."""
        return (self._each or 0.0) * size

    def learn(self, size: float, seconds: float) -> None:
        """One was measured."""
        each = seconds / size
        self._each = each if self._each is None else _MEMORY * self._each + (1 - _MEMORY) * each


class ShortSpan:
    """One of them."""

    def __init__(self, kind: ShortSpans, size: float, measured: CpuSpan | None) -> None:
        self._kind, self._size, self._measured = kind, size, measured
        self.usage = Usage()
        """What it took, once it has ended."""

    def __enter__(self) -> Self:
        self._wall = time.perf_counter()
        if self._measured is not None:
            self._measured.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._measured is not None:
            self._measured.__exit__()
            self.usage = self._measured.usage
            self._kind.learn(self._size, self.usage.cpu_seconds)
            return
        passed = time.perf_counter() - self._wall
        seconds = min(self._kind.expect(self._size), passed)
        self.usage = Usage(milliseconds=passed * 1000, cpu_seconds=seconds)
        outer: CpuSpan | None = getattr(_innermost, "stretch", None)
        if outer is None:
            CPU.claim(seconds)
        else:
            outer._inside += seconds  # noqa: SLF001 - as `CpuSpan` does


class NativeThreads:
    """The threads that a library starts by itself: they and theirs are born with the name of who started them."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()[:_LONGEST_NAME].decode(errors="ignore")
        self._mine: dict[int, float] = {}
        self._others: set[int] = set()
        self._ended = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def born(self) -> Iterator[None]:
        """Threads that are started inside, and by these later on, are counted. Does nothing off Linux."""
        place = _TASKS / str(threading.get_native_id()) / "comm"
        before = ""
        with suppress(OSError):
            before = place.read_text(encoding="utf-8").strip()
            place.write_text(self._name, encoding="utf-8")
        try:
            yield
        finally:
            with suppress(OSError):
                place.write_text(before, encoding="utf-8")

    def seconds(self) -> float | None:
        """CPU-seconds of all of them so far; never falls. None where threads have no names."""
        if not _TASKS.is_dir():
            return None
        with self._lock:
            alive = {int(entry) for entry in os.listdir(_TASKS)}  # noqa: PTH208 - ten times as fast
            self._others &= alive
            for tid in alive - self._others - self._mine.keys():
                self._meet(tid)
            for tid in list(self._mine):
                now = thread_seconds(tid)
                if now is None:
                    self._ended += self._mine.pop(tid)
                else:
                    self._mine[tid] = now
            return self._ended + sum(self._mine.values())

    def _meet(self, tid: int) -> None:
        with suppress(OSError):  # it has ended already
            if (_TASKS / str(tid) / "comm").read_text(encoding="utf-8").strip() == self._name:
                self._mine[tid] = 0.0
            else:
                self._others.add(tid)


# --- CPU time of work that cannot be told apart, split evenly among those at work at the time.


class SharedTime:
    """Splits what a CPU clock says, while anything runs, among those that run at once.

    Reading a CPU clock is dear where several threads run: the system stops to add up what each took, some 30 to 100
    microseconds, and often lets another thread run then. So it may be read once in a while: what is said in between
    goes on at the pace of the last look, and the next look puts it right.

    Args:
        threads: Time beyond what so many can use is somebody else's and not counted; None counts all.
        wall: A clock in seconds.
        cpu: What is split, in CPU-seconds.
        every: Seconds between two looks at that clock; 0 looks each time. Of a while in which somebody ran at times
            only, no more is counted than one core can have done in that time.
    """

    def __init__(
        self,
        threads: int | None,
        *,
        wall: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.process_time,
        every: float = 0.0,
    ) -> None:
        self._threads = threads
        self._wall = wall
        self._cpu = cpu
        self._every = every
        self._lock = threading.Lock()
        self._running = 0
        self._share = 0.0  # CPU-seconds of somebody who runs all the time
        self._total = 0.0
        self._last = (0.0, 0.0)
        self._seen = 0.0  # when somebody last came or went
        self._busy = self._area = 0.0  # since the last look: seconds with anybody, and those of all together
        self._pace: float | None = None  # CPU-seconds a second of one of them, at the last look

    def share(self) -> CpuShare:
        """A context that measures one participant's CPU-seconds."""
        return CpuShare(self)

    def change(self, by: int = 0) -> float:
        """Let one come or go; the running total of a participant's share."""
        with self._lock:
            wall = self._wall()
            if not self._every:
                self._look(wall)
            else:
                self._busy += wall - self._seen if self._running else 0.0
                self._area += (wall - self._seen) * self._running
                self._seen = wall
                if self._pace is None or wall - self._last[0] >= self._every:
                    self._look_back(wall)
            self._running += by
            return self._share + (self._pace or 0.0) * self._busy

    def _look(self, wall: float) -> None:
        """Split what was spent since the last change among those who have run since."""
        cpu = self._cpu()
        if self._running:
            spent = cpu - self._last[1]
            if self._threads is not None:
                spent = min(spent, (wall - self._last[0]) * self._threads)
            self._share += spent / self._running
            self._total += spent
        self._last = (wall, cpu)

    def _look_back(self, wall: float) -> None:
        """Split what was spent since the last look by how long each ran."""
        cpu = self._cpu()
        if self._area:
            spent = cpu - self._last[1]
            most = self._busy if self._busy < wall - self._last[0] else self._busy * (self._threads or math.inf)
            spent = min(spent, most)
            self._pace = spent / self._area
            self._share += self._pace * self._busy
            self._total += spent
        self._busy = self._area = 0.0
        self._last = (wall, cpu)

    def total(self) -> float:
        """CPU-seconds that were split so far, among all."""
        self.change()
        return self.known

    @property
    def known(self) -> float:
        """The same up to the last change."""
        return self._total + (self._pace or 0.0) * self._area

    @property
    def running(self) -> int:
        """How many run."""
        return self._running


class CpuShare:
    """One participant's CPU-seconds, known after leaving."""

    def __init__(self, shared: SharedTime) -> None:
        self._shared = shared
        self._start = 0.0
        self._over = False
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._start = self._shared.change(+1)
        return self

    @property
    def start(self) -> float:
        """What somebody who always ran had by the time that it began."""
        return self._start

    def so_far(self) -> float:
        """Its CPU-seconds up to now."""
        return self.seconds if self._over else self._shared.change() - self._start

    def __exit__(self, *_: object) -> None:
        self.seconds, self._over = self._shared.change(-1) - self._start, True

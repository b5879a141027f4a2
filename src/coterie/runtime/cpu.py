"""Account for this process' CPU time: each second is claimed by one step, or belongs to the network itself.

Three clocks are used, and none of them counts a second twice. A `Stretch` is Python code in one thread, measured
by that thread's clock. The own threads of a native library are recognised by the name that they are started with
(`NativeThreads`). The rest (`CpuTime.rest`: event loop, HTTP, JSON, SQLite) is what the process used and no step
claims. This module knows neither joules nor money.
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
from typing import Self, TypeVar

from coterie.types import Usage

T = TypeVar("T")
_TASKS = Path("/proc/self/task")
_LONGEST_NAME = 15
"""Bytes of a thread's name that Linux keeps."""


def thread_seconds(tid: int) -> float | None:
    """Return the CPU-seconds of one of this process' threads by its kernel id.

    Returns None where the clock cannot be read, or where the thread has ended. Linux packs the id into a clock's
    number: see `CPUCLOCK_PERTHREAD_MASK` in its `posix-timers_types.h`. `pthread_getcpuclockid` computes the same
    number, but cannot do so for a thread that has ended.
    """
    if sys.platform != "linux":
        return None
    try:
        return time.clock_gettime((~tid << 3) | 6)
    except OSError:
        return None


class CpuTime:
    """Tracks which part of the process' CPU time is claimed. There is one per process: `CPU`."""

    def __init__(self, process: Callable[[], float] = time.process_time) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._claimed = 0.0
        self._open: dict[int, float] = {}  # by thread, where its clock stood when its outermost stretch began
        self._sources: list[Callable[[], float]] = []

    def rest(self) -> float:
        """Return the CPU-seconds so far that no step claims.

        CPU-seconds of work in progress count as claimed where they can be read.
        """
        with self._lock:
            claimed = self._claimed + sum(source() for source in self._sources)
            for tid, start in self._open.items():
                now = thread_seconds(tid)
                claimed += 0.0 if now is None else now - start
            return self._process() - claimed

    def add(self, source: Callable[[], float]) -> Callable[[], None]:
        """Count a native library's clock as claimed, and return a function to call when its work ends."""
        with self._lock:
            self._sources.append(source)

        def end() -> None:
            with self._lock:
                if source in self._sources:
                    self._sources.remove(source)
                    self._claimed += source()

        return end

    def begin(self, tid: int, start: float) -> None:
        """Note that a thread's outermost stretch begins."""
        with self._lock:
            self._open[tid] = start

    def end(self, tid: int, seconds: float) -> None:
        """Note that a thread's outermost stretch has ended, and claim its CPU-seconds."""
        with self._lock:
            self._open.pop(tid, None)
            self._claimed += seconds

    @property
    def claimed(self) -> float:
        """CPU-seconds of all spans that have ended."""
        return self._claimed

    def claim(self, seconds: float) -> None:
        """Claim CPU-seconds of work that was not announced with `begin`."""
        with self._lock:
            self._claimed += seconds


CPU = CpuTime()
"""The CPU time of this process."""


class CpuSpan:
    """Measures code that runs in one thread from beginning to end, without the stretches inside it.

    The code must not wait for the event loop: all code that ran meanwhile would be counted as its own.
    """

    def __init__(self) -> None:
        self.cpu_seconds = 0.0
        self.milliseconds = 0.0
        self._inside = 0.0

    @property
    def usage(self) -> Usage:
        """The usage of the span, once it has ended."""
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


def timed(work: Callable[..., T], *arguments: object) -> tuple[T, Usage]:
    """Run work of one thread, and return its result and its usage."""
    with CpuSpan() as took:
        result = work(*arguments)
    return result, took.usage


_innermost = threading.local()
_MEASURED = 16
"""One in this many short spans of a kind is measured."""
_MEMORY = 0.9
"""Weight of earlier measurements in the expected CPU time of a short span."""


class ShortSpans:
    """Spans of one kind that take a fraction of a millisecond each: one in 16 is measured, the rest is estimated.

    Reading a thread's CPU clock twice would take as long as the work: see `SharedTime`.
    """

    def __init__(self) -> None:
        self._count = 0
        self._each: float | None = None  # CPU-seconds a unit of size

    def span(self, size: float = 1.0) -> ShortSpan:
        """Return a span of a given size. Its CPU time is expected to grow in proportion to the size."""
        self._count += 1
        measured = self._each is None or self._count % _MEASURED == 0
        return ShortSpan(self, size, CpuSpan() if measured else None)

    def expect(self, size: float) -> float:
        """Return the CPU-seconds that a span of this size is expected to take."""
        return (self._each or 0.0) * size

    def learn(self, size: float, seconds: float) -> None:
        """Update the estimate with a measured span."""
        seconds_each = seconds / size
        self._each = seconds_each if self._each is None else _MEMORY * self._each + (1 - _MEMORY) * seconds_each


class ShortSpan:
    """One span of a `ShortSpans`."""

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
    """The threads that a library starts by itself.

    These threads, and the threads that they start, are recognised by the name of the thread that started them.
    """

    def __init__(self, name: str) -> None:
        self._name = name.encode()[:_LONGEST_NAME].decode(errors="ignore")
        self._mine: dict[int, float] = {}
        self._others: set[int] = set()
        self._ended = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def born(self) -> Iterator[None]:
        """Count threads started inside the block, and those that they start later. Does nothing off Linux."""
        path = _TASKS / str(threading.get_native_id()) / "comm"
        before = ""
        with suppress(OSError):
            before = path.read_text(encoding="utf-8").strip()
            path.write_text(self._name, encoding="utf-8")
        try:
            yield
        finally:
            with suppress(OSError):
                path.write_text(before, encoding="utf-8")

    def seconds(self) -> float | None:
        """Return the CPU-seconds of all counted threads so far, which never fall; None where threads have no names."""
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
    """Splits the time of a CPU clock among the participants that run at the same time.

    Reading a CPU clock is expensive where several threads run: the system interrupts them to add up what each used,
    some 30 to 100 microseconds, and often lets another thread run then. So the clock may be read only now and then:
    in between, the time is extrapolated at the pace of the last reading, and the next reading corrects it.

    Args:
        threads: Time beyond what this many threads can use belongs to other work and is not counted; None counts all.
        wall: A clock in seconds.
        cpu: The clock to split, in CPU-seconds.
        every: Seconds between two readings of that clock; 0 reads it each time. For an interval in which a
            participant ran only part of the time, no more is counted than one core can have done in that time.
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
        """Return a context that measures one participant's CPU-seconds."""
        return CpuShare(self)

    def change(self, by: int = 0) -> float:
        """Add or remove `by` participants, and return the running total of one participant's share."""
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
        """Split the time spent since the last change equally among the participants that have run since."""
        cpu = self._cpu()
        if self._running:
            spent = cpu - self._last[1]
            if self._threads is not None:
                spent = min(spent, (wall - self._last[0]) * self._threads)
            self._share += spent / self._running
            self._total += spent
        self._last = (wall, cpu)

    def _look_back(self, wall: float) -> None:
        """Split the time spent since the last reading by how long each participant ran."""
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
        """Return the CPU-seconds that were split so far, of all participants together."""
        self.change()
        return self.known

    @property
    def known(self) -> float:
        """The CPU-seconds that were split up to the last change."""
        return self._total + (self._pace or 0.0) * self._area

    @property
    def running(self) -> int:
        """The number of running participants."""
        return self._running


class CpuShare:
    """One participant's CPU-seconds, known once it has left."""

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
        """The share, at the time this participant began, of a participant that has always been running."""
        return self._start

    def so_far(self) -> float:
        """Return the participant's CPU-seconds up to now."""
        return self.seconds if self._over else self._shared.change() - self._start

    def __exit__(self, *_: object) -> None:
        self.seconds, self._over = self._shared.change(-1) - self._start, True

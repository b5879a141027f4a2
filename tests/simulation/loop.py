"""An event loop without wall clock, network and threads of its own: one seed decides everything that happens in it.

Time stands until nothing is left to do; then it jumps to the next timer. Work for a thread runs in the loop's own
thread, after a drawn delay. What runs in a thread that the loop did not start (the store's writer) is waited for
before anything else happens. So a run depends on its seed alone, an hour of waiting takes no time, and a network that
waits for what cannot come is found at once.
"""

from __future__ import annotations

import asyncio
import io
import random
import selectors
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from coterie.testing import FakeClock

T = TypeVar("T")

_LONGEST = 60.0
"""Real seconds after which a thread that should answer has hung."""
_SHORT = 0.1
"""Real seconds for which a thread is waited for that may have nothing to do."""
_DELAYS = (0.0, 0.0, 0.0001, 0.002, 0.03)
"""Seconds that work for a thread may wait for it."""


class Stalled(AssertionError):
    """Something waits, and nothing is left that could wake it."""


def shown(tasks: Iterable[asyncio.Task[Any]]) -> str:
    """Where some tasks wait."""
    places = io.StringIO()
    for task in tasks:
        task.print_stack(file=places)
    return places.getvalue()


class SimulatedLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self, draw: random.Random, clock: FakeClock) -> None:
        self.clock, self._start, self._now, self._ahead = clock, clock.now, 0.0, 0.0
        self._draw = draw
        self._main = threading.get_ident()
        self._inbox: deque[Callable[[], object]] = deque()
        self._arrived = threading.Event()
        self._due = self._outside = 0
        self._pools: dict[int, float] = {}
        super().__init__(_Nothing(self))

    def time(self) -> float:
        """Seconds since the simulation began: asyncio adds nanoseconds to it, which since the epoch would be lost."""
        return self._now

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Run it here, later; what is given to one pool runs in the order in which it was given."""
        future = self.create_future()
        when = self.time() + self.delay()
        if executor is not None:
            when = self._pools[id(executor)] = max(when, self._pools.get(id(executor), 0.0) + 1e-6)
        self.call_at(when, self._run, future, func, *args)
        return future

    def delay(self) -> float:
        """Seconds that work for a thread waits for it."""
        return self._draw.choice(_DELAYS)

    def _run(self, future: asyncio.Future[Any], func: Callable[..., Any], *args: Any) -> None:
        if future.cancelled() and self._draw.random() < 0.5:
            return  # it had not begun
        try:
            result = func(*args)
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits, as a pool does
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(result)

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.Handle:
        """Another thread's callbacks come in between two rounds of the loop, never within one."""
        if threading.get_ident() == self._main:
            return self.call_soon(callback, *args, context=context)
        self._inbox.append(lambda: self.call_soon(callback, *args, context=context))
        self._arrived.set()
        return asyncio.Handle(callback, args, self, context)

    async def outside(self, work: Awaitable[T], *, once: bool = True, put: bool = False) -> T:
        """Wait for a thread that the loop did not start; nothing else happens meanwhile.

        Args:
            work: What ends when the thread says so.
            once: The thread says so once; else it is asked several times.
            put: The work is put into a `TurnQueue`: the thread has it from the next turn on.
        """
        self._outside += not once
        if put:
            self.call_soon(self._expect)  # right before it is handed over
        else:
            self._due += once
        try:
            return await work
        finally:
            self._outside -= not once

    def _expect(self) -> None:
        self._due += 1

    def let_time_pass(self, timeout: float | None) -> None:
        """Between two rounds: wait for threads, else move the clock to the next timer."""
        while self._due and not self._inbox:
            if not self._arrived.wait(_LONGEST):
                raise Stalled("a thread does not answer")
            self._arrived.clear()
        if self._outside and timeout != 0 and not self._inbox:
            self._arrived.wait(_LONGEST if timeout is None else _SHORT)
        self._arrived.clear()
        if self._inbox:
            while self._inbox:
                self._inbox.popleft()()
                self._due = max(0, self._due - 1)
        elif timeout is None:
            raise Stalled(f"something waits for what cannot come: {shown(asyncio.all_tasks(self))}")
        elif timeout > 0:
            self.advance(timeout)

    def advance(self, seconds: float) -> None:
        """Move the loop's time, and the clock that shows it as seconds since the epoch."""
        self._now += seconds
        self.clock.now = self._start + self._now + self._ahead

    def jump(self, seconds: float) -> None:
        """Set the clock, forward or back, as an administrator or a time server does; no time passes."""
        self._ahead += seconds
        self.advance(0.0)


class _Nothing(selectors.SelectSelector):
    """Nothing ever comes from outside: there is only time."""

    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        """No event."""
        self._loop.let_time_pass(timeout)
        return []

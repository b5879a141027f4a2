"""Working side by side: no task left behind, work finished whoever waits for it; threads that stay on their core.

Only one thread at a time runs Python. A ledger's thread on a core of its own gains nothing by that while the event loop
waits for it: the core has to be woken, and what both work with moves from one core's caches to the other's, there and
back.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import queue
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

NO_CORE = -1
"""Where it is not known on which core a thread is."""


def _nowhere() -> int:
    return NO_CORE


_current_core: Callable[[], int] = _nowhere
if sys.platform == "linux":
    with suppress(AttributeError, OSError):  # a C library without it
        _current_core = ctypes.PyDLL(None).sched_getcpu  # `PyDLL` keeps the interpreter's lock: it takes no time


def follow(thread: int, core: int) -> int:
    """Move a thread of this process to the core of the calling one; return that core.

    Args:
        thread: Its native id.
        core: Where it is, from the last call, or `NO_CORE`.
    """
    here = _current_core()
    if here not in (core, NO_CORE):
        try:
            os.sched_setaffinity(thread, {here})
        except OSError:  # not allowed here: it stays where the system has it
            return core
    return here


def roam() -> None:
    """Let the calling thread run on each core that the process may use: a thread begins where its maker is kept."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setaffinity(0, os.sched_getaffinity(os.getpid()))


T = TypeVar("T")

AT_ONCE = 4_000
"""Characters that linear work is done with in the event loop: others wait for it, about five milliseconds at most."""


_LONG = 100_000
"""Characters from which work waits for one of few threads: shorter work neither waits for it nor fights with many."""
_long = ThreadPoolExecutor(max(2, os.cpu_count() or 1), thread_name_prefix="coterie-long")


class _Work(threading.local):
    """The work that a thread does for `aside`."""

    gone: threading.Event | None = None
    """Set once nobody waits for its result; None outside such work."""


_work = _Work()


class Abandoned(Exception):
    """Nobody waits for this work any more."""


async def aside(size: int, work: Callable[[], T]) -> T:
    """The result of work that goes once over `size` characters: of many in a thread, told to stop when cancelled.

    Only what calls `still_wanted` hears of that, so long work does between its steps.
    """
    if size <= AT_ONCE:
        return work()
    gone = threading.Event()

    def watched() -> T:
        _work.gone = gone
        try:
            return work()
        finally:
            _work.gone = None

    try:
        return await asyncio.get_running_loop().run_in_executor(_long if size >= _LONG else None, watched)
    except asyncio.CancelledError:
        gone.set()
        raise


def still_wanted() -> None:
    """Raise `Abandoned` where nobody waits any more for the work that this thread does."""
    if _work.gone is not None and _work.gone.is_set():
        raise Abandoned


async def side_by_side(work: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """All results, in order. The first failure ends the others and is raised. One alone needs no task."""
    coroutines = list(work)
    if len(coroutines) == 1:
        return [await coroutines[0]]
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel(tasks)


async def cancel(tasks: Sequence[asyncio.Task[T]]) -> None:
    """End what still runs and wait for it."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class UncancelledFuture(asyncio.Future[T]):
    """A result that another thread gives. A task that is cancelled while it waits for it hears of that afterwards.

    It is what `to_the_end` does, without a task and a second future, for what is under way already.
    """

    def cancel(self, msg: object = None) -> bool:  # noqa: ARG002 - as a future's
        """Say that it goes on: the task that waits notes that it was cancelled, and is woken by the result."""
        return False


class TurnQueue(Generic[T]):
    """A queue to a thread that works in batches. What is put within one turn of an event loop arrives in one piece.

    Several requests go on in one turn, as their texts were encoded together. A thread that is woken by the first of
    them would begin with that one alone, and wait for the interpreter's lock while the others are on their way.
    """

    def __init__(self, *, follow: Callable[[int, int], int] = follow) -> None:
        """Take what keeps a thread on the core of who hands over to it."""
        self.arrived: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        """For the thread; None is the word to end."""
        self._follow, self._reader, self._core = follow, 0, NO_CORE
        self._lock = threading.Lock()
        self._held: list[T] = []
        self._due: set[asyncio.AbstractEventLoop] = set()
        """Event loops that will hand over what is held."""

    def __len__(self) -> int:
        return len(self._held) + self.arrived.qsize()

    def read_by(self, thread: int) -> None:
        """Note the native id of the thread that takes what arrives: it is kept on the core of who hands over.

        0 while it does what takes long: then it is not moved to where the event loop goes to have a core of its own.
        """
        with self._lock:
            self._reader = thread

    def put(self, item: T, loop: asyncio.AbstractEventLoop) -> None:
        """Hand over an item once the running event loop has done all that it has to do in this turn."""
        with self._lock:
            self._held.append(item)
            if loop not in self._due:
                self._due.add(loop)
                loop.call_soon(self._hand_over, loop)

    def end(self) -> None:
        """Hand over what is held, and the word to end behind it."""
        self._hand_over(None)
        self.arrived.put(None)

    def _hand_over(self, loop: asyncio.AbstractEventLoop | None) -> None:
        with self._lock:
            if loop is not None:
                self._due.discard(loop)
                if self._reader:
                    self._core = self._follow(self._reader, self._core)
            for item in self._held:
                self.arrived.put(item)
            self._held.clear()


Undo = Callable[[T], Coroutine[object, object, object]]


async def to_the_end(work: Coroutine[object, object, T], *, undo: Undo[T] | None = None) -> T:
    """The result of work that is finished even if whoever waits for it is gone, however often they are cancelled.

    Args:
        work: What is done.
        undo: What is done with a result that nobody is left to take.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _abandoned(task, undo)
        raise


async def _abandoned(task: asyncio.Task[T], undo: Undo[T] | None) -> None:
    """Wait until a task has ended that nobody is left to hear of, and undo what it gave."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    if not task.cancelled() and task.exception() is None and undo is not None:
        await to_the_end(undo(task.result()))

"""Concurrent work: no task left behind, work finished even if its caller is cancelled, threads that stay on a core.

Only one thread at a time runs Python. A ledger's thread on a core of its own gains nothing while the event
loop waits for it: the core has to be woken, and shared data moves from one core's caches to the other's and
back.

`run` and `BackgroundLoop` are the bridge from synchronous code into the event loop, for commands, training and the
Python API.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import queue
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

NO_CORE = -1
"""The core of a thread, if it is not known."""


def _nowhere() -> int:
    return NO_CORE


_current_core: Callable[[], int] = _nowhere
if sys.platform == "linux":
    with suppress(AttributeError, OSError):  # a C library without it
        _current_core = ctypes.PyDLL(None).sched_getcpu  # `PyDLL` keeps the interpreter's lock: it takes no time


def follow(thread: int, core: int) -> int:
    """Move a thread of this process to the core of the calling one; return that core.

    Args:
        thread: The thread's native id.
        core: The thread's core, from the last call, or `NO_CORE`.
    """
    here = _current_core()
    if here not in (core, NO_CORE):
        try:
            os.sched_setaffinity(thread, {here})
        except OSError:  # not allowed here: it stays where the system has it
            return core
    return here


def roam() -> None:
    """Let the calling thread run on each core that the process may use: a thread inherits its creator's core."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setaffinity(0, os.sched_getaffinity(os.getpid()))


T = TypeVar("T")

AT_ONCE = 4_000
"""Most characters that linear work processes in the event loop: it blocks for about five milliseconds at most."""


_LONG = 100_000
"""Characters from which work waits for one of few threads: shorter work neither waits for it nor competes with it."""
_long = ThreadPoolExecutor(max(2, os.cpu_count() or 1), thread_name_prefix="coterie-long")


class _Work(threading.local):
    """The work that a thread does for `aside`."""

    gone: threading.Event | None = None
    """Set once nobody waits for the result; None outside such work."""


_work = _Work()


class Abandoned(Exception):
    """Nobody waits for this work any more."""


async def aside(size: int, work: Callable[[], T]) -> T:
    """Return the result of work that is linear in `size` characters: large work runs in a thread that can be stopped.

    Work stops on cancellation only if it calls `still_wanted`, so long work does that between its steps.
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
    """Raise `Abandoned` if nobody waits any more for this thread's work."""
    if _work.gone is not None and _work.gone.is_set():
        raise Abandoned


async def side_by_side(work: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """Return all results, in order. The first failure ends the others and is raised. A single item needs no task."""
    coroutines = list(work)
    if len(coroutines) == 1:
        return [await coroutines[0]]
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel(tasks)


async def cancel(tasks: Sequence[asyncio.Task[T]]) -> None:
    """Cancel running tasks and wait for them."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class UncancelledFuture(asyncio.Future[T]):
    """A result from another thread. A task that is cancelled while it waits gets the cancellation afterwards.

    It does the same as `to_the_end`, without a task and a second future, for work that is already under way.
    """

    def cancel(self, msg: object = None) -> bool:  # noqa: ARG002 - as a future's
        """Return False: the work goes on. The waiting task keeps its cancellation, and the result wakes it."""
        return False


class TurnQueue(Generic[T]):
    """A queue to a thread that works in batches. Items of one turn of an event loop arrive together.

    Several requests continue in one turn, as their texts were encoded together. A thread that is woken by the
    first item would begin with that one alone, and wait for the interpreter's lock while the others are on their
    way.
    """

    def __init__(self, *, follow: Callable[[int, int], int] = follow) -> None:
        """Take the function that keeps the reading thread on the writer's core."""
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
        """Set the native id of the thread that reads the queue: it is kept on the writer's core.

        Use 0 during long work: the thread then keeps its own core.
        """
        with self._lock:
            self._reader = thread

    def put(self, item: T, loop: asyncio.AbstractEventLoop) -> None:
        """Hand over an item once the running event loop has finished this turn."""
        with self._lock:
            self._held.append(item)
            if loop not in self._due:
                self._due.add(loop)
                loop.call_soon(self._hand_over, loop)

    def end(self) -> None:
        """Hand over held items, followed by None, which ends the reader."""
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
    """Run work to its end, even if the awaiting task is cancelled, and return its result.

    The work is finished however often the awaiting task is cancelled.

    Args:
        work: The coroutine to run.
        undo: Called with the result when no caller is left to take it.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _abandoned(task, undo)
        raise


async def _abandoned(task: asyncio.Task[T], undo: Undo[T] | None) -> None:
    """Wait until the task of a cancelled caller has ended, and undo its result."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    if not task.cancelled() and task.exception() is None and undo is not None:
        await to_the_end(undo(task.result()))


_END: Final = object()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, even if an event loop is already running, as in a notebook.

    Ctrl-C cancels it and lets it clean up.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    loop = BackgroundLoop()
    try:
        return loop.run(work)
    finally:
        loop.close()


class BackgroundLoop:
    """An event loop in its own thread, for work that outlives one call: the synchronous twin of an asynchronous object.

    Context variables of the caller apply in the work.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="coterie-loop", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of a coroutine; any interruption of the wait, such as Ctrl-C, cancels it."""
        if self.closed:
            work.close()
            raise RuntimeError("It is closed; open it again.")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, events: AsyncGenerator[T]) -> Iterator[T]:
        """Yield the items of an asynchronous generator as they arrive. Closing the iterator closes the generator first.

        One task runs the whole generator: what it opens it closes in the same context.
        """
        items: SimpleQueue[Any] = SimpleQueue()

        async def pump() -> None:
            try:
                async with aclosing(events):
                    async for event in events:
                        items.put(event)
            finally:
                items.put(_END)

        future = asyncio.run_coroutine_threadsafe(pump(), self._loop)
        item: Any = None
        try:
            while (item := items.get()) is not _END:
                yield item
            future.result()
        finally:
            if item is not _END:
                future.cancel()
                while items.get() is not _END:
                    pass

    @property
    def closed(self) -> bool:
        """Whether the loop has stopped."""
        return self._loop.is_closed()

    def close(self) -> None:
        """Cancel running work, wait for its end and stop the loop."""
        if self.closed:
            return
        asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    """Cancel every other task, close abandoned generators and the pool of threads."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()

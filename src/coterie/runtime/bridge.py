"""The bridge from synchronous code into the event loop, for commands, training and the Python API."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import aclosing
from queue import SimpleQueue
from typing import Any, Final, TypeVar

T = TypeVar("T")

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

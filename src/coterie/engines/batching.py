"""A bounded queue before native code, processed in batches by dedicated threads.

A worker that becomes free takes everything that waits as its next batch, so nothing is delayed to let a
batch grow: a single request starts at once; under load, batches grow by themselves. The queue belongs
to threads and not to an event loop, so one engine serves callers of any loop.

The module knows nothing of engines: items go in, results come out.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from coterie.errors import CoterieError, EngineBroken, EngineUnavailable, Overloaded

T = TypeVar("T")
R = TypeVar("R")

Work = Callable[[Sequence[T]], Sequence[R]]
"""Computes one result per item of a batch, in order. Called in a worker thread."""

Then = Callable[[Sequence[R], int], None]
"""Called in a worker thread with the results of a batch before they are returned, and with the queue's length."""

Choose = Callable[[Sequence[T]], int]
"""Returns which of the waiting items, the oldest first, is next. It must be fast: the queue is locked."""

_MOST_OVERTAKES = 16
"""Items that may overtake an item that came earlier."""
_EXIT_PATIENCE = 5.0
"""Seconds that an exiting interpreter waits for a worker inside native code."""


class Batcher(Generic[T, R]):
    """Runs `work` on batches of items from many callers.

    A batch that fails is repeated item by item, so that only the callers of the failing items get
    the error. A caller that is cancelled removes its waiting items from the queue.
    """

    def __init__(
        self,
        work: Work[T, R],
        *,
        engine: str,
        max_batch: int = 32,
        max_waiting: int = 256,
        workers: int = 1,
        choose: Choose[T] | None = None,
        then: Then[R] | None = None,
    ) -> None:
        """Make a batcher; its threads start with the first items.

        Args:
            work: Processes a batch.
            engine: Name of the engine in errors.
            max_batch: Most items of a batch.
            max_waiting: Items that may wait for a worker.
            workers: Number of threads.
            choose: Chooses the next item, none before more than 16 others; by default the oldest comes first.
            then: Called with the results of a batch; it raises nothing.
        """
        self._engine = engine
        self._max_waiting = max_waiting
        self._queue: _Queue[T, R] = _Queue(engine, work, max_batch, choose, then)
        self._workers = workers
        # Runs when the batcher is dropped and, at the latest, before the interpreter goes down.
        weakref.finalize(self, _abandon, self._queue)

    @property
    def waiting(self) -> int:
        """Items that no worker has taken yet."""
        return len(self._queue.jobs)

    async def run(self, items: Sequence[T]) -> list[R]:
        """Return one result per item, in order. Either all items are admitted or none.

        Raises:
            Overloaded: there is no room in the queue. A call alone is always admitted, whatever its size.
            EngineUnavailable: the batcher is closed.
            EngineBroken: `work` raised something that is not a `CoterieError`.
        """
        loop = asyncio.get_running_loop()
        jobs = self._admit(items, loop)
        try:
            if len(jobs) == 1:
                return [await jobs[0].future]
            return list(await asyncio.gather(*(job.future for job in jobs)))
        finally:
            for job in jobs:
                job.gone = True
                if not loop.is_closed():  # an abandoned coroutine may end after its loop
                    job.future.cancel()  # does nothing to those that are done

    async def close(self) -> None:
        """Refuse new items, finish the waiting ones, and end the threads."""
        self._queue.close()
        for thread in self._queue.threads:
            await asyncio.to_thread(thread.join)

    def _admit(self, items: Sequence[T], loop: asyncio.AbstractEventLoop) -> list[_Job[T, R]]:
        queue = self._queue
        jobs: list[_Job[T, R]] = [_Job(item=item, loop=loop, future=loop.create_future()) for item in items]
        with queue.changed:
            if queue.closed:
                raise EngineUnavailable(f"Engine {self._engine!r} is closed.", engine=self._engine)
            if queue.jobs and len(queue.jobs) + len(jobs) > self._max_waiting:
                raise Overloaded(
                    f"Engine {self._engine!r} has {len(queue.jobs)} requests waiting; "
                    f"{len(jobs)} more exceed its limit of {self._max_waiting}."
                )
            queue.jobs.extend(jobs)
            queue.start(self._workers)
            queue.changed.notify(len(jobs))
        return jobs


@dataclass(kw_only=True, eq=False)
class _Job(Generic[T, R]):
    item: T
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[R]
    """Future of the caller's event loop, which is not touched from another thread."""
    gone: bool = False
    """Whether the caller no longer waits."""
    overtaken: int = 0


_Ended = tuple[_Job[T, R], R | None, BaseException | None]
"""A job, its result, or the reason why there is none."""


class _Queue(Generic[T, R]):
    """The state of the worker threads: it has no reference to the batcher, so that a dropped batcher ends them."""

    def __init__(
        self, engine: str, work: Work[T, R], max_batch: int, choose: Choose[T] | None, then: Then[R] | None
    ) -> None:
        self.engine = engine
        self.work = work
        self.max_batch = max_batch
        self.choose, self.then = choose, then
        self.jobs: deque[_Job[T, R]] = deque()
        self.changed = threading.Condition()
        self.closed = False
        self.threads: list[threading.Thread] = []

    def start(self, workers: int) -> None:
        """Start the threads at the first use. They are daemons: an idle thread must not keep the interpreter alive."""
        while len(self.threads) < workers:
            name = f"coterie-{self.engine}-{len(self.threads)}"
            thread = threading.Thread(target=self._serve, name=name, daemon=True)
            self.threads.append(thread)
            thread.start()

    def close(self, *, drop: bool = False) -> None:
        """Let the workers end: after the waiting items, or at once with `drop`."""
        with self.changed:
            self.closed = True
            while drop and self.jobs:
                _tell([(self.jobs.popleft(), None, asyncio.CancelledError())])
            self.changed.notify_all()

    def _serve(self) -> None:
        while batch := self._take():
            self._attempt(batch)
            del batch  # keeps nothing of it alive while waiting for the next

    def _take(self) -> list[_Job[T, R]]:
        """Wait for the next batch and return it; empty when closed and drained."""
        with self.changed:
            while True:
                batch: list[_Job[T, R]] = []
                while self.jobs and len(batch) < self.max_batch:
                    job = self._next()
                    if not job.gone:
                        batch.append(job)
                if batch or self.closed:
                    return batch
                self.changed.wait()

    def _next(self) -> _Job[T, R]:
        """Take a job from the queue: the chosen one, or the oldest one when it was overtaken often enough."""
        oldest = self.jobs[0]
        if self.choose is None or oldest.overtaken >= _MOST_OVERTAKES:
            return self.jobs.popleft()
        at = self.choose([job.item for job in self.jobs])
        job = self.jobs[at]
        del self.jobs[at]
        oldest.overtaken += job is not oldest
        return job

    def _attempt(self, batch: Sequence[_Job[T, R]]) -> None:
        try:
            results = self._results(batch)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the callers, not to this thread
            if len(batch) > 1:
                for job in batch:
                    self._attempt([job])
            else:
                _tell([(batch[0], None, self._mapped(error))])
        else:
            if self.then is not None:
                self.then(results, len(self.jobs))
            _tell([(job, result, None) for job, result in zip(batch, results, strict=True)])

    def _results(self, batch: Sequence[_Job[T, R]]) -> Sequence[R]:
        results = self.work([job.item for job in batch])
        if len(results) != len(batch):
            raise EngineBroken(
                f"Engine {self.engine!r} gave {len(results)} results for {len(batch)} inputs.", engine=self.engine
            )
        return results

    def _mapped(self, error: BaseException) -> CoterieError:
        if isinstance(error, CoterieError):
            return error
        broken = EngineBroken(f"Engine {self.engine!r} failed with {type(error).__name__}: {error}", engine=self.engine)
        broken.__cause__ = error
        return broken


def _tell(ended: Sequence[_Ended[T, R]]) -> None:
    """Deliver results to the callers: one wake-up of each event loop for a whole batch."""
    for loop in {job.loop for job, *_ in ended}:
        own = [item for item in ended if item[0].loop is loop]
        with suppress(RuntimeError):  # it is closed: nobody waits there any more
            loop.call_soon_threadsafe(_settle, own)


def _settle(ended: Sequence[_Ended[T, R]]) -> None:
    for job, result, error in ended:
        if job.future.done():
            continue
        if isinstance(error, asyncio.CancelledError):
            job.future.cancel()
        elif error is not None:
            job.future.set_exception(error)
        else:
            job.future.set_result(result)  # type: ignore[arg-type]  # a result that is None is one


def _abandon(queue: _Queue[T, R]) -> None:
    """End the workers of a batcher that was not closed; at interpreter exit, wait until they left native code."""
    queue.close(drop=True)
    if not threading.main_thread().is_alive():
        for thread in queue.threads:
            thread.join(_EXIT_PATIENCE)

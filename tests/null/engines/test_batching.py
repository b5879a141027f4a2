import asyncio
import subprocess
import sys
import threading

import pytest

from coterie.engines.batching import Batcher
from coterie.errors import ArtefactRefused, EngineBroken, EngineUnavailable, Overloaded


class Gate:
    """Work that records its batches and can be held at the door."""

    def __init__(self):
        self.batches = []
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()

    def __call__(self, items):
        """Work off a batch once the gate is open."""
        self.entered.set()
        assert self.open.wait(5)
        self.batches.append(list(items))
        for item in items:
            if item == "bad":
                raise ValueError("bad item")
            if item == "refused":
                raise ArtefactRefused("refused item")
        return [item * 2 for item in items]

    async def hold(self, batcher, item=0):
        """A call that is inside the work and stays there until the gate opens."""
        self.open.clear()
        self.entered.clear()
        task = asyncio.create_task(batcher.run([item]))
        await asyncio.to_thread(self.entered.wait, 5)
        return task


@pytest.fixture
async def gate():
    """Open work that takes note."""
    return Gate()


@pytest.fixture
async def batcher(gate):
    """A batcher of four at a time, six waiting."""
    batcher = Batcher(gate, engine="e", max_batch=4, max_waiting=6)
    yield batcher
    gate.open.set()
    await batcher.close()


async def test_results_in_order(batcher):
    """A call gets one result an item, in the order of its items."""
    assert await batcher.run([3, 1, 2]) == [6, 2, 4]


async def test_nothing(batcher, gate):
    """An empty call returns at once and runs nothing."""
    assert await batcher.run([]) == []
    assert gate.batches == []


async def test_batches_what_waits(batcher, gate):
    """What arrived while the worker was busy is run as one native call, at most `max_batch` items of it."""
    first = await gate.hold(batcher)
    calls = [asyncio.create_task(batcher.run([n])) for n in range(1, 7)]
    await asyncio.sleep(0)
    gate.open.set()
    assert await asyncio.gather(first, *calls) == [[0], [2], [4], [6], [8], [10], [12]]
    assert gate.batches == [[0], [1, 2, 3, 4], [5, 6]]


async def test_idle_runs_at_once(batcher, gate):
    """A lone request is a batch of its own: it does not wait for company."""
    await batcher.run([1])
    await batcher.run([2])
    assert gate.batches == [[1], [2]]


async def test_overloaded(batcher, gate):
    """One item more than may wait is refused, and says the limit and what was found."""
    first = await gate.hold(batcher)
    waiting = asyncio.create_task(batcher.run([1, 2, 3, 4, 5]))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match=r"5 requests waiting; 2 more exceed its limit of 6"):
        await batcher.run([6, 7])
    assert batcher.waiting == 5, "a refused call leaves nothing behind"
    gate.open.set()
    await asyncio.gather(first, waiting)


async def test_large_call_alone(batcher, gate):
    """A call larger than the queue is served when nothing waits, in several batches."""
    assert await batcher.run(list(range(20))) == [n * 2 for n in range(20)]
    assert max(map(len, gate.batches)) == 4


async def test_bad_item_fails_alone(batcher, gate):
    """The neighbours of an item at fault get their results; its caller gets the error."""
    first = await gate.hold(batcher)
    calls = [asyncio.create_task(batcher.run([item])) for item in ("a", "bad", "b")]
    await asyncio.sleep(0)
    gate.open.set()
    await first
    good, bad, other = await asyncio.gather(*calls, return_exceptions=True)
    assert (good, other) == (["aa"], ["bb"])
    assert isinstance(bad, EngineBroken)
    assert "ValueError: bad item" in str(bad)


async def test_own_errors_pass(batcher):
    """A Coterie error of the work reaches the caller as it is."""
    with pytest.raises(ArtefactRefused, match="refused item"):
        await batcher.run(["refused"])


async def test_wrong_count():
    """Work that gives too few results is broken; nobody gets somebody else's."""
    batcher = Batcher(lambda items: [], engine="e")
    with pytest.raises(EngineBroken, match="0 results for 1 inputs"):
        await batcher.run([1])
    await batcher.close()


async def test_cancelled_waiter_is_dropped(batcher, gate):
    """A caller that gives up takes its waiting item out of the queue."""
    first = await gate.hold(batcher)
    doomed = asyncio.create_task(batcher.run(["doomed"]))
    kept = asyncio.create_task(batcher.run(["kept"]))
    await asyncio.sleep(0)
    doomed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doomed
    gate.open.set()
    await asyncio.gather(first, kept)
    assert gate.batches == [[0], ["kept"]]


async def test_failure_drops_siblings(gate):
    """When one item of a call fails, its other items are not worked on for nobody."""

    def work(items):
        try:
            return gate(items)
        except ValueError:
            gate.open.clear()  # the next item stays inside until the caller knows
            raise

    batcher = Batcher(work, engine="e", max_batch=1)
    with pytest.raises(EngineBroken):
        await batcher.run(["bad", *range(100)])
    gate.open.set()
    await batcher.close()
    assert len(gate.batches) <= 2


async def test_close_drains(gate):
    """Closing finishes what waits, refuses what comes later, and may be repeated."""
    batcher = Batcher(gate, engine="e")
    first = await gate.hold(batcher)
    waiting = asyncio.create_task(batcher.run([1]))
    await asyncio.sleep(0)
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    with pytest.raises(EngineUnavailable, match="closed"):
        await batcher.run([2])
    gate.open.set()
    assert await asyncio.gather(first, waiting, closing) == [[0], [2], None]
    await batcher.close()


async def test_event_loop_goes_on(batcher, gate):
    """While the work runs, the event loop is free."""
    task = await gate.hold(batcher)
    turns = 0
    for _ in range(100):
        await asyncio.sleep(0)
        turns += 1
    assert not task.done()
    gate.open.set()
    await task
    assert turns == 100


async def test_chosen_out_of_turn(gate):
    """Of those that wait, the chosen one comes first; the others keep their order."""
    batcher = Batcher(gate, engine="e", max_batch=1, choose=lambda waiting: waiting.index(max(waiting)))
    held = await gate.hold(batcher)
    tasks = [asyncio.create_task(batcher.run([item])) for item in (3, 9, 5)]
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(held, *tasks)
    assert gate.batches == [[0], [9], [5], [3]]
    await batcher.close()


async def test_overtaken_often_enough(gate):
    """Whoever was overtaken sixteen times is next, whatever is chosen."""
    batcher = Batcher(gate, engine="e", max_batch=1, choose=lambda waiting: len(waiting) - 1)
    held = await gate.hold(batcher)
    tasks = [asyncio.create_task(batcher.run([item])) for item in range(1, 31)]
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(held, *tasks)
    order = [item for (item,) in gate.batches]
    assert order.index(1) == 1 + 16
    assert sorted(order) == list(range(31))
    await batcher.close()


async def test_several_workers():
    """With several workers, as many calls are inside the work at once."""
    barrier = threading.Barrier(3, timeout=120)
    batcher = Batcher(lambda items: [barrier.wait() >= 0 for _ in items], engine="e", max_batch=1, workers=3)
    assert await batcher.run([1, 2, 3]) == [True, True, True]
    await batcher.close()


def test_several_loops():
    """One batcher serves event loops one after the other."""
    batcher = Batcher(lambda items: items, engine="e")
    assert asyncio.run(batcher.run([1])) == [1]
    assert asyncio.run(batcher.run([2])) == [2]
    asyncio.run(batcher.close())


def test_dropped_batcher_ends_its_thread():
    """A batcher that is dropped without `close` takes its thread with it."""
    batcher = Batcher(lambda items: items, engine="dropped")
    asyncio.run(batcher.run([1]))
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "coterie-dropped-0")
    del batcher
    thread.join(120)
    assert not thread.is_alive()


def test_abandoned_at_exit():
    """An interpreter that exits with work running and waiting ends cleanly and soon."""
    program = """
import asyncio, threading, time
from coterie.engines.batching import Batcher
entered = threading.Event()
def work(items):
    entered.set()
    while threading.main_thread().is_alive():
        time.sleep(0.01)
    return items
batcher = Batcher(work, engine="e", max_batch=1)
loop = asyncio.new_event_loop()
tasks = [loop.create_task(batcher.run([n])) for n in range(3)]
loop.run_until_complete(asyncio.to_thread(entered.wait))
print("leaving")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "leaving\n")
    assert "Fatal" not in done.stderr


async def test_hammered(gate):
    """A thousand calls, a third of them cancelled at any moment: the rest get their own results."""
    batcher = Batcher(gate, engine="e", max_batch=8, max_waiting=5000)
    tasks = [asyncio.create_task(batcher.run([n, -n])) for n in range(1000)]
    for n, task in enumerate(tasks):
        if n % 3 == 0:
            task.cancel()
        if n % 50 == 0:
            await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for n, result in enumerate(results):
        gone = n % 3 == 0 and isinstance(result, asyncio.CancelledError)
        assert gone or result == [2 * n, -2 * n]
    await batcher.close()

"""What several requests hand to a thread in one turn of the event loop arrives there in one piece."""

import asyncio
import os
from queue import Empty
from threading import Event, Thread, get_native_id

import pytest

from coterie.runtime.concurrency import NO_CORE, TurnQueue, follow, roam


def raise_(error):
    """Raise."""
    raise error


def arrived(queue):
    """All that a thread could take now."""
    waiting = []
    while True:
        try:
            waiting.append(queue.arrived.get_nowait())
        except Empty:
            return waiting


async def test_nothing_arrives_before_the_turn_is_over():
    """Items of one turn are there together, in their order, and are counted as waiting from the beginning."""
    queue, loop = TurnQueue(), asyncio.get_running_loop()
    for item in (1, 2, 3):
        queue.put(item, loop)
        assert not arrived(queue)
    assert len(queue) == 3

    await asyncio.sleep(0)
    assert arrived(queue) == [1, 2, 3]
    assert len(queue) == 0

    queue.put(4, loop)
    await asyncio.sleep(0)
    assert arrived(queue) == [4]


async def test_tasks_that_go_on_together_arrive_together():
    """Requests that are woken by one result share what follows, whatever each has to do before."""
    queue, loop, result = TurnQueue(), asyncio.get_running_loop(), asyncio.Event()
    seen = []

    async def request(number):
        await result.wait()
        seen.extend(arrived(queue))
        queue.put(number, loop)

    tasks = [asyncio.create_task(request(number)) for number in range(5)]
    await asyncio.sleep(0)
    result.set()
    await asyncio.gather(*tasks)
    assert not seen
    assert arrived(queue) == [0, 1, 2, 3, 4]


async def test_the_word_to_end_comes_last():
    """What was put in the turn in which the queue ends stands before the end, and comes once."""
    queue, loop = TurnQueue(), asyncio.get_running_loop()
    queue.put(1, loop)
    queue.end()
    await asyncio.sleep(0)
    assert arrived(queue) == [1, None]


def test_an_event_loop_that_has_ended_keeps_nothing_back():
    """What a loop put in its last turn is handed over by the next one, or at the end."""
    queue = TurnQueue()

    async def put(item):
        queue.put(item, asyncio.get_running_loop())

    asyncio.run(put(1))
    asyncio.run(put(2))
    queue.end()
    assert arrived(queue) == [1, 2, None]


async def test_a_thread_that_waits_is_kept_where_the_loop_is():
    """Who reads is moved once for each core of the loop, and left alone where it does what takes long."""
    here, moved = [3], []

    def follow(thread, core):
        if here[0] != core:
            moved.append((thread, here[0]))
        return here[0]

    queue, loop = TurnQueue(follow=follow), asyncio.get_running_loop()

    async def put():
        queue.put(1, loop)
        await asyncio.sleep(0)

    await put()
    queue.read_by(71)
    await put()
    await put()
    here[0] = 5
    await put()
    queue.read_by(0)
    here[0] = 3
    await put()
    assert moved == [(71, 3), (71, 5)]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system keeps no thread on a core")
def test_a_thread_follows_and_roams():
    """A thread that follows may run on the core of its caller alone, and on all of the process again once it roams."""
    signal, cores, native = Event(), [], []

    def live():
        native.append(get_native_id())
        signal.wait(30)
        signal.clear()
        cores.append(os.sched_getaffinity(0))
        roam()
        cores.append(os.sched_getaffinity(0))

    thread = Thread(target=live)
    thread.start()
    while not native:
        thread.join(0.001)
    core = follow(native[0], NO_CORE)
    assert follow(native[0], core) in os.sched_getaffinity(0)
    signal.set()
    thread.join()
    whole = os.sched_getaffinity(os.getpid())
    if core == NO_CORE:  # a C library that does not say where a thread is
        assert cores == [whole, whole]
    else:
        assert len(cores[0]) == 1
        assert cores[0] <= whole
        assert cores[1] == whole


async def test_where_it_is_not_allowed_a_thread_stays(monkeypatch):
    """A system that keeps no thread on a core, or does not allow it, changes nothing else."""
    monkeypatch.setattr("coterie.runtime.concurrency._current_core", lambda: 1)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: raise_(PermissionError(1, "not allowed")), raising=False)
    assert follow(1, NO_CORE) == NO_CORE
    monkeypatch.setattr("coterie.runtime.concurrency._current_core", lambda: NO_CORE)
    assert follow(1, NO_CORE) == NO_CORE

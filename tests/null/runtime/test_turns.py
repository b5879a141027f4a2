"""What several requests hand to a thread in one turn of the event loop arrives there in one piece."""

import asyncio
from queue import Empty

from coterie.runtime.concurrency import TurnQueue


def arrived(queue):
    """All that a thread could take now."""
    found = []
    while True:
        try:
            found.append(queue.arrived.get_nowait())
        except Empty:
            return found


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

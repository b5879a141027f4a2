"""Seats and places."""

import asyncio

import pytest

from coterie.errors import Overloaded
from coterie.gateway.slots import WorkerSlots


async def test_one_more_than_all_seats_is_turned_away():
    """With one place and one chair to wait on, the third is told when to come back."""
    admission = WorkerSlots(concurrency=1, queue=1)
    with admission.seat(), admission.seat():
        with pytest.raises(Overloaded, match="takes 2 at once") as caught, admission.seat():
            pass
        assert caught.value.retry_after >= 1
        assert admission.seated == 2
    assert admission.seated == 0


async def test_places_are_given_in_order():
    """Who waits longest is next."""
    admission, order, release = WorkerSlots(concurrency=1, queue=3), [], asyncio.Event()

    async def work(name):
        with admission.seat():
            async with admission.place():
                order.append(name)
                await release.wait()

    tasks = [asyncio.create_task(work(name)) for name in "abc"]
    await asyncio.sleep(0)
    assert (order, admission.working, admission.waiting) == (["a"], 1, 2)
    release.set()
    await asyncio.gather(*tasks)
    assert order == ["a", "b", "c"]
    assert (admission.working, admission.waiting) == (0, 0)


async def test_who_leaves_the_queue_frees_a_seat():
    """A waiter that is cancelled holds neither seat nor place, and those behind it are served."""
    admission, release, served = WorkerSlots(concurrency=1, queue=2), asyncio.Event(), []

    async def work(name):
        with admission.seat():
            async with admission.place():
                await release.wait()
                served.append(name)

    tasks = [asyncio.create_task(work(name)) for name in "abc"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.sleep(0)
    assert admission.waiting == 1
    release.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert served == ["a", "c"]


async def test_retry_after_grows_with_the_queue_and_the_work():
    """The estimate is the time until those who wait will have been served, at least a second, at most a minute."""
    now = 0.0
    admission = WorkerSlots(concurrency=1, queue=0, clock=lambda: now)
    async with admission.place():
        now += 7.0
    with admission.seat():
        with pytest.raises(Overloaded) as caught, admission.seat():
            pass
        assert caught.value.retry_after == 14.0
        async with admission.place():
            now += 1e6
        with pytest.raises(Overloaded) as caught, admission.seat():
            pass
    assert caught.value.retry_after == 60.0


async def test_empty_waits_for_the_last():
    """`empty` returns once nobody holds a seat."""
    admission = WorkerSlots(concurrency=1, queue=0)
    await admission.empty()
    with admission.seat():
        waiting = asyncio.create_task(admission.empty())
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting

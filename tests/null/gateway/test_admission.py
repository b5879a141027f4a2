"""Admissions and worker slots."""

import asyncio

import pytest

from coterie.errors import Overloaded
from coterie.gateway.work import WorkerSlot, WorkerSlots


async def test_one_more_than_all_seats_is_turned_away():
    """With one slot and one chair to wait on, the third is told when to come back."""
    admission = WorkerSlots(concurrency=1, queue=1)
    with admission.admit(), admission.admit():
        with pytest.raises(Overloaded, match="takes 2 at once") as caught, admission.admit():
            pass
        assert caught.value.retry_after >= 1
        assert admission.admitted == 2
    assert admission.admitted == 0


async def test_slots_are_given_in_order():
    """Who waits longest is next."""
    admission, order, release = WorkerSlots(concurrency=1, queue=3), [], asyncio.Event()

    async def work(name):
        with admission.admit() as slot:
            async with slot:
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
    """A waiter that is cancelled holds neither admission nor slot, and those behind it are served."""
    admission, release, served = WorkerSlots(concurrency=1, queue=2), asyncio.Event(), []

    async def work(name):
        with admission.admit() as slot:
            async with slot:
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
    async with WorkerSlot(admission, ""):
        now += 7.0
    with admission.admit() as slot:
        with pytest.raises(Overloaded) as caught, admission.admit():
            pass
        assert caught.value.retry_after == 14.0
        async with slot:
            now += 1e6
        with pytest.raises(Overloaded) as caught, admission.admit():
            pass
    assert caught.value.retry_after == 60.0


async def test_empty_waits_for_the_last():
    """`empty` returns once nobody holds an admission."""
    admission = WorkerSlots(concurrency=1, queue=0)
    await admission.empty()
    with admission.admit():
        waiting = asyncio.create_task(admission.empty())
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting


async def test_one_client_leaves_room_for_others():
    """Each client has its share of admissions and slots: a second one comes in, and works, while one floods."""
    admission, release = WorkerSlots(concurrency=4, queue=4, share=0.75), asyncio.Event()

    async def work(client):
        with admission.admit(client) as slot:
            async with slot:
                await release.wait()

    tasks = [asyncio.create_task(work("one")) for _ in range(7)]
    await asyncio.sleep(0)
    assert (admission.working, admission.waiting) == (3, 3)
    assert "of this client, which may have 6" in str(tasks[-1].exception())
    tasks.append(asyncio.create_task(work("two")))
    await asyncio.sleep(0)
    assert (admission.working, admission.waiting) == (4, 3)
    release.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (admission.working, admission.admitted, admission.admissions.total) == (0, 0, 0)


async def test_slots_go_round_the_clients():
    """Who asked once waits for one request of who asked often, not for all of them."""
    admission, order = WorkerSlots(concurrency=1, queue=9), []

    async def work(client):
        with admission.admit(client) as slot:
            async with slot:
                order.append(client)
                await asyncio.sleep(0)

    await asyncio.gather(*(work(client) for client in ("a", "a", "a", "a", "b", "c")))
    assert order == ["a", "a", "b", "c", "a", "a"]


async def test_waiting_for_a_remote_model_takes_no_slot():
    """While it is waited for, local work has slot and admission; what comes back holds them again, at once."""
    admission, answer, seen = WorkerSlots(concurrency=1, queue=0), asyncio.Event(), []

    async def ask():
        with admission.admit() as slot:
            async with slot:
                async with slot.released(), slot.released():
                    await answer.wait()
                seen.append((admission.working, admission.remote.total))

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)
    assert (admission.working, admission.waiting, admission.remote.total) == (0, 0, 1)
    with admission.admit() as slot:
        async with slot:
            assert admission.working == 1
            answer.set()
            await asking
            assert seen == [(2, 0)]
    assert (admission.working, admission.admitted, admission.remote.total) == (0, 0, 0)
    await admission.empty()


async def test_so_many_may_wait_for_remote_models():
    """One more is turned away, and keeps what it had."""
    admission, answer = WorkerSlots(concurrency=2, queue=0, remote=1), asyncio.Event()

    async def ask():
        with admission.admit() as slot:
            async with slot, slot.released():
                await answer.wait()

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="lets 1 wait at once"):
        await ask()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert (admission.working, admission.admitted, admission.remote.total) == (0, 0, 0)

"""From synchronous code into the event loop."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import pytest

from coterie.runtime.concurrency import BackgroundLoop, run

WHO: ContextVar[str] = ContextVar("WHO", default="nobody")


@pytest.fixture
def loop():
    loop = BackgroundLoop()
    yield loop
    loop.close()


async def who() -> str:
    """Who asks, after a turn of the loop."""
    await asyncio.sleep(0)
    return WHO.get()


async def failing():
    await asyncio.sleep(0)
    raise ValueError("no")


def test_a_coroutine_runs_where_no_loop_runs():
    """In the calling thread, with its context and its errors."""
    WHO.set("ada")

    assert run(who()) == "ada"
    with pytest.raises(ValueError, match="no"):
        run(failing())


async def test_a_coroutine_runs_where_a_loop_runs():
    """In another thread, with the caller's context and its errors; the thread does not stay."""
    WHO.set("bob")
    before = threading.active_count()

    assert run(who()) == "bob"
    with pytest.raises(ValueError, match="no"):
        run(failing())
    assert threading.active_count() == before


def test_a_generator_is_one_task(loop):
    """What it opens in its context it closes in the same one, and its errors reach the caller."""
    token = None

    async def numbers():
        nonlocal token
        token = WHO.set("inside")
        try:
            yield 1
            await asyncio.sleep(0)
            yield 2
        finally:
            WHO.reset(token)
        raise ValueError("no")

    items = loop.iterate(numbers())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="no"):
        next(items)


def test_closing_an_iterator_closes_the_generator_first(loop):
    """When `close` returns, the generator has cleaned up."""
    ended = []

    async def forever():
        try:
            while True:
                yield 1
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0.01)
            ended.append(True)

    items = loop.iterate(forever())
    next(items)
    items.close()

    assert ended == [True]


def test_an_interrupted_wait_cancels_the_work(loop, monkeypatch):
    """As Ctrl-C does while a notebook waits."""
    cancelled = threading.Event()

    async def slow():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def interrupted(work, target):
        future = submit(work, target)
        monkeypatch.setattr(future, "result", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        return future

    submit = asyncio.run_coroutine_threadsafe
    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop.run(slow())
    monkeypatch.undo()

    loop.run(asyncio.sleep(0))
    assert cancelled.wait(10)


def test_closing_cancels_what_runs(loop):
    """And does nothing a second time."""
    ended = []

    async def leave():
        async def slow():
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(True)

        task = asyncio.create_task(slow())
        await asyncio.sleep(0.01)
        return task

    loop.run(leave())
    loop.close()
    loop.close()

    assert ended == [True]
    assert loop.closed

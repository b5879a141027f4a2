"""What open pages cost: one clock for all streams, one computation for all viewers."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from coterie.console.visits import SharedViews, Ticker


class Counters:
    """A gateway's counters; `answered` grows when a test says so."""

    def __init__(self):
        self.answered = self.asked = 0
        self.metrics, self.draining = self, False

    def live(self):
        self.asked += 1
        return {"answered": self.answered, "working": 0, "waiting": 0}


@pytest.fixture
def counters(monkeypatch):
    monkeypatch.setattr("coterie.console.visits._SECONDS", 0.0)
    return Counters()


async def test_an_event_comes_where_something_changed(counters):
    """All streams hear of a change, none of what stays as it is, and they end when the gateway drains."""
    ticker, heard = Ticker(counters), asyncio.Queue()

    async def listen():
        async for event in ticker.events():
            await heard.put(event)

    streams = [asyncio.create_task(listen()) for _ in range(5)]
    first = {await heard.get() for _ in streams}
    looked = counters.asked
    while counters.asked < looked + 20:  # noqa: ASYNC110 - nobody tells of a look
        await asyncio.sleep(0)
    assert heard.empty()
    counters.answered = 7
    assert first | {await heard.get() for _ in streams} == {
        b'data: {"answered": 0, "working": 0, "waiting": 0}\n\n',
        b'data: {"answered": 7, "working": 0, "waiting": 0}\n\n',
    }
    counters.draining = True
    await asyncio.wait_for(asyncio.gather(*streams), 30)
    assert heard.empty()


async def test_a_silent_stream_says_that_it_is_there(counters, monkeypatch):
    """A proxy that closes what says nothing for long hears something."""
    monkeypatch.setattr("coterie.console.visits._QUIET", 0.0)
    events = Ticker(counters).events()
    assert [await anext(events), await anext(events)][1] == b": still here\n\n"
    await events.aclose()


async def test_viewers_share_what_was_made_for_one():
    """Who comes while it is made, or soon after, gets the same; later, and under another key, it is made anew."""
    clock = SimpleNamespace(now=0.0)
    shared, made, go = SharedViews(clock=lambda: clock.now), [], asyncio.Event()

    async def make():
        made.append(clock.now)
        await go.wait()
        return len(made)

    first = [asyncio.create_task(shared.get("acme", make, seconds=10)) for _ in range(5)]
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(*first) == [1] * 5
    clock.now = 9.0
    assert await shared.get("acme", make, seconds=10) == 1
    assert await shared.get("north-wind", make, seconds=10) == 2
    clock.now = 10.0
    assert await shared.get("acme", make, seconds=10) == 3


async def test_a_failure_is_not_kept():
    """The next viewer tries again."""
    shared = SharedViews(clock=lambda: 0.0)

    async def fail():
        raise ValueError("not now")

    async def work():
        return "here"

    with pytest.raises(ValueError, match="not now"):
        await shared.get("acme", fail, seconds=10)
    assert await shared.get("acme", work, seconds=10) == "here"

"""Keys in PostgreSQL: every host has the same ones within a second, and lets nobody in without them."""

from __future__ import annotations

import asyncio
import threading
import uuid

import pytest

from coterie.errors import InputError, SetupError
from coterie.testing import FakeClock

pytestmark = pytest.mark.slow


@pytest.fixture
def rings(shared_database):
    """Makes rings of one schema, with a clock that stands until it is moved."""
    from coterie.governance.keys import TableKeyRing
    from coterie.runtime.postgres import PostgresAddress

    schema = f"k_{uuid.uuid4().hex[:8]}"

    def make(clock: FakeClock) -> TableKeyRing:
        address = PostgresAddress(shared_database, source="The test", schema=schema)
        return TableKeyRing(address, clock=lambda: 1e9, monotonic=clock)

    return make


def test_made_on_one_host_and_revoked_on_another(rings):
    """A key opens on both; revoked on one, it opens nothing on the other once its keys are older than allowed."""
    clock = FakeClock(100.0)
    one, other = rings(clock), rings(clock)
    assert one.is_empty()
    made = one.create("bot", role="operator", tenant="acme")
    key = other.find(made.token)
    assert (key.id, key.tenant, key.role) == (made.key.id, "acme", "operator")
    with pytest.raises(InputError):
        other.create("bot")
    other.revoke("bot")
    clock.now += 11
    assert one.find(made.token) is None
    assert not one.is_empty()


def test_without_the_database_nobody_is_let_in(rings, monkeypatch):
    """Keys that were read a moment ago hold; those of ten seconds ago open nothing, and the database is asked again."""
    clock = FakeClock(100.0)
    ring = rings(clock)
    made = ring.create("bot")
    with monkeypatch.context() as patch:
        patch.setattr(ring._address, "connect", lambda *_: (_ for _ in ()).throw(SetupError("away")))
        clock.now += 0.5
        assert ring.find(made.token) is not None
        clock.now += 10
        for _ in range(2):
            with pytest.raises(SetupError):
                ring.find(made.token)
    clock.now += 2
    assert ring.find(made.token) is not None


async def test_a_revoked_key_after_a_pause(rings):
    """A host that nobody asked for some seconds does not let it in once more."""
    clock = FakeClock(100.0)
    one, other = rings(clock), rings(clock)
    made = other.create("bot")
    assert one.find(made.token) is not None
    other.revoke("bot")
    clock.now += 1.1
    await one.refresh()
    assert one.find(made.token) is None


async def test_a_database_that_does_not_answer_blocks_no_loop(rings, monkeypatch):
    """Requests wait together, in a thread, and are refused once the keys are too old."""
    clock, answer, tries = FakeClock(100.0), threading.Event(), []
    ring = rings(clock)
    made = ring.create("bot")

    def connect(*_):
        tries.append(answer.wait(60))
        raise SetupError("away")

    monkeypatch.setattr(ring._address, "connect", connect)
    clock.now += 5
    waiting = [asyncio.create_task(ring.refresh()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    answer.set()
    await asyncio.gather(*waiting)
    assert (ring.find(made.token).id, len(tries)) == (made.key.id, 1)
    clock.now += 6
    with pytest.raises(SetupError):
        await ring.refresh()


def test_keys_that_vanished_let_nobody_in(rings):
    """Who had keys is not open to all because a table is empty."""
    clock = FakeClock(100.0)
    ring = rings(clock)
    ring.create("bot")
    with ring._connected() as connection:
        connection.execute("DELETE FROM keys")
    clock.now += 11
    with pytest.raises(SetupError):
        ring.is_empty()


def test_a_sign_in_counts_once_on_all_hosts(rings):
    """What one host has taken the other refuses; what ended long ago is forgotten."""
    one, other = rings(FakeClock(100.0)), rings(FakeClock(100.0))
    assert one.use_once("state", until=1e9)
    assert not other.use_once("state", until=1e9)
    assert other.use_once("another", until=1e9)
    one._clock = lambda: 1e9 + 2000
    assert one.use_once("third", until=2e9)
    assert one.use_once("state", until=1e9)

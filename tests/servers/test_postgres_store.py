"""The store in PostgreSQL keeps the contract of the one in a SQLite file: the same tests, on a real server."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path

import pytest

from coterie.errors import StoreError
from coterie.testing import check_store
from coterie.testing.contracts import check_flywheel_store
from coterie.types import RequestFilter
from tests.null.store import test_sqlite
from tests.null.store.conftest import DAY, ENTRIES, NOW, Clock, OpenStore, settlement
from tests.null.store.test_faults import kill_after
from tests.null.store.test_ledger import *  # noqa: F403 - every test of it

pytestmark = pytest.mark.slow

test_trace_round_trips = test_sqlite.test_trace_round_trips
test_labels_without_personal_data = test_sqlite.test_labels_without_personal_data
test_trace_belongs_to_its_tenant = test_sqlite.test_trace_belongs_to_its_tenant
test_context_round_trips = test_sqlite.test_context_round_trips
test_session_belongs_to_its_tenant = test_sqlite.test_session_belongs_to_its_tenant
test_expired_session_starts_afresh = test_sqlite.test_expired_session_starts_afresh
test_long_session_is_read_to_its_newest_lines = test_sqlite.test_long_session_is_read_to_its_newest_lines
test_any_text = test_sqlite.test_any_text
test_session_name_that_is_no_text = test_sqlite.test_session_name_that_is_no_text
test_same_id_twice = test_sqlite.test_same_id_twice
test_one_bad_settlement_spoils_no_other = test_sqlite.test_one_bad_settlement_spoils_no_other
test_cancelled_caller = test_sqlite.test_cancelled_caller


@pytest.fixture
def clock() -> Clock:
    """A clock at `NOW`."""
    return Clock()


@pytest.fixture
def schema() -> str:
    """A schema of its own, so that tests share a database."""
    return f"shop_{uuid.uuid4().hex[:8]}"


@pytest.fixture
async def open_store(shared_database: str, schema: str, clock: Clock) -> AsyncIterator[OpenStore]:
    """Opens stores of one schema and closes them after the test."""
    from coterie.runtime.postgres import PostgresAddress
    from coterie.store.postgres import PostgresStore

    async with AsyncExitStack() as stack:

        async def open_one(**options: object) -> PostgresStore:
            options = {"session_days": 30.0, "keep_content": True, "clock": clock} | options
            address = PostgresAddress(shared_database, source="The test", schema=schema)
            store = await PostgresStore.connect(address, **options)
            stack.push_async_callback(store.close)
            return store

        yield open_one


@pytest.mark.parametrize("keep_content", [False, True])
async def test_keeps_the_contract(open_store, clock, keep_content):
    """It does what every store must, whether it keeps content or not."""
    clock.now = 1_700_000_000.0

    await check_store(lambda: open_store(keep_content=keep_content))


async def test_keeps_the_contract_of_the_flywheel(open_store):
    """Examples, comparisons, labels and records are kept as every store must."""
    await check_flywheel_store((await open_store()).flywheel, (await open_store()).flywheel)


async def test_pages_and_sums(open_store):
    """Pages of requests and sessions, and the sums of hours, are those of what was settled, by however many writers."""
    stores = [await open_store() for _ in range(2)]
    settling = [s.settle(settlement(f"t{n}-{i}", session=f"s{n}")) for n in range(20) for i, s in enumerate(stores)]
    await asyncio.gather(*settling)
    page = await stores[0].request_page(RequestFilter(tenant="default", limit=30))
    sessions = await stores[0].session_page("default", limit=50)
    assert (len(page.lines), page.after is not None, len(sessions.sessions)) == (30, True, 20)
    rolled = await stores[0]._totals.run(lambda c: c.execute("SELECT sum(requests), max(cost) FROM rollups").fetchall())
    whole = await stores[0]._totals.run(
        lambda c: c.execute("SELECT requests, cost FROM rollups WHERE kind = 'request' AND span = 3600").fetchall()
    )
    assert rolled[0][0] > 0
    assert whole == [(40, str(40 * Decimal("0.00012")))]


async def test_expired_sessions_are_deleted_by_one(open_store, clock, shared_database, schema):
    """What is too old goes when a writer looks; a process that finds another at it leaves it to that one."""
    import psycopg

    store = await open_store(session_days=2.0)
    await store.settle(settlement(session="s", entries=ENTRIES))
    with psycopg.connect(shared_database) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{schema}.sweep",))
        clock.now = NOW + 3 * DAY
        await store.settle(settlement("t2"))
        await store.settle(settlement("t3"))  # the sweep after t2 is done
        assert other.execute(f"SELECT count(*) FROM {schema}.entries").fetchone() == (len(ENTRIES),)
    clock.now += DAY
    await store.settle(settlement("t4"))
    await store.settle(settlement("t5"))
    with psycopg.connect(shared_database) as other:
        assert other.execute(f"SELECT count(*) FROM {schema}.entries").fetchone() == (0,)


async def test_erased_is_gone_from_the_files(open_store, shared_database, schema):
    """After an erasure the tables' files hold nothing of it."""
    import psycopg

    store = await open_store()
    await store.settle(settlement(session="s", entries=ENTRIES))
    assert await store.erase("s", "default")
    assert not await store.erase("s", "default")
    with psycopg.connect(shared_database) as other:
        rows = other.execute(f"SELECT count(*) FROM {schema}.entries").fetchone()
        size = other.execute(f"SELECT pg_relation_size('{schema}.entries')").fetchone()
    assert (rows, size) == ((0,), (0,))


async def test_many_writers_of_the_same_sessions(open_store):
    """Stores of several processes that use the same sessions at once lose nothing and wait in no circle."""
    stores = [await open_store() for _ in range(4)]
    writes = [
        store.settle(settlement(f"{number}-{index}", session=f"s{number % 5}", entries=ENTRIES))
        for number in range(50)
        for index, store in enumerate(stores)
    ]
    await asyncio.gather(*writes)
    assert (await stores[0].summary()).requests == 200
    assert len((await stores[1].context("s1", "default", whole=True)).entries) == 40 * len(ENTRIES)


async def test_settlements_that_wait_together_share_a_commit(open_store, monkeypatch):
    """Sixty-four settlements at once take a few commits and no savepoint each."""
    store = await open_store()
    statements: list[str] = []
    connection = store._writer._connection
    execute = connection.execute
    monkeypatch.setattr(
        connection, "execute", lambda statement, *values: (statements.append(statement), execute(statement, *values))[1]
    )
    await asyncio.gather(*(store.settle(settlement(f"t{i}")) for i in range(64)))
    assert statements.count("COMMIT") <= 10
    assert statements.count("SAVEPOINT job") <= 10


async def test_a_newer_schema_is_refused(open_store, shared_database, schema):
    """Tables of a newer Coterie are not touched."""
    import psycopg

    await open_store()
    with psycopg.connect(shared_database, autocommit=True) as other:
        other.execute(f"UPDATE {schema}.coterie_schema SET version = 999")
    with pytest.raises(StoreError):
        await open_store()


async def test_a_server_that_cut_the_connection(open_store, shared_database, schema):
    """A settlement that meets a cut connection is refused or is on a new one; none is acknowledged and lost."""
    import psycopg

    store = await open_store()
    await store.settle(settlement("t1"))
    with psycopg.connect(shared_database, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    outcomes = await asyncio.gather(*(store.settle(settlement(f"x{i}")) for i in range(3)), return_exceptions=True)
    await store.settle(settlement("t2"))
    acknowledged = 2 + sum(outcome is None for outcome in outcomes)
    assert (await (await open_store()).summary()).requests >= acknowledged
    assert all(outcome is None or isinstance(outcome, StoreError) for outcome in outcomes)


def test_killed_in_the_middle_of_load(shared_database):
    """Of a process that is killed while it settles, every settlement that had returned is there."""
    import psycopg

    script = Path(test_sqlite.__file__).with_name("settle_forever.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COTERIE_DATABASE": shared_database}
    settled: set[str] = set()
    for name in ("one", "two"):
        command = [sys.executable, script, "env", name]
        settled |= kill_after(subprocess.Popen(command, stdout=subprocess.PIPE, env=environment), 60)
    with psycopg.connect(shared_database) as other:
        stored = {name for (name,) in other.execute("SELECT id FROM coterie_settle.requests")}
    assert settled <= stored

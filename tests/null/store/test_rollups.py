"""Read models: the ledger by hour and day equals the ledger row by row, and pages list each request once."""

import asyncio
import math
import random
import sqlite3
from contextlib import closing
from dataclasses import fields, replace
from decimal import Decimal

import pytest

from coterie.store.rollups import bucket_of, catch_up, create_mark, create_tables, is_whole, latency_of, stretches
from coterie.store.rows import insert_settlements
from coterie.store.summary import select_ledger, select_summary
from coterie.types import Feedback, Label, LedgerRow, RequestFilter, Step, Usage, total_usage

from .conftest import DAY, NOW, TRIAGE, settlement

HOUR = 3600.0


def drawn(rng: random.Random, number: int):
    """A request of one of two tenants within five days, with one to three steps and one or two findings."""
    steps = tuple(
        Step(
            producer=rng.choice(["triage", "reply", "network"]),
            engine=rng.choice(["linear", "onnx", "large"]),
            usage=Usage(
                tokens_in=rng.randrange(100),
                tokens_out=rng.randrange(100),
                cpu_seconds=rng.randrange(64) / 64,
                joules=float(rng.randrange(64)),
                joules_kind=rng.choice(["measured", "estimated"]),
                cost=rng.choice([None, Decimal(rng.randrange(1, 999)) / 1_000_000_007]),
            ),
        )
        for _ in range(rng.randrange(1, 4))
    )
    findings = tuple(
        replace(TRIAGE, specialist=name, accepted=rng.random() < 0.7)
        for name in rng.sample(["triage", "reply"], rng.randrange(1, 3))
    )
    return settlement(
        f"t{number:04}",
        time=NOW + rng.random() * 5 * DAY,
        tenant=rng.choice(["default", "acme"]),
        status=rng.choice(["accepted", "abstained", "escalated"]),
        label=rng.choice([Label.PUBLIC, Label.INTERNAL]),
        session=rng.choice([None, "s1"]),
        steps=steps,
        findings=findings,
        usage=replace(total_usage(step.usage for step in steps), milliseconds=float(rng.randrange(1, 500))),
        counterfactual_cost=rng.choice([None, Decimal("0.001")]),
    )


async def filled(open_store, path, count=300, *, seed=7):
    """A store with drawn requests, on a tenth of which somebody said something."""
    store, rng = await open_store(), random.Random(seed)
    requests = [drawn(rng, number) for number in range(count)]
    await asyncio.gather(*map(store.settle, requests))
    for settled in rng.sample(requests, count // 10):
        feedback = Feedback(
            trace_id=settled.trace.id, time=NOW, tenant=settled.trace.tenant, thumb=rng.choice(["up", "down"])
        )
        await store.feedback(feedback)
    await store.totals(since=0)  # who asks for sums has them added up
    return store


def assert_equal(exact: LedgerRow, rolled: LedgerRow) -> None:
    """All figures are the same; money to its last digit but one, percentiles within 1%."""
    for field in fields(LedgerRow):
        a, b = getattr(exact, field.name), getattr(rolled, field.name)
        if field.name in {"p50_ms", "p95_ms"} and a is not None:
            assert b == pytest.approx(a, rel=0.011), field.name
        elif isinstance(a, Decimal):
            assert abs(a - b) < Decimal("1e-20"), field.name
        else:
            assert a == b, field.name


@pytest.mark.parametrize("since", [0.0, NOW + 1.3 * DAY, NOW + 2 * DAY + 7])
async def test_rolled_up_equals_row_by_row(open_store, path, since):
    """By day, hour, tenant, specialist and model, from the beginning and from the middle of an hour."""
    await filled(open_store, path)
    with closing(sqlite3.connect(path)) as connection:
        for by in ("day", "hour", "tenant", "specialist", "model"):
            exact = select_ledger(connection, since=since, by=by)
            rolled = select_ledger(connection, since=since, by=by, exact=0)
            assert [row.key for row in rolled.rows] == [row.key for row in exact.rows]
            for a, b in zip((exact.total, *exact.rows), (rolled.total, *rolled.rows), strict=True):
                assert_equal(a, b)
            assert (rolled.began, rolled.trainings) == (exact.began, exact.trainings)
        exact, rolled = select_summary(connection, since=since), select_summary(connection, since=since, exact=0)
        assert (exact.requests, exact.accepted, exact.joules_kind) == (
            rolled.requests,
            rolled.accepted,
            rolled.joules_kind,
        )
        assert (exact.cost is None, exact.counterfactual_cost is None) == (True, True)


async def test_an_older_process_with_the_file_open_leaves_sums_to_the_newer(open_store, path):
    """It finds a ledger of which all is still to be added up, and cannot add up itself: what it settles counts once."""
    store = await filled(open_store, path, 20)
    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        time, name, until = older.execute("SELECT time, id, until FROM rollup_backfill").fetchone()
        assert (time, name, until) == (-math.inf, "", math.inf)
        with pytest.raises(sqlite3.OperationalError, match="view"):
            older.execute("DELETE FROM rollup_backfill")
        older.execute("BEGIN IMMEDIATE")
        insert_settlements(older, [drawn(random.Random(4), 900)], keep_content=False, expired=0.0)
        older.execute("COMMIT")
    assert (await store.totals(since=0)).total.requests == 21


async def test_an_earlier_ledger_is_added_up_in_pieces(open_store, path):
    """Cut off after any piece, with requests settled meanwhile in what is done and in what is not, all count once."""
    store = await filled(open_store, path, 120)
    await store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        exact = select_ledger(connection, since=0, by="specialist")
        for table in ("rollups", "latencies", "summed"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("DROP VIEW rollup_backfill")
        for index in ("requests_by_tenant", "requests_by_status", "sessions_by_tenant"):
            connection.execute(f"DROP INDEX {index}")
        create_tables(connection)
        create_mark(connection)
        assert select_ledger(connection, since=0, by="specialist", exact=0) == exact  # row by row, until it is done
        catch_up(connection, piece=50)
        assert not is_whole(connection)

    store = await open_store()  # the writer adds up the rest, piece by piece
    rng = random.Random(3)
    await asyncio.gather(*(store.settle(drawn(rng, number)) for number in range(200, 240)))
    while not (await store.totals(since=0)).summed:  # noqa: ASYNC110 - the writer tells nobody
        await asyncio.sleep(0)
    with closing(sqlite3.connect(path)) as connection:
        exact = select_ledger(connection, since=0, by="specialist")
        rolled = select_ledger(connection, since=0, by="specialist", exact=0)
    assert exact.total.requests == 160
    for a, b in zip((exact.total, *exact.rows), (rolled.total, *rolled.rows), strict=True):
        assert_equal(a, b)


async def test_sums_follow_whoever_settled(open_store, path):
    """Of what a killed process left, and of what several settle, each request counts once, in a file written anew."""
    rng, stores = random.Random(5), [await open_store() for _ in range(2)]
    await stores[0].totals(since=0)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        insert_settlements(connection, [drawn(rng, number) for number in range(40)], keep_content=False, expired=0.0)
        connection.execute("COMMIT")  # and the process is gone before anything is added up
        connection.execute("VACUUM")
    await asyncio.gather(*(stores[number % 2].settle(drawn(rng, number)) for number in range(40, 120)))
    ledgers = [await store.totals(since=0) for store in stores]
    assert [ledger.total.requests for ledger in ledgers] == [120, 120]
    with closing(sqlite3.connect(path)) as connection:
        exact = select_ledger(connection, since=0, by="specialist")
        rolled = select_ledger(connection, since=0, by="specialist", exact=0)
    for a, b in zip((exact.total, *exact.rows), (rolled.total, *rolled.rows), strict=True):
        assert_equal(a, b)


async def test_a_settlement_that_fails_is_not_added(open_store, path):
    """What is not in the file is not in the rows of hours and days."""
    store = await open_store()
    await store.settle(settlement())
    with pytest.raises(Exception, match="UNIQUE"):
        await store.settle(settlement())
    assert (await store.totals(since=0)).total.requests == 1


async def test_totals(open_store, path):
    """A page's totals are those of whole days, hours and parts, of one tenant or of all."""
    store = await filled(open_store, path)
    everything = await store.totals(since=0)
    assert everything.total.requests == 300
    assert sum(row.requests for row in everything.times) == sum(row.requests for row in everything.tenants) == 300
    assert [row.key for row in everything.specialists] == ["network", "reply", "triage"]
    assert [row.key for row in everything.models] == ["large", "linear", "onnx"]
    mine = await store.totals(since=0, tenant="acme")
    assert [row.key for row in mine.tenants] == ["acme"]
    whose = next(row for row in everything.tenants if row.key == "acme")
    assert replace(mine.total, p50_ms=None, p95_ms=None) == replace(whose, key="total")
    hours = await store.totals(since=NOW + DAY, until=NOW + 2 * DAY, hours=True, parts=("times",))
    assert 0 < len(hours.times) <= 24
    assert (hours.specialists, hours.total.p50_ms) == ((), None)
    one = await store.totals(since=0, parts=("specialists", "latencies"), name="triage")
    assert one.specialists == tuple(row for row in everything.specialists if row.key == "triage")
    assert one.recent == {"triage": everything.recent["triage"]}
    assert (one.total, one.times, one.models) == (everything.total, (), ())


async def pages(store, wanted):
    """All requests, page by page."""
    lines = []
    while True:
        page = await store.request_page(wanted)
        lines += page.lines
        if page.after is None:
            return lines
        wanted = replace(wanted, after=page.after)


@pytest.mark.parametrize(
    ("named", "keep"),
    [
        ({}, lambda trace: True),
        ({"status": "abstained"}, lambda trace: trace.status == "abstained"),
        ({"specialist": "reply"}, lambda trace: any(f.specialist == "reply" for f in trace.findings)),
        ({"label": "public"}, lambda trace: trace.label == Label.PUBLIC),
        ({"session": "s1"}, lambda trace: trace.session == "s1"),
    ],
)
async def test_pages_list_each_request_once(open_store, path, monkeypatch, named, keep):
    """The newest first, none twice and none left out, also where pages end before they are full."""
    monkeypatch.setattr("coterie.store.rows.LOOKED_THROUGH", 20)
    store = await filled(open_store, path, 100)
    rng = random.Random(7)
    wanted = [s.trace for s in (drawn(rng, n) for n in range(100)) if s.trace.tenant == "acme" and keep(s.trace)]
    lines = await pages(store, RequestFilter(tenant="acme", limit=7, **named))
    assert [line.id for line in lines] == [trace.id for trace in sorted(wanted, key=lambda t: -t.time)]


async def test_what_was_said_is_in_the_list(open_store, path):
    """The newest word about the whole answer; of another tenant's nothing is told."""
    store = await filled(open_store, path, 100)
    lines = await pages(store, RequestFilter(tenant="acme", limit=9))
    right = await pages(store, RequestFilter(tenant="acme", judged="right"))
    assert [line for line in lines if line.correct] == right != []
    assert len(await store.said(right[0].id, "acme")) == 1
    assert await store.said(right[0].id, "default") == ()


async def test_requests_at_one_moment_have_an_order(open_store):
    """Pages that end between two requests of the same time go on behind the first."""
    store = await open_store()
    for number in range(5):
        await store.settle(settlement(f"t{number}"))
    assert [line.id for line in await pages(store, RequestFilter(tenant="default", limit=2))] == [
        "t4",
        "t3",
        "t2",
        "t1",
        "t0",
    ]


async def test_sessions_page_by_page(open_store):
    """The one used last first, with its turns."""
    store = await open_store()
    for number in range(5):
        await store.settle(settlement(f"t{number}", session=f"s{number}", time=NOW + number))
    first = await store.session_page("default", limit=3)
    rest = await store.session_page("default", after=first.after, limit=3)
    assert [session.id for session in (*first.sessions, *rest.sessions)] == ["s4", "s3", "s2", "s1", "s0"]
    assert rest.after is None


async def test_a_page_uses_an_index(open_store, path):
    """No page sorts or reads the whole table."""
    await (await open_store()).close()
    with closing(sqlite3.connect(path)) as connection:
        for where in ("", " AND status = 'accepted'"):
            plan = connection.execute(
                f"EXPLAIN QUERY PLAN SELECT id FROM requests WHERE tenant = 'a'{where} AND (time, id) < (1, '') "
                "ORDER BY time DESC, id DESC LIMIT 5"
            ).fetchall()
            assert not any("TEMP B-TREE" in row[3] or row[3].startswith("SCAN") for row in plan), plan


@pytest.mark.parametrize("milliseconds", [0.0, 0.02, 1.0, 17.3, 950.0, 1e6])
def test_a_bucket_is_two_percent_wide(milliseconds):
    """Its middle is at most 1% off what is in it."""
    assert latency_of(bucket_of(milliseconds)) == pytest.approx(max(milliseconds, 0.01), rel=0.0101)


@pytest.mark.parametrize(
    ("since", "until"), [(0.0, 9 * DAY), (100.0, 9 * DAY), (DAY + HOUR, 3 * DAY - HOUR), (5 * HOUR, 7 * HOUR)]
)
def test_stretches_cover_whole_hours_once(since, until):
    """Days in the middle and hours at the ends, without gap or overlap."""
    hours = []
    for stretch in stretches(since, until):
        hours += range(stretch.first, int(stretch.until), 3600)
    assert hours == list(range(-int(-since // 3600) * 3600, int(until), 3600))

"""The SQLite store: what goes in comes out, and only to whom it belongs."""

import asyncio
import sqlite3
import stat
import threading
from contextlib import contextmanager
from decimal import Decimal

import numpy as np
import pytest

from coterie.errors import AuditError, InputError, Overloaded, StoreError
from coterie.store.rows import CONTEXT_LINES
from coterie.store.sqlite import SQLiteStore
from coterie.testing import check_store
from coterie.types import Context, Entry, Fact, Label, Message, Part, Route, Usage, worded

from .conftest import DAY, ENTRIES, NOW, TRACE, settlement


@pytest.mark.parametrize("keep_content", [False, True])
async def test_keeps_the_contract(open_store, clock, keep_content):
    """It does what every store must, whether it keeps content or not."""
    clock.now = 1_700_000_000.0

    await check_store(lambda: open_store(keep_content=keep_content))


async def test_trace_round_trips(open_store):
    """A settled trace comes back equal, after reopening too."""
    store = await open_store()
    await store.settle(settlement())
    await store.close()

    store = await open_store()

    assert await store.trace("t1", "default") == TRACE
    assert (await store.trace("t1", "default")).usage.cost == Decimal("0.00012")


async def test_labels_without_personal_data(open_store):
    """Of an entry both labels come back, whatever its content is called."""
    fact = Fact(name="label_impersonal", value='"label_impersonal"', confidence=1.0)
    entries = tuple(
        Entry(content=fact, producer="p", label=Label.CONFIDENTIAL, label_without_pii=bare, time=1.0)
        for bare in (None, Label.PUBLIC, Label.INTERNAL)
    )
    store = await open_store()
    await store.settle(settlement(entries=entries, session="s"))

    assert (await store.context("s", "default")).entries == entries


async def test_vectors_are_not_stored(open_store):
    """A part's vector is left out of the stored trace."""
    store = await open_store()
    part = Part(text="x", stages=(("triage",),), score=0.9, vector=np.ones(384, dtype=np.float32))
    await store.settle(settlement(route=Route(parts=(part,), reason=worded("r"))))

    assert (await store.trace("t1", "default")).route.parts[0].vector is None


async def test_numpy_figures(open_store):
    """Figures that are numpy's are stored like Python's."""
    store = await open_store()
    usage = Usage(tokens_in=np.int64(3), joules=np.float32(0.5))
    await store.settle(
        settlement(usage=usage, route=Route(parts=(), reason=worded(""), scores={"a": np.float32(0.25)}))
    )

    trace = await store.trace("t1", "default")
    assert trace.usage.joules == 0.5
    assert trace.route.scores == {"a": 0.25}


async def test_trace_belongs_to_its_tenant(open_store):
    """Another tenant asking for the id of a trace gets what it would get for an unknown one."""
    store = await open_store()
    await store.settle(settlement(tenant="a"))

    assert await store.trace("t1", "b") is None
    assert await store.trace("t2", "a") is None
    assert (await store.trace("t1", "a")).tenant == "a"


async def test_context_round_trips(open_store):
    """A session's entries come back in order, over several requests and a reopening."""
    store = await open_store()
    await store.settle(settlement("t1", session="s", entries=ENTRIES[:2]))
    await store.settle(settlement("t2", session="s", entries=ENTRIES[2:]))
    await store.close()

    assert await (await open_store()).context("s", "default") == Context(entries=ENTRIES)


async def test_session_belongs_to_its_tenant(open_store):
    """Two tenants' sessions of one name never meet."""
    store = await open_store()
    await store.settle(settlement("t1", session="s", tenant="a", entries=ENTRIES[:1]))
    assert await store.context("s", "b") == Context()

    await store.settle(settlement("t2", session="s", tenant="b", entries=ENTRIES[1:2]))

    assert (await store.context("s", "a")).entries == ENTRIES[:1]
    assert (await store.context("s", "b")).entries == ENTRIES[1:2]


async def test_no_session_remembers_nothing(open_store):
    """Entries of a request that names no session are not stored, whatever the settlement carries."""
    store = await open_store()
    await store.settle(settlement(entries=ENTRIES))

    assert rows(store_path(store), "SELECT count(*) FROM entries") == [(0,)]


async def test_unused_session_is_forgotten(open_store, clock, path):
    """A session that was not used for `session_days` reads as empty at once and is gone from the file soon."""
    store = await open_store(session_days=30.0)
    await store.settle(settlement("t1", session="old", entries=ENTRIES))
    clock.now += 29 * DAY
    await store.settle(settlement("t2", time=clock.now, session="fresh", entries=ENTRIES))
    assert await store.context("old", "default") != Context()

    clock.now += 2 * DAY

    assert await store.context("old", "default") == Context()
    await store.settle(settlement("t3", time=clock.now))
    await store.close()
    assert rows(path, "SELECT id FROM sessions") == [("fresh",)]
    assert rows(path, "SELECT count(*) FROM entries") == [(len(ENTRIES),)]


async def test_expired_session_starts_afresh(open_store, clock):
    """Using an expired session's name again brings nothing of it back."""
    store = await open_store(session_days=1.0)
    await store.settle(settlement("t1", session="s", entries=ENTRIES[:1]))
    clock.now += 2 * DAY

    await store.settle(settlement("t2", time=clock.now, session="s", entries=ENTRIES[1:2]))

    assert (await store.context("s", "default")).entries == ENTRIES[1:2]


async def test_forgotten_content_is_wiped(open_store, clock, path):
    """What an expired session held stands in none of the files any more, while the store stays open."""
    store = await open_store()
    secret = Entry(content=Message(role="user", text="WIPE-ME"), producer="user", label=Label.INTERNAL, time=NOW)
    await store.settle(settlement("t1", session="s", entries=(secret,) * 50))
    assert "WIPE-ME" in everything(path)

    clock.now += 31 * DAY
    await store.settle(settlement("t2", time=clock.now))
    await store.settle(settlement("t3", time=clock.now))  # by now the sweep after t2 is done

    assert "WIPE-ME" not in everything(path)


async def test_long_session_is_read_to_its_newest_lines(open_store):
    """A session of any length gives a context of bounded size: its newest lines, in order."""
    store = await open_store()
    entries = tuple(
        Entry(content=Message(role="user", text=str(i)), producer="user", label=Label.INTERNAL, time=NOW)
        for i in range(CONTEXT_LINES + 5)
    )
    await store.settle(settlement(session="s", entries=entries))

    assert (await store.context("s", "default")).entries == entries[5:]


@pytest.mark.parametrize("text", ["", "\ud800 lone", "nul\x00byte", "ünïcödé 😀", "'); DROP TABLE requests; --"])
async def test_any_text(open_store, text):
    """Whatever a text holds, it comes back as it was."""
    store = await open_store()
    entry = Entry(content=Message(role="user", text=text), producer="user", label=Label.INTERNAL, time=NOW)
    await store.settle(settlement(session="s", entries=(entry,), route=Route(parts=(), reason=worded(text))))

    assert (await store.context("s", "default")).entries == (entry,)
    assert (await store.trace("t1", "default")).route.reason == worded(text)


async def test_session_name_that_is_no_text(open_store):
    """A session name with a lone surrogate is the caller's mistake, told before any work is done."""
    store = await open_store()

    with pytest.raises(InputError, match="session name"):
        await store.context("\ud800", "default")


async def test_same_id_twice(open_store):
    """An id is settled once; the second try is refused and changes nothing."""
    store = await open_store()
    await store.settle(settlement(status="accepted"))

    with pytest.raises(StoreError, match=r"(?i)unique"):
        await store.settle(settlement(status="abstained"))

    assert (await store.trace("t1", "default")).status == "accepted"
    assert (await store.summary()).requests == 1


async def test_one_bad_settlement_spoils_no_other(open_store):
    """Of settlements that share a commit, one that cannot be written fails alone."""
    store = await open_store()
    bad = settlement("bad", usage=Usage(tokens_in=2**70))

    results = await asyncio.gather(
        *(store.settle(settlement(f"t{i}")) for i in range(5)), store.settle(bad), return_exceptions=True
    )

    assert results[:5] == [None] * 5
    assert isinstance(results[5], StoreError)
    assert (await store.summary()).requests == 5
    assert await store.trace("bad", "default") is None


async def test_unstorable_value(open_store):
    """A value that JSON has no form for fails its own settlement with our error, and leaves no half of it."""
    store = await open_store()

    with pytest.raises(StoreError, match="TypeError"):
        await store.settle(settlement(route=Route(parts=(), reason=worded(""), scores={"a": object()})))

    assert (await store.summary()).requests == 0


async def test_queue_is_bounded(open_store, path):
    """While the disk is held up, at most `queue` settlements wait; one more is told to come back later."""
    store = await open_store(queue=4, busy_seconds=30.0)
    with held(path):
        tasks = [asyncio.create_task(store.settle(settlement(f"t{i}"))) for i in range(64)]
        refused, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait(waiting)

    assert all(isinstance(task.exception(), Overloaded) for task in refused)
    assert [task.exception() for task in waiting] == [None] * len(waiting)
    assert (await store.summary()).requests == len(waiting)


async def test_cancelled_caller(open_store):
    """Who stops waiting does not stop the settlement, nor the writer."""
    store = await open_store()
    task = asyncio.create_task(store.settle(settlement("t1")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await store.settle(settlement("t2"))

    assert (await store.summary()).requests == 2


async def test_close_finishes_what_is_queued(open_store, path):
    """Settlements under way when the store closes are written; later ones are refused."""
    store = await open_store()
    tasks = [asyncio.create_task(store.settle(settlement(f"t{i}"))) for i in range(20)]
    await asyncio.sleep(0)

    await store.close()
    await store.close()

    assert [task.result() for task in tasks] == [None] * 20
    assert rows(path, "SELECT count(*) FROM requests") == [(20,)]
    for late in (store.settle(settlement("late")), store.context("s", "t"), store.summary()):
        with pytest.raises(StoreError, match="closed"):
            await late


async def test_closed_store_is_one_file(open_store, path):
    """After closing, the write-ahead log is folded in: copying the one file copies everything."""
    store = await open_store()
    await store.settle(settlement())
    await store.close()

    assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_used_from_two_event_loops(path):
    """A store serves callers on other event loops than the one that opened it."""
    store = await SQLiteStore.open(path, session_days=1.0, keep_content=True)
    try:
        await asyncio.to_thread(asyncio.run, store.settle(settlement()))
        assert (await store.summary()).requests == 1
    finally:
        await store.close()


async def test_files_are_private(open_store, path):
    """Only the user who runs the network may read its database."""
    store = await open_store()
    await store.settle(settlement())

    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_damaged_row_is_told(open_store, path):
    """A stored trace that is no trace any more raises our error, and the store goes on."""
    store = await open_store()
    await store.settle(settlement("t1"))
    await store.settle(settlement("t2"))
    with sqlite3.connect(path) as other:
        other.execute("UPDATE traces SET trace = '{\"id\": 1' WHERE request = 't1'")
    other.close()

    with pytest.raises(StoreError, match="'t1'"):
        await store.trace("t1", "default")

    assert (await store.trace("t2", "default")).id == "t2"


@pytest.mark.parametrize("seconds", [0.0, 0.01])
async def test_brought_to_the_disk(path, clock, monkeypatch, seconds):
    """With `sync_seconds` a commit does not wait for the disk, and an fsync of the log follows; without, each waits."""
    synced = threading.Event()

    def sync(number):
        synced.set()

    monkeypatch.setattr("coterie.store.sqlite.os.fsync", sync)
    store = await SQLiteStore.open(path, session_days=1.0, keep_content=False, clock=clock, sync_seconds=seconds)
    modes = []
    await store._writer.run(lambda connection: modes.extend(connection.execute("PRAGMA synchronous").fetchone()))
    await store.settle(settlement())
    if seconds:
        assert await asyncio.to_thread(synced.wait, 60)
    await store.close()

    assert modes == [1 if seconds else 2]  # SQLite's numbers for normal and full
    assert synced.is_set() is bool(seconds)


async def test_no_commit_waits_for_the_disk(path, clock, monkeypatch):
    """While an fsync takes its time the next settlement is committed, and closing waits until it is on the disk."""
    begun, go_on = threading.Event(), threading.Event()

    def sync(_):
        begun.set()
        assert go_on.wait(120)

    monkeypatch.setattr("coterie.store.sqlite.os.fsync", sync)
    store = await SQLiteStore.open(path, session_days=1.0, keep_content=False, clock=clock, sync_seconds=0.01)
    await store.settle(settlement("t1"))
    assert await asyncio.to_thread(begun.wait, 120)
    await asyncio.wait_for(store.settle(settlement("t2")), 120)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    go_on.set()
    await closing


def store_path(store: SQLiteStore):
    """The file behind a store."""
    return store._writer._connect.args[0]


def rows(path, query):
    """A query's rows, read by another connection."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def everything(path):
    """All bytes of all files of the database, as text."""
    return "".join(file.read_bytes().decode("latin-1") for file in path.parent.iterdir())


@contextmanager
def held(path):
    """Holds the write lock of the database."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


async def test_the_audit_entry_is_written_with_the_settlement(open_store):
    """Both are there on return, those that wait together in one piece; without a disk for the log, who waits hears."""

    class Log:
        def __init__(self, append_soon):
            self.append_soon, self.synced = append_soon, 0

        def sync_soon(self):
            self.synced += 1

    store, written = await open_store(), []
    log = Log(written.append)
    try:
        made = [settlement(f"r{number}") for number in range(40)]
        await asyncio.gather(*(store.record(settled, settled.trace.id, log) for settled in made))
        assert sorted(entry for entries in written for entry in entries) == sorted(settled.trace.id for settled in made)
        assert len(written) < len(made)
        assert all([await store.trace(settled.trace.id, "default") is not None for settled in made])

        def full(_entries):
            raise AuditError("The disk is full.")

        with pytest.raises(AuditError):
            await store.record(settlement("r40"), "r40", Log(full))
        assert await store.trace("r40", "default") is not None
        with pytest.raises(StoreError):  # the same request again
            await store.record(made[0], "again", log)
        assert written[-1] == ["again"]
        assert log.synced == len(made) + 1
    finally:
        await store.close()

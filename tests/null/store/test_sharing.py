"""Several stores and processes on one file."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from coterie.store.sqlite import SQLiteStore, connect

from .conftest import ENTRIES, settlement
from .test_faults import kill_after, start


async def test_opened_by_many_at_once(path):
    """Ten stores that open a file which does not exist yet all get it, with its schema made once."""
    opening = [SQLiteStore.open(path, session_days=1.0, keep_content=False) for _ in range(10)]
    stores = await asyncio.gather(*opening)

    await asyncio.gather(*(store.settle(settlement(f"t{i}")) for i, store in enumerate(stores)))

    assert (await stores[0].summary()).requests == 10
    for store in stores:
        await store.close()


async def test_report_beside_a_server(open_store, path):
    """A second process reads totals while the first settles, and neither fails."""
    path.parent.mkdir()
    server = start(path, "server")
    assert server.stdout.readline()

    report = await open_store()
    first = (await report.summary()).requests
    for _ in range(first + 50):  # the first of them were settled before the first total
        server.stdout.readline()
    second = (await report.summary()).requests
    settled = kill_after(server, 1)

    assert 1 <= first < second
    assert (await report.summary()).requests >= len(settled)


async def test_reads_do_not_wait_for_a_writer(open_store, path):
    """While another connection holds the write lock, everything settled can be read."""
    store = await open_store()
    await store.settle(settlement("t1", session="s", entries=ENTRIES))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    assert (await store.trace("t1", "default")).id == "t1"
    assert (await store.context("s", "default")).entries == ENTRIES
    assert (await store.summary()).requests == 1
    other.close()


async def test_settle_and_read_side_by_side(open_store):
    """A hundred clients that settle and read at once each see their own request at once, and all are counted."""
    store = await open_store()

    async def client(number: int) -> None:
        await store.settle(settlement(f"t{number}", session=f"s{number % 7}", entries=ENTRIES))
        assert (await store.trace(f"t{number}", "default")).id == f"t{number}"
        assert (await store.context(f"s{number % 7}", "default")).entries[-1] == ENTRIES[-1]

    await asyncio.gather(*(client(number) for number in range(100)))

    assert (await store.summary()).requests == 100


async def test_settlements_that_arrive_together_share_a_commit(open_store, monkeypatch):
    """Sixty-four settlements at once take a few commits, not sixty-four."""
    store = await open_store()
    commits = []
    answer = store._writer._answer
    monkeypatch.setattr(
        store._writer, "_answer", lambda batch, outcomes: (commits.append(len(batch)), answer(batch, outcomes))
    )

    await asyncio.gather(*(store.settle(settlement(f"t{i}")) for i in range(64)))

    assert sum(commits) == 64
    assert len(commits) <= 10


def test_forgotten_store_does_not_keep_the_process_alive(path):
    """A program that never closes its store ends all the same, with what it settled on the disk."""
    code = f"""
import asyncio, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from coterie.store.sqlite import SQLiteStore
from coterie.store.sqlite import connect
asyncio.run(SQLiteStore.open(Path({str(path)!r}), session_days=1.0, keep_content=False))
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=120, capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
    assert path.exists()


def test_a_new_file_opened_by_many_at_once(tmp_path):
    """Each of those that find no file and make it gets a connection: none is refused as `locked`."""
    for number in range(30):
        start = threading.Barrier(6)

        def open_it(path=tmp_path / f"{number}.db", start=start):
            start.wait()
            connect(path, 20.0).close()

        with ThreadPoolExecutor(max_workers=6) as pool:
            for done in [pool.submit(open_it) for _ in range(6)]:
                done.result()

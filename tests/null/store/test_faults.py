"""Whatever statement fails, the file stays consistent and the store usable."""

import asyncio
import itertools
import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from coterie.errors import StoreError

from .conftest import DAY, ENTRIES, settlement
from .consistency import problems


class Faults:
    """Makes connections whose n-th statement fails, counted over all of them; n = 0 never fails.

    They differ from the real ones in leaving out the fsync, which no statement's failure depends on.
    """

    def __init__(self, n: int = 0, *, error: type[Exception] = sqlite3.OperationalError, after: bool = False) -> None:
        self.n, self.error, self.after = n, error, after
        self.count = 0
        self.struck = False

    def connect(self, path, busy_seconds):
        """A connection with faults."""
        faults = self

        class Connection(sqlite3.Connection):
            def execute(self, *args):
                faults.count += 1
                if faults.count != faults.n:
                    return super().execute(*args)
                faults.struck = True
                if faults.after:
                    super().execute(*args).fetchall()
                raise faults.error("injected")

        path.parent.mkdir(exist_ok=True)
        connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, factory=Connection)
        for setting in ("synchronous = off", "journal_mode = wal", "foreign_keys = on"):
            sqlite3.Connection.execute(connection, f"PRAGMA {setting}")
        return connection


@pytest.mark.parametrize(
    ("error", "after"),
    [
        (sqlite3.OperationalError, False),
        pytest.param(sqlite3.OperationalError, True, marks=pytest.mark.slow),
        pytest.param(MemoryError, False, marks=pytest.mark.slow),
        pytest.param(MemoryError, True, marks=pytest.mark.slow),
    ],
)
async def test_fail_the_nth_statement(open_store, path, clock, error, after):
    """For n = 1, 2, 3 ...: settled is what returned, half written is nothing, and the next request is served."""
    for n in itertools.count(1):
        faults = Faults(n, error=error, after=after)
        settled, clock.now = await _work(open_store, clock, faults)
        if not faults.struck:
            break
        again = await open_store(connect=Faults().connect)
        stored = {i for i in _ids() if await again.trace(i, "default")}
        assert settled <= stored, f"statement {n}: lost {settled - stored}"
        assert problems(path) == [], f"statement {n}"
        await again.settle(settlement("later"))
        assert (await again.trace("later", "default")).id == "later"
        await again.close()
        for file in path.parent.iterdir():
            file.unlink()
    assert n > 100


def _ids() -> list[str]:
    return [f"t{i}" for i in range(6)]


async def _work(open_store, clock, faults) -> tuple[set[str], float]:
    """Use a store in every way while one statement fails; what was settled, and the clock put back."""
    start, settled = clock.now, set()
    try:
        store = await open_store(connect=faults.connect)
    except StoreError:
        return settled, start
    for pair in (("t0", "t1"), ("t2", "t3"), ("t4", "t5")):
        tasks = {i: store.settle(settlement(i, session="s", time=clock.now, entries=ENTRIES)) for i in pair}
        results = await asyncio.gather(*tasks.values(), return_exceptions=True)
        assert all(result is None or isinstance(result, StoreError) for result in results)
        settled |= {i for i, result in zip(tasks, results, strict=True) if result is None}
        for read in (store.context("s", "default"), store.summary(), store.trace("t0", "default")):
            assert not isinstance((await asyncio.gather(read, return_exceptions=True))[0], sqlite3.Error | MemoryError)
        clock.now += 31 * DAY
    # The fault has struck by now, or never will: the same store goes on working.
    if faults.struck:
        await store.settle(settlement("same-store"))
        assert (await store.summary()).requests >= len(settled) + 1
    await store.close()
    return settled, start


# --- A process killed in the middle of load loses no settled request and damages nothing.


CHILD = Path(__file__).with_name("settle_forever.py")


def start(path: Path, prefix: str) -> subprocess.Popen[bytes]:
    """A process that settles until it is killed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, CHILD, path, prefix], stdout=subprocess.PIPE, env=environment)


def kill_after(process: subprocess.Popen[bytes], lines: int) -> set[str]:
    """Read so many settled ids, kill -9, and read what else it had printed."""
    settled = [process.stdout.readline().decode() for _ in range(lines)]
    process.kill()
    settled += process.stdout.read().decode().splitlines(keepends=True)
    process.stdout.close()
    process.wait()
    return {line.strip() for line in settled if line.endswith("\n")}


def stored(path: Path) -> set[str]:
    """Every request in the database."""
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM requests")}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_kill_in_the_middle_of_load(tmp_path, seed):
    """Killed three times over on one file, after a random number of requests: nothing settled is missing."""
    path, settled = tmp_path / "coterie.db", set[str]()
    for round_number in range(3):
        lines = random.Random(f"{seed}-{round_number}").randint(1, 400)
        settled |= kill_after(start(path, f"{seed}-{round_number}"), lines)

        assert settled <= stored(path)
        assert problems(path) == []
    assert len(settled) >= 3


def test_kill_while_another_process_goes_on(tmp_path):
    """Of two processes that share a file, killing one leaves the other settling and the file whole."""
    path = tmp_path / "coterie.db"
    one, other = start(path, "one"), start(path, "other")
    assert one.stdout.readline()
    assert other.stdout.readline()

    settled = kill_after(one, 50)
    settled |= kill_after(other, 50)

    assert settled <= stored(path)
    assert problems(path) == []


async def test_reopened_store_serves_after_a_kill(open_store, path):
    """A store opened after a kill sees the settled requests and goes on."""
    path.parent.mkdir()
    settled = kill_after(start(path, "killed"), 30)

    store = await open_store()

    assert (await store.summary()).requests >= len(settled)
    assert (await store.trace(min(settled), "default")).id == min(settled)

"""Whatever statement fails, the file stays consistent and the store usable."""

import asyncio
import itertools
import sqlite3

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

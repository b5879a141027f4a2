"""What a process leases of a budget that is asked often: anew where it is written down, little of a scarce one."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from coterie.config.operation import BudgetSection
from coterie.errors import StoreUnavailable
from coterie.limits.limits import Bucket, StoredLimits
from coterie.testing import FakeClock
from coterie.types import Amount, Principal, Usage

ONE = Amount(requests=1)


@pytest.fixture
def made(tmp_path):
    """Budgets over one file, with a count of their transactions; nothing is written but when a test says so."""

    def make(limit: int) -> StoredLimits:
        section = {"daily": BudgetSection(requests=limit)}
        limits = StoredLimits(section, tmp_path / "budgets.db", clock=FakeClock(1_764_072_000.0))
        allotments, writing = limits._allotments, limits._file.writing
        allotments._watch = lambda: None
        limits.commits = 0

        def counted():
            limits.commits += 1
            return writing()

        limits._file.writing = counted
        return limits

    return make


async def ask(limits: StoredLimits, times: int) -> None:
    for _ in range(times):
        await limits.settle(await limits.admit(Principal()), Usage())


async def test_no_request_waits_where_a_budget_is_asked_often(made):
    """After it was written down once, as many requests as before find their part leased."""
    limits = made(1_000_000)
    await ask(limits, 400)
    for _ in range(3):
        limits._allotments.write(lease=True)
        before = limits.commits
        await ask(limits, 400)
        assert limits.commits == before


async def test_what_is_held_is_what_was_used_in_a_second(made):
    """Twice what half a second used, and nothing of a budget that nobody asked since."""
    limits = made(1_000_000)
    await ask(limits, 400)
    limits._allotments.write(lease=True)
    assert 700 < free(limits) <= 800  # the first few were written at once
    limits._allotments.write(lease=True)
    assert free(limits) == 0
    assert limits.spending()[0].requests == 400


async def test_a_request_that_takes_more_than_was_reserved_takes_nothing_from_others(tmp_path):
    """What others have reserved stays held while they run, and each budget's figures stay its own."""
    sections = {"energy": BudgetSection(joules=1_000.0, reserve=5.0), "rate": BudgetSection(requests=100)}
    limits = StoredLimits(sections, tmp_path / "budgets.db", clock=FakeClock(1_764_072_000.0))
    limits._allotments._watch = lambda: None
    first, second = [await limits.admit(Principal()) for _ in range(2)]

    await limits.settle(first, Usage(joules=40.0))
    assert [(spending.joules, spending.held_joules) for spending in limits.spending()] == [(40.0, 5.0), (0.0, 0.0)]

    await limits.settle(await limits.admit(Principal()), Usage(joules=1.0))
    await limits.settle(second, Usage(joules=3.0))
    assert [(spending.joules, spending.held_joules) for spending in limits.spending()] == [(44.0, 0.0), (0.0, 0.0)]
    assert [spending.requests for spending in limits.spending()] == [0, 3]


async def test_budgets_that_are_leased_anew_together_keep_their_own(tmp_path):
    """What each used up is leased under its own name: a row's number that is free again is the next budget's."""
    often = {name: BudgetSection(requests=10_000) for name in ("first", "last")}
    sections = {"first": often["first"], "energy": BudgetSection(joules=1_000.0), "last": often["last"]}
    limits = StoredLimits(sections, tmp_path / "budgets.db", clock=FakeClock(1_764_072_000.0))
    allotments = limits._allotments
    allotments._watch = lambda: None
    kept = await limits.reserve([Bucket("first", "first")], ONE, Principal())
    running = await limits.admit(Principal())
    for name in often:
        for _ in range(40):
            await limits.settle_each(dict.fromkeys(await limits.reserve([Bucket(name, name)], ONE, Principal())))
        share = next(candidate for candidate in allotments._known.values() if candidate.row == name)
        await limits.settle_each({allotments._reserve(share, share.free): None})
    await limits.settle_each(dict.fromkeys(kept))
    allotments.write(lease=True)

    with limits._file.writing() as connection:
        held = dict(connection.execute("SELECT budget, requests FROM held WHERE budget <> 'energy'").fetchall())
    assert held == {
        allotment.row: allotment.held.requests for allotment in allotments._known.values() if allotment.row != "energy"
    }
    await limits.settle(running, Usage(joules=1.0))
    assert {(spending.held, spending.held_joules) for spending in limits.spending()} == {(0, 0)}
    with limits._file.writing() as connection:
        assert connection.execute("SELECT DISTINCT held_requests FROM spent").fetchall() == [(0,)]


async def test_of_a_scarce_budget_nothing_is_kept(made):
    """At most a sixteenth of what is left stays with a process."""
    limits = made(1_000)
    await ask(limits, 600)
    limits._allotments.write(lease=True)
    assert free(limits) <= 400 // 16


async def test_a_lease_that_was_not_written_is_not_spent(made):
    """If the storage fails while it writes and leases, what was free may be given up and is not counted twice."""
    limits = made(1_000_000)
    await ask(limits, 400)
    writing = limits._file.writing

    def broken():
        raise OSError("no disk")

    limits._file.writing = broken
    with pytest.raises(OSError, match="no disk"):
        limits._allotments.write(lease=True)
    limits._file.writing = writing
    limits._allotments.write()
    assert limits.spending()[0].requests == 400


def free(limits: StoredLimits) -> int:
    """Requests that this process may make without asking the storage."""
    return sum(share.free.requests for share in limits._allotments._known.values())


async def test_a_storage_that_is_away_is_tried_once_for_all_who_wait(made):
    """Each try takes seconds where a database is away: what waited behind a failed one has failed too."""
    limits = made(100)
    begun, tries = [], 0

    @contextmanager
    def away():
        nonlocal tries
        tries += 1
        while len(begun) < 8:  # all wait by then
            time.sleep(0.001)
        raise StoreUnavailable("The database is away.")
        yield

    limits._file.writing = away
    lease = limits._lease

    def counted(*arguments):
        begun.append(arguments)
        return lease(*arguments)

    limits._lease = counted
    with ThreadPoolExecutor(8) as pool:
        asyncio.get_running_loop().set_default_executor(pool)
        outcomes = await asyncio.gather(*(limits.admit(Principal()) for _ in range(8)), return_exceptions=True)
        assert ({type(outcome) for outcome in outcomes}, tries) == ({StoreUnavailable}, 1)
        with pytest.raises(StoreUnavailable):  # who comes later tries again
            await limits.admit(Principal())
    assert tries == 2

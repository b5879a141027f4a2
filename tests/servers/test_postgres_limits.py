"""Budgets in PostgreSQL keep the contract of those in a file: the same tests, on a real server."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from coterie.config.operation import BudgetSection
from coterie.errors import BudgetExceeded, StoreError
from coterie.limits.limits import StoredLimits
from coterie.types import Principal
from tests.null.limits import test_limits
from tests.null.limits.test_limits import MODEL, PROMPT, SYSTEM, call, clock  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow

test_what_a_call_took_is_settled = test_limits.test_what_a_call_took_is_settled
test_too_little_left = test_limits.test_too_little_left
test_a_small_budget_pays_a_small_call = test_limits.test_a_small_budget_pays_a_small_call
test_capped_calls_at_once_never_overspend = test_limits.test_capped_calls_at_once_never_overspend
test_reservations_of_others_count = test_limits.test_reservations_of_others_count
test_failed_calls = test_limits.test_failed_calls
test_gone_before_it_began = test_limits.test_gone_before_it_began
test_tries_before_an_answer = test_limits.test_tries_before_an_answer
test_requests = test_limits.test_requests
test_a_rate_at_once = test_limits.test_a_rate_at_once
test_comes_again_when_it_is_told = test_limits.test_comes_again_when_it_is_told
test_whose = test_limits.test_whose
test_two_processes = test_limits.test_two_processes
test_energy_is_reserved_and_settled = test_limits.test_energy_is_reserved_and_settled
test_the_dearest_is_remembered_over_days = test_limits.test_the_dearest_is_remembered_over_days
test_each_has_its_own = test_limits.test_each_has_its_own


@pytest.fixture
def budgets(shared_database: str, clock: Callable[[], float]) -> Iterator[Callable[..., StoredLimits]]:  # noqa: F811
    """Makes budgets over one schema."""
    from coterie.limits.storage import BudgetDatabase
    from coterie.runtime.postgres import PostgresAddress

    address = PostgresAddress(shared_database, source="The test", schema=f"b_{uuid.uuid4().hex[:8]}")
    made: list[StoredLimits] = []

    def make(**sections: dict[str, object]) -> StoredLimits:
        checked = {name: BudgetSection(**section) for name, section in sections.items()}
        made.append(StoredLimits(checked, None, clock=clock, storage=BudgetDatabase(address)))
        return made[-1]

    yield make
    for limits in made:
        asyncio.run(limits.close())


async def test_what_a_dead_process_held_counts(budgets):
    """A process that was not heard of for half a minute has taken what it held; one that comes back takes no more."""
    first, second = budgets(daily={"tokens": 1000}), budgets(daily={"tokens": 1000})
    async with first.held([PROMPT], MODEL, "large", SYSTEM):
        with second._file.writing() as connection:  # a transaction of the first would say that it lives
            connection.execute("UPDATE held SET expires = 1")
        await call(second)
        (spent,) = second.spending()
        assert spent.tokens == 200 + 30
    assert second.spending()[0].tokens == 200 + 30  # what came of it is counted already


async def test_a_host_whose_clock_is_off(shared_database):
    """Ten minutes ahead or behind, it counts in the same minute as the others, and drops nothing that they counted."""
    from coterie.limits.storage import BudgetDatabase
    from coterie.runtime.postgres import PostgresAddress

    address = PostgresAddress(shared_database, source="The test", schema=f"b_{uuid.uuid4().hex[:8]}")
    section = {"all": BudgetSection(requests=6, per="minute")}
    hosts = []
    for off in (0.0, 600.0, -600.0):
        local = lambda off=off: time.time() + off  # noqa: E731 - one for each
        hosts.append(StoredLimits(section, None, clock=local, storage=BudgetDatabase(address, local=local)))
    admitted = 0
    for _ in range(4):
        for host in hosts:
            try:
                await host.admit(Principal())
            except BudgetExceeded:
                continue
            admitted += 1
    for host in hosts:
        await host.close()
    last = StoredLimits(section, None, storage=BudgetDatabase(address))
    counted = [spending.requests for spending in await asyncio.to_thread(last.spending)]
    await last.close()
    assert (admitted, counted) == (6, [6])


async def test_a_server_that_is_away_spends_nothing(budgets, shared_database):
    """Whoever cannot lease is refused; when the server is back, the next request connects anew."""
    import psycopg

    made = budgets(daily={"requests": 10})
    await made.admit(Principal())
    made._allotments.write()
    with psycopg.connect(shared_database, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    with pytest.raises(StoreError):
        await made.admit(Principal())
    await made.admit(Principal())
    assert made.spending()[0].requests == 2


async def test_a_hot_budget_is_leased(budgets):
    """A thousand requests of one budget take some dozen transactions, and to the last one no more than the limit."""
    made = budgets(daily={"requests": 1_000})
    commits = 0
    writing = made._file.writing

    def counted():
        nonlocal commits
        commits += 1
        return writing()

    made._file.writing = counted
    for _ in range(1_000):
        await made.admit(Principal())
    with pytest.raises(BudgetExceeded):
        await made.admit(Principal())
    assert commits < 300
    assert made.spending()[0].requests == 1_000

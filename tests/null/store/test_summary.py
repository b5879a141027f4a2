"""Totals over the ledger."""

from dataclasses import replace
from decimal import Decimal

import pytest

from coterie.types import LedgerSummary, Usage

from .conftest import NOW, settlement


def usage(**changes: object) -> Usage:
    """A request's usage."""
    return replace(Usage(milliseconds=10.0, joules=1.0, joules_kind="measured", cost=Decimal("0.1")), **changes)


async def test_empty(open_store):
    """Without requests there are no percentiles, and nothing was spent."""
    assert await (await open_store()).summary() == LedgerSummary(
        requests=0,
        accepted=0,
        abstained=0,
        escalated=0,
        p50_ms=None,
        p95_ms=None,
        joules=0.0,
        joules_kind="estimated",
        cost=Decimal(0),
        counterfactual_cost=None,
    )


async def test_counts_and_sums(open_store):
    """Requests are counted by status; energy and money are added up, money exactly."""
    store = await open_store()
    for i, status in enumerate(["accepted"] * 3 + ["abstained"] * 2 + ["escalated"]):
        await store.settle(settlement(f"t{i}", status=status, usage=usage(), counterfactual_cost=Decimal("0.3")))

    summary = await store.summary()

    assert (summary.requests, summary.accepted, summary.abstained, summary.escalated) == (6, 3, 2, 1)
    assert summary.joules == 6.0
    assert summary.cost == Decimal("0.6")
    assert summary.counterfactual_cost == Decimal("1.8")


async def test_unknown_money_stays_unknown(open_store):
    """One request of unknown cost makes the sum unknown, never smaller; the other sum is not touched."""
    store = await open_store()
    await store.settle(settlement("t1", usage=usage()))
    await store.settle(settlement("t2", usage=usage(cost=None)))

    summary = await store.summary()

    assert summary.cost is None
    assert summary.counterfactual_cost == Decimal("0.002")


@pytest.mark.parametrize(
    ("kinds", "expected"), [(["measured"] * 2, "measured"), (["measured", "estimated"], "estimated")]
)
async def test_energy_is_measured_only_if_all_of_it_was(open_store, kinds, expected):
    """One estimate among the summands makes the sum an estimate."""
    store = await open_store()
    for i, kind in enumerate(kinds):
        await store.settle(settlement(f"t{i}", usage=usage(joules_kind=kind)))

    assert (await store.summary()).joules_kind == expected


@pytest.mark.parametrize(
    ("times", "p50", "p95"),
    [([7.0], 7.0, 7.0), ([2.0, 1.0], 1.0, 2.0), ([float(i) for i in range(100, 0, -1)], 50.0, 95.0)],
)
async def test_percentiles(open_store, times, p50, p95):
    """A percentile is the smallest time that this share of requests did not exceed: one that really occurred."""
    store = await open_store()
    for i, milliseconds in enumerate(times):
        await store.settle(settlement(f"t{i}", usage=usage(milliseconds=milliseconds)))

    summary = await store.summary()

    assert (summary.p50_ms, summary.p95_ms) == (p50, p95)


async def test_since(open_store):
    """Only requests admitted at or after `since` count, in every total."""
    store = await open_store()
    await store.settle(settlement("old", time=NOW - 1, usage=usage(milliseconds=1000.0, cost=None)))
    await store.settle(settlement("new", time=NOW, usage=usage(milliseconds=5.0)))

    summary = await store.summary(since=NOW)

    assert (summary.requests, summary.p50_ms, summary.cost) == (1, 5.0, Decimal("0.1"))

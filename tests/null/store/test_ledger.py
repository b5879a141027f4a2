"""The ledger added up by day, tenant, specialist and model; what is unknown is counted apart."""

from dataclasses import replace
from decimal import Decimal

import pytest

from coterie.types import Feedback, LedgerRow, LedgerSummary, Step, Training, Usage, total_usage

from .conftest import DAY, NOW, REPLY, TRIAGE, settlement

STEP = Step(
    producer="triage",
    engine="linear",
    usage=Usage(tokens_in=4, cpu_seconds=0.5, joules=5.0, cost=Decimal("0.25")),
)
ASKED = Step(
    producer="generalist",
    engine="large",
    usage=Usage(
        tokens_in=100, tokens_cached=60, tokens_out=20, joules=30.0, joules_low=20.0, joules_high=40.0, cost=None
    ),
)


def settled(trace_id, *steps, **changes):
    """A request that took these steps."""
    usage = replace(total_usage(step.usage for step in steps), milliseconds=changes.pop("milliseconds", 10.0))
    return settlement(trace_id, steps=steps, usage=usage, **{"findings": (TRIAGE,), **changes})


async def filled(open_store):
    """Two days, two tenants, one request with an unknown cost."""
    store = await open_store()
    await store.settle(settled("t1", STEP, time=NOW))
    await store.settle(settled("t2", STEP, time=NOW + DAY, tenant="acme", milliseconds=30.0))
    large = replace(TRIAGE, specialist="generalist")
    unsure = replace(TRIAGE, accepted=False)
    await store.settle(
        settled("t3", STEP, ASKED, time=NOW + DAY, status="escalated", findings=(unsure, large), milliseconds=20.0)
    )
    return store


async def test_by_day(open_store):
    """A row a day, in their order; money is that of what has a price, and the others are counted."""
    ledger = await (await filled(open_store)).ledger(by="day")
    first, second = ledger.rows
    assert (first.key, second.key) == ("1970-01-12", "1970-01-13")
    assert (first.requests, first.accepted, first.cost, first.unpriced) == (1, 1, Decimal("0.25"), 0)
    assert (second.requests, second.accepted, second.escalated, second.answered) == (2, 1, 1, 2)
    assert (second.cost, second.unpriced) == (Decimal("0.25"), 1)
    assert (second.joules, second.joules_low, second.joules_high, second.joules_measured) == (40.0, 30.0, 50.0, 0.0)
    assert (second.tokens_in, second.tokens_cached, second.tokens_out) == (108, 60, 20)
    assert (second.p50_ms, second.p95_ms) == (20.0, 30.0)
    assert (second.compared, second.counterfactual_cost, second.compared_cost) == (2, Decimal("0.002"), None)
    assert ledger.total.requests == 3
    assert ledger.began == NOW


async def test_by_hour(open_store):
    """A row an hour, in their order, none for an hour without a request."""
    ledger = await (await filled(open_store)).ledger(by="hour")
    assert [(row.key, row.requests) for row in ledger.rows] == [("1970-01-12 13:00", 1), ("1970-01-13 13:00", 2)]


async def test_by_tenant(open_store):
    """A row a tenant."""
    ledger = await (await filled(open_store)).ledger(by="tenant")
    assert [(row.key, row.requests) for row in ledger.rows] == [("acme", 1), ("default", 2)]


async def test_by_specialist(open_store):
    """Each with its own steps and findings; the total is that of the requests."""
    ledger = await (await filled(open_store)).ledger(by="specialist")
    large, triage = ledger.rows
    assert (triage.key, triage.requests, triage.accepted, triage.abstained) == ("triage", 3, 2, 1)
    assert (triage.joules, triage.cost, triage.unpriced) == (15.0, Decimal("0.75"), 0)
    assert (large.key, large.requests, large.accepted, large.joules, large.unpriced) == ("generalist", 1, 1, 30.0, 1)
    assert ledger.total.joules == 45.0


async def test_by_model(open_store):
    """Each with the steps that it ran."""
    ledger = await (await filled(open_store)).ledger(by="model", since=NOW + DAY)
    assert [(row.key, row.requests, row.joules) for row in ledger.rows] == [("large", 1, 30.0), ("linear", 2, 10.0)]


async def test_measured(open_store):
    """Joules that were measured are told from the others."""
    store = await open_store()
    measured = replace(STEP, usage=replace(STEP.usage, joules_kind="measured"))
    await store.settle(settled("t1", measured))
    await store.settle(settled("t2", STEP))
    assert (await store.ledger()).total.joules_measured == 5.0


async def test_nothing(open_store):
    """An empty ledger has no rows and knows nothing to compare."""
    ledger = await (await open_store()).ledger()
    assert (ledger.total, ledger.rows, ledger.began) == (LedgerRow(key="total"), (), None)


async def test_judged(open_store):
    """What was said of an answer counts for its request, its day and, where it is told whose, its specialist."""
    store = await filled(open_store)
    feedback = Feedback(trace_id="t1", time=NOW, thumb="up")
    await store.feedback(feedback)
    await store.feedback(replace(feedback, trace_id="t3", specialist="triage", thumb="down"))
    await store.feedback(replace(feedback, trace_id="t2", tenant="acme", thumb=None, comment="hm"))
    days = await store.ledger(by="day")
    assert [(row.judged, row.correct, row.judged_joules) for row in days.rows] == [(1, 1, 5.0), (1, 0, 35.0)]
    assert [row.judged_cost for row in days.rows] == [Decimal("0.25"), None]
    judged = {row.key: (row.judged, row.correct) for row in (await store.ledger(by="specialist")).rows}
    assert judged == {"triage": (2, 1), "generalist": (0, 0)}


async def test_the_newest_word_about_the_whole_counts(open_store):
    """Of several callers the last; what is said of single findings counts only where nobody spoke of the whole."""
    store = await open_store()
    await store.settle(settled("t1", STEP, findings=(TRIAGE, REPLY)))
    feedback = Feedback(trace_id="t1", time=NOW, thumb="up")
    await store.feedback(replace(feedback, specialist="reply", thumb="down"))
    assert (await store.ledger()).total.correct == 0
    await store.feedback(replace(feedback, key="k1", thumb="down", time=NOW + 2))
    await store.feedback(replace(feedback, key="k2", time=NOW + 3))
    assert (await store.ledger()).total.correct == 1
    judged = {row.key: (row.judged, row.correct) for row in (await store.ledger(by="specialist")).rows}
    assert judged == {"triage": (0, 0), "reply": (1, 0)}


@pytest.mark.parametrize("cost", [None, Decimal("0.5")])
async def test_trainings(open_store, cost):
    """Trainings come back as they were written down, oldest first."""
    store = await open_store()
    late = Training(specialist="triage", version="b", time=NOW, seconds=9.0, cpu_seconds=8.0, joules=80.0, cost=cost)
    early = replace(late, version="a", time=NOW - 1)
    for training in (late, early):
        await store.record_training(training)
    assert (await store.ledger()).trainings == (early, late)


# --- Totals over the ledger.


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

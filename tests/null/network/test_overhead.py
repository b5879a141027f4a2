"""The network's own work has a row in the ledger, and so has searching."""

import asyncio
from decimal import Decimal

import pytest

from coterie.accounting.energy import ProcessOverhead
from coterie.types import Label, Passage, Request, Usage


class Searched:
    """Finds one passage and says what that took."""

    async def search(self, query, *, call, **_):
        """One passage."""
        call.charge("index", Usage(cpu_seconds=0.25))
        return [Passage(index="policies", document="fees", text=query, start=0, end=5, label=Label.PUBLIC, score=1.0)]

    async def close(self):
        """Nothing to free."""


async def test_rows(bench):
    """A trace ends with what the network took itself, priced like a step, and counts it in its sum."""
    rest = iter((1.0, 1.5, 2.0, 9.0, 9.25, 9.25))
    network = bench.network(
        bench.Says("triage", knowledge=("policies",)),
        knowledge={"policies": Searched()},
        overhead=ProcessOverhead(lambda: next(rest)),
    )
    trace = (await network.ask(Request(text="triage"))).trace

    rows = [(step.producer, step.engine, step.usage.cpu_seconds) for step in trace.steps]
    assert rows[0][0] == "router"
    assert rows[1:] == [("triage", "index", 0.25), ("triage", "linear", 0.0), ("network", "python", 0.5)]
    assert trace.usage.cpu_seconds == 0.75
    assert trace.usage.cost == Decimal("0.04")

    trace = (await network.ask(Request(text="triage"))).trace
    assert trace.steps[-1].usage.cpu_seconds == 0.5 + 0.25  # writing the first one down is in it


async def test_what_a_specialist_left_on_the_bill(bench):
    """What an engine was stopped in is on the specialist's own step."""
    triage = bench.Says("triage")
    triage.before = lambda: triage.calls[-1].charge("linear", Usage(cpu_seconds=2.0))

    trace = (await bench.network(triage).ask(Request(text="triage"))).trace
    assert [(step.engine, step.usage.cpu_seconds) for step in trace.steps] == [("onnx", 0.0), ("linear", 2.0)]
    assert trace.usage.cpu_seconds == 2.0


async def test_who_leaves_pays(bench):
    """What an engine put on the bill of a caller who left is in the ledger, though there is no finding."""
    begun, triage = asyncio.Event(), bench.Says("triage")

    async def stopped():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            triage.calls[-1].charge("small", Usage(cpu_seconds=2.0))

    triage.before = stopped
    asking = asyncio.create_task(bench.network(triage).ask(Request(text="triage")))
    await begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    (settled,) = bench.store.settled
    assert [(step.producer, step.engine, step.usage.cpu_seconds) for step in settled.trace.steps][1:] == [
        ("triage", "small", 2.0)
    ]

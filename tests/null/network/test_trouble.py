"""When engines fail, queues are full, callers leave and disks are full."""

import asyncio
import re
from contextlib import aclosing

import pytest

from coterie.errors import EgressRefused, EngineBroken, EngineTimeout, ModelMissing, Overloaded, StoreError, TooLong
from coterie.testing import fail_nth
from coterie.types import Answer, Request, Verdict, worded


@pytest.mark.parametrize(
    "error",
    [
        EngineBroken("the weights are gone", engine="linear"),
        EngineTimeout("no answer in 3 s", engine="large"),
        TooLong("the text has 9 tokens, the limit is 8"),
        ModelMissing("smollm2 is not on this machine"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_an_engine_cannot_do_is_an_abstention(bench, error):
    """A failing engine is a finding that abstains with the reason; the other part is answered."""
    network = bench.network(bench.Says("triage", error=error), bench.Says("clauses", "termination"))
    answer = await network.ask(Request(text="triage+clauses"))

    assert answer.text == (
        f"On \u201cabout triage\u201d: not answered (triage: {error.reason}).\n\n"
        "On \u201cabout clauses\u201d: termination (clauses, 90% sure)"
    )
    assert answer.trace.findings[0].reason == error.reason
    assert not answer.trace.findings[0].accepted


async def test_a_refused_crossing_is_in_the_trace(bench):
    """Data above an engine's clearance is an abstention, and the verdict is kept."""
    verdict = Verdict(allowed=False, rule="egress.clearance", reason=worded("internal is above public"))
    network = bench.network(
        bench.Says("triage", accepted=False),
        generalist=bench.Says("generalist", error=EgressRefused(verdict)),
    )
    answer = await network.ask(Request(text="triage"))

    assert answer.trace.status == "abstained"
    assert answer.trace.verdicts == (verdict,)
    assert "generalist: internal is above public" in answer.text


@pytest.mark.parametrize("where", ["specialist", "router"])
async def test_overload_is_told_to_the_caller(bench, where):
    """A full queue is not an abstention: the caller is to come again. The other part is stopped, nothing is settled."""
    stopped = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append(True)
            raise

    full = Overloaded("256 are waiting")
    network = bench.network(
        bench.Says("triage", error=full if where == "specialist" else None), bench.Says("clauses", before=forever)
    )
    network.router.error = full if where == "router" else None
    async with asyncio.timeout(120):
        with pytest.raises(Overloaded):
            await network.ask(Request(text="triage+clauses"))

    assert bool(stopped) is (where == "specialist")
    assert not bench.store.settled
    assert len(asyncio.all_tasks()) == 1


async def test_overload_in_one_stage_stops_its_neighbours(bench):
    """Of specialists side by side in a stage, one that is overloaded ends the others too."""
    network = bench.network(
        bench.Says("triage", writes=("intent",)),
        bench.Says("a", reads=("intent",), error=Overloaded("full")),
        bench.Says("b", reads=("intent",), before=asyncio.Event().wait),
    )
    async with asyncio.timeout(120):
        with pytest.raises(Overloaded):
            await network.ask(Request(text="triage"))
    assert len(asyncio.all_tasks()) == 1


async def test_what_cannot_be_written_down_is_not_given(bench):
    """If the store fails, its error is raised and there is no answer."""
    bench.store.error = StoreError("disk full")
    events = bench.network(bench.Says("triage")).stream(Request(text="triage"))

    assert not isinstance(await anext(events), Answer)
    with pytest.raises(StoreError):
        await anext(events)


# --- Callers that leave -----------------------------------------------------------------------------


async def test_who_leaves_in_the_middle_is_settled(bench):
    """If the caller goes while a specialist speaks, it is stopped, and what was spent and said is settled."""
    reply = bench.Speaks("reply", reads=("intent",), between=lambda index: asyncio.Event().wait() if index else None)
    network = bench.network(bench.Says("triage", "lost", writes=("intent",)), reply)
    async with aclosing(network.stream(Request(text="triage", session="s"))) as events:
        async for event in events:
            assert event.text == "so "
            break

    (settlement,) = bench.store.settled
    assert reply.closed == 1
    assert [step.producer for step in settlement.trace.steps] == ["router", "triage"]
    assert [finding.value for finding in settlement.trace.findings] == ["lost"]
    assert settlement.entries[-1].content.text == "so "
    assert len(asyncio.all_tasks()) == 1


async def test_parts_still_under_way_are_settled_as_far_as_they_got(bench):
    """If the caller goes after the first of two parts, what the second has spent so far is in the ledger too."""
    event = asyncio.Event()

    async def forever_after() -> None:
        event.set()
        await asyncio.Event().wait()

    forever = bench.Says("reply", reads=("intent",), before=forever_after)
    network = bench.network(bench.Says("first", "one"), bench.Says("second", "two", writes=("intent",)), forever)
    async with aclosing(network.stream(Request(text="first+second"))) as events:
        async for _ in events:
            await event.wait()
            break

    (settlement,) = bench.store.settled
    assert [step.producer for step in settlement.trace.steps] == ["router", "first", "second"]
    assert settlement.trace.status == "accepted"


async def test_a_cancelled_caller_is_settled(bench):
    """A cancelled task settles what was spent, and is cancelled all the same."""
    started = asyncio.Event()

    async def forever() -> None:
        started.set()
        await asyncio.Event().wait()

    network = bench.network(
        bench.Says("triage", writes=("intent",)), bench.Says("reply", reads=("intent",), before=forever)
    )
    task = asyncio.create_task(network.ask(Request(text="triage")))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [step.producer for step in bench.store.settled[0].trace.steps] == ["router", "triage"]


@pytest.mark.parametrize("times", [1, 2])
async def test_leaving_during_the_last_settlement(bench, times):
    """Who leaves while the answer is being written down is settled whole, however often they hang up."""
    writing, go = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        writing.set()
        await go.wait()

    bench.store.before = slowly
    task = asyncio.create_task(bench.network(bench.Says("triage")).ask(Request(text="triage")))
    await writing.wait()
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    assert not bench.store.settled
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    assert bench.store.settled[0].trace.status == "accepted"


async def test_leaving_with_a_full_disk(bench):
    """A caller that is gone, and a store that fails: the leaving is what is told, and nothing else is left over."""
    writing, go = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        writing.set()
        await go.wait()

    bench.store.before, bench.store.error = slowly, StoreError("disk full")
    task = asyncio.create_task(bench.network(bench.Says("triage")).ask(Request(text="triage")))
    await writing.wait()
    task.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_leaving_before_anything_was_said(bench):
    """A stream that is closed before its first event has asked nobody and left nothing."""
    triage = bench.Says("triage")
    await bench.network(triage).stream(Request(text="triage")).aclose()

    assert not triage.tasks
    assert not bench.store.settled


# --- Failing everywhere once -----------------------------------------------------------------------


async def test_the_nth_engine_call_fails(bench):
    """Fail the n-th consultation, for n = 1, 2, 3 ...: a settled answer with the reason, and nothing left over."""
    outcomes = []
    for n in range(1, 20):
        cast = (
            bench.Says("triage", "lost", writes=("intent",)),
            bench.Says("reply", "We blocked it.", reads=("intent",)),
            bench.Says("clauses", "termination"),
        )
        calls = fail_nth(_consult, n, EngineBroken(f"call {n} failed", engine="linear"))
        for who in cast:
            who.consult = _through(calls, who)
        answer = await bench.network(*cast).ask(Request(text="triage+clauses"))
        outcomes.append(re.sub("On \u201cabout (\\w+)\u201d: ", r"\1: ", answer.text))
        assert bench.store.settled[-1].trace is answer.trace
        if "failed" not in str(answer.trace.findings):
            break

    assert outcomes == [
        "triage: not answered (triage: call 1 failed).\n\nclauses: termination (clauses, 90% sure)",
        "triage: lost (triage, 90% sure)\n\nclauses: termination (clauses, 90% sure)",
        "triage: We blocked it. (reply, 90% sure)\n\nclauses: not answered (clauses: call 3 failed).",
        "triage: We blocked it. (reply, 90% sure)\n\nclauses: termination (clauses, 90% sure)",
    ]
    assert len(asyncio.all_tasks()) == 1


async def _consult(consult, task, view, call):
    return await consult(task, view, call=call)


def _through(calls, who):
    """The specialist's consult, counted among all of them."""
    original = who.consult

    async def consult(task, view, *, call=None):
        return await calls(original, task, view, call)

    return consult


async def test_closing_closes_everything_whatever_fails(bench):
    """An engine that cannot be closed does not keep the store open, and its error is told."""
    network = bench.network(bench.Says("triage"))

    class Stuck:
        async def close(self) -> None:
            """Fail."""
            raise EngineBroken("stuck", engine="llama")

    network.engines = (Stuck(), network.encoder)
    with pytest.raises(EngineBroken):
        await network.close()
    assert network.encoder.closed
    assert bench.store.closed


async def test_what_left_before_the_overload_is_written_down(bench):
    """If something was sent by the time that a queue is full, the verdict is settled, though there is no answer."""
    sent = Verdict(allowed=True, rule="egress.clearance", reason=worded("it may"))

    triage = bench.Says("triage", error=Overloaded("256 are waiting"))
    triage.before = lambda: triage.calls[-1].decided(sent)
    network = bench.network(triage)
    with pytest.raises(Overloaded):
        await network.ask(Request(text="triage"))
    assert [settlement.trace.verdicts for settlement in bench.store.settled] == [(sent,)]

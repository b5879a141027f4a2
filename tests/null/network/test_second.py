"""Where the first specialist abstains, the next one that a text may be for is asked."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest

from coterie.accounting.meter import ProcessOverhead
from coterie.routing.plan import permitted
from coterie.structured.schema import read_schema
from coterie.types import Function, Label, Message, Part, Passage, Reason, Request, Route, Tools, Usage, worded


@dataclass
class ToBoth:
    """A router that names one specialist, and another one for the case that it abstains."""

    otherwise: tuple[tuple[str, ...], ...] = (("second",),)
    asked: list[str] = field(default_factory=list)

    async def route(self, request, context, *, call=None):
        """The same for every text."""
        part = Part(text=request.text, stages=(("first",),), score=0.9, otherwise=self.otherwise)
        return Route(parts=(part,), reason=worded("it is like both"))


@pytest.mark.parametrize(
    ("first", "second", "answer", "status"),
    [
        (True, True, "one", "accepted"),
        (False, True, "two", "accepted"),
        (False, False, None, "abstained"),
    ],
)
async def test_the_second_is_asked_where_the_first_abstains(bench, first, second, answer, status):
    """Only then; where both abstain the reasons of both are given."""
    one = bench.Says("first", value="one", accepted=first, reason=worded("first says so"))
    two = bench.Says("second", value="two", accepted=second, reason=worded("second says so"))
    result = await bench.network(one, two, router=ToBoth()).ask(Request(text="whose is it?"))

    assert len(two.tasks) == (not first)
    assert result.trace.status == status
    assert [finding.specialist for finding in result.trace.findings] == ["first"] + ["second"] * (not first)
    if answer is None:
        assert "first says so" in result.text
        assert "second says so" in result.text
    else:
        assert result.text == answer


async def test_results_of_calls_are_for_nobody_else(bench):
    """A specialist whose call was answered does not go on from the result, and another one knows nothing of it."""
    first, second = bench.Says("first", accepted=False), bench.Says("second", value="two")
    tools = Tools(since=(Message(role="user", text="Result of the call: done"),))
    result = await bench.network(first, second, router=ToBoth()).ask(Request(text="whose is it?", tools=tools))

    assert (result.trace.status, second.tasks) == ("abstained", [])


async def test_the_second_reads_what_the_first_s_writers_do_not(bench):
    """Its own writers are asked before it."""
    first = bench.Says("first", accepted=False)
    writer = bench.Says("writer", value="card", writes=("intent",))
    second = bench.Says("second", value="two", reads=("intent",))
    router = ToBoth(otherwise=(("writer",), ("second",)))
    result = await bench.network(first, writer, second, router=router).ask(Request(text="whose is it?"))

    assert result.text == "two"
    assert [entry.content.value for entry in second.views[0].entries if hasattr(entry.content, "value")] == ["card"]


async def test_who_may_not_be_asked_is_not_the_second(bench):
    """A key that is for the first specialist only never reaches the second."""
    first, second = bench.Says("first", accepted=False), bench.Says("second", value="two")
    request = Request(text="whose is it?", allowed=("first",))
    result = await bench.network(first, second, router=ToBoth()).ask(request)

    assert result.trace.status == "abstained"
    assert not second.tasks
    assert permitted(await ToBoth().route(request, None), ("first",)).parts[0].otherwise == ()


@pytest.mark.parametrize("others", [(), ("cast_off",)])
async def test_a_function_that_must_be_called_goes_to_who_was_trained_for_it(bench, others):
    """Not to one that happens to have fields or labels of its arguments' names, or that the router would ask."""
    schema = {"type": "object", "properties": {"side": {"enum": ["port", "starboard", "bow"]}}, "required": ["side"]}
    schema["additionalProperties"] = False
    names = ("tie_up", *others)
    functions = tuple(Function(name=name, parameters=schema, schema=schema) for name in names)
    tools = Tools(functions=functions, required=True, most=1)
    caller = bench.Says("caller", value="tie_up", options=("tie_up", "no_function"), called=True)
    label = bench.Says("label", value="port", labels=("port", "starboard", "bow"))
    request = Request(text="tie her up", schema=None if others else schema, tools=tools)
    for alone in ((), ("caller",), ("label",)):
        caller.tasks.clear(), label.tasks.clear()
        answer = await bench.network(label, caller).ask(replace(request, allowed=alone))
        assert answer.trace.status == ("abstained" if others and alone == ("label",) else "accepted")
        asked_label = not others and alone == ("label",)
        assert (len(caller.tasks), len(label.tasks)) == (alone != ("label",), asked_label)


@pytest.mark.parametrize("knows", [True, False])
async def test_what_may_be_null_is_null_where_the_generalist_does_not_know_it_either(bench, knows):
    """It is asked first; what a specialist knows is not lost where it has no answer."""
    side, sort = {"enum": ["port", "starboard", "bow", None]}, {"enum": ["sloop", "ketch", "yawl"]}
    schema = read_schema({"type": "object", "properties": {"side": side, "sort": sort}, "required": ["side", "sort"]})
    unsure = bench.Says("label", accepted=False, labels=("port", "starboard", "bow"))
    sure = bench.Says("kinds", value="ketch", labels=("sloop", "ketch", "yawl"))
    large = bench.Says("large", value='{"side":"bow","sort":"yawl"}', accepted=knows)
    answer = await bench.network(unsure, sure, generalist=large).ask(Request(text="tie up", schema=schema))

    assert len(large.tasks) == 1
    if knows:
        assert answer.trace.status == "escalated"
    else:
        assert (answer.trace.status, json.loads(answer.text)) == ("accepted", {"side": None, "sort": "ketch"})
    alone = await bench.network(unsure, sure).ask(Request(text="tie up", schema=schema))
    assert (alone.trace.status, json.loads(alone.text)) == ("accepted", {"side": None, "sort": "ketch"})
    assert alone.trace.degraded.values["property"] == "side"


async def test_that_no_function_fits_is_no_answer_to_a_question(bench):
    """It is one to who asks that specialist; where the router sent a question to it the next one is asked."""
    none = Reason("accept.no_function", why=Reason("accept.above_threshold"))
    calls = bench.Says("first", value="no_function", options=("open", "no_function"), reason=none, called=True)
    calls.called = False
    other = bench.Says("second", value="two")
    routed = await bench.network(calls, other, router=ToBoth()).ask(Request(text="how much is it?"))
    named = await bench.network(calls, other).ask(Request(text="how much is it?", specialist="first"))

    assert (routed.text, len(other.tasks)) == ("two", 1)
    assert (named.trace.status, len(other.tasks)) == ("accepted", 1)


@pytest.mark.parametrize("answers", [True, False])
async def test_that_no_function_fits_is_said_where_nobody_answers(bench, answers):
    """With functions on offer the next specialist is asked, too; a call that must be made is not, and that is said."""
    none = Reason("accept.no_function", why=Reason("accept.above_threshold"))
    calls = bench.Says("first", value="no_function", options=("open", "no_function"), reason=none, called=True)
    consult = calls.consult

    async def offered(task, view, *, call=None):
        return replace(await consult(task, view, call=call), called=False, offered=True, text="none")

    calls.consult = offered
    other = bench.Says("second", value="two", accepted=answers)
    network = bench.network(calls, other, router=ToBoth())
    schema = read_schema({"type": "object", "properties": {"side": {"enum": ["port", "bow"]}}, "required": ["side"]})
    opening = Function(name="open", parameters=schema, schema=schema)
    offering = Request(text="how much is it?", tools=Tools(functions=(opening,)))
    routed = await network.ask(offering)
    must = await bench.network(calls, other).ask(
        replace(
            offering, schema=opening.schema, tools=replace(offering.tools, required=True, most=1), allowed=("first",)
        )
    )

    assert (routed.trace.status, routed.text) == ("accepted", "two" if answers else "none")
    assert must.trace.status == "abstained"


@pytest.mark.parametrize("at", [1, 2])
async def test_those_with_documents_are_asked_one_after_the_other(bench, at):
    """The third is asked where the second abstains, too, and only then; a key that may not ask it never does."""
    says = [
        bench.Says(name, value=name, accepted=index == at) for index, name in enumerate(("first", "second", "third"))
    ]

    @dataclass
    class ToAll(ToBoth):
        async def route(self, request, context, *, call=None):
            """The same for every text."""
            plain_route = await super().route(request, context)
            return replace(plain_route, parts=(replace(plain_route.parts[0], further=("third",)),))

    result = await bench.network(*says, router=ToAll()).ask(Request(text="whose is it?"))
    route = await ToAll().route(Request(text="whose is it?"), None)

    assert (result.text, len(says[2].tasks)) == (says[at].card.name, at - 1)
    assert permitted(route, ("first", "second")).parts[0].further == ()


# --- The network's own work has a row in the ledger, and so has searching.


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

"""The large model above the specialists: what it is given, what of its answer is taken, and life without it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import pytest

from coterie.config.file import OpenAIModel
from coterie.config.operation import GeneralistSection
from coterie.generalist.generalist import PromptedGeneralist
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.testing import FakeOpenAIServer, FakeRetriever, ServerReply
from coterie.types import Citation, Label, Message, Passage, Prompt, Reason, Request, worded


@pytest.fixture
async def server():
    """A server that notes every byte."""
    async with FakeOpenAIServer(default=ServerReply(text="A claim on property.")) as server:
        yield server


@pytest.fixture
async def above(server):
    """Makes a generalist at that server, behind the gate; a name is a further model there."""
    engines = []

    def make(*names: str, clearance=Label.INTERNAL, model: Mapping[str, object] | None = None, **section: object):
        described = OpenAIModel(
            engine="openai",
            base_url=server.base_url,
            name="big",
            clearance=clearance,
            **{"retries": 0, **(model or {})},
        )
        chain = [(Gate(ClearancePolicy()).open(name, described), described) for name in ("large", *names)]
        engines.extend(engine for engine, _ in chain)
        return PromptedGeneralist(chain, GeneralistSection(model="large", fallback=names, **section))

    make.server = server
    yield make
    for engine in engines:
        await engine.close()


def sent(server) -> str:
    """Everything that the server was told, as text."""
    return "\n".join(m["content"] for request in server.requests for m in request.json["messages"])


# --- Escalate --------------------------------------------------------------------------------------


async def test_what_a_score_leaves_out_is_not_shown_to_it(bench, server, above):
    """Nobody decides in a score's place by what the score may not rest on: it is given the columns that scores read."""

    class Score(bench.Says):
        @property
        def card(self):
            """Of a score that reads one column."""
            return replace(super().card, task="score", form="number", guards_columns=True, columns=("income",))

    network = bench.network(Score("risk", accepted=False, reason=worded("sex is not used")), generalist=above())
    columns = {"income": 1200, "sex": "female", "foreign": "yes"}
    await network.ask(Request(text="May they?", columns=columns, specialist="risk", label=Label.PUBLIC))
    network = bench.network(bench.Says("triage", accepted=False), generalist=above())
    await network.ask(Request(text="Who is it?", columns={"sex": "male"}, specialist="triage", label=Label.PUBLIC))

    first, second = (request.json["messages"][-1]["content"] for request in server.requests)
    assert first.endswith('May they?\n{"income": 1200}')
    assert second.endswith('Who is it?\n{"sex": "male"}')


async def test_it_gets_a_context_pack_and_no_conversation(bench, server, above):
    """Question, guess and doubt go up; what was said before does not, and the trace names what went."""
    triage = bench.Says("triage", "card_lost", accepted=False, reason=worded("not sure enough"), confidence=0.4)
    network = bench.network(triage, generalist=above())
    answer = await network.ask(
        Request(text="triage it", history=(Message(role="user", text="My secret diary."),), label=Label.INTERNAL)
    )

    assert (answer.text, answer.trace.status) == ("A claim on property.", "escalated")
    assert "triage would say 'card_lost' (40% sure), but does not rely on it: not sure enough" in sent(server)
    assert "diary" not in sent(server)
    view = next(view for view in answer.trace.views if view.specialist == "generalist")
    assert view.seen == ("finding from triage",)
    assert [o.reason for o in view.omitted] == [Reason("omit.not_read", specialist="generalist")]
    assert (view.tokens > 0, view.budget) == (True, 4096)


async def test_what_is_above_its_clearance_is_left_out(bench, server, above):
    """A finding made of more sensitive things stays here and is counted; the question itself goes."""
    triage = bench.Says("triage", "card_lost", accepted=False, label=Label.RESTRICTED)
    answer = await bench.network(triage, generalist=above()).ask(Request(text="triage", label=Label.INTERNAL))

    assert answer.trace.status == "escalated"
    assert "card_lost" not in sent(server)
    view = next(view for view in answer.trace.views if view.specialist == "generalist")
    assert view.omitted[0].reason.code == "omit.above_clearance"


async def test_a_question_above_its_clearance_is_refused(bench, server, above):
    """Then nothing leaves at all, the verdict is in the trace, and that is no failure."""
    triage = bench.Says("triage", "card_lost", accepted=False, reason=worded("not sure"))
    answer = await bench.network(triage, generalist=above()).ask(Request(text="triage", label=Label.CONFIDENTIAL))

    assert (server.connections, bytes(server.received)) == (0, b"")
    assert [verdict.allowed for verdict in answer.trace.verdicts] == [False]
    assert (answer.trace.status, answer.trace.degraded) == ("abstained", None)
    assert answer.text.startswith("Not answered: triage: not sure; generalist: confidential data is above")


async def test_cited_passages_go_up(bench, server, above):
    """The words that a specialist cites and is not sure of are in the pack, each as sensitive as its document."""
    texts = {"fees.md": "If you ask: 12 pounds.", "diary.md": "Nobody may ask for the diary."}
    passages = [
        Passage(document=name, start=0, end=len(text), text=text, score=1.0, label=Label.INTERNAL)
        for name, text in texts.items()
    ]
    index = FakeRetriever(passages, index="docs")
    cited = Citation(
        document="fees.md", start=0, end=23, text="If you ask: 12 pounds.", label=Label.INTERNAL, index="docs"
    )
    ask = bench.Says(
        "ask", "12 pounds", accepted=False, reason=worded("not sure"), citations=(cited,), knowledge=("docs",)
    )
    network = bench.network(ask, knowledge={"docs": index}, generalist=above())
    await network.ask(Request(text="ask late fee", label=Label.INTERNAL))

    assert "[fees.md]\n> If you ask: 12 pounds." in sent(server)
    assert "diary" not in sent(server)


# --- Trouble ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (ServerReply.refused(503), "answered with status 503"),
        (ServerReply.refused(429), "answered with status 429"),
        (ServerReply.refused(401), "answered with status 401"),
        (ServerReply(body=b"<html>proxy</html>"), "sent what is no JSON object"),
        (ServerReply(cut_after=0), "broke off"),
        (ServerReply(text=""), "empty answer"),
    ],
)
async def test_without_it_the_best_local_finding_is_shown(bench, server, above, reply, reason):
    """Whatever the large model does, the answer is the best guess, said to be one, with the reason."""
    server.default = reply
    triage = bench.Says("triage", "card_lost", accepted=False, reason=worded("not sure"), confidence=0.4)
    answer = await bench.network(triage, generalist=above()).ask(Request(text="triage", label=Label.INTERNAL))

    *why, guess = answer.text.split("\n")
    assert guess == "Best guess, not sure: card lost (triage, 40% sure)"
    assert why[0].startswith("Not answered: triage: not sure; generalist: ")
    assert reason in str(answer.trace.degraded)
    assert (answer.accepted, len(server.requests)) == (False, 1)
    assert [step.note[:7] for step in answer.trace.steps if step.producer == "generalist"] == ["failed:"]


async def test_a_server_that_never_answers(bench, server, above):
    """The deadline of the request ends it, whatever the model's own time limit is."""
    server.default = ServerReply(hang=True)
    triage = bench.Says("triage", "card_lost", accepted=False, reason=worded("not sure"))
    async with asyncio.timeout(120):
        answer = await bench.network(triage, generalist=above(deadline=0.2)).ask(
            Request(text="triage", label=Label.INTERNAL)
        )

    assert answer.trace.degraded == Reason("attempt.out_of_time", model="large")


async def test_who_leaves_while_a_model_is_asked_has_a_cost_that_nobody_knows(bench, server, above):
    """What a call took that nobody waited for is unknown, and not nothing."""
    server.default = ServerReply(hang=True)
    triage = bench.Says("triage", "card_lost", accepted=False)
    asking = asyncio.create_task(
        bench.network(triage, generalist=above()).ask(Request(text="triage", label=Label.INTERNAL))
    )
    await server.asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    trace = bench.store.settled[0].trace
    assert [prompt.outcome for prompt in trace.egress] == ["cancelled"]
    assert [(step.engine, step.usage.cost) for step in trace.steps if step.note == "cut off"] == [("large", None)]
    assert trace.usage.cost is None


async def test_a_broken_answer_to_a_specialist_has_a_cost_that_nobody_knows(bench, server):
    """A specialist's model breaks off: the provider bills it, so it is a step of the ledger whose cost is unknown."""
    server.default = ServerReply(body=b"no JSON")
    model = OpenAIModel(
        engine="openai",
        base_url=server.base_url,
        name="big",
        clearance=Label.INTERNAL,
        retries=0,
        price_in=1,
        price_out=2,
    )
    engine = Gate(ClearancePolicy()).open("large", model)

    class Asking(bench.Says):
        async def consult(self, task, view, *, call=None):
            await engine.run([Prompt(messages=(Message(role="user", text=task.text),), label=task.label)], call=call)
            raise AssertionError("the answer breaks off")

    answer = await bench.network(Asking("triage", "card_lost")).ask(Request(text="triage", label=Label.INTERNAL))
    await engine.close()

    assert [prompt.outcome for prompt in answer.trace.egress] == ["engine_broken"]
    assert [(step.engine, step.usage.cost) for step in answer.trace.steps if step.note == "cut off"] == [
        ("large", None)
    ]
    assert answer.trace.usage.cost is None


async def test_a_fallback_and_its_money(bench, server, above):
    """The second model answers, and both tries are steps of the ledger with their price."""
    server.script = [ServerReply(cut_after=0)]
    triage = bench.Says("triage", accepted=False)
    answer = await bench.network(triage, generalist=above("other")).ask(Request(text="triage", label=Label.INTERNAL))

    assert (answer.text, answer.trace.status, answer.trace.degraded) == ("A claim on property.", "escalated", None)
    steps = [step for step in answer.trace.steps if step.producer == "generalist"]
    assert [(step.engine, step.usage.cost) for step in steps] == [
        ("large", Decimal("0.01")),
        ("other", Decimal("0.01")),
    ]
    assert steps[0].usage.tokens_in > 0
    assert steps[1].note == "fallback: 'large' failed"


async def test_a_server_that_wants_to_be_waited_for_is_not(bench, server, above):
    """Rate-limited for eight seconds: who else there is answers at once; alone, the true reason is told in time."""
    server.script = [ServerReply.refused(429, retry_after="8")]
    triage = bench.Says("triage", "card_lost", accepted=False)
    network = bench.network(triage, generalist=above("other", model={"retries": 2}))
    answer = await network.ask(Request(text="triage", label=Label.INTERNAL))
    assert (answer.text, len(server.requests)) == ("A claim on property.", 2)

    server.script = [ServerReply.refused(429, retry_after="8")]
    network = bench.network(triage, generalist=above(model={"retries": 2}, deadline=5))
    answer = await network.ask(Request(text="triage", label=Label.INTERNAL))
    assert "status 429" in str(answer.trace.degraded)
    assert len(server.requests) == 3


async def test_a_hedge_is_seen(bench, server, above):
    """A model that says nothing has the next one asked beside it; both steps are in the trace, with why and what."""
    server.script = [ServerReply(hang=True)]
    network = bench.network(bench.Says("triage", accepted=False), generalist=above("other", hedge_after=0.05))
    async with asyncio.timeout(120):
        answer = await network.ask(Request(text="triage", label=Label.INTERNAL))

    assert (answer.text, answer.trace.degraded) == ("A claim on property.", None)
    steps = [step for step in answer.trace.steps if step.producer == "generalist"]
    assert [(step.engine, step.note) for step in steps] == [
        ("large", "given up: 'other' answered first"),
        ("other", "hedge: 'large' had said nothing after 0.05 s"),
    ]
    assert all(step.usage.tokens_in and step.usage.cost for step in steps)


async def test_an_open_circuit_is_seen(bench, server, above):
    """After five failures in a row the model is not asked for a while, and the step says so."""
    server.default = ServerReply.refused(503)
    network = bench.network(bench.Says("triage", accepted=False), generalist=above())
    for _ in range(6):
        answer = await network.ask(Request(text="triage", label=Label.INTERNAL))

    assert len(server.requests) == 5
    assert "failed 5 times in a row and is not asked for now" in answer.trace.steps[-1].note


# --- Streaming -------------------------------------------------------------------------------------


async def test_its_words_are_passed_on_as_they_come(bench, server, above):
    """The deltas of the server are those of the network; when the first one came is a stage.

    Pieces that arrive together are passed on before or after the decision, which depends on the version of Python.
    """
    server.default = ServerReply(pieces=("A claim ", "on ", "property."))
    network = bench.network(bench.Says("triage", accepted=False), generalist=above())
    deltas, answer = await bench.stream(network, "triage", label=Label.INTERNAL)

    assert len(deltas) == 3
    assert "".join(deltas) == answer.text == "A claim on property."
    names = [stage.name for stage in answer.trace.stages]
    assert names.count("first text") == names.count("decide") == 1
    assert names.index("consult") < names.index("first text")


@pytest.mark.parametrize("reply", [{"cut_after": 2}, {"error_after": 2}])
async def test_a_stream_that_breaks_off_says_why(bench, server, above, reply):
    """What was shown stands, its end says that it broke off and why, and the trace marks it."""
    server.default = ServerReply(pieces=("A claim ", "on ", "property."), **reply)
    network = bench.network(bench.Says("triage", accepted=False), generalist=above("other"))
    _, answer = await bench.stream(network, "triage", label=Label.INTERNAL)

    assert answer.text.startswith("A claim on\n\n[The answer breaks off here: Engine 'large' ")
    assert answer.trace.status == "escalated"
    assert answer.trace.degraded
    assert len(server.requests) == 1


# --- Several findings as one answer ----------------------------------------------------------------


@pytest.fixture
def two(bench):
    """Two specialists that are sure."""
    return bench.Says("triage", "card_lost"), bench.Says("clauses", "termination 30 days")


async def test_it_composes_what_several_found(bench, server, above, two):
    """It is shown the findings, and its text is the answer; the specialists are still those who answered."""
    server.default = ServerReply(text="Your card is lost; the notice is 30 days.")
    answer = await bench.network(*two, generalist=above(synthesise=True)).ask(
        Request(text="triage+clauses", label=Label.INTERNAL)
    )

    assert answer.text == "Your card is lost; the notice is 30 days."
    assert answer.trace.status == "accepted"
    assert "triage (90% sure): card_lost" in sent(server)
    assert next(s.note for s in answer.trace.stages if s.name == "compose").startswith("by generalist: answered")


LOCAL = (
    "On \u201cabout triage\u201d: card lost (triage, 90% sure)\n\n"
    "On \u201cabout clauses\u201d: termination 30 days (clauses, 90% sure)"
)


@pytest.mark.parametrize(
    ("reply", "named"),
    [
        (ServerReply(text="The notice is 60 days."), ("abstain.unsupported", "'60'")),
        (ServerReply(text="The contract says \u201cat once\u201d."), ("abstain.unsupported", "'at once'")),
        (ServerReply.refused(503), ("error.engine_unavailable", "status 503")),
    ],
)
async def test_what_it_makes_up_is_not_given(bench, above, two, reply, named):
    """A figure or quote that no finding has, or a failure, makes the answer the one composed here, and says so."""
    server = above.server
    server.default = reply
    answer = await bench.network(*two, generalist=above(synthesise=True)).ask(
        Request(text="triage+clauses", label=Label.INTERNAL)
    )

    assert answer.text == LOCAL
    code, value = named
    assert code in answer.trace.degraded.codes
    assert value in str(answer.trace.degraded)
    assert any(s.name == "compose" and s.note.startswith("here, since ") for s in answer.trace.stages)


async def test_it_does_not_compose_what_it_may_not_see(bench, server, above):
    """One finding above its clearance keeps all of them here, with the verdict."""
    specialists = (
        bench.Says("triage", "card_lost", label=Label.RESTRICTED),
        bench.Says("clauses", "termination 30 days"),
    )
    answer = await bench.network(*specialists, generalist=above(synthesise=True)).ask(
        Request(text="triage+clauses", label=Label.INTERNAL)
    )

    assert answer.text == LOCAL
    assert (server.connections, answer.trace.degraded) == (0, None)
    assert [verdict.allowed for verdict in answer.trace.verdicts] == [False]


async def test_it_composes_only_where_it_is_told_to(bench, server, above, two):
    """By default several findings are put together here, and nothing is asked."""
    answer = await bench.network(*two, generalist=above()).ask(Request(text="triage+clauses", label=Label.INTERNAL))

    assert (answer.text, server.connections) == (LOCAL, 0)

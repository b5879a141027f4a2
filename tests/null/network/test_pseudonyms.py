"""Personal data on its way through the network to a large model and back, over the turns of a session."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from coterie.config.file import OpenAIModel
from coterie.config.operation import GeneralistSection
from coterie.generalist.generalist import INSTRUCTION, PromptedGeneralist
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.privacy.patterns import PatternDetector
from coterie.specialists.parts import Acceptance
from coterie.store.content import without_content
from coterie.tasks.answer.default import load_defaults
from coterie.tasks.answer.model import AnswerSpecialist
from coterie.testing import FakeOpenAIServer, ServerReply
from coterie.types import Document, Label, Request, SpecialistCard

ANNA, BOB = "anna@example.org", "bob@example.org"


@pytest.fixture
async def server():
    """A server that writes to whom it was asked to, in pieces of three characters."""

    def reply(body):
        words = re.findall(r"<\w+>", body["messages"][-1]["content"])
        text = "I wrote to " + " and ".join(words) + "."
        return ServerReply(pieces=[text[at : at + 3] for at in range(0, len(text), 3)])

    async with FakeOpenAIServer(default=reply) as server:
        yield server


@pytest.fixture
async def network(bench, server):
    """A specialist that abstains, and a model above it that may see internal data and pseudonyms."""
    section = OpenAIModel(
        engine="openai", base_url=server.base_url, name="big", clearance=Label.INTERNAL, pseudonymise=True, retries=0
    )
    engine = Gate(ClearancePolicy()).open("large", section)
    large = PromptedGeneralist([(engine, section)], GeneralistSection(model="large"))
    yield bench.network(bench.Says("triage", "lost", accepted=False), generalist=large)
    await engine.close()


def told(server, turn=-1):
    """What the server was told in one turn, as text."""
    return "\n".join(message["content"] for message in server.requests[turn].json["messages"])


async def test_streamed_through_the_network(bench, network, server):
    """The pieces that the caller is shown are the answer, whole values in it, and the trace counts what left."""
    deltas, answer = await bench.stream(network, f"{ANNA} and {BOB}", specialist="triage")

    assert answer.text == "".join(deltas) == f"I wrote to {ANNA} and {BOB}."
    assert "example.org" not in server.received.decode()
    reason = answer.trace.verdicts[-1].reason
    assert (reason.codes, reason.values) == (
        ("egress.pseudonymised", "egress.within_clearance"),
        {"hidden": "2 values (2 EMAIL)"},
    )
    assert answer.trace.label is Label.CONFIDENTIAL


async def test_over_the_turns_of_a_session(network, server):
    """A value has its pseudonym in every turn, also beside what the session remembers of the earlier ones."""
    about = {"session": "s", "clearance": Label.CONFIDENTIAL}
    await network.ask(Request(specialist="triage", text=f"{ANNA}", **about))
    answer = await network.ask(Request(specialist="triage", text=f"{BOB} or {ANNA}", **about))

    assert answer.text == f"I wrote to {BOB} and {ANNA}."
    assert "<EMAIL_2> or <EMAIL_1>" in told(server)
    assert "triage would say 'lost'" in told(server)  # made of personal data, and shown since it holds none


@pytest.mark.parametrize("about", [{"session": "t"}, {"session": "s", "tenant": "other"}, {"session": None}])
async def test_elsewhere_it_is_another(network, server, about):
    """Another session, tenant, or no session at all: pseudonyms begin anew, and nothing can be learnt by them."""
    await network.ask(Request(specialist="triage", text=f"{ANNA}", session="s"))
    await network.ask(Request(specialist="triage", text=f"{BOB}", **about))
    assert "<EMAIL_1>" in told(server)
    assert "<EMAIL_2>" not in told(server)


async def test_gone_with_the_session(bench, network, server):
    """An erased or expired session starts afresh: nothing of the old values is kept in this process."""
    await network.ask(Request(specialist="triage", text=f"{ANNA}", session="s"))
    bench.store.settled.clear()  # as after `coterie session erase`
    await network.ask(Request(specialist="triage", text=f"{BOB}", session="s"))

    assert "<EMAIL_1>" in told(server)
    assert [value.text for value in network.pseudonyms.of("default", "s").values()] == [BOB]


async def test_side_by_side(network, server):
    """Requests at once in one session share the pseudonyms, and each gets its own values back."""
    await network.ask(Request(specialist="triage", text=f"{ANNA}", session="s", clearance=Label.CONFIDENTIAL))
    people = [f"p{number}@example.org" for number in range(12)]
    answers = await asyncio.gather(
        *(
            network.ask(
                Request(specialist="triage", text=f"{who} and {ANNA}", session="s", clearance=Label.CONFIDENTIAL)
            )
            for who in people
        )
    )
    assert [answer.text for answer in answers] == [f"I wrote to {who} and {ANNA}." for who in people]


async def test_who_wrote_it_may_see_it(network):
    """A caller of the lowest clearance gets back what they sent themselves."""
    answer = await network.ask(Request(specialist="triage", text=f"{ANNA}", clearance=Label.PUBLIC))
    assert answer.text == f"I wrote to {ANNA}."


async def test_no_value_is_written_down(bench, network):
    """Neither trace nor verdicts have a value beside the answer's own text; what stands for what is nowhere."""
    answer = await network.ask(Request(specialist="triage", text=f"{ANNA}", session="s"))
    (settlement,) = bench.store.settled
    assert "EMAIL_1" not in str(without_content(settlement.trace)) + str(settlement.entries)
    assert ANNA not in str(answer.trace.verdicts) + str(answer.trace.stages)


async def test_a_question_is_searched_once(bench, server):
    """The gate takes over what the admission found in a question; an instruction is searched once for all requests."""
    section = OpenAIModel(
        engine="openai", base_url=server.base_url, name="big", clearance=Label.INTERNAL, pseudonymise=True, retries=0
    )
    detector, others = Noting(), Noting()
    engines = [Gate(ClearancePolicy(), detector=own).open("large", section) for own in (detector, others)]
    for engine, turns in zip(engines, (("first", "second"), ("third",)), strict=True):
        large = PromptedGeneralist([(engine, section)], GeneralistSection(model="large"))
        asked = bench.network(
            bench.Says("triage", "lost", accepted=False), generalist=large, detector=detector, turns=None
        )
        for turn in turns:
            answer = await asked.ask(Request(specialist="triage", text=f" {turn}: {ANNA}\n"))
            assert answer.text == f"I wrote to {ANNA}."
        await engine.close()

    assert "example.org" not in server.received.decode()
    assert [detector.texts.count(f"{turn}: {ANNA}") for turn in ("first", "second", "third")] == [1, 1, 1]
    assert others.texts.count(f"third: {ANNA}") == 1  # another detector's findings count for itself alone
    assert [sum(text.startswith(INSTRUCTION) for text in own.texts) for own in (detector, others)] == [1, 1]


class Noting(PatternDetector):
    """Notes what it is asked for."""

    def __init__(self):
        self.texts = []

    def find(self, text):
        self.texts.append(text)
        return super().find(text)


async def test_documents(bench, network, server):
    """Quotes of a document go to the model under pseudonyms, and its conclusion comes back with the values."""
    sure = Acceptance(temperature=1.0, threshold=0.3, target_risk=0.4, scope_threshold=None)
    card = SpecialistCard(name="reader", task="answer", description="", rung="lexical", version="0")
    network.reader = AnswerSpecialist(
        card=card, reader=load_defaults().readers["lexical"], answering=sure, silence=sure
    )

    def conclude(body):
        pseudonyms = re.findall(r"<EMAIL_\d>", "".join(message["content"] for message in body["messages"][1:]))
        reply = {"questions": []} | ({"answer": f"Write to {pseudonyms[-1]} [1]."} if pseudonyms else {})
        return ServerReply(text=json.dumps(reply))

    server.default = conclude
    filler = " ".join(f"The clerk keeps paper number {n} in Leeds." for n in range(40))
    document = Document(text=f"{filler} Complaints about a late fee go to {ANNA} by post. {filler}")
    answer = await network.ask(Request(text="To whom do complaints about a late fee go?", document=document))

    assert answer.text == f"Write to {ANNA} [1]."
    assert "example.org" not in server.received.decode()
    assert [v.rule for v in answer.trace.verdicts] == ["label.raised", "egress.clearance", "egress.pseudonymised"]
    assert answer.trace.findings[-1].label is Label.CONFIDENTIAL

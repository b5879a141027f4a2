"""Typed questions are admitted and settled as requests are: labels, the gate, budgets, ledger, audit log, trace."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from coterie.config.file import DecisionModel
from coterie.config.operation import BudgetSection, DecisionsSection, GeneralistSection
from coterie.decisions.deciding import RemoteAnswerer
from coterie.decisions.questions import request_about
from coterie.errors import AuditError, BudgetExceeded, InputError
from coterie.generalist.generalist import PromptedGeneralist
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.limits.limits import StoredLimits
from coterie.store.sqlite import SQLiteStore
from coterie.testing import ReceivedRequest, ScriptedAnswer, ScriptedTransport
from coterie.types import Label, Option, Question, Request, SpecialistCard
from tests._support.audit import Notes

LABELS = ("refund", "delivery", "fee")
QUESTIONS = [Question.choice(LABELS, name="intent"), Question.predicate("Is it urgent?", name="urgent")]
MODEL = DecisionModel(
    engine="systemone", base_url="https://example.org/v1", name="jev", clearance=Label.INTERNAL, retries=0, price_in=1
)


@pytest.fixture
def triage(bench):
    """A classifier that says `refund`."""
    specialist = bench.Says("triage", value="refund", confidence=0.9)

    class Labelled(type(specialist)):
        """With labels."""

        @property
        def card(self) -> SpecialistCard:
            """Of three labels."""
            options = tuple(Option(name=label) for label in LABELS)
            return replace(super().card, task="classify", form="label", options=options)

    return Labelled("triage", value="refund", confidence=0.9)


class Server:
    """A decision model that says the first option, and counts what reached it."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def __call__(self, request: ReceivedRequest) -> ScriptedAnswer:
        """Answer."""
        self.asked.append(request.body)
        answers = {}
        for name, question in json.loads(request.body)["questions"].items():
            options = list(question["criteria"])
            weights = {option: 1.0 if option == options[0] else 0.0 for option in options}
            answer = {"noul": 1.0} if question["type"] == "noul" else {"probabilities": weights}
            answers[name] = {"type": question["type"], **answer}
        return ScriptedAnswer(json={"answers": answers, "usage": {"input_tokens": 9, "output_tokens": 1}})


def gated(server, audit=None):
    """The decision model behind the gate."""
    return Gate(ClearancePolicy(), audit=audit).open("jev", MODEL, transport=ScriptedTransport(server))


def remote(network, server, audit=None):
    """The network with the decision model for zero-shot answers."""
    return replace(
        network,
        deciding=DecisionsSection(model="jev"),
        zero_shot={"jev": RemoteAnswerer(engine=gated(server, audit), typed=True)},
    )


async def test_one_request(bench, triage, tmp_path):
    """It is one row of the ledger with its steps, its findings and its decisions, and one entry of the audit log."""
    store = await SQLiteStore.open(tmp_path / "coterie.db", session_days=1, keep_content=False)
    notes = Notes()
    network = replace(bench.network(triage), store=store, audit=notes, new_id=iter("abc").__next__)
    for text in ("Where is my money?", "I want it back."):
        answer = await network.decide(request_about(text), QUESTIONS)
    trace = await store.trace(answer.trace.id, "default")
    summary = await store.summary()
    sites = await store.sites()

    assert answer["intent"].value == "refund"
    assert answer["intent"].accepted
    assert not answer["urgent"].accepted
    assert [replace(decision, instructions="") for decision in answer.decisions] == [
        replace(decision, instructions="") for decision in trace.decisions
    ]
    assert trace.decisions[1].instructions == "[13 characters, not kept]"
    assert (summary.requests, summary.accepted) == (2, 2)
    assert [stage.name for stage in trace.stages] == ["admit", "decide"]
    assert {event.kind for event in notes.events} == {"request"}
    assert set(notes.events[-1].about["specialists"]) == {"triage"}
    assert {site.name: (site.asked, site.accepted, site.zero_shot) for site in sites} == {
        "intent": (2, 2, 0),
        "urgent": (2, 0, 2),
    }
    assert {site.name: dict(site.answered_by) for site in sites} == {"intent": {"triage": 2}, "urgent": {"encoder": 2}}
    total = await store.ledger()
    assert sum(site.joules for site in sites) == pytest.approx(total.total.joules)
    await store.close()


async def test_what_may_not_leave(bench, triage):
    """A state above the model's clearance stays here: the encoder answers, and reason and trace say why."""
    server = Server()
    network = remote(bench.network(triage), server)
    kept = await network.decide(
        replace(request_about("my password is hunter2-Xy9!kQ"), label=Label.CONFIDENTIAL), QUESTIONS
    )
    sent = await network.decide(replace(request_about("Where is it?"), label=Label.PUBLIC), QUESTIONS)

    assert (kept["urgent"].answered_by, "note.floor_instead" in kept["urgent"].reason.codes) == ("encoder", True)
    assert [verdict.allowed for verdict in kept.trace.verdicts if verdict.rule == "egress.clearance"] == [False]
    assert (sent["urgent"].answered_by, sent["urgent"].method, sent.trace.status) == ("jev", "model", "escalated")
    assert len(server.asked) == 1
    assert b"hunter2" not in server.asked[0]


async def test_a_state_without_a_label_has_the_network_s(bench, triage):
    """It may leave to a model of that clearance, and what is found in it raises it."""
    server = Server()
    network = replace(remote(bench.network(triage), server), default_label=Label.PUBLIC)
    sent = await network.decide(request_about("Where is it?"), QUESTIONS)
    kept = await network.decide(request_about("my password is hunter2-Xy9!kQ"), QUESTIONS)

    assert (sent["urgent"].answered_by, len(server.asked)) == ("jev", 1)
    assert kept["urgent"].answered_by == "encoder"
    assert {finding.label for finding in triage_findings(sent)} == {Label.PUBLIC}


def triage_findings(answer):
    """What the specialist found."""
    return [finding for finding in answer.trace.findings if finding.specialist == "triage"]


async def test_a_budget(bench, triage, tmp_path):
    """A call is one request of a budget; one too many is refused before anything is asked."""
    limits = StoredLimits({"all": BudgetSection(requests=2, per="day")}, tmp_path / "budgets.db")
    network = replace(bench.network(triage), limits=limits)
    for _ in range(2):
        await network.decide(request_about("x"), QUESTIONS)
    with pytest.raises(BudgetExceeded):
        await network.decide(request_about("x"), QUESTIONS)
    with pytest.raises(InputError):
        await network.decide(request_about("x"), [])
    await limits.close()


async def test_an_answer_that_is_not_written_down(bench, triage):
    """It is not given."""
    with pytest.raises(AuditError):
        await replace(bench.network(triage), audit=Notes(AuditError("the disk is full"))).decide(
            request_about("x"), QUESTIONS
        )


async def test_a_log_that_fails_before_something_leaves(bench, triage):
    """Nothing is sent, no answer of ours hides it, and the request is settled with what was about to leave."""
    server = Server()
    network = remote(bench.network(triage), server, Notes(AuditError("the disk is full")))
    with pytest.raises(AuditError):
        await network.decide(replace(request_about("Where is it?"), label=Label.PUBLIC), QUESTIONS)
    (settled,) = bench.store.settled

    assert server.asked == []
    assert [(prompt.engine, prompt.outcome) for prompt in settled.trace.egress] == [("jev", "not_sent")]
    assert [stage.name for stage in settled.trace.stages] == ["admit", "decide"]


async def test_a_key_that_permits_one_model(bench, triage):
    """Neither a specialist nor a remote model that the key does not permit is asked."""
    server = Server()
    network = remote(bench.network(triage), server)
    request = replace(request_about("x"), label=Label.PUBLIC, allowed=("other",))
    answer = await network.decide(request, QUESTIONS)

    assert {decision.answered_by for decision in answer.decisions} == {"encoder"}
    assert server.asked == []


async def test_a_decision_model_above_a_classifier(bench, triage):
    """As the generalist it chooses among the labels of the specialist that abstained, and writes nothing else."""
    server = Server()
    large = PromptedGeneralist([(gated(server), MODEL)], GeneralistSection(model="jev"))
    unsure = replace(triage, accepted=False)
    network = bench.network(unsure, generalist=large)
    answer = await network.ask(Request(text="Where is it?", specialist="triage", label=Label.PUBLIC))
    plain = await bench.network(bench.Says("reply", accepted=False), generalist=large).ask(
        Request(text="Write a poem.", specialist="reply", label=Label.PUBLIC)
    )

    assert (answer.text, answer.status) == ("refund", "escalated")
    assert plain.status == "abstained"
    assert len(server.asked) == 1

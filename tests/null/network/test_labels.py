"""Labels flow: what is found, written down or cited is as sensitive as what it was made of, and is never lowered."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace

import pytest

from coterie.errors import ReleaseRefused
from coterie.privacy.patterns import PatternDetector
from coterie.privacy.tagger import NameTagger
from coterie.testing import FakeRetriever
from coterie.types import Document, Function, Label, Message, Passage, Reason, Release, Request, Tools, Verdict

EMAIL, KEY = "anna@example.org", "AKIAIOSFODNN7EXAMPLE"
PERSONAL, SECRET = f"triage {EMAIL}", f"triage aws key {KEY}"
RAISED = Reason("label.raised", declared="internal", label="confidential", found="1 EMAIL", where="what was asked")


def schema(properties):
    """A JSON schema of an object."""
    return {"type": "object", "properties": properties, "required": [], "additionalProperties": False}


def tools(*, name, properties):
    """A function that may be called."""
    return Tools(functions=(Function(name=name, parameters=schema(properties), schema=schema(properties)),))


async def test_personal_data_raises_the_label(bench):
    """Request, task, finding, facts and every line of the session carry it, with the reason in the trace."""
    triage = bench.Says("triage", writes=("intent",))
    answer = await bench.network(triage).ask(Request(text=PERSONAL, session="s"))

    assert answer.trace.label is Label.CONFIDENTIAL
    assert answer.trace.verdicts[0] == Verdict(allowed=True, rule="label.raised", reason=RAISED)
    assert (triage.tasks[0].label, triage.tasks[0].label_without_pii) == (Label.CONFIDENTIAL, Label.INTERNAL)
    assert {finding.label for finding in answer.trace.findings} == {Label.CONFIDENTIAL}
    entries = bench.store.settled[0].entries
    assert {entry.kind for entry in entries} == {"message", "fact", "finding"}
    assert {(entry.label, entry.label_without_pii) for entry in entries} == {(Label.CONFIDENTIAL, Label.INTERNAL)}


async def test_without_any_it_is_the_networks(bench):
    """A request without a label and without personal data has the network's default and nothing to say about it."""
    network = replace(bench.network(bench.Says("triage")), default_label=Label.PUBLIC)
    trace = (await network.ask(Request(text="triage"))).trace
    assert (trace.label, trace.verdicts) == (Label.PUBLIC, ())


@pytest.mark.parametrize(
    "request_",
    [
        Request(text=PERSONAL),
        Request(text="triage", columns={"mail": EMAIL}),
        Request(text="triage", columns={EMAIL: 1}),
        Request(text="triage", columns={"card": 4111111111111111}),
        Request(text="triage", history=(Message(role="assistant", text=EMAIL),)),
        Request(text=f'triage {{"mail": "{EMAIL}"}}'),
        Request(text=PERSONAL, label=Label.PUBLIC),
        Request(text="triage", tools=tools(name="x", properties={"mail": {"enum": [EMAIL]}})),
        Request(text="triage", tools=tools(name="x", properties={EMAIL: {"type": "string"}})),
        Request(text="triage", schema=schema({"to": {"type": "string", "description": f"such as {EMAIL}"}})),
        Request(text="triage", schema=schema({EMAIL: {"type": "string"}})),
    ],
    ids=[
        *("text", "column", "name of a column", "number", "history", "json in the text", "labelled public"),
        *("option of an argument", "name of an argument", "description in a schema", "name in a schema"),
    ],
)
async def test_wherever_it_stands(bench, request_):
    """Text, columns, earlier turns: personal data raises the label, also one that the caller gave."""
    assert (await bench.network(bench.Says("triage")).ask(request_)).trace.label is Label.CONFIDENTIAL


@pytest.mark.parametrize(
    ("columns", "label", "said"),
    [
        ({"date_of_birth": "1980-02-03"}, Label.CONFIDENTIAL, "1 DATE_OF_BIRTH"),
        ({"passport_number": "C01X00T47"}, Label.CONFIDENTIAL, "1 NATIONAL_ID"),
        ({"lastName": "Vasquez", "mail": EMAIL}, Label.CONFIDENTIAL, "1 EMAIL, 1 PERSON"),
        ({"password": "hunter2hunter2"}, Label.RESTRICTED, "1 SECRET"),
    ],
)
async def test_what_a_column_says_by_its_name(bench, columns, label, said):
    """A value that is personal, or a secret, by the name of its column alone raises the label, and counts once."""
    for request in (Request(text="triage", columns=columns), Request(text=f"triage {json.dumps(columns)}")):
        trace = (await bench.network(bench.Says("triage")).ask(request)).trace
        assert trace.label is label
        assert str(trace.verdicts[0].reason) == f"raised from internal to {label.value}: {said} in what was asked"


async def test_secrets_are_restricted(bench):
    """A key makes the request restricted, which no pseudonym changes."""
    triage = bench.Says("triage")
    answer = await bench.network(triage).ask(Request(text=SECRET))
    assert (answer.trace.label, triage.tasks[0].label_without_pii) == (Label.RESTRICTED, Label.RESTRICTED)
    assert KEY not in str(answer.trace.verdicts)


async def test_a_higher_label_stays(bench):
    """Detection never lowers."""
    triage = bench.Says("triage")
    answer = await bench.network(triage).ask(Request(text=PERSONAL, label=Label.RESTRICTED))
    assert (answer.trace.label, answer.trace.verdicts) == (Label.RESTRICTED, ())
    assert triage.tasks[0].label_without_pii is Label.RESTRICTED


async def test_documents(bench):
    """Personal data in a document raises the document, and so its findings, not the question."""
    document = Document(text=f"The fee is 12 pounds. Write to {EMAIL} about it. " * 3)
    answer = await bench.network().ask(Request(text="What is the fee?", document=document))

    assert answer.trace.label is Label.INTERNAL
    assert answer.trace.verdicts[0].reason.code == "label.raised"
    assert {finding.label for finding in answer.trace.findings} == {Label.CONFIDENTIAL}


async def test_facts_of_passages(bench):
    """What is found in a passage is as sensitive as the passage, whatever the specialist says, and so is the fact."""
    passage = Passage(document="d", start=0, end=9, text="about ask", score=1.0, label=Label.INTERNAL, index="docs")
    ask = bench.Says("ask", knowledge=("docs",), writes=("fee",), label=Label.PUBLIC)
    network = bench.network(ask, knowledge={"docs": FakeRetriever([passage], index="docs")})
    answer = await network.ask(Request(text="ask", label=Label.PUBLIC, session="s"))

    (finding,) = answer.trace.findings
    assert (finding.label, finding.label_without_pii) == (Label.INTERNAL, Label.INTERNAL)
    assert [v.rule for v in finding.verdicts] == ["label.flow"]
    labels = {entry.kind: entry.label for entry in bench.store.settled[0].entries}
    assert labels["fact"] is labels["finding"] is Label.INTERNAL


async def test_secrets_on_a_index(bench):
    """A passage with a secret in it is restricted, whatever its index says: who may not see it gets the others."""
    texts = ("about ask fees", f"about ask aws key {KEY}")
    passages = [
        Passage(document=str(n), start=0, end=len(text), text=text, score=1.0, label=Label.PUBLIC, index="docs")
        for n, text in enumerate(texts)
    ]
    ask = bench.Says("ask", knowledge=("docs",))
    network = bench.network(ask, knowledge={"docs": FakeRetriever(passages, index="docs")})
    await network.ask(Request(text="ask"))
    await network.ask(Request(text="ask", clearance=Label.RESTRICTED))

    assert [[entry.content.text for entry in view.entries] for view in ask.views] == [[texts[0]], [*texts]]
    assert ask.views[1].entries[1].label is Label.RESTRICTED


async def test_what_a_session_knows(bench):
    """What is found with what was said in an earlier turn is as sensitive as that turn."""
    network = bench.network(bench.Says("triage"), bench.Says("reply", reads=("messages",)))
    await network.ask(Request(text=PERSONAL, session="s", clearance=Label.CONFIDENTIAL))
    answer = await network.ask(Request(text="reply", session="s", clearance=Label.CONFIDENTIAL))

    finding = answer.trace.findings[-1]
    assert (finding.specialist, finding.label, finding.label_without_pii) == (
        "reply",
        Label.CONFIDENTIAL,
        Label.INTERNAL,
    )
    assert answer.trace.label is Label.INTERNAL


async def test_a_follow_up(bench):
    """A question that is given back what it is about is as sensitive as that, with and without the personal data."""
    triage = bench.Says("triage", "card_lost")
    network = bench.network(triage)
    await network.ask(Request(text=f"triage: my card is lost, {EMAIL}", session="s", clearance=Label.CONFIDENTIAL))
    answer = await network.ask(
        Request(text="and what does it cost at triage for that?", session="s", clearance=Label.CONFIDENTIAL)
    )
    assert "card lost" in answer.trace.rewritten
    assert (answer.trace.label, triage.tasks[-1].label_without_pii) == (Label.CONFIDENTIAL, Label.INTERNAL)


async def test_who_may_not_see_it(bench):
    """Personal data of an earlier turn is above the default clearance: it is left out and counted."""
    triage = bench.Says("triage", reads=("messages",))
    network = bench.network(triage)
    await network.ask(Request(text=PERSONAL, session="s"))
    await network.ask(Request(text="triage", session="s"))
    assert triage.views[-1].entries == ()
    assert [omission.reason.code for omission in triage.views[-1].omitted] == ["omit.above_caller"] * len(
        triage.views[-1].omitted
    )


async def test_a_specialist_that_says_nothing_of_it(bench):
    """A finding without a label of its own for the case without personal data counts as it is: nothing is lowered."""
    triage = bench.Says("triage", label=Label.CONFIDENTIAL)
    answer = await bench.network(triage).ask(Request(text=PERSONAL))
    assert answer.trace.findings[0].label_without_pii is Label.CONFIDENTIAL


# --- Release ----------------------------------------------------------------------------------------


def released(text=PERSONAL, to=Label.INTERNAL, because="the customer agreed, ticket 12", **more):
    """A request with an order to lower its label."""
    return Request(text=text, release=Release(to=to, because=because), **more)


async def test_release(bench):
    """Lowers the label of request and document, and both verdicts, up and down, are in the trace with the reason."""
    triage = bench.Says("triage")
    answer = await bench.network(triage).ask(released())

    assert (answer.trace.label, triage.tasks[0].label_without_pii) == (Label.INTERNAL, Label.INTERNAL)
    lowered = {"label": "confidential", "lowered": "internal", "because": "the customer agreed, ticket 12"}
    assert [(v.rule, v.reason) for v in answer.trace.verdicts] == [
        ("label.raised", RAISED),
        ("label.released", Reason("label.released", **lowered)),
    ]


async def test_release_of_a_document(bench):
    """A document that came with the request is released with it."""
    answer = await bench.network().ask(released("What is the fee?", document=Document(text=f"Fee: 12. {EMAIL}")))
    assert {finding.label for finding in answer.trace.findings} == {Label.INTERNAL}


async def test_release_never_raises(bench):
    """An order that would raise a label changes nothing."""
    assert (
        await bench.network(bench.Says("triage")).ask(released("triage", Label.RESTRICTED))
    ).trace.label == "internal"


@pytest.mark.parametrize(
    "request_",
    [
        released(SECRET),
        released("triage", label=Label.RESTRICTED),
        released("triage", document=Document(text=SECRET)),
        released(because=" "),
        released(because="x" * 301),
        released(because=f"for {EMAIL}"),
    ],
    ids=["secret", "restricted", "document", "no reason", "long", "reason with personal data"],
)
async def test_release_refused(bench, request_):
    """Secrets and restricted things are not released, nor is anything without a reason that can be kept."""
    with pytest.raises(ReleaseRefused):
        await bench.network(bench.Says("triage")).ask(request_)
    assert bench.store.settled == []


async def test_release_of_one_turn(bench):
    """It holds for the request that brings it: what an earlier turn left is as sensitive as before."""
    triage = bench.Says("triage", reads=("messages",))
    network = bench.network(triage)
    await network.ask(Request(text=PERSONAL, session="s", clearance=Label.CONFIDENTIAL))
    answer = await network.ask(released("triage", session="s", clearance=Label.CONFIDENTIAL))
    assert answer.trace.findings[0].label is Label.CONFIDENTIAL


class Noting:
    """A detector that finds nothing, and notes in which thread it looks."""

    def __init__(self):
        self.threads = set()

    def find(self, text):
        """Nothing."""
        self.threads.add(threading.get_ident())
        return ()


class Quick(Noting):
    """One that says how much it looks through quickly."""

    quick = 20_000


@pytest.mark.parametrize(
    ("detector", "length", "here"),
    [(Quick, 15_000, True), (Quick, 25_000, False), (Noting, 400, True), (Noting, 900, False)],
)
async def test_a_slow_detector_holds_nobody_up(bench, detector, length, here):
    """What a detector does not look through quickly it looks through in a thread, while others are served."""
    noting = detector()
    network = replace(bench.network(bench.Says("triage")), detector=noting)
    await network.ask(Request(text="triage " * (length // 7)))
    assert (noting.threads == {threading.get_ident()}) is here


@pytest.mark.parametrize(
    ("detector", "length", "here"), [(Noting, 200, True), (Noting, 900, False), (Quick, 900, True)]
)
async def test_passages_hold_nobody_up(bench, detector, length, here):
    """Passages are searched for secrets in a thread where that takes long, and each is searched once."""
    noting, text = detector(), "about ask fees " * (length // 15)
    passage = Passage(document="a", start=0, end=len(text), text=text, score=1.0, label=Label.PUBLIC, index="docs")
    ask = bench.Says("ask", knowledge=("docs",))
    network = replace(bench.network(ask, knowledge={"docs": FakeRetriever([passage], index="docs")}), detector=noting)
    await network.ask(Request(text="ask"))
    looked = noting.threads
    assert (looked == {threading.get_ident()}) is here

    noting.threads = set()
    await network.ask(Request(text="ask"))
    assert noting.threads == set(), "what was asked, or the passage, was searched again"
    await network.ask(Request(text="ask once more"))
    assert noting.threads == {threading.get_ident()}, "the passage was searched again"
    noting.threads = set()
    await network.ask(Request(text="ask once more", tenant="another"))
    assert noting.threads == {threading.get_ident()}, "another tenant's text is looked at anew"


@pytest.mark.parametrize("detector", [PatternDetector(), NameTagger.bundled()], ids=["patterns", "names"])
@pytest.mark.parametrize("piece", ["Please send me the new card to Anna Smith. ", "call 030 123 45 67 or 4111 1111, "])
def test_what_is_quick(detector, piece):
    """What a detector says it looks through quickly takes it some five milliseconds: fifteen on a slow machine."""
    text = (piece * detector.quick)[: detector.quick]

    def seconds():
        begun = time.thread_time()
        detector.find(text)
        return time.thread_time() - begun

    assert min(seconds() for _ in range(5)) <= 0.015

"""Questions about a document that comes with the request: read here, and never sent."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from decimal import Decimal

import pytest

from coterie.config.file import OpenAIModel
from coterie.config.operation import GeneralistSection
from coterie.errors import InputError, TooLong
from coterie.generalist.generalist import PromptedGeneralist
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.specialists.parts import Acceptance
from coterie.tasks.answer.model import NOT_STATED, AnswerSpecialist
from coterie.testing import FakeOpenAIServer, FakeRetriever, ServerReply
from coterie.types import Document, Label, Passage, Request
from tests._support.answers import document_reader

FEE = "The late fee for a personal loan is 12 pounds."
QUESTION = "What is the late fee for a personal loan?"


@pytest.fixture
def reader():
    """See `document_reader`."""
    return document_reader()


@pytest.fixture
async def server():
    """A server that notes every byte."""
    async with FakeOpenAIServer() as server:
        yield server


@pytest.fixture
async def above(server):
    """Makes a generalist at that server, behind the gate."""
    engines = []

    def make(clearance=Label.INTERNAL, **section: object):
        model = OpenAIModel(
            engine="openai", base_url=server.base_url, name="big", clearance=clearance, retries=0, window=65_536
        )
        engines.append(Gate(ClearancePolicy()).open("large", model))
        return PromptedGeneralist([(engines[-1], model)], GeneralistSection(model="large", **section))

    make.server = server
    yield make
    for engine in engines:
        await engine.close()


def story(seed: int, *, sentences: int = 120) -> str:
    """A text in which every sentence has words of its own, and one has the fee."""
    draw = random.Random(seed)
    lines = [
        f"The {draw.choice(['clerk', 'ledger', 'branch', 'letter'])} of canary{seed}x{number} keeps "
        f"{draw.choice(['paper', 'silver', 'apples'])} number {draw.randrange(100, 999)} in "
        f"{draw.choice(['Leeds', 'York', 'Bath'])}."
        for number in range(sentences)
    ]
    lines.insert(draw.randrange(sentences), FEE)
    return " ".join(lines)


def planned(*questions: str) -> ServerReply:
    """A plan."""
    return ServerReply(text=json.dumps({"questions": list(questions)}))


def concluded(answer: str, *questions: str) -> ServerReply:
    """A conclusion, or a wish for more."""
    return ServerReply(text=json.dumps({"answer": answer, "questions": list(questions)}))


def notes(answer, stage):
    """What the trace says of a stage."""
    return [entry.note for entry in answer.trace.stages if entry.name == stage]


# --- Here ------------------------------------------------------------------------------------------


async def test_without_a_large_model_the_quotes_are_the_answer(bench, reader):
    """The sentence that answers is quoted with its place in the document, and nothing is routed."""
    network = bench.network(bench.Says("triage"), reader=reader)
    document = Document(text=story(1), name="terms.txt")
    answer = await network.ask(Request(text=QUESTION, document=document))

    assert answer.text == f"{FEE} [1]"
    (citation,) = answer.trace.findings[-1].citations
    assert (citation.document, document.text[citation.start : citation.end]) == ("terms.txt", FEE)
    assert (answer.trace.status, answer.trace.route.specialists) == ("accepted", ("reader",))
    assert notes(answer, "plan") == ["the question itself, in 1 part(s)"]


async def test_a_part_that_the_quotes_do_not_answer_is_named(bench, reader):
    """Of two questions one is answered: the other is not passed over in silence."""
    text = f"{QUESTION} Which architect designed the opera house in Sydney?"
    answer = await bench.network(reader=reader).ask(Request(text=text, document=Document(text=story(3))))

    quote, *rest = answer.text.split("\n")
    assert quote == f"{FEE} [1]"
    assert len(rest) == 1
    assert rest[0].startswith(("Not in the document: “", "Nothing sure was found on “"))
    assert "architect" in rest[0]


async def test_what_is_not_in_it_is_said_not_to_be(bench, reader):
    """Where nothing in the document is like an answer, that is the answer."""
    network = bench.network(bench.Says("triage"), reader=reader)
    answer = await network.ask(Request(text="Who painted the ceiling?", document=Document(text=story(2))))

    assert (answer.text, answer.trace.findings[-1].value) == ("Not in the document.", NOT_STATED)
    assert answer.accepted


async def test_a_doubtful_reader_abstains_and_shows_what_comes_nearest(bench, reader):
    """A reader that is not sure says so, with the nearest words."""
    never = Acceptance(temperature=1.0, threshold=1.0, target_risk=0.4, scope_threshold=None)
    doubtful = AnswerSpecialist(card=reader.card, reader=reader.reader, answering=never, silence=never)
    answer = await bench.network(bench.Says("triage"), reader=doubtful).ask(
        Request(text=QUESTION, document=Document(text=story(3)))
    )

    assert not answer.accepted
    assert answer.text.startswith("Not answered: reader: ")
    assert FEE in answer.text


async def test_an_answer_is_as_sensitive_as_the_document(bench, reader):
    """A question about a more sensitive document has an answer like that; a less sensitive document changes nothing."""
    network = bench.network(bench.Says("triage"), reader=reader)
    for label, expected in ((Label.CONFIDENTIAL, Label.CONFIDENTIAL), (Label.PUBLIC, Label.INTERNAL)):
        document = Document(text=story(4), label=label)
        answer = await network.ask(Request(text=QUESTION, document=document, label=Label.INTERNAL))
        assert answer.trace.findings[-1].label == expected


@pytest.mark.parametrize(
    ("request_", "error", "match"),
    [
        (Request(text="x", document=Document(text=" ")), InputError, "The document is empty"),
        (Request(text=" ", columns={"a": 1}, document=Document(text="x")), InputError, "The question about the"),
        (
            Request(text="x", specialist="triage", document=Document(text="x")),
            InputError,
            "read by the network's reader",
        ),
        (Request(text="x", document=Document(text="x" * 2_000_001)), TooLong, r"2,000,000 characters \(2,000,001\)"),
    ],
    ids=["no text", "no question", "pinned", "too long"],
)
async def test_what_cannot_be_read_is_refused(bench, request_, error, match):
    """Each with what was found and what to do; nothing is settled."""
    with pytest.raises(error, match=match):
        await bench.network(bench.Says("triage")).ask(request_)
    assert not bench.store.settled


# --- In an index ------------------------------------------------------------------------------------


class Stands(FakeRetriever):
    """An index with one document, which it can also give whole."""

    def __init__(self, text: str, label: Label) -> None:
        super().__init__([Passage(document="terms.md", start=0, end=len(text), text=text, score=1.0, label=label)])
        self.whole = text

    async def documents(self, *, clearance=None, tenant="default"):
        """Not asked."""

    async def tenants(self):
        """Not asked."""

    async def update(self, put, remove=()):
        """Not asked."""

    async def text(self, name, start, end, *, clearance, tenant="default"):
        """A part of the document."""
        return self.whole[start:end]


async def test_a_document_of_a_index_is_read(bench, reader):
    """Named by index and name, its text and its label are the index's."""
    index = Stands(story(10), Label.CONFIDENTIAL)
    network = bench.network(bench.Says("triage"), reader=reader, knowledge={"docs": index})
    document = Document(name="terms.md", index="docs")
    request = Request(text=QUESTION, document=document, label=Label.PUBLIC, clearance=Label.CONFIDENTIAL)
    answer = await network.ask(request)

    assert answer.text == f"{FEE} [1]"
    assert answer.trace.findings[-1].label == Label.CONFIDENTIAL


@pytest.mark.parametrize(
    ("document", "match"),
    [
        (Document(name="terms.md", index="other"), "No document 'terms.md' in an index 'other' that may be seen"),
        (Document(name="other.md", index="docs"), "No document 'other.md' in an index 'docs' that may be seen"),
        (Document(name="terms.md", index="docs"), "No document 'terms.md' in an index 'docs' that may be seen"),
    ],
    ids=["no index", "no document", "above the clearance"],
)
async def test_documents_that_are_not_there(bench, reader, document, match):
    """A document above the caller's clearance is not there, in the same words as one that is not."""
    index = Stands(story(11), Label.RESTRICTED)
    network = bench.network(bench.Says("triage"), reader=reader, knowledge={"docs": index})
    with pytest.raises(InputError, match=match):
        await network.ask(Request(text=QUESTION, document=document, clearance=Label.INTERNAL))


@pytest.mark.parametrize("name", ["terms.md", "other.md"])
async def test_a_index_is_closed_to_who_may_have_nothing_read(bench, reader, name):
    """Who names their specialists and not the reader is not told which documents there are."""
    index = Stands(story(11), Label.PUBLIC)
    network = bench.network(bench.Says("triage"), reader=reader, knowledge={"docs": index})
    request = Request(text=QUESTION, document=Document(name=name, index="docs"))
    with pytest.raises(InputError, match="that may be seen"):
        await network.ask(replace(request, allowed=("triage",)))


# --- With a large model ----------------------------------------------------------------------------


async def test_it_plans_and_concludes(bench, server, above, reader):
    """The plan comes of the question alone, the conclusion of the quotes; both are in the trace, with every finding."""
    server.script = [planned("What is the late fee?", "Which loan?"), concluded("It is 12 pounds [1].")]
    network = bench.network(bench.Says("triage"), reader=reader, generalist=above())
    answer = await network.ask(Request(text=QUESTION, document=Document(text=story(5)), label=Label.INTERNAL))

    assert (answer.text, answer.trace.status, answer.trace.degraded) == ("It is 12 pounds [1].", "escalated", None)
    assert notes(answer, "plan") == ["the question itself and 2 short question(s) by the generalist"]
    assert notes(answer, "conclude")[0].startswith("by the generalist from ")
    assert [finding.specialist for finding in answer.trace.findings] == ["reader"] * 3 + ["generalist"]
    assert answer.trace.findings[-1].citations[0].text == FEE
    assert [v.seen[0].startswith("quote from the document") for v in answer.trace.views] == [True]
    first, second = (request.json for request in server.requests)
    assert [m["content"].endswith(QUESTION) for m in first["messages"]] == [True]
    assert first["response_format"]["json_schema"]["schema"]["required"] == ["questions"]
    assert f"[1] {FEE}" in second["messages"][0]["content"]


async def test_it_may_ask_for_more(bench, server, above, reader):
    """What it cannot conclude yet is read for in another round, as many as its section allows."""
    server.script = [planned("Who keeps silver?"), concluded("", "How much is late?"), concluded("12 pounds [1].")]
    network = bench.network(bench.Says("triage"), reader=reader, generalist=above())
    answer = await network.ask(Request(text=QUESTION, document=Document(text=story(6)), label=Label.INTERNAL))

    assert answer.text == "12 pounds [1]."
    assert notes(answer, "conclude")[0] == "the generalist asks for 1 more"
    assert len(notes(answer, "read")) == 2


async def test_the_last_round_may_ask_for_nothing(bench, server, above, reader):
    """After `rounds` conclusions without an answer, what was quoted is the answer."""
    server.default = concluded("", "Who keeps silver?", "Who keeps paper?", "Who keeps apples?")
    server.script = [planned(QUESTION)]
    network = bench.network(bench.Says("triage"), reader=reader, generalist=above(rounds=2, jobs=3))
    answer = await network.ask(Request(text=QUESTION, document=Document(text=story(7)), label=Label.INTERNAL))

    assert (len(server.requests), answer.trace.status) == (3, "accepted")
    assert FEE in answer.text
    assert sum(finding.specialist == "reader" for finding in answer.trace.findings) <= 4


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ([ServerReply.refused(503), ServerReply.refused(503)], "status 503"),
        ([planned(QUESTION), ServerReply(text="It is 12 pounds, I think.")], "did not answer in the requested form"),
        ([ServerReply(text="[1, 2]"), ServerReply(text='{"answer": 12}')], "did not answer in the requested form"),
        ([planned(QUESTION), concluded("It is 13 pounds [1].")], "no quote supports its conclusion: '13'"),
        ([planned(QUESTION), ServerReply(cut_after=3)], "broke off"),
    ],
    ids=["down", "no JSON", "other JSON", "made up", "cut"],
)
async def test_without_it_the_answer_is_local(bench, above, reader, script, reason):
    """Whatever it does wrong, the quotes are the answer, and the trace says what was missed."""
    above.server.script = script
    answer = await bench.network(bench.Says("triage"), reader=reader, generalist=above()).ask(
        Request(text=QUESTION, document=Document(text=story(8)), label=Label.INTERNAL)
    )

    assert FEE in answer.text
    assert answer.trace.status == "accepted"
    assert reason in str(answer.trace.degraded)


async def test_limits_in_tokens(bench, server, above, reader):
    """Once its tokens are used up it is not asked again."""
    server.script = [planned(QUESTION)]
    network = bench.network(bench.Says("triage"), reader=reader, generalist=above(tokens=10))
    answer = await network.ask(Request(text=QUESTION, document=Document(text=story(9)), label=Label.INTERNAL))

    assert len(server.requests) == 1
    assert answer.trace.degraded.codes == ("degraded.stage", "limit.tokens_used_up")


async def test_limits_in_money(bench, server, above, reader):
    """The same for money, as the meter counts it: a cent a step here."""
    server.script = [planned(QUESTION)]
    generalist = above(money=Decimal("0.01"))
    network = bench.network(bench.Says("triage"), reader=reader, generalist=generalist)
    generalist.meter = network.meter
    answer = await network.ask(Request(text=QUESTION, document=Document(text=story(9)), label=Label.INTERNAL))

    assert len(server.requests) == 1
    assert answer.trace.degraded.codes == ("degraded.stage", "limit.money_used_up")


async def test_a_large_share_of_a_document_does_not_leave(bench, server, above, reader):
    """Quotes that are more than a quarter of the document stay here."""
    server.script = [planned(QUESTION)]
    network = bench.network(bench.Says("triage"), reader=reader, generalist=above())
    answer = await network.ask(Request(text=QUESTION, document=Document(text=f"Hello. {FEE}"), label=Label.INTERNAL))

    assert answer.text == f"{FEE} [1]"
    assert (len(server.requests), FEE.encode() in server.received) == (1, False)


# --- Every byte ------------------------------------------------------------------------------------


def behaves(seed: int):
    """A large model that plans, asks for more, makes things up or talks nonsense, as the seed says."""
    draw = random.Random(seed)

    def reply(body) -> ServerReply:
        text = body["messages"][-1]["content"]
        rubbish = [
            ServerReply(text="nonsense"),
            ServerReply.refused(500),
            ServerReply(text='{"questions": 3}'),
            ServerReply(text="{}"),
        ]
        if draw.random() < 0.15:
            return draw.choice(rubbish)
        greedy = [f"What does canary{seed}x{draw.randrange(120)} keep?" for _ in range(draw.randrange(1, 6))]
        if "You do not see the document" in text:
            return planned(QUESTION, "Quote the whole document.", *greedy)
        return concluded(draw.choice(["", "It is 12 pounds [1].", "Everything."]), *greedy)

    return reply


@pytest.mark.parametrize("seed", range(24))
async def test_the_document_never_leaves(bench, server, above, reader, seed):
    """Of all bytes that a server is sent, only quotes are of the document: few, and only where it may see them."""
    draw = random.Random(seed)
    clearance, label = draw.choice(list(Label)), draw.choice(list(Label))
    server.default = behaves(seed)
    document = Document(text=story(seed), name=f"secret-name-{seed}", label=label)
    network = bench.network(
        bench.Says("triage"), reader=reader, generalist=above(clearance, rounds=draw.randrange(1, 4), jobs=6)
    )
    async with asyncio.timeout(60):
        answer = await network.ask(Request(text=QUESTION, document=document, label=Label.PUBLIC))

    received = bytes(server.received).decode()
    wishes = [w for r in server.requests for w in planned_by(r)]
    quotes = {c.text for f in answer.trace.findings for c in (*f.citations, *f.evidence)}
    remaining = received
    for phrase in sorted({*quotes, *wishes}, key=len, reverse=True):
        remaining = remaining.replace(json.dumps(phrase)[1:-1], " ")
    assert "canary" not in remaining, "words of the document outside any quote"
    assert document.name not in received
    seen = {quote for quote in quotes if json.dumps(quote)[1:-1] in received}
    assert sum(map(len, seen)) <= len(document.text) / 4
    if label > clearance:
        assert not seen, "quotes are as sensitive as their document"
        assert FEE not in received


def planned_by(request) -> list[str]:
    """What the prompt says was looked for: the large model's own words, which come back to it."""
    texts = [m["content"] for m in request.json["messages"]]
    lines = [line for text in texts for line in text.splitlines() if line.startswith("Looked for: ")]
    return [
        line.removeprefix("Looked for: ").removesuffix(" (the reader is not sure that this answers it)")
        for line in lines
    ]

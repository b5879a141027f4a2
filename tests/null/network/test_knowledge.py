"""A specialist that reads an index, from request to answer: passages found, cited, and never above a clearance."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from coterie.errors import ArtefactRefused, EngineBroken, NotIndexed, Overloaded, StoreUnavailable
from coterie.network import gathering
from coterie.observe.plain import summarise
from coterie.privacy.patterns import PatternDetector
from coterie.specialists.parts import Acceptance
from coterie.tasks.answer.default import load_defaults
from coterie.tasks.answer.model import NOT_STATED, AnswerSpecialist
from coterie.testing import FakeRetriever
from coterie.types import Label, Passage, Request, SpecialistCard

TEXTS = {
    "fees.md": ("A paper statement costs 3 pounds. The account is free of any monthly fee.", Label.PUBLIC),
    "loans.md": ("If an instalment is late, we charge a late fee of 12 pounds.", Label.PUBLIC),
    "policy.md": ("Above a probability of 20 percent an application is declined.", Label.RESTRICTED),
}


def index() -> FakeRetriever:
    """Two public documents and one that hardly anybody may see."""
    return FakeRetriever(
        [
            Passage(document=name, start=0, end=len(text), text=text, score=0.0, label=label)
            for name, (text, label) in TEXTS.items()
        ]
    )


def ask() -> AnswerSpecialist:
    """The reader that comes with the package; it answers whatever is likelier than not."""
    any_at_all = Acceptance(temperature=1.0, threshold=0.0, target_risk=0.1, scope_threshold=None)
    return AnswerSpecialist(
        card=SpecialistCard(
            name="ask", task="answer", description="", rung="lexical", version="1", knowledge=("index",)
        ),
        reader=load_defaults().readers["lexical"],
        answering=any_at_all,
        silence=any_at_all,
    )


async def test_an_answer_is_cited(bench):
    """The answer quotes the passage; the trace has the citation with its place."""
    network = bench.network(ask(), knowledge={"index": index()})

    answer = await network.ask(Request(text="What late fee do you charge for an instalment?", specialist="ask"))

    (finding,) = answer.trace.findings
    assert "12 pounds" in answer.text
    assert [(citation.document, citation.start) for citation in finding.citations] == [("loans.md", 0)]
    assert finding.citations[0].text == TEXTS["loans.md"][0]


async def test_what_the_caller_may_not_see_is_not_found(bench):
    """The same question: nothing of the policy below its label, and the policy with it."""
    network = bench.network(ask(), knowledge={"index": index()})
    text = "At which probability is an application declined?"

    below = await network.ask(Request(text=text, specialist="ask"))
    cleared = await network.ask(Request(text=text, specialist="ask", clearance=Label.RESTRICTED))

    assert "20 percent" not in below.text
    assert not below.trace.findings[0].citations
    assert "20 percent" in cleared.text
    assert cleared.trace.findings[0].label is Label.RESTRICTED


async def test_a_named_document_is_searched_alone(bench):
    """The column `document` restricts the search."""
    network = bench.network(ask(), knowledge={"index": index()})

    answer = await network.ask(
        Request(text="What does it cost, and what fee is there?", columns={"document": "fees.md"}, specialist="ask")
    )

    assert {citation.document for citation in answer.trace.findings[0].citations} == {"fees.md"}


NOT_INDEXED = NotIndexed(
    "Nothing has been indexed for index 'closed'.", hint="Index its documents: coterie index closed"
)
BROKEN = [
    NOT_INDEXED,
    StoreUnavailable("PostgreSQL at db:5432 does not answer."),
    ArtefactRefused("The index 'closed' was made with another encoder."),
    EngineBroken("the encoder crashed", engine="onnx"),
]


class Closed(FakeRetriever):
    """An index that cannot be searched."""

    def __init__(self, error: Exception) -> None:
        super().__init__([])
        self._error = error

    async def search(self, query, **_):
        """Never."""
        await asyncio.sleep(0)
        raise self._error


@pytest.mark.parametrize("error", BROKEN, ids=lambda error: type(error).__name__)
async def test_a_index_that_cannot_be_searched_is_an_abstention(bench, error):
    """Who reads it is not asked and says why; the other part of the request is answered."""
    help_desk = bench.Says("help", knowledge=("closed",))
    network = bench.network(help_desk, bench.Says("clauses", "termination"), knowledge={"closed": Closed(error)})

    answer = await network.ask(Request(text="help+clauses"))

    message, termination = answer.text.split("\n\n")
    assert f"not answered (help: index 'closed' could not be searched: {error.public.rstrip('.')}" in message
    assert "termination (clauses, 90% sure)" in termination
    assert not help_desk.tasks
    assert str(answer.trace.findings[0].reason).count("..") == 0
    assert [omission.what for omission in answer.trace.views[0].omitted] == ["index 'closed'"]


async def test_the_operator_alone_reads_what_to_do(bench):
    """The answer has the kind of the problem; the reason keeps message and hint for the operator."""
    network = bench.network(bench.Says("help", knowledge=("closed",)), knowledge={"closed": Closed(NOT_INDEXED)})

    answer = await network.ask(Request(text="help"))

    assert NOT_INDEXED.message.rstrip(".") not in answer.text
    assert NOT_INDEXED.hint not in str(summarise(answer.trace))
    reason = answer.trace.findings[0].reason
    assert reason.for_operator == (str(NOT_INDEXED).replace("\n", " "),)
    assert NOT_INDEXED.hint in str(reason.in_full())


async def test_other_indexes_are_read_where_one_fails(bench):
    """What they have answers; the trace says which index was not searched, and why."""
    specialist = replace(ask(), card=replace(ask().card, knowledge=("closed", "index")))
    network = bench.network(specialist, knowledge={"closed": Closed(NOT_INDEXED), "index": index()})

    answer = await network.ask(Request(text="What late fee do you charge for an instalment?", specialist="ask"))

    (record,) = answer.trace.views
    assert "12 pounds" in answer.text
    assert record.omitted[-1].what == "index 'closed'"
    assert NOT_INDEXED.hint in str(record.omitted[-1].reason.in_full())


async def test_nothing_is_called_unstated_where_a_index_was_not_searched(bench):
    """The documents that could be read do not answer; nobody knows about the others."""
    question = Request(text="Who painted the ceiling over the monthly account?", specialist="ask")
    specialist = replace(ask(), card=replace(ask().card, knowledge=("closed", "index")))
    whole = bench.network(ask(), knowledge={"index": index()})
    part = bench.network(specialist, knowledge={"closed": Closed(NOT_INDEXED), "index": index()})

    stated, unknown = await whole.ask(question), await part.ask(question)

    assert (stated.trace.status, stated.trace.findings[0].value) == ("accepted", NOT_STATED)
    assert unknown.trace.status == "abstained"
    reason = unknown.trace.findings[0].reason
    assert (reason.code, reason.values["indexes"]) == ("abstain.not_searched", "'closed'")


async def test_a_full_queue_of_a_index_is_told_to_the_caller(bench):
    """It is no abstention: the caller is to come again."""
    network = bench.network(bench.Says("help", knowledge=("closed",)), knowledge={"closed": Closed(Overloaded("full"))})

    with pytest.raises(Overloaded):
        await network.ask(Request(text="help"))
    assert not bench.store.settled


async def test_secrets_are_found_whatever_else_is_looked_at_meanwhile(monkeypatch):
    """A passage that was looked at before keeps its label, though others put it out while a new one is read."""
    begun, others = threading.Event(), threading.Event()

    class Slow(PatternDetector):
        quick = 0

        def find(self, text):
            if text == "slow":
                begun.set()
                assert others.wait(60)
            return super().find(text)

    def passages(*texts):
        return [
            Passage(document="a", start=0, end=len(text), text=text, score=0.0, label=Label.PUBLIC) for text in texts
        ]

    monkeypatch.setattr(gathering, "_REMEMBERED", 2)
    finder = gathering.SecretFinder(Slow())
    await finder.marked(passages("password: hunter2-abc"))

    looking = asyncio.create_task(finder.marked(passages("password: hunter2-abc", "slow")))
    await asyncio.to_thread(begun.wait)
    await finder.marked(passages("one", "two", "three"))
    others.set()
    assert [entry.label for entry in await looking] == [Label.RESTRICTED, Label.PUBLIC]

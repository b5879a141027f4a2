"""A specialist that reads a shelf, from request to answer: passages found, cited, and never above a clearance."""

from __future__ import annotations

from coterie.answering import load_defaults
from coterie.specialists import Acceptance, AnswerSpecialist
from coterie.testing import FakeRetriever
from coterie.types import Label, Passage, Request, SpecialistCard

TEXTS = {
    "fees.md": ("A paper statement costs 3 pounds. The account is free of any monthly fee.", Label.PUBLIC),
    "loans.md": ("If an instalment is late, we charge a late fee of 12 pounds.", Label.PUBLIC),
    "policy.md": ("Above a probability of 20 percent an application is declined.", Label.RESTRICTED),
}


def shelf() -> FakeRetriever:
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
            name="ask", task="answer", description="", rung="lexical", version="1", knowledge=("shelf",)
        ),
        reader=load_defaults().readers["lexical"],
        answering=any_at_all,
        silence=any_at_all,
    )


async def test_an_answer_is_cited(bench):
    """The answer quotes the passage; the trace has the citation with its place."""
    network = bench.network(ask(), knowledge={"shelf": shelf()})

    answer = await network.ask(Request(text="What late fee do you charge for an instalment?", specialist="ask"))

    (finding,) = answer.trace.findings
    assert "12 pounds" in answer.text
    assert [(each.document, each.start) for each in finding.citations] == [("loans.md", 0)]
    assert finding.citations[0].text == TEXTS["loans.md"][0]


async def test_what_the_asker_may_not_see_is_not_found(bench):
    """The same question: nothing of the policy below its label, and the policy with it."""
    network = bench.network(ask(), knowledge={"shelf": shelf()})
    text = "At which probability is an application declined?"

    below = await network.ask(Request(text=text, specialist="ask"))
    cleared = await network.ask(Request(text=text, specialist="ask", clearance=Label.RESTRICTED))

    assert "20 percent" not in below.text
    assert not below.trace.findings[0].citations
    assert "20 percent" in cleared.text
    assert cleared.trace.findings[0].label is Label.RESTRICTED


async def test_a_named_document_is_searched_alone(bench):
    """The column `document` restricts the search."""
    network = bench.network(ask(), knowledge={"shelf": shelf()})

    answer = await network.ask(
        Request(text="What does it cost, and what fee is there?", columns={"document": "fees.md"}, specialist="ask")
    )

    assert {each.document for each in answer.trace.findings[0].citations} == {"fees.md"}

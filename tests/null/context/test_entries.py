"""What a turn leaves in the context."""

from dataclasses import replace

from coterie.context.entries import entries_of
from coterie.privacy.patterns import PatternDetector
from coterie.testing import make_finding
from coterie.types import (
    Citation,
    ContextView,
    Entry,
    Evidence,
    Fact,
    FindingSummary,
    Label,
    Passage,
    Retraction,
    worded,
)

FOUND = make_finding(
    "card_lost",
    text="card lost",
    reason=worded("sure"),
    label=Label.CONFIDENTIAL,
    task="classify",
    form="label",
    facts=(Fact(name="intent", value="card_lost", confidence=0.9),),
)


def test_a_finding_and_its_facts():
    """An accepted finding leaves itself in short and its facts, from its specialist, as sensitive as it is."""
    summary, fact = entries_of([(FOUND, ContextView())], now=5.0)

    assert summary.content == FindingSummary(
        specialist="triage", task="classify", form="label", text="card lost", confidence=0.9, accepted=True
    )
    assert fact.content == FOUND.facts[0]
    assert {(e.producer, e.label, e.time) for e in (summary, fact)} == {("triage", Label.CONFIDENTIAL, 5.0)}


def test_an_abstention_leaves_its_reason():
    """A finding that is not accepted leaves no facts, and its reason in place of a value."""
    (summary,) = entries_of([(replace(FOUND, accepted=False, reason=worded("not sure")), ContextView())], now=0.0)

    assert (summary.content.text, summary.content.accepted) == ("not sure", False)


def test_a_guess_of_a_password_s_kind_is_no_password():
    """What is said of labels that came near looks like nobody's secret, or none of it could leave."""
    near = tuple(
        Evidence(kind="alternative", name=label, text=f"{label}: {share:.2f}", weight=share)
        for label, share in (("printer", 0.61), ("password", 0.24), ("api_key", 0.11), ("PIN", 0.04))
    )
    guessed = replace(FOUND, value="printer", text="printer", accepted=False, evidence=near)
    (summary,) = entries_of([(guessed, ContextView())], now=0.0)

    assert summary.content.guess == "printer; or password (24%); or api_key (11%); or PIN (4%)"
    assert PatternDetector().find(summary.content.guess) == ()


def test_a_retraction_needs_no_acceptance():
    """Who doubts may take back what it said before; a fact written with it comes after it and stands."""
    doubt = replace(FOUND, accepted=False, retracts=("intent",))
    again = replace(FOUND, retracts=("intent",))

    assert entries_of([(doubt, ContextView())], now=0.0)[0].content == Retraction(name="intent")
    kinds = [type(entry.content).__name__ for entry in entries_of([(again, ContextView())], now=0.0)]
    assert kinds == ["Retraction", "FindingSummary", "Fact"]


def test_of_two_found_side_by_side_the_surest_is_newest():
    """Facts of one stage are in the order of their confidence: the last, which counts, is the surest."""
    other = replace(FOUND, specialist="other", facts=(Fact(name="intent", value="x", confidence=0.7),))

    entries = entries_of([(FOUND, ContextView()), (other, ContextView())], now=0.0)

    assert [e.producer for e in entries if isinstance(e.content, Fact)] == ["other", "triage"]


def test_passages_that_are_cited():
    """A passage of the view is kept if a citation lies in it, once, as it was found; the others are not."""

    def passage(start: int, document: str = "d") -> Entry:
        content = Passage(
            document=document, start=start, end=start + 10, text="0123456789", score=1.0, label=Label.PUBLIC, index="s"
        )
        return Entry(content=content, producer="s", label=Label.PUBLIC, time=3.0)

    view = ContextView(entries=(passage(0), passage(10), passage(0, "other")))
    cited = tuple(
        Citation(document="d", start=start, end=start + 2, text="45", label=Label.PUBLIC, index="s") for start in (4, 6)
    )
    answer = replace(FOUND, facts=(), citations=cited)

    entries = entries_of([(answer, view), (answer, view)], now=9.0)

    assert [e for e in entries if isinstance(e.content, Passage)] == [view.entries[0]]

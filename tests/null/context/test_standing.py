"""What of the log still stands, and what of it a caller may see."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from coterie.context.sharing import entries_of, visible, why_superseded
from coterie.privacy.patterns import PatternDetector
from coterie.testing import make_finding
from coterie.types import (
    Citation,
    Context,
    ContextView,
    Entry,
    Evidence,
    Fact,
    FindingSummary,
    Label,
    Message,
    Omission,
    Passage,
    Reason,
    Retraction,
    worded,
)

from .test_view import fact, labels, message, passage


def retraction(name: str, *, producer: str = "triage", label: Label = Label.INTERNAL) -> Entry:
    return Entry(content=Retraction(name=name), producer=producer, label=label, time=0.0)


def whys(*entries: Entry) -> list[str | None]:
    return [gone and gone.why for gone in why_superseded(entries)]


def test_newest_fact_stands():
    """Of several facts of a name the last stands, whoever wrote it; facts of other names are not touched."""
    assert whys(fact("a", "1"), fact("b", "1"), fact("a", "2", producer="x")) == ["superseded", None, None]


def test_a_retraction_ends_its_own_producers_facts():
    """What its producer takes back no longer counts, and an older fact of somebody else stands again."""
    log = fact("a", "1", producer="x"), fact("a", "2"), fact("a", "3"), retraction("a")

    assert whys(*log) == [None, "retracted", "retracted", "retraction"]


def test_nobody_retracts_for_others():
    """A retraction does nothing to another producer's fact of that name, nor to its own of another name."""
    assert whys(fact("a", "1"), fact("b", "1", producer="x"), retraction("a", producer="x")) == [
        None,
        None,
        "retraction",
    ]


def test_a_fact_after_its_retraction_stands():
    """Whoever took a fact back may write it again."""
    assert whys(fact("a", "1"), retraction("a"), fact("a", "1")) == ["retracted", "retraction", None]


def test_a_passage_that_is_found_again_counts_once():
    """The same span of the same document counts where it was found last."""
    assert whys(passage("p"), passage("p")) == ["repeated", None]


def test_an_caller_sees_up_to_the_clearance():
    """What is above the caller's clearance is left out and named without its content."""
    context = Context(entries=(message("SECRET", label=Label.RESTRICTED), message("hello")))

    seen = visible(context, Label.INTERNAL)

    assert seen.entries == context.entries[1:]
    assert seen.omitted == (
        Omission(
            what="user message from user", reason=Reason("omit.above_caller", label="restricted", clearance="internal")
        ),
    )
    assert "SECRET" not in repr(seen)


def test_a_hidden_fact_takes_the_older_one_along():
    """A fact that a newer one above the clearance supersedes is not shown as if it still held."""
    context = Context(entries=(fact("a", "old"), fact("a", "new", label=Label.RESTRICTED)))

    assert visible(context, Label.INTERNAL).entries == ()


def test_a_hidden_retraction_holds():
    """A fact that was taken back above the clearance is not shown as if it still held."""
    context = Context(entries=(fact("a", "old"), retraction("a", label=Label.RESTRICTED)))

    assert visible(context, Label.INTERNAL).entries == ()
    assert visible(context, Label.RESTRICTED) is context


lines = st.one_of(
    st.builds(fact, st.sampled_from("ab"), st.sampled_from("12"), label=labels, producer=st.sampled_from("xy")),
    st.builds(retraction, st.sampled_from("ab"), label=labels, producer=st.sampled_from("xy")),
    st.builds(message, st.just("m"), label=labels),
)


@given(st.lists(lines, max_size=14), labels)
def test_nothing_hidden_changes_what_stands(log, clearance):
    """Whatever the log: a caller sees nothing above the clearance, and a fact only if it stands in the whole log."""
    context = Context(entries=tuple(log))
    seen = visible(context, clearance)
    standing = [e for e, gone in zip(log, why_superseded(log), strict=True) if gone is None and e.label <= clearance]

    assert all(entry.label <= clearance for entry in seen.entries)
    assert [e for e, gone in zip(seen.entries, why_superseded(seen.entries), strict=True) if gone is None] == standing
    assert all(isinstance(e.content, Fact | Message) for e in standing)
    assert not any(isinstance(e.content, Passage) for e in seen.entries)


# --- What a turn leaves in the context.


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

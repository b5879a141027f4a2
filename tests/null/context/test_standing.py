"""What of the log still stands, and what of it a caller may see."""

from hypothesis import given
from hypothesis import strategies as st

from coterie.context.entries import versions, visible, why_superseded
from coterie.types import Context, Entry, Fact, Label, Message, Omission, Passage, Reason, Retraction

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


def test_versions_keep_what_contradicts():
    """Facts that contradict are all there, newest first, with their confidence; those taken back are not."""
    log = fact("a", "1"), fact("a", "2", producer="x"), fact("a", "3", producer="y"), retraction("a", producer="y")

    entries = versions(Context(entries=log), "a")

    assert [(entry.producer, entry.content.value) for entry in entries] == [("x", "2"), ("triage", "1")]


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

"""What a specialist is shown of a session's context."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.config.file import parse_config
from coterie.context.sharing import build_view, describe_view
from coterie.types import Context, Entry, Fact, Label, Message, Omission, Passage, Reason, SpecialistCard


def card(*reads: str, clearance: Label = Label.RESTRICTED) -> SpecialistCard:
    return SpecialistCard(
        name="reply", task="generate", description="", rung="slm", version="0", reads=reads, clearance=clearance
    )


def fact(name: str, value: str, *, label: Label = Label.INTERNAL, producer: str = "triage") -> Entry:
    return Entry(content=Fact(name=name, value=value, confidence=0.9), producer=producer, label=label, time=0.0)


def message(text: str, *, role: str = "user", label: Label = Label.INTERNAL) -> Entry:
    return Entry(content=Message(role=role, text=text), producer="user", label=label, time=0.0)


def passage(text: str, *, label: Label = Label.INTERNAL) -> Entry:
    content = Passage(document="d", start=0, end=1, text=text, score=1.0, label=label)
    return Entry(content=content, producer="index", label=label, time=0.0)


def test_newest_fact_of_a_name():
    """Of several facts of one name only the last in the log is seen, whoever wrote it."""
    old, new = fact("intent", "a"), fact("intent", "b", producer="other")

    view = build_view(Context(entries=(old, new)), card("intent"))

    assert view.entries == (new,)
    assert view.omitted == (Omission(what="fact intent from triage", reason=Reason("omit.superseded", by="other")),)


def test_only_what_it_reads():
    """Facts of other names, messages and passages stay out unless the card reads them."""
    context = Context(entries=(fact("intent", "a"), fact("risk", "b"), message("hello"), passage("p")))

    view = build_view(context, card("intent"))

    assert view.entries == context.entries[:1]
    assert {o.what for o in view.omitted} == {"fact risk from triage", "user message from user", "passage from index"}
    assert {o.reason for o in view.omitted} == {Reason("omit.not_read", specialist="reply")}


def test_messages_in_order():
    """Who reads `messages` sees the whole conversation in its order, among the facts."""
    context = Context(entries=(message("one"), fact("intent", "a"), message("two", role="assistant")))

    assert build_view(context, card("messages", "intent")).entries == context.entries


def test_clearance():
    """Nothing above the clearance is seen, and the reason names both labels."""
    context = Context(entries=(message("m", label=Label.RESTRICTED), fact("intent", "a", label=Label.INTERNAL)))

    view = build_view(context, card("messages", "intent", clearance=Label.INTERNAL))

    assert view.entries == context.entries[1:]
    assert view.omitted[0].reason.code == "omit.above_clearance"


def test_secret_fact_supersedes():
    """A newer fact above the clearance hides the older one too: out-of-date is worse than unknown."""
    context = Context(entries=(fact("intent", "old"), fact("intent", "new", label=Label.RESTRICTED)))

    view = build_view(context, card("intent", clearance=Label.INTERNAL))

    assert view.entries == ()
    assert [o.reason for o in view.omitted] == [
        Reason("omit.superseded", by="triage"),
        Reason("omit.above_clearance", specialist="reply", label="restricted", clearance="internal"),
    ]


def test_record_names_without_content():
    """The record of a view says what was seen by name and producer, and no content at all."""
    context = Context(entries=(message("SECRET"), message("SECRET"), fact("intent", "SECRET"), fact("x", "SECRET")))

    record = describe_view("reply", build_view(context, card("messages", "intent")))

    assert record.specialist == "reply"
    assert record.seen == ("user message from user (x2)", "fact intent from triage")
    assert "SECRET" not in repr(record)


def test_long_session_makes_a_short_record():
    """A thousand omitted entries are told in a handful of lines."""
    context = Context(entries=tuple(message("m") if i % 2 else fact("intent", "a") for i in range(1000)))

    record = describe_view("reply", build_view(context, card("intent")))

    assert len(record.omitted) == 2
    assert record.omitted[0].what == "fact intent from triage (x499)"


labels = st.sampled_from(Label)
entries = st.one_of(
    st.builds(fact, st.sampled_from(["intent", "risk", "messages"]), st.just("v"), label=labels),
    st.builds(message, st.just("m"), label=labels),
    st.builds(passage, st.just("p"), label=labels),
)


@given(
    st.lists(entries, max_size=12),
    st.sets(st.sampled_from(["intent", "risk", "messages", "other"])),
    labels,
)
def test_every_entry_is_seen_or_accounted_for(log, reads, clearance):
    """Whatever the log: nothing above clearance is seen, each fact once, each entry is seen or counted as omitted."""
    view = build_view(Context(entries=tuple(log)), card(*sorted(reads), clearance=clearance))

    names = [e.content.name for e in view.entries if isinstance(e.content, Fact)]
    counts = [int(match[1]) if (match := re.search(r"\(x(\d+)\)$", o.what)) else 1 for o in view.omitted]
    assert all(entry.label <= clearance for entry in view.entries)
    assert len(names) == len(set(names))
    assert set(names) <= reads
    assert len(view.entries) + sum(counts) == len(log)


# --- How many tokens a specialist's view may take, where its section does not say.


FILE = """
[specialists.triage]
task = "classify"
data = "a.csv"

[specialists.reply]
task = "generate"
data = "a.jsonl"
reads = ["intent"]
model = "small"

[specialists.ask]
task = "answer"
knowledge = ["help"]
model = "small"

[specialists.lawyer]
task = "answer"
knowledge = ["help"]
passages = 100

[specialists.short]
task = "classify"
data = "a.csv"
view_tokens = 300

[models.small]
engine = "llama"
name = "smollm2"
window = 3000

[knowledge.help]
paths = ["help"]
"""


@pytest.mark.parametrize(
    ("name", "tokens"), [("triage", 8192), ("reply", 1500), ("ask", 8192), ("lawyer", 25600), ("short", 300)]
)
def test_budget(name, tokens):
    """As the section says, else half the model's window; more where no model reads it, or only a choice of it.

    All passages that an `answer` specialist asks for fit.
    """
    assert parse_config(FILE).view_tokens(name) == tokens

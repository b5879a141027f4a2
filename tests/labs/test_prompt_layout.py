"""Prompts with a context: what is known first, what to do with it last."""

from coterie.types import Entry, Fact, FindingSummary, Label, Message, Passage
from labs.prompt_layout import context_first


def entry(content: object) -> Entry:
    return Entry(content=content, producer="somebody", label=Label.PUBLIC, time=0.0)


VIEW = [
    entry(Message(role="user", text="Hello")),
    entry(Fact(name="intent", value="loan", confidence=0.4)),
    entry(
        Passage(document="a.md", start=0, end=5, text="Loans", score=1.0, label=Label.PUBLIC, heading="Help > Loans")
    ),
    entry(FindingSummary(specialist="risk", task="score", text="0.2", confidence=0.9, accepted=True)),
]


def test_what_is_known_comes_first():
    """Passages, facts and findings are told first, then the conversation, then instruction and question."""
    first, message, last = context_first(VIEW, instruction="Answer.", asked="How much?")

    assert first.text == "What is known:\n[a.md > Help > Loans]\nLoans\n\nintent = loan (0.40)\nrisk: 0.2"
    assert (first.role, message.text, last.role) == ("system", "Hello", "user")
    assert last.text == "Answer.\n\nHow much?"


def test_prompts_of_one_view_begin_alike():
    """Two specialists that are shown the same differ in the last message only."""
    one, two = (context_first(VIEW, instruction=text, asked="How much?") for text in ("Answer.", "Summarise."))

    assert one[:-1] == two[:-1]
    assert one[-1] != two[-1]


def test_nothing_known():
    """Without a context there is only what to do."""
    assert context_first((), instruction="", asked="How much?") == (Message(role="user", text="How much?"),)

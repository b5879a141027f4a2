"""How a view is packed into its budget."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.context.sharing import build_view, describe_view, pack, tokens_of
from coterie.types import (
    Context,
    Entry,
    Fact,
    FindingSummary,
    Label,
    Message,
    Omission,
    Passage,
    Reason,
    SpecialistCard,
)


def card(budget: int | None, *reads: str) -> SpecialistCard:
    """A card with a budget that reads these facts and the index `help`."""
    return SpecialistCard(
        name="reply",
        task="generate",
        description="",
        rung="slm",
        version="0",
        reads=reads,
        knowledge=("help",),
        view_tokens=budget,
    )


def entry(content: object, producer: str = "user", time: float = 0.0) -> Entry:
    return Entry(content=content, producer=producer, label=Label.INTERNAL, time=time)


def talk(*texts: str) -> list[Entry]:
    """Turns of a user, each with an answer of the same length."""
    return [
        line
        for text in texts
        for line in (entry(Message(role="user", text=text)), entry(Message(role="assistant", text=text), "network"))
    ]


def passages(*texts: str, time: float = 1.0) -> list[Entry]:
    """Passages as one search gave them, best first."""
    return [
        entry(
            Passage(document=text, start=0, end=len(text), text=text, score=1.0, label=Label.PUBLIC, index="help"),
            "help",
            time,
        )
        for text in texts
    ]


def test_everything_fits():
    """Without a budget, or within it, all that is read is seen, and the view says what it takes."""
    context = Context(entries=tuple(talk("hello")))

    view = build_view(context, card(100, "messages"))

    assert view.entries == context.entries
    assert (view.tokens, view.budget) == (12, 100)
    assert build_view(context, card(None, "messages")).budget is None


def test_new_turns_before_old_ones():
    """Where not all turns fit, the newest stay, in their order."""
    context = Context(entries=tuple(talk("a" * 40, "b" * 40, "c" * 40)))

    view = build_view(context, card(4 * 14, "messages"))

    assert [e.content.text[0] for e in view.entries] == ["b", "b", "c", "c"]
    assert view.omitted[0] == Omission(what="user message from user", reason=Reason("omit.budget", tokens=56))


def test_facts_before_passages_before_an_equally_long_talk():
    """A fact is worth more than the passages, the best passage more than the next, all of them more than talk."""
    fact = entry(Fact(name="intent", value="x" * 20, confidence=0.9), "triage")
    log = [entry(Message(role="user", text="m" * 40)), fact]

    seen = [
        [
            type(e.content).__name__
            for e in build_view(Context(entries=tuple(log)), c, passages("p" * 40, "q" * 40)).entries
        ]
        for c in (card(14 * n, "intent", "messages") for n in (1, 2, 3, 4))
    ]

    assert seen == [
        ["Fact"],
        ["Fact", "Passage"],
        ["Fact", "Passage", "Passage"],
        ["Message", "Fact", "Passage", "Passage"],
    ]


def test_the_best_passage_stays():
    """Of equally long passages of one search the first is kept."""
    view = build_view(Context(), card(14), passages("p" * 40, "q" * 40, "r" * 40))

    assert [e.content.document[0] for e in view.entries] == ["p"]


def test_passages_found_now_before_those_of_earlier_turns():
    """What was cited in an earlier turn gives way to what is found now."""
    old = [*talk("hi"), *passages("o" * 40, time=0.0)]

    view = build_view(Context(entries=tuple(old)), card(14, "findings"), passages("n" * 40))

    assert [e.content.document[0] for e in view.entries] == ["n"]


def test_passages_of_earlier_turns_are_read_with_findings():
    """Who searches an index now is not shown what earlier searches found: their scores do not compare."""
    context = Context(entries=tuple(passages("o" * 40)))

    assert build_view(context, card(None), passages("n" * 40)).entries == tuple(passages("n" * 40))
    assert len(build_view(context, card(None, "findings"), passages("n" * 40)).entries) == 2


def test_findings_are_read_by_name():
    """What was found in earlier turns is seen by those who read `findings`."""
    finding = entry(
        FindingSummary(specialist="x", task="score", form="number", text="0.2", confidence=0.8, accepted=True), "x"
    )

    assert build_view(Context(entries=(finding,)), card(99, "findings")).entries == (finding,)
    assert build_view(Context(entries=(finding,)), card(99, "messages")).entries == ()


def test_the_record_says_what_it_took():
    """The trace's record has the tokens, the budget, what did not fit and how many facts disagree."""
    log = [entry(Fact(name="intent", value=value, confidence=0.9), "triage") for value in ("a", "a", "b", "c")]

    record = describe_view(
        "reply", build_view(Context(entries=(*talk("m" * 400), *log)), card(64, "intent", "messages"))
    )

    assert record.seen == ("fact intent from triage (3 older say otherwise)",)
    assert (record.budget, record.tokens) == (64, tokens_of(log[-1]))
    assert record.omitted[0].what == "user message from user"


things = st.lists(st.tuples(st.floats(0.01, 10.0), st.integers(1, 40)), max_size=9)


@given(things, st.integers(0, 100))
def test_a_packing_fits_and_is_worth_half_the_best(drawn, budget):
    """Whatever there is: it fits, nothing that would still fit is left out, and it is worth half the best choice."""
    values, sizes = [v for v, _ in drawn], [s for _, s in drawn]
    taken = pack(values, sizes, budget)
    best = max(
        sum(values[i] for i in chosen)
        for n in range(len(drawn) + 1)
        for chosen in combinations(range(len(drawn)), n)
        if sum(sizes[i] for i in chosen) <= budget
    )
    worth = sum(v for v, take in zip(values, taken, strict=True) if take)

    assert sum(s for s, take in zip(sizes, taken, strict=True) if take) <= budget
    assert worth >= best / 2 - 1e-9
    assert pack(values, sizes, budget) == taken


@given(things)
def test_no_budget_no_choice(drawn):
    """Without a budget, or with room for all, nothing is left out."""
    values, sizes = [v for v, _ in drawn], [s for _, s in drawn]

    assert all(pack(values, sizes, None))
    assert all(pack(values, sizes, sum(sizes)))


def test_something_that_takes_more_than_all():
    """One thing larger than the budget is left out, and the rest goes in."""
    assert pack([1.0, 9.0], [10, 11], 10) == [True, False]
    assert pack([1.0], [11], 10) == [False]


@pytest.mark.parametrize(("values", "taken"), [([2.0, 6.0], [False, True]), ([2.0, 0.5], [True, False])])
def test_a_large_valuable_thing_beats_a_small_dense_one(values, taken):
    """Greed by density alone could keep a crumb and lose the loaf."""
    assert pack(values, [1, 10], 10) == taken

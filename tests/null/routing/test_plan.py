"""The order in which specialists run."""

import pytest

from coterie.routing.plan import permitted, pinned_route, plan_parts, plan_stages
from coterie.types import Part, Request, Route, SpecialistCard, worded


def card(name: str, reads: tuple[str, ...] = (), writes: tuple[str, ...] = ()) -> SpecialistCard:
    return SpecialistCard(
        name=name, task="classify", description="", rung="lexical", version="0", reads=reads, writes=writes
    )


CARDS = {
    "triage": card("triage", writes=("intent",)),
    "reply": card("reply", reads=("intent",)),
    "tone": card("tone", reads=("intent", "messages")),
    "clauses": card("clauses"),
}


def test_reader_runs_after_writer():
    """A routed specialist brings those that read its facts, one stage later and side by side."""
    assert plan_stages("triage", CARDS, readers=True) == (("triage",), ("reply", "tone"))


def test_pinned_writer_answers_alone():
    """A pinned specialist is not followed by its readers."""
    assert plan_stages("triage", CARDS, readers=False) == (("triage",),)


def test_pinned_reader_brings_its_writers():
    """A pinned specialist that reads a fact is preceded by whoever writes it."""
    route = pinned_route(Request(text="hi", specialist="reply"), CARDS)

    assert route.parts[0].stages == (("triage",), ("reply",))
    assert route.specialists == ("triage", "reply")
    assert "'reply'" in str(route.reason)


def test_unrelated_specialist_stays_out():
    """Nobody joins a specialist that writes nothing."""
    assert plan_stages("clauses", CARDS, readers=True) == (("clauses",),)


def test_partly_written_reader_stays_out():
    """A specialist that needs a fact nobody chosen writes does not join."""
    cards = CARDS | {"judge": card("judge", reads=("intent", "verdict"))}

    assert "judge" not in {n for stage in plan_stages("triage", cards, readers=True) for n in stage}


def test_circle_of_readers_still_ends():
    """Two specialists that read each other's facts run in one stage instead of waiting forever."""
    cards = {"a": card("a", reads=("y",), writes=("x",)), "b": card("b", reads=("x",), writes=("y",))}

    assert plan_stages("a", cards, readers=True) == (("a", "b"),)


# --- Parts of one request ----------------------------------------------------------------------------


@pytest.fixture
def cards():
    return lambda **facts: {name: card(name, reads, writes) for name, (reads, writes) in facts.items()}


def test_a_part_waits_for_the_part_whose_fact_it_reads(cards):
    """Who reads what another part writes is asked once, after it, and about its own text."""
    first, second = plan_parts(["triage", "reply"], cards(triage=((), ("intent",)), reply=(("intent",), ())))

    assert (first.stages, first.after) == ((("triage",),), ())
    assert (second.stages, second.after) == ((("reply",),), (0,))


def test_the_order_of_the_text_does_not_matter(cards):
    """A reader that is named before its writer waits as well; the answers keep the text's order."""
    first, second = plan_parts(["reply", "triage"], cards(triage=((), ("intent",)), reply=(("intent",), ())))

    assert (first.stages, first.after) == ((("reply",),), (1,))
    assert (second.stages, second.after) == ((("triage",),), ())


def test_parts_that_have_nothing_to_do_with_each_other(cards):
    """Each is planned as if it were alone, with its own writers and readers."""
    network_cards = cards(triage=((), ("intent",)), reply=(("intent",), ()), clauses=((), ("clause",)))
    first, second = plan_parts(["triage", "clauses"], network_cards)

    assert (first.stages, first.after) == ((("triage",), ("reply",)), ())
    assert (second.stages, second.after) == ((("clauses",),), ())


def test_parts_in_a_circle_do_not_wait(cards):
    """Two that read each other would wait for ever: each is planned alone."""
    network_cards = cards(a=(("y",), ("x",)), b=(("x",), ("y",)))

    assert [part.after for part in plan_parts(["a", "b"], network_cards)] == [(), ()]


def test_a_chain_of_parts(cards):
    """Each waits for the one before it only."""
    network_cards = cards(a=((), ("x",)), b=(("x",), ("y",)), c=(("y",), ()))

    assert [part.after for part in plan_parts(["a", "b", "c"], network_cards)] == [(), (0,), (1,)]


def test_what_is_left_of_a_route_waits_for_what_is_left():
    """Where parts are dropped because their specialists may not be asked, the others wait for the right ones."""
    parts = (
        Part(text="1", stages=(("a",),), score=1.0),
        Part(text="2", stages=(("b",),), score=1.0),
        Part(text="3", stages=(("c",),), score=1.0, after=(0, 1)),
    )
    left = permitted(Route(parts=parts, reason=worded("so")), ["b", "c"])

    assert [(part.text, part.after) for part in left.parts] == [("2", ()), ("3", (0,))]

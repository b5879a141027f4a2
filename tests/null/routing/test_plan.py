"""The order in which specialists run."""

from coterie.routing import pinned_route, plan_waves
from coterie.types import Request, SpecialistCard


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
    """A routed specialist brings those that read its facts, one wave later and side by side."""
    assert plan_waves("triage", CARDS, readers=True) == (("triage",), ("reply", "tone"))


def test_pinned_writer_answers_alone():
    """A pinned specialist is not followed by its readers."""
    assert plan_waves("triage", CARDS, readers=False) == (("triage",),)


def test_pinned_reader_brings_its_writers():
    """A pinned specialist that reads a fact is preceded by whoever writes it."""
    route = pinned_route(Request(text="hi", specialist="reply"), CARDS)

    assert route.parts[0].waves == (("triage",), ("reply",))
    assert route.specialists == ("triage", "reply")
    assert "'reply'" in route.reason


def test_unrelated_specialist_stays_out():
    """Nobody joins a specialist that writes nothing."""
    assert plan_waves("clauses", CARDS, readers=True) == (("clauses",),)


def test_partly_written_reader_stays_out():
    """A specialist that needs a fact nobody chosen writes does not join."""
    cards = CARDS | {"judge": card("judge", reads=("intent", "verdict"))}

    assert "judge" not in {n for wave in plan_waves("triage", cards, readers=True) for n in wave}


def test_circle_of_readers_still_ends():
    """Two specialists that read each other's facts run in one wave instead of waiting forever."""
    cards = {"a": card("a", reads=("y",), writes=("x",)), "b": card("b", reads=("x",), writes=("y",))}

    assert plan_waves("a", cards, readers=True) == (("a", "b"),)

"""What knows English only does nothing to texts in other languages."""

import pytest

from coterie.routing.router import LearnedRouter
from coterie.types import Context, Request

WORDS = ("my", "mine", "card", "kate", "fuel", "june", "arrived", "where", "invoice", "stolen")


def routed(tools):
    """A router that mends slips, and what its encoder reads."""
    places = tools.Places({}, "stop")
    profiles = {"cards": tools.Cloud(1).profile(), "loans": tools.Cloud(2).profile()}
    cards = {name: tools.card(name) for name in profiles}
    return LearnedRouter(cards=cards, profiles=profiles, encoder=places, false_rejection=0.04, words=WORDS), places


@pytest.mark.parametrize(
    "text", ["Meine Karte wurde gestohlen", "Rechnung fuer Juni", "Ma carte a \u00e9t\u00e9 vol\u00e9e hier"]
)
async def test_no_other_language_is_respelt(tools, text):
    """The encoder reads the text and nothing else."""
    by, places = routed(tools)
    await by.route(Request(text=text), Context())

    assert {encoded for batch in places.batches for encoded in batch} == {text}


async def test_english_is_respelt(tools):
    """A slip in English is mended, also where the language is not sure."""
    by, places = routed(tools)
    await by.route(Request(text="where is my carf"), Context())

    assert "where is my card" in {encoded for batch in places.batches for encoded in batch}


async def test_the_language_of_the_request_counts(tools):
    """Whoever says that a text is German has it read as German."""
    by, places = routed(tools)
    await by.route(Request(text="where is my carf", language="de"), Context())

    assert {encoded for batch in places.batches for encoded in batch} == {"where is my carf"}

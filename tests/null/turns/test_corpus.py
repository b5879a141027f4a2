"""What the turn models are trained on."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_PLACE = Path(__file__).parents[3] / "scripts" / "turns" / "corpus.py"


@pytest.fixture
def corpus(monkeypatch):
    """The recipe's module."""
    spec = importlib.util.spec_from_file_location("turns_corpus", _PLACE)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "turns_corpus", module)
    spec.loader.exec_module(module)
    return module


def test_follow_ups_are_among_the_requests_that_are_no_small_talk(corpus, monkeypatch):
    """They are as short as small talk. What is a courtesy elsewhere is left out, as are turns that stand alone."""

    def turn(text, leans, source="made"):
        return corpus.Turn(before=("When is it open?",), text=text, leans=leans, language="en", source=source)

    some = [turn("And on Sundays?", True), turn("Thanks!", True), turn("Where is it?", False)]
    requests = [*some, turn("Ja, gern", True, "bcontrast")]
    monkeypatch.setattr(corpus, "turns", lambda *_: requests)
    monkeypatch.setattr(corpus, "_chat", lambda *_: [("thanks", "made")])
    monkeypatch.setattr(corpus, "singles", lambda _: [])

    rows = corpus.talk(Path(), ["en"], 7)

    assert [row for row in rows if row[2].endswith("-leans")] == [("And on Sundays?", False, "made-leans")]
    assert ("thanks", True, "made") in rows

"""The small-talk heads that come with the package: whose they are, and what the recipe trains them on."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from coterie.errors import ArtefactRefused
from coterie.turns import reader as heads_of_turns
from coterie.turns.follow_ups import words_of
from coterie.turns.reader import FOLDER, TurnReader, bundled_heads
from coterie.types import Output

NAME = "all-MiniLM-L6-v2"
WIDTH = 384


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The weights in a folder of their own."""
    folder = tmp_path / "weights"
    shutil.copytree(FOLDER, folder)
    monkeypatch.setattr(heads_of_turns, "FOLDER", folder)
    monkeypatch.setattr(heads_of_turns, "PROVENANCE", folder / "provenance.json")
    bundled_heads.cache_clear()
    yield folder
    bundled_heads.cache_clear()


def test_they_are_for_encoders_by_name():
    """Another one has none."""
    assert bundled_heads(NAME).languages == {"en"}
    assert bundled_heads("multilingual-e5-small").languages == {"en", "de", "fr", "es", "it", "nl", "pt"}
    assert bundled_heads("another") is None
    assert TurnReader.of({}).talk_languages == frozenset()


def test_a_changed_file_is_refused(copied):
    """By its checksum."""
    file = copied / f"{NAME.lower()}.turns.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))

    with pytest.raises(ArtefactRefused, match=file.name):
        bundled_heads(NAME)


def test_a_file_that_is_none_is_refused(copied):
    """Though its checksum is the one that is stated."""
    import hashlib

    file = copied / f"{NAME.lower()}.turns.safetensors"
    file.write_bytes(b"nothing")
    about = json.loads((copied / "provenance.json").read_text())
    about["encoders"][NAME]["files"] = {file.name: hashlib.sha256(b"nothing").hexdigest()}
    (copied / "provenance.json").write_text(json.dumps(about))

    with pytest.raises(ArtefactRefused, match="cannot be read"):
        bundled_heads(NAME)


def test_without_a_head_nothing_is_small_talk():
    """Follow-ups are known all the same: their model does not hang on the encoder."""
    reader = TurnReader.of({"name": "another"})

    assert reader.talk_languages == frozenset()
    assert (reader.talk(np.ones((3, WIDTH), dtype=np.float32)) < 0).all()
    assert reader.languages == TurnReader.of({"name": NAME}).languages


def read(text: str, kinds: str) -> Output:
    """The output for a text whose words have states by their kinds: the same letter is the same state."""
    words = words_of(text)
    states = np.zeros((len(words), WIDTH), dtype=np.float32)
    states[np.arange(len(words)), [ord(kind) for kind in kinds]] = 1.0
    offsets = np.array([[word.start, word.start + len(word.text)] for word in words])
    return Output(vector=np.ones(WIDTH, dtype=np.float32), states=states, offsets=offsets)


@pytest.mark.parametrize(
    ("question", "kinds", "text", "own", "asked"),
    [
        ("Which gloves for caustic soda?", "agbss", "And for acetone?", "cbs", "Which gloves for acetone?"),
        ("What does the drill cost for pupils?", "aabdcfs", "And for the drill?", "cfbd", None),  # nothing of its own
        (
            "What does the ticket cost for adults?",
            "aabdcfs",
            "And for the children?",
            "efbs",
            "What does the ticket cost for children?",
        ),
        (
            "How long does the Falcon drill last?",
            "aaabsdc",
            "And the Heron drill?",
            "ebsd",
            "How long does the Heron drill last?",
        ),
        ("When does the sauna open?", "aabdc", "And on Sundays?", "efs", None),  # "on" follows nothing
        ("Is the pool warm in winter?", "abdcfs", "Is it warm?", "aed", None),
        ("Is the pool warm in winter?", "abdcfs", "Is it heated?", "aes", None),  # "it" stands between
        ("Is the pool warm in winter?", "abdcfg", "And in summer?", "efs", None),  # no word of it is near
        (
            "Welche Handschuhe brauche ich f\u00fcr Natronlauge?",
            "agkibs",
            "Und f\u00fcr Aceton?",
            "cbs",
            "Welche Handschuhe brauche ich f\u00fcr Aceton?",
        ),
        (
            "Quels gants faut-il pour la soude caustique ?",
            "agkibess",
            "Et pour l'ac\u00e9tone ?",
            "cbs",
            "Quels gants faut-il pour la l'ac\u00e9tone ?",
        ),
        (
            "\u00bfQu\u00e9 guantes necesito para la sosa c\u00e1ustica?",
            "agkbess",
            "\u00bfY para la acetona?",
            "cbes",
            "\u00bfQu\u00e9 guantes necesito para la acetona?",
        ),
    ],
)
def test_a_phrase_in_the_place_of_a_parallel_one(question, kinds, text, own, asked):
    """Behind the same word, and like the words that it replaces."""
    reader = TurnReader.of({"name": NAME})

    assert reader.substituted(text, read(text, own), question, read(question, kinds)) == asked


def test_without_states_no_phrase_takes_the_place_of_another():
    """As nothing says that they are parallel."""
    bare = Output(vector=np.ones(WIDTH, dtype=np.float32))
    unread = Output(vector=np.ones(WIDTH, dtype=np.float32), states=np.zeros((0, WIDTH)), offsets=np.zeros((0, 2)))
    reader = TurnReader.of({"name": NAME})

    for output in (bare, unread):
        assert reader.substituted("And for acetone?", output, "Which gloves for caustic soda?", output) is None


# --- What the turn models are trained on.


_PLACE = Path(__file__).parents[3] / "scripts" / "turns" / "corpus.py"


@pytest.fixture
def corpus(monkeypatch):
    """The recipe's module, beside those it imports."""
    monkeypatch.syspath_prepend(_PLACE.parent)
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

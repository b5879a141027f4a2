"""The follow-up model of the package: its files, and what it says of a turn and the questions before it."""

from __future__ import annotations

import pytest

from coterie.engines.reading import UPPER_FILES, bundled_lower
from coterie.errors import ArtefactRefused
from coterie.turns import follow_ups
from coterie.turns.follow_ups import (
    BUNDLED_FOLLOW_UPS,
    FollowUpModel,
    bundled_follow_ups,
    follow_up_facts,
    has_follow_ups,
    words_of,
)
from coterie.turns.reader import TurnReader

here = pytest.mark.skipif(not has_follow_ups(), reason="the model's files are not in this checkout")
FIRST = "Which gloves do I need for caustic soda?"


@here
def test_it_says_what_depends_on_what():
    """A turn that names nothing does; one that says what it is about does not."""
    model, least = bundled_follow_ups(), follow_up_facts().least

    assert model.read("And how long do they last?", [FIRST]).leans > least
    assert model.read("When does the canteen open on Fridays?", [FIRST]).leans < least


@here
def test_each_word_of_the_earlier_questions_has_its_odds():
    """The newest question's first, those that the turn names itself included."""
    read = bundled_follow_ups().read(
        "and on Fridays?", ["Which gloves for soda?", "When is the canteen open on Sunday?"]
    )

    assert " ".join(read.words) == "when is the canteen open on sunday which gloves for soda"
    lacks = dict(zip(read.words, read.lacks, strict=True))
    assert lacks["canteen"] > 0 > lacks["sunday"]
    assert lacks["gloves"] < 0


@here
def test_only_the_newest_questions_are_read():
    """Of more than three, and of long ones the beginning: a word that was not read has no odds."""
    model = bundled_follow_ups()
    before = [f"Question number {number}?" for number in range(9)]

    assert model.read("and that?", before) == model.read("and that?", before[-3:])
    assert 100 < len(model.read("and that?", ["word " * 900]).words) < 160


@here
@pytest.mark.parametrize(("text", "before"), [("", FIRST), ("?!", FIRST), ("and that?", ""), ("and that?", "...")])
def test_what_has_no_word_depends_on_nothing(text, before):
    """And nothing depends on what has none."""
    assert bundled_follow_ups().read(text, [before]).leans < follow_up_facts().least


@here
def test_the_reader_asks_it():
    """With an encoder of its own or without."""
    reader = TurnReader(None)

    assert reader.leans("And for acetone?", [FIRST]) == bundled_follow_ups().read("And for acetone?", [FIRST]).leans
    assert reader.missing("And for acetone?", FIRST)[0] == tuple(word.text for word in words_of(FIRST))
    assert reader.languages == {"en", "de", "fr", "es", "it", "nl", "pt"}


@here
@pytest.mark.parametrize("name", UPPER_FILES)
def test_a_changed_file_is_refused(name):
    """By its checksum, or because it names no checksums."""
    files = {file: (BUNDLED_FOLLOW_UPS / file).read_bytes() for file in UPPER_FILES} | {name: b"{}"}

    with pytest.raises(ArtefactRefused, match=name):
        FollowUpModel(files, bundled_lower())


def test_without_its_files_no_follow_up_is_known(tmp_path, monkeypatch):
    """Turns stay as they are; what asks for the facts is told the file."""
    monkeypatch.setattr(follow_ups, "BUNDLED_FOLLOW_UPS", tmp_path)
    follow_up_facts.cache_clear()
    try:
        assert TurnReader(None).languages == frozenset()
        with pytest.raises(ArtefactRefused, match="cannot be read"):
            follow_up_facts()
    finally:
        follow_up_facts.cache_clear()


@pytest.mark.parametrize("text", ["", "?!", "\u200b", "a" * 3000, "Where's the caf\u00e9's door?"])
def test_any_text_has_words(text):
    """In small letters, each where it stands."""
    assert all(text[word.start : word.start + len(word.text)].lower() == word.text for word in words_of(text))

"""Texts cut into sentences and words."""

import itertools

import pytest

from coterie.tasks.extract.ranking import TextRange, TokenizedText
from coterie.tasks.extract.tagging import word_features


def _sentences(text):
    document = TokenizedText(text)
    return [text[sentence.start : sentence.end] for sentence in document.sentences]


def test_a_line_break_inside_a_sentence_does_not_end_it():
    """Contracts break lines at a fixed width."""
    assert _sentences("This Agreement shall be\ngoverned by the laws of Ohio. It ends\nin May.") == [
        "This Agreement shall be\ngoverned by the laws of Ohio.",
        "It ends\nin May.",
    ]


@pytest.mark.parametrize(
    ("text", "part", "whole"),
    [
        ("run at 7.5?", "7", "7.5"),
        ("zu 1.200,50 Euro", "200", "1.200,50"),
        ("at 1,250,000 pounds", "1", "1,250,000"),
        ("at 7.5 ml", "5 ml", "7.5 ml"),
        ("on 3.05.2026", "3", "3"),  # a date has parts
        ("pages 4,5,6", "5", "5"),
        ("room 12.", "12", "12"),
        ("run at 7.5?", "at", "at"),
    ],
)
def test_a_number_is_not_cut(text, part, whole):
    """A stretch that has a part of a number has all of it."""
    start = text.index(part)
    widened = TokenizedText(text).whole(TextRange(start, start + len(part)))

    assert text[widened.start : widened.end] == whole


def test_a_blank_line_ends_a_sentence():
    """Headings have no full stop."""
    assert _sentences("ARTICLE 1\n\nDefinitions apply.\n  \n2. Term") == ["ARTICLE 1", "Definitions apply.", "2. Term"]


@pytest.mark.parametrize(
    "text", ["Acme Inc. And Bolt Corp. Agree", "See No. 7 of U.S. Code", "Mr. Smith and Dr. Jones"]
)
def test_an_abbreviation_does_not_end_a_sentence(text):
    """`Inc.` before a capital is part of a name."""
    assert _sentences(text) == [text]


@pytest.mark.parametrize("text", ["", " \n\n ", "x" * 5_000, ("word " * 1_000).strip(), "a.\n\n\n\nb", "é€😀. Ünd"])
def test_sentences_cover_every_word_once(text):
    """Nothing is lost, doubled or blank, however odd the text, and no sentence is longer than a page."""
    document = TokenizedText(text)
    places = document.sentences

    assert all(span.end - span.start <= 600 for span in places)
    assert all(text[span.start : span.end].strip() == text[span.start : span.end] != "" for span in places)
    assert all(a.end <= b.start for a, b in itertools.pairwise(places))
    assert sum(len("".join(text[p.start : p.end].split())) for p in places) == len("".join(text.split()))


def test_words_know_the_typed_value_they_stand_in():
    """A date of several words is one value: its first word begins it, the others go on."""
    document = TokenizedText("Signed on May 8, 2014 by Acme Inc.")
    words, features = word_features(document, document.sentences)
    typed = {
        document.text[word.start : word.end]: [name for name in names if name.startswith("t=")]
        for word, names in zip(words, features, strict=True)
    }

    assert typed["May"] == ["t=date.B"]
    assert typed["8"] == typed["2014"] == ["t=date.I"]
    assert typed["Signed"] == []

"""Slips of the pen, mended where nobody could have meant what stands there."""

import pytest

from coterie.routing.router import Spelling

WORDS = [
    "the",
    "where",
    "is",
    "card",
    "parcel",
    "like",
    "line",
    "health",
    "book",
    "turkey",
    "what",
    "arrive",
    "lost",
    "you",
]


@pytest.fixture
def spelling():
    """One that knows a few words, the first most frequent."""
    return Spelling(WORDS)


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("where is the parcle", "where is the parcel"),
        ("what healyh card", "what health card"),
        ("Whree is my trukey?", "Where is my turkey?"),
        ("i lije it", "i like it"),
        ("the parceel", "the parcel"),
        ("the parcl is lost", "the parcel is lost"),
    ],
)
def test_slips(spelling, text, mended):
    """A letter dropped, doubled, swapped or mistyped is mended; of several words the most frequent is taken."""
    assert spelling.mend(text) == mended


@pytest.mark.parametrize(
    "text",
    [
        "where is the parcel",
        "books arrived",
        "fajitas and guacamole",
        "crad@parcle.com parcle's parcle-x 4parcle",
        "hte is lss",
        "",
        "パーセル",
        "qwertz " * 20,
    ],
)
def test_what_is_left_alone(spelling, text):
    """Known words and their endings, words like none, addresses, short words, other scripts."""
    assert spelling.mend(text) == text


def test_a_text_of_slips_is_another_language(spelling):
    """With more than a few slips the text is left as it is."""
    assert spelling.mend("parcle " * 9) == "parcle " * 9


def test_without_words_nothing_is_mended():
    """A router that is given no words leaves texts alone."""
    assert Spelling(()).mend("where is the parcle") == "where is the parcle"


def test_no_text_takes_long(growth, spelling):
    """Many unknown words take about as long as they are many."""
    words = [f"unknwon{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(500)]

    assert growth(spelling.mend, " ".join(words[:125]), " ".join(words)) < 12

"""Words as an index takes them, in every script."""

import pytest

from coterie.knowledge.indexes import analyse


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Gebu\u0308hr", "GEBÜHR"),
        ("\ufb01nance", "finance"),
        ("in\u00adterest", "interest"),
        ("ΔΡΑΧΜΗ", "δραχμή"),
        ("\u0645\u064f\u0628\u0644\u064e\u063a", "\u0645\u0628\u0644\u063a"),
        ("\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd", "\u05e9\u05dc\u05d5\u05dd"),
        ("m²", "m2"),
        ("dollars¹", "dollars"),
        ("$40¹", "40"),
        ("1½", "1 1/2"),
        ("\uff46\uff55\uff4c\uff4c", "full"),
    ],
)
def test_what_looks_the_same_is_the_same(one, other):
    """Accents, ligatures, points, notes and places where a word may break make no other word."""
    assert analyse(one) == analyse(other)


@pytest.mark.parametrize(
    ("text", "query"), [("押金为两个月的租金。", "押金"), ("営業時間は午前九時です", "営業時間"), ("สวัสดีครับ", "สวัสดี")]
)
def test_scripts_without_blanks_have_words(text, query):
    """A word in the middle of a run of letters is found."""
    assert set(analyse(query)) <= set(analyse(text))


def test_letters_with_marks_of_their_own_stay_letters():
    """Kana and Hangul that consist of parts are whole again; other marks are left alone."""
    assert analyse("か") != analyse("が")
    assert analyse("한국어") == ["한국어"]

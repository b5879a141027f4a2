"""Texts compared word by word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.learning.evaluation import rouge_l, token_f1

WORDS = st.lists(st.sampled_from("abc"), max_size=7)


def test_known_values():
    """Worked out by hand: five words against four, three in common, two of those in order."""
    text, wanted = "the cat sat on mats", "On the mat: cat"

    assert token_f1(text, wanted) == pytest.approx(2 * 3 / 9)
    assert rouge_l(text, wanted) == pytest.approx(2 * 2 / 9)


def test_case_and_signs_do_not_count():
    """Only words do."""
    assert rouge_l("Thank you!", "thank, YOU") == token_f1("Thank you!", "thank, YOU") == 1.0


def test_nothing():
    """Nothing is like nothing and like nothing else."""
    assert token_f1("", "...") == 1.0
    assert rouge_l("", "word") == 0.0


def subsequences(words: list[str]) -> set[tuple[str, ...]]:
    parts = {()}
    for word in words:
        parts |= {(*part, word) for part in parts}
    return parts


@given(WORDS, WORDS)
def test_the_longest_common_subsequence(first, second):
    """Is the longest of all those that both have."""
    longest = max(len(subsequence) for subsequence in subsequences(first) & subsequences(second))
    expected = 2 * longest / (len(first) + len(second)) if first or second else 1.0

    assert rouge_l(" ".join(first), " ".join(second)) == pytest.approx(expected)
    assert rouge_l(" ".join(first), " ".join(second)) <= token_f1(" ".join(first), " ".join(second))

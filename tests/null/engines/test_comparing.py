"""Two texts token by token: which tokens match, and what comparing tells apart."""

import numpy as np
import pytest

from coterie.engines.reading import Comparer, ReadText, matches

STATES = 16
NO_JUMP, NEXT, BACK = 15, 8, 6
"""Numbers of a jump that is none, of one to the next token, and of one to the token before."""


def text(*ids: int) -> ReadText:
    """A text whose tokens have states of their own; 0 is a mark."""
    return ReadText(np.array(ids), np.eye(STATES, dtype=np.float32)[np.array(ids)])


@pytest.fixture
def compare(comparing_weights):
    """A small network's."""
    return Comparer(comparing_weights(STATES, wide=10)).compare


def test_the_same_words_match_one_after_the_other():
    """Each token its own, each neighbour's match the neighbour of its match, none moved."""
    matched = matches(text(0, 4, 5, 6, 0), text(0, 4, 5, 6, 0))

    assert matched.at[1:4].tolist() == [1, 2, 3]
    assert matched.before.tolist() == [NO_JUMP, NO_JUMP, NEXT, NEXT, NO_JUMP]
    assert matched.after.tolist() == [NO_JUMP, NEXT, NEXT, NO_JUMP, NO_JUMP]
    assert matched.moved[1:4].tolist() == [3, 3, 3]
    assert matched.marks[1:4, :3].tolist() == [[1, 1, 1]] * 3
    assert matched.marks[0].tolist() == [0] * 5


def test_two_words_exchanged_are_seen_in_the_jumps():
    """Of "dog bites man" in "man bites dog" every token is there, and no jump leads to the next one."""
    matched = matches(text(0, 6, 5, 4, 0), text(0, 4, 5, 6, 0))

    assert matched.at[1:4].tolist() == [3, 2, 1]
    assert matched.before[2:4].tolist() == [BACK, BACK]
    assert NEXT not in matched.before
    assert matched.moved[1] > 3 > matched.moved[3]


def test_a_word_said_twice_matches_where_its_neighbours_do():
    """The second 4 of the source stands before a 7, as the one of the statement does."""
    matched = matches(text(0, 4, 7, 0), text(0, 4, 5, 6, 4, 7, 0))

    assert matched.at[1:3].tolist() == [4, 5]
    assert matched.before[2] == NEXT


def test_texts_are_counted_from_their_own_first_word():
    """What leads a text says how it is read, and moves nothing."""
    matched = matches(text(0, 0, 4, 5, 0), text(0, 4, 5, 0))

    assert matched.moved[2:4].tolist() == [3, 3]


def test_the_same_words_in_another_order_are_compared_otherwise(compare):
    """Each token of both statements is in the source; only their neighbours differ."""
    source = text(0, 4, 5, 6, 0)
    first, turned = (compare(text(0, *words, 0), source).tokens[0] for words in ((4, 5, 6), (6, 5, 4)))

    assert not np.allclose(first[2], turned[2], atol=1e-3)


def test_marks_are_nothing_and_do_not_count(compare):
    """What is pooled is of words alone, and so is how far they are from their matches."""
    comparison = compare(text(0, 4, 5, 0), text(0, 5, 9, 4, 0))

    assert (comparison.tokens[0][[0, 3]] == 0).all()
    assert comparison.pooled()[0] == pytest.approx(comparison.tokens[0][1:3].mean(axis=0))
    assert comparison.pooled()[3] == pytest.approx(comparison.tokens[1][1:4].max(axis=0))
    above = np.arange(8.0).reshape(4, 2), np.arange(10.0).reshape(5, 2)
    assert comparison.gap(*above).tolist() == [3.0, 3.0]  # 4 is at 1 and 3, 5 at 2 and 1: 4 and 2 from each other

"""Labels of what is found, and what stays of things that overlap."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.privacy.detection import Kind, PersonalData, label_of, least_label, settle
from coterie.types import Label


def data(kind, start=0, end=1, score=1.0):
    return PersonalData(kind=kind, start=start, end=end, score=score)


def test_least_label():
    """The highest label of all that was found counts; harmless kinds alone ask for none."""
    assert least_label([]) is None
    assert least_label([data(Kind.LOCATION), data(Kind.URL)]) is None
    assert least_label([data(Kind.LOCATION), data(Kind.PERSON)]) is Label.CONFIDENTIAL
    assert least_label([data(Kind.SECRET), data(Kind.PERSON)]) is Label.RESTRICTED


@pytest.mark.parametrize("kind", Kind)
def test_label_is_the_same_for_name_and_member(kind):
    """A kind's name is as good as the member."""
    assert label_of(kind) == label_of(str(kind))


def test_unknown_kinds_are_personal():
    """A kind that a foreign detector brings is confidential."""
    assert label_of("BLOOD_GROUP") is Label.CONFIDENTIAL


def test_settle_keeps_the_surest():
    """The surest of things that overlap stays, of equals the longest."""
    sure, long, short = data("A", 2, 5, 0.9), data("B", 0, 4, 0.5), data("C", 6, 8, 0.5)

    assert settle([long, short, sure]) == (sure, short)
    assert settle([data("A", 0, 2), data("B", 0, 3)]) == (data("B", 0, 3),)


def test_settle_keeps_what_asks_for_a_label():
    """That a model is sure of a date takes nothing from its being a birth's."""
    date, birth = data(Kind.DATE, 0, 9, 1.0), data(Kind.DATE_OF_BIRTH, 0, 9, 0.9)

    assert settle([date, birth]) == (birth,)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9), st.sampled_from([0.5, 0.9, 1.0]))))
def test_settle_gives_ordered_apart(spans):
    """Whatever comes in, what stays is in order and apart, and what went overlaps something that stays."""
    given_ = [data("X", start, start + length, score) for start, length, score in spans]
    kept = settle(given_)

    assert all(a.end <= b.start for a, b in pairwise(kept))
    assert all(any(span.start < k.end and k.start < span.end for k in kept) for span in given_)

"""Scorecards: where values fall, and that the parts add up."""

import math

import numpy as np
import pytest

from coterie.engines.linear import ColumnBins, TableHead, as_category, as_number
from coterie.types import Prompt, Reason

NUMBER = ColumnBins(name="months", kind="number", edges=(6.0, 12.0))
CATEGORY = ColumnBins(name="home", kind="category", values=("3", "own", "true"))


@pytest.mark.parametrize(
    ("value", "bin_"),
    [(5, 1), (6, 2), (6.0, 2), ("7", 2), (" 11.9 ", 2), (12, 3), (1e308, 3), (-1e308, 1), ("1e3", 3), ("\u0667", 2)],
)
def test_numbers_fall_into_bins(value, bin_):
    """A bin holds its lower edge and not its upper one; numbers may be written as text."""
    assert NUMBER.place(value) == (bin_, None)


@pytest.mark.parametrize("value", [None, "", "  ", math.nan, math.inf, -math.inf, 10**400, -(10**5000)], ids=range(8))
def test_missing_values(value):
    """Nothing, blanks and what no float can hold are missing: they say so and count as unknown."""
    assert NUMBER.place(value) == (0, Reason("column.missing", column="months"))
    assert CATEGORY.place(value) == (0, Reason("column.missing", column="home"))


@pytest.mark.parametrize("value", ["six", True, False, "1_000", "0x10", "nan", "inf", [1], {"a": 1}, b"6"])
def test_what_is_no_number(value):
    """Words, booleans, lists and Python's own spellings are no numbers, and the message quotes them."""
    bin_, problem = NUMBER.place(value)

    assert bin_ == 0
    assert problem == Reason("column.no_number", column="months", value=repr(value))


@pytest.mark.parametrize(
    ("value", "bin_"), [("own", 2), (" own ", 2), (3, 1), (3.0, 1), ("3", 1), (True, 3), ("true", 3)]
)
def test_categories_fall_into_bins(value, bin_):
    """3, 3.0 and "3" are one category, and so are true and "true"; spaces around do not count."""
    assert CATEGORY.place(value) == (bin_, None)


@pytest.mark.parametrize("value", ["rent", "OWN", 4, False, 3.5, ["own"]])
def test_unknown_categories(value):
    """A value that training never saw is unknown, and the message quotes it."""
    assert CATEGORY.place(value) == (0, Reason("column.unlearnt", column="home", value=repr(value)))


def test_messages_stay_short():
    """A value of a million characters does not make a message of a million characters."""
    assert len(str(CATEGORY.place("x" * 1_000_000).problem)) < 120


def test_large_numbers_keep_their_digits():
    """Two codes that differ in the last of many digits are two categories."""
    assert as_category(12345678901234567) == "12345678901234567"
    assert as_category(1234567) != as_category(1234568)
    assert as_category(10**300) == str(10**300)


def test_odd_values_are_no_numbers():
    """What is not an integer, float or text is no number."""
    assert [as_number(value) for value in (None, True, [], {}, 10**400, "", "-")] == [None] * 7
    assert as_number("-3.5e2") == -350.0
    assert [as_number(value) for value in ("12,4", "-1.234,5", "1,234.5")] == [12.4, -1234.5, 1234.5]
    assert [as_number(value) for value in ("1,234", "1,2,3", "\u00b2,5", ",5", "9" * 5000 + ",0")] == [None] * 5


def head() -> TableHead:
    """A scorecard of two columns and their pair."""
    random = np.random.default_rng(3)
    main = (random.normal(size=NUMBER.size), random.normal(size=CATEGORY.size))
    pairs = {(0, 1): random.normal(size=(NUMBER.size, CATEGORY.size))}
    return TableHead(columns=(NUMBER, CATEGORY), base=0.4, main=main, pairs=pairs)


@pytest.mark.parametrize("row", [{}, {"months": 7}, {"months": 20, "home": "own"}, {"home": 3, "extra": 1}])
def test_contributions_add_up(row):
    """Base and contributions add up to the logit, and a pair's part goes to both columns by halves."""
    card = head()
    prompt = Prompt(columns=row)
    i, j = card.bins(row)

    parts = card.contributions(prompt)

    assert card.base + sum(parts.values()) == pytest.approx(float(card.logits(prompt)[0]), abs=1e-12)
    assert parts["months"] == pytest.approx(card.main[0][i] + card.pairs[0, 1][i, j] / 2)
    assert parts["home"] == pytest.approx(card.main[1][j] + card.pairs[0, 1][i, j] / 2)


def test_rescaling_is_a_line():
    """A rescaled card's log-odds are the line of the old ones, and its parts still add up."""
    card, row = head(), Prompt(columns={"months": 7, "home": "own"})
    line = card.rescaled(2.0, -1.0)

    assert line.logits(row)[0] == pytest.approx(2.0 * card.logits(row)[0] - 1.0)
    assert line.base + sum(line.contributions(row).values()) == pytest.approx(line.logits(row)[0])

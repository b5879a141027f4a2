"""Whether something got worse: right where there is nothing, and found where there is something."""

import numpy as np
import pytest
from scipy.stats import binomtest

from coterie.learning.evaluation import interval_drop, pack, paired_drop, slice_labels, unpack, worse


@pytest.mark.parametrize(("lost", "won"), [(1, 0), (5, 0), (10, 2), (30, 30), (2, 10), (400, 330)])
def test_paired_drop_is_mcnemars_exact_test(lost, won):
    """The chance is scipy's exact binomial one of the rows that only one version got right."""
    before = np.repeat([1, 0, 1, 0], [lost, won, 50, 20])
    after = np.repeat([0, 1, 1, 0], [lost, won, 50, 20])

    expected = binomtest(lost, lost + won, 0.5, alternative="greater").pvalue
    assert paired_drop(before, after) == pytest.approx(expected)


def test_nothing_lost_is_no_drop():
    """Without a lost row the chance is one, however many rows there are."""
    assert paired_drop([1, 0, 0], [1, 1, 1]) == 1.0
    assert paired_drop([], []) == 1.0


def test_interval_drop():
    """Two standard errors apart is one in forty-four; no interval at all is certainty; a rise is no drop."""
    width = 2 * 1.959964 * 0.01  # of an interval with a standard error of 0.01

    assert interval_drop(0.90, 0.90 - 0.02 * 2**0.5, (width, width)) == pytest.approx(0.02275, abs=1e-4)
    assert interval_drop(0.9, 0.8, (0.0, 0.0)) == 0.0
    assert interval_drop(0.9, 0.9, (0.0, 0.0)) == 1.0
    assert interval_drop(0.8, 0.9, (width, width)) > 0.5


def test_worse_is_holms_procedure():
    """The smallest is held against 0.05 / m, the next one against 0.05 / (m - 1), until one fails."""
    assert worse([0.04, 0.01, 0.03]) == [False, True, False]
    assert worse([0.02, 0.01, 0.03]) == [True, True, True]
    assert worse([0.02, 0.03, 0.04]) == [False, False, False]
    assert worse([]) == []


def test_false_alarms_stay_below_one_in_twenty():
    """Of 77 slices in which nothing got worse, something is called worse in at most one of twenty comparisons."""
    random = np.random.default_rng(0)
    alarms = 0
    for _ in range(300):
        before, after = random.random((2, 77, 40)) < 0.9
        alarms += any(worse([paired_drop(a, b) for a, b in zip(before, after, strict=True)]))

    assert alarms / 300 <= 0.05


# --- Slices --------------------------------------------------------------------------------------


def test_slices():
    """Recall, precision and F1 of each label that a row has, and which of its rows were found."""
    truth = [("a",), ("a",), ("b",), ("b",), ("c",)]
    predicted = [("a",), ("b",), ("b",), ("b",), ()]
    slices = slice_labels(truth, predicted)

    assert list(slices) == ["a", "b", "c"]
    assert (slices["a"].recall, slices["a"].precision, slices["a"].f1) == (0.5, 1.0, pytest.approx(2 / 3))
    assert (slices["b"].recall, slices["b"].precision, slices["b"].f1) == (1.0, pytest.approx(2 / 3), 0.8)
    assert (slices["c"].recall, slices["c"].precision, slices["c"].f1) == (0.0, None, 0.0)
    assert slices["a"].right == (True, False)
    assert slices["a"].to_json()["right"] == "80"


def test_slices_of_several_labels():
    """A row of several labels stands in the slice of each."""
    slices = slice_labels([("a", "b"), ("b",)], [("b",), ("a", "b")])

    assert {label: (figures.n, figures.recall) for label, figures in slices.items()} == {"a": (1, 0.0), "b": (2, 1.0)}


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 100])
def test_packed_truth_values(n):
    """What was packed is unpacked; another number of rows, or no hexadecimal digits, is refused."""
    right = np.random.default_rng(n).random(n) < 0.5

    assert unpack(pack(right), n).tolist() == right.tolist()
    for digits, rows in ((pack(right), n + 9), ("zz", n), (pack(right) + "00", n)):
        with pytest.raises(ValueError, match=r"truth values|hexadecimal"):
            unpack(digits, rows)

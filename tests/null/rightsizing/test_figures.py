"""Differences on the same rows, and the curves of a report."""

import pytest

from coterie.learning.dataset import Row
from coterie.learning.evaluation import Case
from coterie.rightsizing.result import difference, probabilities, reliability, risk_curve


def cases(*answers, labels=None):
    """Cases of (value, confidence); the right label is `x`, or as given."""
    labels = labels or "x" * len(answers)
    return [
        Case(Row(text="", labels=(label,)), value, confidence, True, value == label)
        for (value, confidence), label in zip(answers, labels, strict=True)
    ]


def test_a_difference_is_paired():
    """Two models that are right on the same rows differ by exactly nothing."""
    first = cases(("x", 0.9), ("y", 0.8), ("x", 0.7))
    result = difference("accuracy", first, first)

    assert (result.value, *result.interval) == (0.0, 0.0, 0.0)
    assert difference("accuracy", first, cases(("y", 0.9), ("y", 0.8), ("x", 0.7))).value == pytest.approx(1 / 3)


def test_a_difference_of_aucs():
    """For scores the difference is that of the areas."""
    good = cases(("1", 0.9), ("0", 0.9), ("1", 0.8), ("0", 0.7), labels="1010")
    bad = cases(("0", 0.9), ("1", 0.9), ("0", 0.8), ("1", 0.7), labels="1010")

    assert difference("auc", good, bad).value == 1.0
    assert probabilities(good).tolist() == pytest.approx([0.9, 0.1, 0.8, 0.3])


def test_silence_is_no_probability():
    """Where nothing was said, the probability is one half."""
    assert probabilities(cases((None, 1.0))).tolist() == [0.5]


def test_the_risk_curve_ends_with_everything():
    """Its last point is all rows and their error; it is thinned to what can be drawn."""
    many = cases(*[("x" if n % 4 else "y", n / 1000) for n in range(1, 1000)])
    curve = risk_curve(many)

    assert len(curve.coverage) <= 400
    assert (curve.coverage[-1], round(curve.risk[-1], 2)) == (1.0, 0.25)


def test_reliability_leaves_out_thin_bins():
    """A bin shows its mean confidence and accuracy; one of few answers is left out."""
    bins = reliability(cases(*[("x", 0.95)] * 15, *[("y", 0.95)] * 5, ("x", 0.2)))

    assert len(bins) == 1
    assert bins[0].confidence == pytest.approx(0.95)
    assert (bins[0].accuracy, bins[0].rows) == (0.75, 20)

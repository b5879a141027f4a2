"""The verdict in words: what is enough, what is not shown, and what more would cost."""

from decimal import Decimal

import numpy as np
import pytest

from coterie.learning.dataset import Row
from coterie.learning.evaluation import Case, Evaluation, Interval
from coterie.learning.measure import Candidate, Figure, RungChoice
from coterie.rightsizing.result import Comparison, LargeRow, Per1000, RungRow, decide
from coterie.types import worded


def evaluation(accuracy, spread) -> Evaluation:
    return Evaluation(
        n=100,
        labelled=100,
        accuracy=accuracy,
        macro_f1=accuracy,
        coverage=0.9,
        accepted_accuracy=0.96,
        ece=0.02,
        joint_accuracy=accuracy,
        intervals={"accuracy": Interval(accuracy - spread, accuracy + spread)},
    )


def rung(name, accuracy, *, spread=0.01, before=None) -> RungRow:
    before = accuracy if before is None else before
    figures = evaluation(accuracy, spread)
    return RungRow(
        rung=name,
        version="0",
        figure=Figure(accuracy, figures.intervals["accuracy"]),
        out_of_fold={"accuracy": Figure(before, Interval(before - 0.01, before + 0.01))},
        evaluation=figures,
        milliseconds=np.array([1.0]),
        resident_bytes=2,
        bare_bytes=1,
        bytes=1,
        seconds=1.0,
        per_1000=Per1000(joules=1.0, money=None),
        cases=(Case(Row(text="a", labels=("x",)), "x", 0.9, True, True),),
    )


def beside(first, second, value, *, spread=0.005, joules=0.5, money=None) -> Comparison:
    """A difference of two rows."""
    return Comparison(
        first=first,
        second=second,
        measure="accuracy",
        rows=100,
        difference=Figure(value, Interval(value - spread, value + spread)),
        joules=joules,
        money=money,
    )


def choice(row, reason="best out-of-fold accuracy") -> RungChoice:
    candidate = Candidate(rung=row.rung, files={}, validation=row.out_of_fold, evaluation=row.evaluation, seconds=1.0)
    return RungChoice(candidate=candidate, reason=worded(reason))


def verdict(rows, taken, bar, comparisons=(), large=None):
    """The decision when training took this row."""
    return decide(rows, choice(taken), bar, comparisons, large, measure="accuracy")


def test_enough():
    """The bar is met with confidence on both sides; what the next rung would add is said with its price."""
    lexical, embedding = rung("lexical", 0.92), rung("embedding", 0.95)
    recommendation = verdict(
        [lexical, embedding], lexical, {"accuracy": 0.9}, [beside("lexical", "embedding", -0.03, joules=0.1)]
    )

    assert recommendation.outcome == "met"
    assert str(recommendation) == (
        "lexical is enough: accuracy 0.920 (0.910 to 0.930) meets 0.9 with 95% confidence. "
        "embedding would add 0.030 for 10 times the energy."
    )


def test_none_is_enough():
    """No rung meets the bar: the best is named, with both figures."""
    lexical, embedding = rung("lexical", 0.85), rung("embedding", 0.9)
    recommendation = verdict(
        [lexical, embedding], embedding, {"accuracy": 0.95}, [beside("embedding", "lexical", 0.05, joules=20)]
    )

    assert recommendation.outcome == "missed"
    assert "No rung meets accuracy 0.95 with 95% confidence" in str(recommendation)
    assert "the best is embedding (0.900, 0.890 to 0.910)" in str(recommendation)
    assert "does not reach 0.95" in str(recommendation)
    assert "Against lexical it adds 0.050 for 20 times the energy." in str(recommendation)


def test_reached_without_confidence():
    """Held-out rows reach the bar, but their interval does not: exactly that is said."""
    row = rung("lexical", 0.91, spread=0.03, before=0.93)
    recommendation = verdict([row], row, {"accuracy": 0.9})

    assert recommendation.outcome == "reached"
    assert "accuracy 0.910 (0.880 to 0.940) reaches 0.9, but not with 95% confidence" in str(recommendation)


def test_held_out_rows_grant_nothing():
    """Held-out rows alone would meet the bar with confidence: it counts as reached, since they choose nothing."""
    row = rung("lexical", 0.95, before=0.9)
    recommendation = verdict([row], row, {"accuracy": 0.92})

    assert recommendation.outcome == "reached"
    assert "would meet 0.92 with 95% confidence, but they choose nothing" in str(recommendation)


@pytest.mark.parametrize(
    ("spread", "why"), [(0.1, "more rows would tell"), (0.01, "they are unlike the training rows")]
)
def test_missed_on_held_out_rows(spread, why):
    """Out of fold it was enough, and then it was not: by chance, or beyond it."""
    row = rung("lexical", 0.85, spread=spread, before=0.95)
    recommendation = verdict([row], row, {"accuracy": 0.9})

    assert recommendation.outcome == "missed"
    assert "was enough out of fold; on held-out rows" in str(recommendation)
    assert f"does not reach 0.9: {why}." in str(recommendation)


def test_a_cheaper_rung_passed_over():
    """A cheaper rung that held-out rows would let pass is named, with why it was not taken."""
    lexical, embedding = rung("lexical", 0.92, before=0.9), rung("embedding", 0.95)
    recommendation = verdict([lexical, embedding], embedding, {"accuracy": 0.9})

    assert "lexical meets it on held-out rows too, but not out of fold (0.900, 0.890 to 0.910)" in str(recommendation)


def test_nothing_measurable():
    """A difference whose interval holds zero is no difference."""
    lexical, embedding = rung("lexical", 0.92), rung("embedding", 0.921)
    comparison = beside("lexical", "embedding", -0.001, joules=0.5)
    recommendation = verdict([lexical, embedding], lexical, {}, [comparison])

    assert recommendation.outcome == "no_bar"
    assert str(recommendation).startswith(
        "lexical is the right size: accuracy 0.920 (0.910 to 0.930); best out-of-fold"
    )
    assert "embedding would add nothing measurable (+0.001, -0.004 to +0.006) for 2.0 times the energy." in str(
        recommendation
    )


def test_a_difference_in_another_measure_names_it():
    """Rows are right or wrong, so a bar about macro F1 is compared by accuracy, and that is said."""
    lexical, embedding = rung("lexical", 0.92), rung("embedding", 0.95)
    recommendation = decide(
        [lexical, embedding], choice(lexical), {}, [beside("lexical", "embedding", -0.03)], None, measure="macro_f1"
    )

    assert "embedding would add 0.030 accuracy for" in str(recommendation)


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (0.05, "0.050 (0.045 to 0.055) less accuracy than lexical on the same rows"),
        (-0.05, "0.050 (0.045 to 0.055) more accuracy than lexical on the same rows"),
        (0.0, "not measurably different from lexical on the same rows"),
    ],
)
def test_beside_a_large_model(difference, said):
    """The large model's accuracy on what it answered, the paired difference, and how many times the money."""
    row = rung("lexical", 0.92)
    large = LargeRow(
        name="giant",
        source="on file",
        figure=Figure(0.87, Interval(0.86, 0.88)),
        evaluation=evaluation(0.87, 0.01),
        answered=60,
        of=100,
        strangers={},
        milliseconds=np.array([]),
        per_1000=Per1000(joules=None, money=Decimal(3)),
        positions=(0,),
    )
    recommendation = verdict(
        [row], row, {}, [beside("lexical", "giant", difference, joules=None, money=1 / 47_123)], large
    )

    assert "giant reaches 0.870 (0.860 to 0.880) on the 60 of 100 held-out rows that it answered" in str(recommendation)
    assert said in str(recommendation)
    assert str(recommendation).endswith("at 47,000 times the money.")

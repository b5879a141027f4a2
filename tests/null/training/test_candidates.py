"""Which rung is taken."""

from dataclasses import replace

import numpy as np
import pytest

from coterie.learning.evaluation import Evaluation, Interval
from coterie.learning.measure import Candidate, Figure, choose, expected_gain, floor_of, why_floor
from coterie.types import Reason

NOTHING = Evaluation(
    n=0,
    labelled=0,
    accuracy=None,
    macro_f1=None,
    coverage=None,
    accepted_accuracy=None,
    ece=None,
    joint_accuracy=None,
)


def candidate(rung: str, accuracy: float, *, half: float = 0.01, **others: float) -> Candidate:
    """A rung with an out-of-fold accuracy, and perhaps other measures, each give or take `half`."""
    figures = {name: Figure(v, Interval(v - half, v + half)) for name, v in {"accuracy": accuracy, **others}.items()}
    return Candidate(rung=rung, files={}, validation=figures, evaluation=NOTHING, seconds=0.0)


BAR = "accuracy 0.9"


@pytest.mark.parametrize(
    ("lexical", "embedding", "bar", "taken", "reason"),
    [
        (0.90, 0.95, {}, "embedding", Reason("rung.best", measure="accuracy", value=0.95)),
        (0.94, 0.945, {}, "lexical", Reason("rung.cheapest", measure="accuracy", value=0.94, best=0.945)),
        (0.95, 0.90, {}, "lexical", Reason("rung.best", measure="accuracy", value=0.95)),
        (0.92, 0.95, {"accuracy": 0.9}, "lexical", Reason("rung.meets_bar", bar=BAR, reached="0.920")),
        (0.905, 0.95, {"accuracy": 0.9}, "embedding", Reason("rung.meets_bar", bar=BAR, reached="0.950")),
        (
            0.80,
            0.85,
            {"accuracy": 0.9},
            "embedding",
            Reason("rung.none_meets_bar", bar=BAR, reached="0.850"),
        ),
        (0.85, 0.80, {"accuracy": 0.9}, "lexical", Reason("rung.none_meets_bar", bar=BAR, reached="0.850")),
    ],
)
def test_rules(lexical, embedding, bar, taken, reason):
    """The cheapest rung that surely meets the bar, or is not measurably worse, and else the best; it is said why."""
    choice = choose([candidate("lexical", lexical), candidate("embedding", embedding)], bar)

    assert choice.candidate.rung == taken
    assert choice.reason == reason


def test_luck_on_few_rows_is_not_paid_for():
    """A dear rung that was tried on few rows is not taken where its interval reaches down to a cheaper one's value."""
    cheap = candidate("embedding", 0.950, half=0.005)

    assert choose([cheap, candidate("llm", 0.965, half=0.03)], {}).candidate is cheap
    assert choose([cheap, candidate("llm", 0.985, half=0.03)], {}).candidate.rung == "llm"


def named(rung: str, right: np.ndarray, *, half: float) -> Candidate:
    """A rung with its out-of-fold rows."""
    return replace(candidate(rung, float(right.mean()), half=half), right=right)


def test_what_is_usual_counts_where_the_encoder_knows_the_language():
    """In another language the rows alone decide: as many right are no reason for the richer rung, more are."""
    rows = np.arange(60)
    lexical, equal, better = (named("lexical" if n == 36 else "embedding", rows < n, half=0.13) for n in (36, 36, 40))
    equal, better = (replace(named_candidate, rung="embedding", usual=False) for named_candidate in (equal, better))

    assert choose([lexical, equal], {}).candidate is lexical
    assert choose([lexical, replace(equal, usual=True)], {}).candidate.rung == "embedding"
    assert choose([lexical, better], {}).candidate is better


def test_few_rows_do_not_hide_what_the_richer_rung_gains():
    """Of 60 rows it is right on 6 more, which its interval alone does not show; equal ones take it too, many do not."""
    rows = np.arange(60)
    lexical, embedding = named("lexical", rows < 36, half=0.13), named("embedding", rows < 42, half=0.12)
    choice = choose([lexical, embedding], {})
    assert (choice.candidate, choice.reason.code) == (embedding, "rung.richer")
    assert choice.reason.values["gain"] == expected_gain(embedding, lexical)
    assert choose([replace(lexical, right=None), embedding], {}).candidate.rung == "lexical"

    equal = [named(rung, rows < 36, half=0.13) for rung in ("lexical", "embedding")]
    assert choose(equal, {}).candidate.rung == "embedding"
    many = np.arange(3000)
    assert choose([named(rung, many < 2700, half=0.011) for rung in ("lexical", "embedding")], {}).reason.code in {
        "rung.best",
        "rung.cheapest",
    }


def test_luck_of_the_cheaper_rung_on_few_rows():
    """One row more that it names right is what few rows show by chance; many more are believed."""
    rows = np.arange(40)
    embedding = named("embedding", rows < 30, half=0.14)
    assert choose([named("lexical", rows < 31, half=0.13), embedding], {}).candidate is embedding
    assert choose([named("lexical", rows < 36, half=0.1), embedding], {}).candidate.rung == "lexical"


def test_a_bar_is_met_by_the_cheapest_rung_that_meets_it():
    """Whatever a richer one may gain above it."""
    rows = np.arange(60)
    lexical, embedding = named("lexical", rows < 50, half=0.05), named("embedding", rows < 55, half=0.05)
    assert choose([lexical, embedding], {"accuracy": 0.7}).candidate is lexical


def test_every_measure_of_the_bar_counts():
    """A rung that meets one measure and misses another is not taken for sufficient."""
    cheap = candidate("lexical", 0.95, macro_f1=0.5)
    dear = candidate("embedding", 0.94, macro_f1=0.9)

    assert choose([cheap, dear], {"accuracy": 0.9, "macro_f1": 0.8}).candidate is dear


def test_a_single_rung():
    """The only rung is the only rung."""
    assert choose([candidate("lexical", 0.5)], {}).reason == Reason("rung.only", measure="accuracy", value=0.5)


def test_worse_than_the_floor():
    """A rung that is measurably worse than the floor is not taken, whoever asked for it."""
    floor, worse = candidate("lexical", 0.9, half=0.02), candidate("embedding", 0.8, half=0.05)

    assert floor_of([floor, worse], worse) is floor
    assert floor_of([floor, candidate("embedding", 0.86, half=0.05)], candidate("embedding", 0.86, half=0.05)) is None
    assert floor_of([floor, worse], floor) is None
    assert why_floor(floor, worse).code == "rung.floor"


def test_row_of_the_report():
    """A candidate's row has its figure, interval and notes, and no time."""
    row = candidate("lexical", 0.5).row()

    assert row["validation"] == {"accuracy": 0.5, "interval": [0.49, 0.51]}
    assert "seconds" not in row

"""The accept threshold where rows are too few to show the target."""

import numpy as np
import pytest

from coterie.config.specialists import make_section
from coterie.learning.threshold import RISKS, provable, showable, warn_silent

UNSET = make_section(task="classify", data="x")
SET = make_section(task="classify", data="x", target_risk=0.05)


def sure(rows: int) -> np.ndarray:
    """Confidences from high to low."""
    return np.linspace(1.0, 0.5, rows)


@pytest.mark.parametrize(("rows", "risk"), [(8, None), (10, 0.3), (30, 0.15), (50, 0.1), (60, 0.05)])
def test_the_smallest_risk_that_rows_without_a_mistake_show(rows, risk):
    """The fewer rows, the laxer the risk; too few show none, and then nothing is accepted."""
    result = provable(UNSET, sure(rows), np.ones(rows, dtype=bool), [None] * rows)

    assert (result.threshold.value is not None) == (risk is not None)
    assert result.risk == (risk or 0.05)
    assert bool(result.warning) == (risk != 0.05)
    assert ("it answers nothing" in result.warning) == (risk is None)


def test_a_target_that_was_set_is_held():
    """Whoever writes a target down gets it, or no answer and is told so."""
    result = provable(SET, sure(50), np.ones(50, dtype=bool), [None] * 50)

    assert result.threshold.value is None
    assert "its 50 rows show an error of 5% or below" in result.warning


def test_what_a_score_could_show():
    """The smallest share of wrong answers above the target that the rows show, for somebody to want or not."""
    right = np.ones(30, dtype=bool)
    risk, threshold = showable(sure(30), right, [None] * 30, above=0.05)

    assert risk == 0.15
    assert threshold.value is not None
    assert showable(sure(30), right, [None] * 30, above=0.3) is None
    silent = provable(SET, sure(30), right, [None] * 30).threshold
    assert "or set target_risk = 0.15, which they show, if that is right" in warn_silent(silent, 0.05, risk)


def test_guessing_is_never_accepted():
    """Rows that are right by chance show no risk up to the laxest."""
    right = np.random.default_rng(0).random(500) < 0.5

    assert provable(UNSET, sure(500), right, [None] * 500).threshold.value is None


def test_few_rows_may_have_a_mistake():
    """One of 17 rows may be wrong: risks that so few cannot show take nothing from the laxest."""
    right = np.arange(17) != 16

    result = provable(UNSET, sure(17), right, [None] * 17)

    assert result.threshold.value is not None
    assert result.risk == 0.3


@pytest.mark.parametrize("rows", [15, 24, 40])
def test_what_it_says_it_holds_is_held(rows):
    """Over 400 draws the true risk exceeds the one that is said in no more than the level, of 5%."""
    rng = np.random.default_rng(5)
    exceeded = 0
    for _ in range(400):
        confidence = rng.uniform(0.3, 1.0, rows)  # true: so often it is right
        result = provable(UNSET, confidence, rng.random(rows) < confidence, [None] * rows)
        line = result.threshold.value
        exceeded += line is not None and 1 - (1 + line) / 2 > result.risk

    assert exceeded <= 0.05 * 400
    assert max(RISKS) == 0.3

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.errors import DataError
from coterie.learning.calibration import max_logit, scope_threshold


@given(st.lists(st.integers(0, 20), min_size=1, max_size=200), st.floats(0, 1))
def test_no_more_than_allowed_are_rejected(scores, false_rejection):
    """With any ties, at most the allowed share is below the threshold, and the next higher score would reject more."""
    threshold = scope_threshold(scores, false_rejection=false_rejection)
    ranked = np.array(scores)

    assert (ranked < threshold).mean() <= false_rejection + 1e-9
    above = ranked[ranked > threshold]
    if len(above):
        assert (ranked < above.min()).mean() > false_rejection


def test_rounding_does_not_lose_a_row():
    """0.29 of 100 rows are 29 rows, though 0.29 * 100 is less than 29 in floating point."""
    assert scope_threshold(np.arange(100), false_rejection=0.29) == 29


def test_fresh_rows_are_rejected_at_the_promised_rate():
    """In-scope rows that were not calibrated on are below the threshold about as often as allowed."""
    random = np.random.default_rng(0)
    rejected = [
        (random.normal(size=500) < scope_threshold(random.normal(size=500), false_rejection=0.02)).mean()
        for _ in range(200)
    ]

    assert np.mean(rejected) == pytest.approx(0.02, abs=0.003)


def test_scores():
    """The highest logit, of one row or many."""
    logits = np.array([[1.0, 3.0], [1000.0, 1000.0]])

    assert max_logit(logits).tolist() == [3, 1000]
    assert max_logit(logits[0]).shape == ()


@pytest.mark.parametrize("scores", [[], [1.0, float("nan")]])
def test_no_scores(scores):
    """Without scores, or with ones that are no numbers, there is no threshold."""
    with pytest.raises(DataError, match="give no threshold"):
        scope_threshold(scores, false_rejection=0.1)

"""Recorded outcomes as matrices: what is not known is nan, never 0."""

import numpy as np
import pytest

from coterie.errors import DataError
from labs.outcomes.table import read_table

GOOD = {
    "prompt": "2 + 2?",
    "models": {"small": {"score": 1, "cost": 0.001, "confidence": 0.9, "answer": " Four. "}, "large": {"score": 0.5}},
}


def test_a_record_becomes_a_row_of_every_matrix(write):
    """Score, cost, confidence and answer stand in their model's column."""
    table = read_table(write([GOOD]))

    assert table.scores.tolist() == [[1.0, 0.5]]
    assert np.array_equal(table.costs, [[0.001, np.nan]], equal_nan=True)
    assert np.array_equal(table.confidences, [[0.9, np.nan]], equal_nan=True)
    assert table.answers.tolist() == [["four", None]]


def test_a_prompt_is_not_sent_where_it_does_not_fit(write):
    """Beyond a model's window its outcome is not there to be chosen; recorded tokens count, else the text's length."""
    long = {"prompt": "word " * 400, "models": {"small": {"score": 1}, "large": {"score": 1, "tokens": 90}}}
    outcomes = read_table(write([GOOD, long])).within({"small": 100, "large": 100})

    assert np.isnan(outcomes.scores).tolist() == [[False, False], [True, False]]
    with pytest.raises(DataError, match="giant"):
        outcomes.within({"giant": 5})

"""Recorded outcomes are read as they are, and what is wrong is named with its line."""

import math

import numpy as np
import pytest

from coterie.cascade.outcomes import read_outcomes
from coterie.errors import DataError

GOOD = {
    "prompt": "2 + 2?",
    "models": {"small": {"score": 1, "cost": 0.001, "confidence": 0.9, "answer": " Four. "}, "large": {"score": 0.5}},
}


def test_a_record_becomes_a_row_of_every_table(write):
    """Score, cost, confidence and answer stand where their model's column is; what is not known is nan, never 0."""
    outcomes = read_outcomes(write([GOOD]))

    assert outcomes.models == ("small", "large")
    assert outcomes.scores.tolist() == [[1.0, 0.5]]
    assert outcomes.costs[0, 0] == 0.001
    assert math.isnan(outcomes.costs[0, 1])
    assert math.isnan(outcomes.confidences[0, 1])
    assert outcomes.answers.tolist() == [["four", None]]


def test_a_log_probability_is_a_confidence(write):
    """`logprob` is read as its exponential."""
    record = {"prompt": "x", "models": {"a": {"score": True, "logprob": -0.5}}}

    assert read_outcomes(write([record])).confidences[0, 0] == pytest.approx(math.exp(-0.5))


def test_a_model_that_was_not_asked_has_no_outcome(write):
    """Rows may be of different models."""
    other = {"prompt": "3 + 3?", "models": {"large": {"score": 1, "cost": "0.02"}}}
    outcomes = read_outcomes(write([GOOD, other]))

    assert np.isnan(outcomes.scores[1, 0])
    assert outcomes.costs[1, 1] == 0.02


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"prompt": "", "models": {"a": {"score": 1}}}, "line 2 has the prompt ''"),
        ({"prompt": "x"}, "line 2 has no models"),
        ({"prompt": "x", "models": {"a": 1}}, "has 1 for model 'a', not an object"),
        ({"prompt": "x", "models": {"a": {"cost": 1}}}, "has no score for model 'a'"),
        (
            {"prompt": "x", "models": {"a": {"score": 2}}},
            "has 2 as the score of model 'a', which is no number of 0 to 1",
        ),
        ({"prompt": "x", "models": {"a": {"score": 1, "cost": -1}}}, "which is no number of 0 or more"),
        ({"prompt": "x", "models": {"a": {"score": 1, "logprob": 0.1}}}, "which is no number of 0 or less"),
        ({"prompt": "x", "models": {"a": {"score": "good"}}}, "has 'good' as the score"),
        ({"prompt": "x", "models": {"a": {"score": 1, "price": 1}}}, "has unknown keys ['price']"),
        ("{not json", "line 2 is not valid JSON"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(write, record, said):
    """A bad record is refused, not guessed at."""
    with pytest.raises(DataError) as refused:
        read_outcomes(write([GOOD, record]))

    assert said in str(refused.value)


def test_a_table_is_refused(tmp_path):
    """A CSV file has no place for several models."""
    path = tmp_path / "outcomes.csv"
    path.write_text("prompt,score\nx,1\n")

    with pytest.raises(DataError, match="JSONL"):
        read_outcomes(path)


def test_a_prompt_is_not_sent_where_it_does_not_fit(write):
    """Beyond a model's window its outcome is not there to be chosen; recorded tokens count, else the text's length."""
    long = {"prompt": "word " * 400, "models": {"small": {"score": 1}, "large": {"score": 1, "tokens": 90}}}
    outcomes = read_outcomes(write([GOOD, long])).within({"small": 100, "large": 100})

    assert np.isnan(outcomes.scores).tolist() == [[False, False], [True, False]]
    with pytest.raises(DataError, match="giant"):
        outcomes.within({"giant": 5})


def test_a_domain_is_read_and_checked(write):
    """A record may say what kind of prompt it is; what is no text is refused with its line."""
    models = {"small": {"score": 1}}
    good = [{"prompt": "a", "domain": " triage ", "models": models}, {"prompt": "b", "models": models}]
    assert read_outcomes(write(good)).domains.tolist() == ["triage", ""]

    with pytest.raises(DataError, match="domain 3, which is no text"):
        read_outcomes(write([{"prompt": "a", "domain": 3, "models": models}], "bad.jsonl"))

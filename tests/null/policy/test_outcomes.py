"""Recorded outcomes are read as they are, and what is wrong is named with its line."""

import json
import math

import numpy as np
import pytest

from coterie.errors import DataError
from coterie.policy.cost_quality import Attempt, read_outcomes

GOOD = {
    "prompt": "2 + 2?",
    "models": {"small": {"score": 1, "cost": 0.001, "confidence": 0.9, "answer": " Four. "}, "large": {"score": 0.5}},
}


@pytest.fixture
def write(tmp_path):
    """Writes records, or raw lines, as a JSONL file."""

    def written(records, name="outcomes.jsonl"):
        path = tmp_path / name
        lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return written


def test_a_record_is_read_as_it_is(write):
    """Score, cost, confidence and answer are the record's; what is not known is None, never 0."""
    outcomes = read_outcomes(write([GOOD]))

    assert outcomes.models == ("small", "large")
    assert outcomes.rows[0].attempts == {
        "small": Attempt(score=1, cost=0.001, confidence=0.9, answer=" Four. "),
        "large": Attempt(score=0.5),
    }


def test_a_log_probability_is_a_confidence(write):
    """`logprob` is read as its exponential."""
    record = {"prompt": "x", "models": {"a": {"score": True, "logprob": -0.5}}}

    assert read_outcomes(write([record])).rows[0].attempts["a"].confidence == pytest.approx(math.exp(-0.5))


def test_a_model_that_was_not_asked_has_no_score(write):
    """Rows may be of different models; an unknown model is refused."""
    other = {"prompt": "3 + 3?", "models": {"large": {"score": 1, "cost": "0.02"}}}
    outcomes = read_outcomes(write([GOOD, other]))

    assert np.array_equal(outcomes.scores_of("small"), [1.0, np.nan], equal_nan=True)
    with pytest.raises(DataError, match="giant"):
        outcomes.scores_of("giant")


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


def test_a_domain_is_read_and_checked(write):
    """A record may say what kind of prompt it is; what is no text is refused with its line."""
    models = {"small": {"score": 1}}
    good = [{"prompt": "a", "domain": " triage ", "models": models}, {"prompt": "b", "models": models}]
    assert read_outcomes(write(good)).domains.tolist() == ["triage", ""]

    with pytest.raises(DataError, match="domain 3, which is no text"):
        read_outcomes(write([{"prompt": "a", "domain": 3, "models": models}], "bad.jsonl"))

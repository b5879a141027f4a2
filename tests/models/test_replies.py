"""Pairs of message and reply: which files are refused, before a model is tuned on them."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("peft", reason="needs the extra `train`")

from coterie.config.specialists import make_section
from coterie.errors import DataError
from coterie.learning.dataset import Dataset, Row
from coterie.learning.job import Job, Silent
from coterie.tasks.contract import task_of
from coterie.tasks.generate.fit_replies import _spread_replies, read_pairs

SOURCES = {"card_lost": "Freeze it under Cards.", "card_arrival": "A new card takes 5 days."}
GOOD = {"text": "where is it", "intent": "card_arrival", "reply": "Thank you. A new card takes 5 days."}


@pytest.fixture
def read(tmp_path):
    """Reads rows as the pairs of a `reply` specialist."""
    help_texts = Dataset(name="help.jsonl", rows=(), sha256="0" * 64)
    section = make_section(task="generate", data="help.jsonl", model="m", reads=("intent",), pairs="pairs.jsonl")
    job = Job(
        name="reply",
        task=task_of(section),
        section=section,
        train=help_texts,
        held_out=help_texts,
        encoder=None,
        progress=Silent(),
    )

    def read(*rows):
        (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return read_pairs(job, SOURCES, tmp_path)

    return read


def test_pairs_are_read(read):
    """Message, key and reply of each row."""
    data = read(GOOD, {**GOOD, "text": "still waiting"})

    assert data.texts == ["where is it", "still waiting"]
    assert data.rows[0].columns == {"intent": "card_arrival", "reply": GOOD["reply"]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "where", "intent": "card_arrival"}, r"has the columns .*; the pairs of 'reply' need 'reply' too"),
        ({"text": "where", "reply": "there"}, r"the pairs of 'reply' need 'intent' too"),
    ],
)
def test_a_column_that_is_missing(read, row, message):
    """Is named, with those that are there."""
    with pytest.raises(DataError, match=message):
        read(row)


def test_rows_that_teach_nothing(read):
    """Neither a reply that is empty nor a key without a source text passes; the lines are named."""
    with pytest.raises(DataError, match=r"1 of 2 rows have no reply \(lines 2\)"):
        read(GOOD, {**GOOD, "reply": " "})
    with pytest.raises(DataError, match=r"1 of 2 rows have a intent without a source text \(lines 1\)"):
        read({**GOOD, "intent": "fraud"}, GOOD)


def test_drafted_rows_are_spread():
    """A sample takes rows from all over the file, each once."""
    rows = [Row(text=str(number)) for number in range(10)]

    assert [row.text for row in _spread_replies(rows, 4)] == ["0", "2", "5", "7"]
    assert _spread_replies(rows[:3], 4) == rows[:3]
    assert len(np.unique([row.text for row in _spread_replies(rows, 9)])) == 9

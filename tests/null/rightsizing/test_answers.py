"""Answers on file: what is read, what is refused, and that what is written can be read."""

from decimal import Decimal

import pytest

from coterie.errors import DataError
from coterie.rightsizing.large import RecordedAnswer, read_answers, write_answers


def test_csv(tmp_path):
    """Text and answer, and what is known of what it took; an empty cell is not known."""
    path = tmp_path / "gpt.csv"
    path.write_text("text,answer,tokens_in,cost,milliseconds\nwhere,parcel,12,0.001,\n")

    assert read_answers(path) == [
        RecordedAnswer(text="where", row=None, answer="parcel", tokens_in=12, cost=Decimal("0.001"))
    ]


def test_row_numbers_and_lists(tmp_path):
    """A row can be named by its number, and several labels are a list."""
    path = tmp_path / "gpt.jsonl"
    path.write_text('{"row": 3, "answer": ["a", "b"]}\n')

    assert read_answers(path) == [RecordedAnswer(text=None, row=3, answer="a|b")]


def test_another_text_column(tmp_path):
    """The text is in the column that the data has it in."""
    path = tmp_path / "gpt.csv"
    path.write_text("body,answer\nwhere,parcel\n")

    assert read_answers(path, text_column="body")[0].text == "where"


def test_what_is_written_can_be_read(tmp_path):
    """Writing and reading give the same answers."""
    answers = [
        RecordedAnswer(text="wo ist es?", row=None, answer="pärcel", tokens_in=3, tokens_out=1, cost=Decimal("0.5")),
        RecordedAnswer(text=None, row=2, answer="", milliseconds=1.5),
    ]
    path = tmp_path / "answers.jsonl"
    path.write_bytes(write_answers(answers))

    assert read_answers(path) == answers


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("text,label\na,b\n", "need 'answer'"),
        ("question,answer\na,b\n", "need 'answer', and 'text' or 'row'"),
        ('{"answer": "a"}\n', "line 1 has neither 'text' nor 'row'"),
        ('{"text": "a"}\n', "has no 'answer'"),
        ("row,answer\none,b\n", "line 2 has row 'one'"),
        ("text,answer,cost\na,b,-1\n", "cost '-1', which is no number from 0"),
        ("text,answer,milliseconds\na,b,inf\n", "no number from 0"),
        ("text,answer\n", "has no answers"),
    ],
)
def test_what_cannot_be_used(tmp_path, content, said):
    """A file that does not say what is needed is refused with its line."""
    path = tmp_path / "gpt.jsonl"
    path = path if content.startswith("{") else path.with_suffix(".csv")
    path.write_text(content)

    with pytest.raises(DataError, match=said):
        read_answers(path)

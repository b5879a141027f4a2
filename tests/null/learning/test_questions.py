"""Files of questions: what an `answer` specialist is trained and measured on."""

import json

import pytest

from coterie.config.specialists import make_section
from coterie.errors import DataError
from coterie.tasks.answer.rows import read_rows

SECTION = make_section(task="answer", knowledge=("index",))


def read(tmp_path, *rows, name="questions.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return read_rows(SECTION, path)


def test_answers_are_quotes_places_or_nothing(tmp_path):
    """A quote, several, a place, several, and four ways to say that it is not stated."""
    answers = ["12 pounds", ["12 pounds", "a late fee"], [3, 9], [[3, 9], [20, 31]], None, "", "not stated", []]
    data = read(tmp_path, *({"question": "How much?", "document": "a.md", "answer": answer} for answer in answers))

    assert [row.labels for row in data.rows] == [("12 pounds",), ("12 pounds", "a late fee"), *[()] * 6]
    assert [row.evidence for row in data.rows] == [(), (), ((3, 9),), ((3, 9), (20, 31)), *[()] * 4]


def test_document_and_topic_are_kept(tmp_path):
    """The document binds rows into a group; the topic is kept beside it."""
    (row,) = read(tmp_path, {"question": "How much?", "answer": None, "document": "a.md", "topic": "fee"}).rows

    assert (row.group, dict(row.columns)) == ("a.md", {"document": "a.md", "topic": "fee"})


def test_csv_is_read(tmp_path):
    """A CSV with a question and an answer a row."""
    data = read(tmp_path, "question,answer", "How much?,12 pounds", "Since when?,", name="questions.csv")

    assert [row.labels for row in data.rows] == [("12 pounds",), ()]


def test_a_file_that_teaches_no_silence_is_pointed_out(tmp_path):
    """Where every question has an answer, nothing is learnt of when to keep silent."""
    assert "keep silent" in " ".join(read(tmp_path, {"question": "How much?", "answer": "12"}).warnings)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"question": "", "answer": "x"}, "empty 'question'"),
        ({"question": "How much?", "answer": {"text": "x"}}, "an answer that is"),
        ({"question": "How much?", "answer": [9, 3], "document": "a.md"}, "an answer that is"),
        ({"question": "How much?", "answer": [[3, 9], "x"], "document": "a.md"}, "an answer that is"),
        ({"question": "How much?", "answer": [3, 9]}, "does not name it"),
        ({"question": ["How much?"], "answer": "x"}, "where a text belongs"),
        ({"text": "How much?", "answer": "x"}, "no 'question'"),
    ],
)
def test_bad_rows_are_explained(tmp_path, row, found):
    """The message names the line and what stands there."""
    with pytest.raises(DataError, match=found) as caught:
        read(tmp_path, row)
    assert "line 1" in caught.value.message


def test_missing_columns_are_named(tmp_path):
    """A CSV without the column is refused before its rows are read."""
    with pytest.raises(DataError, match="'answer'"):
        read(tmp_path, "question,reply", "How much?,12", name="questions.csv")

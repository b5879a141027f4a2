"""Answers held against where the documents answer."""

import json

import pytest

from coterie.config.specialists import make_section
from coterie.errors import DataError
from coterie.learning.dataset import Row
from coterie.tasks.answer.rows import holds_answer, judge, read_rows, with_quotes
from coterie.testing import make_finding
from coterie.types import Citation, Finding, Label


def row(*, spans=(), quotes=(), document="a.md") -> Row:
    return Row(text="How much?", columns={"document": document}, evidence=tuple(spans), labels=tuple(quotes))


def found(*citations: tuple[str, int, int, str], accepted: bool = True) -> Finding:
    return make_finding(
        "x",
        specialist="ask",
        accepted=accepted,
        task="answer",
        citations=tuple(Citation(document=d, start=s, end=e, text=t, label=Label.PUBLIC) for d, s, e, t in citations),
    )


def test_a_place_is_right_where_it_overlaps():
    """Of the right document only."""
    question = row(spans=[(10, 20)])

    assert holds_answer(question, "a.md", 19, 30, "")
    assert not holds_answer(question, "a.md", 20, 30, "")
    assert not holds_answer(question, "b.md", 10, 20, "")


def test_a_quote_is_right_where_most_words_are_shared():
    """Longer or shorter than the quote that was given."""
    question = row(quotes=["a late fee of 12 pounds"])

    assert holds_answer(question, "a.md", 0, 1, "We charge a late fee of 12 pounds, once a month.")
    assert holds_answer(question, "a.md", 0, 1, "12 pounds")
    assert not holds_answer(question, "a.md", 0, 1, "A paper statement costs 3 pounds.")


def test_figures():
    """Two right citations of three, one unanswerable question answered, one of two answerable ones."""
    rows = [row(spans=[(0, 9)], quotes=["one two"]), row(spans=[(0, 9)], quotes=["one two"]), row(), row()]
    findings = [
        found(("a.md", 0, 9, "one two"), ("a.md", 5, 12, "two")),
        found(("a.md", 0, 9, "one two"), accepted=False),
        found(("a.md", 40, 50, "other")),
        found(),
    ]
    judged = judge(rows, findings)

    assert judged.citation_precision == pytest.approx(2 / 3)
    assert judged.coverage == 0.5
    assert judged.unanswerable_recall == 0.5
    assert judged.said_not_stated == 0.5
    assert judged.not_stated_precision == 1.0
    assert judged.token_f1 == pytest.approx((2 * 2 / 5) / 2)
    assert judged.right == (True, True, False, True)
    assert judged.accuracy == 0.75


def test_figures_that_rows_cannot_give_are_none():
    """Without unanswerable questions nothing is known of silence."""
    judged = judge([row(quotes=["x"])], [found(accepted=False)])

    assert judged.unanswerable_recall is None
    assert judged.citation_precision is None
    assert judged.to_json()["coverage"] == 0.0


async def test_places_become_quotes_where_a_index_has_the_text():
    """The words at a place are read from the index that has the document; without one the row stays as it is."""

    class Keeps:
        """Has one document."""

        async def text(self, name, start, end, *, clearance, tenant="default"):
            return "a late fee of 12 pounds"[start:end] if name == "a.md" else None

    rows = [row(spans=[(2, 10)]), row(spans=[(2, 10)], document="b.md"), row()]
    questions = await with_quotes(rows, {"index": Keeps()}, clearance=Label.PUBLIC)

    assert [question.labels for question in questions] == [("late fee",), (), ()]


# --- Files of questions: what an `answer` specialist is trained and measured on.


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

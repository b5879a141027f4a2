"""Reading pairs: a text, a second one, and what decides."""

import json

import pytest

from coterie.errors import DataError
from coterie.tasks.contract import read_dataset

TEXT = "Pets are welcome. No deposit is due. Rent is paid monthly."


def rows(n=12, **changes):
    """Rows of pairs, labels in turn."""
    return [
        {
            "text": TEXT,
            "question": f"Question {i}?",
            "label": "yes" if i % 2 else "no",
            "evidence": [[0, 17]],
            **changes,
        }
        for i in range(n)
    ]


def read(tmp_path, records, **options):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return read_dataset(path, task="pairs", pair_column="question", **options)


def test_a_row_keeps_its_second_text_and_evidence(tmp_path):
    """The second text is the row's only column, and quotes become the spans where they stand."""
    data = read(tmp_path, [*rows(), {**rows(1)[0], "evidence": ["No deposit is due.", [0, 4]], "other": 5}])

    assert data.rows[0].columns == {"question": "Question 0?"}
    assert data.rows[0].evidence == ((0, 17),)
    assert [TEXT[start:end] for start, end in data.rows[-1].evidence] == ["No deposit is due.", "Pets"]
    assert data.rows[-1].columns.keys() == {"question"}


def test_one_record_holds_many_pairs(tmp_path):
    """A record with `pairs` is as many rows, which share its text and its other cells."""
    pairs = [{key: row[key] for key in ("question", "label")} for row in rows()]
    data = read(tmp_path, [{"text": TEXT, "contract": "a", "pairs": pairs}], group_column="contract")

    assert len(data) == 12
    assert {row.group for row in data.rows} == {"a"}
    assert all(row.text is data.rows[0].text for row in data.rows)


def test_repeated_texts_are_held_once(tmp_path):
    """The text of many rows is one string in memory."""
    data = read(tmp_path, rows())

    assert all(row.text is data.rows[0].text for row in data.rows)


def test_evidence_in_csv(tmp_path):
    """In CSV evidence is a JSON list or one quote; an empty cell is none."""
    path = tmp_path / "pairs.csv"
    cells = ['"[[0, 4]]"', '"[""No deposit""]"', "Rent is paid", ""] * 3
    lines = [f'"{TEXT}",Question {i}?,{"yes" if i % 2 else "no"},{cell}' for i, cell in enumerate(cells)]
    path.write_text("\n".join(["text,question,label,evidence", *lines]))
    data = read_dataset(path, task="pairs", pair_column="question")

    quoted = [[TEXT[start:end] for start, end in row.evidence] for row in data.rows[:4]]
    assert quoted == [["Pets"], ["No deposit"], ["Rent is paid"], []]


def test_pairs_of_one_text_do_not_contradict(tmp_path):
    """One text with several labels is what pairs are; the same pair with several is a contradiction."""
    assert not any("several labels" in warning for warning in read(tmp_path, rows()).warnings)
    twice = [*rows(), {**rows(1)[0], "label": "yes"}]
    assert any("several labels" in warning for warning in read(tmp_path, twice).warnings)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"evidence": ["A clause of another lease."]}, "which its text does not have"),
        ({"evidence": [[0, 999]]}, r"neither a quote nor \[start, end\] inside its 58 characters"),
        ({"evidence": [[5, 5]]}, "neither a quote"),
        ({"evidence": [7]}, "neither a quote"),
        ({"question": "  "}, "12 rows with nothing in 'question'"),
    ],
)
def test_what_is_refused(tmp_path, changes, says):
    """Evidence that is not in the text, and a pair without its second text, are refused with line and value."""
    with pytest.raises(DataError, match=says):
        read(tmp_path, rows(**changes))


def test_rows_to_learn_from_only(tmp_path):
    """The column marks rows that no figure may be taken from; anything but true, false, 1, 0 or nothing is refused."""
    marks = [True, False, 1, 0, "true", "", None, "False", 1, 1, 1, 1]
    records = [{**row, "made": mark} for row, mark in zip(rows(), marks, strict=True)]
    data = read(tmp_path, records, learn_only_column="made")

    assert [row.learn_only for row in data.rows[:8]] == [True, False, True, False, True, False, False, False]
    assert len(data.measured()) == 5
    with pytest.raises(DataError, match=r"1.*'maybe'.*'made'"):
        read(tmp_path, [{**row, "made": "maybe"} for row in rows()], learn_only_column="made")


def test_pairs_that_are_no_list(tmp_path):
    """A record whose pairs are something else is refused with the form they take."""
    with pytest.raises(DataError, match="line 1 has pairs that are no list of objects"):
        read(tmp_path, [{"text": TEXT, "pairs": ["a", "b"]}])


def test_a_file_without_the_second_text(tmp_path):
    """A file without the column is refused, with the columns it has."""
    bare = [{"text": TEXT, "label": str(i % 2)} for i in range(12)]
    with pytest.raises(DataError, match="'question'"):
        read(tmp_path, bare)

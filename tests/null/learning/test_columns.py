import pytest

from coterie.errors import DataError


def applicants(column, cells, *, labels=("0", "1"), name="x"):
    """A score file with one feature."""
    rows = [f"{cell},{labels[i % len(labels)]}" for i, cell in enumerate(cells)]
    return "\n".join([f"{name},label", *rows]) + "\n"


def values(dataset, name="x"):
    return [row.columns[name] for row in dataset.rows]


def test_numbers_are_numbers_for_the_whole_column(read):
    """A column of numbers is numeric, whole numbers as int, and missing marks in it are None."""
    dataset = read(applicants("x", ["1", "2.5", "-3e2", "", "NA", "?", "+7", " 8 ", "0", "0.5"]), task="score")

    assert values(dataset) == [1, 2.5, -300.0, None, None, None, 7, 8, 0, 0.5]
    assert [type(value) for value in values(dataset)][:2] == [int, float]


def test_words_stay_words(read):
    """In a column of words, a missing mark or a number is a word like others, and only the empty cell is missing."""
    dataset = read(applicants("x", ["none", "guarantor", "NA", "1", ""] * 2), task="score")

    assert values(dataset)[:5] == ["none", "guarantor", "NA", "1", None]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["12,4", "3", "-0,75", "", "?"], [12.4, 3, -0.75, None, None]),  # as a spreadsheet of half of Europe writes it
        (["1.234,5", "1.234", "7,125"], [1234.5, 1234, 7.125]),
        (["1 234,5", "12\u202f345,25", "8"], [1234.5, 12345.25, 8]),
        (["1,234.50", "1,234", "999"], [1234.5, 1234, 999]),
        (["1,234", "1,234,567"], [1234, 1234567]),
    ],
)
def test_numbers_with_a_decimal_comma_or_groups_are_numbers(read, cells, expected):
    """A column of numbers is numeric in each notation, where its cells together have one reading."""
    dataset = read("\n".join(["x\tlabel", *(f"{cell}\t{i % 2}" for i, cell in enumerate(cells * 10))]), task="score")

    assert values(dataset)[: len(cells)] == expected


@pytest.mark.parametrize(
    "cells",
    [
        ["1,234", "5,678"],  # thousands in one country, decimals in another
        ["258 440 110", "258 440 127"],  # telephones
        ["192.168.100.101", "192.168.100.102"],
        ["1,2,3", "1,2"],
        ["1,5", "1.5"],
        ["01,5", "2,5"],
    ],
)
def test_figures_with_several_readings_or_none_are_words(read, cells):
    """What may be two numbers, or no number, stays as it is written."""
    dataset = read("\n".join(["x\tlabel", *(f"{cell}\t{i % 2}" for i, cell in enumerate(cells * 10))]), task="score")

    assert values(dataset)[: len(cells)] == cells


def test_a_column_of_two_readings_is_named(read):
    """Who has such a column is told, and so is who has a decimal comma in all cells but one."""
    ambiguous = read("\n".join(["x\tlabel", *(f"{i},234\t{i % 2}" for i in range(1, 11))]), task="score")
    mixed = read("\n".join(["x\tlabel", *(f"{i},5\t{i % 2}" for i in range(1, 11)), "many\t1"]), task="score")

    assert any("'x'" in warning and "1,234" in warning for warning in ambiguous.warnings)
    assert any("'x'" in warning and "many" in warning for warning in mixed.warnings)


def test_codes_with_leading_zeros_are_words(read):
    """A postcode does not lose its zeros."""
    assert values(read(applicants("x", ["01234", "99999"] * 5), task="score"))[0] == "01234"


@pytest.mark.parametrize("cell", ["1e999", "nan5", "1,5", "0x10", "1_000", "١٢"])
def test_what_python_takes_for_a_number_but_people_do_not_is_a_word(read, cell):
    """Infinite, underscored and non-ASCII numbers stay as they are."""
    dataset = read(applicants("x", [f'"{cell}"', "word"] * 5), task="score")

    assert values(dataset)[0] == cell


def test_booleans(read):
    """The words true and false are booleans; yes and no are words, as they will be in a request."""
    assert values(read(applicants("x", ["true", "False"] * 5), task="score"))[:2] == [True, False]
    assert values(read(applicants("x", ["yes", "no"] * 5), task="score"))[:2] == ["yes", "no"]


def test_json_values_keep_their_types(read):
    """Numbers and booleans of JSONL stay, null and NaN are missing, and a nested value is refused."""
    lines = ['{"x": 1, "b": true, "label": 0}', '{"x": NaN, "b": null, "label": 1}'] * 5
    dataset = read("\n".join(lines), name="a.jsonl", task="score")

    assert [dict(row.columns) for row in dataset.rows[:2]] == [{"x": 1, "b": True}, {"x": None, "b": None}]
    with pytest.raises(DataError, match=r"line 1 has \[1\] in 'x'"):
        read('{"x": [1], "label": 0}', name="b.jsonl", task="score")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("1", "0"), ("1", "0")),
        (("0.0", "1.0"), ("0", "1")),
        (("TRUE", "false"), ("1", "0")),
        (("No", "yes"), ("0", "1")),
    ],
)
def test_outcomes_become_one_and_zero(read, labels, expected):
    """1, true and yes are the outcome that is predicted."""
    dataset = read(applicants("x", range(100, 110), labels=labels), task="score")

    assert tuple(row.labels[0] for row in dataset.rows[:2]) == expected


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (("good", "bad"), "'good' (5 rows) and 'bad' (5 rows)"),
        (("1", "2"), "'1' (5 rows) and '2' (5 rows)"),
        (("0", "yes"), "'0' (5 rows) and 'yes' (5 rows)"),
    ],
)
def test_unclear_outcomes_are_refused(read, labels, found):
    """Which of two words is positive is not guessed."""
    with pytest.raises(DataError) as caught:
        read(applicants("x", range(100, 110), labels=labels), task="score")

    assert "outcomes that are not 1 and 0" in str(caught.value)
    assert found in str(caught.value)


@pytest.mark.parametrize(("given", "proposed"), [("defualt", {"default"}), ("x", {"default", "paid"})])
def test_a_positive_that_no_row_has_is_told_what_rows_have(read, given, proposed):
    """The outcome that was probably meant is proposed, else both."""
    with pytest.raises(DataError) as caught:
        read(applicants("x", range(100, 110), labels=("default", "paid")), task="score", positive=given)

    assert {label for label in ("default", "paid") if f"positive = {label!r}" in str(caught.value.hint)} == proposed


def test_rows_without_an_outcome_are_refused_also_in_evaluation(read):
    """An applicant is never out of scope."""
    with pytest.raises(DataError, match="1 row without a label: line 12"):
        read(applicants("x", range(10)) + "5,\n", task="score", for_evaluation=True)


def test_a_column_called_text_is_the_text(read):
    """A score may have a text; it is no feature."""
    rows = "".join(f"note {i},{i * i},{i % 2}\n" for i in range(10))
    dataset = read("text,x,label\n" + rows, task="score")

    assert dataset.rows[3].text == "note 3"
    assert dict(dataset.rows[3].columns) == {"x": 9}


def test_odd_columns_are_warned_of(read):
    """Keys, empty columns, almost-numeric columns and columns that give the label away are named."""
    header = "id,empty,income,outcome,fine,label\n"
    rows = "".join(
        f"{i},,{'n/k' if i == 3 else 1000 + i * i},{'paid late'[: 4 + i % 2 * 5]},{i % 7},{i % 2}\n" for i in range(60)
    )
    dataset = read(header + rows, task="score")

    assert dataset.warnings == (
        "column 'id' is different on every row: if it is a key and no feature, exclude it",
        "column 'empty' is empty on every row",
        "column 'income' is read as words and not as numbers because of 1 cell, first 'n/k' at line 5",
        "column 'outcome' gives the label away: is it known before the decision? If not, exclude it",
    )

"""Columns and rows as notebooks hold them."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from coterie.api.inputs import check_lengths, read_column, read_labels, read_rows, read_stated, read_texts
from coterie.errors import DataError


class NAType:
    """pandas' mark of a missing value: it cannot be compared."""

    def __eq__(self, other):
        return self

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")

    __hash__ = None


class Series:
    """A column as pandas has it."""

    def __init__(self, values):
        self.values = values

    def tolist(self):
        return list(self.values)


class DataFrame:
    """A table as pandas has it."""

    def __init__(self, **columns):
        self.table = columns
        self.columns = Series(columns)

    def __getitem__(self, name):
        return Series(self.table[name])

    def to_dict(self, orient):
        assert orient == "records"
        return [dict(zip(self.table, row, strict=True)) for row in zip(*self.table.values(), strict=True)]


DataFrame.columns = property(lambda self: list(self.table), lambda self, value: None)


@pytest.mark.parametrize(
    "values",
    [
        ["a", "b"],
        ("a", "b"),
        (text for text in ["a", "b"]),
        np.array(["a", "b"]),
        np.array([["a"], ["b"]]),
        np.array(["a", "b"], dtype=object),
        Series(["a", "b"]),
        DataFrame(text=["a", "b"]),
        {"a": 1, "b": 2}.keys(),
    ],
    ids=["list", "tuple", "generator", "array", "column of an array", "objects", "series", "table", "view"],
)
def test_texts_come_in_any_collection(values):
    """Whatever holds texts in order is read as a column of them."""
    assert read_texts(values) == ["a", "b"]


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan, NAType()], ids=["None", "nan", "numpy", "pandas"])
def test_a_missing_text_is_named_by_its_place(missing):
    """What stands for a missing value is refused, with its position from 0."""
    with pytest.raises(DataError, match=r"texts\[1\]"):
        read_texts(["a", missing])


def test_a_single_text_is_no_column():
    """A text given where a list belongs would be read as its letters."""
    with pytest.raises(DataError, match="one str"):
        read_column("a text", "labels")


@pytest.mark.parametrize("values", [3, None, {"a": 1}, DataFrame(a=["x"], b=["y"])])
def test_what_is_no_column_is_refused(values):
    """A number, nothing, a dict or a table of several columns."""
    with pytest.raises(DataError, match="texts"):
        read_texts(values)


def test_nothing_is_refused():
    """An empty column and, in training, an empty text."""
    with pytest.raises(DataError, match="texts is empty"):
        read_texts([])
    with pytest.raises(DataError, match=r"texts\[0\] is empty"):
        read_texts([" "], filled=True)


def test_labels_become_texts():
    """Whole numbers and booleans are labels as they are written in a file."""
    assert read_labels(np.array([1, 0])) == ["1", "0"]
    assert read_labels([True, 2.0, "a"]) == ["true", "2", "a"]
    assert read_labels(np.array([1.0, np.nan]), optional=True) == ["1", None]


def test_several_labels_a_row():
    """Collections stay lists, one label is a list of one, none is an empty one."""
    assert read_labels([["a", "b"], "a", None, {"b", "a"}, np.array(["a"])], several=True) == [
        ["a", "b"],
        ["a"],
        [],
        ["a", "b"],
        ["a"],
    ]


@pytest.mark.parametrize("label", [None, float("nan"), 0.5, "", object()])
def test_what_is_no_label_is_named_by_its_place(label):
    """A missing, broken or empty label is refused."""
    with pytest.raises(DataError, match=r"labels\[1\]"):
        read_labels(["a", label])


def test_rows_of_a_table_are_plain_values():
    """NaN is a missing cell, a numpy scalar a number, a date its ISO form."""
    table = DataFrame(age=[np.int64(41), float("nan")], since=[dt.date(2024, 5, 31), None], name=["Ada", NAType()])
    assert read_rows(table) == [
        {"age": 41, "since": "2024-05-31", "name": "Ada"},
        {"age": None, "since": None, "name": None},
    ]


@pytest.mark.parametrize("rows", [[{"a": [1]}], [{"a": float("inf")}], ["a"], [], {"a": 1}, 3])
def test_what_is_no_row_is_refused(rows):
    """A list in a cell, an infinite number, a text for a row, no row at all, one row without a list."""
    with pytest.raises(DataError, match="rows"):
        read_rows(rows)


def test_stated_fields_of_a_table():
    """A cell without a value is a field that is not stated."""
    assert read_stated(DataFrame(date=["31 May", np.nan])) == [{"date": "31 May"}, {"date": None}]
    assert read_stated([None, {"parties": ["Ada", "Bob"]}]) == [{}, {"parties": ["Ada", "Bob"]}]


def test_columns_are_equally_long():
    """The message has each column's length."""
    with pytest.raises(DataError, match="texts has 2, labels has 1"):
        check_lengths(texts=[1, 2], labels=[1])


def test_pandas_itself():
    """Series, tables and marks of missing values as pandas really has them."""
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(
        {
            "text": ["a", "b"],
            "amount": pandas.array([None, 2], dtype="Int64"),
            "since": pandas.to_datetime(["2024-05-31", None]),
            "share": [0.5, float("nan")],
            "kind": pandas.Categorical(["x", None]),
        }
    )

    assert read_texts(table["text"]) == read_texts(table[["text"]]) == ["a", "b"]
    assert read_labels(pandas.Series([1, 0])) == ["1", "0"]
    assert read_rows(table) == [
        {"text": "a", "amount": None, "since": "2024-05-31T00:00:00", "share": 0.5, "kind": "x"},
        {"text": "b", "amount": 2, "since": None, "share": None, "kind": None},
    ]
    with pytest.raises(DataError, match=r"labels\[1\] is missing"):
        read_labels(table["kind"])

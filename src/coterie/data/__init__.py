"""Examples for specialists: read from files, explained when wrong, compared and split.

`read_dataset` gives a `Dataset` of `Row`s; everything after it is a pure function of datasets. What compares and splits
them needs scipy's sparse matrices, and is imported when it is asked for: a network that answers does neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie._lazy import lazy_face

from ._dataset import Dataset, Row, Span, Stated
from ._files import Lines, Record, open_lines, read_records
from ._questions import DOCUMENT, TOPIC, read_questions
from ._read import read_dataset
from ._section import read_section
from ._spans import locate_quote
from ._values import CHOICE, MANY, TEXT, Value, find_values, normalise_value, typed_spans

if TYPE_CHECKING:
    from ._duplicates import Duplicate, near_duplicates
    from ._splits import compare_datasets, describe_unknown, folds, split_dataset, unknown_labels

__all__ = [
    "CHOICE",
    "DOCUMENT",
    "MANY",
    "TEXT",
    "TOPIC",
    "Dataset",
    "Duplicate",
    "Lines",
    "Record",
    "Row",
    "Span",
    "Stated",
    "Value",
    "compare_datasets",
    "describe_unknown",
    "find_values",
    "folds",
    "locate_quote",
    "near_duplicates",
    "normalise_value",
    "open_lines",
    "read_dataset",
    "read_questions",
    "read_records",
    "read_section",
    "split_dataset",
    "typed_spans",
    "unknown_labels",
]

_HOMES = {
    "Duplicate": "_duplicates",
    "compare_datasets": "_splits",
    "describe_unknown": "_splits",
    "folds": "_splits",
    "near_duplicates": "_duplicates",
    "split_dataset": "_splits",
    "unknown_labels": "_splits",
}

__getattr__ = lazy_face(__name__, _HOMES)

"""Examples for specialists: read from files, explained when wrong, compared and split.

`read_dataset` gives a `Dataset` of `Row`s; everything after it is a pure function of datasets.
"""

from ._dataset import Dataset, Row, Span, Stated
from ._duplicates import Duplicate, near_duplicates
from ._files import Lines, Record, open_lines, read_records
from ._questions import DOCUMENT, TOPIC, read_questions
from ._read import read_dataset
from ._section import read_section
from ._spans import locate_quote
from ._splits import compare_datasets, describe_unknown, folds, split_dataset, unknown_labels
from ._values import CHOICE, MANY, TEXT, Value, find_values, normalise_value, typed_spans

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

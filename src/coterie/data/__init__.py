"""Examples for specialists: read from files, explained when wrong, compared and split.

`read_dataset` gives a `Dataset` of `Row`s; everything after it is a pure function of datasets.
"""

from ._dataset import Dataset, Row
from ._duplicates import Duplicate, near_duplicates
from ._files import Lines, Record, open_lines, read_records
from ._read import read_dataset
from ._splits import compare_datasets, describe_unknown, folds, split_dataset, unknown_labels

__all__ = [
    "Dataset",
    "Duplicate",
    "Lines",
    "Record",
    "Row",
    "compare_datasets",
    "describe_unknown",
    "folds",
    "near_duplicates",
    "open_lines",
    "read_dataset",
    "read_records",
    "split_dataset",
    "unknown_labels",
]

"""Read plain values of a notebook: lists, tuples, generators, numpy arrays, pandas Series and DataFrames.

No numpy or pandas type is imported: an object with `to_dict` is a table, an object with `tolist` is a column.
Errors name the argument and the position, counted from 0.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from coterie.errors import DataError
from coterie.types import Scalar

Values: TypeAlias = Iterable[object]
"""A column of values: any iterable, a numpy array or a pandas Series."""


def read_column(values: Values, what: str) -> list[object]:
    """Return the values of a column as a list, missing ones as None.

    Args:
        values: A list, tuple, generator, numpy array, pandas Series, or a table with one column.
        what: The argument's name, for errors.

    Raises:
        DataError: it is a single text or no column.
    """
    if isinstance(values, str | bytes | Mapping):
        raise DataError(
            f"{what} is one {type(values).__name__}; it takes a list of values.", hint=f"Put it into a list: [{what}]"
        )
    if _is_table(values):
        values = _only_column(values, what)
    shape: tuple[int, ...] = getattr(values, "shape", ())
    if len(shape) == 2 and shape[1] == 1:  # an array with one column
        values = values.reshape(-1)  # type: ignore[attr-defined]
    listed = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(listed, Iterable) or isinstance(listed, str | bytes):
        raise DataError(f"{what} is of type {type(values).__name__}; it takes a list of values.")
    return [_plain(value) for value in listed]


def read_texts(values: Values, what: str = "texts", *, filled: bool = False) -> list[str]:
    """Return a column of texts; with `filled`, none may be empty. Raises `DataError`, also for a missing text."""
    texts = []
    for index, value in enumerate(read_column(values, what)):
        if not isinstance(value, str):
            problem = "missing" if value is None else f"{value!r}, not a text"
            raise DataError(f"{what}[{index}] is {problem}.", hint="Drop the row, or write its text.")
        if filled and not value.strip():
            raise DataError(f"{what}[{index}] is empty.", hint="Drop the row, or write its text.")
        texts.append(value)
    if not texts:
        raise DataError(f"{what} is empty.", hint="Give at least one text.")
    return texts


def read_labels(values: Values, what: str = "labels", *, several: bool = False, optional: bool = False) -> list[object]:
    """Return a column of labels as texts: `1` becomes `"1"`, `True` becomes `"true"`.

    Args:
        values: Texts, whole numbers or booleans; or collections of them.
        what: The argument's name, for errors.
        several: Whether a row may have several labels, or none.
        optional: Whether None is allowed: the row belongs to no label.

    Raises:
        DataError: a label is missing or of another kind.
    """
    read: list[object] = []
    for index, value in enumerate(read_column(values, what)):
        if value is None and (optional or several):
            read.append([] if several else None)
        elif isinstance(value, list | tuple | set | frozenset):
            several_labels = [_label(_plain(label), f"{what}[{index}]") for label in value]
            read.append(sorted(several_labels) if isinstance(value, set | frozenset) else several_labels)
        else:
            label = _label(value, f"{what}[{index}]")
            read.append([label] if several else label)
    return read


def read_rows(values: object, what: str = "rows") -> list[dict[str, Scalar]]:
    """Return rows of structured input, one dict per row, missing cells as None.

    Args:
        values: Dicts, or a pandas DataFrame.
        what: The argument's name, for errors.

    Raises:
        DataError: a row is no dict, or a cell is no text, number, boolean or date.
    """
    rows = []
    for index, row in enumerate(_records(values, what)):
        if not isinstance(row, Mapping):
            raise DataError(f"{what}[{index}] is a {type(row).__name__}, not a dict.", hint='Write {"age": 41, ...}.')
        rows.append({str(name): _cell(cell, f"{what}[{index}][{str(name)!r}]") for name, cell in row.items()})
    if not rows:
        raise DataError(f"{what} is empty.", hint="Give at least one row.")
    return rows


def read_stated(values: object, what: str = "values") -> list[dict[str, object]]:
    """Return the values that each text states, one dict of fields per text.

    Quotes and offsets are checked when the data are read.

    Raises:
        DataError: a row is no dict.
    """
    rows: list[dict[str, object]] = []
    for index, row in enumerate(_records(values, what)):
        if row is not None and not isinstance(row, Mapping):
            raise DataError(
                f"{what}[{index}] is a {type(row).__name__}, not a dict.", hint='Write {"date": "31 May 2024", ...}.'
            )
        rows.append({str(name): _stated(value) for name, value in (row or {}).items()})
    return rows


def check_lengths(**columns: Sequence[object]) -> None:
    """Check that the columns are equally long. Raises `DataError`."""
    if len({len(column) for column in columns.values()}) > 1:
        lengths = ", ".join(f"{name} has {len(column):,}" for name, column in columns.items())
        raise DataError(f"Columns of different lengths: {lengths}.", hint="Each row needs a value in every column.")


def check_several_labels(labels: Sequence[object], what: str = "labels") -> None:
    """Check that the labels are not all the same, since nothing can be learnt from them. Raises `DataError`."""
    distinct = {label_ for label in labels for label_ in (label if isinstance(label, list) else [label])}
    if len(distinct) == 1:
        raise DataError(
            f"{what} has one label only: {next(iter(distinct))!r}.", hint="A classifier needs rows of two labels."
        )


def _records(values: object, what: str) -> list[object]:
    if isinstance(values, Mapping | str | bytes):
        raise DataError(f"{what} is one {type(values).__name__}; it takes a list of dicts or a DataFrame.")
    if _is_table(values):
        return list(values.to_dict("records"))  # type: ignore[attr-defined]
    if not isinstance(values, Iterable):
        raise DataError(f"{what} is a {type(values).__name__}; it takes a list of dicts or a DataFrame.")
    return list(values)


def _is_table(values: object) -> bool:
    return hasattr(values, "to_dict") and hasattr(values, "columns")


def _only_column(table: object, what: str) -> Values:
    names = [str(name) for name in table.columns]  # type: ignore[attr-defined]
    if len(names) != 1:
        raise DataError(
            f"{what} is a table with the columns {names}; it takes one column.", hint=f'Choose it: data["{names[0]}"]'
        )
    return [next(iter(row.values())) for row in table.to_dict("records")]  # type: ignore[attr-defined]


def _plain(value: object) -> object:
    """Convert a numpy scalar or array to Python values; NaN, NaT and NA become None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return None if _is_missing(value) else value


def _is_missing(value: object) -> bool:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return type(value).__name__ in {"NAType", "NaTType"}  # of pandas: not comparable, or equal to nothing


def _label(value: object, cell_name: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        problem = "missing" if value is None else f"{value!r}, which is no label"
        raise DataError(f"{cell_name} is {problem}.", hint="A label is a text, a whole number or a boolean.")
    if not value.strip():
        raise DataError(f"{cell_name} is empty.", hint="Write the label, or drop the row.")
    return value


def _cell(value: object, cell_name: str) -> Scalar:
    value = _plain(value)
    if isinstance(value, float) and math.isinf(value):
        raise DataError(f"{cell_name} is infinite.", hint="A missing number is None or NaN.")
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dt.date):
        return value.isoformat()
    raise DataError(
        f"{cell_name} is a {type(value).__name__}.", hint="A cell is a text, a number, a boolean or a date."
    )


def _stated(value: object) -> object:
    value = _plain(value)
    if isinstance(value, list | tuple):
        return [_stated(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value

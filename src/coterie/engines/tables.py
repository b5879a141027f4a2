"""Scorecards: a sum of tables over columns and pairs of columns.

log-odds = base + sum of main[j][bin of column j] + sum of pair[j, k][bin of j, bin of k]. Tables are centred on the
training rows, so that a column's part (its own table and half of each of its pairs) is its exact interventional
Shapley value in a model of order two (Lundberg & Lee 2017; Bordt & von Luxburg 2023), and zero is the average row.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np

from coterie.engines.features import stored_array
from coterie.runtime.codec import from_json, to_json
from coterie.types import Columns, Prompt, Scalar

UNKNOWN = 0  # bin of a missing value, and of one that training never saw
_LONGEST_SHOWN = 60  # characters of a value in a message


class Binned(NamedTuple):
    """A value's bin, and what is wrong with the value, if anything."""

    bin: int
    problem: str
    """In words; empty when the value fits a bin. A missing value is always a problem here, learnt or not."""


@dataclass(frozen=True, kw_only=True)
class ColumnBins:
    """How the values of one column are cut into bins. Bin 0 is for what is missing or unknown."""

    name: str
    kind: Literal["number", "category"]
    edges: tuple[float, ...] = ()
    """Of a number: bin i holds edges[i - 2] <= value < edges[i - 1]."""
    values: tuple[str, ...] = ()
    """Of a category: bin i holds values[i - 1]."""
    gaps: bool = False
    """Training rows fell into bin 0, so it has a learnt effect; otherwise it counts as the average row."""

    def __post_init__(self) -> None:
        if not all(math.isfinite(edge) for edge in self.edges) or any(a >= b for a, b in pairwise(self.edges)):
            raise ValueError(f"the edges of column {self.name!r} do not rise")
        if len(set(self.values)) < len(self.values):
            raise ValueError(f"column {self.name!r} names a value twice")

    @property
    def size(self) -> int:
        """Number of bins."""
        return 1 + (len(self.edges) + 1 if self.kind == "number" else len(self.values))

    def place(self, value: Scalar) -> Binned:
        """The bin of a value. A value that fits no bin is unknown, whatever it is."""
        text = as_category(value)
        if text is None:
            return Binned(UNKNOWN, f"{self.name} is missing")
        if self.kind == "category":
            if text in self._position:
                return Binned(1 + self._position[text], "")
            return Binned(UNKNOWN, f"{self.name} is {quoted(value)}, a value it never learnt")
        number = as_number(value)
        if number is None:
            return Binned(UNKNOWN, f"{self.name} is {quoted(value)}, not a number")
        return Binned(1 + bisect_right(self.edges, number), "")

    @cached_property
    def _position(self) -> Mapping[str, int]:
        return {value: index for index, value in enumerate(self.values)}

    def describe(self) -> dict[str, object]:
        """The JSON side."""
        other = "values" if self.kind == "number" else "edges"
        return {key: value for key, value in to_json(self).items() if key != other}


def as_number(value: object) -> float | None:
    """A value as a finite number; None where it is missing or none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and "_" in value:  # Python reads 1_000, a person may have meant anything
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_category(value: object) -> str | None:
    """A value as a category: 3, 3.0 and "3" are one; None where it is missing, which NaN is too."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        number = as_number(value)
        return None if number is None else str(int(value) if number.is_integer() else value)
    return str(value).strip() or None


def quoted(value: object) -> str:
    """A value as a message quotes it: cut when it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 4]}...{text[-1]}"


@dataclass(frozen=True, kw_only=True, eq=False)
class TableHead:
    """A scorecard as tables; gives one logit."""

    columns: tuple[ColumnBins, ...]
    base: float
    main: tuple[np.ndarray, ...]
    """One table a column: (bins,)."""
    pairs: Mapping[tuple[int, int], np.ndarray]
    """One table a pair of columns that matters: (bins of j, bins of k), j < k."""

    @property
    def size(self) -> int:
        """One: the log-odds of the positive class."""
        return 1

    def bins(self, columns: Columns) -> list[int]:
        """The bin of each column's value."""
        return [column.place(columns.get(column.name)).bin for column in self.columns]

    def parts(self, bins: Sequence[int]) -> np.ndarray:  # (C,)
        """What each column adds to the log-odds."""
        total = np.array([table[bin_] for table, bin_ in zip(self.main, bins, strict=True)])
        for (j, k), table in self.pairs.items():
            half = table[bins[j], bins[k]] / 2
            total[j] += half
            total[k] += half
        return total

    def logits(self, prompt: Prompt) -> np.ndarray:
        """(1,) log-odds of the positive class."""
        return np.array([self.base + self.parts(self.bins(prompt.columns or {})).sum()])

    def contributions(self, prompt: Prompt) -> Mapping[str, float]:
        """What each column adds to the log-odds, by name."""
        parts = self.parts(self.bins(prompt.columns or {}))
        return {column.name: float(part) for column, part in zip(self.columns, parts, strict=True)}

    def rescaled(self, scale: float, shift: float) -> TableHead:
        """The head whose log-odds are scale * (these) + shift; still a sum of tables."""
        return TableHead(
            columns=self.columns,
            base=self.base * scale + shift,
            main=tuple(table * scale for table in self.main),
            pairs={pair: table * scale for pair, table in self.pairs.items()},
        )

    def store(self) -> tuple[dict[str, object], dict[str, np.ndarray]]:
        """The JSON description and the arrays that restore it."""
        flat = [table.ravel() for table in self.pairs.values()]
        arrays = {
            "base": np.array([self.base]),
            "main": np.concatenate(self.main),
            "pair_columns": np.array(list(self.pairs), dtype=np.int32).reshape(-1, 2),
            "pairs": np.concatenate(flat) if flat else np.empty(0),
        }
        return {"head": "table", "bins": [column.describe() for column in self.columns]}, arrays

    @classmethod
    def restore(cls, description: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> TableHead:
        """The head that `store` was asked of. Raises `ValueError` when the tables do not add up."""
        columns = from_json(tuple[ColumnBins, ...], description["bins"])
        if len({column.name for column in columns}) < len(columns):
            raise ValueError("two columns have the same name")
        sizes = [column.size for column in columns]
        indices = [(int(j), int(k)) for j, k in stored_array(arrays, "pair_columns", None, 2)]
        if len(set(indices)) < len(indices) or not all(0 <= j < k < len(columns) for j, k in indices):
            raise ValueError("the pairs are no pairs of columns")
        cells = [sizes[j] * sizes[k] for j, k in indices]
        flat_main = stored_array(arrays, "main", sum(sizes))
        flat_pairs = np.split(stored_array(arrays, "pairs", sum(cells)), np.cumsum(cells)[:-1]) if cells else []
        return cls(
            columns=columns,
            base=float(stored_array(arrays, "base", 1)[0]),
            main=tuple(np.split(flat_main, np.cumsum(sizes)[:-1])) if sizes else (),
            pairs={(j, k): t.reshape(sizes[j], sizes[k]) for (j, k), t in zip(indices, flat_pairs, strict=True)},
        )

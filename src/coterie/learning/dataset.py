"""Rows and datasets as plain values: the content of a file that has been read and checked."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType

from coterie.types import Columns, Scalar

_NO_COLUMNS: Columns = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldSpan:
    """The place where a text states a field, and the stated value."""

    start: int
    end: int
    value: Scalar = None
    """Value in the form of the field's type; None if the words have no such form, or the field is plain text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stated:
    """Every place where a text states a field."""

    spans: tuple[FieldSpan, ...]
    """At least one, in the text's order."""
    many: bool
    """Whether each span is a value of its own; otherwise all state the same value, and any of them is right."""


_NO_FIELDS: Mapping[str, Stated] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One example: the input of a specialist and the right answer."""

    text: str
    labels: tuple[str, ...] = ()
    """The right label or labels; empty when the row has none or is out of scope. A `score` row has `1` or `0`.

    An `extract` row has the names of the fields that its text states."""
    columns: Columns = field(default_factory=lambda: _NO_COLUMNS)
    """Structured input; for a pair, its second text."""
    evidence: tuple[tuple[int, int], ...] = ()
    """For a pair: the spans `(start, end)` of the text that decide it, as far as they are known."""
    learn_only: bool = False
    """Whether the row is unlike real input: it is for training, not for calibration or measurement."""
    fields: Mapping[str, Stated] = field(default_factory=lambda: _NO_FIELDS)
    """For an `extract` row: what its text states, by field; a field that it does not state is missing."""
    group: str | None = None
    """Group of the row: rows of one group are never on two sides of a split; None belongs to no group."""
    line: int = field(default=0, compare=False)
    """Line of the file on which the row starts, counted from 1; 0 if it comes from no file."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The rows of one file, in its order, with the warnings about them."""

    name: str
    """The file's name, as messages and reports show it."""
    rows: tuple[Row, ...]
    sha256: str
    """Checksum of the whole file, also when `rows` is only a part of it."""
    warnings: tuple[str, ...] = ()
    of_records: bool = False
    """Whether most texts were made of records, which share their fields' names and few values."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def texts(self) -> list[str]:
        """The text of each row."""
        return [row.text for row in self.rows]

    @property
    def has_texts(self) -> bool:
        """Whether any row has a text."""
        return any(row.text.strip() for row in self.rows)

    @property
    def labels(self) -> list[tuple[str, ...]]:
        """The labels of each row."""
        return [row.labels for row in self.rows]

    @property
    def columns(self) -> list[Columns]:
        """The structured input of each row."""
        return [row.columns for row in self.rows]

    @property
    def label_names(self) -> tuple[str, ...]:
        """Every label that occurs, sorted."""
        return tuple(sorted({label for row in self.rows for label in row.labels}))

    @property
    def column_names(self) -> tuple[str, ...]:
        """Every column that occurs, in the file's order."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.columns))

    @property
    def label_counts(self) -> Mapping[str, int]:
        """Number of rows of each label, by label name."""
        counts = dict.fromkeys(self.label_names, 0)
        for row in self.rows:
            for label in row.labels:
                counts[label] += 1
        return counts

    def measured(self) -> Dataset:
        """Return the rows on which figures may be measured."""
        if not any(row.learn_only for row in self.rows):
            return self
        return self.take([index for index, row in enumerate(self.rows) if not row.learn_only])

    def take(self, indices: Sequence[int], *, warnings: Sequence[str] = ()) -> Dataset:
        """Return the rows at these positions, in this order, with these warnings added."""
        rows = tuple(self.rows[i] for i in indices)
        return replace(self, rows=rows, warnings=self.warnings + tuple(warnings))


# --- When two texts are the same: by their words, whatever their case and punctuation.

_NO_WORD = re.compile(r"[\W_]+")


@lru_cache(maxsize=64)  # the pairs of one document follow each other
def normalise(text: str) -> str:
    """Return a text without case, punctuation and repeated spaces; the text itself if nothing else is in it."""
    return _NO_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip() or text.strip()

"""From a file to a checked `Dataset`: which cells are text, label, group and features, and the kind of each column.

Nothing is dropped without a warning that counts it, and nothing is guessed: the error for an unsuitable file
quotes its lines and values.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coterie.errors import DataError
from coterie.learning.checks import FEWEST_ROWS, ParsedRows, Problem, check, count, listing, nearest, quote
from coterie.learning.dataset import Dataset, Row
from coterie.learning.files import Lines, Record, flatten_chat, open_lines, read_records
from coterie.types import Columns, Scalar

TEXT = "text"
"""Default name of the column with the text."""
_USUAL_NAMES = {
    "text": ("sentence", "utterance", "query", "question", "message", "body", "content", "input", "prompt", "comment"),
    "label": ("labels", "category", "intent", "class", "target", "tag", "y", "output", "completion", "topic"),
}
"""Other common names of these columns, for suggestions only."""


@dataclass(kw_only=True)
class RowsRead:
    """The result of one pass over a file."""

    rows: list[Row] = field(default_factory=list)
    cells: list[dict[str, Scalar]] = field(default_factory=list)
    """Cells of the other columns, one entry a row; empty for a task that does not use them."""
    names: dict[str, None] = field(default_factory=dict)
    """Every column seen, in order."""
    raw_labels: dict[str, Counter[str]] = field(default_factory=dict)
    """For each label, how often each spelling occurs."""
    texts: dict[str, str] = field(default_factory=dict)
    """Every text once, so that a document of many rows is held once."""
    others: dict[str, None] = field(default_factory=dict)
    """Fields of the file that no option uses."""


@dataclass(frozen=True, kw_only=True)
class RowReader:
    """Reads the rows of one task: a text and its labels a row. A task overrides its own peculiarities."""

    text: str = TEXT
    """Column with the text."""
    label: str | None = "label"
    """Column with the label or labels, if rows have any."""
    group: str | None = None
    """Column whose equal values belong together in every split."""
    multi_label: bool = False
    """Whether a bar in a label separates several labels that hold at once."""
    text_required: bool = True
    keeps_cells: bool = False
    """Whether the other columns are the row's structured input."""

    # --- What a task may override ----------------------------------------------------------------

    @property
    def problems(self) -> tuple[Callable[[ParsedRows], Iterator[Problem]], ...]:
        """Checks for errors that make a file unusable."""
        return ()

    @property
    def warnings(self) -> tuple[Callable[[ParsedRows], Iterator[str]], ...]:
        """Checks for oddities that are worth a warning."""
        return ()

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of required columns."""
        text = self.text if self.text_required else None
        return tuple(name for name in (text, self.label, self.group) if name is not None)

    @property
    def settings(self) -> Mapping[str | None, tuple[str, str]]:
        """By column, the section's key that names it, and its usual meaning."""
        return {self.text: ("text_column", "text"), self.label: ("label_column", "label")}

    def fewest(self, *, for_evaluation: bool) -> int:
        """Return the fewest rows with which a file is of use."""
        return 1 if for_evaluation else FEWEST_ROWS

    def records(self, record: Record, lines: Lines) -> Iterator[Record]:
        """Yield the records that a record of the file stands for: a chat is flattened to a text and a label."""
        if "messages" in record.cells and self.text not in record.cells and self.label is not None:
            yield flatten_chat(record, text=self.text, label=self.label, lines=lines)
        else:
            yield record

    def row(self, record: Record, lines: Lines, read: RowsRead) -> Row:
        """Return the row of a record."""
        written, text = self.written_labels(record, lines), self.text_of(record, lines)
        for raw in written:
            read.raw_labels.setdefault(raw.strip(), Counter())[raw] += 1
        return Row(
            text=read.texts.setdefault(text, text),
            labels=tuple(dict.fromkeys(raw.strip() for raw in written)),
            group=self.group_of(record, lines),
            line=record.line,
        )

    def finish(self, read: RowsRead) -> tuple[list[Row], Sequence[str]]:
        """Return the rows once all of them are read, and warnings about them."""
        return read.rows, ()

    def names(self, names: Sequence[str]) -> Collection[str]:
        """Return the columns that the reader recognises in a file with these columns."""
        return names

    def usual(self) -> str:
        """Return a hint on how columns are named, for when no name can be suggested."""
        return f"The first line names the columns, such as: {','.join(self.wanted)}"

    # --- What it does with a file ----------------------------------------------------------------

    def read(self, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
        """Read a CSV, JSONL or OpenAI chat JSONL file and check it.

        Args:
            path: The file.
            for_evaluation: Few rows are fine, and a row without a label belongs to none of a classifier's labels.

        Raises:
            DataError: the file cannot be used; the message names lines and values, the hint what to do.
        """
        with open_lines(Path(path)) as lines:
            read = self._pass_over(lines)
        if not read.rows:
            raise DataError(f"{lines.name} has a header but no rows.", hint="Add one row an example.")
        self._check_columns(lines.name, read.names)
        rows, odd = self.finish(read)
        parsed = ParsedRows(
            rows=rows,
            raw_labels=read.raw_labels,
            multi_label=self.multi_label,
            for_evaluation=for_evaluation,
            fewest=self.fewest(for_evaluation=for_evaluation),
            group_column=self.group,
            others=tuple(read.others),
        )
        odd = [*odd, *check(lines.name, parsed, self.problems, self.warnings)]
        return Dataset(name=lines.name, rows=tuple(rows), sha256=lines.sha256, warnings=(*lines.warnings, *odd))

    def text_of(self, record: Record, lines: Lines) -> str:
        """Return the text of a record."""
        return as_text(record.cells.get(self.text), self.text, record, lines)

    def group_of(self, record: Record, lines: Lines) -> str | None:
        """Return the group of a record; None if it has none."""
        if self.group is None:
            return None
        return as_text(record.cells.get(self.group), self.group, record, lines).strip() or None

    def written_labels(self, record: Record, lines: Lines) -> list[str]:
        """Return the row's labels as they are written, spaces included; blank ones are left out.

        A JSON list lists labels; a bar separates labels only if several may hold at once.
        """
        if self.label is None:
            return []
        cell = record.cells.get(self.label)
        if isinstance(cell, list):
            raw = [as_text(item, self.label, record, lines) for item in cell]
        else:
            text = as_text(cell, self.label, record, lines)
            raw = [part.strip() for part in text.split("|")] if self.multi_label else [text]
        return [label for label in raw if label.strip()]

    def _pass_over(self, lines: Lines) -> RowsRead:
        read, taken = RowsRead(), {self.text, self.label, self.group}
        for whole in read_records(
            lines, wanted=self.wanted, check_names=lambda names: self._check_columns(lines.name, self.names(names))
        ):
            for record in self.records(whole, lines):
                read.names |= dict.fromkeys(record.cells)
                read.rows.append(self.row(record, lines, read))
                if self.keeps_cells:
                    read.cells.append(
                        {
                            name: _scalar(cell, name, record, lines)
                            for name, cell in record.cells.items()
                            if name not in taken
                        }
                    )
        return read

    def _check_columns(self, name: str, names: Collection[str]) -> None:
        missing = [column for column in self.wanted if column not in names]
        if not missing:
            return
        settings = self.settings
        left = [column for column in names if column not in self.wanted]
        meant: dict[str, str] = {}
        for column in missing:
            _, usual = settings.get(column, ("group_column", ""))
            like = next((other for other in _USUAL_NAMES.get(usual, ()) if other in left), None)
            if like := like or nearest(column, left):
                left.remove(like)
                meant[column] = like
        unnamed = [column for column in missing if column not in meant]
        if len(unnamed) == len(left):  # nothing else is there, in whatever language it is named
            meant |= zip(unnamed, left, strict=True)
        keys = {column: settings.get(column, ("group_column", ""))[0] for column in meant}
        hints = [
            f"Did you mean {meant[column]!r}? Then set {keys[column]} = {meant[column]!r} for this specialist."
            for column in missing
            if column in meant
        ]
        nameless = [settings.get(column, ("group_column", ""))[0] for column in missing if column not in meant]
        named = [f"If one of them is it, set {key} to its name." for key in nameless]
        shown = listing((quote(column) for column in names), shown=12)
        raise DataError(
            f"{name} has no column {' or '.join(map(repr, missing))}; its columns are {shown}.",
            hint=" ".join([*hints, *named, *((self.usual(),) if len(unnamed) == len(missing) else ())]),
        )


def as_text(cell: object, column: str, record: Record, lines: Lines) -> str:
    """Return a cell as text. JSON numbers and booleans are written as in CSV; lists and objects are refused."""
    match cell:
        case None:
            return ""
        case bool():
            return "true" if cell else "false"
        case float() if cell.is_integer():
            return str(int(cell))
        case int() | float():
            return str(cell)
        case str() if cell.isascii() or _is_unicode(cell):
            return cell
        case str():
            raise lines.error(f"has half a surrogate pair in {column!r}: {quote(cell)}", line=record.line)
    raise lines.error(f"has {quote(cell)} in {column!r}, where a text belongs", line=record.line)


def _scalar(cell: object, column: str, record: Record, lines: Lines) -> Scalar:
    """Return a cell of structured input as it is; lists and objects are refused."""
    if cell is None or isinstance(cell, bool | int | float):
        return cell
    return as_text(cell, column, record, lines)


def _is_unicode(text: str) -> bool:
    """Return False for a string that cannot be encoded as UTF-8, which JSON escapes can produce."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


# --- Structured input: a column's cells as numbers, booleans or categories, decided for the column as a whole.

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_CODE = re.compile(r"[+-]?0\d", re.ASCII)
"""A number with leading zeros, which is a code: a postcode, an account."""
_NO_NUMBER = {"na", "n/a", "nan", "null", "none", "-", "?", "."}
"""Notations of a missing number; in a column of words each of them is an ordinary word."""
_BOOLEANS = {"true": True, "false": False}
_OUTCOMES: Sequence[Mapping[str, str]] = (
    {"1": "1", "1.0": "1", "0": "0", "0.0": "0"},
    {"true": "1", "false": "0"},
    {"yes": "1", "no": "0"},
)
_MOSTLY = 0.8


def parse_columns(
    cells: Sequence[Mapping[str, Scalar]], lines: Sequence[int], *, unused: Collection[str] = ()
) -> tuple[list[Columns], list[str]]:
    """Return rows of raw cells as typed columns, and warnings about the columns that are used.

    A column is numeric when every cell that is not empty is a number, boolean when every one is true or
    false, and otherwise a category, as stripped text. An empty cell is None. `lines` are the rows' lines.
    """
    names = dict.fromkeys(name for row in cells for name in row)
    warnings: list[str] = []
    typed: dict[str, list[Scalar]] = {}
    for name in names:
        raw = [row.get(name) for row in cells]
        typed[name] = _parse_column(raw)
        warnings += [] if name in unused else _odd_column(name, raw, typed[name], lines)
    return [{name: typed[name][i] for name in names} for i in range(len(cells))], warnings


def strings(cells: Sequence[Mapping[str, Scalar]]) -> list[Columns]:
    """Return rows of raw cells as text; a cell that is missing or empty is None."""
    names = dict.fromkeys(name for row in cells for name in row)
    return [{name: _text(row.get(name)) or None for name in names} for row in cells]


def parse_outcomes(labels: Sequence[tuple[str, ...]], positive: str | None = None) -> list[tuple[str, ...]]:
    """Return labels as `1` and `0` if all are written in one of the known ways, and unchanged otherwise.

    With `positive`, that label is `1` and the only other one `0`; case and surrounding spaces do not count.
    """
    written = {label.casefold().strip() for row in labels for label in row}
    reading_of = next((way for way in _OUTCOMES if written <= way.keys()), None)
    if positive is not None:
        one = positive.casefold().strip()
        reading_of = dict.fromkeys(written, "0") | {one: "1"} if len(written | {one}) == 2 else None
    if reading_of is None:
        return list(labels)
    return [tuple(reading_of[label.casefold().strip()] for label in row) for row in labels]


def _text(cell: Scalar) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell).strip()


def _parse_column(raw: Sequence[Scalar]) -> list[Scalar]:
    if not any(isinstance(cell, str) for cell in raw):
        return [None if isinstance(cell, float) and not math.isfinite(cell) else cell for cell in raw]
    texts = [_text(cell) for cell in raw]
    if _are_numbers(texts):
        return [_number(text) for text in texts]
    if all(text.casefold() in _BOOLEANS for text in texts if text):
        return [_BOOLEANS.get(text.casefold()) for text in texts]
    return [text or None for text in texts]


def _are_numbers(texts: Sequence[str]) -> bool:
    present = [text for text in texts if text and text.casefold() not in _NO_NUMBER]
    return bool(present) and all(_is_number(text) for text in present)


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text)) and not _CODE.match(text) and math.isfinite(float(text))


def _number(text: str) -> int | float | None:
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return int(text) if value.is_integer() and text.lstrip("+-").isdigit() else value


def _odd_column(name: str, raw: Sequence[Scalar], cells: Sequence[Scalar], lines: Sequence[int]) -> list[str]:
    present = [cell for cell in cells if cell is not None]
    if not present:
        return [f"column {name!r} is empty on every row"]
    words = [(cell, line) for cell, line in zip(raw, lines, strict=True) if not _is_number(_text(cell)) and _text(cell)]
    if isinstance(present[0], str) and words and len(words) <= (1 - _MOSTLY) * len(present):
        first, line = words[0]
        because = f"{count(len(words), 'cell')}, first {quote(first)} at line {line}"
        return [f"column {name!r} is read as words and not as numbers because of {because}"]
    if _is_key(present, len(cells)):
        return [f"column {name!r} is different on every row: if it is a key and no feature, exclude it"]
    return []


def _is_key(present: Sequence[Scalar], rows: int) -> bool:
    """Return True for words that never repeat, and for whole numbers that count the rows."""
    if len(present) < rows or rows < 20 or len(set(present)) < rows:
        return False
    if all(isinstance(cell, str) for cell in present):
        return True
    numbers = [cell for cell in present if isinstance(cell, int)]
    return len(numbers) == rows and max(numbers) - min(numbers) == rows - 1

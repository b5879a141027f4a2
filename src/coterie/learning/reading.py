"""From a file to a checked `Dataset`: which cells are text, label, group and features.

Nothing is dropped without a warning that counts it, and nothing is guessed: a file that does not fit is
explained with its lines and values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from coterie.errors import DataError
from coterie.learning.checks import FEWEST_ROWS, ParsedRows, Problem, check, listing, nearest, quote
from coterie.learning.dataset import Dataset, Row
from coterie.learning.files import Lines, Record, flatten_chat, open_lines, read_records
from coterie.types import Scalar

TEXT = "text"
"""Usual name of the column with the text."""
_USUAL_NAMES = {
    "text": ("sentence", "utterance", "query", "question", "message", "body", "content", "input", "prompt", "comment"),
    "label": ("labels", "category", "intent", "class", "target", "tag", "y", "output", "completion", "topic"),
}
"""What others call these columns, for suggestions only."""


@dataclass(kw_only=True)
class RowsRead:
    """What one pass over a file gives."""

    rows: list[Row] = field(default_factory=list)
    cells: list[dict[str, Scalar]] = field(default_factory=list)
    """Cells of the other columns, a row each; empty for a task that does not use them."""
    names: dict[str, None] = field(default_factory=dict)
    """Every column seen, in order."""
    raw_labels: dict[str, Counter[str]] = field(default_factory=dict)
    """By label: how often it is written in which way."""
    texts: dict[str, str] = field(default_factory=dict)
    """Every text once: a document of many rows is held once."""
    others: dict[str, None] = field(default_factory=dict)
    """What the file states and nobody looks for."""


@dataclass(frozen=True, kw_only=True)
class RowReader:
    """Reads the rows of one task: a text and its labels a row. A task overrides what is particular to it."""

    text: str = TEXT
    """Column with the text."""
    label: str | None = "label"
    """Column with the label or labels, if rows have any."""
    group: str | None = None
    """Column whose equal values belong together in every split."""
    multi_label: bool = False
    """A bar in a label separates several that hold at once."""
    text_required: bool = True
    keeps_cells: bool = False
    """Whether the other columns are the row's structured input."""

    # --- What a task may override ----------------------------------------------------------------

    @property
    def problems(self) -> tuple[Callable[[ParsedRows], Iterator[Problem]], ...]:
        """What makes a file of no use."""
        return ()

    @property
    def warnings(self) -> tuple[Callable[[ParsedRows], Iterator[str]], ...]:
        """What works and somebody should know."""
        return ()

    @property
    def wanted(self) -> tuple[str, ...]:
        """Columns that have to be there."""
        text = self.text if self.text_required else None
        return tuple(name for name in (text, self.label, self.group) if name is not None)

    @property
    def settings(self) -> Mapping[str | None, tuple[str, str]]:
        """By column: the key of the section that names it, and what it is usually called."""
        return {self.text: ("text_column", "text"), self.label: ("label_column", "label")}

    def fewest(self, *, for_evaluation: bool) -> int:
        """Rows below which a file is of no use."""
        return 1 if for_evaluation else FEWEST_ROWS

    def records(self, record: Record, lines: Lines) -> Iterator[Record]:
        """The records that a record of the file stands for: a chat is flattened to a text and a label."""
        if "messages" in record.cells and self.text not in record.cells and self.label is not None:
            yield flatten_chat(record, text=self.text, label=self.label, lines=lines)
        else:
            yield record

    def row(self, record: Record, lines: Lines, read: RowsRead) -> Row:
        """The row of a record."""
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
        """The rows once all of them are read, and what is odd about them."""
        return read.rows, ()

    def names(self, names: Sequence[str]) -> Collection[str]:
        """The columns that a file with these has, as far as the reader is concerned."""
        return names

    def usual(self) -> str:
        """How the columns are written, where none of them can be suggested."""
        return f"The first line names the columns, such as: {','.join(self.wanted)}"

    # --- What it does with a file ----------------------------------------------------------------

    def read(self, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
        """Read a CSV, JSONL or OpenAI chat JSONL file and check it.

        Args:
            path: The file.
            for_evaluation: Few rows are fine, and a row without a label is one that belongs to none of a classifier's.

        Raises:
            DataError: the file cannot be used; the message names lines and values, the hint what to do.
        """
        with open_lines(Path(path)) as lines:
            read = self._pass_over(lines)
        if not read.rows:
            raise DataError(f"{lines.name} has a header but no rows.", hint="Add one row an example.")
        self._check_columns(lines.name, read.names)
        rows, odd = self.finish(read)
        found = ParsedRows(
            rows=rows,
            raw_labels=read.raw_labels,
            multi_label=self.multi_label,
            for_evaluation=for_evaluation,
            fewest=self.fewest(for_evaluation=for_evaluation),
            group_column=self.group,
            others=tuple(read.others),
        )
        odd = [*odd, *check(lines.name, found, self.problems, self.warnings)]
        return Dataset(name=lines.name, rows=tuple(rows), sha256=lines.sha256, warnings=(*lines.warnings, *odd))

    def text_of(self, record: Record, lines: Lines) -> str:
        """The text of a record."""
        return as_text(record.cells.get(self.text), self.text, record, lines)

    def group_of(self, record: Record, lines: Lines) -> str | None:
        """The group of a record, if it has one."""
        if self.group is None:
            return None
        return as_text(record.cells.get(self.group), self.group, record, lines).strip() or None

    def written_labels(self, record: Record, lines: Lines) -> list[str]:
        """The row's labels as they are written, spaces included; blank ones are no labels.

        A JSON list lists labels; a bar separates them only where several may hold at once.
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
        shown = listing((quote(column) for column in names), shown=12)
        raise DataError(
            f"{name} has no column {' or '.join(map(repr, missing))}; its columns are {shown}.",
            hint=" ".join(hints if len(unnamed) < len(missing) else [*hints, self.usual()]),
        )


def as_text(cell: object, column: str, record: Record, lines: Lines) -> str:
    """A cell as text. JSON numbers and booleans are written as in CSV; lists and objects are refused."""
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
    """A cell of structured input as it is; lists and objects are refused."""
    if cell is None or isinstance(cell, bool | int | float):
        return cell
    return as_text(cell, column, record, lines)


def _is_unicode(text: str) -> bool:
    """False for a string that cannot be written as UTF-8; JSON escapes can make one."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True

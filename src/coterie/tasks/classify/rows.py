"""A text and its label, or labels, a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from coterie.errors import InputError
from coterie.learning import checks
from coterie.learning.checks import ParsedRows, Problem
from coterie.learning.dataset import Dataset
from coterie.learning.files import Lines, Record
from coterie.learning.reading import TEXT, RowReader
from coterie.tasks.classify.section import ClassifySection
from coterie.text.records import render_record


@dataclass(frozen=True, kw_only=True)
class LabelReader(RowReader):
    """With `multi_label`, `|` or a JSON list separates labels that hold together; a list without it means any one."""

    record: tuple[str, ...] = ()
    """Columns that together are the text."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """The columns of the record in place of the text."""
        return (*self.record, *(name for name in super().wanted if not self.record or name != self.text))

    @property
    def settings(self) -> Mapping[str | None, tuple[str, str]]:
        """A column of a record is named by the record."""
        return {**super().settings, **dict.fromkeys(self.record, ("record", "text"))}

    def text_of(self, record: Record, lines: Lines) -> str:
        """The text of a record: its cell, or the cells of its columns; an object is written as one is when asked."""
        cells = {name: record.cells.get(name) for name in self.record}
        cell = cells or record.cells.get(self.text)
        if not isinstance(cell, dict):
            return super().text_of(record, lines)
        try:
            return render_record(cell)
        except InputError as error:
            raise lines.error(f"has a record that cannot be read: {error.message}", line=record.line) from error

    @property
    def problems(self) -> tuple[Callable[[ParsedRows], Iterator[Problem]], ...]:
        """What would teach it something that is not so."""
        return (
            checks.too_few,
            checks.empty_texts,
            checks.unlabelled,
            checks.spelled_in_several_ways,
            checks.free_text_labels,
            checks.single_examples,
            checks.one_label,
            checks.contradictions,
        )

    @property
    def warnings(self) -> tuple[Callable[[ParsedRows], Iterator[str]], ...]:
        """What works and somebody should know."""
        return (
            checks.repeated,
            checks.contradicting,
            checks.bars_in_labels,
            checks.any_of_several,
            checks.few_to_calibrate,
            checks.ungrouped,
            checks.out_of_scope,
        )


def read_rows(section: ClassifySection, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
    """Read and check the rows of a section's file. Raises `DataError`."""
    reader = LabelReader(
        text=section.text_column or TEXT,
        label=section.label_column,
        group=section.group_column,
        multi_label=section.multi_label,
        record=section.record,
    )
    return reader.read(path, for_evaluation=for_evaluation)

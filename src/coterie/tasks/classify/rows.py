"""Reads rows of a text and its label, or labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from coterie.errors import InputError
from coterie.learning.dataset import (
    Dataset,
    ParsedRows,
    Problem,
    any_of_several,
    bars_in_labels,
    contradicting,
    contradictions,
    empty_texts,
    few_to_calibrate,
    free_text_labels,
    one_label,
    out_of_scope,
    repeated,
    single_examples,
    spelled_in_several_ways,
    too_few,
    ungrouped,
    unlabelled,
)
from coterie.learning.reading import TEXT, Lines, Record, RowReader
from coterie.learning.splits import pattern_groups
from coterie.tasks.classify.section import ClassifySection
from coterie.text.records import read_record, render_record

_FEWEST_PATTERNS = 3
"""Fewest patterns of each label for some to be held out."""


@dataclass(frozen=True, kw_only=True)
class LabelReader(RowReader):
    """Reads labels. With `multi_label`, `|` or a JSON list separates labels that apply together.

    A list without `multi_label` means any one of its labels.
    """

    record: tuple[str, ...] = ()
    """Columns that together form the text."""
    rendered: set[int] = field(default_factory=set, compare=False)
    """Lines whose text was made from a record."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """The required columns: those of the record replace the text."""
        return (*self.record, *(name for name in super().wanted if not self.record or name != self.text))

    @property
    def settings(self) -> Mapping[str | None, tuple[str, str]]:
        """The settings that name columns: a column of a record is named by `record`."""
        return {**super().settings, **dict.fromkeys(self.record, ("record", "text"))}

    def text_of(self, record: Record, lines: Lines) -> str:
        """Return the text of a record: its cell, or the cells of its columns, in the same form as in a request.

        A cell may hold an object or its JSON.
        """
        cells = {name: record.cells.get(name) for name in self.record}
        cell = cells or record.cells.get(self.text)
        if isinstance(cell, str):
            cell = read_record(cell) or cell
        if not isinstance(cell, dict):
            return super().text_of(record, lines)
        self.rendered.add(record.line)
        try:
            return render_record(cell)
        except InputError as error:
            raise lines.error(f"has a record that cannot be read: {error.message}", line=record.line) from error

    @property
    def problems(self) -> tuple[Callable[[ParsedRows], Iterator[Problem]], ...]:
        """Checks for rows that would teach the specialist something wrong."""
        return (
            too_few,
            empty_texts,
            unlabelled,
            spelled_in_several_ways,
            free_text_labels,
            single_examples,
            one_label,
            contradictions,
        )

    @property
    def warnings(self) -> tuple[Callable[[ParsedRows], Iterator[str]], ...]:
        """Checks for rows that work but deserve a warning."""
        return (
            repeated,
            contradicting,
            bars_in_labels,
            any_of_several,
            few_to_calibrate,
            ungrouped,
            out_of_scope,
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
    dataset = reader.read(path, for_evaluation=for_evaluation)
    whole = for_evaluation or section.multi_label or section.group_column is not None
    dataset = replace(dataset, of_records=2 * len(reader.rendered) > len(dataset.rows))
    return dataset if whole or dataset.of_records else _grouped_by_pattern(dataset)


def _grouped_by_pattern(dataset: Dataset) -> Dataset:
    """Return rows grouped by pattern, so that no row has copies on the other side of a split; warn about it."""
    groups = pattern_groups(dataset.texts, [row.labels[0] if row.labels else "" for row in dataset.rows])
    if groups is None:
        return dataset
    patterns = len(np.unique(groups))
    of_label: dict[str, set[int]] = {}
    for row, group in zip(dataset.rows, groups.tolist(), strict=True):
        of_label.setdefault(row.labels[0] if row.labels else "", set()).add(group)
    doubt = f"the texts look made from patterns: {len(dataset):,} rows of about {patterns:,}"
    if min(map(len, of_label.values())) < _FEWEST_PATTERNS:
        warning = (
            f"{doubt}, too few of a label to hold some out: figures are of copies, and no target_risk is shown by them"
        )
        return replace(dataset, warnings=(*dataset.warnings, warning))
    warning = (
        f"{doubt}. Rows of one pattern are held out together, so figures and target_risk are about other patterns: add "
        "texts as people write them"
    )
    rows = tuple(
        replace(row, group=f"pattern {group}") for row, group in zip(dataset.rows, groups.tolist(), strict=True)
    )
    return replace(dataset, rows=rows, warnings=(*dataset.warnings, warning))

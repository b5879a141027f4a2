"""A text and its label, or labels, a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from coterie.learning import checks
from coterie.learning.checks import ParsedRows, Problem
from coterie.learning.dataset import Dataset
from coterie.learning.reading import TEXT, RowReader
from coterie.tasks.classify.section import ClassifySection


class LabelReader(RowReader):
    """With `multi_label`, `|` or a JSON list separates labels that hold together; a list without it means any one."""

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
    )
    return reader.read(path, for_evaluation=for_evaluation)

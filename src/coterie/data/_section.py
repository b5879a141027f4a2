"""A specialist's file, read as its section of `coterie.toml` says."""

from __future__ import annotations

from pathlib import Path

from coterie.config import SpecialistSection

from ._dataset import Dataset
from ._questions import read_questions
from ._read import read_dataset


def read_section(section: SpecialistSection, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
    """Read a file for a specialist's task, with the columns that its section names.

    Args:
        section: Whose data it is; where they are is not read.
        path: The file.
        for_evaluation: As `read_dataset` takes it.

    Raises:
        DataError: the file cannot be used.
    """
    if section.task == "answer":
        return read_questions(
            path,
            text_column=section.text_column,
            label_column=section.label_column,
            group_column=section.group_column,
        )
    return read_dataset(
        path,
        task=section.task,
        text_column=section.text_column,
        label_column=section.label_column,
        group_column=section.group_column,
        pair_column=section.pair_column,
        evidence_column=section.evidence_column,
        learn_only_column=section.learn_only_column,
        multi_label=section.multi_label,
        fields=section.fields,
        replies=section.writes_freely,
        for_evaluation=for_evaluation,
    )

"""The rows of one job: read, checked, divided."""

from __future__ import annotations

from dataclasses import dataclass

from coterie.config import SpecialistSection
from coterie.data import Dataset, compare_datasets, read_section, split_dataset
from coterie.errors import DataError, InputError
from coterie.training import HELD_OUT, MEASURES

from ._large import Held


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of one job, divided once, so that a large model can be asked before anything is trained."""

    section: SpecialistSection
    train: Dataset
    held: Held
    held_out: Dataset

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd about them."""
        odd = [f"{each.name}: {warning}" for each in (self.train, self.held_out) for warning in each.warnings]
        return tuple(dict.fromkeys((*odd, *compare_datasets(self.train, self.held_out))))


def read_rows(section: SpecialistSection) -> Rows:
    """Read the data of a section, and hold out a seeded fifth where it names no test file.

    Raises:
        DataError: a file cannot be used.
        InputError: the bar is about a measure that the task does not have.
    """
    if section.task == "generate":
        raise InputError(
            f"Asked to right-size task {section.task!r}.",
            hint="It is for 'classify', 'score' and 'extract'; a written text has one rung, `slm`. `coterie train` "
            "measures it beside the untuned model.",
        )
    if section.task == "answer":
        raise InputError(
            "Asked to right-size task 'answer'.",
            hint="It answers from shelves, which a file alone does not have: coterie train compares its rungs on "
            "questions, coterie eval measures one.",
        )
    measures = MEASURES[section.task]
    if odd := [name for name in section.bar if name not in measures]:
        raise InputError(
            f"The bar is about {odd[0]!r}; a {section.task!r} specialist is measured by {' or '.join(measures)}."
        )
    data = _read(section, str(section.data), for_evaluation=False)
    if section.test is None:
        train, held_out = split_dataset(data, held_out=HELD_OUT, seed=section.seed)
        held_out = held_out.measured()
        number = {id(row): n for n, row in enumerate(data.rows, 1)}
    else:
        train, held_out = data, _read(section, section.test, for_evaluation=True)
        number = {id(row): n for n, row in enumerate(held_out.rows, 1)}
    _check_held_out(held_out, section)
    held = Held(
        rows=held_out.rows,
        numbers=[number[id(row)] for row in held_out.rows],
        task=section.task,
        labels=train.label_names,
        multi_label=section.multi_label,
        measure=next(iter(section.bar), measures[0]),
    )
    return Rows(section=section, train=train, held=held, held_out=held_out)


def _check_held_out(held_out: Dataset, section: SpecialistSection) -> None:
    """Refuse rows that no figure can be taken from. Raises `DataError`."""
    found = held_out.label_names
    if not found or (section.task == "score" and len(found) < 2):
        raise DataError(
            f"The {len(held_out):,} held-out rows of {held_out.name} have {list(found) or 'no labels'}: nothing can be "
            "measured on them.",
            hint="Give held-out rows with their labels, and for a score both outcomes: --test FILE",
        )


def _read(section: SpecialistSection, file: str, *, for_evaluation: bool) -> Dataset:
    return read_section(section, file, for_evaluation=for_evaluation)

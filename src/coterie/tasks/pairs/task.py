"""The task `pairs`: the label of a text and a second one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coterie.tasks.contract import QUICK_RUNGS, CardText, Parts, RoutedExample, Stored, TaskType
from coterie.tasks.pairs.section import PairsSection
from coterie.types import Option, Rung, SpecialistCard

if TYPE_CHECKING:
    from coterie.learning.dataset import Dataset
    from coterie.learning.job import Job
    from coterie.learning.measure import Candidate, Encoded
    from coterie.protocols import Specialist

_BEFORE = "classify"
"""The task of versions from before `pairs` was a task of its own."""


class PairsTask(TaskType[PairsSection]):
    """Names the label of a pair of texts, and gives the clauses that decide it."""

    kind = "pairs"
    section = PairsSection
    form = "label"
    about = CardText(
        job="names the label of a text and a second one, with the clauses that decide it",
        pipeline_tag="text-classification",
    )
    encodes_texts = False
    needs_profile = True

    def read_rows(self, section: PairsSection, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
        """Read rows, each a text, a second one and their label."""
        from coterie.tasks.pairs.rows import read_rows

        return read_rows(section, path, for_evaluation=for_evaluation)

    def written_values(self, section: PairsSection, data: Dataset) -> Collection[str] | None:
        """Return its labels."""
        return data.label_names

    def possible_rungs(self, section: PairsSection, train: Dataset) -> tuple[Rung, ...]:
        """Return the quick rungs."""
        return QUICK_RUNGS

    def texts(self, job: Job[PairsSection]) -> Sequence[str]:
        """Return the second texts: a document may be about anything, the questions about it are not."""
        from coterie.tasks.pairs.fit import pair_hypotheses

        return pair_hypotheses(job)

    def fit(self, job: Job[PairsSection], encoded: Encoded | None) -> Sequence[Candidate]:
        """Return a candidate per rung."""
        from coterie.tasks.pairs.fit import train_pairs

        assert encoded is not None, "a row without a text is refused"  # noqa: S101
        return train_pairs(job, encoded)

    def examples(self, job: Job[PairsSection]) -> Sequence[RoutedExample]:
        """Return every second text."""
        return [RoutedExample(i, job.section.pair_column, None) for i in range(len(self.texts(job)))]

    def subjects(self, job: Job[PairsSection]) -> Sequence[str]:
        """Return no names."""
        return ()

    def one_of(self, section: PairsSection, described: Mapping[str, Any]) -> tuple[Option, ...]:
        """Return its labels."""
        return tuple(Option(name=label) for label in described.get("labels", ()))

    def accepts(self, section: PairsSection, described: Mapping[str, Any]) -> str:
        """Return why a version cannot serve: it has another second text, or none."""
        trained = next(iter(described.get("columns", ())), None)
        if described["task"] in {self.kind, _BEFORE} and trained == section.pair_column:
            return ""
        if described["task"] not in {self.kind, _BEFORE}:
            return super().accepts(section, described)
        then = f"pair_column {trained!r}" if trained else "no pair_column"
        return f"is configured with pair_column {section.pair_column!r}; its version was trained with {then}"

    def load(
        self,
        card: SpecialistCard,
        section: PairsSection,
        stored: Stored,
        parts: Parts,
    ) -> Specialist:
        """Return the specialist of the version's rung."""
        from coterie.tasks.pairs.model import load_pairs

        return load_pairs(card, stored.described, stored.files, parts.encoder if card.rung == "embedding" else None)


TASK = PairsTask()

"""The task `classify`: labels of one text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coterie.tasks.classify.section import ClassifySection
from coterie.tasks.contract import CardText, Parts, Stored, TaskType
from coterie.types import Option, Rung, SpecialistCard

if TYPE_CHECKING:
    from coterie.learning.dataset import Dataset
    from coterie.learning.job import Job
    from coterie.learning.measure import Candidate, Encoded
    from coterie.protocols import Specialist

FEW_OF_A_LABEL = 20
"""Rows per label, on average, below which none are held out.

Training on a fifth fewer rows cost up to 17 points of correctly answered texts (benchmarks/few_rows).
"""


class ClassifyTask(TaskType[ClassifySection]):
    """Names the label, or labels, of a text."""

    kind = "classify"
    section = ClassifySection
    form = "label"
    about = CardText(job="names the label, or labels, of a text", pipeline_tag="text-classification")
    needs_profile = True

    def read_rows(self, section: ClassifySection, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
        """Read rows, each a text and its labels."""
        from coterie.tasks.classify.rows import read_rows

        return read_rows(section, path, for_evaluation=for_evaluation)

    def written_values(self, section: ClassifySection, data: Dataset) -> Collection[str] | None:
        """Return its labels."""
        return None if section.multi_label else data.label_names

    def possible_rungs(self, section: ClassifySection, train: Dataset) -> tuple[Rung, ...]:
        """Return the possible rungs: with several labels at once, `slm` cannot compare and `llm` names one."""
        if not train.has_texts:
            return ("lexical",)
        generative: tuple[Rung, ...] = ("slm", "llm") if section.model and not section.multi_label else ()
        return ("lexical", "embedding", "encoder", *generative)

    def divide(self, section: ClassifySection, data: Dataset) -> tuple[Dataset, Dataset]:
        """Return all rows twice, for cross-validation, where a label has few rows or the section asks for it.

        Otherwise a part is held out.
        """
        whole = section.chain is None and not {"slm", "llm"} & set(self.wanted_rungs(section))
        if whole and (section.cross_validate or len(data) < FEW_OF_A_LABEL * len(data.label_names)):
            return data, data
        return super().divide(section, data)

    def wanted_rungs(self, section: ClassifySection) -> Sequence[Rung]:
        """Return the rungs of the chain, where the section has one."""
        return section.chain if section.chain is not None else super().wanted_rungs(section)

    def fit(self, job: Job[ClassifySection], encoded: Encoded | None) -> Sequence[Candidate]:
        """Return a candidate per rung, and the chain of them where the section has one."""
        from coterie.tasks.classify.fit import train_classify

        assert encoded is not None, "a row without a text is refused"  # noqa: S101
        return train_classify(job, encoded)

    def accepts(self, section: ClassifySection, described: Mapping[str, Any]) -> str:
        """Return why a version cannot serve: it has a column, and so belongs to the later task `pairs`."""
        if described["task"] == self.kind and (columns := list(described.get("columns", ()))):
            return f"is configured for one text; its version was trained with pair_column {columns[0]!r}"
        return super().accepts(section, described)

    def one_of(self, section: ClassifySection, described: Mapping[str, Any]) -> tuple[Option, ...]:
        """Return its labels, unless several may apply at once."""
        labels = () if described.get("multi_label") else described["labels"]
        return tuple(Option(name=label, description=section.labels.get(label, "")) for label in labels)

    def calibrated_on(self, files: Mapping[str, bytes]) -> Mapping[str, str | None] | None:
        """Return the model of the rung `llm`."""
        from coterie.tasks.classify.prompted import calibrated_on

        return calibrated_on(files)

    def load(self, card: SpecialistCard, section: ClassifySection, stored: Stored, parts: Parts) -> Specialist:
        """Return the classifier of the version's rung."""
        from coterie.tasks.classify.loading import load_classify

        return load_classify(card, section, stored, parts)


TASK = ClassifyTask()

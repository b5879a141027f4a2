"""The task `extract`: typed fields of a text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from coterie.tasks.contract import CardText, Parts, Stored, TaskType
from coterie.tasks.extract.section import ExtractSection
from coterie.types import Finding, Rung, SpecialistCard

if TYPE_CHECKING:
    from coterie.learning.dataset import Dataset, Row
    from coterie.learning.evaluation import Case, Evaluation
    from coterie.learning.job import Job
    from coterie.learning.measure import Candidate, Encoded
    from coterie.protocols import Specialist


class ExtractTask(TaskType[ExtractSection]):
    """Finds typed fields in a text, each with its quote."""

    kind = "extract"
    section = ExtractSection
    form = "fields"
    about = CardText(
        job="finds typed fields in a text, with the words they stand in", pipeline_tag="token-classification"
    )
    encodes_texts = False

    def read_rows(self, section: ExtractSection, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
        """Read rows, each a text and its fields."""
        from coterie.tasks.extract.rows import read_rows

        return read_rows(section, path, for_evaluation=for_evaluation)

    def possible_rungs(self, section: ExtractSection, train: Dataset) -> tuple[Rung, ...]:
        """Return all rungs except the one with a large model."""
        if not train.has_texts:
            return ("lexical",)
        return ("lexical", "embedding", "encoder", *(("slm",) if section.model else ()))

    def fit(self, job: Job[ExtractSection], encoded: Encoded | None) -> Sequence[Candidate]:
        """Return a candidate per rung."""
        from coterie.tasks.extract.fit import train_extract

        return train_extract(job, encoded)

    def example_label(self, job: Job[ExtractSection], row: Row) -> str:
        """Return a fixed name for every row: a text to read."""
        return "a text to read"

    def subjects(self, job: Job[ExtractSection]) -> Sequence[str]:
        """Return its fields."""
        return tuple(job.section.fields)

    def judge(
        self, rows: Sequence[Row], findings: Sequence[Finding], *, section: ExtractSection | None = None, seed: int = 0
    ) -> Evaluation:
        """Return figures over all statements about fields."""
        from coterie.tasks.extract.rows import judge

        del section
        return judge(rows, findings, seed=seed)

    def cases(self, rows: Sequence[Row], findings: Sequence[Finding]) -> list[Case]:
        """Return a case for each field of each row."""
        from coterie.tasks.extract.rows import cases

        return cases(rows, findings)

    def load(self, card: SpecialistCard, section: ExtractSection, stored: Stored, parts: Parts) -> Specialist:
        """Return the extractor of the version's rung."""
        from coterie.learning.scope import ScopeScore
        from coterie.specialists.parts import model_of
        from coterie.tasks.extract.model import load_extract

        model = partial(model_of, card, section, parts.models)
        scope = ScopeScore.from_files(stored.files, labels=0)
        return load_extract(card, stored.described, stored.files, encoder=parts.encoder, model=model, scope=scope)


TASK = ExtractTask()

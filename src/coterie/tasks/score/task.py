"""The task `score`: a probability from columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coterie.tasks.contract import QUICK_RUNGS, CardText, Parts, Stored, TaskType
from coterie.tasks.score.section import ScoreSection
from coterie.types import Finding, Rung, SpecialistCard

if TYPE_CHECKING:
    from coterie.learning.dataset import Dataset, Row
    from coterie.learning.evaluation import Case, Evaluation
    from coterie.learning.job import Job
    from coterie.learning.measure import Candidate, Encoded
    from coterie.protocols import Specialist


class ScoreTask(TaskType[ScoreSection]):
    """Gives the probability of an outcome, with its reasons."""

    kind = "score"
    section = ScoreSection
    form = "number"
    about = CardText(
        job="gives a probability from columns, or a text, with its reasons",
        pipeline_tag="tabular-classification",
        not_for=(
            "A decision about a person that no person answers for: a person hears the objections to its reasons.",
            "People, products, places or times other than those of the rows above, before it was measured on theirs.",
            "Anything for which the law forbids automated scoring, or a use of its columns; it does not know the law.",
            "Learning or guessing a protected attribute, also where columns above are said to tell one.",
            "A ranking of people for any other purpose than the outcome it was trained on.",
        ),
    )
    guards_columns = True
    least_labels = 2

    def read_rows(self, section: ScoreSection, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
        """Read rows, each a case and its outcome."""
        from coterie.tasks.score.rows import read_rows

        return read_rows(section, path, for_evaluation=for_evaluation)

    def divide(self, section: ScoreSection, data: Dataset) -> tuple[Dataset, Dataset]:
        """Return every row twice, for cross-validation."""
        return data, data

    def possible_rungs(self, section: ScoreSection, train: Dataset) -> tuple[Rung, ...]:
        """Return the lexical rung, and more only where there is a text."""
        return QUICK_RUNGS if train.has_texts else ("lexical",)

    def fit(self, job: Job[ScoreSection], encoded: Encoded | None) -> Sequence[Candidate]:
        """Return a candidate per rung."""
        from coterie.tasks.score.fit import train_score

        return train_score(job, encoded)

    def example_label(self, job: Job[ScoreSection], row: Row) -> str:
        """Return the outcome as the name of a row."""
        return f"{job.section.label_column} = {row.labels[0]}"

    def subjects(self, job: Job[ScoreSection]) -> Sequence[str]:
        """Return the name of the predicted outcome."""
        return (job.section.label_column,)

    def judge(
        self, rows: Sequence[Row], findings: Sequence[Finding], *, section: ScoreSection | None = None, seed: int = 0
    ) -> Evaluation:
        """Return how well probabilities rank and predict."""
        from coterie.tasks.score.rows import judge

        del section
        return judge(rows, findings, seed=seed)

    def cases(self, rows: Sequence[Row], findings: Sequence[Finding]) -> list[Case]:
        """Return a case for every row, with the predicted outcome."""
        from coterie.tasks.score.rows import cases

        return cases(rows, findings)

    def load(
        self,
        card: SpecialistCard,
        section: ScoreSection,
        stored: Stored,
        parts: Parts,
    ) -> Specialist:
        """Return the scorecard."""
        from coterie.tasks.score.model import load_score

        return load_score(card, stored.described, stored.files, parts.encoder)


TASK = ScoreTask()

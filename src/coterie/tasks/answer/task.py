"""The task `answer`: cited answers from documents."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coterie.tasks.answer.section import AnswerSection
from coterie.tasks.contract import Parts, Stored, TaskType, Trained, Workplace
from coterie.types import Finding, Rung, SpecialistCard

if TYPE_CHECKING:
    from coterie.learning.dataset import Dataset, Row
    from coterie.learning.evaluation import Case, Evaluation
    from coterie.learning.job import Job
    from coterie.protocols import Specialist

_WORDED: tuple[Rung, ...] = ("slm", "llm")


class AnswerTask(TaskType[AnswerSection]):
    """Answers questions from indexes of documents, with citations, or says that they do not say."""

    kind = "answer"
    section = AnswerSection
    looks_up = reads_documents = True
    not_rightsized = (
        "It answers from indexes, which a file alone does not have: coterie train compares its rungs on questions, "
        "coterie eval measures one."
    )

    def read_rows(self, section: AnswerSection, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
        """Read rows, each a question and its answer."""
        from coterie.tasks.answer.rows import read_rows

        return read_rows(section, path, for_evaluation=for_evaluation)

    def divide(self, section: AnswerSection, data: Dataset) -> tuple[Dataset, Dataset]:
        """Divide the rows; questions about one document, or in the same words, stay together."""
        from coterie.tasks.answer.fit import divide_questions

        return divide_questions(data, seed=section.seed)

    def doubts(self, job: Job[AnswerSection]) -> tuple[str, ...]:
        """Return no doubts: questions may well recur."""
        return ()

    def possible_rungs(self, section: AnswerSection, train: Dataset) -> tuple[Rung, ...]:
        """Return the rungs that quote, and those that word an answer with a model."""
        return ("lexical", "embedding", *(_WORDED if section.model else ()))

    def tuned_rungs(
        self,
        section: AnswerSection,
        rungs: Sequence[Rung],
    ) -> Collection[Rung]:
        """Return no rungs: its models are prompted without tuning, and opened on first use."""
        return ()

    def check(self, job: Job[AnswerSection], workplace: Workplace) -> None:
        """Check that its indexes are not empty."""
        from coterie.tasks.answer.fit import check_indexed

        check_indexed(job, workplace)

    def train(self, job: Job[AnswerSection], workplace: Workplace) -> Trained:
        """Train a version, calibrated on questions with their answers, or with the shipped defaults."""
        from coterie.tasks.answer.fit import train_answer

        return train_answer(job, workplace)

    def judge(
        self, rows: Sequence[Row], findings: Sequence[Finding], *, section: AnswerSection | None = None, seed: int = 0
    ) -> Evaluation:
        """Return figures over questions."""
        from coterie.tasks.answer.rows import judge

        del section
        return judge(rows, findings, seed=seed)

    def cases(self, rows: Sequence[Row], findings: Sequence[Finding]) -> list[Case]:
        """Return a case for every question."""
        from coterie.tasks.answer.rows import cases

        return cases(rows, findings)

    def asks_model(self, report: Mapping[str, object]) -> bool:
        """Return whether a version's rung words answers with a model."""
        return report.get("rung") in _WORDED

    def load(self, card: SpecialistCard, section: AnswerSection, stored: Stored, parts: Parts) -> Specialist:
        """Return the reader, with the writer of its findings on the rungs that have one."""
        from coterie.tasks.answer.model import chooser_of, load_answer, writer_of

        return load_answer(
            card,
            stored.described,
            stored.files,
            parts.encoder,
            writer=writer_of(card, section, parts),
            chooser=chooser_of(card, section, parts, stored.described),
        )


TASK = AnswerTask()

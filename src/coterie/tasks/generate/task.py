"""The task `generate`: a text, from a source text or as learned from replies."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from coterie.tasks.contract import HELD_OUT, CardText, Parts, Stored, TaskType, Trained, Workplace
from coterie.tasks.generate.section import GenerateSection
from coterie.types import Finding, Rung, SpecialistCard

if TYPE_CHECKING:
    from coterie.learning.dataset import Dataset, Row
    from coterie.learning.evaluation import Evaluation
    from coterie.learning.job import Job
    from coterie.learning.measure import Candidate, Encoded
    from coterie.protocols import Specialist, StreamingEngine

_FROM_PAIRS = "writes the reply that it learnt to write from pairs, which nothing but its confidence stands for"


class GenerateTask(TaskType[GenerateSection]):
    """Drafts from source texts where it reads a fact; writes as learned from pairs where it reads none."""

    kind = "generate"
    reads_documents = True
    section = GenerateSection
    about = CardText(
        job="drafts a text from a source text and may say only what that says", pipeline_tag="text-generation"
    )
    not_rightsized = "A written text has one rung, `slm`. `coterie train` measures it beside the untuned model."

    def read_rows(self, section: GenerateSection, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
        """Read rows, each a source text, or a text and its reply."""
        from coterie.tasks.generate.rows import read_rows

        return read_rows(section, path, for_evaluation=for_evaluation)

    def divide(self, section: GenerateSection, data: Dataset) -> tuple[Dataset, Dataset]:
        """Return the rows on both sides where a source text leaves nothing to hold out; else divide the pairs."""
        from coterie.learning.splits import split_dataset

        if not self.is_measured(section):
            return data, data
        return split_dataset(data, held_out=HELD_OUT, seed=section.seed, by_label=False)

    def doubts(self, job: Job[GenerateSection]) -> tuple[str, ...]:
        """Return doubts without comparing replies: each reply is unique, so that an unknown one means nothing."""
        from coterie.learning.splits import compare_datasets

        if job.cross_validated:
            return ()
        bare = (
            replace(data, rows=tuple(replace(row, labels=()) for row in data.rows))
            for data in (job.train, job.held_out)
        )
        return compare_datasets(*bare)

    def card_text(self, section: GenerateSection) -> CardText:
        """Return the model card's text, which says where the writer has no source text."""
        return replace(self.about, job=_FROM_PAIRS) if section.writes_freely else self.about

    def label_count(self, section: GenerateSection, data: Dataset) -> int | None:
        """Return None: the task has no labels."""
        return None

    def measures(self, section: GenerateSection) -> tuple[str, ...]:
        """Return the measures; a draft from a source text is compared with a reply only by similarity."""
        return section.measures if section.writes_freely else section.measures[:1]

    def possible_rungs(self, section: GenerateSection, train: Dataset) -> tuple[Rung, ...]:
        """Return the only possible rung."""
        return ("slm",)

    def wanted_rungs(self, section: GenerateSection) -> Sequence[Rung]:
        """Return the only rung."""
        return ("slm",) if section.rungs is None else section.rungs

    def tuned_rungs(self, section: GenerateSection, rungs: Sequence[Rung]) -> Collection[Rung]:
        """Return the rung of its model, where it learns from pairs."""
        return rungs if section.writes_freely else ("slm",) if section.pairs else ()

    def is_measured(self, section: GenerateSection) -> bool:
        """Return whether it is measured: a source text says nothing about the quality of a draft."""
        return section.writes_freely

    def fit(self, job: Job[GenerateSection], encoded: Encoded | None) -> Sequence[Candidate]:
        """Return an adapter that learns replies from pairs."""
        from coterie.tasks.generate.fit_replies import train_write

        assert encoded is not None, "a row without a text is refused"  # noqa: S101
        return [train_write(job, encoded)]

    def train(self, job: Job[GenerateSection], workplace: Workplace) -> Trained | None:
        """Return a drafter, which consists of its source texts and its prompt."""
        from coterie.tasks.generate.fit import train_generate

        return None if job.section.writes_freely else train_generate(job, workplace)

    def example_label(self, job: Job[GenerateSection], row: Row) -> str:
        """Return the name of a row in the router's reasons."""
        return "a text to reply to"

    def subjects(self, job: Job[GenerateSection]) -> Sequence[str]:
        """Return no names."""
        return ()

    def judge(
        self, rows: Sequence[Row], findings: Sequence[Finding], *, section: GenerateSection | None = None, seed: int = 0
    ) -> Evaluation:
        """Return the similarity of the written replies to those of the data."""
        from coterie.tasks.generate.rows import judge
        from coterie.tasks.generate.section import ALIKE

        return judge(rows, findings, alike=ALIKE if section is None else section.alike, seed=seed)

    def accepts(self, section: GenerateSection, described: Mapping[str, Any]) -> str:
        """Return why a version cannot serve: a drafter cannot replace a writer, nor the reverse."""
        if described["task"] == self.kind and section.writes_freely == ("sources" in described):
            now, then = ("no `reads`", "source texts") if section.writes_freely else ("`reads`", "no source texts")
            return f"is configured with {now}; its version was trained with {then}"
        return super().accepts(section, described)

    def asks_model(self, report: Mapping[str, object]) -> bool:
        """Return True: it always uses the model."""
        return True

    def load(self, card: SpecialistCard, section: GenerateSection, stored: Stored, parts: Parts) -> Specialist:
        """Return the drafter, or the writer."""
        from coterie.specialists.parts import ADAPTER_FILE, model_of
        from coterie.tasks.generate.model import Calling, load_generate, load_write

        engine = model_of(card, section, parts.models)
        calling = Calling(
            name=card.name,
            engine=engine,
            instruction=section.description,
            window=parts.windows.get(section.model or ""),
            servers=parts.servers,
        )
        if section.writes_freely:
            return load_write(
                card, stored.described, stored.files, engine=engine, encoder=parts.encoder, calling=calling
            )
        # The rung `llm` asks a whole answer of an engine, as training does; only drafts are streamed.
        adapter = card.name if ADAPTER_FILE in stored.files else None
        label = section.data_label or parts.data_label
        return load_generate(
            card, stored.described, cast("StreamingEngine", engine), adapter=adapter, label=label, calling=calling
        )


TASK = GenerateTask()

"""The task `generate`: a text, from a source text or as learnt from replies."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from coterie.tasks.contract import HELD_OUT, CardText, Parts, Stored, TaskType, Trained, Workplace
from coterie.tasks.generate.section import GenerateSection
from coterie.types import Finding, Rung, SpecialistCard

if TYPE_CHECKING:
    from coterie.learning.candidates import Candidate
    from coterie.learning.dataset import Dataset, Row
    from coterie.learning.evaluation import Evaluation
    from coterie.learning.job import Job
    from coterie.learning.measure import Encoded
    from coterie.protocols import Specialist, StreamingEngine

_FROM_PAIRS = "writes the reply that it learnt to write from pairs, which nothing but its confidence stands for"


class GenerateTask(TaskType[GenerateSection]):
    """Drafts from source texts where it reads a fact; writes as it learnt from pairs where it reads none."""

    kind = "generate"
    reads_documents = True
    section = GenerateSection
    about = CardText(
        job="drafts a text from a source text and may say only what that says", pipeline_tag="text-generation"
    )
    not_rightsized = "A written text has one rung, `slm`. `coterie train` measures it beside the untuned model."

    def read_rows(self, section: GenerateSection, path: Path | str, *, for_evaluation: bool = False) -> Dataset:
        """A source text, or a text and its reply, a row."""
        from coterie.tasks.generate.rows import read_rows

        return read_rows(section, path, for_evaluation=for_evaluation)

    def divide(self, section: GenerateSection, data: Dataset) -> tuple[Dataset, Dataset]:
        """A source text that is repeated has nothing to hold out."""
        from coterie.learning.splits import split_dataset

        if not self.is_measured(section):
            return data, data
        return split_dataset(data, held_out=HELD_OUT, seed=section.seed, by_label=False)

    def doubts(self, job: Job[GenerateSection]) -> tuple[str, ...]:
        """Replies are not compared, of which each is its own: that one is not known means nothing."""
        from coterie.learning.splits import compare_datasets

        if job.cross_validated:
            return ()
        bare = (
            replace(data, rows=tuple(replace(row, labels=()) for row in data.rows))
            for data in (job.train, job.held_out)
        )
        return compare_datasets(*bare)

    def card_text(self, section: GenerateSection) -> CardText:
        """A writer without a source text says so."""
        return replace(self.about, job=_FROM_PAIRS) if section.writes_freely else self.about

    def label_count(self, section: GenerateSection, data: Dataset) -> int | None:
        """None."""
        return None

    def measures(self, section: GenerateSection) -> tuple[str, ...]:
        """A draft from a source text is held against a reply only as far as it is like it."""
        return section.measures if section.writes_freely else section.measures[:1]

    def possible_rungs(self, section: GenerateSection, train: Dataset) -> tuple[Rung, ...]:
        """One."""
        return ("slm",)

    def wanted_rungs(self, section: GenerateSection) -> Sequence[Rung]:
        """The one that there is."""
        return ("slm",) if section.rungs is None else section.rungs

    def tuned_rungs(self, section: GenerateSection, rungs: Sequence[Rung]) -> Collection[Rung]:
        """Its model, where it learns from pairs."""
        return rungs if section.writes_freely else ("slm",) if section.pairs else ()

    def is_measured(self, section: GenerateSection) -> bool:
        """A source text says nothing of how good a draft is."""
        return section.writes_freely

    def fit(self, job: Job[GenerateSection], encoded: Encoded | None) -> Sequence[Candidate]:
        """An adapter that learns replies from pairs."""
        from coterie.tasks.generate.fit_replies import train_write

        assert encoded is not None, "a row without a text is refused"  # noqa: S101
        return [train_write(job, encoded)]

    def train(self, job: Job[GenerateSection], place: Workplace) -> Trained | None:
        """A drafter is its source texts and its prompt."""
        from coterie.tasks.generate.fit import train_generate

        return None if job.section.writes_freely else train_generate(job, place)

    def example_label(self, job: Job[GenerateSection], row: Row) -> str:
        """What is asked for."""
        return "a text to reply to"

    def subjects(self, job: Job[GenerateSection]) -> Sequence[str]:
        """None."""
        return ()

    def judge(
        self, rows: Sequence[Row], findings: Sequence[Finding], *, section: GenerateSection | None = None, seed: int = 0
    ) -> Evaluation:
        """How like the replies that should be the written ones are."""
        from coterie.tasks.generate.metrics import judge
        from coterie.tasks.generate.section import ALIKE

        return judge(rows, findings, alike=ALIKE if section is None else section.alike, seed=seed)

    def accepts(self, section: GenerateSection, described: Mapping[str, Any]) -> str:
        """A drafter and a writer are not each other."""
        if described["task"] == self.kind and section.writes_freely == ("sources" in described):
            now, then = ("no `reads`", "source texts") if section.writes_freely else ("`reads`", "no source texts")
            return f"is configured with {now}; its version was trained with {then}"
        return super().accepts(section, described)

    def asks_model(self, report: Mapping[str, object]) -> bool:
        """Always."""
        return True

    def load(self, card: SpecialistCard, section: GenerateSection, stored: Stored, parts: Parts) -> Specialist:
        """The drafter, or the writer."""
        from coterie.specialists.artefacts import ADAPTER_FILE, model_of
        from coterie.tasks.generate.calling import Calling
        from coterie.tasks.generate.model import load_generate, load_write

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

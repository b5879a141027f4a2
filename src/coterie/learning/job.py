"""The input of a trainer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from coterie.config.file import LlamaModel, Model
from coterie.config.specialists import EncoderSection, SpecialistSection
from coterie.errors import ConfigError
from coterie.learning.asked import AskedModel
from coterie.learning.dataset import Dataset, Row
from coterie.learning.evaluation import Evaluation
from coterie.learning.progress import Progress
from coterie.protocols import Engine
from coterie.tuning.base import BaseEncoder, CausalBase, Checkpoints, find_base, find_causal_base
from coterie.types import AnswerForm, Finding, Option, Rung, SpecialistCard


class TextEncoder(Engine, Protocol):
    """An encoder as training needs it: many texts at once, in the calling thread."""

    @property
    def sha256(self) -> str:
        """Checksum of its weights: vectors of another encoder are not comparable."""
        ...

    @property
    def about(self) -> Mapping[str, str]:
        """Description for a report: `name`, `source`, `sha256`, `licence`."""
        ...

    @property
    def languages(self) -> Collection[str]:
        """Languages that the encoder was made for; empty if they are not stated."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """Most tokens of a text that are read."""
        ...

    def exceeds(self, texts: Sequence[str]) -> np.ndarray:
        """Return (N,) which texts are longer than that."""
        ...

    def encode(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> np.ndarray:
        """Return unit vectors (N, D); `progress` is called with the number of texts just done."""
        ...


class TrainedTask(Protocol):
    """The properties of a task that training needs; `coterie.tasks.contract.TaskType` is one."""

    kind: ClassVar[str]
    """Name of the task."""
    form: ClassVar[AnswerForm]
    """Form of its answers."""
    guards_columns: ClassVar[bool]
    """Whether columns that the task does not read are also withheld from a specialist that answers in its place."""
    looks_up: ClassVar[bool]
    """Whether the task's documents contain the answers."""
    makes_calls: ClassVar[bool]
    """Whether the task's findings are function calls, which its options name."""
    encodes_texts: ClassVar[bool]
    """Whether the task's rung `embedding` uses the encoding of a whole text."""

    def measures(self, section: Any, /) -> tuple[str, ...]:  # noqa: ANN401 - its own section
        """Return the measures that the bar may use, the default one first."""
        ...

    def possible_rungs(self, section: Any, train: Dataset, /) -> tuple[Rung, ...]:  # noqa: ANN401 - as above
        """Return the rungs that the task and its data allow, cheapest first."""
        ...

    def wanted_rungs(self, section: Any, /) -> Sequence[Rung]:  # noqa: ANN401 - as above
        """Return the rungs that are tried: those that the section names, or the default ones."""
        ...

    def is_measured(self, section: Any, /) -> bool:  # noqa: ANN401 - as above
        """Return whether rungs are measured and one is chosen."""
        ...

    def tuned_rungs(self, section: Any, rungs: Sequence[Rung], /) -> Collection[Rung]:  # noqa: ANN401 - as above
        """Return those of these rungs whose base model has to be present before training begins."""
        ...

    def judge(
        self,
        rows: Sequence[Row],
        findings: Sequence[Finding],
        /,
        *,
        section: Any = None,  # noqa: ANN401 - as above
        seed: int = 0,
    ) -> Evaluation:
        """Return the figures of a specialist from its findings, one a row."""
        ...


S_co = TypeVar("S_co", bound=SpecialistSection, covariant=True)


@dataclass(frozen=True, kw_only=True)
class Job(Generic[S_co]):
    """One specialist to train."""

    name: str
    task: TrainedTask
    section: S_co
    train: Dataset
    held_out: Dataset
    """The held-out rows; the training rows themselves if figures are cross-validated."""
    encoder: TextEncoder
    progress: Progress
    base: BaseEncoder | None = None
    """The base of the rung `encoder`, if it is tried."""
    causal: CausalBase | None = None
    """The base of the rung `slm`, if it is tried."""
    model: LlamaModel | None = None
    """How the model of the rung `slm` is run."""
    checkpoints: Checkpoints | None = None
    """Store of unfinished trainings; None keeps nothing."""
    read: Mapping[Path, str] = field(default_factory=dict)
    """Checksum of each file that the rows come from, as it was read."""
    asked: AskedModel | None = None
    """The model of the rung `llm`, if one is named."""

    def card(self, rung: Rung, columns: tuple[str, ...] = ()) -> SpecialistCard:
        """Return the card of a rung's specialist before it has a version."""
        return make_card(self.name, self.task, self.section, rung=rung, version="", columns=columns)

    @property
    def cross_validated(self) -> bool:
        """Whether no rows are held out: every row is predicted by a model that did not see it."""
        return self.held_out is self.train

    @property
    def has_texts(self) -> bool:
        """Whether any row has a text."""
        return self.train.has_texts

    def group_numbers(self, rows: np.ndarray) -> np.ndarray:  # (R,) -> (R,)
        """Return a number for the group of each of these training rows; a row without a group is one of its own."""
        numbers: dict[object, int] = {}
        groups = [self.train.rows[row].group for row in rows]
        keys = (("row", i) if group is None else group for i, group in enumerate(groups))
        return np.array([numbers.setdefault(key, len(numbers)) for key in keys])

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """Rungs that may be chosen, cheapest first, including those of a chain, which is chosen as a whole."""
        wanted = self.task.wanted_rungs(self.section)
        return tuple(rung for rung in self.possible_rungs if rung in wanted)

    @property
    def possible_rungs(self) -> tuple[Rung, ...]:
        """Rungs that the task and its data allow, cheapest first."""
        return self.task.possible_rungs(self.section, self.train)

    @property
    def measured_rungs(self) -> tuple[Rung, ...]:
        """Rungs that are trained and measured: those that may be chosen, and always the lexical floor."""
        return ("lexical", *(rung for rung in self.rungs if rung != "lexical"))

    @property
    def bar(self) -> dict[str, float]:
        """The value that each measure must reach."""
        return dict(self.section.bar)

    @property
    def measures(self) -> tuple[str, ...]:
        """Measures that decide between rungs: those of the bar, else the task's default one."""
        return tuple(self.bar) or self.task.measures(self.section)[:1]


def make_card(
    name: str,
    task: TrainedTask,
    section: SpecialistSection,
    *,
    rung: Rung,
    version: str,
    columns: tuple[str, ...] = (),
    view_tokens: int | None = None,
    options: tuple[Option, ...] = (),
) -> SpecialistCard:
    """Return the card of a specialist from its task and its section."""
    return SpecialistCard(
        name=name,
        task=task.kind,
        description=section.description,
        rung=rung,
        version=version,
        reads=section.reads,
        writes=section.writes,
        columns=columns,
        form=task.form,
        options=options,
        guards_columns=task.guards_columns,
        looks_up=task.looks_up,
        makes_calls=task.makes_calls,
        knowledge=section.knowledge,
        passages=section.passages,
        view_tokens=view_tokens,
    )


def check_job(job: Job[S_co], folder: Path, models: Mapping[str, Model]) -> Job[S_co]:
    """Check that a job can be trained before time is spent on it; return the job with everything it needs.

    Args:
        job: The job to train.
        folder: The folder that paths of base encoders and model files are relative to.
        models: The network's models by `[models]` key.

    Raises:
        ConfigError: the section asks for something impossible.
        ExtraMissing, ModelMissing, ArtefactRefused: something that a rung needs is missing.
        EgressRefused: the training texts may not go to the model of the rung `llm`.
    """
    section_name, section = f"specialists.{job.name}", job.section
    measures = job.task.measures(section)
    if odd := [measure for measure in section.bar if measure not in measures]:
        raise ConfigError(
            f"{section_name}.bar is about {odd[0]!r}; a {section.task!r} specialist is measured by "
            f"{' or '.join(measures)}."
        )
    if job.task.is_measured(section) and not job.rungs:
        of_what = "of columns alone" if len(job.train) and not job.has_texts else "of a text"
        possible = " and ".join(map(repr, job.possible_rungs))
        raise ConfigError(
            f"{section_name}.rungs is {list(section.rungs or ())}; a {section.task!r} {of_what} has {possible}.",
            hint="Correct `rungs` in coterie.toml, or leave it out.",
        )
    tuned = job.task.tuned_rungs(section, job.rungs)
    if "encoder" in tuned and isinstance(section, EncoderSection):
        job = replace(job, base=find_base(section.base, folder, licence=section.base_licence))
    if "slm" in tuned:
        model = tunable_model(job, models)
        job = replace(job, model=model, causal=find_causal_base(str(section.model), model, folder))
    if "llm" in tuned:
        _check_asked(job)
    return job


def tunable_model(job: Job[S_co], models: Mapping[str, Model]) -> LlamaModel:
    """Return the model that the section names, if it runs in this process. Raises `ConfigError`."""
    model = models.get(str(job.section.model))
    if isinstance(model, LlamaModel):
        return model
    here = sorted(key for key, name in models.items() if isinstance(name, LlamaModel))
    raise ConfigError(
        f"specialists.{job.name} tunes the model {job.section.model!r}; models that run in this process are {here}.",
        hint='Name one, or add it: [models.NAME] with engine = "llama" and name = "smollm2".',
    )


def _check_asked(job: Job[S_co]) -> None:
    if job.asked is None:
        raise ConfigError(
            f"specialists.{job.name} is to try rung 'llm', and no model was given for it to ask.",
            hint="Name a key of [models] as its `model`.",
        )
    job.asked.check()

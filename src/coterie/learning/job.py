"""What a trainer is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from coterie.config.file import LlamaModel, Model
from coterie.config.specialists import SpecialistSection
from coterie.errors import ConfigError
from coterie.learning.asked import AskedModel
from coterie.learning.dataset import Dataset
from coterie.learning.progress import Progress
from coterie.protocols import Engine
from coterie.tuning.base import BaseEncoder, CausalBase, Checkpoints, find_base, find_causal_base
from coterie.types import Rung, SpecialistCard, TaskKind

MEASURES: Mapping[TaskKind, tuple[str, ...]] = {
    "classify": ("accuracy", "macro_f1"),
    "score": ("auc", "accuracy", "macro_f1"),
    "extract": ("token_f1", "exact_f1"),
    "answer": ("accuracy", "token_f1", "citation_precision", "unanswerable_recall"),
    "generate": ("token_f1", "accuracy", "exact_match"),
}
"""What a bar can be about, the usual measure first."""

QUICK_RUNGS: tuple[Rung, ...] = ("lexical", "embedding")
"""Rungs that are tried unless the section says otherwise: those that take seconds."""


class TextEncoder(Engine, Protocol):
    """An encoder as training needs it: many texts at once, in the calling thread."""

    @property
    def sha256(self) -> str:
        """Checksum of its weights: vectors of another encoder are not comparable."""
        ...

    @property
    def about(self) -> Mapping[str, str]:
        """What a report says of it: `name`, `source`, `sha256`, `licence`."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that are read."""
        ...

    def exceeds(self, texts: Sequence[str]) -> np.ndarray:
        """(N,) which texts are longer than that."""
        ...

    def encode(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> np.ndarray:
        """Unit vectors (N, D); `progress` is called with the number of texts just done."""
        ...


@dataclass(frozen=True, kw_only=True)
class Job:
    """One specialist to train."""

    name: str
    section: SpecialistSection
    train: Dataset
    held_out: Dataset
    """The training rows themselves where figures are cross-validated."""
    encoder: TextEncoder
    progress: Progress
    base: BaseEncoder | None = None
    """What the rung `encoder` starts from, where it is tried."""
    causal: CausalBase | None = None
    """What the rung `slm` starts from, where it is tried."""
    model: LlamaModel | None = None
    """How that model is run."""
    checkpoints: Checkpoints | None = None
    """Where unfinished trainings are kept; None keeps nothing."""
    read: Mapping[Path, str] = field(default_factory=dict)
    """Checksum of each file that its rows come from, as it was read."""
    asked: AskedModel | None = None
    """What the rung `llm` asks, where a model is named."""

    def card(self, rung: Rung, columns: tuple[str, ...] = ()) -> SpecialistCard:
        """The card of a rung's specialist before it has a version."""
        return SpecialistCard(
            name=self.name,
            task=self.section.task,
            description=self.section.description,
            rung=rung,
            version="",
            reads=self.section.reads,
            writes=self.section.writes,
            columns=columns,
            knowledge=self.section.knowledge,
            passages=self.section.passages,
        )

    @property
    def cross_validated(self) -> bool:
        """No rows are held out: every row is predicted by a model that did not see it."""
        return self.held_out is self.train

    @property
    def pairs(self) -> bool:
        """Whether a row is a text and a second one."""
        return self.section.pair_column is not None

    @property
    def has_texts(self) -> bool:
        """Whether there is a text to look at."""
        return any(row.text.strip() for row in self.train.rows)

    def group_numbers(self, rows: np.ndarray) -> np.ndarray:  # (R,) -> (R,)
        """A number for the group of each of these training rows; a row without one is a group of its own."""
        numbers: dict[object, int] = {}
        groups = [self.train.rows[row].group for row in rows]
        keys = (("row", i) if group is None else group for i, group in enumerate(groups))
        return np.array([numbers.setdefault(key, len(numbers)) for key in keys])

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """Rungs that may be chosen, cheapest first; those of a chain, which is chosen whole."""
        if self.section.chain is not None:
            return tuple(rung for rung in self.possible_rungs if rung in self.section.chain)
        usual = ("slm",) if self.section.writes_freely else QUICK_RUNGS
        wanted = usual if self.section.rungs is None else self.section.rungs
        return tuple(rung for rung in self.possible_rungs if rung in wanted)

    @property
    def possible_rungs(self) -> tuple[Rung, ...]:
        """Rungs that the task and its data allow, cheapest first."""
        if self.section.writes_freely:
            return ("slm",)
        if self.section.task == "answer":
            worded: tuple[Rung, ...] = ("slm", "llm") if self.section.model else ()
            return ("lexical", "embedding", *worded)
        if not self.has_texts:
            return ("lexical",)
        if self.section.task == "extract":
            return ("lexical", "embedding", "encoder", *(("slm",) if self.section.model else ()))
        if self.section.task != "classify" or self.pairs:
            return ("lexical", "embedding")
        # Several labels at once: an slm has nothing to weigh against each other, and an llm names one.
        generative: tuple[Rung, ...] = ("slm", "llm") if self.section.model and not self.section.multi_label else ()
        return ("lexical", "embedding", "encoder", *generative)

    @property
    def measured_rungs(self) -> tuple[Rung, ...]:
        """Rungs that are trained and measured: those that may be chosen, and always the lexical floor."""
        return ("lexical", *(rung for rung in self.rungs if rung != "lexical"))

    @property
    def bar(self) -> dict[str, float]:
        """What each measure must reach."""
        return {str(measure): least for measure, least in self.section.bar.items()}

    @property
    def measures(self) -> tuple[str, ...]:
        """What decides between rungs: the measures of the bar, else the task's usual one."""
        return tuple(self.bar) or MEASURES[self.section.task][:1]


def check_job(job: Job, folder: Path, models: Mapping[str, Model]) -> Job:
    """Refuse what cannot be trained before time is spent on it; the job with all it needs.

    Args:
        job: What is to be trained.
        folder: What the folder of a base encoder and the file of a model are relative to.
        models: The network's models by `[models]` key.

    Raises:
        ConfigError: the section asks for what cannot be.
        ExtraMissing, ModelMissing, ArtefactRefused: what a rung needs is not here.
        EgressRefused: the training texts may not go to the model of the rung `llm`.
    """
    place = f"specialists.{job.name}"
    if odd := [measure for measure in job.section.bar if measure not in _measures(job.section)]:
        possible = " or ".join(_measures(job.section))
        raise ConfigError(
            f"{place}.bar is about {odd[0]!r}; a {job.section.task!r} specialist is measured by {possible}."
        )
    if (job.section.task != "generate" or job.section.writes_freely) and not job.rungs:
        of_what = "of a text" if job.has_texts or job.section.task == "answer" else "of columns alone"
        possible = " and ".join(map(repr, job.possible_rungs))
        raise ConfigError(
            f"{place}.rungs is {list(job.section.rungs or ())}; a {job.section.task!r} {of_what} has {possible}.",
            hint="Correct `rungs` in coterie.toml, or leave it out.",
        )
    if job.section.task == "answer":
        return job  # its models are prompted as they are, and opened when they are asked
    if "encoder" in job.rungs:
        job = replace(job, base=find_base(job.section.base, folder, licence=job.section.base_licence))
    tuned = job.section.task != "generate" or job.section.writes_freely
    if (tuned and "slm" in job.rungs) or job.section.pairs:
        model = tunable_model(job, models)
        job = replace(job, model=model, causal=find_causal_base(str(job.section.model), model, folder))
    if "llm" in job.rungs:
        _check_asked(job)
    return job


def _measures(section: SpecialistSection) -> tuple[str, ...]:
    """What its bar can be about; a draft from a source text is held against a reply only as far as it is like it."""
    return MEASURES["generate"][:1] if section.task == "generate" and section.reads else MEASURES[section.task]


def tunable_model(job: Job, models: Mapping[str, Model]) -> LlamaModel:
    """The model that the section names, if it runs in this process. Raises `ConfigError`."""
    model = models.get(str(job.section.model))
    if isinstance(model, LlamaModel):
        return model
    here = sorted(key for key, each in models.items() if isinstance(each, LlamaModel))
    raise ConfigError(
        f"specialists.{job.name} tunes the model {job.section.model!r}; models that run in this process are {here}.",
        hint='Name one, or add it: [models.NAME] with engine = "llama" and name = "smollm2".',
    )


def _check_asked(job: Job) -> None:
    if job.asked is None:
        raise ConfigError(
            f"specialists.{job.name} is to try rung 'llm', and no model was given for it to ask.",
            hint="Name a key of [models] as its `model`.",
        )
    job.asked.check()

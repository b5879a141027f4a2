"""Every rung of one specialist, trained and measured on rows that are given, with nothing stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from coterie.config.file import Model
from coterie.config.specialists import SpecialistSection
from coterie.learning.asked import AskedModel
from coterie.learning.candidates import Candidate, RungChoice, choose, choose_chain, floor_of, why_floor
from coterie.learning.dataset import Dataset
from coterie.learning.job import Job, TextEncoder, check_job
from coterie.learning.measure import Encoded, encode
from coterie.learning.numerics import one_thread
from coterie.learning.progress import Progress, Silent
from coterie.tasks.contract import task_of
from coterie.tuning.base import Checkpoints


@dataclass(frozen=True, kw_only=True)
class TrainedRungs:
    """A candidate a rung, and which of them is enough."""

    candidates: tuple[Candidate, ...]
    """Cheapest first; always with the lexical floor."""
    choice: RungChoice
    """Made on out-of-fold rows: the held-out ones choose nothing."""
    encoded: Encoded | None
    """Encodings of the training texts, of pairs the hypotheses; None where there are none."""


def train_rungs(
    name: str,
    section: SpecialistSection,
    *,
    train: Dataset,
    held_out: Dataset,
    encoder: TextEncoder,
    progress: Progress | None = None,
    models: Mapping[str, Model] = MappingProxyType({}),
    asked: AskedModel | None = None,
    checkpoints: Checkpoints | None = None,
) -> TrainedRungs:
    """Train each rung of a specialist, without a network and without storing anything.

    Args:
        name: What the specialist is called in messages.
        section: What to train; its `data` and `test` are not read.
        train: Rows to learn from.
        held_out: Rows to measure on; they choose nothing.
        encoder: Makes the texts' vectors.
        progress: Told how far each step is.
        models: What the section's `model` may name: the rung `slm` tunes it.
        asked: What the rung `llm` asks, where the section names it.
        checkpoints: Where fine-tuning keeps its state, to go on from when it is interrupted.

    Raises:
        ConfigError, DataError, ExtraMissing, ModelMissing: it cannot be trained.
        EgressRefused, EngineError, Overloaded: the model of the rung `llm` could not be asked.
    """
    job = Job(
        name=name,
        task=task_of(section),
        section=section,
        train=train,
        held_out=held_out,
        encoder=encoder,
        progress=progress or Silent(),
        asked=asked,
        checkpoints=checkpoints,
    )
    job = check_job(job, Path(), models)
    with one_thread():
        return fit_rungs(job)


def possible_rungs(section: SpecialistSection, train: Dataset) -> Sequence[str]:
    """The rungs that rows like these can climb, cheapest first, whatever the section asks for."""
    return task_of(section).possible_rungs(section, train)


def fit_rungs(job: Job[SpecialistSection]) -> TrainedRungs:
    """Train every rung of a job and choose one."""
    task = task_of(job.section)
    encoded = encode(job, task.texts(job), "encode") if job.has_texts else None
    candidates = task.fit(job, encoded)
    possible = [each for each in candidates if each.rung in job.rungs]
    choice = choose_chain(candidates) or choose(possible or candidates, job.bar)
    if (floor := floor_of(candidates, choice.candidate)) is not None:
        choice = RungChoice(candidate=floor, reason=why_floor(floor, choice.candidate))
    return TrainedRungs(candidates=tuple(candidates), choice=choice, encoded=encoded)

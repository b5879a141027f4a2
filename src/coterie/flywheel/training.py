"""Train a specialist for a job from its captured calls, and load a version of one.

Rows are inputs with their answers: a person's label where there is one, else feedback, else the teacher's answer. The
audit slice is left out, whoever labelled it. Which examples a version saw is written down. Closed sets of answers and
typed questions are trained, as `classify`; a job of JSON objects or free text is shown, and people train for it.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from coterie.config.file import Config
from coterie.config.specialists import TASKS, SpecialistSection
from coterie.errors import ArtefactRefused
from coterie.flywheel.deployments import KnownJob
from coterie.flywheel.discovery import fold
from coterie.flywheel.gates import is_audit
from coterie.learning.job import TextEncoder
from coterie.protocols import Engine, Specialist
from coterie.registry.registry import Registry
from coterie.runtime.codec import parse_json
from coterie.runtime.files import write_bytes
from coterie.tasks.loading import load_specialist
from coterie.training.train import TrainedSpecialist, train_candidate
from coterie.types import CapturedExample, GivenLabel, LabelOrigin

ROWS_FOLDER = Path("state", "flywheel")
"""Below a network's folder: a file of rows a job, what its last version was trained on."""
_FEWEST = 3
"""Rows of a label; with fewer an answer is taken for a slip of the teacher."""
_ORDER: Mapping[LabelOrigin, int] = {"teacher": 0, "feedback": 1, "person": 2}


@dataclass(frozen=True, kw_only=True)
class JobRows:
    """What a specialist of a job can be trained on."""

    rows: tuple[tuple[str, str], ...]
    """Input and label."""
    examples: tuple[str, ...]
    """Ids of the examples that they are of."""
    origins: Mapping[str, int]
    """Rows by who says the label."""
    left_out: int
    """Examples of the audit slice."""


def rows_of(
    job: KnownJob, examples: Iterable[CapturedExample], labels: Iterable[GivenLabel], *, audit_share: float
) -> JobRows:
    """Return the training rows of a job.

    Args:
        job: The job.
        examples: Its captured calls; what a deployment answered is no row, since it would learn from itself.
        labels: What people and feedback say.
        audit_share: Share of examples that are left out.
    """
    said: dict[str, tuple[int, str]] = {}
    for label in labels:
        rank = _ORDER[label.origin]
        if label.value is not None and rank >= said.get(label.example, (0, ""))[0]:
            said[label.example] = rank, label.value
    found: dict[str, tuple[str, str, LabelOrigin]] = {}
    left_out = 0
    for each in examples:
        if is_audit(each.id, audit_share):
            left_out += 1
            continue
        rank, value = said.get(each.id, (0, ""))
        if not rank and (each.failed or each.by_specialist):
            continue
        spelled = job.labels.get(fold(value or each.answer))
        if spelled is not None and each.input.strip():
            origin = next(name for name, order in _ORDER.items() if order == rank)
            found[each.id] = each.input, spelled, origin
    counts = Counter(label for _, label, _ in found.values())
    kept = {key: row for key, row in found.items() if counts[row[1]] >= _FEWEST}
    return JobRows(
        rows=tuple((text, label) for text, label, _ in kept.values()),
        examples=tuple(kept),
        origins=dict(Counter(origin for _, _, origin in kept.values())),
        left_out=left_out,
    )


def section_of_job(job: KnownJob) -> SpecialistSection:
    """Return the section that the specialist of a job has, which stands in no file."""
    data = (ROWS_FOLDER / f"{job.name}.jsonl").as_posix()
    first = next((template.piece for template in job.templates if template.piece), job.name)
    described = " ".join(first.split())[:200]
    section = TASKS.check({"task": "classify", "description": described, "data": data})
    if not isinstance(section, SpecialistSection):
        raise TypeError(type(section).__name__)
    return section


def train_job(
    folder: Path, config: Config, job: KnownJob, rows: JobRows, *, encoder: TextEncoder | None = None
) -> TrainedSpecialist:
    """Train a version of a job's specialist; it is the candidate in the registry, and serves nobody.

    Raises:
        DataError: the rows cannot be trained on.
        SetupError: it cannot be stored.
    """
    path = folder / ROWS_FOLDER / f"{job.name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"text": text, "label": label}, ensure_ascii=True) for text, label in rows.rows)
    write_bytes(path, "".join(f"{line}\n" for line in lines).encode())
    return train_candidate(folder, config, job.name, section_of_job(job), encoder=encoder)


async def load_version(
    registry: Registry, config: Config, job: KnownJob, version: str, *, encoder: Engine, encoder_sha256: str
) -> Specialist:
    """Return the specialist of a version.

    Raises:
        ArtefactRefused: it is damaged, gone, or of another encoder.
    """

    def load() -> Specialist:
        stored = registry.load(job.name, version)
        made_with = stored.report.get("encoder_sha256", encoder_sha256)
        if made_with != encoder_sha256:
            raise ArtefactRefused(
                f"Version {version} of {job.name!r} was trained with another encoder.",
                hint=f"Train it again: coterie retrain {job.name}",
            )
        described = parse_json(stored.files["model.json"])
        section = section_of_job(job)
        if described.get("task") != section.task:
            raise ArtefactRefused(f"Version {version} of {job.name!r} is of the task {described.get('task')!r}.")
        return load_specialist(
            job.name, section, stored, encoder=encoder, models={}, data_label=config.network.default_label
        )

    return await asyncio.to_thread(load)

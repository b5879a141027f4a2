"""Training specialists of a network, one after the other, into its registry."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coterie.config import Config, SpecialistSection, load_config
from coterie.data import Dataset, compare_datasets, read_dataset, split_dataset
from coterie.engines import OnnxEncoder
from coterie.errors import ConfigError, NotTrained, UnknownSpecialist
from coterie.registry import REGISTRY_FOLDER, Registry, write_card
from coterie.routing import PROFILE_FILE, Profile, hint_texts, make_profile

from ._candidates import Choice, choose
from ._classify import train_classify
from ._generate import train_generate
from ._job import Job
from ._measure import encode
from ._progress import Progress, Silent
from ._score import train_score

HELD_OUT = 0.2  # share of the rows held out when there is no test file


@dataclass(frozen=True, kw_only=True)
class TrainedSpecialist:
    """One specialist's new version and how it came about."""

    name: str
    version: str
    promoted: bool
    report: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """What one call of `train` did."""

    specialists: Mapping[str, TrainedSpecialist]
    seconds: float

    def to_json(self) -> dict[str, object]:
        """The shape that `coterie train --json` prints."""
        return {
            "specialists": {
                name: {"version": trained.version, "promoted": trained.promoted, **trained.report}
                for name, trained in self.specialists.items()
            },
            "seconds": round(self.seconds, 1),
        }


def train(folder: Path | str, names: Sequence[str] = (), *, progress: Progress | None = None) -> TrainingReport:
    """Train specialists of a network and make the new versions its champions.

    A version that misses its bar replaces a champion only if there is none yet; the report says so. The router needs
    no training of its own: it reads the champions' profiles whenever the network is opened.

    Args:
        folder: The network's folder.
        names: Which specialists; all of them when empty.
        progress: Told how far each step is.

    Raises:
        ConfigError, UnknownSpecialist, DataError: what is asked for cannot be trained; nothing has changed.
    """
    folder, start = Path(folder), time.perf_counter()
    config = load_config(folder)
    sections = _sections(config, names)
    encoder = OnnxEncoder.bundled(threads=2)
    registry = Registry(folder / REGISTRY_FOLDER)
    # Every file is read before anything is trained: a typo in the last one does not cost the time of the first.
    jobs = [_job(name, section, folder, encoder, progress or Silent()) for name, section in sections.items()]
    trained = {job.name: _train_one(job, config, folder, registry) for job in jobs}
    return TrainingReport(specialists=trained, seconds=time.perf_counter() - start)


def _sections(config: Config, names: Sequence[str]) -> dict[str, SpecialistSection]:
    if not config.specialists:
        raise ConfigError(
            "This network has no specialists to train.",
            hint="Add one: coterie add NAME --task classify --data FILE",
        )
    unknown = [name for name in names if name not in config.specialists]
    if unknown:
        raise UnknownSpecialist(
            f"Asked to train {', '.join(map(repr, unknown))}; this network has {sorted(config.specialists)}.",
            hint="Use one of these names, or none to train all.",
        )
    return {name: config.specialists[name] for name in names or config.specialists}


def _job(name: str, section: SpecialistSection, folder: Path, encoder: OnnxEncoder, progress: Progress) -> Job:
    """Read and check a specialist's data."""
    data = _read(section, folder, section.data or "", for_evaluation=False)
    if section.task == "generate" or (section.task == "score" and section.test is None):
        # A text to repeat has nothing to hold out; a score without a test file is cross-validated on every row.
        return Job(name=name, section=section, train=data, held_out=data, encoder=encoder, progress=progress)
    if section.test is None:
        train_rows, held_out = split_dataset(data, held_out=HELD_OUT, seed=section.seed)
    else:
        train_rows, held_out = data, _read(section, folder, section.test, for_evaluation=True)
    return Job(name=name, section=section, train=train_rows, held_out=held_out, encoder=encoder, progress=progress)


def _read(section: SpecialistSection, folder: Path, file: str, *, for_evaluation: bool) -> Dataset:
    return read_dataset(
        folder / file,
        task=section.task,
        text_column=section.text_column,
        label_column=section.label_column,
        group_column=section.group_column,
        multi_label=section.multi_label,
        for_evaluation=for_evaluation,
    )


def _train_one(job: Job, config: Config, folder: Path, registry: Registry) -> TrainedSpecialist:
    """Train every rung, choose one, store it with report, card and profile, promote it if it may be."""
    if job.section.task == "generate":
        return _stored(job, registry, *train_generate(job, config, folder), profile=None)
    vectors = encode(job, job.train.texts, "encode") if job.section.task == "classify" else np.empty((0, job.encoder.dimension))
    candidates = train_classify(job, vectors) if job.section.task == "classify" else train_score(job)
    choice = choose(candidates, job.bar)
    report = _report(job, choice, [candidate.row() for candidate in candidates])
    return _stored(job, registry, choice.candidate.files, report, profile=_profile(job, vectors))


def _profile(job: Job, vectors: np.ndarray) -> Profile | None:
    """What the router learns of it; None when it takes columns only and is found by their names."""
    if job.section.task == "score":
        return None
    hints = hint_texts(job.section.description, job.train.label_names)
    return make_profile(
        vectors,
        [row.labels[0] if row.labels else "" for row in job.train.rows],
        [row.group for row in job.train.rows],
        hints=job.encoder.encode(hints).reshape(-1, job.encoder.dimension),
        hint_texts=hints,
        seed=job.section.seed,
    )


def _report(job: Job, choice: Choice, rows: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """The version's `report.json`. Nothing in it depends on when or where it was trained, but the times."""
    metrics = choice.candidate.evaluation.to_json()
    measured = metrics.get(job.quality)
    return {
        "name": job.name,
        "task": job.section.task,
        "description": job.section.description,
        "rung": choice.candidate.rung,
        "reason": choice.reason,
        "bar": dict(job.section.bar),
        "bar_met": None if job.bar is None else isinstance(measured, float) and measured >= job.bar,
        "metrics": metrics,
        "rungs": list(rows),
        "seed": job.section.seed,
        "data": {
            "train": {"file": job.train.name, "sha256": job.train.sha256, "rows": len(job.train)},
            "held_out": {"file": job.held_out.name, "sha256": job.held_out.sha256, "rows": len(job.held_out)},
        },
        "encoder_sha256": job.encoder.sha256,
        "labels": len(job.train.label_names),
        "warnings": [*job.train.warnings, *compare_datasets(job.train, job.held_out)],
    }


def _stored(
    job: Job, registry: Registry, files: Mapping[str, bytes], report: Mapping[str, object], *, profile: Profile | None
) -> TrainedSpecialist:
    extra = {"report.json": json.dumps(report, indent=1, ensure_ascii=False).encode(), "card.md": write_card(report).encode()}
    if profile is not None:
        extra[PROFILE_FILE] = profile.to_bytes()
    version = registry.add(job.name, {**files, **extra})
    promote = report.get("bar_met") is not False or not _has_champion(registry, job.name)
    if promote:
        registry.promote(job.name, version)
    return TrainedSpecialist(name=job.name, version=version, promoted=promote, report=report)


def _has_champion(registry: Registry, name: str) -> bool:
    try:
        registry.champion(name)
    except NotTrained:
        return False
    return True

"""Train a specialist for a job from its captured calls, and load a version of one.

Rows are inputs with their answers: a person's label where there is one, else feedback, else the teacher's answer. The
audit slice is left out, whoever labelled it. Which examples a version saw is written down. Closed sets of answers and
typed questions are trained, as `classify`, and JSON objects of closed fields and lists of labels, as one `classify` a
field; numbers and free text are shown, and people train for them.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np

from coterie.config.file import Config
from coterie.config.operation import ROWS_FOLDER
from coterie.config.specialists import TASKS, SpecialistSection
from coterie.errors import ArtefactRefused, CoterieError
from coterie.flywheel.deployments import Deployment, KnownJob
from coterie.flywheel.discovery import FEWEST, fold
from coterie.flywheel.fields import (
    CONSTANT,
    ClosedFields,
    FieldsSpecialist,
    ListForm,
    keys_of,
    labels_of,
    object_of,
    values_of,
)
from coterie.flywheel.gates import is_audit
from coterie.learning.job import TextEncoder
from coterie.policy.acceptance import CalibrationOutcomes
from coterie.protocols import Engine, Specialist
from coterie.registry.registry import Registry, open_registry
from coterie.runtime.codec import parse_json
from coterie.runtime.files import write_bytes
from coterie.tasks.loading import load_specialist
from coterie.training.train import TrainedSpecialist, train_candidate
from coterie.types import CapturedExample, GivenLabel, LabelOrigin

TRAINABLE = frozenset({"labels", "lists", "json"})
"""Shapes of answers that a specialist is trained for."""
_ORDER: Mapping[LabelOrigin, int] = {"teacher": 0, "feedback": 1, "person": 2}


@dataclass(frozen=True, kw_only=True)
class JobRows:
    """The training rows of a job's specialist."""

    rows: tuple[tuple[str, str], ...]
    """Input and label of each row."""
    examples: tuple[str, ...]
    """Ids of the rows' examples."""
    origins: Mapping[str, int]
    """Number of rows by source of the label."""
    left_out: int
    """Number of examples in the audit slice."""
    open_fields: tuple[str, ...] = ()
    """For JSON objects: fields whose values are no closed set, so that nothing can be trained."""
    formed: frozenset[str] = frozenset()
    """Answers of the job, folded: those of any call that are made of labels or values that rows have."""
    lists: Mapping[str, ListForm] = field(default_factory=dict)
    """Fields whose values are lists of labels."""

    def of_field(self, key: str, keys: Sequence[str]) -> list[tuple[str, str | tuple[str, ...]]]:
        """Input and JSON text of one field's value, or of the labels in it, of rows whose labels have these fields."""
        values = [(text, (values_of(label, keys) or {})[key]) for text, label in self.rows]
        if key not in self.lists:
            return [*values]
        return [(text, labels_of(value) or ()) for text, value in values]


def rows_of(
    job: KnownJob, examples: Iterable[CapturedExample], labels: Iterable[GivenLabel], *, audit_share: float
) -> JobRows:
    """Return the training rows of a job.

    Args:
        job: The job.
        examples: Its captured calls; answers of a deployment are no rows, since it would learn from itself.
        labels: Labels of people and feedback.
        audit_share: Share of examples that are left out.
    """
    labels_by_example: dict[str, tuple[int, str]] = {}
    for label in labels:
        rank = _ORDER[label.origin]
        if label.value is not None and rank >= labels_by_example.get(label.example, (0, ""))[0]:
            labels_by_example[label.example] = rank, label.value
    labelled: dict[str, tuple[str, str, LabelOrigin]] = {}
    left_out = 0
    for example in examples:
        if is_audit(example.id, audit_share):
            left_out += 1
            continue
        rank, value = labels_by_example.get(example.id, (0, ""))
        if not rank and (example.failed or example.by_specialist):
            continue
        spelled = _spelled(job, value or example.answer)
        if spelled is not None and example.input.strip():
            origin = next(name for name, order in _ORDER.items() if order == rank)
            labelled[example.id] = example.input, spelled, origin
    closed = None
    if keys := keys_of(job.shape, job.labels):
        objects = {key: values_of(label, keys) or {} for key, (_, label, _) in labelled.items()}
        closed = ClosedFields.of(list(objects.values()), keys)
        whole = {key: closed.row(values) for key, values in objects.items()}
        kept = {
            key: (labelled[key][0], object_of(row), labelled[key][2]) for key, row in whole.items() if row is not None
        }
        answers = {example.answer for example in examples if not example.failed}
        formed = {fold(answer) for answer in answers if closed.row(values_of(answer, keys)) is not None}
    else:
        counts = Counter(label for _, label, _ in labelled.values())
        kept = {key: row for key, row in labelled.items() if counts[row[1]] >= FEWEST}
        formed = set(job.labels)
    return JobRows(
        rows=tuple((text, label) for text, label, _ in kept.values()),
        examples=tuple(kept),
        origins=dict(Counter(origin for _, _, origin in kept.values())),
        left_out=left_out,
        open_fields=closed.open_fields if closed else (),
        formed=frozenset(formed),
        lists=closed.lists if closed else {},
    )


def _spelled(job: KnownJob, answer: str) -> str | None:
    """Return an answer as a training row's label; None if it is none of the job's."""
    if keys := keys_of(job.shape, job.labels):
        return answer if values_of(answer, keys) is not None else None
    return job.labels.get(fold(answer))


def field_name(job: KnownJob, key: str) -> str:
    """Return the name, in the registry, of the specialist of a field."""
    short = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")[:20]
    return f"{job.name[:40].strip('-')}-{short or 'field'}-{blake2b(key.encode(), digest_size=2).hexdigest()}"


def section_of_job(job: KnownJob, name: str = "", *, several: bool = False) -> SpecialistSection:
    """Return the section of a job's specialist, or of the specialist of one field; it is in no file."""
    data = (ROWS_FOLDER / f"{name or job.name}.jsonl").as_posix()
    first = next((template.piece for template in job.templates if template.piece), job.name)
    described = " ".join(first.split())[:200]
    # What decides is how much it answers. Of few rows the cheaper rung may seem as good, and saves next to nothing
    # beside a call to a large model.
    form = {"rungs": ["embedding"], "cross_validate": True, "multi_label": several}
    section = TASKS.check({"task": "classify", "description": described, "data": data, **form})
    if not isinstance(section, SpecialistSection):
        raise TypeError(type(section).__name__)
    return section


def train_job(
    folder: Path, config: Config, job: KnownJob, rows: JobRows, *, encoder: TextEncoder | None = None
) -> TrainedSpecialist:
    """Train a version of a job's specialist; the version is a candidate in the registry and does not serve.

    Raises:
        DataError: the rows cannot be trained on.
        SetupError: it cannot be stored.
    """
    if not (keys := keys_of(job.shape, job.labels)):
        return _train_rows(folder, config, section_of_job(job), rows.rows, name=job.name, encoder=encoder)
    versions, rungs = {}, []
    for key in keys:
        name, some = field_name(job, key), rows.of_field(key, keys)
        if len({value for _, value in some}) == 1:
            versions[key] = CONSTANT + (values_of(rows.rows[0][1], keys) or {})[key]
            continue
        section = section_of_job(job, name, several=key in rows.lists)
        made = _train_rows(folder, config, section, some, name=name, encoder=encoder)
        versions[key] = made.version
        rungs.append(str(made.report.get("rung")))
    made_of = repr((sorted(versions.items()), sorted(rows.lists.items())) if rows.lists else sorted(versions.items()))
    digest = blake2b(made_of.encode(), digest_size=8).hexdigest()
    return TrainedSpecialist(
        name=job.name, version=digest, promoted=False, report={"rung": ", ".join(rungs), "fields": versions}
    )


def _train_rows(
    folder: Path,
    config: Config,
    section: SpecialistSection,
    rows: Sequence[tuple[str, str | tuple[str, ...]]],
    *,
    name: str,
    encoder: TextEncoder | None,
) -> TrainedSpecialist:
    path = folder / ROWS_FOLDER / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps({"text": text, "label": label}, ensure_ascii=True) for text, label in rows)
    try:
        write_bytes(path, "".join(f"{line}\n" for line in lines).encode())
        return train_candidate(folder, config, name, section, encoder=encoder)
    finally:  # captured texts are kept in the store alone, which erases and forgets them
        path.unlink(missing_ok=True)


def parts_of(job: KnownJob, version: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of a deployment, by the name of their specialist in the registry."""
    if not fields:
        return {job.name: version}
    return {
        field_name(job, key): version_id for key, version_id in fields.items() if not version_id.startswith(CONSTANT)
    }


def outcomes_of(
    folder: Path, config: Config, job: KnownJob, version: str, fields: Mapping[str, str]
) -> CalibrationOutcomes | None:
    """Return a version's out-of-fold answers to its training rows, in their order; None if none were stored.

    For JSON objects, all fields together: right if each is, with the product of their confidences.
    """
    registry = open_registry(folder, config.registry)
    parts = parts_of(job, version, fields)
    try:
        outcomes = [
            CalibrationOutcomes.from_files(registry.load(name, version_id).files) for name, version_id in parts.items()
        ]
    except (CoterieError, ValueError, LookupError):
        return None
    whole = [outcome for outcome in outcomes if outcome is not None]
    if len(whole) < len(parts) or len({len(outcome.right) for outcome in whole}) != 1:
        return None
    return CalibrationOutcomes(
        confidence=np.prod([outcome.confidence for outcome in whole], axis=0),
        right=np.all([outcome.right for outcome in whole], axis=0),
        group=whole[0].group,
    )


async def load_version(
    registry: Registry, config: Config, job: KnownJob, deployment: Deployment, *, encoder: Engine, encoder_sha256: str
) -> Specialist:
    """Load the specialist of a deployment.

    Raises:
        ArtefactRefused: it is damaged, gone, or of another encoder.
    """

    def load(name: str, version: str) -> Specialist:
        stored = registry.load(name, version)
        made_with = stored.report.get("encoder_sha256", encoder_sha256)
        if made_with != encoder_sha256:
            raise ArtefactRefused(
                f"Version {version} of {name!r} was trained with another encoder.",
                hint=f"Train it again: coterie retrain {job.name}",
            )
        described = parse_json(stored.files["model.json"])
        section = section_of_job(job, name, several=bool(described.get("multi_label")))
        if described.get("task") != section.task:
            raise ArtefactRefused(f"Version {version} of {name!r} is of the task {described.get('task')!r}.")
        return load_specialist(
            name, section, stored, encoder=encoder, models={}, data_label=config.network.default_label
        )

    if not deployment.fields:
        return await asyncio.to_thread(load, job.name, deployment.version)
    constants = {
        key: version_id[1:] for key, version_id in deployment.fields.items() if version_id.startswith(CONSTANT)
    }
    parts = {
        key: await asyncio.to_thread(load, field_name(job, key), version)
        for key, version in deployment.fields.items()
        if key not in constants
    }
    card = replace(next(iter(parts.values())).card, name=job.name, version=deployment.version, options=(), form="text")
    return FieldsSpecialist(
        card=card, parts=parts, keys=tuple(deployment.fields), constants=constants, lists=deployment.lists
    )

"""Stored versions: loaded as specialists, described by their origin and the `report.json` of a choice between rungs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

from safetensors import SafetensorError

from coterie import __version__
from coterie.config.specialists import SpecialistSection
from coterie.errors import ArtefactRefused
from coterie.learning.dataset import Dataset
from coterie.learning.evaluation import pack
from coterie.learning.job import Job, make_card
from coterie.learning.measure import Candidate, RungChoice, bar_met, language_warnings
from coterie.protocols import Engine, FunctionServer, Specialist
from coterie.registry.version import Version
from coterie.runtime.codec import parse_json
from coterie.tasks.contract import Parts, Stored, task_of
from coterie.tuning.base import CausalBase
from coterie.types import Label, Rung, SpecialistCard


def load_specialist(
    name: str,
    section: SpecialistSection,
    version: Version,
    *,
    encoder: Engine,
    models: Mapping[str, Engine],
    data_label: Label = Label.PUBLIC,
    view_tokens: int | None = None,
    windows: Mapping[str, int] = MappingProxyType({}),
    servers: Mapping[str, FunctionServer] = MappingProxyType({}),
) -> Specialist:
    """Return the specialist of a version, with the current settings of the network's file.

    Args:
        name: Its name in the network.
        section: Its section: description, `reads` and `writes` may have changed since training.
        version: Verified files.
        encoder: The network's encoder.
        models: Generative engines by `[models]` key; those of specialists with an adapter hold it by their name.
        view_tokens: Most tokens of its view of the context; None for no limit.
        data_label: Least sensitivity of training texts in a version, where neither section nor version sets a higher
            one.
        windows: Context window of each model: tokens of prompt and answer.
        servers: MCP servers of its section, by their `[mcp]` key.

    Raises:
        ArtefactRefused: the files do not describe such a specialist.
        ConfigError: its model is not among the open ones.
    """
    task = task_of(section)
    try:
        described = parse_json(version.files["model.json"])
        if why_not := task.accepts(section, described):
            raise ArtefactRefused(f"{name!r} {why_not}.", hint=f"Train it again: coterie train {name}")
        card = _card(name, section, version, described, view_tokens)
        stored = Stored(described=described, files=version.files)
        parts = Parts(encoder=encoder, models=models, windows=windows, data_label=data_label, servers=servers)
        return task.load(card, section, stored, parts)
    except (AttributeError, LookupError, TypeError, ValueError, SafetensorError) as error:
        raise _unreadable(version, error) from error


def card_of(
    name: str, section: SpecialistSection, version: Version, *, view_tokens: int | None = None
) -> SpecialistCard:
    """Return the card of a version's specialist without loading it. Raises `ArtefactRefused`."""
    try:
        return _card(name, section, version, parse_json(version.files["model.json"]), view_tokens)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise _unreadable(version, error) from error


def _card(
    name: str, section: SpecialistSection, version: Version, described: Mapping[str, Any], view_tokens: int | None
) -> SpecialistCard:
    columns = tuple(str(column) for column in (*described.get("columns", ()), *described.get("record", ())))
    rung, task = described["rung"], task_of(section)
    card = make_card(
        name,
        task,
        section,
        rung=rung,
        version=version.version,
        columns=columns,
        view_tokens=view_tokens,
        options=task.one_of(section, described),
    )
    fields = described.get("fields", ()) if card.form == "fields" else ()
    return replace(
        card,
        labels=tuple(map(str, described.get("labels", ()))),
        many_labels=bool(described.get("multi_label")),
        fields=tuple((str(field["name"]), str(field["type"])) for field in fields),
    )


def _unreadable(version: Version, error: Exception) -> ArtefactRefused:
    return ArtefactRefused(
        f"Version {version.version} of {version.name!r} cannot be read: {type(error).__name__} {error}.",
        hint=f"Train it again: coterie train {version.name}",
    )


# --- Describes a version: its origin, and the `report.json` of a choice between rungs.

_LIBRARIES = ("numpy", "onnxruntime", "scikit-learn", "scipy", "tokenizers")
"""Libraries that affect a trained number."""


def describe_origin(section: SpecialistSection) -> dict[str, object]:
    """Return the software and the settings that a version was made with."""
    return {
        "seed": section.seed,
        "config": section.model_dump(mode="json", exclude_defaults=True),
        "code_version": __version__,
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def describe_data(data: Dataset, licence: str | None) -> dict[str, object]:
    """Return a file, the rows of it that were used, and its licence."""
    return {
        "file": data.name,
        "sha256": data.sha256,
        "rows": len(data),
        "rows_sha256": _rows_sha256(data),
        "licence": licence,
    }


def describe_base(job: Job[SpecialistSection], rung: Rung) -> Mapping[str, object] | None:
    """Return the model that it is built on; None if it uses columns only."""
    if rung == "slm" and job.causal is not None:
        return describe_causal(job.causal)
    return dict(job.encoder.about) if job.has_texts else None


def describe_causal(base: CausalBase) -> dict[str, object]:
    """Return the model that an adapter belongs to."""
    return {"name": base.name, "source": base.repository, "sha256": base.sha256, "licence": base.licence}


def licence_warnings(job: Job[SpecialistSection]) -> Iterator[str]:
    """Yield a warning if the licence of the data is unknown."""
    if job.section.licence is None and job.section.data is not None:
        yield f"no licence is stated for {job.train.name}: set `licence` of specialists.{job.name} in coterie.toml"
    if job.causal is not None and job.causal.licence is None:
        yield f"no licence is stated for the base {job.causal.name}: set `licence` of models.{job.causal.key}"


def _rows_sha256(data: Dataset) -> str:
    """Return the checksum of the rows themselves, in order: equal where figures are about the same rows."""
    digest = hashlib.sha256()
    for row in data.rows:
        parts: list[object] = [row.text, row.labels, dict(row.columns)]
        if row.fields:
            parts.append({name: [[s.start, s.end, s.value] for s in field.spans] for name, field in row.fields.items()})
        digest.update(json.dumps(parts, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def write_report(job: Job[Any], choice: RungChoice, candidates: Sequence[Candidate]) -> dict[str, object]:
    """Return the version's `report.json`.

    It depends on data, section, seed and installed libraries, never on time or place.
    """
    task, evaluation = task_of(job.section), choice.candidate.evaluation
    metrics = evaluation.to_json()
    return {
        "name": job.name,
        "task": job.section.task,
        "description": job.section.description,
        "rung": choice.candidate.rung,
        **choice.reason.described(),
        "measures": list(job.measures),
        "bar": job.bar,
        "bar_met": bar_met(job.bar, metrics),
        "metrics": metrics,
        "rungs": [candidate.row() for candidate in candidates],
        "data": {
            "train": describe_data(job.train, job.section.licence),
            "held_out": describe_data(choice.candidate.measured or job.held_out, job.section.licence),
        },
        "encoder": job.encoder.about.get("name"),
        "encoder_sha256": job.encoder.sha256,
        "base": describe_base(job, choice.candidate.rung),
        "labels": task.label_count(job.section, job.train),
        "warnings": [
            *job.train.warnings,
            *choice.candidate.warnings,
            *task.doubts(job),
            *licence_warnings(job),
            *language_warnings(job),
        ],
        **describe_origin(job.section),
        "slices": {label: slice_.to_json() for label, slice_ in evaluation.slices.items()},
        "right": pack(evaluation.right),
    }

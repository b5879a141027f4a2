"""What a version says of itself, and whether it may take the champion's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from coterie.data import compare_datasets
from coterie.errors import ArtefactRefused, NotTrained
from coterie.registry import Registry, Version

from ._candidates import Candidate, Choice
from ._job import Job


def write_report(job: Job, choice: Choice, candidates: Sequence[Candidate]) -> dict[str, object]:
    """The version's `report.json`. It depends on data, section and seed alone, never on when or where it was made."""
    metrics = choice.candidate.evaluation.to_json()
    return {
        "name": job.name,
        "task": job.section.task,
        "description": job.section.description,
        "rung": choice.candidate.rung,
        "reason": choice.reason,
        "bar": job.bar,
        "bar_met": _bar_met(job.bar, metrics),
        "metrics": metrics,
        "rungs": [candidate.row() for candidate in candidates],
        "seed": job.section.seed,
        "data": {
            "train": {"file": job.train.name, "sha256": job.train.sha256, "rows": len(job.train)},
            "held_out": {"file": job.held_out.name, "sha256": job.held_out.sha256, "rows": len(job.held_out)},
        },
        "encoder_sha256": job.encoder.sha256,
        "labels": len(job.train.label_names),
        "warnings": [*job.train.warnings, *choice.candidate.warnings, *_doubts(job)],
    }


def _doubts(job: Job) -> tuple[str, ...]:
    """What makes the figures doubtful; nothing where they are cross-validated on the training rows."""
    return () if job.cross_validated else compare_datasets(job.train, job.held_out)


def _bar_met(bar: Mapping[str, float], metrics: Mapping[str, object]) -> bool | None:
    """Whether every measure of the bar is reached on held-out rows; None without a bar."""
    if not bar:
        return None
    return all(_number(metrics.get(measure)) >= least for measure, least in bar.items())


def _number(figure: object) -> float:
    return float(figure) if isinstance(figure, int | float) else -1.0


class Promotion(NamedTuple):
    """Whether a new version serves from now on, and why."""

    allowed: bool
    reason: str


def judge_promotion(registry: Registry, name: str, version: str, report: Mapping[str, object]) -> Promotion:
    """A version that meets its bar, or has none, serves. One that misses it serves only where nothing better does."""
    if report.get("bar_met") is not False:
        return Promotion(allowed=True, reason="it meets its bar" if report.get("bar_met") else "it has no bar to meet")
    try:
        champion = registry.champion(name)
        old = champion.report
    except NotTrained:
        return Promotion(allowed=True, reason="it misses its bar, but there is no other version")
    except ArtefactRefused:
        return Promotion(allowed=True, reason="it misses its bar, but the version that serves is damaged")
    if champion.version == version:
        return Promotion(allowed=True, reason="it misses its bar, and is the version that serves already")
    return _beside(report, old, champion)


def _beside(report: Mapping[str, object], old: Mapping[str, object], champion: Version) -> Promotion:
    """The promotion of a version that misses its bar, beside the champion."""
    figures = _comparable(report, old)
    if figures is None:
        return Promotion(allowed=False, reason=f"it misses its bar, and {champion.version} cannot be compared with it")
    measure, new, before = figures
    words = f"it misses its bar, with {measure} {new:.3f} against {before:.3f} of {champion.version}"
    return Promotion(allowed=new > before, reason=words)


def _comparable(report: Mapping[str, object], old: Mapping[str, object]) -> tuple[str, float, float] | None:
    """The first measure of the bar and its value in both reports, if both were measured on the same rows."""
    bar, figures, before = report.get("bar"), report.get("metrics"), old.get("metrics")
    if not isinstance(bar, Mapping) or not isinstance(figures, Mapping) or not isinstance(before, Mapping):
        return None
    measure = str(next(iter(bar)))
    if _rows(report) != _rows(old) or report.get("seed") != old.get("seed") or before.get(measure) is None:
        return None
    return measure, _number(figures.get(measure)), _number(before.get(measure))


def _rows(report: Mapping[str, object]) -> object:
    """Which rows a report's figures are about."""
    data = report.get("data")
    return data.get("held_out") if isinstance(data, Mapping) else None

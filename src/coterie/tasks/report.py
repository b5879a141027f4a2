"""What a version says of itself: the `report.json` of a choice between rungs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coterie.learning.candidates import Candidate, RungChoice, bar_met
from coterie.learning.job import Job
from coterie.learning.lineage import describe_base, describe_data, describe_origin, licence_warnings
from coterie.learning.measure import language_warnings
from coterie.learning.metrics import pack
from coterie.tasks.contract import task_of


def write_report(job: Job[Any], choice: RungChoice, candidates: Sequence[Candidate]) -> dict[str, object]:
    """The version's `report.json`. It depends on data, section, seed and what is installed, never on when or where."""
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
        "slices": {label: each.to_json() for label, each in evaluation.slices.items()},
        "right": pack(evaluation.right),
    }

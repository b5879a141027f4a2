"""Training a `generate` specialist: its source texts, checked and stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from coterie.config import Config

from ._job import Job


def train_generate(job: Job, config: Config, folder: Path) -> tuple[Mapping[str, bytes], dict[str, object]]:
    """The version's files and its report."""
    sources = {str(row.columns[job.section.reads[0]]): row.text for row in job.train.rows}
    described = {"task": "generate", "rung": "slm", "sources": sources, "instruction": job.section.instruction, "max_tokens": job.section.max_tokens}
    report: dict[str, object] = {"name": job.name, "task": "generate", "description": job.section.description, "rung": "slm",
        "bar": {}, "bar_met": None, "metrics": {}, "rungs": [], "seed": job.section.seed, "warnings": list(job.train.warnings)}
    return {"model.json": json.dumps(described).encode()}, report

"""Train and load one specialist as `coterie flywheel run` does, for the benchmarks beside it."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coterie.config.file import parse_config
from coterie.config.specialists import TASKS
from coterie.engines.onnx import OnnxEncoder
from coterie.policy.cost_quality import CalibrationOutcomes
from coterie.protocols import Specialist
from coterie.registry.registry import open_registry
from coterie.tasks.versions import load_specialist
from coterie.training.train import train_candidate
from coterie.types import SYSTEM, AcceptanceOverride, ContextView, Finding, Label, Reason, Task


@dataclass(frozen=True)
class TrainedSite:
    """A specialist, and what it said of its training rows out of fold."""

    specialist: Specialist
    outcomes: CalibrationOutcomes
    cpu_seconds: float

    async def ask(self, texts: Sequence[str], accepts_from: float | None = None) -> list[Finding]:
        """Its findings, with its own threshold or another one."""
        override = None
        if accepts_from is not None:
            override = AcceptanceOverride(confidence=accepts_from, reason=Reason("flywheel.breaks_even"))
        return [
            await self.specialist.consult(Task(text=text, acceptance_override=override), ContextView(), call=SYSTEM)
            for text in texts
        ]


def train_site(
    rows: Sequence[tuple[str, str]], encoder: OnnxEncoder, *, seed: int = 0, rungs: Sequence[str] | None = None
) -> TrainedSite:
    """Train on all rows, cross-validated, on the rungs that take seconds or on those that are named."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = (json.dumps({"text": text, "label": label}) for text, label in rows)
        (folder / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines))
        settings = {"task": "classify", "data": "rows.jsonl", "cross_validate": True, "seed": seed}
        section = TASKS.check(settings if rungs is None else {**settings, "rungs": list(rungs)})
        config = parse_config("")
        begun = time.process_time()
        made = train_candidate(folder, config, "site", section, encoder=encoder)  # type: ignore[arg-type]
        took = time.process_time() - begun
        version = open_registry(folder, config.registry).load("site", made.version)
        specialist = load_specialist(
            "site",
            section,  # type: ignore[arg-type]
            version,
            encoder=encoder,
            models={},
            data_label=Label.INTERNAL,
        )
        outcomes = CalibrationOutcomes.from_files(version.files)
    if outcomes is None:
        raise LookupError("the version has no calibration outcomes")
    return TrainedSite(specialist, outcomes, took)

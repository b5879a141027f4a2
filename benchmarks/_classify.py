"""Rungs of a text classification measured from (text, label) rows: what intents, few-shot and headlines share."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _data import write_rows
from _specialists import RUNGS, measure_rungs, rung_figures
from coterie.types import Rung

TARGET_RISK = 0.05

Rows = Sequence[tuple[str, str]]
"""(text, label); an empty label is a test row that belongs to none."""


def measure(train: Rows, test: Rows, seed: int, rungs: Sequence[Rung] = RUNGS) -> dict[str, Any]:
    """Rungs trained and asked, in a folder that is gone afterwards."""
    print(f"seed {seed}: {len(train):,} training and {len(test):,} test rows", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        section = {
            "task": "classify",
            "data": str(write_rows(folder / "train.csv", train)),
            "test": str(write_rows(folder / "test.csv", test)),
            "target_risk": TARGET_RISK,
            "seed": seed,
        }
        start = time.perf_counter()
        return rung_figures(measure_rungs(folder, section, rungs)) | {"seconds": time.perf_counter() - start}


def accuracy_by_seed(runs: Mapping[int, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The accuracy of each rung by seed."""
    rungs = [name for name, figures in next(iter(runs.values())).items() if _is_rung(figures)]
    return {rung: {str(seed): run[rung]["accuracy"] for seed, run in runs.items()} for rung in rungs}


def _is_rung(figures: object) -> bool:
    return isinstance(figures, Mapping) and "accuracy" in figures and "training" in figures

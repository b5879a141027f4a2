"""Both rungs of a text classification measured from (text, label) rows: what `intents` and `headlines` share."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _data import write_rows
from _specialists import RUNGS, measure_rungs, rung_figures

TARGET_RISK = 0.05

Rows = Sequence[tuple[str, str]]
"""(text, label); an empty label is a test row that belongs to none."""


def measure(train: Rows, test: Rows, seed: int) -> dict[str, Any]:
    """Both rungs trained and asked, in a folder that is gone afterwards."""
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
        return rung_figures(measure_rungs(folder, section)) | {"seconds": time.perf_counter() - start}


def accuracy_by_seed(runs: Mapping[int, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The accuracy of each rung by seed."""
    return {rung: {str(seed): run[rung]["accuracy"] for seed, run in runs.items()} for rung in RUNGS}

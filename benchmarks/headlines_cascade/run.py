"""Gold-price headlines through a cascade: the specialist, and above it GPT-4-turbo as FrugalGPT published it.

    COTERIE_DATA=FOLDER python benchmarks/headlines_cascade/run.py

GPT-4-turbo's answers are not on record, only how often it was right and what it cost: what goes up to it counts as
right that often, and, beside, as wrong always.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _classify import TARGET_RISK, Rows
from _data import find, headline_rows, thin, write_rows
from _record import Bar, Record, arguments, sha256
from _specialists import Measured, apart, measure_rungs
from coterie.policy.cost_quality import CalibrationOutcomes, find_accept_threshold

CLAIM = "A specialist with GPT-4-turbo above it is more accurate than GPT-4-turbo, at a hundredth of its cost or less."
QUALITIES = (1.0, 1.02, 1.04, 1.06, 1.08)
"""Shares of GPT-4-turbo's quality; above 1 the cascade must be better than it."""
BAR, SHARE = 0.90, 0.01


def published(path: Path) -> dict[str, float]:
    """GPT-4-turbo's point: accuracy on train and test rows, dollars a query on the test rows."""
    with path.open(encoding="utf-8", newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["Method"] == "gpt-4-turbo")
    return {"train": float(row["Train_acc"]), "test": float(row["Test_acc"]), "dollars": float(row["Test_cost"])}


def point(measured: Measured, line: float | None, large: Mapping[str, float]) -> dict[str, Any]:
    """What the cascade comes to on the test rows when answers are kept from a confidence on."""
    right = measured.asked.right.astype(float)
    sure = np.array([finding.confidence for finding in measured.asked.findings])
    kept = sure >= (np.inf if line is None else line)
    expected = np.where(kept, right, large["test"])
    low, high = _interval(expected)
    local = float(measured.asked.figures()["per_1000"]["dollars"])
    cost = local + 1000 * large["dollars"] * float((~kept).mean())
    return {
        "kept": float(kept.mean()),
        "accuracy": float(expected.mean()),
        "interval": [low, high],
        "accuracy if what goes up is always wrong": float(np.where(kept, right, 0.0).mean()),
        "dollars per 1,000": cost,
        "share of gpt-4-turbo's cost": cost / (1000 * large["dollars"]),
    }


def _interval(values: np.ndarray) -> tuple[float, float]:
    random = np.random.default_rng(0)
    means = [values[random.integers(len(values), size=len(values))].mean() for _ in range(1000)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def measure(train: Rows, test: Rows, large: Mapping[str, float], seed: int) -> dict[str, Any]:
    """Train the specialist, set the policy by its calibration outcomes, ask the test rows once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        section = {
            "task": "classify",
            "data": str(write_rows(folder / "train.csv", train)),
            "test": str(write_rows(folder / "test.csv", test)),
            "target_risk": TARGET_RISK,
            "seed": seed,
        }
        measured = measure_rungs(folder, section, ("embedding",))["embedding"]
        judged = CalibrationOutcomes.from_files(measured.version.files)
        assert judged is not None, "versions of classify hold it"  # noqa: S101
        points = {}
        for quality in QUALITIES:
            line = find_accept_threshold(judged, quality=quality, generalist=large["train"])
            promised = {
                "kept from": line.value,
                "expected": line.expected_quality,
                "reason": line.reason and str(line.reason),
            }
            points[f"quality {quality:g}"] = promised | point(measured, line.value, large)
        return {
            "policy": points,
            "cheapest: the specialist alone": point(measured, 0.0, large),
            "largest: gpt-4-turbo alone": point(measured, None, large),
            "random: half each": {"accuracy": (float(measured.asked.right.mean()) + large["test"]) / 2},
            "calibration": {"rows": len(judged.right), "accuracy": float(judged.right.mean())},
        }


def run(record: Record, rows: int | None) -> None:
    """The first seed in full; the policy at 1 is what the bars are about."""
    paths = find("frugalgpt")
    record.data |= {f"frugalgpt/{path.name}": sha256(path) for path in paths}
    train, test = (thin(headline_rows(path), rows) for path in paths[:2])
    large = published(paths[2])
    runs = {str(seed): apart(measure, train, test, large, seed) for seed in record.seeds}
    first = runs[str(record.seeds[0])]
    record.figures |= {"gpt-4-turbo, published": large, "runs": runs}
    whole = first["policy"]["quality 1"]
    record.bars += [
        Bar(what="HEADLINES accuracy through the cascade", measured=whole["accuracy"], limit=BAR),
        Bar(
            what="share of gpt-4-turbo's cost", measured=whole["share of gpt-4-turbo's cost"], limit=SHARE, at_most=True
        ),
    ]


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[0], help="the first one's figures meet the bars or not"
    )
    parser.add_argument("--rows", type=int, help="use so many training and test rows only, to try the script")
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=given.seeds)
    record.notes += [
        "the policy is set by gpt-4-turbo's published accuracy on train rows; what goes up counts by that on test rows",
    ]
    run(record, given.rows)
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()

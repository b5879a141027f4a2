"""Gold-price headlines: a specialist on a CPU against the published points of FrugalGPT and GPT-4-turbo.

    COTERIE_DATA=FOLDER python benchmarks/headlines/run.py

The 5,000 / 5,000 split, the points and their prices are FrugalGPT's own; a text is the headline without `Q: ` and `A:`.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _classify import accuracy_by_seed, measure
from _data import find, headline_rows, thin
from _record import Bar, Record, arguments, sha256
from _specialists import apart

CLAIM = "On a narrow job a specialist on a CPU is more accurate than GPT-4-turbo, at a fraction of its price."
BAR = 0.894
POINTS = {
    "gpt-4-turbo": "gpt-4-turbo",
    "gpt-4o-mini": "gpt-4o-mini",
    "gpt-4o": "gpt-4o-2024-05-13",
    "claude-3.5-sonnet": "claude-3-5-sonnet-20240620",
}
"""Our name of a published point, and its `Method` in FrugalGPT's file."""


def published_points(path: Path) -> dict[str, dict[str, Any]]:
    """Accuracy and dollars per 1,000 queries on the test rows, as FrugalGPT published them."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    single = {name: next(row for row in rows if row["Method"] == method) for name, method in POINTS.items()}
    cascades = [row for row in rows if row["Method"] == "FrugalGPT"]
    best = max(cascades, key=lambda row: float(row["Test_acc"]))
    return {
        "gpt-4-turbo": _point(single.pop("gpt-4-turbo")),
        "frugalgpt, $0.19 per 1,000": _point(min(cascades, key=lambda row: abs(float(row["Test_cost"]) - 0.000192))),
        "frugalgpt, most accurate": _point(best),
        **{name: _point(row) for name, row in single.items()},
    }


def _point(row: Mapping[str, str]) -> dict[str, Any]:
    return {
        "accuracy": float(row["Test_acc"]),
        "dollars_per_1000": 1000 * float(row["Test_cost"]),
        "joules_per_1000": None,
    }


def against(figures: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
    """The specialist beside one published point; the interval is ours alone, the published runs are one number."""
    low, high = figures["intervals"]["accuracy"]
    return {
        "accuracy_gain": figures["accuracy"] - point["accuracy"],
        "interval": [low - point["accuracy"], high - point["accuracy"]],
        "times_cheaper": point["dollars_per_1000"] / figures["per_1000"]["dollars"],
    }


def run(record: Record, rows: int | None) -> None:
    """Measure both rungs for every seed of the record."""
    paths = find("frugalgpt")
    record.data |= {f"frugalgpt/{path.name}": sha256(path) for path in paths}
    train, test = (thin(headline_rows(path), rows) for path in paths[:2])
    runs = {seed: apart(measure, train, test, seed) for seed in record.seeds}
    ours = runs[record.seeds[0]]
    points = published_points(paths[2])
    record.figures |= {
        **ours,
        "accuracy_by_seed": accuracy_by_seed(runs),
        "published": points,
        "against": {name: against(ours["embedding"], point) for name, point in points.items()},
    }
    record.bars.append(Bar(what="HEADLINES accuracy", measured=ours["embedding"]["accuracy"], limit=BAR))


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="the first one's figures are given in full")
    parser.add_argument("--rows", type=int, help="use so many training and test rows only, to try the script")
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=given.seeds)
    run(record, given.rows)
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()

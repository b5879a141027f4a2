"""Contract clauses: which of 41 types a clause of an unseen contract is; both rungs beside the floor.

    python benchmarks/clauses/run.py                  # trains both rungs from examples/lender
    python benchmarks/clauses/run.py --network demo   # measures the champion of a trained lender network

An answer is right if it is one of the types that CUAD's lawyers gave the clause. Intervals draw whole contracts, since
clauses of one contract are alike; those of the product's own report draw clauses and are narrower.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import LENDER
from _lender import add_network, copy_network, ready
from _record import Record, arguments, sha256
from _specialists import Measured, apart, measure_champion, measure_rungs, rung_figures
from coterie.config.file import load_config
from coterie.learning.dataset import Row

CLAIM = "A specialist trained on public contracts names a clause's type in contracts it has never seen."
FILES = ("data/clauses.train.jsonl", "data/clauses.test.jsonl", "data/clauses.split.json")
_DRAWS = 1000


def measure(seed: int) -> dict[str, Any]:
    """Both rungs trained on the lender's section, in a folder that is gone afterwards."""
    section = load_config(LENDER).specialists["clauses"]
    wanted = section.model_dump(include={"task", "label_column", "group_column", "target_risk"})
    files = {"data": str(LENDER / str(section.data)), "test": str(LENDER / str(section.test))}
    with tempfile.TemporaryDirectory() as name:
        measured = measure_rungs(Path(name), {**wanted, **files, "seed": seed})
    return _with_contracts(rung_figures(measured), measured)


def measure_network(network: Path) -> dict[str, Any]:
    """The champion of a trained network, on a copy of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = copy_network(network, Path(name) / "lender", ["clauses"])
        measured = measure_champion(folder, "clauses")
    return _with_contracts({measured.rung: measured.figures()}, {measured.rung: measured})


def _with_contracts(figures: dict[str, Any], measured: Mapping[str, Measured]) -> dict[str, Any]:
    for rung, result in measured.items():
        rows, right = result.asked.rows, result.asked.right
        figures[rung]["intervals"]["accuracy"] = contract_interval(rows, right)
        figures[rung]["recall_by_type"] = recall_by_type(rows, right)
    return figures


def contract_interval(rows: Sequence[Row], right: np.ndarray) -> list[float]:
    """95% bootstrap interval of the accuracy over contracts drawn again with replacement."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(row.group for row in rows))}
    groups = np.array([numbers[row.group] for row in rows])
    hits = np.bincount(groups, weights=right)  # (contracts,)
    sizes = np.bincount(groups)
    drawn = np.random.default_rng(0).integers(len(sizes), size=(_DRAWS, len(sizes)))
    accuracies = hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    return [float(edge) for edge in np.quantile(accuracies, [0.025, 0.975])]


def recall_by_type(rows: Sequence[Row], right: np.ndarray) -> dict[str, list[float]]:
    """For each type, worst first: the share of its clauses that were answered rightly, and how many there are."""
    counts: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    for row, correct in zip(rows, right.tolist(), strict=True):
        counts.update(row.labels)
        hits.update(row.labels if correct else ())
    return {name: [hits[name] / n, n] for name, n in sorted(counts.items(), key=lambda item: hits[item[0]] / item[1])}


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    add_network(parser, default=None)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=() if given.network else (given.seed,))
    record.data = {file: sha256(LENDER / file) for file in FILES}
    if given.network:
        record.figures = measure_network(ready(given.network))
    else:
        record.figures = apart(measure, given.seed)
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()

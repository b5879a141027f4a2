"""Intent detection on the rungs up to a fine-tuned encoder: BANKING77 and CLINC150, full training sets.

    COTERIE_DATA=FOLDER python benchmarks/intents/run.py --rungs lexical embedding encoder

CLINC150's out-of-scope rows are in the test file only, without a label: none is trained on, none chooses a
threshold.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _classify import Rows, accuracy_by_seed, measure
from _data import find, thin
from _record import Bar, Record, arguments, sha256
from _specialists import RUNGS, apart
from coterie.types import Rung

CLAIM = "A specialist trained in minutes on a CPU names the intent, and knows what it was not made for."
BANKING_BAR, CLINC_BAR, AUROC_BAR, RECALL_BAR, ECE_BAR = 0.932, 0.962, 0.975, 0.88, 0.03
MINUTES_BAR = 25  # of training the rung `encoder` on BANKING77


def banking_rows(paths: Sequence[Path]) -> tuple[Rows, Rows]:
    """The official training and test rows."""
    train, test = ([(row["text"], row["category"]) for row in _records(path)] for path in paths)
    return train, test


def _records(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def clinc_rows(paths: Sequence[Path]) -> tuple[Rows, Rows]:
    """The official training rows, and the test rows with the out-of-scope ones behind them, unlabelled."""
    content: dict[str, list[tuple[str, str]]] = json.loads(paths[0].read_text(encoding="utf-8"))
    return content["train"], [*content["test"], *((text, "") for text, _ in content["oos_test"])]


SETS = {"banking77": banking_rows, "clinc150": clinc_rows}


def run_set(record: Record, name: str, rows: int | None, rungs: Sequence[Rung]) -> None:
    """Measure one data set for every seed of the record."""
    paths = find(name)
    record.data |= {f"{name}/{path.name}": sha256(path) for path in paths}
    train, test = (thin(split, rows) for split in SETS[name](paths))
    print(name)
    runs = {seed: apart(measure, train, test, seed, rungs) for seed in record.seeds}
    first = runs[record.seeds[0]]
    record.figures[name] = {**first, "accuracy_by_seed": accuracy_by_seed(runs)}
    for rung in rungs[1:]:
        record.bars += bars(name, rung, first[rung])


def bars(name: str, rung: str, figures: Mapping[str, Any]) -> list[Bar]:
    """What a rung above the floor must reach."""
    ece = Bar(what=f"{name} {rung} ECE", measured=figures["ece"], limit=ECE_BAR, at_most=True)
    if name == "banking77":
        minutes = figures["training"]["seconds"] / 60
        return [
            Bar(what=f"{name} {rung} accuracy", measured=figures["accuracy"], limit=BANKING_BAR),
            Bar(what=f"{name} {rung} training minutes", measured=minutes, limit=MINUTES_BAR, at_most=True),
            ece,
        ]
    return [
        Bar(what=f"{name} {rung} accuracy", measured=figures["accuracy"], limit=CLINC_BAR),
        Bar(what=f"{name} {rung} out-of-scope AUROC", measured=figures["oos_auroc"], limit=AUROC_BAR),
        Bar(what=f"{name} {rung} recall, 95% kept", measured=figures["oos_recall_at_95"], limit=RECALL_BAR),
        ece,
    ]


def keep(record: Record, path: Path, sets: Sequence[str]) -> None:
    """Take over what an earlier run found on these sets."""
    before = json.loads(path.read_text(encoding="utf-8"))
    for name in sets:
        record.figures[name] = before["figures"][name]
        record.data |= {file: digest for file, digest in before["data"].items() if file.startswith(f"{name}/")}
        kept_bars = [bar for bar in before["bars"] if bar["what"].startswith(f"{name} ")]
        record.bars += [Bar(**{key: value for key, value in bar.items() if key != "met"}) for bar in kept_bars]
        record.notes.append(f"{name} was measured on {before['date']} by: {before['command']}")


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="the first one's figures are given in full")
    parser.add_argument("--rows", type=int, help="use so many training and test rows only, to try the script")
    parser.add_argument("--rungs", nargs="+", choices=(*RUNGS, "encoder"), default=list(RUNGS), help="cheapest first")
    parser.add_argument("--keep", action="store_true", help="keep what the result file says of the other set")
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=given.seeds)
    if given.keep:
        keep(record, given.out, [name for name in SETS if name not in given.sets])
    for name in given.sets:
        run_set(record, name, given.rows, given.rungs)
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()

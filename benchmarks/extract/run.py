"""Contract terms: parties, dates, governing law, renewal and notice, found in whole contracts nobody has trained on.

    COTERIE_DATA=FOLDER python benchmarks/extract/run.py                # the test: when all is chosen
    COTERIE_DATA=FOLDER python benchmarks/extract/run.py --validation   # a fifth of the other contracts, to develop on
    COTERIE_DATA=FOLDER python benchmarks/extract/run.py --rungs encoder --keep   # one rung more beside those measured

Every rung is trained through the product, asked about each contract one after the other and judged by
`coterie.learning`. Beside them stands what a person writes in an hour: patterns near key words (`_patterns.py`).
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _cuad import FIELDS, Contract, divide, read_contracts
from _patterns import find_terms

from _data import LENDER, find
from _record import Bar, Record, arguments, sha256
from _specialists import Measured, Steps, apart, held_out, measure_champion, percentiles, rung_report, write_network
from coterie.config.file import load_config
from coterie.tasks.extract.rows import judge
from coterie.training.train import train

CLAIM = "A specialist finds the terms of a contract it has never seen, quotes them, and knows what is not stated."
TARGET_RISK = 0.1
TRUE_ENOUGH = 0.03  # calibration error
RUNGS = ("lexical", "embedding", "encoder")
MODEL = {"small": {"engine": "llama", "name": "smollm2"}}
_SPLIT = "data/clauses.split.json"


def measure(learn: Sequence[Contract], ask: Sequence[Contract], seed: int, rungs: Sequence[str]) -> dict[str, Any]:
    """The patterns and every rung on the same contracts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, contracts in (("train.jsonl", learn), ("test.jsonl", ask)):
            (folder / file).write_text("".join(contract.line() + "\n" for contract in contracts), encoding="utf-8")
        section = {
            "task": "extract",
            "data": "train.jsonl",
            "test": "test.jsonl",
            "group_column": "contract",
            "fields": dict(FIELDS),
            "target_risk": TARGET_RISK,
            "seed": seed,
        }
        asks = {"slm": {"model": "small"}}
        write_network(folder, {rung: {**section, **asks.get(rung, {}), "rungs": [rung]} for rung in rungs}, MODEL)
        trained = train(folder, progress=Steps()).specialists
        measured = {rung: measure_champion(folder, rung, seconds=trained[rung].seconds[rung]) for rung in rungs}
        rows = held_out(folder, load_config(folder).specialists[rungs[0]]).rows
    findings = [find_terms(row.text) for row in rows]
    figures: dict[str, Any] = {"patterns": judge(rows, findings).to_json()}
    for rung, result in measured.items():
        own = rung_report(result.version, rung)
        more = {name: own[name] for name in ("recipe", "windows", "int8", "tuned_on", "held_back") if name in own}
        figures[rung] = result.figures() | {"latency_per_50k_characters_ms": _per_50k(result)} | more
    return figures


def _per_50k(measured: Measured) -> dict[str, Any]:
    """Latency scaled to a contract of 50,000 characters; short texts, whose cost is fixed, are left out."""
    pairs = zip(measured.asked.rows, measured.asked.milliseconds.tolist(), strict=True)
    scaled = [milliseconds * 50_000 / len(row.text) for row, milliseconds in pairs if len(row.text) > 10_000]
    return percentiles(np.array(scaled))


def kept(path: Path, rungs: Sequence[str]) -> dict[str, Any]:
    """Figures of rungs that are not measured now, from the result file; they are of the same contracts."""
    figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
    return {rung: figures[rung] for rung in ("patterns", *RUNGS, "slm") if rung in figures and rung not in rungs}


def summary(figures: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Both F1 of each rung."""
    return {
        rung: {name: rung_figures[name] for name in ("token_f1", "exact_f1")} for rung, rung_figures in figures.items()
    }


def bars(figures: Mapping[str, Any]) -> list[Bar]:
    """The bar of calibration, for each rung that was trained."""
    return [
        Bar(what=f"CUAD {rung} ECE", measured=rung_figures["ece"], limit=TRUE_ENOUGH, at_most=True)
        for rung, rung_figures in figures.items()
        if rung != "patterns"
    ]


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--validation", action="store_true", help="leave the test alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rungs", default=",".join(RUNGS), help="which rungs, separated by commas")
    parser.add_argument("--keep", action="store_true", help="keep what the result file says of other rungs")
    parser.add_argument("--contracts", type=int, help="use so many training and test contracts only, to try the script")
    given = parser.parse_args()
    table, archive = find("cuad")
    contracts = read_contracts(table, archive)
    learn, ask = divide(contracts, LENDER / _SPLIT, validation=given.validation)
    learn, ask = learn[: given.contracts], ask[: given.contracts]
    record = Record(claim=CLAIM, seeds=(given.seed,))
    record.data = {"cuad/" + path.name: sha256(path) for path in (table, archive)} | {_SPLIT: sha256(LENDER / _SPLIT)}
    rungs = tuple(given.rungs.split(","))
    before = kept(given.out, rungs) if given.keep else {}
    figures = before | apart(measure, learn, ask, given.seed, rungs)
    if before:
        record.notes.append(f"measured in an earlier run, on another load: {', '.join(rung for rung in before)}")
    record.figures = {
        "contracts": {"train": len(learn), "asked": len(ask), "part": "validation" if given.validation else "test"},
        "pieces_not_located": sum(contract.lost for contract in contracts),
        "summary": summary(figures),
        **figures,
    }
    if not given.validation and given.contracts is None:
        record.bars = bars(figures)
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()

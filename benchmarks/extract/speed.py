"""How long an `extract` specialist is trained: processor time for 254 and for 500 documents.

    COTERIE_DATA=FOLDER python benchmarks/extract/speed.py
    COTERIE_DATA=FOLDER python benchmarks/extract/speed.py --documents 100 --beside 500

Whole training as `coterie train` does it, with the rungs that need no PyTorch, seven fields, on one thread. Documents
are contracts of CUAD, of which only what is marked is left with so many characters before and behind it: what such a
specialist is given are letters, invoices and leases of some pages. Nothing is measured on them but time, so contracts
of the test are among them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _cuad import FIELDS, Contract, read_contracts

from _data import find
from _record import Bar, Record, arguments, sha256
from _specialists import Steps, write_network
from coterie.training.train import train

CLAIM = "An extract specialist of a few hundred documents is trained in three to four minutes of one core."
BARS = {254: 180.0, 500: 240.0}
"""Seconds by documents: a third of the nine and of the twelve minutes that they once took."""


def cut(contract: Contract, beside: int) -> Contract:
    """What is marked in a contract with so many characters before and behind it: passages, one behind the other."""
    marked = sorted(
        (int(quote["start"]), int(quote["end"])) for quotes in contract.fields.values() for quote in quotes or ()
    )
    passages: list[tuple[int, int]] = [(0, 2 * beside)]
    for start, end in marked:
        first, last = passages[-1]
        if start - beside <= last:
            passages[-1] = (first, max(last, end + beside))
        else:
            passages.append((start - beside, end + beside))
    text, moved = "", list[tuple[int, int, int]]()
    for first, last in passages:
        moved.append((first, last, len(text) - first))
        text += contract.text[first:last] + "\n\n"
    fields = {
        name: None if quotes is None else [_moved(quote, moved) for quote in quotes]
        for name, quotes in contract.fields.items()
    }
    return contract._replace(text=text, fields=fields)


def _moved(marked: Mapping[str, Any], moved: Sequence[tuple[int, int, int]]) -> dict[str, object]:
    by = next(shift for first, last, shift in moved if first <= marked["start"] and marked["end"] <= last)
    return {**marked, "start": marked["start"] + by, "end": marked["end"] + by}


def measure(contracts: Sequence[Contract]) -> dict[str, Any]:
    """Train on some documents; processor time of all threads, and of each rung what the clock says."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "train.jsonl").write_text("".join(contract.line() + "\n" for contract in contracts), encoding="utf-8")
        section = {
            "task": "extract",
            "data": "train.jsonl",
            "group_column": "contract",
            "fields": dict(FIELDS),
            "rungs": ["lexical", "embedding"],
        }
        write_network(folder, {"terms": section}, {})
        clock, spent = time.perf_counter(), time.process_time()
        seconds: Mapping[str, float] = train(folder, progress=Steps()).specialists["terms"].seconds
        return {
            "documents": len(contracts),
            "characters": sum(len(contract.text) for contract in contracts),
            "cpu_seconds": time.process_time() - spent,
            "wall_seconds": time.perf_counter() - clock,
            "rungs": dict(seconds),
        }


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.set_defaults(out=Path(__file__).with_name("speed.json"))
    parser.add_argument("--documents", type=int, nargs="+", default=[254, 500])
    parser.add_argument("--beside", type=int, default=500, help="characters before and behind what is marked")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    table, archive = find("cuad")
    contracts = [cut(contract, given.beside) for contract in read_contracts(table, archive)]
    record = Record(claim=CLAIM, data={"cuad/" + path.name: sha256(path) for path in (table, archive)})
    for count in given.documents:
        figures = measure(contracts[:count])
        record.figures[f"{count} documents"] = figures
        record.bars.append(
            Bar(
                what=f"{count} documents: CPU seconds",
                measured=figures["cpu_seconds"],
                limit=BARS[min(BARS, key=lambda size: abs(size - count))],
                at_most=True,
            )
        )
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()

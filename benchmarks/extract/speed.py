"""How long an `extract` specialist is trained: processor time for 254 and for 500 documents.

    COTERIE_DATA=FOLDER python benchmarks/extract/speed.py
    COTERIE_DATA=FOLDER python benchmarks/extract/speed.py --documents 100 --characters 6000

Whole training as `coterie train` does it, with the rungs that need no PyTorch, seven fields, on one thread. Documents
are contracts of CUAD, cut to so many characters around what is marked in them: what such a specialist is given are
letters, invoices and leases of some pages. Nothing is measured on them but time, so contracts of the test are among
them.
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

CLAIM = "An extract specialist of a few hundred documents is trained in three minutes of one core."
BAR = 180.0  # seconds: a third of the nine minutes that 254 documents once took


def cut(contract: Contract, characters: int) -> Contract:
    """The part of a contract that begins a little before the first thing that is marked, with what is marked in it."""
    places = [each["start"] for found in contract.fields.values() for each in found or ()]
    begin = max(0, min(map(int, places), default=0) - characters // 10)
    text = contract.text[begin : begin + characters]
    fields: dict[str, list[dict[str, object]] | None] = {}
    for name, found in contract.fields.items():
        kept = [
            {**each, "start": int(each["start"]) - begin, "end": int(each["end"]) - begin}
            for each in found or ()
            if begin <= int(each["start"]) and int(each["end"]) <= begin + len(text)
        ]
        fields[name] = kept or None
    return contract._replace(text=text, fields=fields)


def measure(contracts: Sequence[Contract]) -> dict[str, Any]:
    """Train on some documents; processor time of all threads, and of each rung what the clock says."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "train.jsonl").write_text("".join(each.line() + "\n" for each in contracts), encoding="utf-8")
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
            "characters": sum(len(each.text) for each in contracts),
            "cpu_seconds": time.process_time() - spent,
            "wall_seconds": time.perf_counter() - clock,
            "rungs": dict(seconds),
        }


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.set_defaults(out=Path(__file__).with_name("speed.json"))
    parser.add_argument("--documents", type=int, nargs="+", default=[254, 500])
    parser.add_argument("--characters", type=int, default=6_000, help="of a document at most")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    table, archive = find("cuad")
    contracts = [cut(each, given.characters) for each in read_contracts(table, archive)]
    record = Record(claim=CLAIM, data={"cuad/" + path.name: sha256(path) for path in (table, archive)})
    for count in given.documents:
        found = measure(contracts[:count])
        record.figures[f"{count} documents"] = found
        record.bars.append(
            Bar(what=f"{count} documents: CPU seconds", measured=found["cpu_seconds"], limit=BAR, at_most=True)
        )
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()

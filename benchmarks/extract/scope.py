"""Texts of another kind: how many an extractor leaves unread, and how many of its own kind.

    COTERIE_DATA=FOLDER python benchmarks/extract/scope.py

An `extract` specialist of contracts (the marked passages of CUAD's, as in `speed.py`) is asked about contracts that it
has not seen, and about texts that are none: customers' messages, answers on health, Italian requests to a phone, and
agreements of another collection, which are its own kind. Contracts of the test are not read.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _cuad import FIELDS, divide, read_contracts
from speed import cut

from _data import LENDER, find
from _record import Bar, Record, arguments, sha256
from _specialists import Steps, write_network
from coterie.config.file import load_config
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.evaluation import auroc
from coterie.registry.registry import REGISTRY_FOLDER, Registry
from coterie.runtime.concurrency import run
from coterie.tasks.versions import load_specialist
from coterie.training.train import train
from coterie.types import SYSTEM, ContextView, Finding, Task

CLAIM = "An extract specialist leaves texts of another kind unread."
_SPLIT = "data/clauses.split.json"
LEARN, ASK, OTHERS = 90, 60, 60
_LONGEST = 4_000


def others(folder: Path) -> dict[str, list[str]]:
    """Texts of other kinds, and of the same kind from another source."""
    with (folder / "banking77/test.csv").open(encoding="utf-8", newline="") as file:
        messages = [row["text"] for row in csv.DictReader(file)]
    with gzip.open(folder / "medquad/medquad.jsonl.gz", "rt", encoding="utf-8") as lines:
        health = [row["answer"] for row in map(json.loads, lines) if row.get("answer")]
    with gzip.open(folder / "reading/intents/xsid/xsid.jsonl.gz", "rt", encoding="utf-8") as lines:
        italian = [row["text"] for row in map(json.loads, lines) if row["lang"] == "it"]
    agreements = json.loads((folder / "contractnli/dev.json").read_text(encoding="utf-8"))["documents"]
    by_kind = {
        "messages of bank customers": messages,
        "answers on health": health,
        "Italian requests": italian,
        "non-disclosure agreements": [agreement["text"] for agreement in agreements],
    }
    drawn = random.Random(3)  # noqa: S311 - reproducible, not secret
    return {name: [text[:_LONGEST] for text in drawn.sample(texts, OTHERS)] for name, texts in by_kind.items()}


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.set_defaults(out=Path(__file__).with_name("scope.json"))
    given = parser.parse_args()
    table, archive = find("cuad")
    learn, ask = divide(read_contracts(table, archive), LENDER / _SPLIT, validation=True)
    own = [cut(contract, 500).text for contract in ask[:ASK]]
    record = Record(claim=CLAIM, data={"cuad/" + path.name: sha256(path) for path in (table, archive)})
    foreign = others(table.parents[1])
    with tempfile.TemporaryDirectory() as name:
        network_folder = Path(name)
        rows = "".join(cut(contract, 500).line() + "\n" for contract in learn[:LEARN])
        (network_folder / "train.jsonl").write_text(rows, encoding="utf-8")
        section = {"task": "extract", "data": "train.jsonl", "group_column": "contract", "fields": dict(FIELDS)}
        write_network(network_folder, {"terms": {**section, "rungs": ["lexical"], "target_risk": 0.1}}, {})
        train(network_folder, progress=Steps())
        version = Registry(network_folder / REGISTRY_FOLDER).champion("terms")
        encoder = OnnxEncoder.bundled()
        own_section = load_config(network_folder).specialists["terms"]
        specialist = load_specialist("terms", own_section, version, encoder=encoder, models={})

        async def ask_all(texts: Sequence[str]) -> list[Finding]:
            return [await specialist.consult(Task(text=text), ContextView(), call=SYSTEM) for text in texts]

        by_kind = {kind: run(ask_all(texts)) for kind, texts in {"contracts": own, **foreign}.items()}
    scores = {
        kind: np.array([finding.in_scope for finding in kind_findings], dtype=float)
        for kind, kind_findings in by_kind.items()
    }
    for kind, findings in by_kind.items():
        record.figures[kind] = {
            "texts": len(findings),
            "out_of_scope": float(np.mean([finding.reason.code == "abstain.out_of_scope" for finding in findings])),
            "some_field_accepted": float(np.mean([finding.accepted for finding in findings])),
            "auroc_beside_contracts": float(
                auroc(np.concatenate([scores["contracts"], scores[kind]]), [1] * len(own) + [0] * len(findings))
            ),
        }
    record.bars = [
        Bar(
            what="contracts left unread",
            measured=record.figures["contracts"]["out_of_scope"],
            limit=0.05,
            at_most=True,
        )
    ]
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()

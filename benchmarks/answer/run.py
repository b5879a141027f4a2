"""Grounded answers about contracts nobody has trained on: right citations, and silence where nothing is stated.

    COTERIE_DATA=FOLDER python benchmarks/answer/run.py                # the test: touched once, when all is chosen
    COTERIE_DATA=FOLDER python benchmarks/answer/run.py --validation   # other contracts and wordings, to develop on

CUAD's contracts stand in one index. A specialist is trained through the product on questions about training contracts,
a question a clause type, and asked about each test contract by name: in the words that it was trained with, and in
words that it has never seen. A question is answerable where the lawyers found such a clause, and a citation is
right where it overlaps what they marked.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _cuad import Contract, ask, cut, divide, read_contracts

from _data import LENDER, find
from _record import Bar, Record, arguments, sha256
from _specialists import Steps, apart, percentiles, write_network
from coterie.config.file import load_config
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.dataset import Row
from coterie.learning.measure import consult_rows
from coterie.registry.registry import open_registry
from coterie.tasks.answer.rows import judge, judge_answers, look_up_with, read_rows
from coterie.tasks.versions import load_specialist
from coterie.testing import FakeRetriever
from coterie.training.train import train
from coterie.types import Finding, Label, Output, Prompt

CLAIM = (
    "Asked about a contract it has never seen, a specialist cites the clause that answers, or says that there is none."
)
TARGET_RISK = 0.1
PASSAGES = 100
"""Most contracts are read whole."""
_SPLIT = "data/clauses.split.json"
_LEARN, _LEARN_TOO, _VALIDATE, _TEST = range(4)
CONTRACTS = 200
"""Training contracts."""
_TIMED = 50
"""Every so manieth question is timed, with nothing remembered."""


def measure(
    learn: Sequence[Contract], contracts: Sequence[Contract], wording: int, seed: int, rungs: Sequence[str]
) -> dict[str, Any]:
    """Every rung trained on the same questions and asked the same, in words seen in training and in new ones."""
    index = FakeRetriever(
        [passage for contract in (*learn, *contracts) for passage in cut(contract.name, contract.text)]
    )
    indexes, texts = {"contracts": index}, {contract.name: contract.text for contract in contracts}
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_questions(folder / "train.jsonl", learn_rows(learn))
        write_questions(folder / "few.jsonl", learn_rows(learn[:1]))  # the test is asked below, once
        write_questions(folder / "seen.jsonl", ask(contracts, _LEARN))
        write_questions(folder / "new.jsonl", ask(contracts, wording))
        sections = {rung: {**_section(seed), "rungs": [rung]} for rung in rungs}
        write_network(folder, sections, knowledge={"contracts": {"label": "public"}})
        report = train(folder, progress=Steps(), indexes=indexes).to_json()["specialists"]
        for rung in rungs:
            encoder = Remembering(OnnxEncoder.bundled(threads=2))
            figures[rung] = {
                "training": report[rung]["rungs"][0] | {"seconds": None},
                **{
                    words: asked(folder, rung, encoder, folder / f"{words}.jsonl", indexes, texts)
                    for words in ("seen", "new")
                },
            }
            asyncio.run(encoder.close())
    return figures


def _section(seed: int) -> dict[str, Any]:
    return {
        "task": "answer",
        "description": "Questions about what a contract says.",
        "data": "train.jsonl",
        "test": "few.jsonl",
        "knowledge": ["contracts"],
        "passages": PASSAGES,
        "target_risk": TARGET_RISK,
        "seed": seed,
    }


def learn_rows(contracts: Sequence[Contract]) -> list[dict[str, object]]:
    """Each contract is asked every question once, in one of the two wordings that are for learning."""
    rows = []
    for number, contract in enumerate(contracts):
        pairs = zip(ask([contract], _LEARN), ask([contract], _LEARN_TOO), strict=True)
        rows += [pair[(number + index) % 2] for index, pair in enumerate(pairs)]
    return rows


def write_questions(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """A specialist's `data`."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def quoted(rows: Sequence[Row], texts: Mapping[str, str]) -> list[Row]:
    """The rows with the words at their places, which the F1 is of."""
    return [
        replace(row, labels=tuple(texts[str(row.columns["document"])][start:end] for start, end in row.evidence))
        for row in rows
    ]


def asked(  # noqa: PLR0917 - whom, what, and of what
    folder: Path,
    name: str,
    encoder: Remembering,
    file: Path,
    indexes: Mapping[str, Any],
    texts: Mapping[str, str],
) -> dict[str, Any]:
    """The champion's findings, one question after the other through `consult`."""
    config = load_config(folder)
    section = config.specialists[name]
    rows = quoted(read_rows(section, file, for_evaluation=True).rows, texts)
    version = open_registry(folder, config.registry).champion(name)
    specialist = load_specialist(name, section, version, encoder=encoder, models={})
    look_up, milliseconds = look_up_with(indexes, specialist.card), []

    async def every() -> list[Finding]:
        findings = []
        for number, row in enumerate(rows):
            encoder.forgets = number % _TIMED == 0
            start = time.perf_counter()
            findings += await consult_rows(specialist, [row], look_up=look_up, label=Label.PUBLIC)
            if encoder.forgets:
                milliseconds.append(1000 * (time.perf_counter() - start))
        return findings

    findings = asyncio.run(every())
    judged = judge(rows, findings)
    stated = np.array([bool(row.evidence) for row in rows])
    return {
        **{key: value for key, value in judged.to_json().items() if value is not None and key != "confusions"},
        "answerable": int(stated.sum()),
        "answers_given": int(sum(bool(f.accepted and f.citations) for f in findings)),
        "latency_ms": percentiles(np.array(milliseconds)),
        "by_confidence": by_confidence(rows, findings),
    }


class Remembering:
    """The encoder, which encodes each text once: questions about one contract see the same sentences."""

    def __init__(self, encoder: OnnxEncoder) -> None:
        self.name, self.clearance, self.encoder = encoder.name, encoder.clearance, encoder
        self.forgets = False
        """Encode everything anew: this question is timed."""
        self._known: dict[str, Output] = {}

    async def run(self, batch: Sequence[Prompt], *, call: object = None) -> Sequence[Output]:
        """One output a prompt."""
        new = [prompt for prompt in batch if self.forgets or prompt.text not in self._known]
        if new:
            self._known |= dict(zip([prompt.text for prompt in new], await self.encoder.run(new), strict=True))
        return [self._known[prompt.text] for prompt in batch]

    async def close(self) -> None:
        """Close the encoder."""
        await self.encoder.close()


def by_confidence(rows: Sequence[Any], findings: Sequence[Finding]) -> list[dict[str, float]]:
    """What other thresholds would have meant: the confidence, coverage of the answerable and citations right."""
    table = []
    for least in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95):
        taken = [replace(f, accepted=bool(f.citations) and f.confidence >= least) for f in findings]
        judged = judge_answers(rows, taken).figures
        table.append(
            {"confidence": least}
            | {key: judged[key] for key in ("coverage", "citation_precision", "unanswerable_recall", "token_f1")}
        )
    return table


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument("--validation", action="store_true", help="leave the test alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rungs", default="lexical,embedding", help="which rungs, separated by commas")
    parser.add_argument("--contracts", type=int, default=CONTRACTS, help="training contracts, at most")
    parser.add_argument("--asked", type=int, help="ask about so many contracts only, to try the script")
    given = parser.parse_args()
    table, archive = find("cuad")
    contracts = read_contracts(table, archive)
    learn, validation, test = divide(contracts, LENDER / _SPLIT)
    chosen, wording = (validation, _VALIDATE) if given.validation else (test, _TEST)
    learn, chosen = learn[: given.contracts], chosen[: given.asked]
    record = Record(claim=CLAIM, seeds=(given.seed,))
    record.data = {"cuad/" + path.name: sha256(path) for path in (table, archive)} | {_SPLIT: sha256(LENDER / _SPLIT)}
    figures = apart(measure, learn, chosen, wording, given.seed, tuple(given.rungs.split(",")))
    record.figures = {
        "contracts": {"train": len(learn), "asked": len(chosen), "part": "validation" if given.validation else "test"},
        "pieces_not_located": sum(contract.lost for contract in contracts),
        **figures,
    }
    best = figures[given.rungs.split(",")[-1]]
    for words in ("seen", "new"):
        for key, limit in (("citation_precision", 0.9), ("unanswerable_recall", 0.8)):
            what = f"{key}, questions in {'words seen in training' if words == 'seen' else 'new words'}"
            record.bars.append(Bar(what=what, measured=best[words].get(key), limit=limit))
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()

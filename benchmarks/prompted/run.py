"""A prompted model of 1.5 billion weights, without examples and with the nearest ones, on rows of training files.

    COTERIE_DATA=FOLDER python benchmarks/prompted/run.py --model FILE.gguf

The model stands in for a large one, here and nowhere else: Qwen2.5-Coder-1.5B-Instruct (Apache-2.0), pinned by its
checksum. Rows come from the training files of BANKING77 and HEADLINES only: some are asked about, the others are the
examples. Answers are kept beside the result as they come, so a run that is cut off goes on where it was.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import find
from _record import Record, arguments, sha256
from coterie.config.file import LlamaModel
from coterie.engines.onnx import OnnxEncoder
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.learning.evaluation import bootstrap_mean
from coterie.learning.job import AskedModel
from coterie.tasks.classify.prompted import (
    DEFAULT_INSTRUCTION,
    NEIGHBOURS,
    Demonstrations,
    FewShot,
    Neighbour,
    read_reply,
)
from coterie.types import Label, Output, total_usage
from headlines.run import headline_rows
from intents.run import banking_rows

CLAIM = "Examples chosen by their neighbours make a prompted model far better, and a trained specialist needs no model."
MODEL_SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
SETS = {
    "banking77": lambda: banking_rows(find("banking77"))[0],
    "headlines": lambda: headline_rows(find("frugalgpt")[0]),
}
INSTRUCTIONS = {
    "banking77": "Each message is from a customer of a bank; its label is what the customer wants. ",
    "headlines": "Each message is a headline about gold; its label is what it says the price of gold does. ",
}
WINDOW = 2048
RESERVED = 200
"""Rows that are never examples, however many of them are asked about: more rows keep the answers to the first."""


class Question(NamedTuple):
    """A row that is asked about."""

    text: str
    label: str
    neighbours: Sequence[Neighbour]


def questions(rows: Sequence[tuple[str, str]], most: int, seed: int) -> tuple[list[Question], tuple[str, ...]]:
    """Rows drawn by the seed with the nearest of the others; all labels."""
    order = np.random.default_rng(seed).permutation(len(rows))
    drawn, rest = [rows[i] for i in order[:most]], [rows[i] for i in sorted(order[RESERVED:])]
    texts = {text for text, _ in drawn}
    rest = [row for row in rest if row[0] not in texts]
    encoder = OnnxEncoder.bundled(threads=1)
    bank = Demonstrations(
        texts=tuple(text for text, _ in rest),
        labels=tuple(label for _, label in rest),
        vectors=encoder.encode([text for text, _ in rest]),
    )
    vectors = encoder.encode([text for text, _ in drawn])
    built = [Question(t, y, bank.nearest(v, NEIGHBOURS)) for (t, y), v in zip(drawn, vectors, strict=True)]
    return built, tuple(sorted({label for _, label in rows}))


async def ask(model: AskedModel, prompting: FewShot, those: Sequence[Question]) -> list[Output]:
    """The model's answers, one after the other."""
    engine, outputs = model.open(), []
    try:
        for question in those:
            outputs += await engine.run([prompting.prompt(question.text, question.neighbours, Label.PUBLIC)])
            print(".", end="", flush=True)
    finally:
        await engine.close()
    print()
    return outputs


def figures(prompting: FewShot, those: Sequence[Question], outputs: Sequence[Output]) -> dict[str, object]:
    """Accuracy with its interval, and what the answers took."""
    replies = [read_reply(prompting, question.neighbours, out) for question, out in zip(those, outputs, strict=True)]
    right = np.array([reply.label == question.label for reply, question in zip(replies, those, strict=True)])
    used = total_usage(output.usage for output in outputs)
    return {
        **_accuracy(right),
        "no_label": sum(reply.label is None for reply in replies),
        "tokens_in_mean": used.tokens_in / len(those),
        "tokens_out_mean": used.tokens_out / len(those),
        "milliseconds_p50": float(np.median([output.usage.milliseconds for output in outputs])),
        "cpu_seconds_mean": used.cpu_seconds / len(those),
    }


def neighbours_alone(those: Sequence[Question]) -> dict[str, object]:
    """The same neighbours voting, without any model."""
    prompting = FewShot(instruction="", labels=("-",), form="free")
    shares = [read_reply(prompting, question.neighbours, Output()).shares for question in those]
    right = [max(share, key=share.__getitem__) == question.label for share, question in zip(shares, those, strict=True)]
    return _accuracy(np.array(right))


def _accuracy(right: np.ndarray) -> dict[str, object]:
    return {"accuracy": float(right.mean()), "interval": list(bootstrap_mean(right, seed=0)), "rows": len(right)}


def run_set(record: Record, name: str, model: AskedModel, *, rows: int, seed: int) -> None:
    """Both ways of asking on one data set."""
    those, labels = questions(SETS[name](), rows, seed)
    few = FewShot(instruction=INSTRUCTIONS[name] + DEFAULT_INSTRUCTION, labels=labels, form="grammar", room=WINDOW // 2)
    zero = replace(few, instruction=INSTRUCTIONS[name].strip() + " Label the message.", shots=0, list_all=len(labels))
    results: dict[str, object] = {"neighbours_vote": neighbours_alone(those)}
    for way, prompting in (("zero_shot", zero), ("nearest_8", few)):
        print(name, way)
        outputs = asyncio.run(ask(model, prompting, those))
        results[way] = figures(prompting, those, outputs)
        print(results[way])
    record.figures[name] = results


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument(
        "--model", type=Path, required=True, help="the GGUF file of Qwen2.5-Coder-1.5B-Instruct, Q4_K_M"
    )
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--rows", type=int, default=100, help="rows asked about, of each set, at most 200")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--answers", type=Path, default=Path(), help="folder in which answers are kept")
    given = parser.parse_args()
    model = LlamaModel(
        engine="llama",
        name=str(given.model.resolve()),
        sha256=MODEL_SHA256,
        threads=given.threads,
        parallel=1,
        window=WINDOW,
    )
    large_model = AskedModel(
        key="qwen", model=model, folder=given.answers, label=Label.PUBLIC, gate=Gate(ClearancePolicy())
    )
    large_model.check()
    record = Record(claim=CLAIM, seeds=[given.seed])
    record.data |= {
        f"{name}/train": sha256(find("frugalgpt" if name == "headlines" else name)[0]) for name in given.sets
    }
    for name in given.sets:
        run_set(record, name, large_model, rows=given.rows, seed=given.seed)
    record.figures["model"] = {
        "name": "Qwen2.5-Coder-1.5B-Instruct Q4_K_M",
        "sha256": MODEL_SHA256,
        "licence": "Apache-2.0",
    }
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()

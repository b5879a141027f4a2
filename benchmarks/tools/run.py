"""The function and the arguments of calls in other words than those of training.

    python benchmarks/tools/run.py [--base GGUF]

Training and test are of `calls.py`: wordings and values of the test are in no training row. The test is asked once for
each design. With `--base`, a model of half a billion parameters or so is asked for the same calls, told the functions
and held to their schema as the gateway does it, without any training row.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from calls import FUNCTIONS, rows

from _record import Bar, Record, arguments, sha256
from coterie.assembly import open_network
from coterie.config.file import load_config
from coterie.engines.llama import LlamaEngine
from coterie.structured.schema import function_of, read_reply, reply_schema, told_of, within, written_calls
from coterie.tasks.contract import task_of
from coterie.tasks.tools.rows import judge
from coterie.training.train import train
from coterie.types import Finding, Message, Prompt, Request, Tools, worded

CLAIM = "The function of a text in other words than those of training is chosen, its arguments are exact, or none fits."
_INSTRUCTION = "You are an assistant. Call a function if one fits the message; else answer."


def network(folder: Path) -> None:
    """The folder of a network with one `tools` specialist."""
    for name, test in (("train", False), ("test", True)):
        lines = [json.dumps(row, ensure_ascii=False) for row in rows(test=test, seed=int(test))]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    text = '[specialists.calls]\ntask = "tools"\ndescription = "What an assistant at home is asked to do."\n'
    text += 'data = "train.jsonl"\ntest = "test.jsonl"\ngroup_column = "wording"\nrungs = ["lexical", "embedding"]\n'
    for function in FUNCTIONS:
        text += f"\n[[specialists.calls.functions]]\nname = {json.dumps(function['name'])}\n"
        text += f"description = {json.dumps(function['description'])}\nparameters = {_toml(function['parameters'])}\n"
    (folder / "coterie.toml").write_text(text)


def _toml(value: Any) -> str:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


async def specialist(folder: Path) -> list[Finding]:
    """What the trained specialist says of each test row."""
    opened = await open_network(folder)
    try:
        answers = [await opened.ask(Request(text=row["text"], specialist="calls")) for row in rows(test=True, seed=1)]
    finally:
        await opened.close()
    return [answer.findings[-1] for answer in answers]


async def base(path: Path, texts: Sequence[str]) -> list[Finding]:
    """What a model that was told the functions says of each text."""
    engine = LlamaEngine("base", path, threads=1, parallel=1, window=4096)
    tools = Tools(functions=tuple(function_of(**function) for function in FUNCTIONS), most=1)
    schema, findings = reply_schema(tools), []
    instruction = Message(role="system", text=f"{_INSTRUCTION}\n\n{told_of(tools)}")
    try:
        for text in texts:
            messages = (instruction, Message(role="user", text=text))
            (output,) = await engine.run([Prompt(messages=messages, json_schema=within(schema, 2), max_tokens=128)])
            reply = read_reply(schema, output.text)
            call = written_calls(reply.calls[:1]) if reply.calls else ""
            name = reply.calls[0].name if reply.calls else "no_function"
            findings.append(
                Finding(specialist="base", value=name, text=call, confidence=0.0, accepted=True, reason=worded("asked"))
            )
    finally:
        await engine.close()
    return findings


def main() -> None:
    """Train, ask, write down."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--base", type=Path, help="a GGUF file that is asked in place of training; added to the result")
    parser.add_argument("--rows", type=int, default=211, help="test rows that the base is asked about, drawn by chance")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network(folder)
        hashes = {part: sha256(folder / f"{part}.jsonl") for part in ("train", "test")}
        record = Record(claim=CLAIM, seeds=[0, 1], data=hashes)
        section = load_config(folder).specialists["calls"]
        test = task_of(section).read_rows(section, folder / "test.jsonl", for_evaluation=True).rows
        if options.base:
            record.data["base"] = sha256(options.base)
            record.figures = json.loads(options.out.read_text())["figures"]
            drawn = random.Random(0).sample(test, min(options.rows, len(test)))  # noqa: S311 - a sample
            record.figures["base"] = _figures(judge(drawn, asyncio.run(base(options.base, [r.text for r in drawn]))))
        else:
            start = time.perf_counter()
            train(folder, ["calls"])
            record.figures = {"train_seconds": round(time.perf_counter() - start, 1)}
            record.figures["specialist"] = _figures(judge(test, asyncio.run(specialist(folder))))
    own = record.figures["specialist"]
    print(json.dumps(record.figures, indent=1))
    record.bars = [
        Bar(what="function right", measured=own["function_right"], limit=0.8),
        Bar(what="no function, recall", measured=own["no_function_recall"], limit=0.75),
    ]
    record.note_load()
    record.write(options.out)


def _figures(evaluation: Any) -> dict[str, Any]:  # noqa: ANN401 - an evaluation
    return {
        "rows": evaluation.n,
        "coverage": evaluation.coverage,
        **{name: round(value, 4) for name, value in evaluation.others.items()},
    }


if __name__ == "__main__":
    main()

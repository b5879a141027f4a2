"""How many answers of the smallest model are valid under random JSON schemas.

    python benchmarks/structured/run.py [--schemas 1000] [--seed 1] [--minutes 60] [--done FILE]

What was asked is kept in `--done`, a line a schema, and not asked again: a run that was stopped goes on where it was.

Each schema is drawn from the supported subset: objects in objects, lists, lists by place, enums, texts with lengths,
patterns and formats, numbers with ranges and steps, `anyOf`, `allOf`, `$ref`, nullable and optional properties. The
model (smollm2, `coterie models pull smollm2`) is asked for an answer in this form as the gateway asks it; the answer is
checked with the package `jsonschema` against the schema as it was drawn, not with our own validator.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from jsonschema import Draft202012Validator

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from draw import schema

from _record import Bar, Record, arguments, sha256
from coterie.engines.llama import LlamaEngine
from coterie.models.catalogue import installed
from coterie.structured.schema import decodable, read_answer, read_schema
from coterie.types import Message, Prompt

CLAIM = "Every answer in the form of a JSON schema is valid, from the smallest model too."


async def answer(engine: LlamaEngine, raw: dict[str, Any], shown: int) -> tuple[str, str, int]:
    """The answer as JSON or empty, what was wrong with the last try, and how many tries it took."""
    node, wrong = read_schema(raw), ""
    instruction = f"Make up an example record. Answer with JSON of this schema:\n{json.dumps(raw)}"
    for level in (0, 2, 4):  # as the gateway does
        message = Message(role="user", text=instruction if len(instruction) < shown else "Make up an example record.")
        prompt = Prompt(messages=(message,), json_schema=decodable(node, level), max_tokens=1024, seed=level)
        (output,) = await engine.run([prompt])
        text, wrong = read_answer(node, output.text)
        if text:
            return text, "", level // 2 + 1
    return "", f"{wrong}: {output.finish} {output.text[:200]}", 3


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


async def main() -> None:
    """Draw, ask, check, write down."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--schemas", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600, help="begin no schema after so long")
    parser.add_argument(
        "--shown", type=int, default=1500, help="characters up to which the model reads the schema, too"
    )
    parser.add_argument("--threads", type=int, default=1, help="two wait for each other where the machine is busy")
    parser.add_argument("--parallel", type=int, default=4, help="schemas asked side by side")
    parser.add_argument("--done", type=Path, default=Path("state/structured.jsonl"), help="what was asked before")
    options = parser.parse_args()
    path = next((path for model, path in installed() if model.name == "smollm2" and path is not None), None)
    if path is None:
        sys.exit("This benchmark needs the model smollm2: coterie models pull smollm2")
    record = Record(claim=CLAIM, seeds=[options.seed], data={"smollm2": sha256(path)})
    engine = LlamaEngine("smollm2", path, threads=options.threads, parallel=options.parallel, window=4096)
    options.done.parent.mkdir(parents=True, exist_ok=True)
    done = {outcome["seed"]: outcome for outcome in map(json.loads, _lines(options.done))}
    gate, begun = asyncio.Semaphore(options.parallel), time.monotonic()

    async def one(seed: int) -> dict[str, Any] | None:
        raw = schema(seed)
        if seed in done:
            return done[seed]
        async with gate:
            if time.monotonic() - begun > 60 * options.minutes:
                return None
            start = time.perf_counter()
            try:
                text, why, count = await answer(engine, raw, options.shown)
            except Exception as error:  # noqa: BLE001 - counted as not valid
                text, why, count = "", f"{type(error).__name__}: {error}", 0
            seconds = round(time.perf_counter() - start, 2)
        valid = bool(text) and Draft202012Validator(raw).is_valid(json.loads(text))
        outcome = {"seed": seed, "valid": valid, "tries": count, "seconds": seconds}
        outcome |= {} if valid else {"why": why or text[:200]}
        with options.done.open("a") as file:
            file.write(json.dumps(outcome) + "\n")
        return outcome

    try:
        outcomes = await asyncio.gather(*(one(options.seed * 1_000_000 + i) for i in range(options.schemas)))
    finally:
        await engine.close()
    begun_schemas = [outcome for outcome in outcomes if outcome is not None]
    if len(begun_schemas) < len(outcomes):
        record.notes.append(f"{len(outcomes) - len(begun_schemas)} of {len(outcomes)} schemas were not begun.")
    valid = sum(outcome["valid"] for outcome in begun_schemas)
    share = valid / len(begun_schemas)
    tries = Counter(outcome["tries"] for outcome in begun_schemas)
    print(f"{valid} of {len(begun_schemas)} valid; tries {dict(tries)}")
    record.figures = {
        "schemas": len(begun_schemas),
        "valid": valid,
        "tries": {str(count): times for count, times in sorted(tries.items())},
        "seconds_p50": float(np.median([outcome["seconds"] for outcome in begun_schemas])),
        "wrong": [outcome for outcome in begun_schemas if not outcome["valid"]],
    }
    record.bars = [Bar(what="valid share", measured=share, limit=1.0)]
    record.note_load()
    record.write(options.out)


if __name__ == "__main__":
    asyncio.run(main())

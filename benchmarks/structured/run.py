"""How many answers of the smallest model are valid under random JSON schemas.

    python benchmarks/structured/run.py [--schemas 1000] [--seed 1]

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


async def answer(engine: LlamaEngine, raw: dict[str, Any]) -> tuple[str, str, int]:
    """The answer as JSON or empty, what was wrong with the last try, and how many tries it took."""
    node, wrong = read_schema(raw), ""
    asked = f"Make up an example record. Answer with JSON of this schema:\n{json.dumps(raw)}"
    for level in (0, 2, 4):  # as the gateway does
        told = Message(role="user", text=asked if len(asked) < 1500 else "Make up an example record.")
        prompt = Prompt(messages=(told,), json_schema=decodable(node, level), max_tokens=1024, seed=level)
        (output,) = await engine.run([prompt])
        text, wrong = read_answer(node, output.text)
        if text:
            return text, "", level // 2 + 1
    return "", f"{wrong}: {output.finish} {output.text[:200]}", 3


async def main() -> None:
    """Draw, ask, check, write down."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--schemas", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600, help="begin no schema after so long")
    options = parser.parse_args()
    path = next((path for model, path in installed() if model.name == "smollm2" and path is not None), None)
    if path is None:
        sys.exit("This benchmark needs the model smollm2: coterie models pull smollm2")
    record = Record(claim=CLAIM, seeds=[options.seed], data={"smollm2": sha256(path)})
    engine = LlamaEngine("smollm2", path, threads=2, parallel=2, window=4096)
    tries: Counter[int] = Counter()
    seconds, wrong = [], []
    gate, begun = asyncio.Semaphore(2), time.monotonic()

    async def one(seed: int) -> bool | None:
        raw = schema(seed)
        async with gate:
            if time.monotonic() - begun > 60 * options.minutes:
                return None
            start = time.perf_counter()
            try:
                text, why, count = await answer(engine, raw)
            except Exception as error:  # noqa: BLE001 - counted as not valid
                text, why, count = "", f"{type(error).__name__}: {error}", 0
            seconds.append(time.perf_counter() - start)
        tries[count] += 1
        valid = bool(text) and Draft202012Validator(raw).is_valid(json.loads(text))
        if not valid:
            wrong.append((seed, why or text[:200]))
            print("INVALID", seed, json.dumps(raw)[:600], why or text[:300], flush=True)
        return valid

    try:
        found = await asyncio.gather(*(one(options.seed * 1_000_000 + i) for i in range(options.schemas)))
    finally:
        await engine.close()
    valid = [each for each in found if each is not None]
    if len(valid) < len(found):
        record.notes.append(
            f"{len(found) - len(valid)} of {len(found)} schemas were not begun in {options.minutes:g} minutes."
        )
    share = sum(valid) / len(valid)
    print(f"{sum(valid)} of {len(valid)} valid; tries {dict(tries)}; p50 {np.median(seconds):.2f} s")
    record.figures = {
        "schemas": len(valid),
        "valid": sum(valid),
        "tries": {str(count): times for count, times in sorted(tries.items())},
        "seconds_p50": float(np.median(seconds)),
        "wrong": [{"seed": seed, "why": why} for seed, why in wrong],
    }
    record.bars = [Bar(what="valid share", measured=share, limit=1.0)]
    record.note_load()
    record.write(options.out)


if __name__ == "__main__":
    asyncio.run(main())

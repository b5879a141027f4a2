"""Many LoRA adapters on one base model in one process: what each takes of memory, and what mixing them costs.

    python benchmarks/adapters/run.py                       # 50 adapters, as training makes them, on SmolLM2-135M
    python benchmarks/adapters/run.py --rank 8 --maps all   # as they were made before

The adapters are random and small: memory and pace are those of trained ones, and all say nearly the same, so that a
round with one adapter and a round with many are the same work. Memory is read in a process of its own with one adapter
and in one with all, after the same requests. Pace is measured in one process in rounds that take turns: all callers
with one adapter, then each request with another. Needs the model: `coterie models pull smollm2`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import Bar, Record, arguments
from coterie.config.file import LlamaModel
from coterie.engines.llama import LlamaEngine
from coterie.models.catalogue import locate
from coterie.testing import write_random_adapter
from coterie.types import Message, Prompt

CLAIM = "Fifty specialists share one small model: each takes the memory of its adapter, and mixing them keeps the pace."
PARALLEL, THREADS, WINDOW, TOKENS = 4, 2, 512, 24
MOST_EXTRA, LEAST_RATIO = 1.10, 0.5
"""Bars: memory in adapters' bytes, pace of mixed adapters as a share of that of one."""
SIZE = 0.003
"""Standard deviation of the adapters' numbers: the text stays that of the bare model."""
MAPS = {
    "feed-forward": ("ffn_gate", "ffn_up", "ffn_down"),
    "all": ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"),
}
"""Which weights of a layer are adapted; the first is what training does."""
QUESTIONS = ("Where is my card?", "How do I top up?", "What is the exchange rate?", "Why was I charged twice?")

Ask = Callable[[int], Prompt]
"""The n-th request, without its adapter."""


def generate(number: int) -> Prompt:
    """A short reply."""
    message = Message(role="user", text=f"Customer {number}: {QUESTIONS[number % len(QUESTIONS)]}")
    return Prompt(messages=(message,), max_tokens=TOKENS)


def classify(number: int) -> Prompt:
    """A choice of two."""
    text = f"Text: customer {number} asks: {QUESTIONS[number % len(QUESTIONS)]}\nIs it about a card?"
    return Prompt(text=text, choices=(" yes", " no"))


WORK: Mapping[str, Ask] = {"generate": generate, "classify": classify}


def open_engine(base: Path, adapters: Mapping[str, Path]) -> LlamaEngine:
    """The base with these adapters, as `coterie serve` opens it."""
    return LlamaEngine("smollm2", base, adapters=adapters, threads=THREADS, parallel=PARALLEL, window=WINDOW)


def make_adapters(folder: Path, base: Path, *, number: int, rank: int, maps: str) -> dict[str, Path]:
    """Random adapters by name."""
    names = [f"specialist-{index}" for index in range(number)]
    return {
        name: write_random_adapter(
            folder / f"{name}.gguf", base, rank=rank, size=SIZE, seed=index, projections=MAPS[maps]
        )
        for index, name in enumerate(names)
    }


def resident() -> int:
    """Bytes of memory that this process holds."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


async def memory_of(base: Path, adapters: Mapping[str, Path], requests: int) -> dict[str, int]:
    """Resident bytes after loading, and after requests that use every adapter."""
    engine, names = open_engine(base, adapters), list(adapters)
    await engine.load()
    loaded = resident()
    for number in range(requests):
        await engine.run([_with(generate(number), names[number % len(names)], max_tokens=2)])
    used = resident()
    await engine.close()
    return {"loaded": loaded, "used": used}


def measure_memory(base: Path, folder: Path, number: int, requests: int) -> dict[str, int]:
    """The same, in a process of its own that holds nothing else."""
    command = [sys.executable, __file__, "--memory", str(number), str(requests), str(base), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return dict(json.loads(done.stdout))


async def pace(engine: LlamaEngine, ask: Ask, adapters: Sequence[str], *, callers: int, requests: int) -> float:
    """Requests a second of so many callers, each of whom waits for an answer before asking again."""
    numbers = count()

    async def call() -> None:
        while (number := next(numbers)) < requests:
            await engine.run([_with(ask(number), adapters[number % len(adapters)])])

    start = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    return requests / (time.perf_counter() - start)


async def compare(
    engine: LlamaEngine, ask: Ask, names: Sequence[str], *, callers: int, given: argparse.Namespace
) -> dict[str, object]:
    """Pace with one adapter and with many, in rounds that take turns."""
    one, mixed = [], []
    order = np.random.default_rng(0)
    await pace(engine, ask, names[:1], callers=callers, requests=callers)  # warm
    for _ in range(given.rounds):
        one.append(await pace(engine, ask, names[:1], callers=callers, requests=given.requests))
        drawn = list(order.choice(names, size=given.requests))
        mixed.append(await pace(engine, ask, drawn, callers=callers, requests=given.requests))
    return {
        "one_adapter_per_second": float(np.median(one)),
        "mixed_per_second": float(np.median(mixed)),
        "ratio": float(np.median(mixed) / np.median(one)),
        "rounds": {"one": one, "mixed": mixed},
    }


async def measure_pace(base: Path, adapters: Mapping[str, Path], given: argparse.Namespace) -> dict[str, object]:
    """Every kind of work, with as many callers as slots and with four times as many."""
    engine = open_engine(base, adapters)
    await engine.load()
    try:
        return {
            work: {
                f"{callers} callers": await compare(engine, ask, list(adapters), callers=callers, given=given)
                for callers in (PARALLEL, 4 * PARALLEL)
            }
            for work, ask in WORK.items()
        }
    finally:
        await engine.close()


def _with(prompt: Prompt, adapter: str, **changes: int) -> Prompt:
    options = {**vars(prompt), "adapter": adapter, **changes}
    return Prompt(**options)


def run(given: argparse.Namespace) -> Record:
    """Measure all of it."""
    base = locate(LlamaModel(engine="llama", name="smollm2"), Path())
    record = Record(claim=CLAIM, seeds=[0])
    with tempfile.TemporaryDirectory() as home:
        adapters = make_adapters(Path(home), base, number=given.adapters, rank=given.rank, maps=given.maps)
        size = next(iter(adapters.values())).stat().st_size
        one, all_ = (measure_memory(base, Path(home), number, given.adapters) for number in (1, given.adapters))
        speed = asyncio.run(measure_pace(base, adapters, given))
    extra = (all_["used"] - one["used"]) / ((given.adapters - 1) * size)
    ratios = {
        f"{work}, {callers}": figures["ratio"]
        for work, by_callers in speed.items()
        for callers, figures in by_callers.items()
    }
    record.figures = {
        "adapters": given.adapters,
        "rank": given.rank,
        "maps": given.maps,
        "adapter_bytes": size,
        "resident_bytes": {"one": one, "all": all_},
        "extra_per_adapter_in_adapter_bytes": extra,
        "pace": speed,
        "ratios": ratios,
    }
    record.bars = [
        Bar(what="extra memory of an adapter, in its bytes", measured=extra, limit=MOST_EXTRA, at_most=True),
        Bar(what="mixed adapters' pace as a share of one's, lowest", measured=min(ratios.values()), limit=LEAST_RATIO),
    ]
    record.note_load()
    return record


def main() -> None:
    """Measure and write the result file; with `--memory`, be the process whose memory is read."""
    if "--memory" in sys.argv[1:2]:
        number, requests, base, folder = sys.argv[2:]
        paths = [Path(folder) / f"specialist-{index}.gguf" for index in range(int(number))]
        print(json.dumps(asyncio.run(memory_of(Path(base), {path.stem: path for path in paths}, int(requests)))))
        return
    parser = arguments(__doc__, __file__)
    parser.add_argument("--adapters", type=int, default=50)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--maps", choices=tuple(MAPS), default=next(iter(MAPS)), help="adapted weights of a layer")
    parser.add_argument("--requests", type=int, default=48, help="requests of a round")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    record = run(given)
    print(json.dumps(record.figures["ratios"], indent=1))
    record.write(given.out)


if __name__ == "__main__":
    main()

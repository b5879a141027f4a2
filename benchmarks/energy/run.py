"""Whether the CPU time of steps adds up to what the process took, when requests of every kind overlap.

    python benchmarks/energy/run.py --network demo

One network in this process, many requests at once: customers' messages, clauses, applicants, questions about a
document and to an index, and replies that a GGUF model writes, as far as the network given has them. Summed over all
ledger rows, and beside it what the process took by its own clock. Then each kind alone, one after the other: what a
request of it is charged should be about the same, whoever else was at work.
"""

from __future__ import annotations

import asyncio
import csv
import json
import random
import shutil
import sys
import tempfile
import time
from argparse import Namespace
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import LENDER
from _lender import SMALL, add_network, copy_network, has_smollm2, ready
from _record import Bar, Record, arguments, sha256
from coterie import Network, Request, open_network
from coterie.accounting.meter import OVERHEAD
from coterie.types import Document, Label, Trace

CLAIM = "The energy of all steps adds up to that of the process, also when requests overlap."
TRIAGE, CLAUSES, APPLICANTS, QUESTIONS = (
    "data/triage.test.csv",
    "data/clauses.test.jsonl",
    "data/underwriting.csv",
    "data/ask.test.jsonl",
)
SEED = 7
SHARES = {"triage": 12, "clauses": 4, "underwriting": 6, "ask": 2, "document": 1, "reply": 3}
"""Requests of each kind in every such many."""
_DOCUMENT = "documents/contracts/outsourcing.txt"
_ALONE = 40
"""Requests of a kind that are asked alone, at most."""


def _rows(name: str) -> list[dict[str, Any]]:
    path = LENDER / name
    with path.open(encoding="utf-8", newline="") as file:
        return [json.loads(line) for line in file] if path.suffix == ".jsonl" else list(csv.DictReader(file))


def pools() -> dict[str, list[Request]]:
    """Requests by kind."""
    clearance = Label.CONFIDENTIAL
    questions = [str(row["question"] if "question" in row else row["text"]) for row in _rows(QUESTIONS)]
    text = (LENDER / _DOCUMENT).read_text(encoding="utf-8")[:12_000]
    applicants = [{k: v for k, v in row.items() if k != "default"} for row in _rows(APPLICANTS)]
    messages = [str(row["text"]) for row in _rows(TRIAGE)]
    return {
        "triage": [Request(text=message, specialist="triage") for message in messages]
        + [Request(text=m) for m in messages],
        "clauses": [Request(text=str(row["text"]), specialist="clauses") for row in _rows(CLAUSES)],
        "underwriting": [Request(text="May they have it?", columns=row) for row in applicants],
        "ask": [Request(text=question, specialist="ask", clearance=clearance) for question in questions],
        "document": [Request(text=question, document=Document(text=text, name=_DOCUMENT)) for question in questions],
        "reply": [Request(text=message) for message in messages],
    }


async def _charged(network: Network, request: Request, waiting: asyncio.Semaphore) -> Trace:
    async with waiting:
        return (await network.ask(request)).trace


def _split(traces: Sequence[Trace]) -> dict[str, float]:
    """CPU-seconds by engine, the network's own work apart."""
    seconds: dict[str, float] = defaultdict(float)
    for trace in traces:
        for step in trace.steps:
            seconds[OVERHEAD if step.producer == OVERHEAD else step.engine] += step.usage.cpu_seconds
    return dict(seconds)


async def mixed(network: Network, requests: Sequence[tuple[str, Request]], callers: int) -> dict[str, Any]:
    """All at once, so many at a time."""
    waiting = asyncio.Semaphore(callers)
    await asyncio.gather(*(_charged(network, request, waiting) for _, request in requests[: 4 * callers]))  # warm-up
    cpu, wall = time.process_time(), time.perf_counter()
    traces = await asyncio.gather(*(_charged(network, request, waiting) for _, request in requests))
    took, seconds = time.process_time() - cpu, time.perf_counter() - wall
    kinds: dict[str, list[Trace]] = defaultdict(list)
    for (kind, _), trace in zip(requests, traces, strict=True):
        kinds[kind].append(trace)
    return {"process": took, "wall": seconds, "engines": _split(traces), "kinds": _by_kind(kinds)}


async def alone(network: Network, requests: Sequence[tuple[str, Request]]) -> dict[str, Any]:
    """Requests of each kind, one after the other."""
    kinds: dict[str, list[Trace]] = defaultdict(list)
    cpu = time.process_time()
    for kind, request in sorted(requests, key=lambda pair: pair[0]):
        if len(kinds[kind]) < _ALONE:
            kinds[kind].append((await network.ask(request)).trace)
    took = time.process_time() - cpu
    return {
        "process": took,
        "engines": _split([t for traces in kinds.values() for t in traces]),
        "kinds": _by_kind(kinds),
    }


def _by_kind(kinds: Mapping[str, Sequence[Trace]]) -> dict[str, Any]:
    """Milliseconds of CPU a request: of steps, and of the network's own work."""
    figures = {}
    for kind, traces in sorted(kinds.items()):
        split = _split(traces)
        own = split.pop(OVERHEAD, 0.0)
        thousandth = 1000 / len(traces)
        figures[kind] = {
            "requests": len(traces),
            "steps_ms": sum(split.values()) * thousandth,
            "overhead_ms": own * thousandth,
            "engines_ms": {engine: seconds * thousandth for engine, seconds in sorted(split.items())},
        }
    return figures


async def measure(folder: Path, given: Namespace) -> dict[str, Any]:
    """Both runs on one open network."""
    network = await open_network(folder)
    try:
        specialists = set(network.specialists)
        have = {kind: pool for kind, pool in pools().items() if kind in specialists or kind == "document"}
        chance = random.Random(SEED)  # noqa: S311 - drawn, not guessed
        kinds = chance.choices(list(have), weights=[SHARES[kind] for kind in have], k=given.requests)
        requests = [(kind, chance.choice(have[kind])) for kind in kinds]
        runs = {"mixed": await mixed(network, requests, given.callers), "alone": await alone(network, requests)}
    finally:
        await network.close()
    for run in runs.values():
        steps = sum(seconds for engine, seconds in run["engines"].items() if engine != OVERHEAD)
        rows = sum(run["engines"].values())
        run |= {
            "steps": steps,
            "rows": rows,
            "rows_share": rows / run["process"],
            "steps_share": steps / run["process"],
        }
    return runs


def show(runs: Mapping[str, Any]) -> None:
    """The figures for a person."""
    for name, run in runs.items():
        print(f"{name}: process {run['process']:.2f} s, rows {run['rows_share']:.4f}, steps {run['steps_share']:.4f}")
        for kind, spent in run["kinds"].items():
            engines = ", ".join(f"{engine} {ms:.2f}" for engine, ms in spent["engines_ms"].items())
            print(f"  {kind} x{spent['requests']}: {spent['steps_ms']:.2f} ms ({engines}) + {spent['overhead_ms']:.2f}")


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    add_network(parser)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--callers", type=int, default=16, help="requests at work at a time")
    given = parser.parse_args()
    network = ready(given.network)
    names = [*SMALL, *(name for name in ("ask", "reply") if (network / "registry" / name / "champion").exists())]
    if not has_smollm2():
        names = [name for name in names if name != "reply"]
    with tempfile.TemporaryDirectory() as name:
        folder = copy_network(network, Path(name) / "network", names)
        if "ask" in names:
            _copy_index(network, folder)
        figures = asyncio.run(measure(folder, given))
    files = (TRIAGE, CLAUSES, APPLICANTS, QUESTIONS)
    record = Record(claim=CLAIM, seeds=[SEED], data={file: sha256(LENDER / file) for file in files}, figures=figures)
    off = abs(figures["mixed"]["rows_share"] - 1)
    what = "ledger beside the process' CPU time, mixed: share off"
    record.bars = [Bar(what=what, measured=off, limit=0.05, at_most=True)]
    show(figures)
    record.note_load()
    if len(names) < 5:
        record.notes.append(
            f"the network given has {', '.join(names)} only: train `ask` and `reply`, index its indexes"
        )
    record.write(given.out)


def _copy_index(network: Path, folder: Path) -> None:
    """The indexes' indexes, which `copy_network` leaves behind with the ledger."""
    indexes = network / "state" / "knowledge"
    if indexes.is_dir():
        shutil.copytree(indexes, folder / "state" / "knowledge")


if __name__ == "__main__":
    main()

"""How long an answer takes, and what serving it needs, with the lender network.

    python benchmarks/latency/run.py --network demo

In process on one core: route and classify, without and with settling. A cold `coterie ask`, a cold `coterie serve` to
its first answer, the memory it holds with and without the generative model, and what the gateway bears at 1, 16 and 64
callers: a real `coterie serve` and the load generator `load.py`, two processes that share the machine.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from server import Server, serve

from _data import LENDER
from _lender import SMALL, add_network, copy_network, has_smollm2, ready
from _record import Bar, Record, arguments, sha256

CLAIM = "Routing and answering take milliseconds on one core, in less than 600 MB."
TEXTS = "data/triage.test.csv"
SHORT = 80  # characters
QUESTION = "I lost my card, what should I do?"
CALLERS = (1, 16, 64)
P50_BAR, P99_BAR, MEMORY_BAR = 5.0, 15.0, 600.0
ADDED_P50_BAR, ADDED_P99_BAR = 2.5, 6.0

_MIXED = 20  # requests before memory is read


def short_texts() -> list[str]:
    """Messages of bank customers of at most 80 characters, each once."""
    with (LENDER / TEXTS).open(encoding="utf-8", newline="") as file:
        texts = (row["text"] for row in csv.DictReader(file))
        return list(dict.fromkeys(text for text in texts if len(text) <= SHORT))


@contextmanager
def one_core() -> Iterator[None]:
    """Processes started inside have one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def in_process(folder: Path, requests: int) -> dict[str, Any]:
    """The figures of `inprocess.py` on one core."""
    texts = folder.parent / "texts.json"
    texts.write_text(json.dumps(short_texts()), encoding="utf-8")
    script = Path(__file__).with_name("inprocess.py")
    command = [sys.executable, str(script), str(folder), str(texts), "--requests", str(requests)]
    with one_core():
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    return dict(json.loads(done.stdout))


def cold_ask(folder: Path) -> float:
    """Seconds of `coterie ask`, from making the process to its end."""
    command = [sys.executable, "-m", "coterie", "-C", str(folder), "ask", QUESTION, "--json"]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return time.perf_counter() - start


def cold_serve(folder: Path) -> float:
    """Seconds from making the process of `coterie serve` to its first answer."""
    with serve(folder) as server:
        server.ask(QUESTION)
        return time.perf_counter() - server.started


def repeated(work: Callable[[Path], float], folder: Path, times: int) -> dict[str, Any]:
    """A duration's median over so many runs; files are in the system's cache from the second on at the latest."""
    seconds = [work(folder) for _ in range(times)]
    return {"median_seconds": median(seconds), "all_seconds": seconds}


def memory(folder: Path, texts: Sequence[str]) -> dict[str, float]:
    """What `coterie serve` holds after a few requests of every kind."""
    with serve(folder) as server:
        for text in texts[:_MIXED]:
            server.ask(text)
        server.ask(_first_clause())
        return server.memory()


def _first_clause() -> str:
    with (LENDER / "data/clauses.test.jsonl").open(encoding="utf-8") as file:
        return str(json.loads(file.readline())["text"])


def gateway(server: Server, requests: int) -> list[dict[str, Any]]:
    """Closed loops of 1, 16 and 64 callers; what a single caller sends is a half, since it takes longest."""
    server.load(QUESTION, concurrency=16, requests=200)  # warm-up
    return [
        server.load(QUESTION, concurrency=callers, requests=requests if callers > 1 else requests // 2)
        for callers in CALLERS
    ]


def measure(network: Path, given: Namespace) -> dict[str, Any]:
    """All figures, on copies of the network."""
    with tempfile.TemporaryDirectory() as name:
        small = copy_network(network, Path(name) / "small", SMALL)
        figures: dict[str, Any] = {"in_process": in_process(small, given.requests)}
        figures["cold_ask"] = repeated(cold_ask, small, given.starts)
        figures["cold_serve"] = repeated(cold_serve, small, given.starts)
        figures["memory"] = {"specialists": memory(small, short_texts()), "with_smollm2": None}
        with serve(small) as server:
            figures["gateway"] = gateway(server, given.requests)
            figures["memory"]["specialists_after_load"] = server.memory()
        if has_smollm2() and "reply" in _trained(network):
            whole = copy_network(network, Path(name) / "whole", [*SMALL, "reply"])
            figures["memory"]["with_smollm2"] = memory(whole, short_texts())
    return figures


def _trained(network: Path) -> set[str]:
    return {alias.parent.name for alias in (network / "registry").glob("*/champion")}


def bars(figures: dict[str, Any]) -> list[Bar]:
    """What the figures must reach."""
    bare, added = figures["in_process"]["route_and_classify_ms"], figures["in_process"]["routing_adds_ms"]
    whole = figures["memory"]["with_smollm2"] or figures["memory"]["specialists"]
    return [
        Bar(what="route + classify on one core, p50 ms", measured=bare["p50"], limit=P50_BAR, at_most=True),
        Bar(what="route + classify on one core, p99 ms", measured=bare["p99"], limit=P99_BAR, at_most=True),
        Bar(what="what routing adds, p50 ms", measured=added["p50"], limit=ADDED_P50_BAR, at_most=True),
        Bar(what="what routing adds, p99 ms", measured=added["p99"], limit=ADDED_P99_BAR, at_most=True),
        Bar(what="resident MB, the example loaded", measured=whole["resident_mb"], limit=MEMORY_BAR, at_most=True),
    ]


def show(figures: dict[str, Any]) -> None:
    """The figures without a bar, for a person."""
    settled = figures["in_process"]["with_settle_ms"]
    print(f"route + classify: {figures['in_process']['route_and_classify_cpu_ms']:.2f} ms of CPU a request")
    print(f"with settling: p50 {settled['p50']:.2f} ms, p99 {settled['p99']:.2f} ms")
    for name in ("cold_ask", "cold_serve"):
        print(f"{name.replace('_', ' ')}: {figures[name]['median_seconds']:.2f} s")
    for load in figures["gateway"]:
        print(
            f"gateway, {load['concurrency']} callers: {load['requests_per_second']} a second, "
            f"p50 {load['p50_ms']} ms, p99 {load['p99_ms']} ms, {load['statuses']}"
        )


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    add_network(parser)
    parser.add_argument("--requests", type=int, default=3000, help="in process, and of 16 and 64 callers")
    parser.add_argument("--starts", type=int, default=5, help="cold starts of each kind")
    given = parser.parse_args()
    network = ready(given.network)
    record = Record(claim=CLAIM, data={TEXTS: sha256(LENDER / TEXTS)})
    record.figures = measure(network, given)
    record.bars = bars(record.figures)
    show(record.figures)
    record.note_load()
    if record.figures["memory"]["with_smollm2"] is None:
        record.notes.append("without SmolLM2: run `coterie models pull smollm2` and train `reply` to include it")
    record.write(given.out)


if __name__ == "__main__":
    main()

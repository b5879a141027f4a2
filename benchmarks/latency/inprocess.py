"""One network in this process, one request after the other: route and classify, without and with the rest of a life.

    python benchmarks/latency/inprocess.py NETWORK TEXTS.json --requests 2000

Prints the figures as JSON. `run.py` starts it on one core; alone it takes what it is given.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _specialists import percentiles
from coterie import Network, Request, open_network
from coterie.types import SYSTEM, Context, ContextView, Task

Work = Callable[[Network, str], Awaitable[list[float]]]
"""Takes one text; gives the milliseconds of its parts."""

_WARM_UP = 100


async def route_and_classify(network: Network, text: str) -> list[float]:
    """Milliseconds of the route, and of asking whom it names; nothing is written down."""
    start = time.perf_counter()
    route = await network.router.route(Request(text=text), Context(), call=SYSTEM)
    routed = time.perf_counter()
    for part in route.parts:
        task = Task(text=part.text, vector=part.vector)
        await asyncio.gather(
            *(network.specialists[name].consult(task, ContextView(), call=SYSTEM) for name in part.specialists)
        )
    return [(routed - start) * 1000, (time.perf_counter() - routed) * 1000]


async def routed_and_pinned(network: Network, text: str) -> list[float]:
    """Milliseconds of routing and asking, and of asking the same specialists by name; which goes first changes."""
    route = await network.router.route(Request(text=text), Context(), call=SYSTEM)
    names = [name for part in route.parts for name in part.specialists]
    pinned_first = len(text) % 2 == 0
    start = time.perf_counter()
    if pinned_first:
        await _by_name(network, names, text)
    between = time.perf_counter()
    routed = sum(await route_and_classify(network, text))
    if pinned_first:
        return [routed, (between - start) * 1000]
    start = time.perf_counter()
    await _by_name(network, names, text)
    return [routed, (time.perf_counter() - start) * 1000]


async def _by_name(network: Network, names: Sequence[str], text: str) -> None:
    await asyncio.gather(
        *(network.specialists[name].consult(Task(text=text), ContextView(), call=SYSTEM) for name in names)
    )


async def ask(network: Network, text: str) -> list[float]:
    """Milliseconds of a whole life: admitted, routed, answered, and settled on disk."""
    start = time.perf_counter()
    await network.ask(Request(text=text))
    return [(time.perf_counter() - start) * 1000]


async def _timed(work: Work, network: Network, texts: Iterator[str]) -> np.ndarray:
    return np.array([await work(network, text) for text in texts])  # (N, parts)


async def measure(folder: Path, texts: Sequence[str], requests: int) -> dict[str, Any]:
    """All figures of one network."""
    start = time.perf_counter()
    network = await open_network(folder)
    opened = time.perf_counter() - start
    try:
        await _timed(route_and_classify, network, islice(cycle(texts), _WARM_UP))
        spent = time.process_time()
        bare = await _timed(route_and_classify, network, islice(cycle(texts), requests))
        spent = time.process_time() - spent
        both = await _timed(routed_and_pinned, network, islice(cycle(texts), requests // 2))
        whole = await _timed(ask, network, islice(cycle(texts), requests))
    finally:
        await network.close()
    return {
        "cores": len(os.sched_getaffinity(0)),
        "open_seconds": opened,
        "median_characters": float(np.median([len(text) for text in texts])),
        "route_and_classify_ms": percentiles(bare.sum(axis=1)),
        "route_and_classify_cpu_ms": 1000 * spent / requests,
        "route_ms": percentiles(bare[:, 0]),
        "classify_ms": percentiles(bare[:, 1]),
        "by_name_ms": percentiles(both[:, 1]),
        "routing_adds_ms": percentiles(both[:, 0] - both[:, 1]),
        "with_settle_ms": percentiles(whole[:, 0]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("texts", type=Path, help="a JSON list")
    parser.add_argument("--requests", type=int, default=2000)
    given = parser.parse_args()
    texts = json.loads(given.texts.read_text(encoding="utf-8"))
    print(json.dumps(asyncio.run(measure(given.network, texts, given.requests))))


if __name__ == "__main__":
    main()

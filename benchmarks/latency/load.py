"""A small load generator for HTTP servers: kept connections on raw streams, so that it measures the server.

    python benchmarks/latency/load.py http://127.0.0.1:8321/v1/chat/completions --text "I lost my card" --concurrency 16

Closed loop (default): each of `--concurrency` callers sends its next request when it has the last response.
Open loop (`--rate`): requests start at fixed times whatever the server does, and a latency counts from
the planned start, so that a server which falls behind cannot hide it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from coterie.scale.planning import Connection, quantile


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What a load met. Latencies are of successful requests, in milliseconds; None when there are none."""

    concurrency: int
    rate: float | None
    """Planned requests a second; None for a closed loop."""
    requests: int
    seconds: float
    requests_per_second: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    first_byte_p50_ms: float | None
    """Until the first byte of the body: for a stream, the time to the first piece."""
    statuses: dict[str, int]


@dataclass
class _Tally:
    """Measurements as they come in."""

    latencies: list[float] = field(default_factory=list)
    first_bytes: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

    def add(self, start: float, first_byte: float, status: int) -> None:
        self.statuses[str(status)] += 1
        if status == 200:
            self.latencies.append(time.perf_counter() - start)
            self.first_bytes.append(first_byte - start)


async def run_load(
    url: str,
    body: bytes,
    *,
    concurrency: int,
    requests: int,
    rate: float | None = None,
    headers: Sequence[str] = (),
) -> LoadReport:
    """POST `body` so often and measure; with a `rate`, `concurrency` only bounds how many are out at once."""
    tally = _Tally()
    connections = [Connection(url, headers) for _ in range(concurrency)]
    start = time.perf_counter()
    if rate is None:
        await _closed_loop(connections, body, requests, tally)
    else:
        await _open_loop(connections, body, requests, rate, tally)
    seconds = time.perf_counter() - start
    await asyncio.gather(*(connection.close() for connection in connections))
    return LoadReport(
        concurrency=concurrency,
        rate=rate,
        requests=requests,
        seconds=round(seconds, 3),
        requests_per_second=round(len(tally.latencies) / seconds, 1),
        p50_ms=_percentile(tally.latencies, 0.50),
        p95_ms=_percentile(tally.latencies, 0.95),
        p99_ms=_percentile(tally.latencies, 0.99),
        first_byte_p50_ms=_percentile(tally.first_bytes, 0.50),
        statuses=dict(sorted(tally.statuses.items())),
    )


async def _closed_loop(connections: Sequence[Connection], body: bytes, requests: int, tally: _Tally) -> None:
    left = iter(range(requests))

    async def ask_on(connection: Connection) -> None:
        for _ in left:
            start = time.perf_counter()
            status, _, first_byte = await connection.ask(body)
            tally.add(start, first_byte, status)

    await asyncio.gather(*(ask_on(connection) for connection in connections))


async def _open_loop(connections: Sequence[Connection], body: bytes, requests: int, rate: float, tally: _Tally) -> None:
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in connections:
        free.put_nowait(connection)

    async def ask_once(planned: float) -> None:
        connection = await free.get()
        status, _, first_byte = await connection.ask(body)
        tally.add(planned, first_byte, status)
        free.put_nowait(connection)

    start = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(requests):
            planned = start + number / rate
            await asyncio.sleep(planned - time.perf_counter())
            tasks.create_task(ask_once(planned))


def _percentile(seconds: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile in milliseconds."""
    if not seconds:
        return None
    return round(quantile(sorted(seconds), share) * 1000, 3)


def chat_body(text: str, *, model: str = "coterie", stream: bool = False) -> bytes:
    """The body of a chat request."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
    return json.dumps(body).encode()


def main() -> None:
    """Run one load and print its report as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="where to POST")
    parser.add_argument("--text", default="I lost my card", help="what to ask")
    parser.add_argument("--model", default="coterie")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--rate", type=float, help="requests a second; left out, a closed loop")
    given = parser.parse_args()
    body = chat_body(given.text, model=given.model, stream=given.stream)
    work = run_load(given.url, body, concurrency=given.concurrency, requests=given.requests, rate=given.rate)
    print(json.dumps(asdict(asyncio.run(work)), indent=2))


if __name__ == "__main__":
    main()

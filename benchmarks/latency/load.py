"""A small load generator for HTTP servers: raw asyncio streams and kept connections, so that it measures the server.

    python benchmarks/latency/load.py http://127.0.0.1:8321/v1/chat/completions --text "I lost my card" --concurrency 16

Closed loop (default): each of `--concurrency` callers sends its next request when it has the last response.
Open loop (`--rate`): requests start at fixed times whatever the server does, and a latency counts from
the planned start, so that a server which falls behind cannot hide it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit


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


class _Connection:
    """One kept connection; it opens itself again when the server closes it."""

    def __init__(self, url: str, body: bytes, headers: Sequence[str] = ()) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        lines = [
            f"POST {parts.path or '/'} HTTP/1.1",
            f"Host: {parts.netloc}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *headers,
        ]
        self._request = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> tuple[int, float]:
        """The status, and when the body's first byte came. 0 for a connection that broke."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._host, self._port)
            reader, writer = self._streams
            writer.write(self._request)
            return await self._read(reader)
        except (OSError, asyncio.IncompleteReadError):
            await self.close()
            return 0, time.perf_counter()

    async def _read(self, reader: asyncio.StreamReader) -> tuple[int, float]:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(b" ", 2)[1])
        if b"\r\ntransfer-encoding: chunked" in head:
            first_byte = await self._read_chunks(reader)
        else:
            length = int(head.split(b"\r\ncontent-length:", 1)[1].split(b"\r\n", 1)[0])
            await reader.readexactly(length)
            first_byte = time.perf_counter()
        if b"\r\nconnection: close" in head:
            await self.close()
        return status, first_byte

    async def _read_chunks(self, reader: asyncio.StreamReader) -> float:
        first_byte = 0.0
        while size := int(await reader.readline(), 16):
            first_byte = first_byte or time.perf_counter()
            await reader.readexactly(size + 2)
        await reader.readline()
        return first_byte

    async def close(self) -> None:
        """Close it; the next `ask` opens another."""
        if self._streams is not None:
            writer = self._streams[1]
            self._streams = None
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


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
    connections = [_Connection(url, body, headers) for _ in range(concurrency)]
    start = time.perf_counter()
    if rate is None:
        await _closed_loop(connections, requests, tally)
    else:
        await _open_loop(connections, requests, rate, tally)
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


async def _closed_loop(connections: Sequence[_Connection], requests: int, tally: _Tally) -> None:
    left = iter(range(requests))

    async def ask_on(connection: _Connection) -> None:
        for _ in left:
            start = time.perf_counter()
            status, first_byte = await connection.ask()
            tally.add(start, first_byte, status)

    await asyncio.gather(*(ask_on(connection) for connection in connections))


async def _open_loop(connections: Sequence[_Connection], requests: int, rate: float, tally: _Tally) -> None:
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    for connection in connections:
        free.put_nowait(connection)

    async def ask_once(planned: float) -> None:
        connection = await free.get()
        status, first_byte = await connection.ask()
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
    return round(sorted(seconds)[math.ceil(share * len(seconds)) - 1] * 1000, 3)


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

"""Open-loop load: requests start when they are due, whatever the server does, and a latency counts from that time.

A server that falls behind cannot hide it, as it does from callers that wait for their last answer (Schroeder, Wierman
and Harchol-Balter 2006, "Open versus closed: a cautionary tale"). Raw streams and kept connections, so that the
generator takes little of the machine that it shares with the server.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import ssl
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_SAMPLED = 20
"""Of so many answers one is read for what it cost: reading them all would take the machine from the server."""


@dataclass(frozen=True, kw_only=True)
class LoadStep:
    """What a load of one rate met. Latencies in milliseconds, of answered requests, sorted."""

    rate: float
    """Planned requests a second."""
    seconds: float
    planned: int
    latencies: tuple[float, ...]
    growth: float
    """Median latency of the last third of the requests over that of the first third."""
    statuses: dict[str, int]
    """Of all requests; `0` is a connection that broke."""
    late_ms: float
    """How late the generator itself started its requests, at the 95th percentile."""
    usage: tuple[dict[str, Any], ...] = ()
    """`coterie.usage` of sampled answers."""

    @property
    def answered(self) -> float:
        """Share of the planned requests that were answered."""
        return len(self.latencies) / self.planned if self.planned else 0.0


class Received(NamedTuple):
    """A response."""

    status: int
    """0 for a connection that broke."""
    body: bytes
    first_byte: float
    """`time.perf_counter()` when the first piece of the body was there."""


class Connection:
    """One kept connection for POST requests; it opens itself again when the server closes it."""

    def __init__(self, url: str, headers: Sequence[str] = ()) -> None:
        """Name the address; nothing is opened yet."""
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or (443 if self._secure else 80)
        lines = [f"POST {parts.path or '/'} HTTP/1.1", f"Host: {parts.netloc}", "Content-Type: application/json"]
        self._head = "\r\n".join([*lines, *headers]).encode()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, body: bytes) -> Received:
        """The response to a body; opens the connection where it is not open."""
        try:
            if self._streams is None:
                secure = ssl.create_default_context() if self._secure else None
                self._streams = await asyncio.open_connection(self._host, self._port, ssl=secure)
            reader, writer = self._streams
            writer.write(self._head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            return await self._read(reader)
        except (OSError, ValueError, IndexError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await self.close()
            return Received(0, b"", time.perf_counter())

    async def _read(self, reader: asyncio.StreamReader) -> Received:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(b" ", 2)[1])
        if b"\r\ntransfer-encoding: chunked" in head:
            body, first_byte = b"", 0.0
            while size := int(await reader.readline(), 16):
                first_byte = first_byte or time.perf_counter()
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        else:
            body = await reader.readexactly(int(head.split(b"\r\ncontent-length:", 1)[1].split(b"\r\n", 1)[0]))
            first_byte = time.perf_counter()
        if b"\r\nconnection: close" in head:
            await self.close()
        return Received(status, body, first_byte)

    async def close(self) -> None:
        """Close it; the next `ask` opens another."""
        if self._streams is not None:
            writer = self._streams[1]
            self._streams = None
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@dataclass
class _Tally:
    latencies: list[tuple[int, float]] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    late: list[float] = field(default_factory=list)
    usage: list[dict[str, Any]] = field(default_factory=list)


async def run_open_loop(
    url: str,
    texts: Sequence[str],
    *,
    rate: float,
    seconds: float,
    seed: int,
    headers: Sequence[str] = (),
    most_open: int = 256,
) -> LoadStep:
    """Ask `texts` in turn at Poisson arrivals of a rate, and wait for all answers.

    Args:
        url: Of `/v1/chat/completions`.
        texts: Asked one after the other, from the start again when they end.
        rate: Requests a second, on average.
        seconds: How long requests start.
        seed: Of the arrivals.
        headers: Lines of each request's head, such as `Authorization: Bearer ...`.
        most_open: Connections at once; more requests than that wait for one, and the wait counts.
    """
    chance, planned = random.Random(seed), [0.0]  # noqa: S311 - arrivals, no secret
    while planned[-1] < seconds:
        planned.append(planned[-1] + chance.expovariate(rate))
    del planned[-1]
    free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    connections = [Connection(url, headers) for _ in range(most_open)]
    for connection in connections:
        free.put_nowait(connection)
    tally, start = _Tally(), time.perf_counter()

    async def ask(number: int, due: float) -> None:
        connection = await free.get()
        status, body, _ = await connection.ask(chat_body(texts[number % len(texts)]))
        tally.statuses[str(status)] += 1
        if status == 200:
            tally.latencies.append((number, 1000 * (time.perf_counter() - due)))
            if number % _SAMPLED == 0:
                tally.usage.append(json.loads(body).get("coterie", {}).get("usage", {}))
        free.put_nowait(connection)

    async with asyncio.TaskGroup() as tasks:
        for number, after in enumerate(planned):
            due = start + after
            await asyncio.sleep(due - time.perf_counter())
            tally.late.append(1000 * (time.perf_counter() - due))
            tasks.create_task(ask(number, due))
    took = time.perf_counter() - start
    await asyncio.gather(*(connection.close() for connection in connections))
    in_order = [latency for _, latency in sorted(tally.latencies)]
    third = max(len(in_order) // 3, 1)
    return LoadStep(
        rate=rate,
        seconds=took,
        planned=len(planned),
        latencies=tuple(sorted(in_order)),
        growth=quantile(sorted(in_order[-third:]), 0.5) / max(quantile(sorted(in_order[:third]), 0.5), 1e-9),
        statuses=dict(sorted(tally.statuses.items())),
        late_ms=quantile(sorted(tally.late), 0.95),
        usage=tuple(tally.usage),
    )


def chat_body(text: str) -> bytes:
    """A request of one question."""
    return json.dumps({"model": "coterie", "messages": [{"role": "user", "content": text}]}).encode()


def quantile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank quantile of sorted values; NaN of none."""
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1] if ordered else math.nan

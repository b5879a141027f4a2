"""Open-loop load, whose requests start when they are due, and latency as a function of the rate.

A slow server cannot hide its delay, as it can from callers that wait for their last answer (Schroeder, Wierman and
Harchol-Balter 2006, "Open versus closed: a cautionary tale"). The module uses raw streams and kept connections, so
that the generator takes little of the machine that it shares with the server.

A queueing model fitted to closed loops predicted a tenth of the measured latencies (the gateway batches, so a request
costs less the more are waiting). Therefore there is no model here: quantiles are interpolated between open loops of
the same mix.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import ssl
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from coterie.errors import InputError

SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_SAMPLED = 20
"""One in this many answers is read for its cost: reading them all would take the machine from the server."""


@dataclass(frozen=True, kw_only=True)
class LoadStep:
    """The result of a load at one rate. Latencies are in milliseconds, of answered requests, sorted."""

    rate: float
    """Planned requests a second."""
    seconds: float
    planned: int
    latencies: tuple[float, ...]
    growth: float
    """Median latency of the last third of the requests over that of the first third."""
    statuses: dict[str, int]
    """Number of requests by status; `0` is a broken connection."""
    late_ms: float
    """Delay of the generator itself in starting its requests, at the 95th percentile, in milliseconds."""
    usage: tuple[dict[str, Any], ...] = ()
    """`coterie.usage` of sampled answers."""

    @property
    def answered(self) -> float:
        """Share of the planned requests that were answered."""
        return len(self.latencies) / self.planned if self.planned else 0.0


class Received(NamedTuple):
    """A response."""

    status: int
    """The HTTP status; 0 for a broken connection."""
    body: bytes
    first_byte: float
    """`time.perf_counter()` when the first piece of the body arrived."""


class Connection:
    """One kept connection for POST requests; it reopens itself when the server closes it."""

    def __init__(self, url: str, headers: Sequence[str] = ()) -> None:
        """Set the address without connecting."""
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or (443 if self._secure else 80)
        lines = [f"POST {parts.path or '/'} HTTP/1.1", f"Host: {parts.netloc}", "Content-Type: application/json"]
        self._head = "\r\n".join([*lines, *headers]).encode()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, body: bytes) -> Received:
        """Send a body and return the response; open the connection first where it is not open."""
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
        """Close the connection; the next `ask` opens another."""
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
    """Send `texts` in turn at Poisson arrivals of a rate, and wait for all answers.

    Args:
        url: The address of `/v1/chat/completions`.
        texts: Questions, sent one after the other, from the start again when they end.
        rate: Requests a second, on average.
        seconds: How long requests are started.
        seed: Seed of the arrivals.
        headers: Lines of each request's head, such as `Authorization: Bearer ...`.
        most_open: Connections at once; further requests wait for one, and their wait counts.
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
    """Return the body of a chat request with one question."""
    return json.dumps({"model": "coterie", "messages": [{"role": "user", "content": text}]}).encode()


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank quantile of sorted values; NaN if there are none."""
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1] if ordered else math.nan


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Quantiles (`p50`, `p90`, `p95`, `p99`) in milliseconds at one rate."""

    rate: float
    pooled: Mapping[str, float]
    """Quantiles of the requests of all rounds together."""
    rounds: tuple[Mapping[str, float], ...]
    """Quantiles of each round alone; the spread between rounds is the uncertainty."""


@dataclass(frozen=True, kw_only=True)
class RequestCost:
    """Average cost of a request; None where unknown."""

    cpu_seconds: float | None
    joules: float | None
    joules_kind: Literal["measured", "estimated"]
    money: float | None
    """Cost in the currency of the network's file."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The capacity of one replica: a gateway with its workers, on the machine where it was measured."""

    workers: int
    knee: float
    """Requests a second above which requests queue up; the curve says nothing beyond."""
    points: tuple[CurvePoint, ...]
    """Points by rising rate, the last at the knee."""
    cost: RequestCost
    memory_mb: float | None
    """Memory of all processes in MB, shared pages counted once (PSS)."""
    mix: str
    """Source of the texts."""
    network: str
    """Checksum of coterie.toml and of the champions that were measured."""
    date: str
    machine: str
    load: tuple[float, float]
    """Load average before and after: other load on the machine is contained in the latencies."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A latency in milliseconds with the range of the rounds, which is unknown after one round."""

    value: float
    low: float | None
    high: float | None


def expected(curve: Curve, rate: float, name: str) -> Expected:
    """Return the latency of one replica at a rate.

    Args:
        curve: The measured curve.
        rate: Requests a second of this replica.
        name: `p50`, `p90`, `p95` or `p99`.

    Raises:
        InputError: the rate is beyond the knee.
    """
    if rate > curve.knee * (1 + 1e-9):
        raise InputError(
            f"One replica was asked about {rate:.4g} requests a second; from {curve.knee:.4g} on they queue up, and "
            "nothing is known beyond.",
            hint="Plan more replicas: coterie plan --rate RATE",
        )
    rates = [point.rate for point in curve.points]
    value = interpolate(rates, rising([point.pooled[name] for point in curve.points]), rate)
    count = min(len(point.rounds) for point in curve.points)
    values = [
        interpolate(rates, rising([point.rounds[number][name] for point in curve.points]), rate)
        for number in range(count)
    ]
    low, high = (min(values), max(values)) if len(values) > 1 else (None, None)
    return Expected(value=value, low=low, high=high)


def rising(values: Sequence[float]) -> list[float]:
    """Return the nearest values that do not fall (pool adjacent violators): more load never lowers a latency."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        total, count = value, 1
        while blocks and blocks[-1][0] > total:
            before, weight = blocks.pop()
            total, count = (before * weight + total * count) / (weight + count), weight + count
        blocks.append((total, count))
    return [value for value, count in blocks for _ in range(count)]


def interpolate(rates: Sequence[float], values: Sequence[float], rate: float) -> float:
    """Return the value at a rate, interpolated linearly between logarithms; below the first rate, the first value."""
    position = bisect_left(rates, rate)
    if position == 0 or position == len(rates):
        return values[min(position, len(rates) - 1)]
    share = (rate - rates[position - 1]) / (rates[position] - rates[position - 1])
    low, high = math.log(values[position - 1]), math.log(values[position])
    return math.exp(low + share * (high - low))


def replicas_for(curve: Curve, rate: float, *, p95: float | None = None) -> int:
    """Return the fewest replicas that bear a rate, each at or below its knee and, if given, within a p95.

    Raises:
        InputError: one replica does not keep this p95 at any rate that was measured.
    """
    fewest = max(1, math.ceil(rate / curve.knee * (1 - 1e-9)))
    if p95 is None:
        return fewest
    best = curve.points[0].rate
    if expected(curve, best, "p95").value > p95:
        raise InputError(
            f"A p95 of {p95:g} ms was asked for; a replica has {expected(curve, best, 'p95').value:.3g} ms at "
            f"{best:.3g} requests a second, the lowest rate that was measured.",
            hint="Ask for a higher one, or measure on a faster machine.",
        )
    low, high = best, curve.knee  # the highest rate that keeps it: the curve does not fall
    if expected(curve, high, "p95").value <= p95:
        return fewest
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if expected(curve, middle, "p95").value <= p95 else (low, middle)
    return max(fewest, math.ceil(rate / low * (1 - 1e-9)))

"""A load generator on bare asyncio protocols: about .05 ms of CPU a request, so that it measures the server.

Closed loop: each caller sends its next request when it has the last response. Open loop: requests start at even times
whatever the server does, and a latency counts from the planned start.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

_SETTLE_SECONDS = 0.5
"""After which a server has taken the 256 connections of an open loop; it answers requests beside that, but later."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a load met; latencies in milliseconds. A request of an open loop that was refused counts as infinite."""

    requests: int
    seconds: float
    p50: float
    p95: float
    p99: float
    statuses: dict[int, int]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.statuses.get(200, 0) / self.seconds


class Connection(asyncio.Protocol):
    """One kept connection with one request on it at most."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._needed, self._chunked = -1, False
        self._waiter: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes) -> asyncio.Future[int]:
        """Send a request; the status comes with the last byte of the response."""
        if self.transport is None or self.transport.is_closing():
            raise ConnectionError("The server closed the connection.")
        self._waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._waiter

    def data_received(self, data: bytes) -> None:
        """Take a piece of the response."""
        self._buffer += data
        if self._needed < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            self._chunked = b"\r\ntransfer-encoding: chunked" in head
            length = 0 if self._chunked else int(head.split(b"\r\ncontent-length:", 1)[1].split(b"\r\n", 1)[0])
            self._needed = end + 4 + length
        whole = self._buffer.endswith(b"\r\n0\r\n\r\n") if self._chunked else len(self._buffer) >= self._needed
        if whole and self._waiter is not None:
            status, waiter = int(self._buffer[9:12]), self._waiter
            self._buffer.clear()
            self._needed, self._waiter = -1, None
            if not waiter.done():
                waiter.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(exc or ConnectionError("The server closed the connection."))


def requests_of(url: str, texts: Iterable[str], *, model: str, key: str = "", **more: object) -> list[bytes]:
    """A whole HTTP request for each text; `more` goes into each body."""
    parts = urlsplit(url)
    made = []
    for text in texts:
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}], **more}).encode()
        head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
            + (f"Authorization: Bearer {key}\r\n" if key else "")
            + f"Content-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


async def run_load(
    url: str, requests: Sequence[bytes], *, callers: int = 1, rate: float | None = None, seconds: float | None = None
) -> Load:
    """Send requests, each once, from so many callers or at so many a second.

    Args:
        url: Host and port are used.
        requests: What is sent.
        callers: Of a closed loop; connections of an open one.
        rate: Requests a second; None for a closed loop.
        seconds: A closed loop begins no request after so long.
    """
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(Connection, parts.hostname, parts.port))[1]
        for _ in range(callers if rate is None else 256)
    ]
    if rate is not None:
        await asyncio.sleep(_SETTLE_SECONDS)  # a connection is there before the server has taken it
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    with _no_collector():
        begin = time.perf_counter()
        if rate is None:
            end = math.inf if seconds is None else begin + seconds
            left = iter(requests)
            await asyncio.gather(*(_caller(connection, left, end, latencies, statuses) for connection in connections))
        else:
            await _open_loop(connections, requests, rate, latencies, statuses)
        took = time.perf_counter() - begin
    for connection in connections:
        if connection.transport is not None:
            connection.transport.close()
    latencies.sort()
    return Load(
        requests=len(latencies),
        seconds=took,
        p50=_quantile(latencies, 0.5),
        p95=_quantile(latencies, 0.95),
        p99=_quantile(latencies, 0.99),
        statuses=dict(statuses),
    )


async def _caller(
    connection: Connection, left: Iterator[bytes], end: float, latencies: list[float], statuses: Counter[int]
) -> None:
    for request in left:
        start = time.perf_counter()
        if start >= end:
            return
        status = await connection.ask(request)
        statuses[status] += 1
        if status == 200:
            latencies.append((time.perf_counter() - start) * 1000)


async def _open_loop(
    connections: Sequence[Connection],
    requests: Sequence[bytes],
    rate: float,
    latencies: list[float],
    statuses: Counter[int],
) -> None:
    free, backlog = list(connections), deque[tuple[bytes, float]]()
    over, open_requests = asyncio.Event(), len(requests)

    def send(request: bytes, planned: float) -> None:
        if not free:
            backlog.append((request, planned))
            return
        connection = free.pop()

        def answered(done: asyncio.Future[int]) -> None:
            nonlocal open_requests
            status = 0 if done.exception() else done.result()
            statuses[status] += 1
            latencies.append((time.perf_counter() - planned) * 1000 if status == 200 else math.inf)
            free.append(connection)
            if backlog:
                send(*backlog.popleft())
            open_requests -= 1
            if not open_requests:
                over.set()

        connection.ask(request).add_done_callback(answered)

    start = time.perf_counter()
    for number, request in enumerate(requests):
        planned = start + number / rate
        if (wait := planned - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        send(request, planned)
    await over.wait()


@contextmanager
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else math.nan

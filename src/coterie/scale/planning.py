"""`coterie plan`: measure the capacity of one replica, and report how many replicas a rate needs and their cost.

The load is open-loop: requests start when they are due. A slow server cannot hide its delay, as it can from callers
that wait for their last answer (Schroeder, Wierman and Harchol-Balter 2006, "Open versus closed: a cautionary tale").
The module uses raw streams and kept connections, so that the generator takes little of the machine that it shares with
the server.

A queueing model fitted to closed loops predicted a tenth of the measured latencies (the gateway batches, so a request
costs less the more are waiting). Therefore there is no model here: quantiles are interpolated between open loops of
the same mix.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import platform
import random
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from coterie.config.file import Config
from coterie.errors import DataError, InputError, SetupError
from coterie.registry.registry import open_registry
from coterie.runtime.codec import DecodeError, from_json, parse_json, to_json
from coterie.runtime.files import write_bytes
from coterie.tasks.contract import task_of
from coterie.types import Ledger

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

    def typical(self, name: str) -> float:
        """Return the median of a quantile over the rounds: one disturbed round says little about the next hour."""
        return statistics.median(quantiles[name] for quantiles in self.rounds)


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
    """Return the latency of one replica at a rate, that of the median round.

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
    value = interpolate(rates, rising([point.typical(name) for point in curve.points]), rate)
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


# --- `coterie plan`: measure the capacity of one replica, and report how many replicas a rate needs and their cost.

PLAN_FILE = "state/plan.json"
_FORMAT = "coterie-plan/1"
_SHARES_OF_KNEE = (0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9, 1.0)
_STEP = 1.4
_TRIES = 24
_BISECTIONS = 3
_FEWEST = 60
"""Fewest requests of a step: a 95th percentile of fewer requests is meaningless."""
_MOST_TEXTS = 2000
_WORST = 5.0
"""Multiple of the latency of a single request above which requests count as queueing up."""
_STARTED = 120
"""Seconds within which a gateway must answer after its start."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The resources that a rate needs."""

    rate: float
    workers: int
    """Workers of each replica."""
    replicas: int
    rate_each: float
    utilisation: float
    """Rate of a replica as a share of its knee."""
    latency: Mapping[str, Expected]
    cores: float | None
    """Busy cores of all replicas."""
    memory_mb: float | None
    joules_per_request: float | None
    joules_kind: str
    watts: float | None
    money_per_1000: float | None
    money_per_hour: float | None
    gpu: Mapping[str, object] | None
    warnings: tuple[str, ...]


# --- The mix.


def draw_texts(config: Config, folder: Path, ledger: Ledger | None, *, seed: int) -> tuple[list[str], str]:
    """Return typical texts of this network and their source.

    The texts are examples of its specialists, weighted by their shares of the requests in the ledger. The ledger
    keeps no texts unless it is configured to, so the training files stand in for them.

    Raises:
        InputError: no specialist has a file with texts here.
    """
    pools = _pools(config, folder)
    if not pools:
        raise InputError(
            f"No specialist of {str(folder)!r} has a file with texts here, so there is nothing to ask.",
            hint='Name one: --requests FILE, JSON lines such as {"text": "Where is my parcel?"}',
        )
    counts = {row.key: row.requests for row in ledger.rows if row.key in pools} if ledger is not None else {}
    weights = counts or dict.fromkeys(pools, 1)
    chance = random.Random(seed)  # noqa: S311 - a sample, no secret
    for texts in pools.values():
        chance.shuffle(texts)
    names = chance.choices(list(weights), weights=list(weights.values()), k=_MOST_TEXTS)
    places = dict.fromkeys(pools, 0)
    drawn = []
    for name in names:
        drawn.append(pools[name][places[name] % len(pools[name])])
        places[name] += 1
    shares = ", ".join(f"{name} {count / sum(weights.values()):.0%}" for name, count in weights.items())
    total = sum(counts.values())
    return drawn, f"{shares} ({f'shares of {total:,} of the ledger' if total else 'even shares: the ledger has none'})"


def not_asked(config: Config, folder: Path, ledger: Ledger | None) -> tuple[str, ...]:
    """Return a warning for each specialist with requests in the ledger, and without texts to ask."""
    pools = _pools(config, folder)
    rows = [row for row in (ledger.rows if ledger is not None else ()) if row.key in config.specialists]
    total = sum(row.requests for row in rows)
    return tuple(
        f"{row.key!r} has {row.requests / total:.0%} of the ledger's requests and no file with texts, and was not "
        "asked: --requests FILE names texts"
        for row in rows
        if row.requests and row.key not in pools
    )


def _pools(config: Config, folder: Path) -> dict[str, list[str]]:
    """Return the texts of each specialist that has a file with some."""
    pools: dict[str, list[str]] = {}
    for name, section in config.specialists.items():
        path = folder / section.data if section.data else None
        if path is None or not path.is_file():
            continue
        try:
            data = task_of(section).read_rows(section, path)
        except DataError:
            continue
        if texts := [text for text in data.texts if text.strip()]:
            pools[name] = texts
    return pools


def read_texts(path: Path) -> tuple[list[str], str]:
    """Return the texts of a file of JSON lines. Raises `InputError`."""
    texts = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            texts.append(str(parse_json(line)["text"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"Line {number} of {str(path)!r} is no JSON object with a `text` ({type(error).__name__}).",
                hint='A line such as {"text": "Where is my parcel?"}',
            ) from error
    if not texts:
        raise InputError(f"{str(path)!r} has no line.", hint='Lines such as {"text": "Where is my parcel?"}')
    return texts, f"{len(texts)} texts of {path.name}"


# --- The replica.


@dataclass(frozen=True, kw_only=True)
class Replica:
    """A gateway under measurement."""

    address: str
    pid: int | None = None
    """The id of its first process, where the process is one of ours."""

    @property
    def pids(self) -> list[int]:
        """Ids of the gateway's process and of its workers."""
        if self.pid is None:
            return []
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii").split()
        except OSError:
            children = []
        return [self.pid, *map(int, children)]

    def cpu_seconds(self) -> float | None:
        """Return the CPU-seconds of its processes; None where they cannot be read."""
        ticks = 0
        try:
            for pid in self.pids:
                fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
                ticks += int(fields[11]) + int(fields[12])
        except (OSError, IndexError, ValueError):
            return None
        return ticks / os.sysconf("SC_CLK_TCK") if self.pid is not None else None

    def memory_mb(self) -> float | None:
        """Return the memory of its processes in MB, shared pages counted once; None where it cannot be read."""
        kilobytes = 0
        try:
            for pid in self.pids:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
                kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, IndexError, ValueError):
            return None
        return kilobytes / 1024 if kilobytes else None


@contextmanager
def serving(folder: Path, config: Config, *, workers: int) -> Iterator[Replica]:
    """Serve a copy of the network on a free port of 127.0.0.1, with its own ledger, audit log and budgets.

    Raises:
        InputError: its rows are in PostgreSQL, or requests may reach a remote model.
        SetupError: the gateway does not start.
    """
    if config.store.url is not None:
        raise InputError(
            "This network keeps its rows in PostgreSQL ([store] url): a load here would be written there.",
            hint="Start a gateway on a database for tests and name it: coterie plan --measure --url http://HOST:PORT",
        )
    if config.generalist is not None:
        raise InputError(
            f"What no specialist answers goes to {config.generalist.model!r}, so a load may cost money.",
            hint="Name a gateway that may be loaded: coterie plan --measure --url http://HOST:PORT",
        )
    with tempfile.TemporaryDirectory(prefix="coterie-plan-") as name:
        copy = Path(name)
        for path in folder.iterdir():
            if path.name not in {"state", "coterie.toml"}:
                (copy / path.name).symlink_to(path.resolve())
        shutil.copy2(folder / "coterie.toml", copy)
        (copy / "state").mkdir()
        for path in (folder / "state").glob("*"):
            if path.name == "knowledge" or path.suffix == ".safetensors":
                (copy / "state" / path.name).symlink_to(path.resolve())
        command = [sys.executable, "-m", "coterie", "-C", str(copy), "serve", "--host", "127.0.0.1", "--port", "0"]
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, "--workers", str(workers), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                _, stderr = process.communicate(timeout=_STARTED)
                raise SetupError(f"The network does not start: {stderr.strip()[-300:]}", hint="Run: coterie doctor")
            yield Replica(address=json.loads(line)["address"], pid=process.pid)
        finally:
            process.terminate()
            process.communicate(timeout=_STARTED)


# --- The measurement.


class Measurement:
    """Loads one replica until its requests queue up, then measures rates below that."""

    def __init__(
        self,
        replica: Replica,
        texts: Sequence[str],
        *,
        seconds: float = 4.0,
        rounds: int = 3,
        headers: Sequence[str] = (),
        repeated: bool = False,
        say: Say = lambda _: None,
    ) -> None:
        """Set up the load of a replica.

        Args:
            replica: A running gateway.
            texts: Questions, sent in turn.
            seconds: Duration of each step.
            rounds: Steps at each rate; the spread between them is the uncertainty.
            headers: Headers of each request, such as a key.
            repeated: Whether texts are sent unchanged, also again. Otherwise a number is appended to each: a text that
                was sent before is answered from memory, at lower cost.
            say: Called with progress messages.
        """
        self._replica, self._texts, self._seconds, self._rounds = replica, texts, seconds, rounds
        self._headers, self._repeated, self._say = headers, repeated, say
        self._number, self._asked = 0, 0
        self.alone = math.inf
        """Median latency of a request alone, in milliseconds; known once the knee is looked for."""
        self._usage: list[Mapping[str, object]] = []

    async def run(
        self, after_round: Callable[[float], Awaitable[None]] | None = None
    ) -> tuple[float, tuple[CurvePoint, ...], RequestCost, tuple[str, ...]]:
        """Measure the replica, and return the knee, the points up to it, the cost of a request, and warnings.

        Args:
            after_round: Called with the knee after each round: a check of the curve alternates with it.

        Raises:
            InputError: the gateway does not answer, or keeps up with no rate.
        """
        knee = await self._find_knee()
        measures_cpu, spent, answered, late = self._replica.cpu_seconds() is not None, 0.0, 0, 0.0
        steps: dict[float, list[LoadStep]] = {share: [] for share in _SHARES_OF_KNEE}
        for number in range(self._rounds):
            began, order = self._replica.cpu_seconds() or 0.0, list(_SHARES_OF_KNEE)
            random.Random(number).shuffle(order)  # noqa: S311 - so that no rate is always measured after the same one
            for share in order:
                step = await self.load(share * knee)
                steps[share].append(step)
                answered, late = answered + len(step.latencies), max(late, step.late_ms)
            spent += (self._replica.cpu_seconds() or 0.0) - began
            if after_round is not None:
                await after_round(knee)
        kept = self._kept(steps)
        points = tuple(_point(share * knee, rounds) for share, rounds in kept.items())
        cpu = spent / max(answered, 1) if measures_cpu else None
        warnings = (f"the generator started requests up to {late:.0f} ms late",) if late > 20 else ()
        return points[-1].rate, points, self._cost(cpu), warnings

    async def _find_knee(self) -> float:
        """Return the highest rate that is kept up: raise the rate until it is not, then bisect the gap."""
        first = await self.load(1.0, seconds=5.0)
        if first.answered < 1:
            raise InputError(
                f"The gateway answered {len(first.latencies)} of {first.planned} requests (statuses {first.statuses}).",
                hint="Ask it once by hand: coterie ask, or curl; with keys, name one: --key env:NAME",
            )
        self.alone = max(quantile(first.latencies, 0.5), 0.1)
        rate = 250.0 / self.alone
        good, bad = 0.0, math.inf
        for _ in range(_TRIES):
            step = await self.load(rate)
            good, bad = (rate, bad) if self._bears(step) else (good, rate)
            if bad < math.inf and good:
                break
            rate = rate * _STEP if bad == math.inf else rate / _STEP
        for _ in range(_BISECTIONS):
            rate = math.sqrt(good * bad) if bad < math.inf else good
            good, bad = (rate, bad) if self._bears(await self.load(rate)) else (good, rate)
        if not good:
            raise InputError("The gateway keeps up with no rate.", hint="Measure when the machine has less to do.")
        return good

    async def load(self, rate: float, *, seconds: float | None = None) -> LoadStep:
        """Run one open loop at a rate."""
        self._number += 1
        lasts = seconds or max(self._seconds, _FEWEST / rate)
        first, count = self._asked, int(rate * lasts * 1.5) + 100
        self._asked += count
        texts = [self._texts[number % len(self._texts)] for number in range(first, first + count)]
        step = await run_open_loop(
            f"{self._replica.address}/v1/chat/completions",
            texts if self._repeated else [f"{text} {index}" for index, text in enumerate(texts, start=first)],
            rate=rate,
            seconds=lasts,
            seed=self._number,
            headers=self._headers,
        )
        self._usage += step.usage
        p50, p95 = quantile(step.latencies, 0.5), quantile(step.latencies, 0.95)
        self._say(f"{rate:8.1f}/s  p50 {p50:7.1f} ms  p95 {p95:7.1f} ms  {'' if self._bears(step) else 'queues up'}")
        return step

    def _bears(self, step: LoadStep) -> bool:
        return kept_up(step, self.alone)

    def _kept(self, steps: Mapping[float, list[LoadStep]]) -> dict[float, list[LoadStep]]:
        """Return the steps of the rates below the first one that most rounds did not keep up with (the knee)."""
        kept: dict[float, list[LoadStep]] = {}
        for share, rounds in steps.items():
            if kept and sum(map(self._bears, rounds)) * 2 < len(rounds):
                break
            kept[share] = rounds
        return kept

    def _cost(self, cpu_seconds: float | None) -> RequestCost:
        joules, money = (_mean([usage.get(key) for usage in self._usage]) for key in ("joules", "cost"))
        kinds = {usage.get("joules_kind") for usage in self._usage}
        return RequestCost(
            cpu_seconds=cpu_seconds,
            joules=joules,
            joules_kind="measured" if kinds == {"measured"} else "estimated",
            money=money,
        )


def kept_up(step: LoadStep, alone: float) -> bool:
    """Return whether a replica bears a rate without a queue.

    Args:
        step: All of its requests must be answered, and later ones must not wait much longer than earlier ones.
        alone: Median latency of a single request, in milliseconds; that of the step is at most five times as long.
    """
    grows = step.growth > 2.0 and quantile(step.latencies, 0.95) > _WORST * alone
    return step.answered >= 0.99 and not grows and quantile(step.latencies, 0.5) <= _WORST * alone


def _point(rate: float, steps: Sequence[LoadStep]) -> CurvePoint:
    together = sorted(latency for step in steps for latency in step.latencies)
    return CurvePoint(
        rate=rate,
        pooled={name: quantile(together, share) for name, share in SHARES.items()},
        rounds=tuple({name: quantile(step.latencies, share) for name, share in SHARES.items()} for step in steps),
    )


def _mean(values: Sequence[object]) -> float | None:
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return statistics.fmean(numbers) if numbers and len(numbers) == len(values) else None


def measure(
    config: Config,
    folder: Path,
    replica: Replica,
    texts: Sequence[str],
    *,
    mix: str,
    workers: int,
    seconds: float,
    rounds: int,
    headers: Sequence[str] = (),
    repeated: bool = False,
    say: Say,
) -> Curve:
    """Measure the capacity of a replica. Raises `InputError`."""
    before = os.getloadavg()[0]
    work = Measurement(replica, texts, seconds=seconds, rounds=rounds, headers=headers, repeated=repeated, say=say)
    knee, points, cost, warnings = asyncio.run(work.run())
    after = os.getloadavg()[0]
    return Curve(
        workers=workers,
        knee=knee,
        points=points,
        cost=cost,
        memory_mb=replica.memory_mb(),
        mix=mix,
        network=network_of(config, folder),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        load=(round(before, 2), round(after, 2)),
        warnings=warnings,
    )


def network_of(config: Config, folder: Path) -> str:
    """Return a checksum of the file and the champions that a curve belongs to."""
    digest = sha256((folder / "coterie.toml").read_bytes())
    registry = open_registry(folder, config.registry)
    for name in sorted(config.specialists):
        digest.update(f"{name} {registry.alias(name, 'champion')}\n".encode())
    return digest.hexdigest()[:16]


# --- Kept curves, and the answer.


def save(folder: Path, curve: Curve) -> None:
    """Save a curve beside those of other numbers of workers."""
    curves = {str(load_curve.workers): to_json(load_curve) for load_curve in load_curves(folder)}
    curves[str(curve.workers)] = to_json(curve)
    path = folder / PLAN_FILE
    path.parent.mkdir(exist_ok=True)
    write_bytes(path, json.dumps({_FORMAT: curves}, indent=1).encode())


def load_curves(folder: Path) -> list[Curve]:
    """Return the saved curves, by workers. Raises `InputError` if the file is damaged."""
    path = folder / PLAN_FILE
    if not path.is_file():
        return []
    try:
        curves = parse_json(path.read_bytes())[_FORMAT]
        return sorted((from_json(Curve, curve) for curve in curves.values()), key=lambda curve: curve.workers)
    except (ValueError, KeyError, TypeError, AttributeError, DecodeError) as error:
        raise InputError(
            f"{str(path)!r} cannot be read: {error}.", hint="Measure again: coterie plan --measure"
        ) from error


def plan(
    curve: Curve,
    rate: float,
    *,
    p95: float | None = None,
    gpu_price: Decimal | None = None,
    generated: RequestCost | None = None,
    network: str | None = None,
) -> Plan:
    """Return the resources that a rate needs, from a measured curve.

    Args:
        curve: The curve of one replica.
        rate: Requests a second of all replicas together.
        p95: Milliseconds that the 95th percentile must keep.
        gpu_price: Price of one GPU per hour.
        generated: Average cost of a request for models that a GPU could run.
        network: Checksum of the current network, to warn when the curve belongs to another.

    Raises:
        InputError: no number of replicas keeps the p95.
    """
    count = replicas_for(curve, rate, p95=p95)
    rate_each = rate / count
    cost = curve.cost
    warnings = list(curve.warnings)
    if network is not None and network != curve.network:
        warnings.append(f"measured on {curve.date[:10]} with another file or other versions: coterie plan --measure")
    if rate_each < curve.points[0].rate:
        warnings.append(
            f"below the lowest measured rate ({curve.points[0].rate:.3g}/s): latencies are those of that one"
        )
    if max(curve.load) > (os.cpu_count() or 1):
        warnings.append(f"others used the machine while it was measured (load {max(curve.load):g}): it bears more")
    return Plan(
        rate=rate,
        workers=curve.workers,
        replicas=count,
        rate_each=rate_each,
        utilisation=rate_each / curve.knee,
        latency={name: expected(curve, rate_each, name) for name in SHARES},
        cores=None if cost.cpu_seconds is None else cost.cpu_seconds * rate,
        memory_mb=None if curve.memory_mb is None else curve.memory_mb * count,
        joules_per_request=cost.joules,
        joules_kind=cost.joules_kind,
        watts=None if cost.joules is None else cost.joules * rate,
        money_per_1000=None if cost.money is None else cost.money * 1000,
        money_per_hour=None if cost.money is None else cost.money * rate * 3600,
        gpu=None if gpu_price is None else _gpu(rate, gpu_price, generated),
        warnings=tuple(warnings),
    )


def _gpu(rate: float, price: Decimal, generated: RequestCost | None) -> dict[str, object]:
    """Compute the rate above which a GPU costs less than the models that it would replace."""
    about: dict[str, object] = {"price_per_hour": float(price)}
    if generated is None or not generated.money:
        return about | {"pays": False, "pays_from_rate": None, "why": "nothing in the ledger was generated for money"}
    least = float(price) / 3600 / generated.money
    return about | {"pays": rate >= least, "pays_from_rate": least, "replaces_per_request": generated.money}


def generated_cost(config: Config, ledger: Ledger | None) -> RequestCost | None:
    """Return the average cost of a request for the models in `[models]`, by a ledger of models; None if unknown."""
    if ledger is None or not ledger.total.requests:
        return None
    rows = [row for row in ledger.rows if row.key in config.models]
    if not rows or any(row.unpriced for row in rows):
        return None
    count = ledger.total.requests
    return RequestCost(
        cpu_seconds=sum(row.cpu_seconds for row in rows) / count,
        joules=sum(row.joules for row in rows) / count,
        joules_kind="estimated",
        money=float(sum((row.cost for row in rows), Decimal(0))) / count,
    )

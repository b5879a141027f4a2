"""How long each page of the console takes with a million requests in the store.

python benchmarks/console/run.py                      # makes the store below TMPDIR: some ten minutes
python benchmarks/console/run.py --keep FOLDER        # makes it there, and leaves it
python benchmarks/console/run.py --store FILE         # one that was made before
python benchmarks/console/run.py --consoles 5         # the gateway's latency with open consoles against none
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import httpx
from synthetic import fill, fill_audit, fill_flywheel

from coterie.assembly import open_network
from coterie.config.file import GatewaySection
from coterie.console.app import Console
from coterie.gateway.app import create_app
from coterie.network.network import Network
from coterie.training.train import train
from coterie.types import RequestFilter

TOML = """
[network]
name = "benchmark"
[store]
path = "{store}"
keep_content = true
[audit]
path = "{audit}"
[models.large]
engine = "openai"
base_url = "http://127.0.0.1:9/v1"
name = "large"
clearance = "public"
[specialists.intents]
task = "classify"
data = "intents.csv"
description = "What customers ask the shop."
"""
BARS = {"spend": 100.0}
"""Milliseconds at the 95th percentile; 50 for other pages."""


def folder_with(store: Path, at: Path | None = None) -> Path:
    """A network with one trained specialist, on that store."""
    folder = at or Path(tempfile.mkdtemp(prefix="console-"))
    if (folder / "coterie.toml").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        f"where is parcel number {n},delivery\nsend back item {n},returns\nbill {n} is wrong,billing" for n in range(12)
    ]
    (folder / "intents.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    (folder / "coterie.toml").write_text(TOML.format(store=store, audit=store.with_name("audit.jsonl")))
    train(folder)
    return folder


def pages_of(traces: list[str], session: str, deep: str) -> dict[str, str]:
    """The pages that are asked for."""
    return {
        "network": "/",
        "network, figures": "/?part=figures",
        "playground": "/playground",
        "traffic": "/traffic",
        "traffic, one status": "/traffic?status=escalated",
        "traffic, one specialist": "/traffic?specialist=specialist-09",
        "traffic, a page far back": f"/traffic?after={deep}",
        "one request": f"/traffic/{traces[0]}",
        "sessions": "/sessions",
        "one session": f"/sessions/{session}",
        "spend, 30 days": "/spend?span=30d",
        "spend, 365 days": "/spend?span=365d",
        "spend, a day": "/spend?span=1d",
        "specialist": "/specialists/intents",
        "review, spot checks": "/review?queue=spot:intents",
        "review, a job": "/review?queue=job:job-2",
        "review, progress": "/review?queue=job:job-2&part=progress",
        "flywheel": "/flywheel",
        "right-sizing": "/rightsizing",
        "governance": "/governance",
        "audit": "/governance/audit",
        "audit, a page far back": "/governance/audit?before=300000",
        "audit, a rare kind": "/governance/audit?kind=promote",
        "egress": "/governance/egress",
        "erasure": "/governance/erasure",
        "keys": "/governance/keys",
        "connect": "/connect",
    }


async def measure(folder: Path, rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Milliseconds of each page: the median and the 95th percentile of so many rounds, in turn, or of such a time."""
    until = time.perf_counter() + seconds
    async with served(folder) as (http, network):
        reply = await ask(http)
        page = await network.store.request_page(RequestFilter(tenant="default", session="", limit=1))  # type: ignore[attr-defined]
        old = await network.store.request_page(  # type: ignore[attr-defined]
            RequestFilter(tenant="default", after=(time.time() - 20 * 86_400, ""), limit=1)
        )
        sessions = await network.store.session_page("default", limit=2)  # type: ignore[attr-defined]
        deep = f"{old.lines[0].time!r}:{old.lines[0].id}"
        pages = pages_of([reply, page.lines[0].id], sessions.sessions[-1].id, deep)
        taken: dict[str, list[float]] = {name: [] for name in pages}
        cpu: dict[str, list[float]] = {name: [] for name in pages}
        for number in range(rounds + 1):
            if number > 1 and time.perf_counter() > until:
                break
            for name, path in pages.items():
                start, used = time.perf_counter(), time.process_time()
                response = await http.get(path)
                if number:  # the first round fills caches
                    taken[name].append((time.perf_counter() - start) * 1000)
                    cpu[name].append((time.process_time() - used) * 1000)
                if response.status_code != 200:
                    raise RuntimeError(f"{name}: {response.status_code} {response.text[:300]}")
        return {
            name: percentiles(times) | {"cpu_p95_ms": percentiles(cpu[name])["p95_ms"]} for name, times in taken.items()
        }


def percentiles(taken: list[float]) -> dict[str, float]:
    """The median and the 95th percentile."""
    ordered = sorted(taken)
    return {
        "p50_ms": round(statistics.median(ordered), 2),
        "p95_ms": round(ordered[int(0.95 * len(ordered))], 2),
        "n": len(ordered),
    }


class served:  # noqa: N801 - read like a function
    """The console in this process, with a client."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def __aenter__(self) -> tuple[httpx.AsyncClient, Network]:
        self.network = await open_network(self._folder)
        app = create_app(self.network, GatewaySection())
        console = Console(app, self._folder, lambda: open_network(self._folder))
        transport = httpx.ASGITransport(app=console, client=("127.0.0.1", 1))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60)
        gc.collect()
        gc.freeze()  # as `coterie serve` does: else one page in ten looks through all that was loaded, for 85 ms
        return self.http, self.network

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()
        await self.network.close()


async def ask(http: httpx.AsyncClient) -> str:
    """One request; its trace's id."""
    body = {"model": "coterie", "messages": [{"role": "user", "content": "where is parcel number 3"}]}
    reply = await http.post("/v1/chat/completions", json=body)
    return str(reply.headers["x-coterie-trace"])


async def with_consoles(folder: Path, consoles: int, rounds: int) -> dict[str, float]:
    """The median latency and the CPU time of a served gateway with open consoles against none, in stretches in turn.

    A console does what a page does: it was loaded, it listens to what happens, and fetches its figures at most every
    ten seconds. In the last two stretches nothing is asked: what an open page costs where nothing happens.
    """
    command = [sys.executable, "-m", "coterie", "-C", str(folder), "serve", "--port", "0", "--json"]
    served = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        address = json.loads(await cast("asyncio.StreamReader", served.stdout).readline())["address"]
        async with httpx.AsyncClient(base_url=address, timeout=60) as http:
            for _ in range(100):
                await ask(http)
            taken: tuple[list[float], list[float]] = [], []
            busy: tuple[list[float], list[float]] = [], []
            for number in range(rounds):
                async with _open(http, consoles if number % 2 else 0) as counts:
                    before, count_before = _cpu(served.pid), len(taken[number % 2])
                    await _asking(http, taken[number % 2])
                    busy[number % 2].append((_cpu(served.pid) - before) / (len(taken[number % 2]) - count_before))
                if number % 2 and not all(counts):
                    raise RuntimeError(f"a console fetched nothing: {counts}")
            idle = []
            for number in range(2):
                async with _open(http, consoles * number):
                    await asyncio.sleep(_REFRESH)  # all of them are loaded
                    before = _cpu(served.pid)
                    await asyncio.sleep(_STRETCH)
                    idle.append((_cpu(served.pid) - before) * 60 / _STRETCH)
    finally:
        served.terminate()
        await served.wait()
    a, b = map(statistics.median, taken)
    return {
        "alone_p50_ms": round(a, 2),
        "with_consoles_p50_ms": round(b, 2),
        "ratio": round(b / a, 3),
        "alone_cpu_ms_a_request": round(1000 * statistics.mean(busy[0]), 3),
        "with_consoles_cpu_ms_a_request": round(1000 * statistics.mean(busy[1]), 3),
        "alone_idle_cpu_s_a_minute": round(idle[0], 3),
        "with_consoles_idle_cpu_s_a_minute": round(idle[1], 3),
        "requests": len(taken[0]) + len(taken[1]),
        "consoles": consoles,
    }


_STRETCH = 20.0
"""Seconds with consoles, and without."""
_REFRESH = 10.0
"""Seconds between two times that a page fetches its figures, at least."""


async def _asking(http: httpx.AsyncClient, taken: list[float]) -> None:
    """One caller after another, for a stretch; milliseconds of each."""
    end = time.perf_counter() + _STRETCH
    while (start := time.perf_counter()) < end:
        await ask(http)
        taken.append((time.perf_counter() - start) * 1000)
        await asyncio.sleep(0.01)


def _cpu(process: int) -> float:
    """CPU seconds that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def _open(http: httpx.AsyncClient, consoles: int) -> AsyncIterator[list[int]]:
    """So many open pages; how often each has fetched its figures."""
    counts = [0] * consoles
    pages = [asyncio.create_task(_console(http, counts, at)) for at in range(consoles)]
    try:
        yield counts
    finally:
        for page in pages:
            page.cancel()
        await asyncio.gather(*pages, return_exceptions=True)


async def _console(http: httpx.AsyncClient, counts: list[int], at: int) -> None:
    """An open page of the network, which was loaded some time after the others."""
    await asyncio.sleep(at * _REFRESH / len(counts))
    (await http.get("/")).raise_for_status()
    read = time.monotonic()
    async with http.stream("GET", "/live") as live:
        before = None
        async for line in live.aiter_lines():
            if line.startswith("data: "):
                answered = json.loads(line[6:])["answered"]
                if before is not None and answered > before and time.monotonic() - read >= _REFRESH:
                    read = time.monotonic()
                    (await http.get("/?part=figures")).raise_for_status()
                    counts[at] += 1
                before = answered


def main() -> None:
    """Measure, and write the result beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--keep", type=Path, help="folder to make the store in, and to leave it in")
    parser.add_argument("--network", type=Path, help="its folder, made before or made there now")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=600.0, help="longest time for the rounds")
    parser.add_argument("--consoles", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    store = given.store
    if store is None:
        store = (given.keep or Path(tempfile.mkdtemp(prefix="million-"))) / "coterie.db"
        store.parent.mkdir(parents=True, exist_ok=True)
        now = time.time()
        fill(store, given.requests, now=now, seed=given.seed)
        fill_audit(store.with_name("audit.jsonl"), given.requests, now=now, seed=given.seed)
        asyncio.run(fill_flywheel(store, given.requests // 10, now=now, seed=given.seed))
    folder = folder_with(store.absolute(), at=given.network)
    work: Callable[[], Awaitable[object]]
    if given.consoles:
        name, work = "consoles", lambda: with_consoles(folder, given.consoles, given.rounds)
    else:
        name, work = "pages", lambda: measure(folder, given.rounds, given.seconds)
    figures = asyncio.run(work())  # type: ignore[arg-type] # a coroutine
    result = {
        "command": f"python benchmarks/console/run.py --requests {given.requests} --rounds {given.rounds}"
        + (f" --consoles {given.consoles}" if given.consoles else ""),
        "seed": given.seed,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "requests": given.requests,
        "bars_ms": {"spend": 100, "other pages": 50},
        "found": figures,
    }
    given.out.mkdir(exist_ok=True)
    (given.out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    if given.store is None and given.keep is None:
        for file in store.parent.iterdir():
            file.unlink()


if __name__ == "__main__":
    main()

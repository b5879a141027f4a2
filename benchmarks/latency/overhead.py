"""What the gateway itself costs: its own time before a network that does nothing.

    python benchmarks/latency/overhead.py

Starts a gateway in a process of its own, before a network whose router, specialist and store take no time, and
loads it from this process: closed loops of 1, 16 and 64 callers, a streamed one, and open loops of fixed rates.
Server and load generator share the machine. Writes `overhead.json` beside this file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from load import chat_body, run_load

from coterie.config.file import GatewaySection
from coterie.gateway.serve import serve
from coterie.network.network import Network
from coterie.types import (
    Context,
    ContextView,
    Delta,
    Finding,
    Label,
    Output,
    Part,
    Prompt,
    Request,
    Route,
    Settlement,
    SpecialistCard,
    Step,
    Task,
    Trace,
    Usage,
    worded,
)

CARD = SpecialistCard(name="nothing", task="classify", description="", rung="lexical", version="0" * 16)
SPEAKING = SpecialistCard(name="words", task="generate", description="", rung="slm", version="1" * 16)
FINDING = Finding(
    specialist="nothing", value="card_lost", text="card_lost", confidence=0.97, accepted=True, reason=worded("")
)


@dataclass
class Nothing:
    """A network's protocols, in no time."""

    card: SpecialistCard = CARD
    name: str = "nothing"
    clearance: Label = Label.RESTRICTED

    async def route(self, request: Request, context: Context, *, call: object = None) -> Route:
        """Always here."""
        del context
        return Route(parts=(Part(text=request.text, stages=(("nothing",),), score=1.0),), reason=worded("always"))

    async def consult(self, task: Task, view: ContextView, *, call: object = None) -> Finding:
        """Always the same."""
        del task, view
        return FINDING

    def price(self, step: Step) -> Step:
        """Free."""
        return step

    def counterfactual(self, request: str, answered: str) -> Decimal | None:
        """Unknown."""
        del request, answered

    async def settle(self, settlement: Settlement) -> None:
        """Forget it."""

    async def context(self, session: str, tenant: str) -> Context:
        """Empty."""
        del session, tenant
        return Context()

    async def trace(self, trace_id: str, tenant: str) -> Trace | None:
        """Forgotten."""
        del trace_id, tenant

    async def run(self, batch: list[Prompt], *, call: object = None) -> list[Output]:
        """Empty."""
        return [Output(usage=Usage()) for _ in batch]

    async def close(self) -> None:
        """Nothing to free."""


@dataclass
class Words(Nothing):
    """Ten words, as fast as they can be told."""

    card: SpecialistCard = SPEAKING

    async def speak(self, task: Task, view: ContextView, *, call: object = None) -> AsyncIterator[Delta | Finding]:
        """Each leaves before the next is made."""
        del task, view
        for _ in range(10):
            await asyncio.sleep(0)
            yield Delta(text="word ")
        yield FINDING


async def _open() -> Network:
    nothing: Any = Nothing()
    words: Any = Words()
    specialists = {"nothing": nothing, "words": words}
    return Network(specialists=specialists, router=nothing, store=nothing, meter=nothing, encoder=nothing)


def _serve() -> None:
    asyncio.run(serve(_open, GatewaySection(port=0), on_ready=lambda address: print(address, flush=True)))


async def _measure(requests: int) -> dict[str, Any]:
    """All loads against a fresh server process."""
    server = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--serve", stdout=asyncio.subprocess.PIPE, env={**os.environ}
    )
    address = await server.stdout.readline() if server.stdout else b""
    url = f"{address.decode().strip()}/v1/chat/completions"
    whole, streamed = chat_body("I lost my card"), chat_body("Hi", model="coterie/words", stream=True)

    async def load(body: bytes, **how: int) -> dict[str, Any]:
        before = _cpu_seconds(server.pid)
        report = asdict(await run_load(url, body, **how))
        spent = _cpu_seconds(server.pid) - before
        return report | {"server_cpu_ms_per_request": round(spent / report["requests"] * 1000, 3)}

    try:
        await run_load(url, whole, concurrency=16, requests=500)  # warm-up
        closed = [await load(whole, concurrency=callers, requests=requests) for callers in (1, 16, 64)]
        stream = await load(streamed, concurrency=16, requests=requests // 2)
        rates = [await load(whole, concurrency=256, requests=rate * 5, rate=rate) for rate in (50, 100, 200, 400)]
        memory = _resident_megabytes(server.pid)
    finally:
        server.terminate()
        code = await server.wait()
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "closed_loop": closed,
        "streamed": stream,
        "fixed_rate": rates,
        "resident_mb": memory,
        "exit_code": code,
    }


def _resident_megabytes(pid: int) -> float:
    """Memory of a process, from Linux' /proc."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(round(int(line.split()[1]) / 1024, 1) for line in lines if line.startswith("VmRSS"))


def _cpu_seconds(pid: int) -> float:
    """CPU time a process has used, user and system, from Linux' /proc: it does not grow when others take the core."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _row(name: str, figures: dict[str, Any]) -> str:
    return (
        f"{name:<22}{figures['requests_per_second']:>10}{figures['p50_ms']!s:>10}{figures['p95_ms']!s:>10}"
        f"{figures['p99_ms']!s:>10}{figures['server_cpu_ms_per_request']:>8}  {figures['statuses']}"
    )


def main() -> None:
    """Measure, print a table, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=4000, help="of each closed loop")
    parser.add_argument("--serve", action="store_true", help="be the server")
    given = parser.parse_args()
    if given.serve:
        _serve()
        return
    result = asyncio.run(_measure(given.requests))
    print(f"{'':<22}{'req/s':>10}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}{'CPU ms':>8}")
    for report in result["closed_loop"]:
        print(_row(f"{report['concurrency']} callers", report))
    print(_row("16 callers, streamed", result["streamed"]))
    for report in result["fixed_rate"]:
        print(_row(f"{report['rate']:g} a second", report))
    print(f"resident {result['resident_mb']} MB")
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

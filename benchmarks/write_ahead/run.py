"""Processes killed, and disks filled, while prompts leave: what left without an entry, and what the entry costs.

    python benchmarks/write_ahead/run.py [--rounds 200]

A server of ours plays the large model and keeps every prompt that reaches it. In each round a fresh process asks it
eight questions at a time through the gate, with the audit log, while the server answers after 0 to 20 ms. In one half
of the rounds the process is killed (SIGKILL) at a random moment once the first prompt has arrived; in the other its
file system takes no more after a random number of bytes (RLIMIT_FSIZE, 0 to 40,000). Then the log is verified, and each
prompt that the server has is looked for in it by its digest.

The latency is that of `benchmarks/overhead`: what gate, audit log and ledger add to a request, on this disk and in
memory, where a sync costs nothing; and beside it what a sync of this disk takes in the same minute.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import multiprocessing
import os
import random
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import Bar, Record, arguments
from coterie.config.file import OpenAIModel
from coterie.errors import AuditError, CoterieError
from coterie.governance.audit import AuditLog, read_entry
from coterie.governance.audit_verification import verify_audit
from coterie.governance.egress import ClearancePolicy, Gate
from coterie.testing import FakeOpenAIServer, ServerReply
from coterie.types import SYSTEM, Label, Message, Prompt

CLAIM = "Whatever kills the process or fills the disk, no prompt leaves without an entry in the audit log."
ASKED_AT_ONCE = 8
MOST_BYTES = 40_000
P50_BAR, P99_BAR = 1.5, 4.0
PROBES = 300


def worker(url: str, path: str, name: str, most: int | None) -> None:
    """Ask without end through the gate; with `most`, no file of the process may be longer."""
    if most is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    asyncio.run(_ask(url, Path(path), name))


async def _ask(url: str, path: Path, name: str) -> None:
    model = OpenAIModel(
        engine="openai", base_url=url, name="m", clearance=Label.INTERNAL, parallel=ASKED_AT_ONCE, retries=0
    )
    engine = Gate(ClearancePolicy(), audit=AuditLog(path, sync_seconds=1.0)).open("large", model)

    async def ask(first: int) -> None:
        for n in range(first, 10_000, ASKED_AT_ONCE):
            try:
                await engine.run([Prompt(messages=(Message(role="user", text=f"{name} question {n}"),))], call=SYSTEM)
            except AuditError:
                return  # the disk is full: nothing more is sent
            except CoterieError:
                continue

    await asyncio.gather(*map(ask, range(ASKED_AT_ONCE)))


async def round_of(server: FakeOpenAIServer, path: Path, name: str, draw: random.Random, *, killed: bool) -> None:
    """One process, until it is killed or its disk is full."""
    server.asked.clear()
    most = None if killed else draw.randrange(MOST_BYTES)
    process = multiprocessing.get_context("forkserver").Process(
        target=worker, args=(server.base_url, str(path), name, most)
    )
    process.start()
    if killed:
        await asyncio.wait_for(server.asked.wait(), 120)
        await asyncio.sleep(draw.random() * 0.15)
        os.kill(process.pid or 0, signal.SIGKILL)
    await asyncio.to_thread(process.join, 120)
    if process.exitcode is None:
        raise AssertionError(f"the process of round {name} does not end")


async def cross(folder: Path, rounds: int, seed: int) -> dict[str, Any]:
    """All rounds: how many prompts arrived, and how many of them no entry announces."""
    counts = dict.fromkeys(("kills", "full_disks", "prompts", "unrecorded", "open", "bad"), 0)
    draw = random.Random(seed)  # noqa: S311 - draws no secret

    def reply(_: Mapping[str, Any]) -> ServerReply:
        return ServerReply(delay=draw.random() * 0.02)

    async with FakeOpenAIServer(default=reply) as server:
        for n in range(2 * rounds):
            killed, name = n % 2 == 0, f"round {n}"
            path = folder / ("killed" if killed else f"full-{n}") / "audit.jsonl"
            path.parent.mkdir(exist_ok=True)
            before = len(server.requests)
            await round_of(server, path, name, draw, killed=killed)
            await asyncio.sleep(0.05)  # what was under way has arrived
            sent = [request.json["messages"][0]["content"] for request in server.requests[before:]]
            recorded = _digests(path)
            log = AuditLog(path)
            counts["unrecorded"] += sum(log.digest(f"user: {text}") not in recorded for text in sent)
            counts["prompts"] += len(sent)
            counts["kills" if killed else "full_disks"] += 1
            if path.exists():
                checked = verify_audit(path)
                counts["bad"] += checked.fault is not None
                counts["open"] += 0 if killed else len(checked.open)
        counts["open"] += len(verify_audit(folder / "killed" / "audit.jsonl").open)
    return counts


def _digests(path: Path) -> set[str]:
    """Of the prompts that the log announces."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return {about["digest"] for line in lines if "digest" in (about := read_entry(line)["about"])}


def sync_of(folder: Path) -> dict[str, float]:
    """Milliseconds that a write of 700 bytes and its sync take here."""
    file, took = os.open(folder / "probe", os.O_RDWR | os.O_CREAT | os.O_APPEND), []
    for _ in range(PROBES):
        begun = time.perf_counter()
        os.write(file, b"x" * 700)
        os.fsync(file)
        took.append((time.perf_counter() - begun) * 1000)
        time.sleep(0.001)
    os.close(file)
    took.sort()
    return {"p50_ms": statistics.median(took), "p99_ms": took[int(PROBES * 0.99)]}


def _overhead() -> ModuleType:
    """The benchmark that measures what gate, audit log and ledger add."""
    spec = importlib.util.spec_from_file_location("overhead", Path(__file__).parents[1] / "overhead/run.py")
    if spec is None or spec.loader is None:
        raise AssertionError("benchmarks/overhead/run.py is not there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--rounds", type=int, default=200, help="kills, and as many full disks; 0 keeps those of --out")
    parser.add_argument("--requests", type=int, default=1000, help="of each kind, for the latency; 0 for none")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[given.seed])
    if given.rounds:
        multiprocessing.set_forkserver_preload(["coterie.governance.egress", "coterie.engines.openai"])
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
            crossing = asyncio.run(cross(Path(name), given.rounds, given.seed))
    else:
        earlier = json.loads(given.out.read_text(encoding="utf-8"))
        crossing = earlier["figures"]["crossing"]
        record.notes.append(f"kills and full disks: the run of {crossing.setdefault('date', earlier['date'])}")
    print(json.dumps(crossing))
    print(f"unrecorded = {crossing['unrecorded']}")
    record.figures["crossing"] = crossing
    record.bars = [
        Bar(what="prompts that left without an entry", measured=crossing["unrecorded"], limit=0, at_most=True),
        Bar(what="logs with a fault", measured=crossing["bad"], limit=0, at_most=True),
        Bar(what="kills and full disks", measured=crossing["kills"] + crossing["full_disks"], limit=400),
    ]
    for location, folder in (("in memory", "/dev/shm"), ("on this disk", str(Path.cwd()))) if given.requests else ():  # noqa: S108
        with tempfile.TemporaryDirectory(dir=folder) as name:
            added = asyncio.run(_overhead().measure(given.requests, given.seed, Path(name)))
            sync = sync_of(Path(name))
        record.figures |= {f"added, {location}": added, f"a sync, {location}": sync}
        for case, figures in added.items():
            for quantile, limit in (("p50", P50_BAR), ("p99", P99_BAR)):
                took = figures[f"added_{quantile}_ms"]
                what = f"{case}, {location}: {quantile} ms"
                record.bars.append(Bar(what=what, measured=took, limit=limit, at_most=True))
    record.notes.append("on the disk, a prompt that leaves waits for one sync; `a sync` is what that takes alone")
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()

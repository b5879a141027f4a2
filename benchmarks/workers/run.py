"""What changes is served by all workers within a second, nobody is refused, and nothing acknowledged is lost.

    python benchmarks/workers/run.py [--workers 2]

`coterie serve --workers N` with a specialist, a model's server behind it, and a job of the flywheel that a deployment
answers. Six callers ask without a pause, each time over a connection of its own, so that every worker answers some.
Meanwhile a version is promoted, a price changed, a key made and revoked, the deployment rolled back and promoted: how
long after the command's end was the last request sent that was still answered as before? Then all workers are replaced
(SIGHUP), a broken file and its repair are left to them, and workers and the supervisor are killed with SIGKILL. At the
end every request that was answered must be in the ledger, and the audit log must verify.
"""

# ruff: noqa: ASYNC110, ASYNC240 - processes set no events; /proc is no disk

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "flywheel"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from served import WORDS, Bench, model_server

from _record import Bar, Record, arguments

CLAIM = "What changes is served by all workers within a second, without a failed request; kills lose nothing."
SETTLE = 3.0
"""Seconds that callers ask on after a change."""


class Said(NamedTuple):
    """One request."""

    sent: float
    kind: str
    status: int
    """0 where the connection ended without an answer."""
    said: str
    trace: str
    user: int = 0


class Workers(Bench):
    """A network's folder, its workers, and callers who ask of everything at once."""

    def __init__(self, folder: Path, model_port: int, seed: int, workers: int) -> None:
        """Write the network's file, and train."""
        super().__init__(folder, model_port, seed)
        self.workers = workers
        self.heard: list[Said] = []
        self.key, self.second = "", "ctr_none"
        file = folder / "coterie.toml"
        text = file.read_text().replace('clearance = "internal"', 'clearance = "internal"\nprice_in = "1"')
        self.write(text + '[accounting]\nprice_per_cpu_hour = "1"\n')
        for version in ("old", "new"):
            self.train(version)
        self.versions = [
            entry["version"] for entry in self.coterie("registry", "list", "topics")["specialists"]["topics"]
        ]

    def train(self, prefix: str) -> None:
        """Train a version whose labels begin with a word."""
        draw = random.Random(prefix)  # noqa: S311 - draws no secret
        rows = [
            {"text": " ".join(draw.sample(words, 4)), "label": f"{prefix} {label}"}
            for label, words in WORDS.items()
            for _ in range(40)
        ]
        (self.folder / "topics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if "specialists.topics" not in (self.folder / "coterie.toml").read_text():
            words = (
                "add",
                "topics",
                "--task",
                "classify",
                "--data",
                "topics.jsonl",
                "--description",
                "What it is about",
            )
            self.coterie(*words, "--licence", "LicenseRef-internal", "--rung", "lexical")
        self.coterie("train", "topics")

    def write(self, text: str) -> None:
        """Replace the network's file."""
        draft = self.folder / ".draft"
        draft.write_text(text)
        draft.replace(self.folder / "coterie.toml")

    def _command(self, *words: str) -> list[str]:
        more = ("--workers", str(self.workers)) if words == ("serve",) else ()
        return super()._command(*words, *more)

    def children(self) -> list[int]:
        """Process ids of the workers."""
        pid = self.server.pid if self.server else 0
        return [int(process_id) for process_id in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    # --- callers

    async def ask_kind(self, http: aiohttp.ClientSession, kind: str, number: int) -> Said:
        """One request of a kind."""
        sent, headers = time.monotonic(), {"authorization": f"Bearer {self.key}"}
        text = " ".join(self.draw.sample(self.draw.choice(list(WORDS.values())), 4))
        try:
            if kind == "key":
                async with http.get(
                    f"{self.address}/v1/models", headers={"authorization": f"Bearer {self.second}"}
                ) as answer:
                    await answer.read()
                    return Said(sent, kind, answer.status, str(answer.status), "")
            model, message = (
                ("coterie/topics", text) if kind == "topics" else ("large", f"You route mail. Message: {text}")
            )
            body = {"model": model, "user": f"u{number % 40}", "messages": [{"role": "user", "content": message}]}
            async with http.post(f"{self.address}/v1/chat/completions", json=body, headers=headers) as answer:
                document = await answer.json()
                answered_by = ""
                if answer.status == 200 and kind == "topics":
                    spent = document["coterie"]["usage"]
                    price = float(spent["cost"]) / spent["joules"] * 3600 * 10  # 10 watts are estimated
                    answered_by = f"{document['coterie']['findings'][0]['text'].split()[0]} {price:.1f}"
                elif answer.status == 200:
                    answered_by = "local" if answer.headers["x-coterie-egress"] == "none" else "model"
                return Said(
                    sent, kind, answer.status, answered_by, answer.headers.get("x-coterie-trace", ""), number % 40
                )
        except (aiohttp.ClientError, OSError, ValueError):
            return Said(sent, kind, 0, "", "")

    async def call(self, kind: str, first: int) -> None:
        """Ask until it is enough, over a connection each."""
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as http:
            number = first
            while self.asking:
                self.heard.append(await self.ask_kind(http, kind, number))
                number += 2
                await asyncio.sleep(0.02)

    async def change(self, what: Callable[[], object], kind: str, is_old: Callable[[Said], bool]) -> float:
        """Seconds from the end of a change to the last request that was sent and still answered as before."""
        await asyncio.to_thread(what)
        end = time.monotonic()
        await asyncio.sleep(SETTLE)
        there = [reply for reply in self.heard if reply.kind == kind and reply.sent > end]
        if not there or is_old(there[-1]):
            raise RuntimeError(f"it is still as before: {there[-3:]}")
        old = [reply.sent - end for reply in there if is_old(reply)]
        return max(old, default=0.0)


async def changes(bench: Workers) -> dict[str, float]:
    """Seconds until each change was everywhere."""
    old = bench.versions[0]
    file = (bench.folder / "coterie.toml").read_text()
    name = bench.name()
    seconds: dict[str, float] = {}

    def priced(price: str) -> Callable[[], object]:
        return lambda: bench.write(file.replace('price_per_cpu_hour = "1"', f'price_per_cpu_hour = "{price}"'))

    def make() -> None:
        bench.second = bench.coterie("keys", "create", "second")["key"]

    def step(*words: str) -> Callable[[], object]:
        return lambda: bench.coterie("flywheel", *words, name, "--force", "--reason", "bench")

    def back() -> object:
        return bench.coterie("flywheel", "rollback", name, "--reason", "bench")

    local = {reply.user for reply in bench.heard if reply.said == "local"}  # the champion leaves some to the model

    def up() -> None:
        for _ in range(3):
            step("promote")()

    for what, change, kind, is_old in (
        ("promotion", lambda: bench.coterie("registry", "promote", "topics", old), "topics", lambda s: "new" in s.said),
        ("rollback", lambda: bench.coterie("registry", "rollback", "topics"), "topics", lambda s: "old" in s.said),
        ("price", priced("2"), "topics", lambda s: s.said.endswith(" 1.0")),
        ("key made", make, "key", lambda s: s.status == 401),
        ("key revoked", lambda: bench.coterie("keys", "revoke", "second"), "key", lambda s: s.status == 200),
        ("deployment rolled back", back, "large", lambda s: s.said == "local"),
        ("deployment promoted", up, "large", lambda s: s.said == "model" and s.user in local),
    ):
        seconds[what] = await bench.change(change, kind, is_old)
        print(what, round(seconds[what], 3), flush=True)
    return seconds


async def replaced(bench: Workers) -> dict[str, float]:
    """SIGHUP, a file that cannot be read and its repair, a setting of the process: what fails meanwhile."""
    begun, before = len(bench.heard), set(bench.children())
    file = (bench.folder / "coterie.toml").read_text()
    bench.server.send_signal(signal.SIGHUP)
    start = time.monotonic()
    while len(there := set(bench.children())) != bench.workers or there & before:
        await asyncio.sleep(0.05)
    took = time.monotonic() - start
    bench.write(file + "[nonsense]\nx = 1\n")
    await asyncio.sleep(SETTLE)
    kept = set(bench.children()) == there
    bench.write(file.replace("[gateway]", "[gateway]\nqueue = 60"))
    while set(bench.children()) & there or len(bench.children()) != bench.workers:
        await asyncio.sleep(0.05)
    failed = [reply for reply in bench.heard[begun:] if reply.status != 200 and reply.kind != "key"]
    return {"seconds of SIGHUP": took, "workers stay beside a broken file": float(kept), "failed": float(len(failed))}


async def killed(bench: Workers, kills: int) -> dict[str, float]:
    """Workers, then the supervisor, killed in the middle of everything."""
    begun = len(bench.heard)
    for _ in range(kills):
        victim = bench.draw.choice(bench.children())
        os.kill(victim, signal.SIGKILL)
        await asyncio.sleep(bench.draw.uniform(0.5, 2.5))
    cut = len([reply for reply in bench.heard[begun:] if reply.status == 0])
    refused = len([reply for reply in bench.heard[begun:] if reply.status not in {0, 200} and reply.kind != "key"])
    while len(orphans := bench.children()) != bench.workers:
        await asyncio.sleep(0.05)
    bench.kill()
    while any(Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in orphans):
        await asyncio.sleep(0.05)
    await asyncio.to_thread(bench.start)
    await asyncio.sleep(SETTLE)
    return {"workers killed": float(kills), "connections cut": float(cut), "refused meanwhile": float(refused)}


def lost(bench: Workers) -> int:
    """Answered requests that are not in the ledger."""
    with sqlite3.connect(bench.folder / "state" / "coterie.db") as connection:
        stored = {row[0] for row in connection.execute("SELECT id FROM requests")}
    return sum(reply.status == 200 and bool(reply.trace) and reply.trace not in stored for reply in bench.heard)


async def measure(bench: Workers, kills: int) -> dict[str, Any]:
    """All of it, while callers ask."""
    bench.asking = True
    asking = [asyncio.create_task(bench.call(kind, at)) for at, kind in enumerate(("topics", "large", "key") * 2)]
    try:
        await asyncio.sleep(SETTLE)
        begun = len(bench.heard)
        seconds = await changes(bench)
        failed = Counter(reply.status for reply in bench.heard[begun:] if reply.kind != "key" and reply.status != 200)
        figures: dict[str, Any] = {"seconds": seconds, "failed while it changed": dict(failed)}
        figures["replaced"] = await replaced(bench)
        figures["killed"] = await killed(bench, kills)
    finally:
        bench.asking = False
        await asyncio.gather(*asking)
    return figures


def run(folder: Path, port: int, given: Any) -> dict[str, Any]:  # noqa: ANN401 - parsed arguments
    """A deployment that answers, then all the rest."""
    bench = Workers(folder, port, given.seed, given.workers)
    bench.start()
    try:
        asyncio.run(bench.some(320))
        bench.coterie("flywheel", "run")
        name = bench.name()
        while bench.state(name) != "champion":
            bench.coterie("flywheel", "promote", name, "--reason", "bench", "--force")
        bench.key = bench.coterie("keys", "create", "first", "--role", "admin")["key"]
        figures = asyncio.run(measure(bench, given.kills))
    finally:
        bench.server.terminate()
        try:
            bench.server.wait(60)
        except subprocess.TimeoutExpired:
            bench.kill()
    figures["requests"] = len(bench.heard)
    figures["acknowledged and lost"] = lost(bench)
    figures["audit"] = "damaged" if "error" in bench.coterie("audit", "verify") else "verifies"
    return figures


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[given.seed])
    with tempfile.TemporaryDirectory() as name, model_server() as port:
        record.figures = run(Path(name), port, given)
    figures = record.figures
    print(json.dumps(figures, indent=1), flush=True)
    bars: Sequence[tuple[str, float, float]] = [
        *((f"seconds until everywhere: {what}", value, 1.0) for what, value in figures["seconds"].items()),
        ("failed requests while it changed", float(sum(figures["failed while it changed"].values())), 0.0),
        ("failed requests while workers were replaced", figures["replaced"]["failed"], 0.0),
        ("acknowledged and lost", float(figures["acknowledged and lost"]), 0.0),
    ]
    record.bars = [Bar(what=what, measured=value, limit=limit, at_most=True) for what, value, limit in bars]
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()

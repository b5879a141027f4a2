"""Before a large model: what Coterie's gateway adds to a request, beside what LiteLLM's proxy adds.

    python benchmarks/gateway/run.py --litellm LITELLM

`LITELLM` is the program of that name in an environment with `litellm[proxy]` (its requirements are not ours). Both pass
the same request on to the same fake server and ask for a key; the load generator and that server share a process, and
each round asks both and the server itself in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "latency"))

from load import chat_body, run_load
from server import memory_of, serve

from _data import LARGE, LENDER, TRIAGE
from _record import Bar, Record, arguments, sha256
from coterie.learning.progress import Silent
from coterie.testing import FakeOpenAIServer
from coterie.training.train import train

CLAIM = (
    "With routing, gate, budgets, audit log and ledger the gateway takes about as long as LiteLLM's proxy without them."
)
DATA = "data/triage.train.csv"
INTENTS = 10
TEXT = "Write a haiku about the sea in winter, please, and nothing else."
"""For no specialist: so it is routed, looked through by the gate, and answered by the large model."""
RATES = (20.0, 50.0)  # planned requests a second
ONE, MANY = 1, 16  # callers of closed loops
PEER_ENVIRONMENT = {
    **os.environ,
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it would ask the network for prices
}
LITELLM = """
model_list:
  - model_name: large
    litellm_params: {{model: openai/large, api_base: "{url}", api_key: none}}
litellm_settings: {{telemetry: false, num_retries: 0}}
"""


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where the same question is asked."""

    name: str
    url: str
    model: str
    headers: Sequence[str] = ()
    pid: int | None = None

    async def ask(self, *, callers: int, requests: int, rate: float | None = None) -> dict[str, Any]:
        """A load; `rate` is planned requests a second."""
        body = chat_body(TEXT, model=self.model)
        met = await run_load(
            self.url, body, concurrency=callers, requests=requests, rate=rate, headers=list(self.headers)
        )
        if set(met.statuses) != {"200"}:
            sys.exit(f"{self.name} answered with {met.statuses}.")
        return asdict(met)


def make_network(folder: Path, url: str) -> None:
    """One specialist, trained on ten intents of the lender's customers."""
    with (LENDER / DATA).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = set(sorted({row["label"] for row in rows})[:INTENTS])
    folder.mkdir()
    with (folder / "triage.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"])
        writer.writeheader()
        writer.writerows({key: row[key] for key in ("text", "label")} for row in rows if row["label"] in chosen)
    (folder / "coterie.toml").write_text(TRIAGE + LARGE.format(url=url), encoding="utf-8")
    train(folder, progress=Silent())


def make_key(folder: Path) -> str:
    """A key of the gateway."""
    command = [sys.executable, "-m", "coterie", "-C", str(folder), "keys", "create", "load", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - own interpreter
    return str(json.loads(done.stdout)["key"])


@contextmanager
def coterie_door(folder: Path) -> Iterator[Door]:
    """`coterie serve`, with a key."""
    key = make_key(folder)
    with serve(folder) as server:
        yield Door(
            name="coterie",
            url=server.url,
            model="coterie",
            headers=[f"Authorization: Bearer {key}"],
            pid=server.pid,
        )


@contextmanager
def litellm_door(program: Path, folder: Path, upstream: str) -> Iterator[Door]:
    """LiteLLM's proxy, with its master key and one worker, as its documentation advises for production."""
    key, port = f"sk-{secrets.token_hex(32)}", free_port()
    (folder / "litellm.yaml").write_text(LITELLM.format(url=upstream), encoding="utf-8")
    words = [str(program), "--config", str(folder / "litellm.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    environment = PEER_ENVIRONMENT | {"LITELLM_MASTER_KEY": key}
    with (folder / "litellm.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, env=environment)  # noqa: S603 - the caller's program
    try:
        wait_for(f"http://127.0.0.1:{port}/health/liveliness", process, folder / "litellm.log")
        yield Door(
            name="litellm",
            url=f"http://127.0.0.1:{port}/v1/chat/completions",
            model="large",
            headers=[f"Authorization: Bearer {key}"],
            pid=process.pid,
        )
    finally:
        process.terminate()
        process.wait(timeout=60)


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when a server answers."""
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        try:
            httpx.get(url, timeout=2)
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    sys.exit(f"The peer does not answer:\n{log.read_text(encoding='utf-8')[-2000:]}")


async def measure(doors: Sequence[Door], given: argparse.Namespace) -> dict[str, Any]:
    """Every load of every round at every door, and the medians over the rounds."""
    for door in doors:
        await door.ask(callers=MANY, requests=200)  # warm-up
    loads: dict[str, dict[str, Any]] = {f"{rate:g} a second": {"callers": 64, "rate": rate} for rate in RATES}
    loads |= {"one caller": {"callers": ONE}, f"{MANY} callers": {"callers": MANY}}
    figures: dict[str, Any] = {}
    for name, load in loads.items():
        rounds: dict[str, list[dict[str, Any]]] = {door.name: [] for door in doors}
        for _ in range(given.rounds):
            for door in doors:
                rounds[door.name].append(await door.ask(**load, requests=given.requests))
        figures[name] = {door: middle(met) | {"rounds": met} for door, met in rounds.items()}
        print(name, {door: (each["p50_ms"], each["p99_ms"]) for door, each in figures[name].items()}, flush=True)
    return {
        "loads": figures,
        "resident_mb": {door.name: memory_of(door.pid)["resident_mb"] for door in doors if door.pid},
    }


def middle(met: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Medians over the rounds."""
    return {key: median(each[key] for each in met) for key in ("p50_ms", "p99_ms", "requests_per_second")}


def bars(figures: dict[str, Any]) -> list[Bar]:
    """What it takes of what the peer takes."""
    found = []
    for name, by_door in figures["loads"].items():
        for key in ("p50_ms", "p99_ms"):
            share = by_door["coterie"][key] / by_door["litellm"][key]
            found.append(Bar(what=f"{name}, {key[:3]}, of LiteLLM's", measured=share, limit=1.0, at_most=True))
    return found


async def run(given: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    with tempfile.TemporaryDirectory() as name:
        async with FakeOpenAIServer() as upstream:
            folder = Path(name) / "network"
            make_network(folder, upstream.base_url)
            direct = Door(name="direct", url=f"{upstream.base_url}/chat/completions", model="large")
            with coterie_door(folder) as ours, litellm_door(given.litellm, Path(name), upstream.base_url) as theirs:
                before = len(upstream.requests)
                await ours.ask(callers=1, requests=5)
                if len(upstream.requests) < before + 5:  # a slow first one may be asked twice
                    sys.exit("Coterie answered without the large model: the comparison would not be fair.")
                return await measure([direct, ours, theirs], given)


def peer_version(program: Path) -> str:
    """LiteLLM's version, as it says it."""
    words = [str(program), "--version"]
    told = subprocess.run(words, check=True, capture_output=True, text=True, env=PEER_ENVIRONMENT)  # noqa: S603
    return told.stdout.partition("Version =")[2].split()[0]


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__, __file__)
    parser.add_argument(
        "--litellm", type=Path, required=True, help="the program `litellm` in an environment of its own"
    )
    parser.add_argument("--requests", type=int, default=400, help="of each load and round")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    record = Record(claim=CLAIM, data={DATA: sha256(LENDER / DATA)})
    record.figures = {"litellm": peer_version(given.litellm), **asyncio.run(run(given))}
    record.bars = bars(record.figures)
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()

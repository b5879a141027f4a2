"""Deployments on a real server: how fast it follows, what fails meanwhile, and what is left after kill -9.

    python benchmarks/flywheel/served.py

`coterie serve` in a process of its own, before a model's server in this one. Calls of two labels are captured, trained
on by `coterie flywheel run`, and the specialist is promoted by hand, step by step, while four callers ask without a
pause. Each step: the server and the command that takes it are killed with SIGKILL at a moment drawn by chance, the
server is started again, and the state must be that of before the step or of after it. Then champion and rollback are
timed, from the command's end and from its beginning to the first answer of the other side. At last the callers ask of
something else; the alarm must take the job back, without a failed request.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import Bar, Record, arguments

CLAIM = (
    "A running server follows a deployment within two seconds, no request fails, and kill -9 leaves nothing half done."
)
WORDS = {
    "lost": [
        "card",
        "gone",
        "stolen",
        "purse",
        "wallet",
        "missing",
        "vanished",
        "thief",
        "pocket",
        "taxi",
        "bus",
        "train",
        "dropped",
        "misplaced",
        "robbed",
    ],
    "fee": [
        "charge",
        "price",
        "cost",
        "euro",
        "tariff",
        "commission",
        "monthly",
        "interest",
        "billed",
        "deducted",
        "expensive",
        "rate",
        "percent",
        "paid",
    ],
}
OTHER = [
    "sunny",
    "rain",
    "goalkeeper",
    "pasta",
    "poem",
    "ocean",
    "guitar",
    "mountain",
    "recipe",
    "novel",
    "referee",
    "violin",
    "harvest",
    "comet",
    "theatre",
]
CALLERS, PATIENCE = 4, 400


class Model(BaseHTTPRequestHandler):
    """A model's server: names the label of what it is asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer a chat completion."""
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        words = set(asked["messages"][-1]["content"].split())
        label = max(WORDS, key=lambda label: len(words & set(WORDS[label])))
        message = {"role": "assistant", "content": label}
        body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def model_server() -> Iterator[int]:
    """A model's server; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


class Bench:
    """A network's folder, its server, and callers."""

    def __init__(self, folder: Path, model_port: int, seed: int) -> None:
        """Write the network's file."""
        self.folder, self.draw = folder, random.Random(seed)  # noqa: S311 - draws no secret
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "coterie.toml").write_text(
            f"""
[network]
name = "bench"
[gateway]
port = {self.port}
[models.large]
engine = "openai"
name = "large"
base_url = "http://127.0.0.1:{model_port}/v1"
clearance = "internal"
[capture]
enabled = true
detector = "patterns"
[flywheel]
calls = 200
patience = {PATIENCE}
canary = [0.5]
"""
        )
        self.server: subprocess.Popen[bytes] | None = None
        self.said: list[tuple[float, str]] = []
        """When each answer came, and whose it is: `local`, `model` or `failed`."""
        self.topics: Sequence[Sequence[str]] = list(WORDS.values())
        self.asking = False

    @property
    def address(self) -> str:
        """Where the server is."""
        return f"http://127.0.0.1:{self.port}"

    def coterie(self, *words: str) -> dict[str, Any]:
        """Run a command and return its document."""
        done = subprocess.run(self._command(*words, "--json"), capture_output=True, check=False)  # noqa: S603 - our own
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "coterie", "-C", str(self.folder), *words]

    def start(self) -> None:
        """Start the server and wait until it answers."""
        log = (self.folder / "server.log").open("ab")
        self.server = subprocess.Popen(self._command("serve"), stdout=log, stderr=log)  # noqa: S603 - our own
        for _ in range(1_200):
            try:
                if httpx.get(f"{self.address}/healthz", timeout=1.0).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.1)
        raise RuntimeError((self.folder / "server.log").read_text()[-2_000:])

    def kill(self) -> None:
        """SIGKILL."""
        if self.server is not None:
            self.server.send_signal(signal.SIGKILL)
            self.server.wait()

    async def ask(self, http: httpx.AsyncClient, number: int) -> str:
        """One call; who answered it."""
        text = " ".join(self.draw.sample(self.draw.choice(self.topics), 5))
        body = {
            "model": "large",
            "user": f"u{number % 40}",
            "messages": [
                {"role": "user", "content": f"You route the messages of customers of a bank. Message: {text}"}
            ],
        }
        try:
            answer = await http.post(f"{self.address}/v1/chat/completions", json=body)
            ok = answer.status_code == 200 and answer.json()["choices"][0]["message"]["content"] in WORDS
        except (httpx.HTTPError, ValueError, LookupError):
            ok = False
        if not ok:
            return "failed"
        return "local" if answer.headers.get("x-coterie-egress") == "none" else "model"

    async def some(self, count: int) -> None:
        """Ask so often."""
        async with httpx.AsyncClient(timeout=30) as http:
            for number in range(count):
                self.said.append((time.monotonic(), await self.ask(http, number)))

    async def ask_on(self, first: int) -> None:
        """Ask until it is enough."""
        async with httpx.AsyncClient(timeout=30) as http:
            number = first
            while self.asking:
                whose = await self.ask(http, number)
                self.said.append((time.monotonic(), whose))
                number += CALLERS
                await asyncio.sleep(0.02)

    async def until(self, whose: str, since: float, *, longest: float = 60.0) -> float:
        """Seconds from a moment to the first answer of the one who is to answer from now on."""
        while time.monotonic() < since + longest:
            at = next((at for at, found in self.said if at > since and found == whose), None)
            if at is not None:
                return at - since
            await asyncio.sleep(0.01)
        return float("inf")

    def state(self) -> tuple[str, str]:
        """Id and state of the deployment."""
        found = self.coterie("flywheel", "status")["deployments"]
        return str(found[0]["id"]), str(found[0]["state"])

    def killed_step(self, name: str) -> tuple[str, str, bool]:
        """Take a step and kill it and the server at some moment; the state before and after, and whether it serves."""
        before = self.state()[1]
        step = subprocess.Popen(  # noqa: S603 - our own
            self._command("flywheel", "promote", name, "--reason", "bench", "--force"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(self.draw.uniform(0.2, 3.0))
        step.send_signal(signal.SIGKILL)
        self.kill()
        step.wait()
        self.start()
        asyncio.run(self.some(5))
        return before, self.state()[1], all(whose != "failed" for _, whose in self.said[-5:])


ORDER = ("candidate", "shadow", "canary", "champion")


def kills(bench: Bench, name: str, rounds: int) -> list[dict[str, Any]]:
    """Steps that are killed, until the deployment is champion or there were enough."""
    found = []
    for _ in range(rounds):
        before, after, serves = bench.killed_step(name)
        whole = after in {before, ORDER[min(ORDER.index(before) + 1, 3)]}
        found.append({"before": before, "after": after, "whole": whole, "serves": serves})
        print(found[-1], flush=True)
        if after == before and after != "champion":  # taken in peace, so that each state has its turn
            bench.coterie("flywheel", "promote", name, "--reason", "bench", "--force")
    return found


async def follow(bench: Bench, name: str) -> dict[str, float]:
    """Rollback, promotion and an alarm under load."""
    bench.asking, bench.said = True, []
    asking = [asyncio.create_task(bench.ask_on(first)) for first in range(CALLERS)]
    found: dict[str, float] = {}

    async def step(*words: str) -> float:
        await asyncio.to_thread(bench.coterie, "flywheel", *words, "--reason", "bench")
        return time.monotonic()

    try:
        await bench.until("local", time.monotonic())
        found["rolled back, seconds after the command"] = await bench.until("model", await step("rollback", name))
        for _ in range(2):
            await step("promote", name, "--force")
        await step("promote", name, "--force")
        found["promoted, seconds after the command"] = await bench.until("local", time.monotonic())
        await asyncio.sleep(5.0)
        begun = len(bench.said)
        bench.topics = [OTHER]
        since = time.monotonic()
        while time.monotonic() < since + 180:
            alarms = (await asyncio.to_thread(bench.coterie, "flywheel", "status"))["alarms"]
            if alarms:
                break
            await asyncio.sleep(0.2)
        await asyncio.sleep(3.0)
        local = [at for at, whose in bench.said[begun:] if whose == "local"]
        found["answered locally after the calls changed"] = float(len(local))
        found["calls to the alarm"] = float(alarms[0]["figures"]["calls_since"]) if alarms else float("inf")
        found["seconds from the change to the last local answer"] = (max(local) - since) if local else 0.0
        found["alarm"] = float(bool(alarms))
    finally:
        bench.asking = False
        await asyncio.gather(*asking)
    found["requests"] = float(len(bench.said))
    found["failed"] = float(sum(whose == "failed" for _, whose in bench.said))
    return found


def measure(folder: Path, model_port: int, given: Any) -> dict[str, Any]:  # noqa: ANN401 - parsed arguments
    """One server from its first captured call to the alarm."""
    bench = Bench(folder, model_port, given.seed)
    bench.start()
    try:
        asyncio.run(bench.some(320))
        steps = bench.coterie("flywheel", "run")["steps"]
        print([(each["kind"], each["done"], each["why"]) for each in steps], flush=True)
        name, state = bench.state()
        killed = kills(bench, name, given.kills)
        while bench.state()[1] != "champion":
            bench.coterie("flywheel", "promote", name, "--reason", "bench", "--force")
        followed = asyncio.run(follow(bench, name))
    finally:
        bench.kill()
    return {"first_state": state, "kills": killed, **followed}


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[given.seed])
    with tempfile.TemporaryDirectory() as name, model_server() as port:
        found = measure(Path(name), port, given)
    print(json.dumps(found, indent=1), flush=True)
    record.figures = found
    killed = found["kills"]
    half = float(sum(not (each["whole"] and each["serves"]) for each in killed))
    bars = [
        ("kills after which a state was half taken, or a request failed", half, 0.0),
        ("seconds to the model after rollback", found["rolled back, seconds after the command"], 2.0),
        ("seconds to the specialist after promotion", found["promoted, seconds after the command"], 2.0),
        ("failed requests while it was moved and taken back", found["failed"], 0.0),
    ]
    record.bars = [Bar(what=what, measured=value, limit=limit, at_most=True) for what, value, limit in bars]
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()

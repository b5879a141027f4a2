"""Deployments on a real server: how fast it follows, what fails meanwhile, and what is left after kill -9.

    python benchmarks/flywheel/served.py

`coterie serve` in a process of its own, before a model's server in this one. Calls of two labels are captured, trained
on by `coterie flywheel run`, and the specialist is promoted by hand, step by step, while four callers ask without a
pause. Runs and steps are killed with SIGKILL in the middle of their write (`_killed.py`): before each of its statements
in turn, and at moments drawn by chance within the COMMIT. One time in four the server is killed too, while callers ask.
After each kill the last transition that is written must be the one into the state that is found, each transition must
follow from the one before, the audit log must verify, and the server must answer. Then champion and rollback are timed,
from the command's end to the first answer of the other side. At last the callers ask of something else; the alarm must
take the job back, without a failed request.
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
from coterie.flywheel.deployments import Deployments
from coterie.store.sqlite import SQLiteStore

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
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        words = set(request["messages"][-1]["content"].split())
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
        document: dict[str, Any] = json.loads(done.stdout)
        return document

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
            at = next((at for at, answer in self.said if at > since and answer == whose), None)
            if at is not None:
                return at - since
            await asyncio.sleep(0.01)
        return float("inf")

    def name(self) -> str:
        """Id of the deployment that is furthest."""
        return str(self.coterie("flywheel", "status")["deployments"][0]["id"])

    def state(self, name: str) -> str:
        """State of a deployment."""
        deployments = self.coterie("flywheel", "status")["deployments"]
        return next(str(deployment["state"]) for deployment in deployments if deployment["id"] == name)

    async def killed_while_asked(self) -> None:
        """Kill the server while callers ask, and start it again; what they get meanwhile is no matter."""
        self.asking, kept = True, self.said
        self.said = []
        asking = [asyncio.create_task(self.ask_on(first)) for first in range(CALLERS)]
        await asyncio.sleep(self.draw.uniform(0.2, 1.0))
        self.kill()
        self.asking = False
        await asyncio.gather(*asking)
        self.said = kept
        await asyncio.to_thread(self.start)

    def killed(self, point: str, *words: str) -> bool:
        """Run a command that ends itself in the middle of its write; whether it did."""
        script = Path(__file__).with_name("_killed.py")
        command = [sys.executable, str(script), point, "-C", str(self.folder), *words]
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own
        return done.returncode == -signal.SIGKILL

    def wrong(self) -> list[str]:
        """What does not fit together in the store, the audit log or the server."""
        problems = asyncio.run(_broken(self.folder / "state" / "coterie.db"))
        audit = self.coterie("audit", "verify")
        if "error" in audit:
            problems.append(f"audit: {audit['error']}")
        asyncio.run(self.some(5))
        return problems + [f"request {n}" for n, (_, whose) in enumerate(self.said[-5:]) if whose == "failed"]


async def _broken(database: Path) -> list[str]:
    """Deployments whose transitions do not lead, one after the other, into the state that they are in."""
    store = await SQLiteStore.open(database, session_days=30.0, keep_content=False)
    try:
        books = Deployments(store=store.flywheel)
        problems = []
        for deployment in await books.deployments():
            steps = await books.transitions(deployment.id)
            states = ["", *(step.after for step in steps)]
            if states[:-1] != [step.before for step in steps] or states[-1] != deployment.state:
                problems.append(f"{deployment.id} is {deployment.state}, and its steps are {states}")
            if len(steps) != deployment.revision:
                problems.append(f"{deployment.id} was written {deployment.revision} times in {len(steps)} steps")
        return problems
    finally:
        await store.close()


ORDER = ("candidate", "shadow", "canary", "champion")
POINTS = ("1", "2", "3", "commit", "commit", "commit")
"""A step writes a deployment, its transition and the revision."""


def killed_runs(bench: Bench, rounds: int) -> list[dict[str, Any]]:
    """Runs of the flywheel that are killed at one write after the other; the last one is left in peace."""
    rows = []
    for number in range(rounds):
        killed = bench.killed(str(number + 1) if number % 2 else "commit", "flywheel", "run", "--json")
        rows.append({"what": "run", "killed": killed, "wrong": bench.wrong()})
        print(rows[-1], flush=True)
    return rows


def killed_steps(bench: Bench, name: str, rounds: int) -> list[dict[str, Any]]:
    """Steps that are killed, once around all states in as many rounds as there are points, and so on."""
    rows = []
    for number in range(rounds):
        before = bench.state(name)
        words = ("promote", name, "--force") if before != "champion" else ("rollback", name)
        server = number % 4 == 3
        killed = bench.killed(POINTS[number % len(POINTS)], "flywheel", *words, "--reason", "bench")
        if server:
            asyncio.run(bench.killed_while_asked())
        after = bench.state(name)
        rows.append({"before": before, "after": after, "killed": killed, "server": server, "wrong": bench.wrong()})
        print(rows[-1], flush=True)
        if after == before and number % 3 == 2:  # taken in peace, so that each state has its turn
            bench.coterie("flywheel", *words, "--reason", "bench")
    return rows


async def follow(bench: Bench, name: str) -> dict[str, float]:
    """Rollback, promotion and an alarm under load."""
    bench.asking, bench.said = True, []
    asking = [asyncio.create_task(bench.ask_on(first)) for first in range(CALLERS)]
    seconds: dict[str, float] = {}

    async def step(*words: str) -> float:
        await asyncio.to_thread(bench.coterie, "flywheel", *words, "--reason", "bench")
        return time.monotonic()

    try:
        await bench.until("local", time.monotonic())
        seconds["rolled back, seconds after the command"] = await bench.until("model", await step("rollback", name))
        for _ in range(2):
            await step("promote", name, "--force")
        await step("promote", name, "--force")
        seconds["promoted, seconds after the command"] = await bench.until("local", time.monotonic())
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
        seconds["answered locally after the calls changed"] = float(len(local))
        seconds["calls to the alarm"] = float(alarms[0]["figures"]["calls_since"]) if alarms else float("inf")
        seconds["seconds from the change to the last local answer"] = (max(local) - since) if local else 0.0
        seconds["alarm"] = float(bool(alarms))
    finally:
        bench.asking = False
        await asyncio.gather(*asking)
    seconds["requests"] = float(len(bench.said))
    seconds["failed"] = float(sum(whose == "failed" for _, whose in bench.said))
    return seconds


def measure(folder: Path, model_port: int, given: Any) -> dict[str, Any]:  # noqa: ANN401 - parsed arguments
    """One server from its first captured call to the alarm."""
    bench = Bench(folder, model_port, given.seed)
    bench.start()
    try:
        asyncio.run(bench.some(320))
        killed = killed_runs(bench, given.runs)
        steps = bench.coterie("flywheel", "run")["steps"]
        print([(step["kind"], step["done"], step["why"]) for step in steps], flush=True)
        name = bench.name()
        states = [deployment["state"] for deployment in bench.coterie("flywheel", "status")["deployments"]]
        killed += killed_steps(bench, name, given.kills)
        while not given.kills_only and bench.state(name) != "champion":
            bench.coterie("flywheel", "promote", name, "--reason", "bench", "--force")
        followed = {} if given.kills_only else asyncio.run(follow(bench, name))
    finally:
        bench.kill()
    return {"states_after_killed_runs": states, "kills": killed, **followed}


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--kills", type=int, default=36)
    parser.add_argument("--runs", type=int, default=10, help="runs of the flywheel that are killed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills-only", action="store_true", help="measure no time: beside other work")
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[given.seed])
    with tempfile.TemporaryDirectory() as name, model_server() as port:
        figures = measure(Path(name), port, given)
    print(json.dumps(figures, indent=1), flush=True)
    record.figures = figures
    killed = figures["kills"]
    half = float(sum(bool(kill["wrong"]) for kill in killed))
    within = sum(kill["killed"] for kill in killed)
    figures["kills_within_a_write"] = within
    bars: list[tuple[str, float | None, float]] = [
        ("kills after which something did not fit, or a request failed", half if killed else None, 0.0),
        ("seconds to the model after rollback", figures.get("rolled back, seconds after the command"), 2.0),
        ("seconds to the specialist after promotion", figures.get("promoted, seconds after the command"), 2.0),
        ("failed requests while it was moved and taken back", figures.get("failed"), 0.0),
    ]
    record.bars = [Bar(what=what, measured=value, limit=limit, at_most=True) for what, value, limit in bars]
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()

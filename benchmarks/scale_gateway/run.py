"""What one worker of the gateway bears, beside a lean probe with the same encoder and beside LiteLLM's proxy.

    python benchmarks/scale_gateway/run.py --network DIR [--litellm PROGRAM] [--only local,large,workers,beside]

`DIR` keeps the trained network between runs; it is made where it is not there. Every figure is a median over rounds, in
each of which all that is compared is asked in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from generator import Load, requests_of, run_load
from peer import MODEL, litellm_proxy, version_of

from _data import LARGE, LENDER, TRIAGE
from _record import Bar, Record, arguments, sha256
from coterie.learning.job import Silent
from coterie.training.train import train

HERE = Path(__file__).resolve().parent
CLAIM = "One worker bears open loads without a cliff, and most of what a lean probe with the same encoder bears."
DATA, TEXTS = "data/triage.train.csv", "data/triage.test.csv"
RATES = (100, 150, 200, 260)  # requests a second
OK, KNOWN = 200, 50
"""A status, and how many texts the load has that is known already."""
SHORT = 90  # characters
MOST = {"new": 1500, "known": 6000, "large": 2000}
"""Requests a second that a closed loop may reach."""
HAIKU = "Write a haiku about {} and {} in winter, please, and nothing else."
"""For no specialist: so it is routed, looked through by the gate, and answered by the large model."""
STORY = "Tell a story about a lighthouse."
OPEN_LARGE = 50  # requests a second before the large model
SLOW, SLOW_SECONDS = 80, 4.0
"""Requests that wait for the large model at any time, and how long its answers take, on average."""
WRITING = 8
"""Requests that a small model in the gateway's process writes at any time."""
SMALL = """
[models.small]
engine = "llama"
name = "smollm2"
parallel = 8
"""
_BEGIN = SLOW_SECONDS * 1.5 + 1.0
"""Seconds after which what is beside a load is under way, the model loaded and the first remote answers given."""


@dataclass(frozen=True, kw_only=True)
class Door:
    """A server under load."""

    name: str
    url: str
    pid: int
    model: str = "coterie"
    key: str = ""


@dataclass
class Met:
    """What the rounds of one load at one door gave."""

    loads: list[Load] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Milliseconds of CPU a request, of the server and its children."""

    def to_json(self) -> dict[str, Any]:
        """Medians, and every round."""
        shown = {name: [getattr(load, name) for load in self.loads] for name in ("p50", "p95", "p99", "rate")}
        shown["cpu_ms"] = self.cpu
        return {name: median(values) for name, values in shown.items()} | {"rounds": shown}


class Texts:
    """Messages of bank customers, and requests for a poem, none of which was asked before."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - texts
        messages = dict.fromkeys(text for name in (TEXTS, DATA) for text in messages_of(LENDER / name))
        plain = dict.fromkeys(text.lower().rstrip(".?!") for text in messages)
        self._messages = [text for text in {**messages, **plain} if len(text) <= SHORT]
        self._random.shuffle(self._messages)
        self._words = sorted({word for text in messages for word in text.lower().split() if word.isalpha()})

    def messages(self, count: int) -> list[str]:
        """New ones of a customer, as they were written, or in small letters and without the mark at the end."""
        if count > len(self._messages):
            sys.exit("There are not enough texts for so many rounds and seconds.")
        return [self._messages.pop() for _ in range(count)]

    def give_back(self, texts: Sequence[str]) -> None:
        """Take texts back that were not asked."""
        self._messages += texts

    def haikus(self, count: int) -> list[str]:
        """New ones for the large model."""
        return [HAIKU.format(*self._random.choices(self._words, k=2)) for _ in range(count)]


def messages_of(path: Path) -> list[str]:
    """The texts of a file of the lender."""
    with path.open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


class Bench:
    """Loads, and what they met."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.texts = given, Texts(given.seed)
        self.met: dict[str, Met] = {}
        self._known = self.texts.messages(KNOWN)

    async def ask(self, door: Door, load: str, *, kind: str, callers: int = 1, rate: float | None = None) -> None:
        """One load at one door."""
        count = int(rate * self.given.seconds) if rate else int(MOST[kind] * self.given.seconds)
        if kind == "known":
            texts = [self._known[number % KNOWN] for number in range(count)]
        else:
            texts = self.texts.messages(count) if kind == "new" else self.texts.haikus(count)
        sent = requests_of(door.url, texts, model=door.model, key=door.key)
        before = cpu_of(door.pid)
        met = await run_load(door.url, sent, callers=callers, rate=rate, seconds=self.given.seconds)
        if set(met.statuses) - {200, 429}:
            sys.exit(f"{door.name} answered {load} with {met.statuses}.")
        if kind == "new":
            self.texts.give_back(texts[sum(met.statuses.values()) :])
        measured = self.met.setdefault(f"{door.name}: {load}", Met())
        measured.loads.append(met)
        measured.cpu.append(1000 * (cpu_of(door.pid) - before) / met.requests)
        refused = sum(count for status, count in met.statuses.items() if status != OK)
        print(
            f"{door.name}: {load}: {met.rate:.0f}/s, p50 {met.p50:.1f}, p95 {met.p95:.1f}, p99 {met.p99:.1f} ms, "
            f"CPU {measured.cpu[-1]:.2f} ms, refused {refused}",
            flush=True,
        )

    @asynccontextmanager
    async def beside(self, door: Door) -> AsyncIterator[list[Load]]:
        """Slow remote answers and local generations while the context lasts; what they met, once it has ended."""
        met: list[Load] = []
        seconds = _BEGIN + self.given.seconds
        written = requests_of(door.url, [STORY] * (WRITING * 100), model="small", max_tokens=64)
        remote = requests_of(door.url, self.texts.haikus(SLOW * 10), model=door.model, coterie={"label": "public"})
        work = [
            asyncio.create_task(run_load(door.url, sent, callers=callers, seconds=seconds))
            for sent, callers in ((remote, SLOW), (written, WRITING))
        ]
        await asyncio.sleep(_BEGIN)
        yield met
        met += await asyncio.gather(*work)

    async def warm(self, door: Door, kind: str) -> None:
        """Ask until nothing is new."""
        make = self.texts.haikus if kind == "large" else self.texts.messages
        texts = make(120) + (self._known if kind == "known" else [])
        await run_load(door.url, requests_of(door.url, texts, model=door.model, key=door.key), callers=8)

    def get(self, name: str, what: str) -> float:
        """A median."""
        return float(self.met[name].to_json()[what])

    def has(self, name: str) -> bool:
        """Whether it was measured."""
        return name in self.met


# --- What is asked.


async def ask_local(bench: Bench, ours: Door, lean: Door) -> None:
    """Routed and answered by a specialist."""
    for door in (ours, lean):
        await bench.warm(door, "known" if door is ours else "new")
    for _ in range(bench.given.rounds):
        await bench.ask(ours, "new, 1 caller", kind="new")
        for rate in RATES:
            await bench.ask(ours, f"new, {rate}/s", kind="new", rate=rate)
        await bench.ask(lean, "new, 200/s", kind="new", rate=200)
        for door in (ours, lean):
            await bench.ask(door, "new, 16 callers", kind="new", callers=16)
        await bench.ask(ours, "known, 16 callers", kind="known", callers=16)
        for door in (ours, lean):
            await bench.ask(door, "new, 48 callers", kind="new", callers=48)


async def ask_large(bench: Bench, doors: Sequence[Door]) -> None:
    """Routed, found to be nobody's, and answered by the large model."""
    for door in doors:
        await bench.warm(door, "large")
    for _ in range(bench.given.rounds):
        for door in doors:
            await bench.ask(door, f"large, {OPEN_LARGE}/s", kind="large", rate=OPEN_LARGE)
        for callers in (1, 16, 48):
            for door in doors:
                load = f"large, {callers} caller{'s' if callers > 1 else ''}"
                await bench.ask(door, load, kind="large", callers=callers)


async def ask_workers(bench: Bench, one: Door, two: Door) -> dict[str, float]:
    """The same load before one worker and before two."""
    for door in (one, two):
        await bench.warm(door, "known")
        await bench.warm(door, "new")
    for _ in range(bench.given.rounds):
        for kind in ("new", "known"):
            for door in (one, two):
                await bench.ask(door, f"{kind}, 32 callers", kind=kind, callers=32)
    return {"one_pss_mb": pss_of(one.pid), "two_pss_mb": pss_of(two.pid)}


async def ask_beside(bench: Bench, door: Door) -> None:
    """One caller of a specialist, alone, and beside slow remote answers and local generations.

    The large model is cleared for less than what the caller sends, so none of that waits for it.
    """
    await bench.warm(door, "new")
    for _ in range(bench.given.rounds):
        await bench.ask(door, "new, alone", kind="new")
        async with bench.beside(door) as met:
            await bench.ask(door, "new, beside others", kind="new")
        for load, what in zip(met, ("remote", "written"), strict=True):
            if set(load.statuses) != {OK}:
                sys.exit(f"Of what was beside ({what}) some was answered with {load.statuses}.")
            print(f"beside, {what}: {load.requests} answers, p50 {load.p50:.0f} ms", flush=True)


# --- Servers.


def make_network(folder: Path) -> None:
    """A specialist for the questions of a bank's customers, trained once."""
    if (folder / "coterie.toml").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(LENDER / DATA, folder / "triage.csv")
    (folder / "coterie.toml").write_text(TRIAGE, encoding="utf-8")
    train(folder, progress=Silent())


def copy_of(trained: Path, folder: Path, more: str = "") -> Path:
    """The network in a folder of its own, with a ledger of its own."""
    shutil.copytree(trained, folder)
    with (folder / "coterie.toml").open("a", encoding="utf-8") as file:
        file.write(more)
    return folder


@contextmanager
def running(command: Sequence[str], name: str, **more: Any) -> Iterator[Door]:  # noqa: ANN401 - of `Door`
    """A server that prints where it listens."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - own programs
    try:
        line = process.stdout.readline().strip() if process.stdout else ""
        if not line:
            sys.exit(f"{name} ended with exit code {process.wait()}.")
        url = f"{json.loads(line)['address']}/v1/chat/completions" if line.startswith("{") else line
        yield Door(name=name, url=url, pid=process.pid, **more)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def coterie(folder: Path, *words: str) -> list[str]:
    """The command line of a gateway before a network."""
    return [sys.executable, "-m", "coterie", "-C", str(folder), "serve", "--port", "0", "--json", *words]


def probe(name: str, *words: str) -> list[str]:
    """The command line of a script beside this one."""
    return [sys.executable, str(HERE / name), *words]


def key_of(folder: Path) -> str:
    """A new key of the gateway."""
    command = [sys.executable, "-m", "coterie", "-C", str(folder), "keys", "create", "load", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return str(json.loads(done.stdout)["key"])


def tree_of(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [pid, *(descendant for child in below for descendant in tree_of(int(child)))]


def cpu_of(pid: int) -> float:
    """CPU-seconds of a process and all below it."""
    ticks = 0
    for process_id in tree_of(pid):
        fields = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def pss_of(pid: int) -> float:
    """Megabytes of a process and all below it, shared pages divided among those that share them."""
    kilobytes = 0
    for process_id in tree_of(pid):
        for line in Path(f"/proc/{process_id}/smaps_rollup").read_text(encoding="ascii").splitlines():
            kilobytes += int(line.split()[1]) if line.startswith("Pss:") else 0
    return kilobytes / 1024


# --- Bars.


def bars_of(bench: Bench, memory: dict[str, float]) -> list[Bar]:
    """What was asked for, as far as it was measured."""

    def share(above: str, below: str, what: str = "rate", under: str = "") -> float | None:
        if not (bench.has(above) and bench.has(below)):
            return None
        return bench.get(above, what) / bench.get(below, under or what)

    new, known_name, large = "new, {} callers", "known, {} callers", "large, {} callers"
    our, lean, their = "coterie: ", "lean: ", "litellm: "
    ours_16, ours_48 = our + new.format(16), our + new.format(48)
    large_16, large_48 = our + large.format(16), our + large.format(48)
    peer_16, peer_48 = their + large.format(16), their + large.format(48)
    large_open, peer_open = (f"{whose}large, {OPEN_LARGE}/s" for whose in (our, their))
    added = memory["two_pss_mb"] - memory["one_pss_mb"] if memory else None
    open_loop = share(f"{our}new, 200/s", f"{our}new, 1 caller", "p95", "p50")
    rows = [
        ("open loop, 200/s: p95 over p50 of one caller", open_loop, 2.5, True),
        ("new texts, 16 callers, of the lean probe's rate", share(ours_16, lean + new.format(16)), 0.6, False),
        ("known texts, 16 callers, of the rate of new ones", share(our + known_name.format(16), ours_16), 3.0, False),
        ("CPU a request, local, 48 callers of 16", share(ours_48, ours_16, "cpu_ms"), 1.1, True),
        ("CPU a request, large, 48 callers of 16", share(large_48, large_16, "cpu_ms"), 1.1, True),
        ("large, 16 callers: p50 of LiteLLM's", share(large_16, peer_16, "p50"), 0.6, True),
        ("large, 16 callers: p99 of LiteLLM's", share(large_16, peer_16, "p99"), 0.7, True),
        ("large, 48 callers: rate of LiteLLM's", share(large_48, peer_48), 3.0, False),
        (f"large, {OPEN_LARGE}/s: p50 of LiteLLM's", share(large_open, peer_open, "p50"), 1.0, True),
        (f"large, {OPEN_LARGE}/s: p99 of LiteLLM's", share(large_open, peer_open, "p99"), 1.0, True),
        (
            f"classify p95 beside {SLOW} slow remote answers and {WRITING} local generations, of that alone",
            share(our + "new, beside others", our + "new, alone", "p95"),
            2.0,
            True,
        ),
        ("two workers, of the rate of one", share("two: new, 32 callers", "one: new, 32 callers"), 1.5, False),
        ("memory of the second worker, PSS in MB", added, 100.0, True),
    ]
    return [Bar(what=what, measured=measured, limit=limit, at_most=most) for what, measured, limit, most in rows]


async def measure(given: argparse.Namespace, folder: Path) -> tuple[Bench, dict[str, float]]:
    """All that was asked for."""
    bench, memory = Bench(given), {}
    make_network(given.network)
    only = given.only.split(",")
    if "local" in only:
        (folder / "lean").mkdir()
        with (
            running(coterie(copy_of(given.network, folder / "local")), "coterie") as ours,
            running(probe("lean.py", str(folder / "lean")), "lean") as lean,
        ):
            await ask_local(bench, ours, lean)
    if "large" in only:
        with ExitStack() as stack:
            upstream = stack.enter_context(running(probe("upstream.py"), "upstream")).url
            home = copy_of(given.network, folder / "large", LARGE.format(url=upstream))
            doors = [stack.enter_context(running(coterie(home), "coterie", key=key_of(home)))]
            if given.litellm:
                peer = stack.enter_context(litellm_proxy(given.litellm, folder, upstream))
                doors.append(Door(name="litellm", url=peer.url, pid=peer.pid, model=MODEL, key=peer.key))
            await ask_large(bench, doors)
    if "beside" in only:
        with running(probe("upstream.py", "--delay", str(SLOW_SECONDS)), "upstream") as upstream:
            home = copy_of(
                given.network, folder / "beside", LARGE.format(url=upstream.url).replace("internal", "public") + SMALL
            )
            with running(coterie(home), "coterie") as ours:
                await ask_beside(bench, ours)
    if "workers" in only:
        with (
            running(coterie(copy_of(given.network, folder / "one"), "--workers", "1"), "one") as one,
            running(coterie(copy_of(given.network, folder / "two"), "--workers", "2"), "two") as two,
        ):
            await asyncio.sleep(given.settle)
            memory = await ask_workers(bench, one, two)
    return bench, memory


def main() -> None:
    """Measure and write the result file."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--network", type=Path, required=True, help="folder of the trained network, made if missing")
    parser.add_argument("--litellm", type=Path, help="the program `litellm` in an environment of its own")
    parser.add_argument("--only", default="local,large", help="parts, with commas: local, large, workers, beside")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.5, help="of each load")
    parser.add_argument("--settle", type=float, default=4.0, help="seconds until both workers are up")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[given.seed], data={name: sha256(LENDER / name) for name in (DATA, TEXTS)})
    with tempfile.TemporaryDirectory() as name:
        bench, memory = asyncio.run(measure(given, Path(name)))
    record.figures = {name: met.to_json() for name, met in bench.met.items()} | memory
    if given.litellm:
        record.figures["litellm"] = version_of(given.litellm)
    record.bars = bars_of(bench, memory)
    record.note_load()
    record.write(given.out)


if __name__ == "__main__":
    main()

"""A served network under a long, mixed load with faults: does its memory grow, and does anything fail that should not?

    python benchmarks/soak/run.py [--requests 200000] [--at-once 8] [--seed 1]

`coterie serve` runs in a process of its own, over two small specialists that are trained first (ten intents of
BANKING77, and credit applicants) and a large model above them that is a server of ours: a third of its answers are
refusals, rubbish, cut off or late. Requests are drawn by chance: texts, columns, compound requests, turns of five
hundred sessions, texts for nobody, streams, streams that their reader leaves, wrong requests, embeddings, traces,
models, counters. Each kind has the statuses that it may end with; any other is an error. Resident memory of the server
is read at each hundredth of the run; what counts is its median over the last twentieth against that over the twentieth
after the warm-up, which is the first tenth. One process has to live through it, so a run that was cut off begins anew.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _data import LENDER
from _record import Bar, Record, arguments, sha256
from _specialists import Steps
from coterie.testing import FakeOpenAIServer, ServerReply
from coterie.training.train import train

CLAIM = "Served for long and with faults, memory stays where it is and nothing fails but what should."
GROWTH = 0.03
INTENTS, PER_INTENT, APPLICANTS = 10, 40, 300
SESSIONS = 500
KINDS: Mapping[str, tuple[float, frozenset[int]]] = {
    "text": (0.36, frozenset({200})),
    "columns": (0.12, frozenset({200})),
    "compound": (0.08, frozenset({200})),
    "session": (0.12, frozenset({200})),
    "nobody": (0.08, frozenset({200})),
    "stream": (0.06, frozenset({200})),
    "stream left": (0.05, frozenset({200})),
    "wrong": (0.05, frozenset({400, 404})),
    "embeddings": (0.04, frozenset({200})),
    "trace": (0.02, frozenset({200, 404})),
    "models": (0.01, frozenset({200})),
    "metrics": (0.01, frozenset({200})),
}
"""How often each kind comes, and what it may end with."""
WRONG = (
    b"",
    b"{",
    b'{"model": "coterie"}',
    b'{"model": "coterie/nobody", "messages": [{"role": "user", "content": "x"}]}',
    b'{"model": "coterie", "messages": [{"role": "user", "content": " "}]}',
    b'{"model": "coterie", "messages": [{"role": "user", "content": "x"}], "n": 3}',
)


def make_network(folder: Path, url: str) -> dict[str, list[str]]:
    """Train the two specialists; the texts and rows to ask with."""
    (folder / "data").mkdir()
    by_intent: dict[str, list[str]] = {}
    with (LENDER / "data" / "triage.train.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            by_intent.setdefault(row["label"], []).append(row["text"])
    chosen = {label: by_intent[label] for label in sorted(by_intent)[:INTENTS]}
    with (folder / "data" / "triage.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([text, label] for label, texts in chosen.items() for text in texts[:PER_INTENT])
    lines = (LENDER / "data" / "underwriting.csv").read_text(encoding="utf-8").splitlines()
    (folder / "data" / "credit.csv").write_text("\n".join(lines[: APPLICANTS + 1]) + "\n", encoding="utf-8")
    (folder / "coterie.toml").write_text(
        "[specialists.triage]\ntask = 'classify'\ndata = 'data/triage.csv'\ndescription = 'What bank customers ask.'\n"
        "rungs = ['lexical', 'embedding']\n"
        "[specialists.credit]\ntask = 'score'\ndata = 'data/credit.csv'\nlabel_column = 'default'\n"
        "description = 'Probability that an applicant defaults.'\ntarget_risk = 0.3\n"
        f"[models.large]\nengine = 'openai'\nbase_url = '{url}'\nname = 'large'\nclearance = 'restricted'\n"
        "timeout = 1.0\nretries = 1\nprice_in = 3.0\nprice_out = 12.0\n"
        "[generalist]\nmodel = 'large'\nescalate_out_of_scope = true\ndeadline = 5.0\n"
        "[budgets.all]\njoules = 1e9\ntokens = 1_000_000_000\nmoney = 1_000_000\n"
        "[retention]\ndays = 30\n",
        encoding="utf-8",
    )
    train(folder, progress=Steps())
    applicants = csv.DictReader(lines[APPLICANTS + 1 :], fieldnames=next(csv.reader(lines[:1])))
    rows = [{name: value for name, value in row.items() if name != "default"} for row in applicants]
    return {
        "texts": [text for texts in chosen.values() for text in texts],
        "columns": [json.dumps(row) for row in rows],
    }


def faults(dice: random.Random) -> Callable[[Mapping[str, Any]], ServerReply]:
    """What the large model does with each request."""
    kinds = [
        ServerReply(text="I do not know that."),
        ServerReply.refused(503),
        ServerReply.refused(429, retry_after="0"),
    ]
    kinds += [
        ServerReply(body=b"rubbish"),
        ServerReply(cut_after=0),
        ServerReply(text="one two three four", cut_after=2),
        ServerReply(hang=True),
    ]
    weights = [0.68, 0.08, 0.05, 0.05, 0.05, 0.07, 0.02]
    return lambda _: replace(dice.choices(kinds, weights)[0])


@dataclass
class Load:
    """Everybody who asks."""

    http: httpx.AsyncClient
    asked: Mapping[str, list[str]]
    dice: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    odd: Counter[str] = field(default_factory=Counter)
    traces: list[str] = field(default_factory=list)

    async def one(self) -> None:
        """One request, of a kind that chance decides."""
        kind = self.dice.choices(list(KINDS), [weight for weight, _ in KINDS.values()])[0]
        self.counts[kind] += 1
        try:
            status = await self._left() if kind == "stream left" else (await self._sent(kind)).status_code
        except httpx.HTTPError as error:
            self.odd[f"{kind}: {type(error).__name__}"] += 1
            return
        if status not in KINDS[kind][1]:
            self.odd[f"{kind}: {status}"] += 1

    async def _sent(self, kind: str) -> httpx.Response:
        if kind == "wrong":
            return await self.http.post("/v1/chat/completions", content=self.dice.choice(WRONG))
        if kind in {"models", "metrics"}:
            return await self.http.get("/metrics" if kind == "metrics" else "/v1/models")
        if kind == "trace":
            is_known = self.traces and self.dice.random() < 0.8
            return await self.http.get(f"/api/traces/{self.dice.choice(self.traces) if is_known else 'f' * 32}")
        if kind == "embeddings":
            texts = [self._text() for _ in range(self.dice.randint(1, 4))]
            return await self.http.post("/v1/embeddings", json={"model": "coterie", "input": texts})
        response = await self.http.post("/v1/chat/completions", json=self._body(kind))
        if kind == "text" and response.status_code == 200:
            self.traces = [*self.traces[-99:], response.json()["coterie"]["trace_id"]]
        return response

    def _body(self, kind: str) -> dict[str, Any]:
        text = {
            "columns": lambda: self.dice.choice(self.asked["columns"]),
            "compound": lambda: f"{self._text()} And also: {self._text()}",
            "nobody": lambda: f"Which of the {self.dice.randint(2, 99)} moons has volcanoes and who named it?",
        }.get(kind, self._text)()
        body: dict[str, Any] = {"model": "coterie", "messages": [{"role": "user", "content": text}]}
        if kind == "session":
            body["coterie"] = {"session": f"s{self.dice.randrange(SESSIONS)}"}
        return body | ({"stream": True} if kind.startswith("stream") else {})

    def _text(self) -> str:
        return self.dice.choice(self.asked["texts"])

    async def _left(self) -> int:
        """A stream whose reader goes away at its first bytes."""
        body = self._body("stream")
        async with self.http.stream("POST", "/v1/chat/completions", json=body) as response:
            async for _ in response.aiter_raw():
                break
            return response.status_code


def resident(process: int) -> int:
    """Bytes of a process in memory."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    match = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(match[1]) * 1024 if match else 0


async def serve(folder: Path) -> tuple[asyncio.subprocess.Process, str]:
    """The gateway in a process of its own, and its address."""
    command = [sys.executable, "-m", "coterie", "-C", str(folder), "serve", "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environment
    )
    seen = ""
    while process.stdout is not None and (line := (await process.stdout.readline()).decode()):
        seen += line
        if match := re.search(r"http://127\.0\.0\.1:\d+", line):
            return process, match[0]
    raise RuntimeError(f"it did not start:\n{seen}")


async def soak(folder: Path, requests: int, at_once: int, seed: int) -> dict[str, Any]:
    """The whole run."""
    dice = random.Random(seed)  # noqa: S311 - chance is what is wanted
    async with FakeOpenAIServer(default=faults(random.Random(seed + 1))) as large:  # noqa: S311
        questions = await asyncio.to_thread(make_network, folder, large.base_url)
        process, address = await serve(folder)
        samples: list[tuple[int, int]] = []
        left = iter(range(requests))
        limits = httpx.Limits(max_connections=at_once * 2)
        async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as http:
            load, begun = Load(http=http, asked=questions, dice=dice), time.perf_counter()

            async def work() -> None:
                for number in left:
                    await load.one()
                    if number % max(requests // 100, 1) == 0:
                        samples.append((number, resident(process.pid)))
                        large.requests.clear()
                        large.received.clear()
                    if number and number % max(requests // 10, 1) == 0:
                        print(f"{number:,} requests, {samples[-1][1] / 2**20:.0f} MiB, {dict(load.odd)}", flush=True)

            await asyncio.gather(*(work() for _ in range(at_once)))
            seconds = time.perf_counter() - begun
        alive = process.returncode is None
        process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 30)
    return {
        "seconds": seconds,
        "samples": sorted(samples),
        "kinds": dict(load.counts),
        "odd": dict(load.odd),
        "alive": alive,
        "exit": process.returncode,
        "database_mb": sum(path.stat().st_size for path in (folder / "state").glob("coterie.db*")) / 1e6,
    }


def growth(samples: list[tuple[int, int]], requests: int) -> tuple[float, float, float]:
    """MiB after the warm-up and at the end, and the growth between them."""
    after = [size for number, size in samples if 0.10 <= number / requests < 0.15]
    end = [size for number, size in samples if number / requests >= 0.95]
    return median(after) / 2**20, median(end) / 2**20, median(end) / median(after) - 1


def main() -> None:
    """Run it and write the result down."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    names = ("triage.train.csv", "underwriting.csv")
    record = Record(
        claim=CLAIM,
        seeds=[options.seed],
        data={f"lender/{name}": sha256(LENDER / "data" / name) for name in names},
    )
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(soak(Path(folder), options.requests, options.at_once, options.seed))
    begin, end, grown = growth(result["samples"], options.requests)
    record.bars = [
        Bar(what="growth of resident memory after the warm-up", measured=grown, limit=GROWTH, at_most=True),
        Bar(what="errors that were not planned", measured=float(sum(result["odd"].values())), limit=0.0, at_most=True),
    ]
    record.figures = {
        "requests": options.requests,
        "per_second": options.requests / result["seconds"],
        "resident_mib": {"after warm-up": begin, "at the end": end},
        **{name: result[name] for name in ("seconds", "kinds", "odd", "alive", "exit", "database_mb")},
        "samples_mib": [[number, round(size / 2**20, 1)] for number, size in result["samples"]],
    }
    record.note_load()
    record.write(options.out)


if __name__ == "__main__":
    main()

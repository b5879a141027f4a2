"""The official conformance suite of the Model Context Protocol against a served network, and what the protocol costs.

    python benchmarks/mcp/run.py [--suite 0.2.0-alpha.12] [--calls 200]

A network with one classifier and one index is trained in a temporary folder and served by `coterie serve`. The suite is
fetched by `npx` with Node 22. Many of its scenarios call tools, prompts and resources of the suite's own fixture server
(`test_simple_text`, `test://static-text` ...) or features that a network does not offer (prompts, completions,
elicitation, tasks). Checks that fail for that reason are counted apart, by the words of the check; any other failure
misses the bar. Then the same text is asked over MCP and over `/v1/chat/completions`, in turn, by one caller.
"""

from __future__ import annotations

import asyncio
import csv
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx
from mcp.client import Client

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _record import Bar, Record, arguments

CLAIM = "The gateway speaks the Model Context Protocol as its official conformance suite asks, at little cost."
REVISIONS = ("2026-07-28", "2025-11-25")
WORDS = {"delivery": "parcel package late courier", "refund": "money back return paid", "card": "card lost stolen pin"}
FIXTURE = re.compile(
    r"Unknown tool|test://|Not testable|Prerequisite failed|fixture|not found\. Available tools|Method not found"
    r"|-32601|capabilities\.extensions|Expected InputRequiredResult|spec requires -32021"
)
"""What a check says that needs the suite's own server, or a feature that is not offered."""


def coterie(*words: str, cwd: Path) -> None:
    """Run one command."""
    subprocess.run([sys.executable, "-m", "coterie", *words], cwd=cwd, check=True, capture_output=True)  # noqa: S603


@contextmanager
def served(home: Path) -> Iterator[str]:
    """The address of a network that was just trained."""
    dice = random.Random(1)  # noqa: S311 - sentences
    with (home / "rows.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        rows.writerows(
            [[" ".join(dice.choices(WORDS[label].split(), k=5)), label] for label in WORDS for _ in range(40)]
        )
    (home / "docs").mkdir()
    (home / "docs/rules.md").write_text("# Rules\n\nA parcel that never came is paid back within 30 days.\n")
    coterie("init", "shop", cwd=home)
    coterie("-C", "shop", "add", "intents", "--data", "rows.csv", "--rungs", "lexical", cwd=home)
    coterie("-C", "shop", "index", "policies", "docs", "--label", "public", cwd=home)
    coterie("-C", "shop", "add", "rules", "--task", "answer", "--knowledge", "policies", "--rungs", "lexical", cwd=home)
    coterie("-C", "shop", "train", cwd=home)
    words = [sys.executable, "-m", "coterie", "-C", "shop", "serve", "--port", "0", "--json"]
    with subprocess.Popen(words, cwd=home, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
        try:
            yield json.loads(next(iter(server.stdout or ())))["address"]
        finally:
            server.terminate()


def conformance(address: str, suite: str, revision: str, out: Path) -> dict[str, object]:
    """What the suite found: checks passed, failed for want of fixtures, and failed."""
    command = f"conformance server --url {address}/mcp --requirements {revision} --output-dir {out}"
    npx = ["npx", "-y", "-p", "node@22", "-p", f"@modelcontextprotocol/conformance@{suite}", "-c", command]
    subprocess.run(npx, check=False, capture_output=True)  # noqa: S603 - it exits with 1 where a scenario fails
    passed, without, failed = 0, 0, []
    scenarios = sorted(out.glob("*/checks.json"))
    for path in scenarios:
        for check in json.loads(path.read_text()):
            message = str(check.get("errorMessage"))
            passed += check["status"] == "SUCCESS"
            if check["status"] == "FAILURE" and FIXTURE.search(message):
                without += 1
            elif check["status"] == "FAILURE":
                failed.append(f"{check['id']}: {message}")
    return {"scenarios": len(scenarios), "passed": passed, "not_offered": without, "failed": failed}


async def latency(address: str, calls: int) -> dict[str, float]:
    """Milliseconds at the median of the same text over both doors, asked in turn."""
    text, took = "my parcel is late", {"mcp": [], "chat": []}
    body = {"model": "coterie/intents", "messages": [{"role": "user", "content": text}]}
    async with Client(f"{address}/mcp") as client, httpx.AsyncClient(base_url=address) as http:
        for _ in range(calls):
            start = time.perf_counter()
            await client.call_tool("intents", {"text": text})
            middle = time.perf_counter()
            (await http.post("/v1/chat/completions", json=body)).raise_for_status()
            took["mcp"].append(middle - start)
            took["chat"].append(time.perf_counter() - middle)
    return {name: 1000 * median(times) for name, times in took.items()}


def main() -> None:
    """Run, print and record."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--suite", default="0.2.0-alpha.12", help="version of @modelcontextprotocol/conformance")
    parser.add_argument("--calls", type=int, default=200)
    given = parser.parse_args()
    record = Record(claim=CLAIM, seeds=[1])
    record.note_load()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as address:
        for revision in REVISIONS:
            result = conformance(address, given.suite, revision, Path(folder) / f"out-{revision}")
            record.figures[revision] = result
            failures = len(result["failed"]) if result["scenarios"] else None  # type: ignore[arg-type]
            record.bars.append(Bar(what=f"failures, {revision}", measured=failures, limit=0, at_most=True))
        record.figures["milliseconds"] = asyncio.run(latency(address, given.calls))
    record.notes.append(f"suite {given.suite}; not_offered: checks that need tools of the suite's own fixture server")
    record.write(given.out)


if __name__ == "__main__":
    main()

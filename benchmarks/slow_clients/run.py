"""Callers that are slow on purpose, and answers that are slow by nature: who waits for them.

    python benchmarks/slow_clients/run.py [--network DIR]

The gateway runs as a process of its own before a trained network; the large model is a local fake that takes its time.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from _record import Bar, Record, arguments
from _six_tasks import large_model, make_network
from coterie.config.file import GatewaySection

CLAIM = "Slow callers are let go in their time and keep nobody out; slow remote answers leave local work alone."
LIMITS = GatewaySection()
EACH, UNFINISHED, SILENT, REMOTE = 10, 400, 320, 80
DESCRIPTORS = 300
REMOTE_SECONDS = 4.0
SLACK = 5.0
"""Seconds beyond its limit after which a slow caller counts as not closed."""
ASKED = 100
LOCAL, HERE = "How do I activate my card?", {"label": "internal"}
"""A question, and why it is answered or abstained from here: the large model is cleared for less."""
SERVER = """
import asyncio, resource, sys
from coterie.assembly import open_network
from coterie.config.file import GatewaySection
from coterie.gateway.serve import serve
if int(sys.argv[2]):
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]),) * 2)
section = GatewaySection(port=0, drain=0)
opened = lambda: open_network(sys.argv[1], warm=True)
asyncio.run(serve(opened, section, on_ready=lambda address: print(address, flush=True)))
"""
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"


class Stream(NamedTuple):
    """A connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@asynccontextmanager
async def server(folder: Path, descriptors: int = 0) -> AsyncIterator[int]:
    """The port of a gateway in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, str(folder), str(descriptors), stdout=asyncio.subprocess.PIPE, env=os.environ
    )
    if process.stdout is None:
        raise AssertionError
    try:
        address = (await asyncio.wait_for(process.stdout.readline(), 300)).decode()
        yield int(address.strip().rsplit(":", 1)[1])
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def connect(port: int, sent: bytes = b"") -> Stream:
    """A connection on which something was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    return Stream(reader, writer)


def chat(text: str, **more: object) -> bytes:
    """A whole request."""
    body = json.dumps({"model": "coterie", "messages": [{"role": "user", "content": text}], **more}).encode()
    return HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body


async def ask(port: int, request: bytes, seconds: float = 60.0) -> tuple[float, bytes]:
    """Milliseconds until the whole response came, over a connection of its own, and the response."""
    start = time.perf_counter()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(seconds):
            stream = await connect(port, request)
            response = await stream.reader.read()
            stream.writer.close()
            return 1000 * (time.perf_counter() - start), response
    return 1000 * (time.perf_counter() - start), b""


async def closed_after(port: int, sent: bytes, more: bytes = b"") -> float | None:
    """Seconds until the server closes a connection that gets `more` ten times a second; None if it does not."""
    stream, start = await connect(port, sent), time.perf_counter()

    async def trickle() -> None:
        while more:
            stream.writer.write(more)
            await asyncio.sleep(0.1)

    trickling = asyncio.create_task(trickle())
    try:
        async with asyncio.timeout(max(LIMITS.head_seconds, LIMITS.body_seconds) + SLACK):
            with suppress(ConnectionError):
                while await stream.reader.read(4096):
                    pass
            return time.perf_counter() - start
    except TimeoutError:
        return None
    finally:
        trickling.cancel()
        stream.writer.close()


def spread(milliseconds: Sequence[float]) -> dict[str, float]:
    """Median and tail."""
    return {name: float(np.percentile(milliseconds, share)) for name, share in (("p50", 50), ("p95", 95), ("p99", 99))}


async def health(port: int) -> dict[str, Any]:
    """Of `/healthz`, one caller after the other."""
    answers = [await ask(port, HEALTH, 10) for _ in range(ASKED)]
    return {
        "answered": sum(response.startswith(b"HTTP/1.1 200") for _, response in answers),
        **spread([took for took, _ in answers]),
    }


async def slow(port: int) -> dict[str, Any]:
    """What becomes of callers that say too little."""
    kinds = {
        "silent": (b"", b""),
        "half-sent head": (HEAD, b""),
        "trickled head": (HEAD, b"x: y\r\n"),
        "trickled body": (HEAD + b"content-length: 100000\r\n\r\n", b"{"),
    }
    figures = {}
    runs = {name: [closed_after(port, *sent) for _ in range(EACH)] for name, sent in kinds.items()}
    for name, times in zip(runs, await asyncio.gather(*(asyncio.gather(*run) for run in runs.values())), strict=True):
        done = [seconds for seconds in times if seconds is not None]
        figures[name] = {"closed": len(done), "of": EACH, "seconds": max(done, default=None)}
        print(name, figures[name], flush=True)
    return figures


async def crowd(port: int, count: int, sent: bytes) -> dict[str, Any]:
    """How others fare while so many are there and say no more."""
    before = await health(port)
    streams = await asyncio.gather(*(connect(port, sent) for _ in range(count)), return_exceptions=True)
    during = await health(port)
    took, response = await ask(port, chat(LOCAL, coterie=HERE))
    for stream in streams:
        if isinstance(stream, Stream):
            stream.writer.close()
    figures = {"before": before, "during": during, "question": {"ms": took, "answered": b" 200 " in response[:20]}}
    print(count, sent[-20:], figures, flush=True)
    return figures


async def classify(port: int) -> dict[str, float]:
    """Of questions that nothing leaves for, one caller after the other."""
    answers = [await ask(port, chat(LOCAL, model="coterie/triage", coterie=HERE)) for _ in range(ASKED)]
    if not all(b" 200 " in response[:20] for _, response in answers):
        raise SystemExit(f"A question was not answered here: {answers[-1][1][:300]!r}")
    return spread([took for took, _ in answers])


async def remote(port: int) -> dict[str, Any]:
    """Local answers without and with many that wait for a remote model; twice, and the better of each."""
    alone, beside, failed = [], [], 0
    for _ in range(2):
        alone.append(await classify(port))
        waiting = [
            asyncio.create_task(ask(port, chat(f"write poem {n} about the sea and the moon"))) for n in range(REMOTE)
        ]
        await asyncio.sleep(0.5)
        beside.append(await classify(port))
        failed += sum(b" 200 " not in response[:20] for _, response in await asyncio.gather(*waiting))
    figures = {
        "alone": min(alone, key=lambda load: load["p95"]),
        "beside": min(beside, key=lambda load: load["p95"]),
        "remote not answered": failed,
    }
    print(figures, flush=True)
    return figures


async def measure(folder: Path, record: Record) -> None:
    """Everything, into the record."""
    with large_model(REMOTE_SECONDS) as url:
        await asyncio.to_thread(make_network, folder, url)
        async with server(folder) as port:
            away = await remote(port)
            unfinished = await crowd(port, UNFINISHED, HEAD + b"content-length: 1000\r\n\r\n{")
            late = await slow(port)
        async with server(folder, DESCRIPTORS) as port:
            silent = await crowd(port, SILENT, b"")
    record.figures = {
        "slow": late, "unfinished bodies": unfinished, "silent at few descriptors": silent, "remote": away
    }  # fmt: skip
    kept = sum(entry["of"] - entry["closed"] for entry in late.values())
    record.bars = [
        Bar(what="slow callers not closed", measured=float(kept), limit=0, at_most=True),
        *(
            bar
            for what, figures in {"400 unfinished bodies": unfinished, "320 silent at 300 descriptors": silent}.items()
            for bar in _bars(what, figures)
        ),
        Bar(
            what="classify p95 beside 80 slow remote answers, times that without",
            measured=away["beside"]["p95"] / away["alone"]["p95"], limit=3, at_most=True,
        ),
        Bar(what="slow remote answers that failed", measured=float(away["remote not answered"]), limit=0, at_most=True),
    ]  # fmt: skip


def _bars(what: str, figures: dict[str, Any]) -> list[Bar]:
    before, during, question = figures["before"], figures["during"], figures["question"]
    return [
        Bar(what=f"/healthz answered beside {what}", measured=during["answered"], limit=ASKED),
        Bar(what=f"/healthz p99 beside {what} (ms)", measured=during["p99"], limit=100, at_most=True),
        Bar(what="the same, times that before", measured=during["p99"] / before["p99"], limit=3, at_most=True),
        Bar(what=f"a question is answered beside {what}", measured=float(question["answered"]), limit=1),
    ]


def main() -> int:
    """Run it and write the result down."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--network", type=Path, help="a folder for the network, trained there if need be")
    options = parser.parse_args()
    record = Record(claim=CLAIM)
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(measure(options.network or Path(directory) / "network", record))
    record.note_load()
    record.write(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

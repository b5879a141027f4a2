"""What a relayed request takes more than the same request to its server, and whether its bytes arrive.

    python benchmarks/relay/run.py --network DIR [--rounds 20] [--requests 50]

One caller, one fake server, a real `coterie serve` with a key, budget, gate, ledger and audit log. Each round asks the
server itself and then the gateway; the overhead is the difference of the medians of a round. Beforehand odd bodies and
answers, whole and streamed, pass through and are compared byte by byte. `DIR` keeps the trained network between runs,
that of `benchmarks/scale_gateway`; it is made where it is not there.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from statistics import median

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scale_gateway"))  # its `run` stands before this one

from generator import requests_of, run_load
from run import Door, copy_of, coterie, key_of, make_network, running

from _data import LARGE
from _record import Bar, Record, arguments, sync_p50

CLAIM = "A relayed request arrives byte by byte, and takes at most 1.5 ms more at the median."
BODY = (
    b'{ "model":"large" ,"messages":[{"role":"user","content":"h\\u00e9llo \xf0\x9f\x90\x88, \\"model\\": 1"}],'
    b'\n "x": 1e2}'
)
ANSWERS = {
    "application/json": b'{"id":"x",  "choices":[{"index":0,"message":{"content":"\xc3\xa9"}}],"usage":'
    b'{"prompt_tokens":7,"completion_tokens":3}}\n',
    "text/event-stream": b': ping\r\n\r\ndata: {"choices":[{"delta":{"content":"a"}}]}\n\nevent: odd\ndata: x\n\n'
    b"data: [DONE]\n\n",
}


class Upstream:
    """A server that keeps bodies and answers with the bytes of a kind."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.kind = "application/json"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests."""
        while head := await self._head(reader):
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            self.bodies = [*self.bodies[-9:], await reader.readexactly(length)]
            answer = ANSWERS[self.kind]
            response_head = f"HTTP/1.1 200 OK\r\ncontent-type: {self.kind}\r\ncontent-length: {len(answer)}\r\n\r\n"
            writer.write(response_head.encode() + answer)
            await writer.drain()

    @staticmethod
    async def _head(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):  # the last: the run is over
            return b""


async def identical(upstream: Upstream, door: Door) -> bool:
    """Whether what goes in comes out, on both ways."""
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {door.key}"}) as http:
        for upstream.kind, answer in ANSWERS.items():
            response = await http.post(door.url, content=BODY)
            if upstream.bodies[-1] != BODY or response.content != answer:
                return False
    upstream.kind = "application/json"
    return True


async def p50(door: Door, requests: int) -> float:
    """Milliseconds at the median of one caller's requests."""
    text = "Write a haiku about the sea in winter, please, and nothing else."
    sent = requests_of(door.url, [text] * requests, model=door.model, key=door.key)
    met = await run_load(door.url, sent)
    if set(met.statuses) != {200}:
        sys.exit(f"{door.name} answered with {met.statuses}.")
    return met.p50


async def main() -> None:
    """Compare, then time."""
    parser = arguments(__doc__ or "", __file__)
    parser.add_argument("--network", type=Path, required=True, help="folder of the trained network, made if missing")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument(
        "--folder", type=Path, help="where ledger and log are, such as /dev/shm; the system's by default"
    )
    options = parser.parse_args()
    record, upstream = Record(claim=CLAIM), Upstream()
    record.note_load()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    url = "http://{}:{}/v1".format(*server.sockets[0].getsockname())
    await asyncio.to_thread(make_network, options.network)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        more = LARGE.format(url=url) + '[gateway]\nrelay = ["*"]\n'
        folder = copy_of(options.network, Path(name) / "network", more)
        with running(coterie(folder), "relay", model="large", key=key_of(folder)) as relay:
            direct = Door(name="direct", url=f"{url}/chat/completions", pid=relay.pid, model="large")
            same = await identical(upstream, relay)
            rounds = []
            for _ in range(options.rounds + 1):
                rounds.append([await p50(door, options.requests) for door in (direct, relay)])
                print([round(value, 2) for value in rounds[-1]], flush=True)
        sync = sync_p50(folder)
    rounds = rounds[1:]  # the first warms up
    overheads = sorted(relayed - alone for alone, relayed in rounds)
    record.figures = {
        "identical": same,
        "direct_p50_ms": median(alone for alone, _ in rounds),
        "relay_p50_ms": median(relayed for _, relayed in rounds),
        "overhead_p50_ms": median(overheads),
        "overhead_least_ms": overheads[0],
        "sync_p50_ms": sync,
    }
    record.bars = [
        Bar(what="bytes in and out are the same", measured=float(same), limit=1),
        Bar(what="overhead p50, ms", measured=median(overheads), limit=1.5, at_most=True),
    ]
    server.close()
    print(record.figures)
    record.write(options.out)


if __name__ == "__main__":
    asyncio.run(main())

"""The lean probe: what a gateway with the same encoder and the same durable record can do with next to no Python.

    python benchmarks/scale_gateway/lean.py FOLDER

One encoder thread takes whatever waits as a batch. One writer thread commits whatever waits: a row of a ledger
(SQLite, write-ahead log) and a line of a hash-chained log; an answer waits for both. No task a request, one fixed
linear head, no routing, no look for personal data, no budgets, no keys. It is a floor to compare with, not a product.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import sqlite3
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import uvicorn
from tokenizers import Tokenizer

from coterie.engines.onnx import BUNDLED_ENCODER

LABELS = [f"intent_{number}" for number in range(77)]
HEAD = np.random.default_rng(0).standard_normal((384, len(LABELS))).astype(np.float32)  # (D, L)


class Pump:
    """A thread that takes everything that waits, does it at once, and wakes the loop once a batch."""

    def __init__(self, work: Callable[[Sequence[Any]], Sequence[Any]], most: int) -> None:
        self._work, self._most = work, most
        self._queue: deque[tuple[Any, asyncio.Future[Any]]] = deque()
        self._come = threading.Event()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, daemon=True).start()

    def put(self, item: object) -> asyncio.Future[Any]:
        """What comes of the item."""
        future = self._loop.create_future()
        self._queue.append((item, future))
        self._come.set()
        return future

    def _run(self) -> None:
        while True:
            self._come.wait()
            self._come.clear()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._most))]
                results = self._work([item for item, _ in batch])
                self._loop.call_soon_threadsafe(self._tell, batch, results)

    @staticmethod
    def _tell(batch: Sequence[tuple[Any, asyncio.Future[Any]]], results: Sequence[Any]) -> None:
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)


class Encoder:
    """The bundled encoder, one native thread."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # The same rewriting of the graph is left out as in the product: it costs time.
        self._session = onnxruntime.InferenceSession(
            str(BUNDLED_ENCODER / "model.onnx"),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["SkipLayerNormFusion"],
        )
        self._tokenizer = Tokenizer.from_file(str(BUNDLED_ENCODER / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._inputs = [model_input.name for model_input in self._session.get_inputs()]

    def run(self, texts: Sequence[str]) -> Sequence[np.ndarray]:
        """One vector a text."""
        pieces = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        ids = np.zeros((len(pieces), max(map(len, pieces))), np.int64)  # (B, T)
        mask = np.zeros_like(ids)
        for row, piece in enumerate(pieces):
            ids[row, : len(piece)], mask[row, : len(piece)] = piece, 1
        feed = {"input_ids": ids, "attention_mask": mask}
        feed |= {name: np.zeros_like(ids) for name in self._inputs if name not in feed}
        return list(np.asarray(self._session.run(None, feed)[0]))


class Record:
    """A ledger and a chained log, written together."""

    def __init__(self, folder: Path) -> None:
        self._ledger = sqlite3.connect(folder / "lean.db", isolation_level=None, check_same_thread=False)
        self._ledger.execute("PRAGMA journal_mode = wal")
        self._ledger.execute("PRAGMA synchronous = normal")
        self._ledger.execute("CREATE TABLE IF NOT EXISTS answers (id TEXT PRIMARY KEY, document BLOB)")
        self._log = os.open(folder / "lean.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._last = b"0" * 64

    def write(self, rows: Sequence[tuple[str, bytes]]) -> Sequence[None]:
        """One transaction and one write."""
        self._ledger.execute("BEGIN")
        self._ledger.executemany("INSERT INTO answers VALUES (?, ?)", rows)
        self._ledger.execute("COMMIT")
        lines = []
        for _, document in rows:
            lines.append(document + b" " + self._last + b"\n")
            self._last = hashlib.sha256(lines[-1]).hexdigest().encode()
        os.write(self._log, b"".join(lines))
        return [None] * len(rows)


class App:
    """The ASGI app."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        start, text = time.perf_counter(), json.loads(body)["messages"][-1]["content"]
        logits = await self._encoder.put(text) @ HEAD
        label = int(logits.argmax())
        shares = np.exp(logits - logits.max())
        trace = {
            "trace_id": os.urandom(16).hex(),
            "status": "accepted",
            "route": {"specialists": ["triage"], "reason": "nearest"},
            "findings": [{"specialist": "triage", "text": LABELS[label], "confidence": float(1 / shares.sum())}],
            "usage": {"milliseconds": (time.perf_counter() - start) * 1000, "cost": None},
        }
        await self._record.put((trace["trace_id"], json.dumps(trace).encode()))
        message = {"role": "assistant", "content": LABELS[label]}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        answer = {"id": "chatcmpl-lean", "object": "chat.completion", "choices": [choice], "coterie": trace}
        out = json.dumps(answer).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(out)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": out})

    async def _live(self, receive: Any, send: Any) -> None:  # noqa: ANN401
        while True:
            kind = (await receive())["type"]
            if kind == "lifespan.startup":
                self._encoder = Pump(Encoder().run, 32)
                self._record = Pump(Record(self._folder).write, 256)
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return


def main() -> None:
    """Serve on a free port and print it."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(App(Path(sys.argv[1])), log_level="error", access_log=False, http="httptools")
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/v1/chat/completions", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()

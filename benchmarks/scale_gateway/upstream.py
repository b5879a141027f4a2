"""A fake OpenAI server on a bare protocol, so that it takes next to nothing of the machine that is measured.

    python benchmarks/scale_gateway/upstream.py [--delay SECONDS]

It prints its address, and answers each chat request with the same short text, whole or as events.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from typing import cast

TEXT = "Hello from the fake server."
USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}


def _whole() -> bytes:
    message = {"role": "assistant", "content": TEXT}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    answer = {"id": "chatcmpl-fake", "object": "chat.completion", "created": 0, "model": "large"}
    body = json.dumps({**answer, "choices": [choice], "usage": USAGE}).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    return head + body


def _events() -> bytes:
    chunk = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 0, "model": "large"}
    deltas = [{"content": word} for word in TEXT.split()]
    events = [json.dumps({**chunk, "choices": [{"index": 0, "delta": d, "finish_reason": None}]}) for d in deltas]
    events.append(json.dumps({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
    events += [json.dumps({**chunk, "choices": [], "usage": USAGE}), "[DONE]"]
    pieces = [f"data: {event}\n\n".encode() for event in events]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


WHOLE, EVENTS = _whole(), _events()
CHANCE = random.Random(0)  # noqa: S311 - delays, no secret


class Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self, delay: float) -> None:
        self._delay, self._buffer = delay, b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
            streamed = b'"stream":true' in body.replace(b" ", b"")
            delay = self._delay * CHANCE.uniform(0.5, 1.5)  # or all that wait would be answered at once
            asyncio.get_running_loop().call_later(delay, self._answer, EVENTS if streamed else WHOLE)

    def _answer(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


async def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before an answer, on average")
    given = parser.parse_args()
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(given.delay), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())

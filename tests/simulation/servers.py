"""Servers of large models that keep every byte they get, and misbehave: late, silent, half, rude, or wrong."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from coterie.engines.http import TransportError
from coterie.testing import ScriptedAnswer

_REWORDED: tuple[Callable[[str], str], ...] = (
    str,
    str,
    str.lower,
    str.upper,
    lambda text: text.replace("<", "&lt;").replace(">", "&gt;"),
)


class SimulatedServer:
    """A model that repeats what it is told, in other words and forms, or fails."""

    def __init__(self, name: str, draw: random.Random) -> None:
        self.name = name
        self.bodies: list[bytes] = []
        """Every request that came in, head and body."""
        self.prompts: list[tuple[str, str]] = []
        """What processes asked before they ended, in both ways that the audit log counts it: as turns, and verbatim."""
        self.billed = 0
        """Tokens of answers that were sent as a whole, one a word, with those of their prompts."""
        self.draw = draw

    def transport(self, ended: Callable[[], bool]) -> Transport:
        """The way to it, for one process; once that has ended, nobody pays for what still asks in its name."""
        return Transport(self, ended)


class Transport:
    """The network between one process and a server."""

    def __init__(self, server: SimulatedServer, ended: Callable[[], bool]) -> None:
        self._server, self._ended = server, ended

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, until: float) -> ScriptedAnswer:
        """One request: what comes of it is drawn."""
        async with asyncio.timeout_at(until):
            return await self._answer(headers, body)

    async def close(self) -> None:
        """Nothing is open."""

    async def _answer(self, headers: Mapping[str, str], body: bytes) -> ScriptedAnswer:
        server, draw = self._server, self._server.draw
        if draw.random() < 0.04:
            raise TransportError("unreachable", "connection refused", sent=False)
        head = "\n".join(f"{name}: {value}" for name, value in headers.items())
        server.bodies.append(head.encode() + b"\n\n" + body)
        request = json.loads(body)
        if not self._ended():
            turns = "\n\n".join(f"{message['role']}: {message['content']}" for message in request["messages"])
            server.prompts.append((turns, body.decode()))
        await asyncio.sleep(draw.choice([0.0, 0.01, 0.2, 1.5]))
        odd = draw.random()
        if odd < 0.04:
            await asyncio.Event().wait()  # until somebody gives up
        if odd < 0.08:
            raise TransportError(draw.choice(["dropped", "dropped", "late"]), "gone")
        text, calls = _reply(request, draw), _calls(request, draw)
        if odd < 0.16:
            status, error = draw.choice([400, 429, 500, 503]), {"error": {"message": text[:100], "code": None}}
            headers = {"retry-after": "1"} if draw.random() < 0.3 else {}
            return ScriptedAnswer(status=status, json=error, headers=headers)
        if odd < 0.18:
            return ScriptedAnswer(headers={"content-type": "text/html"}, body=b"<h1>It works!</h1>")
        tokens = {
            "prompt_tokens": sum(len(message["content"].split()) for message in request["messages"]),
            "completion_tokens": len(text.split()) * request.get("n", 1),
        }
        streams = bool(request.get("stream"))
        chunks = _events(text, calls, tokens, draw) if streams else [_whole(text, calls, tokens)]
        kind = "text/event-stream" if streams else "application/json"
        ending = draw.choices(["whole", "cut", "hang", "error"], weights=[85, 6, 5, 4])[0]
        if ending == "whole" and not self._ended():
            server.billed += sum(tokens.values())
        return ScriptedAnswer(headers={"content-type": kind}, body=_Pieces(chunks, ending, draw))


class _Pieces:
    """An answer on its way."""

    def __init__(self, chunks: list[bytes], ending: str, draw: random.Random) -> None:
        self._chunks, self._ending, self._draw = chunks, ending, draw

    async def __aiter__(self) -> AsyncIterator[bytes]:
        last = len(self._chunks) if self._ending == "whole" else self._draw.randrange(len(self._chunks))
        for chunk in self._chunks[:last]:
            await asyncio.sleep(self._draw.choice([0.0, 0.0, 0.05]))
            yield chunk
        if self._ending == "whole":
            return
        yield self._chunks[last][: len(self._chunks[last]) // 2]
        if self._ending == "hang":
            await asyncio.Event().wait()
        if self._ending == "error":
            raise TransportError("dropped", "peer closed connection without sending complete message body")


def _reply(request: dict[str, Any], draw: random.Random) -> str:
    """What the model says: no more words than it was allowed."""
    text = draw.choice(_REWORDED)(request["messages"][-1]["content"])
    text = " ".join(text.split()[: min(draw.choice([3, 40, 400]), request.get("max_tokens", 400))])
    if not request.get("response_format"):
        return "" if draw.random() < 0.03 else text
    options = json.dumps(request["response_format"]).partition('"enum": [')[2].partition("]")[0]
    if options and draw.random() < 0.9:
        return json.dumps({"label": draw.choice(json.loads(f"[{options}]"))})
    return json.dumps({"answer": draw.choice(["", text]), "questions": [text[:80]]})


def _calls(request: dict[str, Any], draw: random.Random) -> list[dict[str, Any]]:
    """Calls of a function in place of the words, where there is one; their arguments are no more than the words."""
    if not request.get("tools") or draw.random() < 0.4:
        return []
    arguments = draw.choice(['{"n": 3}', '{"n": ', "{}", "no JSON"])
    name = draw.choice([request["tools"][0]["function"]["name"], "another"])
    return [{"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}]


def _whole(text: str, calls: list[dict[str, Any]], tokens: dict[str, int]) -> bytes:
    message = {"role": "assistant", "content": text} if not calls else {"role": "assistant", "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    return json.dumps({"choices": [choice], "usage": tokens}).encode()


def _events(text: str, calls: list[dict[str, Any]], tokens: dict[str, int], draw: random.Random) -> list[bytes]:
    """Server-sent events: the text or the calls in pieces that end anywhere, its end, its tokens, the end mark."""
    size = draw.choice([1, 7, 60])
    pieces = [text[at : at + size] for at in range(0, len(text), size)][:200]
    pieces += [text[200 * size :]] if len(text) > 200 * size else []
    deltas: list[dict[str, Any]] = [{"content": piece} for piece in pieces]
    for call in calls:
        head, arguments = {**call, "function": {**call["function"], "arguments": ""}}, call["function"]["arguments"]
        rest = [{"index": 0, "function": {"arguments": sign}} for sign in arguments]
        deltas = [{"tool_calls": [call]} for call in (head, *rest)]
    finish = "tool_calls" if calls else "stop"
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}, {"choices": [], "usage": tokens}]
    return [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]

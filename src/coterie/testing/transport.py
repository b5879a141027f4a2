"""A scripted transport: what a server would answer, without a server or a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from coterie.testing.openai_server import ReceivedRequest

if TYPE_CHECKING:
    from coterie.engines.transport import ServerAnswer


@dataclass(kw_only=True)
class ScriptedAnswer:
    """An answer of a `ScriptedTransport`."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name."""
    body: bytes | Sequence[bytes] | AsyncIterable[bytes] = b""
    """At once, or in pieces; what iterates may raise `TransportError`."""
    json: Any = None
    """A body as JSON, in place of `body`."""
    closed: bool = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body."""
        if self.json is not None:
            yield json.dumps(self.json).encode()
        elif isinstance(self.body, AsyncIterable):
            async for piece in self.body:
                yield piece
        else:
            for piece in [self.body] if isinstance(self.body, bytes) else self.body:
                yield piece

    def whole(self) -> bytes | None:
        """Return a body that is given at once."""
        if self.json is not None:
            return json.dumps(self.json).encode()
        return self.body if isinstance(self.body, bytes) else None

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


class ScriptedTransport:
    """Answers each request with what a function makes of it; the function may raise `TransportError`."""

    def __init__(self, answer: Callable[[ReceivedRequest], ScriptedAnswer | Awaitable[ScriptedAnswer]]) -> None:
        """Take the function."""
        self._answer = answer

    async def post(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        until: float,
    ) -> ServerAnswer:
        """Return the function's answer."""
        named = {name.lower(): value for name, value in headers.items()}
        answer = self._answer(ReceivedRequest(method="POST", path=urlsplit(url).path, headers=named, body=body))
        if isinstance(answer, ScriptedAnswer):
            return answer
        async with asyncio.timeout_at(until):
            return await answer

    async def close(self) -> None:
        """Nothing is open."""

"""Server-sent events, read from bytes as they arrive.

Follows the standard's rules for lines (LF, CR or CRLF, split anywhere), comments and joined `data` fields
(https://html.spec.whatwg.org/multipage/server-sent-events.html); other fields are ignored.
"""

from __future__ import annotations

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")


class EventParser:
    """Bytes in, the `data` of each complete event out. Raises `ValueError` for what is no event stream."""

    def __init__(self, *, limit: int = 1 << 20) -> None:
        """Start a stream; `limit` bounds the bytes of one line and of one event."""
        self._limit = limit
        self._line = bytearray()  # the part of a line whose end has not come
        self._data: list[str] = []
        self._size = 0
        self._after_cr = False
        self._first = True  # a byte order mark may come before the first line

    def feed(self, chunk: bytes) -> list[str]:
        """The events that this chunk completes."""
        if not chunk:
            return []
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]  # the second half of a CRLF that was split between chunks
        self._after_cr = chunk.endswith(b"\r")
        *ends, rest = _LINE_END.split(chunk)
        events = []
        for end in ends:
            line, self._line = bytes(self._line) + end, bytearray()
            if (event := self._take(line)) is not None:
                events.append(event)
        self._line += rest
        self._check(len(self._line))
        return events

    def end(self) -> list[str]:
        """The event that a stream ending without its blank line leaves, if any."""
        return [*self.feed(b"\n"), *self.feed(b"\n")]

    def _take(self, line: bytes) -> str | None:
        """Take a complete line; the event's data if it is the blank line that ends one."""
        if self._first:
            line, self._first = line.removeprefix(b"\xef\xbb\xbf"), False
        if not line:
            data, self._data, self._size = self._data, [], 0
            return "\n".join(data) if data else None
        name, _, value = line.partition(b":")
        if name == b"data":
            self._size += len(value)
            self._check(self._size)
            self._data.append(value.removeprefix(b" ").decode())
        return None

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise ValueError(f"an event has more than {self._limit} bytes")

"""How the gateway writes JSON, whole or as server-sent events.

Strict JSON (no NaN), and a text that is not valid Unicode, which a model may produce, is repaired instead of failing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

DONE = b"data: [DONE]\n\n"
"""Ends a stream."""

TRACE_HEADER = "x-coterie-trace"
"""Names the trace of an answer."""


class JSONBody(Response):
    """A JSON response."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """The content as UTF-8."""
        return encode(content)


def encode(content: object) -> bytes:
    """Plain values as compact UTF-8 JSON. Raises `ValueError` on NaN and infinity."""
    return _encode(content).encode("utf-8", "replace")


def event(data: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + encode(data) + b"\n\n"

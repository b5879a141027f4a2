"""How one sees what a network does: a trace as plain JSON or as a tree for a terminal, metrics for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._plain import plain, summarise
from ._tree import draw_trace

if TYPE_CHECKING:
    from ._metrics import Metrics

__all__ = ["Metrics", "draw_trace", "plain", "summarise"]


def __getattr__(name: str) -> object:
    """`Metrics` on first use: only the gateway needs prometheus_client, and importing it takes a while."""
    if name == "Metrics":
        from ._metrics import Metrics  # noqa: PLC0415 - see above

        return Metrics
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

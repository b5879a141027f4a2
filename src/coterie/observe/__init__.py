"""How one sees what a network does: a trace as plain JSON or as a tree for a terminal, metrics for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie._lazy import lazy_face

from ._plain import plain, summarise
from ._tree import draw_trace

if TYPE_CHECKING:
    from ._metrics import Metrics

__all__ = ["Metrics", "draw_trace", "plain", "summarise"]

# Only the gateway needs prometheus_client, and importing it takes a while.
__getattr__ = lazy_face(__name__, {"Metrics": "_metrics"})

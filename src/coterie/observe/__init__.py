"""How one sees what a network does: a trace as JSON or as a tree, metrics for Prometheus, spans for OpenTelemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coterie._lazy import lazy_face

from ._plain import plain, summarise
from ._tree import draw_trace

if TYPE_CHECKING:
    from ._metrics import Metrics
    from ._spans import SpanMaker, observed

__all__ = ["Metrics", "SpanMaker", "draw_trace", "observed", "plain", "summarise"]

# Only the gateway needs prometheus_client, and importing it takes a while; OpenTelemetry is an extra.
__getattr__ = lazy_face(__name__, {"Metrics": "_metrics", "SpanMaker": "_spans", "observed": "_spans"})

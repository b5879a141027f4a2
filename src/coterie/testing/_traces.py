"""A trace in which nothing happened, to be changed where a test says something."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from coterie.types import Label, Route, Trace, Usage

_BARE = Trace(
    id="t1",
    time=1.0,
    tenant="default",
    session=None,
    label=Label.INTERNAL,
    status="accepted",
    route=Route(parts=(), reason=""),
    findings=(),
    views=(),
    verdicts=(),
    stages=(),
    steps=(),
    usage=Usage(),
    counterfactual_cost=None,
)


def make_trace(**changes: Any) -> Trace:  # noqa: ANN401 - the fields of a trace
    """A bare trace of the tenant `default` with these fields changed."""
    return replace(_BARE, **changes)

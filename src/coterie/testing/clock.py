"""A clock that a test moves, and a trace with default values."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from coterie.types import Label, Route, Trace, Usage


class FakeClock:
    """A clock for tests: call it for the time, in seconds. `advance` and `sleep` move it; `sleep` returns at once."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self.now = start
        self.slept: list[float] = []
        """Seconds of all calls of `sleep`, in order."""

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        """Move the clock forward without waiting; a replacement of `asyncio.sleep`."""
        self.slept.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)


# --- A trace in which nothing happened, to be changed where a test says something.

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
    """Return an empty trace of the tenant `default` with these fields changed."""
    return replace(_BARE, **changes)

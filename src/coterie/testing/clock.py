"""A clock that stands still until it is told to move."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from coterie.types import Label, Reason, Route, Trace, Usage


class FakeClock:
    """Call it for the time. `advance` moves it; `sleep` moves it too, and returns at once."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self.now = start
        self.slept: list[float] = []
        """Every sleep that was asked for, in order."""

    def __call__(self) -> float:
        """Give the present time, in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        """In place of `asyncio.sleep`: the time passes, but nobody waits for it."""
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
    route=Route(parts=(), reason=Reason("route.not_yet")),
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

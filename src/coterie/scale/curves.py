"""Measured latency by rate, and what can be read from it: between the points, never beyond the last.

A queueing model fitted to closed loops predicted a tenth of the latencies that came (the gateway batches, so a request
costs less the more are waiting), so there is none here: quantiles are interpolated between open loops of the same mix.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from coterie.errors import InputError


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Quantiles (`p50`, `p90`, `p95`, `p99`) in milliseconds at one rate."""

    rate: float
    pooled: Mapping[str, float]
    """Of the requests of all rounds together."""
    rounds: tuple[Mapping[str, float], ...]
    """Of each round alone: between them lies the uncertainty."""


@dataclass(frozen=True, kw_only=True)
class RequestCost:
    """What a request takes on average; unknown is None."""

    cpu_seconds: float | None
    joules: float | None
    joules_kind: Literal["measured", "estimated"]
    money: float | None
    """In the currency of the network's file."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What one replica bears: a gateway with its workers, on the machine where it was measured."""

    workers: int
    knee: float
    """Requests a second from which on they queue up: nothing is said beyond."""
    points: tuple[CurvePoint, ...]
    """By rising rate, the last at the knee."""
    cost: RequestCost
    memory_mb: float | None
    """Of all its processes, shared pages counted once (PSS)."""
    mix: str
    """Where the texts came from."""
    network: str
    """Checksum of coterie.toml and the champions it was measured with."""
    date: str
    machine: str
    load: tuple[float, float]
    """Load average before and after: what others took of the machine is in the latencies."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A latency in milliseconds with the range of the rounds."""

    value: float
    low: float
    high: float


def expected(curve: Curve, rate: float, name: str) -> Expected:
    """The latency of one replica at a rate.

    Args:
        curve: Measured.
        rate: Requests a second of this replica.
        name: `p50`, `p90`, `p95` or `p99`.

    Raises:
        InputError: the rate is beyond the knee.
    """
    if rate > curve.knee * (1 + 1e-9):
        raise InputError(
            f"One replica was asked about {rate:.4g} requests a second; from {curve.knee:.4g} on they queue up, and "
            "nothing is known beyond.",
            hint="Plan more replicas: coterie plan --rate RATE",
        )
    rates = [point.rate for point in curve.points]
    value = interpolate(rates, rising([point.pooled[name] for point in curve.points]), rate)
    count = min(len(point.rounds) for point in curve.points)
    each = [
        interpolate(rates, rising([point.rounds[number][name] for point in curve.points]), rate)
        for number in range(count)
    ]
    return Expected(value=value, low=min(each, default=value), high=max(each, default=value))


def rising(values: Sequence[float]) -> list[float]:
    """The nearest values that do not fall (pool adjacent violators): more requests are never answered sooner."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        total, count = value, 1
        while blocks and blocks[-1][0] > total:
            before, weight = blocks.pop()
            total, count = (before * weight + total * count) / (weight + count), weight + count
        blocks.append((total, count))
    return [value for value, count in blocks for _ in range(count)]


def interpolate(rates: Sequence[float], values: Sequence[float], rate: float) -> float:
    """The value at a rate: straight lines between the logarithms; below the first rate it is that of the first."""
    place = bisect_left(rates, rate)
    if place == 0 or place == len(rates):
        return values[min(place, len(rates) - 1)]
    share = (rate - rates[place - 1]) / (rates[place] - rates[place - 1])
    low, high = math.log(values[place - 1]), math.log(values[place])
    return math.exp(low + share * (high - low))


def replicas_for(curve: Curve, rate: float, *, p95: float | None = None) -> int:
    """The fewest replicas that bear a rate, each at or below its knee and, where wanted, below a p95.

    Raises:
        InputError: one replica does not keep this p95 at any rate that was measured.
    """
    fewest = max(1, math.ceil(rate / curve.knee * (1 - 1e-9)))
    if p95 is None:
        return fewest
    best = curve.points[0].rate
    if expected(curve, best, "p95").value > p95:
        raise InputError(
            f"A p95 of {p95:g} ms was asked for; a replica has {expected(curve, best, 'p95').value:.3g} ms at "
            f"{best:.3g} requests a second, the lowest rate that was measured.",
            hint="Ask for a higher one, or measure on a faster machine.",
        )
    low, high = best, curve.knee  # the highest rate that keeps it: the curve does not fall
    if expected(curve, high, "p95").value <= p95:
        return fewest
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if expected(curve, middle, "p95").value <= p95 else (low, middle)
    return max(fewest, math.ceil(rate / low * (1 - 1e-9)))

"""What is read from measured curves: between the points, by replicas beyond, and nothing beyond the knee of one."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import pytest

from coterie.errors import InputError
from coterie.runtime.codec import from_json, to_json
from coterie.scale.planning import Curve, CurvePoint, RequestCost, expected, interpolate, plan, replicas_for, rising


def point(rate: float, p95: float, *, apart: float = 1.0) -> CurvePoint:
    """Quantiles around a p95, with rounds below and above it."""

    def at(scale: float) -> dict[str, float]:
        return {"p50": p95 * scale / 4, "p90": p95 * scale / 2, "p95": p95 * scale, "p99": p95 * scale * 2}

    return CurvePoint(rate=rate, pooled=at(1.0), rounds=(at(1 / (1 + apart)), at(1.0), at(1 + apart)))


CURVE = Curve(
    workers=1,
    knee=100.0,
    points=(point(20, 10), point(50, 12), point(80, 20), point(100, 80)),
    cost=RequestCost(cpu_seconds=0.005, joules=0.05, joules_kind="estimated", money=0.000002),
    memory_mb=300.0,
    mix="intents 100%",
    network="abc",
    date="2026-11-29T12:00:00+00:00",
    machine="2 cores",
    load=(0.1, 0.2),
)


def test_between_two_points():
    """A latency lies on the line between the logarithms of its neighbours, its range between the rounds."""
    estimate = expected(CURVE, 65.0, "p95")
    assert estimate.value == pytest.approx(math.sqrt(12 * 20))
    assert (estimate.low, estimate.high) == (pytest.approx(estimate.value / 2), pytest.approx(estimate.value * 2))
    assert expected(CURVE, 5.0, "p95").value == 10
    assert expected(CURVE, 100.0, "p95").value == pytest.approx(80)


def test_one_disturbed_round_moves_the_range_alone():
    """A round that took ten times as long is seen in the range, and not in what is expected."""
    points = tuple(
        replace(point, rounds=(*point.rounds[:2], {name: 10 * value for name, value in point.rounds[2].items()}))
        for point in CURVE.points
    )
    estimate, disturbed = expected(CURVE, 65.0, "p95"), expected(replace(CURVE, points=points), 65.0, "p95")
    assert disturbed.value == pytest.approx(estimate.value)
    assert disturbed.high == pytest.approx(10 * estimate.high)


def test_one_round_has_no_range():
    """What is unknown is not shown as none."""
    once = replace(CURVE, points=tuple(replace(point, rounds=point.rounds[:1]) for point in CURVE.points))
    estimate = expected(once, CURVE.knee, "p95")
    assert (estimate.low, estimate.high) == (None, None)


def test_beyond_the_knee():
    """Nothing is said of one replica beyond its knee."""
    with pytest.raises(InputError):
        expected(CURVE, 100.1, "p95")


@pytest.mark.parametrize(("rate", "count"), [(1, 1), (100, 1), (100.001, 2), (250, 3), (300, 3), (1234, 13)])
def test_fewest_replicas(rate, count):
    """As few as keep each at or below the knee."""
    assert replicas_for(CURVE, rate) == count


@pytest.mark.parametrize(("p95", "count"), [(80, 3), (20, 4), (12, 6), (10, 15)])
def test_replicas_for_a_latency(p95, count):
    """As few as keep each at a rate with that p95: 100, 80, 50 and 20 a second."""
    assert replicas_for(CURVE, 300, p95=p95) == count


def test_a_latency_that_no_rate_has():
    """Below what the lowest measured rate has, nothing is promised."""
    with pytest.raises(InputError):
        replicas_for(CURVE, 300, p95=9)


def test_noise_does_not_make_latencies_fall():
    """Neighbours that fall are pooled, so that more requests are never said to be answered sooner."""
    assert rising([3, 1, 2, 5, 4]) == [2, 2, 2, 4.5, 4.5]
    assert interpolate([1, 2], [4.0, 4.0], 1.5) == pytest.approx(4.0)


def test_what_a_rate_takes():
    """Memory by replicas; cores, power and money by requests; unknown stays unknown."""
    made = plan(CURVE, 300.0)
    assert (made.replicas, made.rate_each, made.utilisation) == (3, 100, pytest.approx(1))
    assert (made.cores, made.memory_mb, made.watts) == (pytest.approx(1.5), 900, pytest.approx(15))
    assert made.money_per_hour == pytest.approx(0.000002 * 300 * 3600)
    unknown = replace(CURVE, cost=replace(CURVE.cost, money=None, joules=None), memory_mb=None)
    made = plan(unknown, 300.0)
    assert (made.money_per_1000, made.watts, made.memory_mb) == (None, None, None)


def test_when_a_gpu_pays():
    """From the rate at which what it replaces costs as much in an hour as it does."""
    generated = RequestCost(cpu_seconds=None, joules=None, joules_kind="estimated", money=0.001)
    made = plan(CURVE, 1.0, gpu_price=Decimal("1.8"), generated=generated)
    assert made.gpu["pays_from_rate"] == pytest.approx(0.5)
    assert made.gpu["pays"] is True
    assert plan(CURVE, 1.0, gpu_price=Decimal(1)).gpu["pays"] is False


def test_a_curve_of_another_network():
    """The answer says when champions or file have changed since."""
    assert plan(CURVE, 50.0, network="abc").warnings == ()
    assert len(plan(CURVE, 50.0, network="other").warnings) == 1


def test_curves_are_kept():
    """A curve is the same after it was written down."""
    assert from_json(Curve, to_json(CURVE)) == CURVE

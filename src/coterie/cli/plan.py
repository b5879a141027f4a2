"""`coterie plan`: the measured capacity of one gateway, and the resources for a rate of requests."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.bridge import configured, with_store
from coterie.cli.output import Json, give, remark, say, shell, warn
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.config.file import Config
    from coterie.scale.load import Curve
    from coterie.scale.planning import Plan
    from coterie.types import Ledger

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s)?")


def plan(
    context: typer.Context,
    *,
    measure: Annotated[bool, typer.Option("--measure", help="Load one gateway and keep what it bears.")] = False,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="R", min=0.001, max=1e7, help="Requests a second to plan for.")
    ] = None,
    p95: Annotated[
        str | None, typer.Option("--p95", metavar="SPAN", help="Latency that 95% must keep: 50ms, 0.2s.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", min=1, max=256, help="Processes of one gateway.")
    ] = None,
    gpu_price: Annotated[
        float | None, typer.Option("--gpu-price", metavar="MONEY", min=0, help="Of a GPU an hour: when does it pay?")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Gateway to load, instead of one started here.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="env:NAME", help="Key for the gateway at --url.")] = None,
    requests: Annotated[
        Path | None, typer.Option("--requests", metavar="FILE", help="Texts to ask, as they are: JSON lines.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", min=1, help="Of each step of the load.")] = 4.0,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", min=1, help="Steps at each rate.")] = 3,
    as_json: Json = False,
) -> None:
    """Report how many gateways a rate needs, with which latency, memory, money and energy.

    Run `--measure` first: short open loops of the network's own mix, up to the rate from which requests queue up. It
    starts a copy of the network on 127.0.0.1 with its own ledger and budgets, or loads the gateway at `--url`. With
    `--rate` the answer is read from these curves: interpolated within the measured range, with more gateways above
    it, and never beyond a gateway's knee. Without either option, the measurements are shown.
    """
    folder: Path = context.obj
    config = configured(folder)
    if measure:
        curve = _measure(
            folder, config, url=url, key=key, requests=requests, workers=workers, seconds=seconds, rounds=rounds
        )
        if rate is None:
            give(_document(curve), lambda: _show_curve(curve), as_json=as_json)
            return
    elif url or key or requests:
        raise InputError("--url, --key and --requests say how to measure.", hint="Add --measure.")
    curves = _curves(folder, workers)
    if rate is None:
        give({"curves": [_document(curve) for curve in curves]}, lambda: _show_curves(curves), as_json=as_json)
        return
    plans = _plans(folder, config, curves, rate=rate, p95=_milliseconds(p95), gpu_price=gpu_price)
    warn(plans[0].warnings)
    give({"plans": [_plain(plan_) for plan_ in plans]}, lambda: _show_plans(plans), as_json=as_json)


def _measure(
    folder: Path,
    config: Config,
    *,
    url: str | None,
    key: str | None,
    requests: Path | None,
    workers: int | None,
    seconds: float,
    rounds: int,
) -> Curve:
    from coterie.config.section import name_secret
    from coterie.scale.planning import Replica, draw_texts, measure, not_asked, read_texts, save, serving

    count = workers or config.gateway.workers
    ledger = _ledger(folder, config, "specialist")
    texts, mix = read_texts(requests) if requests else draw_texts(config, folder, ledger, seed=0)
    about: dict[str, Any] = {"mix": mix, "workers": count, "seconds": seconds, "rounds": rounds, "say": remark}
    about["repeated"] = requests is not None
    if url is not None:
        headers = (f"Authorization: Bearer {name_secret(key).reveal()}",) if key else ()
        curve = measure(config, folder, Replica(address=url.rstrip("/")), texts, headers=headers, **about)
    else:
        with serving(folder, config, workers=count) as replica:
            curve = measure(config, folder, replica, texts, **about)
    if not requests:
        curve = replace(curve, warnings=(*curve.warnings, *not_asked(config, folder, ledger)))
    save(folder, curve)
    return curve


def _ledger(folder: Path, config: Config, by: str) -> Ledger | None:
    return with_store(folder, config, lambda store: store.ledger(by=by))  # type: ignore[arg-type]


def _curves(folder: Path, workers: int | None) -> list[Curve]:
    from coterie.scale.planning import load_curves

    curves = [curve for curve in load_curves(folder) if workers in {None, curve.workers}]
    if not curves:
        of = f" of a gateway with {workers} workers" if workers else ""
        raise InputError(
            f"Nothing{of} was measured in {str(folder)!r}.", hint=f"Measure: {shell(folder, 'plan', '--measure')}"
        )
    return curves


def _plans(
    folder: Path, config: Config, curves: list[Curve], *, rate: float, p95: float | None, gpu_price: float | None
) -> list[Plan]:
    """Return one plan per curve, the one with the fewest gateways first."""
    from coterie.scale.planning import generated_cost, network_of
    from coterie.scale.planning import plan as plan_rate

    price = None if gpu_price is None else Decimal(str(gpu_price))
    generated = None if price is None else generated_cost(config, _ledger(folder, config, "model"))
    now = network_of(config, folder)
    made = [plan_rate(curve, rate, p95=p95, gpu_price=price, generated=generated, network=now) for curve in curves]
    return sorted(made, key=lambda plan_: (plan_.replicas, plan_.workers))


def _milliseconds(span: str | None) -> float | None:
    if span is None:
        return None
    match = _SPAN.fullmatch(span.strip())
    if match is None:
        raise InputError(f"--p95 is {span!r}, no span of time.", hint="Write 50ms or 0.2s.")
    return float(match[1]) * (1000.0 if match[2] == "s" else 1.0)


def _document(curve: Curve) -> dict[str, Any]:
    return asdict(curve)


def _plain(made: Plan) -> dict[str, Any]:
    return asdict(made)


def _show_curves(curves: list[Curve]) -> None:
    for curve in curves:
        _show_curve(curve)


def _show_curve(curve: Curve) -> None:
    say(f"{curve.workers} worker(s), {curve.machine}, {curve.date[:10]}; {curve.mix}")
    say(f"{'requests/s':>10}  {'p50 ms':>8}  {'p95 ms':>8}  {'rounds':>15}  {'p99 ms':>8}")
    for point in curve.points:
        latencies = sorted(one["p95"] for one in point.rounds)
        span = f"{latencies[0]:.1f} to {latencies[-1]:.1f}"
        at = point.pooled
        say(f"{point.rate:10.1f}  {at['p50']:8.1f}  {at['p95']:8.1f}  {span:>15}  {at['p99']:8.1f}")
    say(f"Knee: {curve.knee:.1f} requests a second; from there on they queue up.")
    warn(curve.warnings)


def _show_plans(plans: list[Plan]) -> None:
    best = plans[0]
    p95 = best.latency["p95"]
    say(
        f"{best.replicas} gateway(s) of {best.workers} worker(s): {best.rate_each:.4g} requests a second each, "
        f"{best.utilisation:.0%} of the knee."
    )
    one_round = p95.low is None or p95.high is None
    span = "of one round: its range is unknown" if one_round else f"{p95.low:.1f} to {p95.high:.1f} across rounds"
    say(f"p50 {best.latency['p50'].value:.1f} ms, p95 {p95.value:.1f} ms ({span})")
    for name, value, unit in (
        ("busy cores", best.cores, ""),
        ("memory", best.memory_mb, " MB"),
        (f"power, {best.joules_kind}", best.watts, " W"),
        ("money an hour", best.money_per_hour, ""),
        ("money a 1,000 requests", best.money_per_1000, ""),
    ):
        say(f"{name}: {'unknown' if value is None else f'{value:.4g}{unit}'}")
    if best.gpu is not None:
        least = best.gpu["pays_from_rate"]
        say(f"GPU: {best.gpu['why']}" if least is None else f"GPU: pays from {least:.4g} requests a second on")
    for other in plans[1:]:
        say(f"Or {other.replicas} of {other.workers} worker(s): p95 {other.latency['p95'].value:.1f} ms.")

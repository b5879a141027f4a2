"""`coterie serve`, `mcp`: serve the network; `plan`: capacity for a rate; `bundle`: for a device or a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from coterie.cli.bridge import configured, opened, run, with_store
from coterie.cli.output import Json, give, remark, say, shell, warn
from coterie.errors import ConfigError, InputError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp

    from coterie.config.file import Config, GatewaySection
    from coterie.engines.onnx import OnnxEncoder
    from coterie.gateway.access import Caller
    from coterie.governance.keys import KeyRing
    from coterie.network.network import Network
    from coterie.registry.signature import Signer
    from coterie.scale.planning import Curve, Plan
    from coterie.types import Ledger

_SHARED = (
    *("coterie.console.app", "coterie.privacy.kinds", "coterie.routing.kinds", "coterie.routing.router"),
    *("coterie.tasks.classify.loading", "coterie.tasks.classify.model"),
)
"""Modules that are imported before workers are forked, beside those of any network: the workers share their memory."""
_BACKLOG = 2048
"""Connections that the operating system queues until a worker accepts them."""


def serve(
    context: typer.Context,
    *,
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=256, help="Processes that answer, behind one address.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve the network as an OpenAI-compatible gateway, with the console at / for browsers.

    The gateway runs until Ctrl-C or SIGTERM, then finishes running requests. Host, port and workers come from
    [gateway] in coterie.toml unless they are given here. The address is printed as soon as requests are answered;
    with --json as one line, {"address": "http://..."}. A network without a specialist is served too: requests get the
    error `not_trained` until the first specialist is trained, which the console does from a file. A promoted version
    and a change of coterie.toml are served within a second. A worker that dies is restarted. At SIGHUP and after a
    change of [gateway], several workers are replaced one by one, without refusing a request.
    """
    folder: Path = context.obj
    config = configured(folder)
    typed = {"host": host, "port": port, "workers": workers}
    given: dict[str, Any] = {key: value for key, value in typed.items() if value is not None}
    section = config.gateway.model_copy(update=given)
    if section.workers > 1:
        raise typer.Exit(_supervise(folder, config, section, given, as_json=as_json))
    from coterie.gateway.serve import serve as serve_gateway
    from coterie.governance.keys import open_keys

    ring = open_keys(config, folder)

    def announce(address: str) -> None:
        _announce(address, config, as_json=as_json)
        _warn(ring)

    run(serve_gateway(_opener(folder), section, ring=ring, on_ready=announce, front=_fronted(folder, _opener(folder))))


def _opener(
    folder: Path, encoder: OnnxEncoder | None = None, named: str | None = None
) -> Callable[..., Awaitable[Network]]:
    """Return the function that opens the network, initially and again, optionally with a configuration already read.

    A loaded encoder is kept as long as it is the network's encoder.
    """
    import asyncio

    from coterie.config.file import load_config
    from coterie.runtime.process import give_back

    async def open_warm(config: Config | None = None) -> Network:
        nonlocal encoder, named
        if config is None:
            config = await asyncio.to_thread(load_config, folder)
        wanted = config.network.encoder
        kept = encoder if named == wanted else None
        network = await opened(folder, warm=True, empty=True, encoder=kept, config=config)
        encoder, named = cast("OnnxEncoder", network.encoder), wanted
        await asyncio.to_thread(give_back)  # files and arrays that models were read from
        return network

    return open_warm


def _fronted(folder: Path, open_warm: Callable[[Config], Awaitable[Network]]) -> Callable[[Starlette], ASGIApp]:
    """Return the function that puts the console in front of the gateway."""
    from coterie.console.app import Console

    return lambda app: Console(app, folder, open_warm)


def _supervise(
    folder: Path, config: Config, section: GatewaySection, given: Mapping[str, Any], *, as_json: bool
) -> int:
    """Serve by several workers and return the exit code. The function also returns in each worker."""
    if not hasattr(os, "fork"):
        raise InputError(
            f"Asked for {section.workers} workers; this system has no fork.", hint="Leave --workers out: one serves."
        )
    from coterie.gateway.workers import make_folder, release, reserve

    me = os.getpid()
    counted, _ = make_folder(section.workers)  # before the library is imported: all workers count there
    reserve(counted)  # the supervisor counts, too
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")  # a process with threads cannot be forked
    import coterie.assembly  # noqa: F401 - what workers need is imported here, once, and its memory is shared
    from coterie.config.file import load_config
    from coterie.engines.onnx import open_encoder
    from coterie.gateway.serve import address_of, bind, watch_process
    from coterie.gateway.serve import serve as serve_gateway
    from coterie.gateway.workers import ReplacementNote, Supervisor, WorkerPlace
    from coterie.governance.keys import open_keys
    from coterie.runtime.process import give_back, use_few_arenas
    from coterie.text.language import detect

    use_few_arenas()
    for name in _SHARED:
        import_module(name)
    encoder = open_encoder(config.network.encoder, folder, states=True)
    detect("A table that is loaded once.")
    give_back()

    announced: list[str] = []  # a worker that is started later knows of it

    def announce() -> None:
        announced.append(address_of(listener))
        _announce(announced[0], config, as_json=as_json)

    def work(worker: WorkerPlace) -> None:
        reserve(counted)
        now = load_config(folder)
        ring = open_keys(now, folder)

        def ready(_address: str) -> None:
            worker.ready()
            if worker.seat == 0 and not announced:
                _warn(ring)

        opener = _opener(folder, encoder, config.network.encoder)
        serving = serve_gateway(
            opener,
            now.gateway.model_copy(update=given),
            ring=ring,
            on_ready=ready,
            front=_fronted(folder, opener),
            worker=worker,
        )
        run(serving)

    try:
        with bind(section) as listener:
            listener.listen(_BACKLOG)
            supervisor = Supervisor(
                listener=listener,
                work=work,
                workers=section.workers,
                drain=section.drain,
                start_seconds=section.start_seconds,
                on_replacement=ReplacementNote(folder),
                watched=watch_process(folder),
                on_ready=announce,
                on_end=lambda pid: release(counted, pid),
                say=remark,
            )
            return supervisor.run()
    finally:
        if os.getpid() == me:
            shutil.rmtree(counted, ignore_errors=True)


def _announce(address: str, config: Config, *, as_json: bool) -> None:
    welcome = f'{config.network.name} answers at {address}/v1 (base_url of any OpenAI client; model "coterie").'
    say(json.dumps({"address": address}) if as_json else f"{welcome} Ctrl-C stops it.")
    if not as_json:
        named = config.specialists or config.capture.enabled
        first = "" if named else ": it has no specialist yet, and the first one is made there from a file"
        say(f"The console is at {address}/ in a browser{first}.")


def _warn(ring: KeyRing) -> None:
    if ring.is_empty():
        remark("There are no keys: only programs of this machine may ask. `coterie keys create NAME` makes one.")


# --- The Model Context Protocol ------------------------------------------------------------------

_KEY = "COTERIE_KEY"


def mcp(
    context: typer.Context,
    *,
    as_json: Json = False,  # noqa: ARG001 - the protocol is JSON; with the option, an error before it is, too
) -> None:
    """Serve the network to a program that speaks the Model Context Protocol (MCP), over standard input and output.

    The program starts this command itself: name it as an MCP server in its settings. Each specialist is a tool, `ask`
    is the routed network, indexes are resources. The server ends when its input ends. With the environment variable
    COTERIE_KEY it acts for the holder of that key; without it, for you. Needs the extra `mcp`.
    """
    from coterie.gateway.mcp import load_server

    load_server()  # before anything is opened: it says what is not installed
    folder: Path = context.obj
    config = configured(folder)
    run(_serve(folder, config.gateway, _caller(config, folder)))


async def _serve(folder: Path, section: GatewaySection, caller: Caller) -> None:
    from coterie.gateway.mcp_server import serve_stdio

    network = await opened(folder, warm=True)
    try:
        await serve_stdio(network, section, caller)
    finally:
        await network.close()


def _caller(config: Config, folder: Path) -> Caller:
    """Return the holder of the key in the environment, or the local user. Raises `InputError` for an invalid key."""
    from coterie.gateway.access import Caller
    from coterie.governance.keys import open_keys

    token = os.environ.get(_KEY)
    if not token:
        return Caller()
    key = open_keys(config, folder).find(token.strip())
    if key is None or not key.may("ask"):
        problem = "unknown, revoked or expired" if key is None else f"one of the role {key.role!r}, which may not ask"
        raise InputError(f"The key in {_KEY} is {problem}.", hint="Make one: coterie keys create NAME")
    return Caller(key=key)


# --- `coterie bundle`: package the network as a signed folder for a device, a container image, or a browser page.


def bundle(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make, or the bundle to add a release to.")],
    *,
    check: Annotated[bool, typer.Option("--check", help="Check every byte of the bundle at OUT.")] = False,
    image: Annotated[
        Path | None, typer.Option("--image", metavar="DIR", help="Also write an OCI image layout there.")
    ] = None,
    release: Annotated[
        int | None, typer.Option("--release", metavar="N", min=1, help="Number of the release; the next by default.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="FILE", help="Ed25519 key that signs, or env:NAME; else registry.signing_key."),
    ] = None,
    web: Annotated[
        bool, typer.Option("--web", help="Make a static page instead, that runs classify specialists in a browser.")
    ] = False,
    runtime: Annotated[
        str | None,
        typer.Option("--runtime", metavar="SOURCE", help="onnxruntime-web for --web: folder, .tgz or URL; else npm's."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a bundle: a signed folder with interpreter, packages and the network, which runs offline.

    `OUT/run` serves it after a check of every byte; its other commands are `OUT/run ask TEXT`, `verify`, `install
    RELEASE` and `revert`. Called again, it writes a further release into the slot that does not run, and switches to
    it.
    """
    folder: Path = context.obj
    if web:
        _make_page(folder, out, runtime, as_json=as_json, unused=(check, image, release, key))
        return
    from coterie.edge import bundle as bundles
    from coterie.edge.device import check_release, trusted_keys

    if check:
        made = check_release((out / "current").resolve(), trusted=trusted_keys(out))
    else:
        made = bundles.build_bundle(folder, out, signer=_signer(folder, key), release=release)
    if image is not None:
        from coterie.edge.bundle import write_image

        write_image(out, image, name=f"{made.network}:{made.number}")
    size = f"{made.files:,} files, {made.bytes / 1e6:.0f} MB"
    words = f"Release {made.number} of {made.network!r}: {size}, key {made.key[:16]}."
    give(asdict(made), lambda: say(f"{words} Start: {out}/run"), as_json=as_json)


def _make_page(folder: Path, out: Path, runtime: str | None, *, as_json: bool, unused: tuple[object, ...]) -> None:
    from coterie.edge.page import build_page

    if any(unused):
        raise InputError(
            "--web makes a page of static files: --check, --image, --release and --key are for bundles of devices.",
            hint="Leave them out; the SHA-256 that --web prints covers every file of the page.",
        )
    made = build_page(folder, out, runtime=runtime)
    words = f"A page with {', '.join(made.specialists)}: {made.files} files, {made.bytes / 1e6:.1f} MB"
    left = "".join(f" Left out: {name} ({why})." for name, why in made.left_out.items())
    how = f"Any server of static files will do: {quote(sys.executable)} -m http.server -d {quote(str(out))}"
    give(asdict(made), lambda: say(f"{words}; index.html {made.sha256[:16]}.{left} {how}"), as_json=as_json)


def _signer(folder: Path, key: str | None) -> Signer:
    from coterie.registry.signature import open_signer

    config = configured(folder)
    source = key or config.registry.signing_key
    signer = open_signer(source, Path() if key else folder, setting="--key" if key else "registry.signing_key")
    if signer is None:
        raise ConfigError(
            "A bundle is signed, and neither --key nor registry.signing_key names a key.",
            hint="Make one: coterie registry keygen",
        )
    return signer


# --- `coterie plan`: the measured capacity of one gateway, and the resources for a rate of requests.

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
        at = {name: point.typical(name) for name in point.pooled}
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

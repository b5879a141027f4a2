"""`coterie serve`: serve the network by an OpenAI-compatible API; `coterie mcp`: over standard input and output."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from coterie.cli.bridge import configured, opened, run
from coterie.cli.output import Json, remark, say
from coterie.errors import InputError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp

    from coterie.config.file import Config, GatewaySection
    from coterie.engines.onnx import OnnxEncoder
    from coterie.gateway.access import Caller
    from coterie.governance.keys import KeyRing
    from coterie.network.network import Network

_SHARED = (
    *("coterie.console.app", "coterie.privacy.kinds", "coterie.routing.kinds", "coterie.routing.router"),
    *("coterie.tasks.classify.chain", "coterie.tasks.classify.loading", "coterie.tasks.classify.model"),
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
    from coterie.observe.shared import make_folder, release, reserve

    me = os.getpid()
    counted, _ = make_folder(section.workers)  # before the library is imported: all workers count there
    reserve(counted)  # the supervisor counts, too
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")  # a process with threads cannot be forked
    import coterie.assembly  # noqa: F401 - what workers need is imported here, once, and its memory is shared
    from coterie.config.file import load_config
    from coterie.engines.encoders import open_encoder
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
    from coterie.gateway.mcp.endpoint import load_server

    load_server()  # before anything is opened: it says what is not installed
    folder: Path = context.obj
    config = configured(folder)
    run(_serve(folder, config.gateway, _caller(config, folder)))


async def _serve(folder: Path, section: GatewaySection, caller: Caller) -> None:
    from coterie.gateway.mcp.server import serve_stdio

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

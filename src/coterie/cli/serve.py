"""`coterie serve`: the network behind an OpenAI-compatible address."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coterie.cli.bridge import configured, opened, run
from coterie.cli.output import Json, remark, say

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp

    from coterie.network.network import Network


def serve(
    context: typer.Context,
    *,
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve the network as an OpenAI-compatible gateway, with the console at / for browsers.

    It stays up until Ctrl-C or SIGTERM, then lets running requests finish. Host and port come from [gateway] in
    coterie.toml unless they are given here. The address is printed as soon as requests are answered; with --json
    as one line, {"address": "http://..."}.
    """
    from coterie.console.app import Console
    from coterie.gateway.serve import serve as serve_gateway
    from coterie.governance.key_storage import open_keys

    folder: Path = context.obj
    config = configured(folder)
    given: dict[str, Any] = {"host": host, "port": port}
    section = config.gateway.model_copy(update={key: value for key, value in given.items() if value is not None})
    ring = open_keys(config, folder)

    def announce(address: str) -> None:
        welcome = f'{config.network.name} answers at {address}/v1 (base_url of any OpenAI client; model "coterie").'
        say(json.dumps({"address": address}) if as_json else f"{welcome} Ctrl-C stops it.")
        if not as_json:
            say(f"The console is at {address}/ in a browser.")
        if ring.is_empty():
            remark("There are no keys: only programs of this machine may ask. `coterie keys create NAME` makes one.")

    def open_warm() -> Awaitable[Network]:
        return opened(folder, warm=True)

    def front(app: Starlette) -> ASGIApp:
        return Console(app, folder, open_warm)

    run(serve_gateway(open_warm, section, ring=ring, on_ready=announce, front=front))

"""`coterie mcp`: the network as a server of the Model Context Protocol, over standard input and output."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from coterie.cli.bridge import configured, opened, run
from coterie.cli.output import Json
from coterie.errors import InputError

if TYPE_CHECKING:
    from coterie.config.file import Config, GatewaySection
    from coterie.gateway.access import Caller

_KEY = "COTERIE_KEY"


def mcp(
    context: typer.Context,
    *,
    as_json: Json = False,  # noqa: ARG001 - the protocol is JSON; with the option, an error before it is, too
) -> None:
    """Serve the network to a program that speaks the Model Context Protocol (MCP), over standard input and output.

    The program starts this command itself: name it as an MCP server in its settings. Each specialist is a tool, `ask`
    is the routed network, indexes are resources. It ends with its input. With the environment variable COTERIE_KEY it
    acts for the holder of that key; without, for you. Needs the extra `mcp`.
    """
    from coterie.gateway.mcp.endpoint import load_server

    load_server()  # before anything is opened: it says what is not installed
    folder: Path = context.obj
    config = configured(folder)
    run(_serve(folder, config.gateway, _caller(config, folder)))


async def _serve(folder: Path, section: GatewaySection, caller: Caller) -> None:
    from coterie.gateway.mcp.stdio import serve_stdio

    network = await opened(folder, warm=True)
    try:
        await serve_stdio(network, section, caller)
    finally:
        await network.close()


def _caller(config: Config, folder: Path) -> Caller:
    """The holder of the key in the environment, or who runs this. Raises `InputError` for a key that opens nothing."""
    from coterie.gateway.access import Caller
    from coterie.governance.key_storage import open_keys

    token = os.environ.get(_KEY)
    if not token:
        return Caller()
    key = open_keys(config, folder).find(token.strip())
    if key is None or not key.may("ask"):
        found = "unknown, revoked or expired" if key is None else f"one of the role {key.role!r}, which may not ask"
        raise InputError(f"The key in {_KEY} is {found}.", hint="Make one: coterie keys create NAME")
    return Caller(key=key)

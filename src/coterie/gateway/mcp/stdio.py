"""MCP over standard input and output: one caller, who started the process."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import anyio
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from coterie.config.file import GatewaySection
from coterie.gateway.access import Caller
from coterie.gateway.mcp.server import MCPHandlers, mcp_server
from coterie.gateway.work import open_gateway

if TYPE_CHECKING:
    from coterie.network.network import Network


async def serve_stdio(network: Network, section: GatewaySection, caller: Caller) -> None:
    """Serve an open network until the input ends, or SIGTERM. Standard output carries the protocol and nothing else."""
    gateway = open_gateway(network, section.model_copy(update={"share": 1.0}))
    server = mcp_server(MCPHandlers(gateway=gateway, caller=caller, takes_slots=True))
    serving = asyncio.create_task(_serve(server, longest=section.max_body))
    if threading.current_thread() is threading.main_thread():
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    try:
        await asyncio.wait([serving])
    finally:
        serving.cancel()
        await asyncio.wait([serving])
    if not serving.cancelled():
        serving.result()


async def _serve(server: Server[Any], *, longest: int) -> None:
    # Never closed: closing waits for the thread that reads, and nobody may wait for that one.
    source = open(0, "rb", closefd=False)  # noqa: ASYNC230, SIM115
    lines = cast("anyio.AsyncFile[str]", read_lines(source, longest=longest))
    async with stdio_server(stdin=lines) as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


async def read_lines(source: BinaryIO, *, longest: int) -> AsyncIterator[str]:
    """The lines of a file, read in a thread that nobody waits for at the end, as no signal wakes it.

    What is left of a line after `longest` bytes is dropped: half a message is answered as one that cannot be read.
    """
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[str | None](maxsize=64)

    def read() -> None:
        with suppress(RuntimeError, OSError, ValueError):  # the loop has ended meanwhile
            while raw := source.readline(longest):
                rest = raw
                while rest and not rest.endswith(b"\n"):
                    rest = source.readline(longest)
                asyncio.run_coroutine_threadsafe(lines.put(raw.decode("utf-8", "replace")), loop).result()
            asyncio.run_coroutine_threadsafe(lines.put(None), loop).result()

    threading.Thread(target=read, name="coterie-stdin", daemon=True).start()
    while (line := await lines.get()) is not None:
        yield line

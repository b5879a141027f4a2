"""A real server on a free port of 127.0.0.1, before a network of fakes."""

from __future__ import annotations

import asyncio
import contextlib
import runpy
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from coterie.config.file import GatewaySection
from coterie.gateway.serve import serve
from coterie.governance.keys import KeyRing
from coterie.network.network import Network

# Test folders are no packages, so the fakes are taken from their file.
_fakes = runpy.run_path(str(Path(__file__).parents[1] / "null" / "gateway" / "conftest.py"))
network, notes = _fakes["network"], _fakes["notes"]


@pytest.fixture
async def address(network: Network) -> AsyncIterator[str]:
    """The address of a gateway before the network."""
    async with _serving(network, GatewaySection(port=0)) as where:
        yield where


@pytest.fixture
def serving() -> Callable[..., contextlib.AbstractAsyncContextManager[str]]:
    """Serves a network while the context lasts."""
    return _serving


@contextlib.asynccontextmanager
async def _serving(network: Network, section: GatewaySection, *, ring: KeyRing | None = None) -> AsyncIterator[str]:
    ready = asyncio.get_running_loop().create_future()

    async def open_network() -> Network:
        return network

    server = asyncio.create_task(serve(open_network, section, ring=ring, on_ready=ready.set_result))
    await asyncio.wait((server, ready), return_when=asyncio.FIRST_COMPLETED)
    try:
        yield await (server if server.done() else ready)
    finally:
        server.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await server

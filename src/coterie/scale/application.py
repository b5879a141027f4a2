"""The gateway as one ASGI application that opens its network itself, for servers that only accept an application."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coterie.config.file import load_config
from coterie.gateway.app import create_app
from coterie.governance.keys import open_keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from coterie.network.network import Network

    Open = Callable[[Path], Awaitable[Network]]


class NetworkApplication:
    """An ASGI application that serves a network's folder.

    The network is opened at the beginning of the server's lifespan, in its event loop. It is closed at the end, after
    running requests. Keys and limits come from the folder's file. Any ASGI server that speaks the lifespan protocol
    runs the application: `uvicorn --factory`, Ray Serve, a test client.
    """

    def __init__(self, folder: Path | str, *, open_network: Open | None = None) -> None:
        """Set the folder without opening the network. Raises `ConfigError`."""
        self._folder = Path(folder)
        self._config = load_config(self._folder)
        self._open = open_network
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the lifespan, or one request."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)
        else:
            raise RuntimeError("The server began no lifespan: the network is not open.")

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        assert message["type"] == "lifespan.startup"  # noqa: S101 - the protocol
        async with AsyncExitStack() as stack:
            try:
                network = await (self._open or _open)(self._folder)
            except Exception as error:  # noqa: BLE001 - the server says it and ends
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            stack.push_async_callback(network.close)
            self._app = create_app(network, self._config.gateway, open_keys(self._config, self._folder))
            first: asyncio.Queue[Message] = asyncio.Queue()
            first.put_nowait(message)
            await self._app(scope, lambda: first.get() if not first.empty() else receive(), send)
            self._app = None


async def _open(folder: Path) -> Network:
    from coterie.assembly import open_network  # noqa: PLC0415 - it loads models

    return await open_network(folder, warm=True)

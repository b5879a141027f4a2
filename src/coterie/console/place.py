"""What all pages share: the gateway behind them, the network's folder, and what runs beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from coterie.config.file import load_config
from coterie.console.jobs import Jobs
from coterie.console.sessions import Sessions
from coterie.console.ticker import Ticker
from coterie.gateway.work import Gateway

if TYPE_CHECKING:
    from coterie.network.network import Network

_SECRET = "state/console.key"  # noqa: S105 - where it is
_REMEMBERED = 1000


class Place:
    """Where the pages are."""

    def __init__(self, gateway: Gateway, folder: Path, open_network: Callable[[], Awaitable[Network]]) -> None:
        """Take a gateway, its network's folder, and what opens the network anew after a promotion."""
        self.gateway, self.folder, self._open_network = gateway, folder, open_network
        clock = gateway.network.clock
        self.currency = load_config(folder).accounting.currency
        self.jobs = Jobs(folder, self.reopen, clock=clock)
        self.live = Ticker(gateway)
        self.sessions = Sessions(folder / _SECRET, clock)
        self._reopening = asyncio.Lock()
        self._looked_at: dict[tuple[str, str], list[str]] = {}

    def skipped(self, key: str, queue: str) -> list[str]:
        """What somebody has looked at in a queue since the gateway began, the last one last."""
        found = self._looked_at.setdefault((key, queue), [])
        del found[:-_REMEMBERED]
        return found

    async def reopen(self) -> None:
        """Serve the champions that the registry has now. Raises `SetupError`; what served before goes on then."""
        async with self._reopening:
            await self.gateway.replace_network(await self._open_network())

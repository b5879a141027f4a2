"""A server follows changes in its network's folder: a promoted version, a price, another policy.

Each process checks a few times a second the file of the network and which versions serve. A changed network is
opened beside the serving one, which takes some hundredths of a second if the encoder stays, and gets all further
requests. Running requests end on the network on which they began. If opening fails, the error is logged, and the
serving network stays.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from coterie.config.file import Config, load_config
from coterie.config.section import FILE_NAME
from coterie.errors import CoterieError, SetupError
from coterie.gateway.work import Gateway

if TYPE_CHECKING:
    from coterie.network.network import Network

_log = logging.getLogger("coterie.gateway")
_LOOK_SECONDS = 0.2
"""Seconds between two checks; a change counts once it is seen twice in the same form."""


class Follower:
    """Keeps a gateway up to date with the folder of its network."""

    def __init__(self, gateway: Gateway, folder: Path, open_network: Callable[[Config], Awaitable[Network]]) -> None:
        """Store a newly opened gateway, and the function that reopens its network with a configuration."""
        self._gateway, self._folder, self._open = gateway, folder, open_network
        self._process = of_a_process(load_config(folder))
        self._seen = self._last = files_of(folder)
        self._reopening = asyncio.Lock()

    async def reopen(self) -> Config:
        """Serve the folder's current network and return its configuration. Raises `SetupError`; the old one stays."""
        async with self._reopening:
            self._seen = self._last = files_of(self._folder)  # before: what changes meanwhile is looked at again
            config = await asyncio.to_thread(load_config, self._folder)
            try:
                async with asyncio.timeout(seconds := self._gateway.section.start_seconds):
                    network = await self._open(config)
            except TimeoutError:
                problem = f"The network was not open within {seconds:g} seconds ([gateway] start_seconds)."
                raise SetupError(
                    problem, hint="What served before goes on; the next change is looked at again."
                ) from None
            await self._gateway.replace_network(network)
        return config

    async def run(self) -> None:
        """Check until the gateway shuts down."""
        while not self._gateway.draining:
            await asyncio.sleep(_LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Check once, and reopen at a change that was seen twice in the same form."""
        files, before = files_of(self._folder), self._last
        self._last = files
        if files != before or files == self._seen or self._reopening.locked():
            return
        self._seen = files
        try:
            config = await self.reopen()
        except CoterieError as error:
            _log.warning("What has changed is not served: %s %s", error.message, error.hint)
        except Exception:  # noqa: BLE001 - the next change must still be seen
            _log.exception("What has changed is not served")
        else:
            if of_a_process(config) != self._process and self._gateway.section.workers == 1:  # several are replaced
                _log.warning("[gateway], [oidc] or the currency has changed: it counts from the next start on.")


def watch_process(folder: Path) -> Callable[[], Hashable]:
    """Return a function that tells a supervisor when to replace its workers: the current `of_a_process`.

    A file that cannot be read changes nothing.
    """
    before: Hashable = None
    process_settings: Hashable = None

    def look() -> Hashable:
        nonlocal before, process_settings
        mark = _mark(f"{folder}/{FILE_NAME}")
        if mark != before:
            before = mark
            with suppress(CoterieError):
                process_settings = of_a_process(load_config(folder))
        return process_settings

    return look


def of_a_process(config: Config) -> Hashable:
    """Return the settings that are read only at the start of a process: workers are replaced when they change."""
    oidc = None if config.oidc is None else config.oidc.model_dump_json()
    return config.gateway.model_dump_json(), oidc, config.accounting.currency


def files_of(folder: Path) -> Hashable:
    """Return the state of the folder that a network is opened from: its file, and the serving versions."""
    try:
        names = sorted(os.listdir(f"{folder}/registry"))  # noqa: PTH208 - of a thousand 4 ms, and 13 as paths
    except OSError:
        names = []
    champions = [_mark(f"{folder}/registry/{name}/champion") for name in names]
    return _mark(f"{folder}/{FILE_NAME}"), *(champion for champion in champions if not isinstance(champion, str))


def _mark(path: str) -> Hashable:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return path
    return path, status.st_mtime_ns, status.st_size, status.st_ino

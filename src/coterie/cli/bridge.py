"""A command's way into the event loop, and what it opens there."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from coterie.cli.output import remark, shell

if TYPE_CHECKING:
    from coterie.config.file import Config
    from coterie.network.pipeline import Network
    from coterie.store.sqlite import SQLiteStore


class _Closable(Protocol):
    async def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)
T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; Ctrl-C cancels it and lets it clean up."""
    from coterie.runtime.bridge import run as run_to_the_end

    return run_to_the_end(work)


def with_network(folder: Path, use: Callable[[Network], Awaitable[T]]) -> T:
    """Open the folder's network, use it, close it whatever happens, and give what `use` gave."""
    return run(_use(opened(folder), use))


async def opened(folder: Path, *, warm: bool = False) -> Network:
    """The folder's network; who of it cannot answer yet is said beside the result."""
    from coterie.assembly import open_network

    network = await open_network(folder, warm=warm)
    say_untrained(network.untrained, folder)
    return network


def say_untrained(names: Sequence[str], folder: Path) -> None:
    """Which specialists have no version, and the command that trains them."""
    if names:
        there = ", ".join(map(repr, names))
        remark(f"Not trained, so not asked: {there}. Train: {shell(folder, 'train', *names)}")


def with_store(
    folder: Path, config: Config, use: Callable[[SQLiteStore], Awaitable[T]], *, make: bool = False
) -> T | None:
    """The same with the store alone; None, and no file made unless asked to, when nothing has been settled yet."""
    from coterie.store.sqlite import SQLiteStore

    section = config.store
    path = folder / section.path
    if not path.exists() and not make:
        return None
    opening = SQLiteStore.open(
        path,
        session_days=section.session_days,
        keep_content=section.keep_content,
        content_days=config.retention.days,
        clock=time.time,
        reading=not make,
    )
    return run(_use(opening, use))


async def _use(opening: Awaitable[C], use: Callable[[C], Awaitable[T]]) -> T:
    opened = await opening
    try:
        return await use(opened)
    finally:
        await opened.close()

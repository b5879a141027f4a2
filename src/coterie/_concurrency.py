"""Working side by side: all or nothing, no task left behind, and work that is finished whoever waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def side_by_side(work: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """All results, in order. The first failure ends the others and is raised."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel(tasks)


async def cancel(tasks: Sequence[asyncio.Task[T]]) -> None:
    """End what still runs and wait for it."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def to_the_end(work: Coroutine[object, object, T]) -> T:
    """The result of work that is finished even if whoever waits for it is gone."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen: nobody is left to be told
        raise

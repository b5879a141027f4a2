"""Specialists whose weights are loaded on the first request, within a memory budget.

A network of a thousand specialists is open before any of them is loaded: router and planner need their cards only. The
first caller waits for the load, and later callers wait for the same load. When the budget is reached, the least
recently used specialists are dropped, never one that is answering.

This module knows neither the task of a specialist nor the location of its files.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from coterie.errors import ArtefactRefused, CoterieError
from coterie.protocols import Specialist
from coterie.types import SYSTEM, CallContext, ContextView, Finding, SpecialistCard, Task

Load = Callable[[], Specialist]
"""A function that reads a specialist's files. Called in a thread."""

_SIDE_BY_SIDE = 2  # loads at once: they read files and copy arrays


class WeightMemory:
    """Holds loaded specialists, and drops the least recently used first. Callers of any event loop may share it.

    A specialist larger than the budget is loaded nevertheless, alone, and dropped when it has answered.
    """

    def __init__(self, budget: int) -> None:
        """Create an empty memory of `budget` bytes."""
        self._budget = budget
        self._held: OrderedDict[str, _Held] = OrderedDict()  # the least recently used first
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="coterie-load")

    @property
    def used(self) -> int:
        """Bytes of the specialists that are held or being loaded."""
        with self._lock:
            return self._sum()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the specialists that are held or being loaded, the least recently used first."""
        with self._lock:
            return tuple(self._held)

    @asynccontextmanager
    async def hold(self, name: str, size: int, load: Load) -> AsyncIterator[Specialist]:
        """Yield a specialist that stays in memory inside the block; load it first if it is not there.

        Raises whatever `load` raises, for every caller that waits for it; the next caller tries again.
        """
        held = self._take(name, size, load)
        try:
            # Shielded: somebody else may wait for the same load.
            yield await asyncio.shield(asyncio.wrap_future(held.loading))
        finally:
            self._give_back(held)

    def _take(self, name: str, size: int, load: Load) -> _Held:
        with self._lock:
            held_one = self._held.get(name)
            if held_one is None:
                self._make_room(size)
            held = self._held[name] = held_one or _Held(size=size, loading=self._pool.submit(load))
            held.users += 1
            self._held.move_to_end(name)
        if held_one is None:  # without the lock: a load that is done already calls back at once
            held.loading.add_done_callback(lambda done: self._forget_failed(name, held, done))
        return held

    def _give_back(self, held: _Held) -> None:
        with self._lock:
            held.users -= 1
            self._make_room(0)

    def _forget_failed(self, name: str, held: _Held, done: Future[Specialist]) -> None:
        if done.cancelled() or done.exception() is not None:
            with self._lock:
                if self._held.get(name) is held:
                    del self._held[name]

    def _make_room(self, size: int) -> None:
        """Drop idle specialists, the least recently used first, until `size` bytes fit."""
        for name in [name for name, held in self._held.items() if not held.users]:
            if self._sum() + size <= self._budget:
                return
            del self._held[name]

    def _sum(self) -> int:
        return sum(held.size for held in self._held.values())


@dataclass(kw_only=True, eq=False)
class _Held:
    size: int
    loading: Future[Specialist]
    users: int = 0


class OnDemand:
    """A specialist that is loaded when it is consulted."""

    def __init__(self, *, card: SpecialistCard, size: int, load: Load, memory: WeightMemory) -> None:
        """Describe the specialist without reading its files.

        Args:
            card: What the network knows of the specialist without loading it.
            size: Bytes of its weights.
            load: Reads the specialist.
            memory: Holds the specialist together with others.
        """
        self.card = card
        self._size = size
        self._load = load
        self._memory = memory

    async def consult(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> Finding:
        """Return the specialist's finding. Raises `ArtefactRefused` if it cannot be loaded, and its own errors."""
        async with self._memory.hold(self.card.name, self._size, self._loaded) as specialist:
            return await specialist.consult(task, view, call=call)

    def _loaded(self) -> Specialist:
        try:
            return self._load()
        except CoterieError:
            raise
        except Exception as error:
            raise ArtefactRefused(
                f"The weights of {self.card.name!r} cannot be loaded: {type(error).__name__} {error}.",
                hint=f"Free memory, or train it again: coterie train {self.card.name}",
            ) from error

"""Specialists whose weights are loaded when somebody asks them, within a budget of memory.

A network of a thousand specialists is open before any of them is loaded: router and planner need their cards only.
The first who asks waits for the load; others who ask meanwhile wait for the same one. Where the budget is reached,
those not asked for longest make room, never one that is being asked.

It knows nothing of what a specialist does or of where its files are.
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
"""Reads a specialist's files. Called in a thread."""

_SIDE_BY_SIDE = 2  # loads at once: they read files and copy arrays


class WeightMemory:
    """Holds loaded specialists, the last used longest. It belongs to no event loop: callers of any may share it.

    A specialist larger than the budget is loaded nevertheless, alone, and dropped when it has answered.
    """

    def __init__(self, budget: int) -> None:
        """An empty memory of so many bytes."""
        self._budget = budget
        self._held: OrderedDict[str, _Held] = OrderedDict()  # the least recently used first
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="coterie-load")

    @property
    def used(self) -> int:
        """Bytes of what is held or being loaded."""
        with self._lock:
            return self._sum()

    @property
    def names(self) -> tuple[str, ...]:
        """Who is held or being loaded, the least recently used first."""
        with self._lock:
            return tuple(self._held)

    @asynccontextmanager
    async def hold(self, name: str, size: int, load: Load) -> AsyncIterator[Specialist]:
        """A specialist that stays in memory inside the block; loaded first if it is not there.

        Raises whatever `load` raises, for everybody who waits for it; who asks next tries again.
        """
        held = self._take(name, size, load)
        try:
            # Shielded: somebody else may wait for the same load.
            yield await asyncio.shield(asyncio.wrap_future(held.loading))
        finally:
            self._give_back(held)

    def _take(self, name: str, size: int, load: Load) -> _Held:
        with self._lock:
            found = self._held.get(name)
            if found is None:
                self._make_room(size)
            held = self._held[name] = found or _Held(size=size, loading=self._pool.submit(load))
            held.users += 1
            self._held.move_to_end(name)
        if found is None:  # without the lock: a load that is done already calls back at once
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
        """Drop those nobody is asking, the least recently used first, until so many bytes fit."""
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
    """A specialist that is loaded when it is asked."""

    def __init__(self, *, card: SpecialistCard, size: int, load: Load, memory: WeightMemory) -> None:
        """Describe it; nothing is read.

        Args:
            card: What the network knows of it without asking it anything.
            size: Bytes of its weights.
            load: Reads it.
            memory: Holds it together with others.
        """
        self.card = card
        self._size = size
        self._load = load
        self._memory = memory

    async def consult(self, task: Task, view: ContextView, *, call: CallContext = SYSTEM) -> Finding:
        """What the specialist says. Raises `ArtefactRefused` if it cannot be loaded, and what it raises itself."""
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

"""Which of llama.cpp's slots a request takes, and when: the one that remembers most of what it begins with.

llama.cpp takes steps for the adapter of the first busy slot and lets the others wait. As long as new requests with that
adapter come in time, a request with another one would wait in its slot for ever; so those that come later are held back
when enough of them went before it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_MOST_OVERTAKES = 16
"""Requests with other adapters that may begin while one is in its slot."""


@dataclass(kw_only=True, eq=False)
class _Slot:
    index: int
    adapter: str | None = None
    text: str = ""
    """What it read last."""
    turn: int = 0
    """When; the highest is the latest."""
    overtaken: int = 0
    """Requests with other adapters that began since."""


class Slots:
    """Hands out slots, each to one request at a time. What was read with one adapter is of no use to another."""

    def __init__(self, count: int) -> None:
        self._free = [_Slot(index=index) for index in range(count)]
        self._held: list[_Slot] = []
        self._turn = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, adapter: str | None, text: str) -> Iterator[int]:
        """The number of a slot, kept until the context is left; waits for one, and for those overtaken too often."""
        with self._changed:
            self._changed.wait_for(lambda: self._free and not self._is_unfair(adapter))
            slot = max(self._free, key=lambda each: (_shared(each, adapter, text), -each.turn))
            self._take(slot, adapter, text)
        try:
            yield slot.index
        finally:
            with self._changed:
                self._held.remove(slot)
                self._free.append(slot)
                self._changed.notify_all()

    def _is_unfair(self, adapter: str | None) -> bool:
        """Whether one more request with this adapter has to let another one end first."""
        return any(slot.adapter != adapter and slot.overtaken >= _MOST_OVERTAKES for slot in self._held)

    def _take(self, slot: _Slot, adapter: str | None, text: str) -> None:
        for other in self._held:
            other.overtaken += other.adapter != adapter
        self._free.remove(slot)
        self._held.append(slot)
        self._turn += 1
        slot.adapter, slot.text, slot.turn, slot.overtaken = adapter, text, self._turn, 0


def _shared(slot: _Slot, adapter: str | None, text: str) -> int:
    """Characters that need not be read again."""
    if slot.adapter != adapter:
        return 0
    pairs = enumerate(zip(slot.text, text, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(slot.text), len(text)))

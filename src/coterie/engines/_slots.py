"""Which of llama.cpp's slots a request takes: the one that remembers most of what it begins with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(kw_only=True)
class _Slot:
    index: int
    adapter: str | None = None
    text: str = ""
    """What it read last."""
    turn: int = 0
    """When; the highest is the latest."""


class Slots:
    """Hands out slots, each to one request at a time. What was read with one adapter is of no use to another."""

    def __init__(self, count: int) -> None:
        self._free = [_Slot(index=index) for index in range(count)]
        self._turn = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, adapter: str | None, text: str) -> Iterator[int]:
        """The number of a slot, kept until the context is left; waits while there is none."""
        with self._changed:
            self._changed.wait_for(lambda: self._free)
            slot = max(self._free, key=lambda each: (_shared(each, adapter, text), -each.turn))
            self._free.remove(slot)
            self._turn += 1
            slot.adapter, slot.text, slot.turn = adapter, text, self._turn
        try:
            yield slot.index
        finally:
            with self._changed:
                self._free.append(slot)
                self._changed.notify()


def _shared(slot: _Slot, adapter: str | None, text: str) -> int:
    """Characters that need not be read again."""
    if slot.adapter != adapter:
        return 0
    pairs = enumerate(zip(slot.text, text, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(slot.text), len(text)))

"""Which of llama.cpp's slots a request takes, and when: the one that remembers most of what it begins with.

Where a slot that is held reads the same long beginning, it is worth waiting for: prompts that lay out one context first
and their own instruction last then read the context once. Two requests may wait so for one slot, each two turns at
most; others take a free one and read it there, so that a beginning which all requests share ends up in every slot.

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
_WORTH_WAITING = 2_000
"""Characters that need not be read again: some 500 tokens, as long to read as an answer is to write."""
_MOST_WAITING = 2
"""Requests that wait for one held slot at once."""


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
    waiting: int = 0
    """Requests that wait for it because of what it reads."""


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
            self._wait_for_like(adapter, text)
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

    def _wait_for_like(self, adapter: str | None, text: str) -> None:
        """Wait while a held slot reads so much more of the text than any free one that it pays."""
        for _ in range(_MOST_WAITING):
            like = max(self._held, key=lambda each: _shared(each, adapter, text), default=None)
            free = max((_shared(each, adapter, text) for each in self._free), default=0)
            if like is None or like.waiting >= _MOST_WAITING or _shared(like, adapter, text) - free < _WORTH_WAITING:
                return
            self._wait_for_turn(like)

    def _wait_for_turn(self, slot: _Slot) -> None:
        """Wait until whoever holds a slot has left it."""
        turn = slot.turn
        slot.waiting += 1
        self._changed.wait_for(lambda: slot not in self._held or slot.turn != turn)
        slot.waiting -= 1

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

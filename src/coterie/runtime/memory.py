"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
import sys

_ARENA_MAX = -8
"""`M_ARENA_MAX` of glibc's `malloc.h`."""


def give_back() -> None:
    """Give back what the C library keeps of freed memory, where it can (glibc). Other threads run meanwhile."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def use_few_arenas(most: int = 2) -> None:
    """Have all threads of this process and those it forks allocate from so few pools, where that can be set (glibc).

    By default each thread may get a pool of its own, and what it frees there no other thread uses.
    """
    if sys.platform == "linux":
        option = getattr(ctypes.CDLL(None), "mallopt", None)
        if option is not None:
            option(_ARENA_MAX, most)

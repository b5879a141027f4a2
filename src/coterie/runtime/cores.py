"""Cores: threads that take turns with the event loop stay where it is.

Only one thread at a time runs Python. A ledger's thread on a core of its own gains nothing by that while the event loop
waits for it: the core has to be woken, and what both work with moves from one core's caches to the other's, there and
back.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import suppress

NO_CORE = -1
"""Where it is not known on which core a thread is."""


def _nowhere() -> int:
    return NO_CORE


_current_core: Callable[[], int] = _nowhere
if sys.platform == "linux":
    with suppress(AttributeError, OSError):  # a C library without it
        _current_core = ctypes.PyDLL(None).sched_getcpu  # `PyDLL` keeps the interpreter's lock: it takes no time


def follow(thread: int, core: int) -> int:
    """Move a thread of this process to the core of the calling one; return that core.

    Args:
        thread: Its native id.
        core: Where it is, from the last call, or `NO_CORE`.
    """
    here = _current_core()
    if here not in (core, NO_CORE):
        try:
            os.sched_setaffinity(thread, {here})
        except OSError:  # not allowed here: it stays where the system has it
            return core
    return here


def roam() -> None:
    """Let the calling thread run on each core that the process may use: a thread begins where its maker is kept."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setaffinity(0, os.sched_getaffinity(os.getpid()))

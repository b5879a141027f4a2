"""The C library's heap, where many large blocks live beside small ones that come and go."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h
_LARGE = 1 << 20


def keep_large_blocks_apart() -> None:
    """Give blocks of a megabyte and more pages of their own, for as long as this process lives.

    That is what glibc does until it has seen a few such blocks freed; then it keeps blocks of up to 32 MB among the
    small ones, and the gaps between are lost: 50 adapters of 4.9 MB took 458 MB in place of 290 (`docs/log.md`). Other
    C libraries have no such setting and are left alone.
    """
    with suppress(AttributeError, OSError, TypeError):  # TypeError: Windows has no library of that name
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)

"""Ids that nobody can guess."""

from __future__ import annotations

import os
from threading import Lock

_BYTES, _BLOCK = 16, 256
"""Of one id, and ids that the system is asked for at once."""


class RandomIds:
    """Makes ids of 32 hexadecimal digits from the system's random bytes.

    Each call of the system gives the interpreter's lock away, which an event loop then waits for: so it is asked for
    many ids at once. A forked process makes others than its parent.
    """

    def __init__(self) -> None:
        self._lock, self._left, self._process = Lock(), b"", 0

    def new(self) -> str:
        """A new id."""
        with self._lock:
            if not self._left or self._process != os.getpid():
                self._left, self._process = os.urandom(_BYTES * _BLOCK), os.getpid()
            found, self._left = self._left[:_BYTES], self._left[_BYTES:]
        return found.hex()

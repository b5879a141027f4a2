"""Run `coterie` in this process and end it by SIGKILL in the middle of a write: `_killed.py POINT WORDS...`.

POINT is a number, of the statement that writes a record of the flywheel before which the process ends, or `commit`:
then it ends at a moment drawn by chance from the beginning of the COMMIT that follows such a statement.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
import threading
import time
from typing import Any

_LONGEST = 0.004
"""Seconds after the beginning of a COMMIT, at most."""
_open = sqlite3.connect


class _Fault:
    """Looks at the statements of all connections."""

    def __init__(self, point: str) -> None:
        self._at = int(point) if point.isdigit() else None
        self._writes = 0

    def see(self, statement: str) -> None:
        """Take a statement that is about to run."""
        if self._at is None and self._writes and statement.lstrip().upper().startswith("COMMIT"):
            threading.Thread(target=_end_soon).start()
        if statement.lstrip().upper().startswith(("INSERT", "UPDATE")) and "flywheel_re" in statement:
            self._writes += 1
            if self._writes == self._at:
                _end()


def _end_soon() -> None:
    time.sleep(random.uniform(0.0, _LONGEST))  # noqa: S311 - draws no secret
    _end()


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the command."""
    point, *words = sys.argv[1:]
    fault = _Fault(point)

    def connect(*args: Any, **about: Any) -> sqlite3.Connection:  # noqa: ANN401 - as sqlite3.connect
        made = _open(*args, **about)
        made.set_trace_callback(fault.see)
        return made

    sqlite3.connect = connect  # type: ignore[assignment]
    from coterie.cli.app import main as command  # noqa: PLC0415 - behind the fault

    sys.argv = ["coterie", *words]
    command()


if __name__ == "__main__":
    main()

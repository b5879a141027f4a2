"""A disk that fails at its n-th operation, or whose process ends there: a copy of what had been written goes on."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
from pathlib import Path

FAULTS = ("none", "statement", "half", "unwritable", "crash", "torn", "torn")
"""What goes wrong with the disk while one process lives."""

FAILING = 3
"""Statements in a row that fail: a write is tried again, so that nobody hears of one alone."""


class Disk:
    """Counts what is done to the store's file and to the audit log, and strikes at one of these operations."""

    def __init__(self, folder: Path, draw: random.Random) -> None:
        self.folder = folder
        self.fault = draw.choice(FAULTS)
        self.at = draw.randrange(60, 400) if self.fault in {"statement", "crash"} else draw.randrange(30)
        self.long = draw.randrange(1, 12)
        """How many operations of the audit log fail, where it cannot be written."""
        self.copy: Path | None = None
        """What is left after the crash."""
        self._draw = draw
        self._count = self._audited = 0

    @property
    def struck(self) -> bool:
        """Whether anything went wrong."""
        if self.fault in {"half", "unwritable", "torn"}:
            return self._audited > self.at
        return self.fault != "none" and self._count > self.at

    def heal(self) -> None:
        """From now on nothing goes wrong."""
        self.fault = "none"

    # --- the store ---------------------------------------------------------------------------------

    def connect(self, path: Path, busy_seconds: float) -> sqlite3.Connection:
        """A connection whose statements count. There is no fsync: what is simulated is the end of a process."""
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, *args):  # type: ignore[no-untyped-def]
                if disk._count_one() and disk.fault == "statement":
                    raise sqlite3.OperationalError("disk I/O error")
                return super().execute(*args)

        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, factory=Connection)
        for setting in ("synchronous = off", "journal_mode = wal", "foreign_keys = on", "secure_delete = on"):
            sqlite3.Connection.execute(connection, f"PRAGMA {setting}")
        return connection

    # --- the audit log -----------------------------------------------------------------------------

    def write(self, file: int, content: memoryview) -> int:
        """Write to the audit log: perhaps half of it, or nothing."""
        half = len(content) // 2
        if self._strikes_audit():
            if self.fault == "half":
                os.write(file, content[:half])
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.fault == "torn" and self._audited == self.at + 1 and half:
            written = os.write(file, content[:half])
            self.crash()
            return written
        self._count_one()
        return os.write(file, content)

    def sync(self, file: int) -> None:
        """Bring it to the disk."""
        if self._strikes_audit():
            raise OSError(errno.EIO, "Input/output error")
        self._count_one()

    def _strikes_audit(self) -> bool:
        self._audited += 1
        late = self._audited - self.at
        return (self.fault == "half" and late == 1) or (self.fault == "unwritable" and 0 < late <= self.long)

    # --- the end of the process --------------------------------------------------------------------

    def _count_one(self) -> bool:
        """Count an operation that is about to be done; whether it is the one where something goes wrong."""
        self._count += 1
        late = self._count - self.at
        if late == 1 and self.fault == "crash":
            self.crash()
        return 0 < late <= FAILING

    def crash(self) -> None:
        """Keep what another process would find if this one ended now."""
        if self.copy is None:
            copy = self.folder.with_name(f"{self.folder.name}-after")
            shutil.copytree(self.folder, copy, ignore=shutil.ignore_patterns("*-shm"))
            self.copy = copy

"""Where a specialist's unfinished trainings are kept; without torch, for whoever only passes it on."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The folder of one specialist's checkpoints: what an interrupted `coterie train` leaves for the next one."""

    folder: Path
    every: float = 60.0
    """Seconds of training between two saves."""

    def clear(self) -> None:
        """Remove them: what they were for is stored."""
        shutil.rmtree(self.folder, ignore_errors=True)

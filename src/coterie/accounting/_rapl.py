"""The processor's own energy counter (RAPL, as Linux shows it in `/sys/class/powercap`), shared out by CPU time.

The counter is of a whole package: all cores, all programs. So a program's part is what the package took, times its
share of the CPU time that the whole machine spent meanwhile. That share is this module's whole reckoning; the joules
are measured. What the package takes while nobody works is borne by those who work.

Where there is no such counter, or only root may read it (the default since Linux 5.10), there is no figure.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

POWERCAP = Path("/sys/class/powercap")
PROC_STAT = Path("/proc/stat")
_MICRO = 1e-6
_WINDOW = 1.0
"""Seconds between two readings: the kernel counts CPU time in hundredths."""
_BUSY = (0, 1, 2, 5, 6, 7)
"""Columns of `/proc/stat` in which a core works: user, nice, system, irq, softirq, steal."""


class _Reading(NamedTuple):
    joules: tuple[float, ...]
    busy: float
    """CPU-seconds that the machine's cores worked."""
    time: float


class PackageMeter:
    """Joules of a CPU-second, as this machine's packages took them of late.

    Args:
        powercap: Where Linux shows the counters.
        stat: Where it shows how long cores worked.
        clock: Seconds.
    """

    def __init__(
        self, *, powercap: Path = POWERCAP, stat: Path = PROC_STAT, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stat, self._clock = stat, clock
        self._packages = _packages(powercap)
        self._spans = tuple(_number(each / "max_energy_range_uj") or 0.0 for each in self._packages)
        self._last = self._read()
        self._rate: float | None = None

    @property
    def present(self) -> bool:
        """Whether the machine has a counter that may be read."""
        return self._last is not None

    def joules_per_cpu_second(self) -> float | None:
        """Of the last second or more; None while there is no reading of so long, or no counter."""
        if self._last is None or self._clock() - self._last.time < _WINDOW:
            return self._rate
        now = self._read()
        if now is not None and (busy := now.busy - self._last.busy) > 0:
            spent = zip(now.joules, self._last.joules, self._spans, strict=True)
            # A counter that has come to its end begins at 0 again.
            self._rate = sum(new - old if new >= old else new - old + span * _MICRO for new, old, span in spent) / busy
        self._last = now or self._last
        return self._rate

    def _read(self) -> _Reading | None:
        counters = [_number(each / "energy_uj") for each in self._packages]
        busy = _busy_seconds(self._stat)
        if not counters or busy is None or any(each is None for each in counters):
            return None
        return _Reading(tuple((each or 0.0) * _MICRO for each in counters), busy, self._clock())


def _packages(powercap: Path) -> list[Path]:
    """The packages' folders; their parts (cores, memory) are in them and would count twice."""
    with suppress(OSError):
        return sorted(each for each in powercap.iterdir() if each.name.startswith("intel-rapl:") and _is_package(each))
    return []


def _is_package(folder: Path) -> bool:
    with suppress(OSError):
        return (folder / "name").read_text(encoding="ascii").startswith("package")
    return False


def _number(path: Path) -> float | None:
    with suppress(OSError, ValueError):
        return float(path.read_text(encoding="ascii"))
    return None


def _busy_seconds(stat: Path) -> float | None:
    with suppress(OSError, ValueError, IndexError):
        columns = stat.read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
        return sum(int(columns[i]) for i in _BUSY) / os.sysconf("SC_CLK_TCK")
    return None

"""A processor with an energy counter, as Linux shows it."""

import os
from pathlib import Path

import pytest

from coterie.accounting.meter import PackageMeter

SPAN = 1000.0
"""Joules after which the counter begins again."""


class FakePackage:
    """A powercap tree of one package with a core domain in it, a `/proc/stat`, and a clock."""

    def __init__(self, folder: Path, *, packages: int = 1) -> None:
        self.folder, self.now = folder, 100.0
        self.joules, self.busy = [5.0] * packages, 50.0
        for i in range(packages):
            self._domain(f"intel-rapl:{i}", f"package-{i}")
            self._domain(f"intel-rapl:{i}:0", "core")
        (folder / "powercap" / "intel-rapl").mkdir(parents=True, exist_ok=True)
        self.write()

    def _domain(self, name: str, kind: str) -> None:
        domain_folder = self.folder / "powercap" / name
        domain_folder.mkdir(parents=True)
        (domain_folder / "name").write_text(kind + "\n")
        (domain_folder / "max_energy_range_uj").write_text(f"{SPAN * 1e6:.0f}\n")
        (domain_folder / "energy_uj").write_text("123456\n")

    def write(self) -> None:
        for i, joules in enumerate(self.joules):
            (self.folder / "powercap" / f"intel-rapl:{i}" / "energy_uj").write_text(f"{joules % SPAN * 1e6:.0f}\n")
        ticks = round(self.busy * os.sysconf("SC_CLK_TCK"))
        (self.folder / "stat").write_text(f"cpu  {ticks - 30} 10 10 99999 500 5 5 0 7 7\ncpu0 1 2 3\n")

    def spend(self, *, joules: float, cpu_seconds: float, seconds: float = 2.0) -> None:
        self.joules = [total + joules for total in self.joules]
        self.busy += cpu_seconds
        self.now += seconds
        self.write()

    def meter(self) -> PackageMeter:
        return PackageMeter(powercap=self.folder / "powercap", stat=self.folder / "stat", clock=lambda: self.now)


@pytest.fixture
def package(tmp_path: Path) -> FakePackage:
    return FakePackage(tmp_path)

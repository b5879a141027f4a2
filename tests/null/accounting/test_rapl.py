"""The processor's own counter: what a CPU-second took of late."""

import pytest

from coterie.accounting.energy import PackageMeter


def test_rate(package):
    """Joules of the package over the machine's busy time, of the last reading that lies a second back."""
    meter = package.meter()
    assert meter.present
    assert meter.joules_per_cpu_second() is None
    package.spend(joules=30.0, cpu_seconds=10.0)
    assert meter.joules_per_cpu_second() == pytest.approx(3.0)
    package.spend(joules=90.0, cpu_seconds=1.0, seconds=0.5)
    assert meter.joules_per_cpu_second() == pytest.approx(3.0)  # too short to be read
    package.spend(joules=30.0, cpu_seconds=1.0, seconds=0.5)
    assert meter.joules_per_cpu_second() == pytest.approx(60.0)


def test_counter_begins_again(package):
    """A counter that came to its end goes on from 0."""
    meter = package.meter()
    package.spend(joules=998.0, cpu_seconds=2.0)
    assert meter.joules_per_cpu_second() == pytest.approx(499.0)


def test_idle_machine(package):
    """While no core works the last rate stands."""
    meter = package.meter()
    package.spend(joules=30.0, cpu_seconds=10.0)
    meter.joules_per_cpu_second()
    package.spend(joules=30.0, cpu_seconds=0.0)
    assert meter.joules_per_cpu_second() == pytest.approx(3.0)


def test_no_counter(tmp_path, package):
    """Without a counter, or with one that may not be read, there is no figure."""
    assert not PackageMeter(powercap=tmp_path / "nothing", stat=tmp_path / "stat").present
    (tmp_path / "powercap" / "intel-rapl:0" / "energy_uj").unlink()
    meter = package.meter()
    assert not meter.present
    assert meter.joules_per_cpu_second() is None


def test_counter_goes_away(package):
    """A counter that can no longer be read leaves the last rate."""
    meter = package.meter()
    package.spend(joules=30.0, cpu_seconds=10.0)
    meter.joules_per_cpu_second()
    (package.folder / "powercap" / "intel-rapl:0" / "energy_uj").write_text("?")
    package.now += 9.0
    assert meter.joules_per_cpu_second() == pytest.approx(3.0)

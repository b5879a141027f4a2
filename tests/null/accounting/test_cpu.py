"""CPU time: claimed once, by the step it was spent for."""

import sys
import threading
import time
from contextlib import suppress

import pytest

from coterie.accounting.meter import PackageMeter
from coterie.runtime.cpu import CPU, CpuSpan, CpuTime, NativeThreads, ShortSpans, thread_seconds

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="threads have names and clocks on Linux only")


def burn(seconds):
    """Use this thread's CPU for so long."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_stretch_leaves_out_what_is_inside():
    """A stretch inside another is counted once, by itself."""
    with CpuSpan() as outer:
        burn(0.01)
        with CpuSpan() as inner:
            burn(0.03)
    assert inner.usage.cpu_seconds >= 0.03
    assert 0.01 <= outer.usage.cpu_seconds < 0.03
    assert outer.usage.milliseconds >= inner.usage.milliseconds


def test_stretch_is_claimed():
    """What a stretch took is nobody else's, while it runs and afterwards, even when it failed."""
    time_of = CpuTime(process=time.process_time)
    assert time_of.rest() <= time.process_time()
    before = CPU.rest()
    spent = time.process_time()
    with suppress(ValueError), CpuSpan():
        burn(0.05)
        during = CPU.rest() - before
        raise ValueError
    after, spent = CPU.rest() - before, time.process_time() - spent
    assert after <= spent - 0.05 + 1e-3  # others in this process may be at work too
    if sys.platform == "linux":
        assert during <= spent - 0.05 + 1e-3


def test_native_sources():
    """A library's clock is claimed as it runs; what it said last stays claimed when it has ended."""
    process, library = 10.0, 2.0
    time_of = CpuTime(process=lambda: process)
    end = time_of.add(lambda: library)
    assert time_of.rest() == 8.0
    process, library = 14.0, 5.0
    assert time_of.rest() == 9.0
    end()
    end()
    process, library = 15.0, 500.0
    assert time_of.rest() == 10.0


@on_linux
def test_native_threads():
    """A library's threads, and those they start later, are counted, also when they have ended; no other thread is."""
    mine, spent, go, done = NativeThreads("test-native-threads-of-long-name"), [], threading.Event(), threading.Event()

    def child():
        burn(0.02)
        spent.append(time.thread_time())

    def parent():
        go.wait()
        thread = threading.Thread(target=child)
        thread.start()
        thread.join()
        burn(0.02)
        spent.append(time.thread_time())
        done.wait()

    with mine.born():
        library = threading.Thread(target=parent)
        library.start()
    stranger = threading.Thread(target=burn, args=(0.02,))
    stranger.start()
    assert mine.seconds() < 0.01
    go.set()
    stranger.join()
    while len(spent) < 2:
        mine.seconds()  # looks often, so that hardly anything of a thread that ends is missed
    alive = mine.seconds()
    assert 0.02 <= alive <= sum(spent) + 0.01
    done.set()
    library.join()
    assert mine.seconds() >= alive


@on_linux
def test_thread_clock():
    """A thread's clock can be read from outside; that of no thread is None."""
    burn(0.001)
    assert 0 < thread_seconds(threading.get_native_id()) <= time.thread_time()
    assert thread_seconds(2**22 - 1) is None


def test_short_spans_are_reckoned():
    """One of sixteen short spans is measured; the others say what one of their size takes, and all is claimed."""
    spans, claimed = ShortSpans(), CPU.claimed
    for number in range(1, 33):
        with spans.span(2.0) as one:
            sum(range(30_000))
        if number % 16 and number > 1:
            assert 0 < one.usage.cpu_seconds <= spans.expect(2.0)  # nor more than has passed
    assert spans.expect(4.0) == 2 * spans.expect(2.0)
    assert CPU.claimed > claimed

    spans = ShortSpans()
    spans.learn(1.0, 0.5)
    with CpuSpan() as outer, spans.span() as inner:
        time.sleep(0)
    assert 0 < inner.usage.cpu_seconds < 0.5  # no more than it can have been
    assert outer.cpu_seconds < time.thread_time()


# --- The processor's own counter: what a CPU-second took of late.


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

"""Energy counters of the processor (RAPL) and of graphics cards (NVML), divided among the calls that ran meanwhile.

The RAPL counter covers a whole package: all cores and all programs. A program's part is therefore the package's
energy times the program's share of the CPU time that the whole machine spent in the same period. Only this share is
computed here; the joules are measured. The energy of an idle machine is borne by the programs that work.

Where there is no such counter, or only root may read it (the default since Linux 5.10), there is no figure.

A model server on this machine has its cards to itself, and its work for each call cannot be seen from outside. The
energy of a card between two moments at which a call begins or ends is therefore divided equally among the calls that
are running. The energy while no call runs is attributed to no call. The sum over all calls equals the counters' total
for the time in which calls ran.

The NVML counter is the total energy since the driver was loaded, in millijoules (Volta and later). A card without
this counter gives no figure.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

from coterie.config.file import RemoteModel
from coterie.config.section import span_ends
from coterie.runtime.cpu import CPU, CpuShare, SharedTime
from coterie.types import Step, Usage

POWERCAP = Path("/sys/class/powercap")
PROC_STAT = Path("/proc/stat")
_MICRO = 1e-6
_WINDOW = 1.0
"""Seconds between two readings, since the kernel counts CPU time in hundredths of a second."""
_BUSY = (0, 1, 2, 5, 6, 7)
"""Columns of `/proc/stat` that count time in which a core works: user, nice, system, irq, softirq, steal."""


class _Reading(NamedTuple):
    joules: tuple[float, ...]
    busy: float
    """CPU-seconds that the machine's cores spent working."""
    time: float


class PackageMeter:
    """Measures the joules per CPU-second of this machine's packages over the last seconds.

    Args:
        powercap: The folder in which Linux shows the energy counters.
        stat: The file in which Linux shows how long the cores worked.
        clock: Returns the current time in seconds.
    """

    def __init__(
        self, *, powercap: Path = POWERCAP, stat: Path = PROC_STAT, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stat, self._clock = stat, clock
        self._packages = _packages(powercap)
        self._spans = tuple(_number(package / "max_energy_range_uj") or 0.0 for package in self._packages)
        self._last = self._read()
        self._rate: float | None = None

    @property
    def present(self) -> bool:
        """Whether the machine has a counter that this process may read."""
        return self._last is not None

    def joules_per_cpu_second(self) -> float | None:
        """Return joules per CPU-second over the last second or more; None without such a reading or a counter."""
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
        counters = [_number(package / "energy_uj") for package in self._packages]
        busy = _busy_seconds(self._stat)
        if not counters or busy is None or any(counter is None for counter in counters):
            return None
        return _Reading(tuple((counter or 0.0) * _MICRO for counter in counters), busy, self._clock())


def _packages(powercap: Path) -> list[Path]:
    """Return the packages' folders. Their parts (cores, memory) are inside these folders and would count twice."""
    with suppress(OSError):
        return sorted(
            folder for folder in powercap.iterdir() if folder.name.startswith("intel-rapl:") and _is_package(folder)
        )
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


# --- What a served model's tokens take, by the published regression of EcoLogits.
#
# Source: EcoLogits 0.11.3 (GenAI Impact; `ecologits/impacts/llm.py`, methodology at ecologits.ai), fitted by its
# authors to the ML.ENERGY leaderboard's measurements of open models on H100s. Said in our own words:
#
# - a GPU takes `a * exp(b * B) * P + c` watt-hours a generated token, with P the active parameters in billions and B
#   the requests that share a server's batch, 64;
# - a token takes `d * P + e * B + f` seconds, and the answer no longer than it was waited for;
# - the weights at 16 bits and a fifth more must fit into GPUs of 80 GB, whose number is a power of two;
# - a server of eight GPUs takes 1.2 kW beside them, of which a request has the share of its GPUs and of its batch;
# - all that times the data centre's PUE.
#
# Prompt tokens are free in it: it was fitted to generation. So it is low for long prompts with short answers. A range
# of parameters or of PUE makes a range of energy; what serving differs from the fit by is not in it.

_GPU = (1.1665273170451914e-06, -0.011205921025579175, 4.052928146734005e-05)
"""Coefficients a, b, c of the regression: watt-hours per token, with P in billions."""
_LATENCY = (0.0006785088094353663, 0.0003119310311688259, 0.019473717579473387)
"""Coefficients d, e, f of the regression: seconds per token."""
_BATCH = 64
_GPU_GIGABYTES = 80.0
_BYTES_PER_PARAMETER = 2.0
_ROOM = 1.2
_SERVER_WATTS, _SERVER_GPUS = 1200.0, 8
_JOULES_PER_WATT_HOUR = 3600.0


class Joules(NamedTuple):
    """An estimate with its lower and upper bound."""

    likely: float
    low: float
    high: float


def generation_joules(
    tokens_out: int, *, parameters: float, active: float, pue: float, seconds: float = math.inf
) -> float:
    """Return the joules of generating a number of tokens.

    Args:
        tokens_out: Generated tokens.
        parameters: All parameters of the model, in billions.
        active: Parameters that are used for a token, in billions.
        pue: Power usage effectiveness of the data centre.
        seconds: How long the client waited for the answer.
    """
    gpus = _gpus(parameters)
    slope, decay, base = _GPU
    gpu = tokens_out * (slope * math.exp(decay * _BATCH) * active + base) * _JOULES_PER_WATT_HOUR
    per_parameter, per_request, least = _LATENCY
    latency = min(tokens_out * (per_parameter * active + per_request * _BATCH + least), seconds)
    server = latency * _SERVER_WATTS * (gpus / _SERVER_GPUS) / _BATCH
    return pue * (server + gpus * gpu)


def _gpus(parameters: float) -> int:
    """Return the number of GPUs that hold the weights, rounded up to a power of two."""
    needed = math.ceil(_ROOM * parameters * _BYTES_PER_PARAMETER / _GPU_GIGABYTES)
    return int(2 ** math.ceil(math.log2(needed)))


def remote_joules(model: RemoteModel, tokens_out: int, milliseconds: float) -> Joules | None:
    """Estimate the joules of a remote answer; None for a model without a given size.

    The likely value is the mean of the lower and the upper bound.
    """
    if model.parameters_billion is None or model.joules_per_token is not None:
        return None
    parameters, pue = span_ends(model.parameters_billion), span_ends(model.pue)
    active = span_ends(model.active_billion) if model.active_billion is not None else parameters
    seconds = milliseconds / 1000 if milliseconds > 0 else math.inf
    low, high = (
        generation_joules(tokens_out, parameters=parameters[i], active=active[i], pue=pue[i], seconds=seconds)
        for i in (0, 1)
    )
    return Joules((low + high) / 2, low, high)


# --- Overhead of routing, context, JSON and HTTP: a row of its own.

OVERHEAD = "network"
"""Producer of the overhead's step; the step's engine is `python`."""
CLOCK_SECONDS = 0.05
"""Seconds between two readings of this process' CPU clock while requests are served."""


class ProcessOverhead:
    """Splits the CPU time that no step claims evenly among the requests that are running.

    A request's row is made before it is stored, so the CPU time of storing it is added to the next row. CPU time
    while no request is running (opening, training, waiting) is attributed to no request.

    Args:
        rest: CPU-seconds of this process that no step claims, up to now.
        every: Seconds between two readings of `rest` (`SharedTime`); 0 reads it whenever a request begins, is settled
            or ends.
    """

    def __init__(self, rest: Callable[[], float] = CPU.rest, *, every: float = 0.0) -> None:
        self._shared = SharedTime(None, cpu=rest, every=every)
        self._in_rows = 0.0
        self._starts = 0.0  # of those at work, when each began, on the clock of `CpuShare.start`
        self._reported = 0.0  # of those at work, what stands in their rows

    def attend(self) -> RequestAttendance:
        """Return a context in which a request is running."""
        return RequestAttendance(self, self._shared.share())

    def begin(self, share: CpuShare) -> None:
        """Add a request whose CPU share has begun."""
        self._starts += share.start

    def row(self, share: CpuShare) -> float:
        """Return a request's CPU-seconds so far, plus those that settled requests used after their rows were made."""
        so_far = share.so_far()
        at_work = self._shared.running * (so_far + share.start) - self._starts
        owed = self._shared.known - self._in_rows - (at_work - self._reported)
        seconds = max(so_far + owed, 0.0)
        self._in_rows += seconds
        self._reported += seconds
        return seconds

    def end(self, share: CpuShare, reported: float) -> None:
        """Remove a request whose CPU share has ended."""
        self._starts -= share.start
        self._reported -= reported


class RequestAttendance:
    """One request's part in the overhead, as a context in which the request is running."""

    def __init__(self, overhead: ProcessOverhead, share: CpuShare) -> None:
        self._overhead, self._share = overhead, share
        self.reported = 0.0
        """CPU-seconds that stand in its row."""

    def __enter__(self) -> Self:
        self._share.__enter__()
        self._overhead.begin(self._share)
        return self

    def __exit__(self, *_: object) -> None:
        self._share.__exit__()
        self._overhead.end(self._share, self.reported)

    def step(self) -> Step:
        """Return the request's overhead step; called when the request is settled."""
        self.reported = self._overhead.row(self._share)
        return Step(producer=OVERHEAD, engine="python", usage=Usage(cpu_seconds=self.reported))


# --- Energy counters of this machine's graphics cards (NVML), shared out among the calls that ran meanwhile.

Counter = Callable[[], float]
"""A function that returns the joules of a card since a fixed moment. Raises OSError where they are unknown."""


class CardCall:
    """The energy that a call has used so far on one card."""

    def __init__(self) -> None:
        self.joules: float | None = 0.0


class CardMeter:
    """Divides one card's energy among the calls that run on it. Safe to use from several threads.

    Args:
        read: The card's counter.
    """

    def __init__(self, read: Counter) -> None:
        self._read, self._lock = read, threading.Lock()
        self._at_work: list[CardCall] = []
        self._last: float | None = None

    @contextmanager
    def call(self) -> Iterator[CardCall]:
        """Attribute the card's energy to a call while the block runs; `joules` is complete after the block."""
        mine = CardCall()
        with self._lock:
            self._share()
            self._at_work.append(mine)
        try:
            yield mine
        finally:
            with self._lock:
                self._share()
                self._at_work.remove(mine)

    def _share(self) -> None:
        """Divide the energy since the last reading among the running calls; None for all where it is unknown."""
        try:
            now: float | None = self._read()
        except OSError:
            now = None
        last, self._last = self._last, now
        for card in self._at_work:
            if now is None or last is None or now < last or card.joules is None:
                card.joules = None
            else:
                card.joules += (now - last) / len(self._at_work)


class CallEnergy:
    """The energy of one call over all its cards, in joules."""

    def __init__(self, meters: Sequence[CardMeter]) -> None:
        self._stack = ExitStack() if meters else None
        self._calls = [] if self._stack is None else [self._stack.enter_context(meter.call()) for meter in meters]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> float | None:
        """End the call and return its joules; None where a card does not report them."""
        if self._stack is not None:
            self._stack.close()
        parts = [call.joules for call in self._calls]
        return None if not parts or None in parts else float(sum(part for part in parts if part is not None))


class Cards:
    """The graphics cards that one model runs on.

    Args:
        meters: One meter per card. Models that share a card share its meter.
    """

    def __init__(self, meters: Sequence[CardMeter]) -> None:
        self._meters = meters

    def call(self) -> CallEnergy:
        """Begin a call of the model; the call lasts until the block or `CallEnergy.end` ends it."""
        return CallEnergy(self._meters)


def open_cards(numbers: Sequence[int]) -> Cards | None:
    """Open the cards with these `nvidia-smi` numbers; None if one of them has no readable counter."""
    meters = [_meter(number) for number in numbers]
    readable_meters = [meter for meter in meters if meter is not None]
    return Cards(readable_meters) if readable_meters and len(readable_meters) == len(meters) else None


@cache
def _meter(number: int) -> CardMeter | None:
    counter = nvml_counter(number)
    if counter is None:
        return None
    with suppress(OSError):
        counter()
        return CardMeter(counter)
    return None


def nvml_counter(number: int) -> Counter | None:
    """Return the counter of a card; None without NVML (the extra `gpu` and NVIDIA's driver) or without the card."""
    try:
        import pynvml  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        card = pynvml.nvmlDeviceGetHandleByIndex(number)
    except pynvml.NVMLError:
        return None

    def read() -> float:
        try:
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(card)) / 1000
        except pynvml.NVMLError as error:
            raise OSError(str(error)) from error

    return read

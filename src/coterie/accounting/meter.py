"""The joules and the money of steps, and the energy counters of the processor (RAPL) and of graphics cards (NVML).

Energy always carries its kind. `measured` comes from the processor's own counter, divided by CPU time:
the sum is exact for the machine, and each part is as exact as CPU time. Without a counter the energy is CPU-seconds
times the configured watts, and `estimated`. A remote model's energy is `estimated` too. A step that an engine measured
itself is left unchanged: a step of a server on this machine's graphics cards.

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

import json
import math
import os
import re
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from decimal import Context, Decimal
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Self

from coterie.config.file import Model, RemoteModel
from coterie.config.operation import AccountingSection, McpSection
from coterie.config.section import span_ends
from coterie.runtime.codec import replace
from coterie.runtime.cpu import CPU, CpuShare, SharedTime
from coterie.types import Bill, Prompt, Request, Step, Usage, total_usage

# --- A lower bound of a text's tokens without a tokenizer.


@cache
def _pieces() -> re.Pattern[str]:
    marks = "".join(
        mark for mark in map(chr, range(0xFFFF)) if unicodedata.category(mark) in {"Mn", "Mc", "Me"}
    )  # vowel signs and accents: inside a word
    # A word takes what stands before it and its short end.
    letter = rf"(?:[^\W\d_]|[{marks}])"
    word = rf"(?:[^\r\n\w]|_)?{letter}+(?:['\u2019](?:[sdmt]|ll|ve|re))?"
    return re.compile(rf"{word}|\d{{1,3}}|\ ?(?:[^\s\w]|_)+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+", re.IGNORECASE)


def fewest_tokens(text: str) -> int:
    """Return a lower bound of a text's tokens: 1 to 10% below the real number for English, far below for other text.

    Measured against both vocabularies (`docs/history/log.md`, 2026-11-25). Four characters a token, the usual rule of
    thumb, gives 8 to 24% too many tokens for the same English texts.
    """
    return sum(1 for _ in _pieces().finditer(text))


# --- Metering.

JOULES_PER_TOKEN = 1.0
"""Energy per token of a remote model of which neither the size nor `joules_per_token` is given.

The upper end of what is published for a served model: Llama 3.1 405B on H100s takes 757 J a chat response in the
ML.ENERGY benchmark (Chung et al., 2025, arXiv:2505.06371), whose third edition has a mean of 717 generated
tokens in text conversations; about 1.06 J a token. A small model takes far less (8B: 0.12 J a token at batch 64,
ml.energy's longitudinal analysis of Llama 3.1), an idle server more. Prompt tokens are cheaper than generated
ones and are counted alike, so a long prompt is over-estimated. Data-centre overhead is not included.
"""

FRAME_TOKENS = 16
"""The most tokens that a chat template adds around a text."""

_LONGEST_TOKEN = 16
"""Characters per token of the window that are counted at most, so that a long text takes milliseconds."""
_MILLION = Decimal(1_000_000)
_SECONDS_PER_HOUR = Decimal(3600)
_MONEY = Context(prec=18)
"""Decimal context of amounts: 18 significant digits are enough for any bill, and no price can overflow it."""


class CostMeter:
    """Puts joules and money on steps; implements `protocols.Meter`.

    Args:
        accounting: Watts and price of this machine.
        models: The `[models]` of the network: a step whose engine is an `openai` one of these is remote.
        generalist: The key of the model that answers are compared with, if there is one.
        servers: The `[mcp]` of the network, which have their own prices.
        package: The processor's energy counter; with None, the counter that `accounting` allows.
        clock: Seconds since the epoch, for prices with a date.
    """

    def __init__(
        self,
        accounting: AccountingSection,
        models: Mapping[str, Model],
        generalist: str | None,
        *,
        servers: Mapping[str, McpSection] = MappingProxyType({}),
        package: PackageMeter | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._watts = accounting.watts_per_core
        self._cpu_hour = accounting.cpu_hour(os.cpu_count() or 1)
        self._remote = {name: model for name, model in models.items() if isinstance(model, RemoteModel)}
        self._calls = {f"mcp:{name}": section for name, section in servers.items()}
        self._generalist = generalist if generalist in self._remote else None
        self._package, self._clock = package, clock

    def price(self, step: Step) -> Step:
        """Return the step with joules and money.

        A step in this process: CPU-seconds times the processor's watts, and the price of a core. A remote step: by
        the model's size or its joules per token, and by the model's prices of today, since the remote machine cannot
        be observed. Money is None when a price is not set.
        """
        if (server := self._calls.get(step.engine)) is not None:
            made = step.usage.tokens_out
            cost = None if server.price_per_call is None else _MONEY.multiply(Decimal(made), server.price_per_call)
            return replace(step, usage=replace(step.usage, joules=made * server.joules_per_call, cost=cost))
        remote = self._remote.get(step.engine)
        if remote is None:
            usage = self._here(step.usage)
        else:
            usage = replace(_there(step.usage, remote), cost=self._token_money(remote, step.usage))
        return replace(step, usage=usage)

    def counterfactual(
        self, request: Request, answered: str, steps: Sequence[Step] = (), *, named: str = ""
    ) -> Decimal | None:
        """Return what the requested model, or else the generalist, would have cost; None without a model or its prices.

        If that model was called, its own tokens count. Otherwise the amount is a lower bound: the request's text,
        columns, document and history, and the answer, in the fewest tokens that they can have. A real prompt contains
        more (instructions, the labels to choose from, the session's memory), so the true amount is higher and the
        saving is not overstated.
        """
        alone = named if named in self._remote else self._generalist
        if alone is None:
            return None
        model = self._remote[alone]
        tries = (step.usage for step in steps if step.engine == alone)
        tries_answered = [usage for usage in tries if usage.tokens_in or usage.tokens_out]  # not those that failed
        if tries_answered:
            amounts = [self._token_money(model, usage) for usage in tries_answered]
            return max((amount for amount in amounts if amount is not None), default=None)
        return self._token_money(model, _least(request, answered, model.window))

    def _here(self, usage: Usage) -> Usage:
        cost = self._cpu_money(usage.cpu_seconds)
        if usage.joules_kind == "measured":
            return replace(usage, cost=cost)
        measured = None if self._package is None else self._package.joules_per_cpu_second()
        if measured is None:
            return replace(usage, joules=float(usage.cpu_seconds * self._watts), cost=cost)
        return replace(usage, joules=float(usage.cpu_seconds * measured), joules_kind="measured", cost=cost)

    def _token_money(self, model: RemoteModel, usage: Usage) -> Decimal | None:
        prices = model.prices_at(self._clock())
        return token_money(
            Decimal(usage.tokens_in),
            Decimal(usage.tokens_out),
            price_in=prices.tokens_in,
            price_out=prices.tokens_out,
            cached=Decimal(usage.tokens_cached),
            price_cached=prices.cached,
        )

    def _cpu_money(self, cpu_seconds: float) -> Decimal | None:
        if self._cpu_hour is None:
            return None
        return _MONEY.multiply(_MONEY.divide(Decimal(str(cpu_seconds)), _SECONDS_PER_HOUR), self._cpu_hour)


def _there(usage: Usage, model: RemoteModel) -> Usage:
    if usage.joules_kind == "measured":
        return usage
    by_size = remote_joules(model, usage.tokens_out, usage.milliseconds)
    if by_size is not None:
        return replace(usage, joules=by_size.likely, joules_low=by_size.low, joules_high=by_size.high)
    joules_per_token = JOULES_PER_TOKEN if model.joules_per_token is None else model.joules_per_token
    return replace(usage, joules=float((usage.tokens_in + usage.tokens_out) * joules_per_token))


def _least(request: Request, answered: str, window: int) -> Usage:
    """Return the fewest tokens in which a request can be asked and answered; texts count as far as they fit."""
    columns = json.dumps(dict(request.columns), ensure_ascii=False, default=str) if request.columns else ""
    document = request.document.text if request.document is not None else ""
    room = window * _LONGEST_TOKEN
    texts = (request.text, columns, document, *(turn.text for turn in request.history))
    tokens_in = 0
    for text in texts:
        if tokens_in < window:  # a long conversation is not counted on when it is full
            tokens_in += fewest_tokens(text[:room])
    return Usage(tokens_in=min(tokens_in, window), tokens_out=fewest_tokens(answered))


def most_read(prompt: Prompt) -> int:
    """Return the most tokens that a prompt can take: a token has at least one byte, and a template frames each text.

    A verbatim prompt takes no more tokens than its body has bytes: the JSON syntax around a text is longer than the
    frame.
    """
    if prompt.verbatim is not None:
        return len(prompt.verbatim) + FRAME_TOKENS
    texts = [text for text in (prompt.text, *(message.text for message in prompt.messages), *prompt.choices) if text]
    schema = len(str(prompt.json_schema)) if prompt.json_schema else 0
    schema += len(str(prompt.questions).encode("utf-8", "replace")) if prompt.questions else 0
    return sum(len(text.encode("utf-8", "replace")) + FRAME_TOKENS for text in texts) + schema


def token_money(
    tokens_in: Decimal,
    tokens_out: Decimal,
    *,
    price_in: Decimal | None,
    price_out: Decimal | None,
    cached: Decimal = Decimal(0),
    price_cached: Decimal | None = None,
) -> Decimal | None:
    """Return the money for tokens at prices per million tokens; None unless both prices are known.

    Args:
        tokens_in: Tokens of the prompt.
        tokens_out: Tokens of the answer.
        price_in: Price of a million prompt tokens.
        price_out: Price of a million answer tokens.
        cached: The tokens of `tokens_in` that the server had cached.
        price_cached: Price of a million cached tokens; with None they cost as much as the others, the upper bound.
    """
    if price_in is None or price_out is None:
        return None
    read = tokens_in
    amount = _MONEY.multiply(tokens_out, price_out)
    if price_cached is not None:
        read -= cached
        amount = _MONEY.add(amount, _MONEY.multiply(cached, price_cached))
    return _MONEY.divide(_MONEY.add(amount, _MONEY.multiply(read, price_in)), _MILLION)


def priced_bill(meter: CostMeter, producer: str, bill: Bill, models: Mapping[str, Model]) -> Usage | None:
    """Return what calls of remote models took, with joules and money; None if there was none.

    What a model in this process took is in the CPU time of the process.
    """
    remote = [(engine, usage) for engine, usage in bill if isinstance(models.get(engine), RemoteModel)]
    usages = [meter.price(Step(producer=producer, engine=engine, usage=usage)).usage for engine, usage in remote]
    return total_usage(usages) if usages else None


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

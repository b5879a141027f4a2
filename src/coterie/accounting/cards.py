"""Energy counters of this machine's graphics cards (NVML), shared out among the calls that ran meanwhile.

A model server on this machine has its cards to itself, and what it does for whom cannot be seen from outside. So
between two moments at which a call begins or ends, what a card took is shared equally by the calls at work; what it
takes while there is none is nobody's. The sum over calls is what the counters say of the time in which there were any.

The counter is NVML's total energy since the driver was loaded, in millijoules (Volta and later). A card without one
gives no figure.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from typing import Self

Counter = Callable[[], float]
"""Joules that a card has taken since some moment. Raises OSError where it cannot say."""


class CardCall:
    """What a call has taken so far of one card."""

    def __init__(self) -> None:
        self.joules: float | None = 0.0


class CardMeter:
    """Shares out one card's energy. Safe to use from several threads.

    Args:
        read: The card's counter.
    """

    def __init__(self, read: Counter) -> None:
        self._read, self._lock = read, threading.Lock()
        self._at_work: list[CardCall] = []
        self._last: float | None = None

    @contextmanager
    def call(self) -> Iterator[CardCall]:
        """Something runs on the card for as long as the block lasts; `joules` is right once it has ended."""
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
        """Give what was taken since the last time to those at work; where it is not known, nothing is known of them."""
        try:
            now: float | None = self._read()
        except OSError:
            now = None
        last, self._last = self._last, now
        for each in self._at_work:
            if now is None or last is None or now < last or each.joules is None:
                each.joules = None
            else:
                each.joules += (now - last) / len(self._at_work)


class CallEnergy:
    """The joules of one call over all its cards."""

    def __init__(self, meters: Sequence[CardMeter]) -> None:
        self._stack = ExitStack() if meters else None
        self._calls = [] if self._stack is None else [self._stack.enter_context(meter.call()) for meter in meters]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> float | None:
        """Joules from the beginning until now, and the call is over; None where a card does not say."""
        if self._stack is not None:
            self._stack.close()
        parts = [call.joules for call in self._calls]
        return None if not parts or None in parts else float(sum(part for part in parts if part is not None))


class Cards:
    """The cards that one model runs on.

    Args:
        meters: One a card. Models that share a card share its meter.
    """

    def __init__(self, meters: Sequence[CardMeter]) -> None:
        self._meters = meters

    def call(self) -> CallEnergy:
        """A call of the model for as long as the block lasts, or until its energy is asked for."""
        return CallEnergy(self._meters)


def open_cards(numbers: Sequence[int]) -> Cards | None:
    """The cards of these numbers, as `nvidia-smi` has them; None if one of them has no counter that can be read."""
    meters = [_meter(number) for number in numbers]
    found = [meter for meter in meters if meter is not None]
    return Cards(found) if found and len(found) == len(meters) else None


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
    """The counter of a card; None without NVML (the extra `gpu` and NVIDIA's driver) or without the card."""
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

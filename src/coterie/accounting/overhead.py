"""What answering takes beside the steps: routing's own work, context, JSON, HTTP, writing down. A row of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from coterie.runtime.cpu import CPU, CpuShare, SharedTime
from coterie.types import Step, Usage

OVERHEAD = "network"
"""Producer of the row; its engine is `python`."""


class ProcessOverhead:
    """Splits the CPU time that no step claims evenly among the requests at work at the time.

    A request's row is made before it is written down, so what writing it takes is added to the next row. What the
    process does while no request is at work (opening, training, waiting) is nobody's.

    Args:
        rest: CPU-seconds of this process that no step claims, up to now.
    """

    def __init__(self, rest: Callable[[], float] = CPU.rest) -> None:
        self._shared = SharedTime(None, cpu=rest)
        self._owed = 0.0

    @contextmanager
    def attend(self) -> Iterator[RequestAttendance]:
        """A request is at work inside."""
        attendance = RequestAttendance(self)
        try:
            with self._shared.share() as attendance.share:
                yield attendance
        finally:
            self._owed += attendance.share.seconds - attendance.told

    def take(self) -> float:
        """What is owed of requests whose rows were made."""
        owed, self._owed = self._owed, 0.0
        return owed


class RequestAttendance:
    """One request's part in the overhead."""

    share: CpuShare

    def __init__(self, overhead: ProcessOverhead) -> None:
        self._overhead = overhead
        self.told = 0.0
        """CPU-seconds that stand in its row."""

    def step(self) -> Step:
        """Its row, made when the request is settled."""
        owed = self._overhead.take()
        so_far = self.share.so_far()
        seconds = max(so_far + owed, 0.0)
        self.told = seconds - owed
        return Step(producer=OVERHEAD, engine="python", usage=Usage(cpu_seconds=seconds))

"""Progress reports of long work."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives progress from the thread that trains; the command line shows a bar.

    One piece of work at a time: `start`, any number of `advance`, `finish`.
    """

    def start(self, what: str, total: int | None) -> None:
        """Begin work of `total` units; None if the number is not known."""
        ...

    def advance(self, n: int) -> None:
        """Report `n` more finished units."""
        ...

    def finish(self, note: str) -> None:
        """End the work that was started last."""
        ...


class Silent:
    """A progress that shows nothing."""

    def start(self, what: str, total: int | None) -> None:
        """Do nothing."""

    def advance(self, n: int) -> None:
        """Do nothing."""

    def finish(self, note: str) -> None:
        """Do nothing."""

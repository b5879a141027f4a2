"""How long work tells how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Shown by the command line as a bar; called from the thread that trains.

    One piece of work at a time: `start`, any number of `advance`, `finish`.
    """

    def start(self, what: str, total: int | None) -> None:
        """Work of `total` units begins; None when the number is not known."""
        ...

    def advance(self, n: int) -> None:
        """`n` more units are done."""
        ...

    def finish(self, note: str) -> None:
        """The work that was started last is done."""
        ...


class Silent:
    """Shows nothing."""

    def start(self, what: str, total: int | None) -> None:
        """Nothing."""

    def advance(self, n: int) -> None:
        """Nothing."""

    def finish(self, note: str) -> None:
        """Nothing."""

"""What reads the turns of a conversation, as the stage `rewrite` knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from coterie.types import Output

if TYPE_CHECKING:
    import numpy as np


class TurnModel(Protocol):
    """Tells follow-ups from what stands alone, by the encoder's outputs. Called before a request is routed."""

    @property
    def languages(self) -> frozenset[str]:
        """Those that it knows; turns in others are left as they are."""
        ...

    @property
    def least_leaning(self) -> float:
        """Probability from which a turn leans on an earlier one."""
        ...

    def leans(self, now: Output, last: Output) -> float:
        """Return how probable it is that a turn leans on the question before it."""
        ...

    def talk(self, vectors: np.ndarray) -> np.ndarray:
        """Return log-odds that texts are greetings, thanks or chat: vectors (N, D) -> (N,). Above 0 they are."""
        ...

    def missing(self, question: str, output: Output, now: Output, text: str) -> tuple[list[str], list[float]]:
        """Return the words of an earlier question, with the log-odds that a turn that leans on it lacks them."""
        ...

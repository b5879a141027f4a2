"""Which specialists are asked: cards, parts of a request, routes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coterie.types.context import AnswerForm, TaskKind
from coterie.types.finding import Step
from coterie.types.label import Label
from coterie.types.request import Rung

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class SpecialistCard:
    """What the rest of the network knows of a specialist without asking it anything."""

    name: str
    task: TaskKind
    description: str
    rung: Rung
    version: str
    """Content hash of its registry version, or the checksum of the model it prompts."""
    reads: tuple[str, ...] = ()
    """Names of the facts it needs (it runs after whoever writes them); `messages` is the conversation,
    `findings` what was found in earlier turns, with the passages that were cited."""
    writes: tuple[str, ...] = ()
    """Names of the facts it may add."""
    columns: tuple[str, ...] = ()
    """Columns of structured input it was trained on."""
    form: AnswerForm = "text"
    """What its values are; each of its findings gets it."""
    guards_columns: bool = False
    """What it does not read of structured input, such as a protected attribute, nobody in its place gets."""
    knowledge: tuple[str, ...] = ()
    """`[knowledge]` keys of the shelves it reads: passages found there are in its view."""
    passages: int = 8
    """So many passages of each shelf are looked up for it, at most."""
    clearance: Label = Label.RESTRICTED
    """The most sensitive label it may see in clear."""
    pseudonymised: bool = False
    """Personal data reaches it under pseudonyms only, so what is above its clearance for that alone may be shown."""
    view_tokens: int | None = None
    """What it is shown is packed into so many tokens; None for no limit."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One self-contained piece of a request and who is asked about it."""

    text: str
    waves: tuple[tuple[str, ...], ...]
    """Specialists in the order they run: those of one wave side by side, each wave after the last."""
    score: float
    """The router's score for the first specialist, 0 to 1."""
    vector: np.ndarray | None = field(default=None, compare=False, repr=False)  # (D,)
    truncated: bool = False
    """`vector` is of the beginning only: the text is longer than the encoder's window."""
    after: tuple[int, ...] = ()
    """Positions of the parts whose facts it reads: it is worked on when these are done."""

    @property
    def specialists(self) -> tuple[str, ...]:
        """Every specialist of the part, in order."""
        return tuple(name for wave in self.waves for name in wave)


@dataclass(frozen=True, kw_only=True)
class Route:
    """Whom the router asks, or nobody, and why."""

    parts: tuple[Part, ...]
    reason: str
    scores: Mapping[str, float] = field(default_factory=dict)
    """The whole request's score for each specialist it was compared with, 0 to 1."""
    steps: tuple[Step, ...] = ()

    @property
    def specialists(self) -> tuple[str, ...]:
        """Every specialist asked, in order, each once."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.specialists))

"""Routing: cards of specialists, parts of a request, and routes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coterie.types.context import AnswerForm, TaskKind
from coterie.types.decision import Option
from coterie.types.finding import Step
from coterie.types.keys import stored
from coterie.types.label import Label
from coterie.types.reason import Reason
from coterie.types.request import Rung

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class SpecialistCard:
    """The description of a specialist: what the network knows without asking it."""

    name: str
    task: TaskKind
    description: str
    rung: Rung
    version: str
    """Content hash of the version in the registry, or the checksum of the prompted model."""
    reads: tuple[str, ...] = ()
    """Names of the facts that it reads; it runs after the specialists that write them. `messages` is the conversation,
    `findings` the findings of earlier turns with the cited passages."""
    writes: tuple[str, ...] = ()
    """Names of the facts that it may write."""
    columns: tuple[str, ...] = ()
    """Columns of structured input that it was trained on."""
    many_labels: bool = False
    """Whether its value is a list of labels."""
    fields: tuple[tuple[str, str], ...] = ()
    """Name and type of each field that it finds; a type with `*` may have several values."""
    form: AnswerForm = "text"
    """Form of its values; each of its findings gets it."""
    options: tuple[Option, ...] = ()
    """Labels of which exactly one is right, with their descriptions; empty if its values are of another kind."""
    guards_columns: bool = False
    """Whether columns that it does not read, such as protected attributes, are hidden from the generalist too."""
    makes_calls: bool = False
    """Whether its findings are calls of functions, which its options name."""
    looks_up: bool = False
    """Whether its documents, not examples, define its subject: it abstains by what it finds there."""
    knowledge: tuple[str, ...] = ()
    """`[knowledge]` keys of the indexes that it reads; passages found there are in its view."""
    passages: int = 8
    """Largest number of passages of each index."""
    clearance: Label = Label.RESTRICTED
    """The most sensitive label that it may see in clear."""
    pseudonymised: bool = False
    """Whether its prompts leave under pseudonyms. It may then see what exceeds its clearance by personal data alone."""
    view_tokens: int | None = None
    """Token budget of its view; None for no limit."""
    labels: tuple[str, ...] = ()
    """Every label that it can name; empty where its values are not labels."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One self-contained part of a request, with the specialists to ask."""

    text: str
    stages: tuple[tuple[str, ...], ...] = field(metadata=stored(aliases=("waves",)))
    """Names of specialists by stage: those of one stage run in parallel, each stage after the one before."""
    score: float
    """Score of the first specialist, 0 to 1."""
    vector: np.ndarray | None = field(default=None, compare=False, repr=False)  # (D,)
    truncated: bool = False
    """Whether `vector` encodes only the beginning, because the text exceeds the encoder's window."""
    after: tuple[int, ...] = ()
    """Positions of the parts whose facts this part reads; it waits for them."""
    otherwise: tuple[tuple[str, ...], ...] = ()
    """Stages of the second-best specialist: consulted where those of `stages` abstain."""
    further: tuple[str, ...] = ()
    """Further specialists with documents that may fit: consulted one after the other where those before abstain."""

    @property
    def specialists(self) -> tuple[str, ...]:
        """Names of all specialists of the part, in order."""
        return tuple(name for stage in self.stages for name in stage)


@dataclass(frozen=True, kw_only=True)
class Route:
    """The routing decision: parts with their specialists, or no part, and the reason."""

    parts: tuple[Part, ...]
    reason: Reason
    scores: Mapping[str, float] = field(default_factory=dict)
    """Score of the whole request for each compared specialist, 0 to 1."""
    steps: tuple[Step, ...] = ()

    @property
    def specialists(self) -> tuple[str, ...]:
        """Names of all specialists to ask, in order, each once."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.specialists))

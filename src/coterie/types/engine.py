"""What an engine is given and gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from coterie.types.context import Message
from coterie.types.finding import Verdict
from coterie.types.label import Label
from coterie.types.request import Columns
from coterie.types.trace import Failure
from coterie.types.usage import Usage

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompt:
    """One input of an engine. Encoders and linear heads read `text`; generative engines read `messages`.

    A generative engine that is given `choices` reads `text` as it stands, without a chat template.
    """

    text: str = ""
    columns: Columns | None = None
    vector: np.ndarray | None = None  # (D,)
    messages: tuple[Message, ...] = ()
    label: Label = Label.INTERNAL
    """Sensitivity of everything in it: what the egress gate looks at."""
    impersonal: Label | None = None
    """What the label would be without the personal data in it; None for the same."""
    json_schema: Mapping[str, object] | None = None
    """Generated text is constrained to it."""
    grammar: str | None = None
    """Generated text is constrained to this GBNF grammar; for engines of the kind `llama` only."""
    adapter: str | None = None
    """Name of a LoRA adapter that the engine holds; None is the base model. For engines of the kind `llama` only."""
    choices: tuple[str, ...] = ()
    """Continuations of `text`, each with the end of the turn behind it, that are scored; nothing is generated."""
    max_tokens: int = 256
    temperature: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int = 0
    logprobs: bool = False
    """Ask how likely the text is, where the engine can say it."""
    patience: float | None = None
    """Seconds that the waits before further tries may take together, such as a server asks for. None: 20 for each."""
    states: bool = False
    """Ask an encoder for the tokens' states beside the vector; one that has none leaves them out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Output:
    """One result of an engine; which field is set depends on the engine's kind."""

    text: str = ""
    vector: np.ndarray | None = None  # (D,)
    scores: np.ndarray | None = None  # (L,) logits, one a label of the head; log-likelihoods, one a choice
    """Of a tagger (T, L), a row a token."""
    offsets: np.ndarray | None = None  # (T, 2)
    """Of a tagger, or beside `states`: where in the text each token begins and ends, in characters."""
    states: np.ndarray | None = None  # (T, D)
    """Of an encoder that was asked for them: each token as the last layer sees it among the others."""
    contributions: Mapping[str, float] = field(default_factory=dict)
    """What each column added to the log-odds, for heads that can say so exactly."""
    finish: Literal["stop", "length", "aborted"] = "stop"
    usage: Usage = field(default_factory=Usage)
    logprob: float | None = None
    """Natural logarithm of the text's probability, where it was asked for and the engine says it."""
    logprobs: tuple[tuple[str, float], ...] = ()
    """The same by piece of the text, for engines of the kind `llama` only."""
    verdict: Verdict | None = None
    """The egress gate's, when the engine is a remote one."""
    failures: tuple[Failure, ...] = ()
    """The tries before the one that gave this."""

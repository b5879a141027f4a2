"""The input and the output of an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from coterie.types.context import Message
from coterie.types.decision import Question
from coterie.types.finding import Verdict
from coterie.types.label import Label
from coterie.types.request import Columns, Sampling
from coterie.types.usage import Usage

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompt:
    """One input of an engine. Encoders and linear heads read `text`; generative engines read `messages`.

    With `choices`, a generative engine reads `text` verbatim, without a chat template, and scores instead of writing.
    """

    text: str = ""
    columns: Columns | None = None
    vector: np.ndarray | None = None  # (D,)
    messages: tuple[Message, ...] = ()
    label: Label = Label.INTERNAL
    """Sensitivity of the whole prompt; the egress gate compares it with the engine's clearance."""
    label_without_pii: Label | None = None
    """The label without the personal data in the prompt; None if it is the same."""
    json_schema: Mapping[str, object] | None = None
    """JSON Schema to which generated text is constrained."""
    grammar: str | None = None
    """GBNF grammar to which generated text is constrained; for engines of the kind `llama` only."""
    adapter: str | None = None
    """Name of a LoRA adapter that the engine holds; None for the base model. For engines of the kind `llama` only."""
    questions: tuple[Question, ...] = ()
    """Typed questions about the last message, for engines of decision models: their output has `scores` (Q, L)."""
    choices: tuple[str, ...] = ()
    """Continuations of `text` that are scored, each followed by the end of the turn; nothing is generated."""
    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int = 0
    logprobs: bool = False
    """Request the log-probability of the text; engines that have none leave it out."""
    patience: float | None = None
    """Longest total of the waits before retries (`Retry-After`), in seconds; None for 20 seconds per wait."""
    verbatim: bytes | None = None
    """A request in the server's own format, to be sent unchanged.

    `messages` then hold every text in it, for the gate and the limits.
    """
    unbounded: int = 0
    """Number of answers that a verbatim request asks for without a length limit; 0 where it has one."""
    states: bool = False
    """Request the states of the tokens from an encoder; encoders that have none leave them out."""

    def sampled(self, sampling: Sampling) -> Prompt:
        """Return the prompt with these sampling settings in place of its own."""
        return replace(self, **{key: value for key, value in vars(sampling).items() if value not in (None, ())})


@dataclass(frozen=True, kw_only=True)
class RelayHead:
    """The beginning of a relayed answer: what its server sent before the body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    """The whole body, where it has already arrived; otherwise pieces of it follow."""
    egress: str = ""
    """What left for the answer (`Trace.egress_summary`); `EGRESS_IN_STREAM` until the body is complete."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A failed attempt of an engine, with its usage as far as it is known."""

    reason: str
    usage: Usage = field(default_factory=Usage)
    turned_away: bool = False
    """Whether the provider refused the call before any work, so that it is not billed."""
    sent: bool = True
    """Whether any of it may have left this machine."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Output:
    """One result of an engine. The kind of engine decides which fields are set."""

    text: str = ""
    vector: np.ndarray | None = None  # (D,)
    scores: np.ndarray | None = None  # (L,) logits, one a label of the head; log-likelihoods, one a choice
    """A tagger returns (T, L), a row a token; a decision model (Q, L), log-probabilities of each question's options."""
    offsets: np.ndarray | None = None  # (T, 2)
    """Begin and end of each token in characters; set by taggers, and with `states`."""
    states: np.ndarray | None = None  # (T, D)
    """Hidden states of the last layer, a row a token; set by an encoder on request."""
    contributions: Mapping[str, float] = field(default_factory=dict)
    """Contribution of each column to the log-odds; set by heads that compute it exactly."""
    finish: Literal["stop", "length", "aborted"] = "stop"
    usage: Usage = field(default_factory=Usage)
    logprob: float | None = None
    """Natural logarithm of the text's probability, if it was requested and the engine has it."""
    logprobs: tuple[tuple[str, float], ...] = ()
    """Log-probability of each piece of the text; for engines of the kind `llama` only."""
    verdict: Verdict | None = None
    """Decision of the egress gate, if the engine is remote."""
    failures: tuple[Failure, ...] = ()
    """Failed attempts before this result."""

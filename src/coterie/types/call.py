"""A call: on whose behalf it is made, the prompt and the output of an engine, and what leaves this machine for it.

`CallContext` holds the principal, the pseudonyms of the session, the limits of the request, and the lists into which
the egress gate writes its decisions and engines write their usage. No context variable and no global holds any of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from operator import add, sub
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from coterie.types.context import Message
from coterie.types.finding import Question, Verdict
from coterie.types.label import Label
from coterie.types.request import Columns, ReleaseSlot, Sampling
from coterie.types.usage import Usage

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class Principal:
    """The tenant and key that a request belongs to and is charged to. The default is the operator of this process."""

    tenant: str = "default"
    key: str = ""
    """Id of the API key of the request; empty without one."""
    clearance: Label = Label.RESTRICTED
    """The most sensitive label that the principal may see."""


@dataclass(frozen=True, kw_only=True)
class PseudonymValue:
    """A personal value and the pseudonym that replaces it."""

    kind: str
    number: int
    text: str
    """The value as it was first written."""
    label: Label
    """Label of the least sensitive text that contains the value. A principal cleared for it may see the value."""
    form: int = 0
    """Number of the spelling: 0 for the first, 2 and higher for others of the same `number`."""

    @property
    def name(self) -> tuple[str, int, int]:
        """The key of the value: kind, number, form."""
        return self.kind, self.number, self.form

    @property
    def pseudonym(self) -> str:
        """The replacement text: `<PERSON_1>`, or `<PERSON_1_2>` for another spelling."""
        return f"<{self.kind}_{self.number}{f'_{self.form}' if self.form else ''}>"


class Pseudonyms(Protocol):
    """The pseudonyms of one session. Only the egress gate reads them and adds to them, from several threads."""

    def of(self, kind: str, text: str, label: Label) -> PseudonymValue:
        """Return the value with its pseudonym; a value that has none gets the next number."""
        ...

    def near(self, text: str) -> Sequence[PseudonymValue]:
        """Return the values that may occur in a text, given in lower case."""
        ...

    def kinds(self) -> Collection[str]:
        """Return the kinds of all values."""
        ...


class SentTexts(Protocol):
    """The texts that the principal wrote in this session: their values are known to the principal."""

    def has(self, value: str) -> bool:
        """Return whether the texts contain the value, in any spelling."""
        ...

    def found(self, detector: object, text: str) -> tuple[Any, ...] | None:
        """Return the findings of a detector that has searched this very text; None if it has not."""
        ...


class Amount(NamedTuple):
    """An amount that is reserved or was spent under a limit, in integers, so that sums are exact."""

    tokens: int = 0
    nano: int = 0
    """Money, in billionths of the currency's unit."""
    micro: int = 0
    """Energy, in millionths of a joule."""
    requests: int = 0

    def __add__(self, other: Amount) -> Amount:  # type: ignore[override]  # of amounts, as no tuples are added
        return Amount(*map(add, self, other))

    def __sub__(self, other: Amount) -> Amount:
        return Amount(*map(sub, self, other))

    def __mul__(self, times: int) -> Amount:  # type: ignore[override]
        return Amount(*[amount * times for amount in self])


class Allowance(Protocol):
    """A limit that is kept in memory, such as that of one request. The egress gate reserves there before each call."""

    @property
    def limits_money(self) -> bool:
        """Whether money is limited: a model with an unknown price must then not be used."""
        ...

    @property
    def room(self) -> Amount:
        """Tokens and money that are neither spent nor reserved; a very large number where there is no limit."""
        ...

    def reserve(self, amount: Amount, engine: str) -> None:
        """Reserve an amount for a call of an engine. Raises `BudgetExceeded` if not enough is left."""
        ...

    def settle(self, reserved: Amount, took: Amount) -> None:
        """Replace a reserved amount by the amount that the call took."""
        ...


BeforeRetry = Callable[["Prompt"], Awaitable[None]]
"""Awaited before a prompt is tried again, to reserve the cost of the retry."""


Bill = list[tuple[str, Usage]]
"""Usage by name of the engine, for calls whose result has no field for it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CallContext:
    """On whose behalf an engine, a specialist or an index is called.

    The admission makes one for each request. The value is frozen; its lists are shared by all contexts derived from it.
    `SYSTEM`, the default, is the operator of this process: it may see everything and records nothing.
    """

    principal: Principal = field(default_factory=Principal)
    sent: SentTexts | None = None
    """The texts that the principal wrote; None if they are not known."""
    released: bool = False
    """Whether personal data in the principal's own texts was released: the egress gate then ignores it."""
    pseudonyms: Pseudonyms | None = None
    """The pseudonyms of the session; None for new ones in each prompt."""
    egress: list[Verdict] | None = None
    """List to which the egress gate appends each decision, also if the call fails; None records none."""
    outgoing: dict[str, Egress] | None = None
    """What left for this request, by id, written by the egress gate; None where the request is not settled."""
    trace: str = ""
    """Id of the request's trace; empty without one."""
    bill: Bill | None = None
    """List to which engines append usage that no result carries; None records none."""
    limits: tuple[Allowance, ...] = ()
    """Limits of this request, in addition to the budgets of its principal."""
    release_slot: ReleaseSlot = nullcontext
    """Entered by the gate around each call of a remote model."""
    before_retry: BeforeRetry | None = None
    """Awaited by an engine before it retries a prompt that may have been billed. Set by the gate."""

    def decided(self, verdict: Verdict) -> None:
        """Record a decision of the egress gate."""
        if self.egress is not None:
            self.egress.append(verdict)

    def left(self, egress: Egress) -> None:
        """Record an egress, or its outcome."""
        if self.outgoing is not None:
            self.outgoing[egress.id] = egress

    def charge(self, engine: str, usage: Usage) -> None:
        """Record the usage of an engine."""
        if self.bill is not None:
            self.bill.append((engine, usage))

    def knows(self, value: PseudonymValue) -> bool:
        """Return whether the principal may see a value: by clearance, or because the principal wrote it."""
        return value.label <= self.principal.clearance or (self.sent is not None and self.sent.has(value.text))


SYSTEM = CallContext()
"""The operator of this process, as in training and on the command line."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompt:
    """One input of an engine. Encoders and linear heads read `text`; generative engines read `messages`.

    With `choices`, a generative engine reads `text` verbatim, without a chat template, and scores instead of writing.
    """

    text: str = ""
    columns: Columns | None = None
    vector: np.ndarray | None = None  # (D,)
    messages: tuple[Message, ...] = ()
    instruction: str = ""
    """Fixed text that a message begins with, up to the question: the egress gate searches the two one by one."""
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


NOT_SENT = "not_sent"
"""Outcome of an egress that was announced, but of which no byte left."""
EGRESS_IN_STREAM = "in-stream"
"""Placeholder in the head of a stream for a value that is not known yet.

It stands for the summary, or for a relayed answer's outcome.
"""


@dataclass(frozen=True, kw_only=True)
class Egress:
    """One prompt that leaves this machine, and its outcome. The egress gate makes it before the first byte."""

    id: str
    engine: str
    label: Label
    """Label of the text that leaves: with pseudonyms, the label without the personal data they replace."""
    rule: str
    """Rule of the verdict that allowed it."""
    pseudonymised: bool
    characters: int
    digest: str = ""
    """Keyed hash of the text; empty without an audit log."""
    outcome: str = NOT_SENT
    """`answered`, `cancelled`, `not_sent`, or the code of the error that ended the call."""
    text: str = ""
    """The text that left. It is content: stored only if content is kept, and shown on request only."""

    @property
    def sent(self) -> bool:
        """Whether any of it may have left."""
        return self.outcome != NOT_SENT


def summarise_egress(egress: Iterable[Egress]) -> str:
    """Return a summary of what left this machine, the same in every interface; `none` for nothing.

    For example `large;label=internal;pseudonymised=yes;outcome=answered;prompts=2`; several are separated by commas.
    """
    left = Counter((e.engine, e.label.value, e.pseudonymised, e.outcome) for e in egress if e.sent)
    described = (
        f"{engine};label={label};pseudonymised={'yes' if hidden else 'no'};outcome={outcome};prompts={many}"
        for (engine, label, hidden, outcome), many in left.items()
    )
    return ", ".join(described) or "none"


def note_egress(error: BaseException, egress: Mapping[str, Egress] | None, *, trace: str = "") -> None:
    """Note on an error what had left when it was raised, for the code that reports it to the caller.

    Args:
        error: The error.
        egress: What had left, by id.
        trace: Id of the request's trace; empty if none is kept.
    """
    error.__dict__ |= {"egress": summarise_egress((egress or {}).values()), "trace": trace}


def noted_trace(error: BaseException) -> str:
    """Return the id of the trace of a request that ended with an error; empty if none is kept."""
    return str(error.__dict__.get("trace", ""))


def noted_egress(error: BaseException) -> str:
    """Return what had left when an error was raised; `none` if it was raised before any prompt was sent."""
    return str(error.__dict__.get("egress", "none"))

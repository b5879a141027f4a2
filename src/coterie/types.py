"""The nouns of Coterie as plain values.

Everything that travels through a network is one of these: frozen, compared by content, free of
behaviour beyond small derived properties. Identity and time are given by whoever stores or
schedules them; no value here reads a clock, a file or the network.

What is known, the context, is in `_known.py`. Read the rest top to bottom in the order a request meets it:
`Request` -> `Route` -> `Task` + `ContextView` -> `Finding` -> `Answer`, with `Prompt` and `Output` at the engines
and `Usage`, `Verdict`, `Trace` beside every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

# Said again under their own names so that they may be imported from here.
from ._known import CONTENT_KINDS as CONTENT_KINDS  # noqa: PLC0414
from ._known import Content as Content  # noqa: PLC0414
from ._known import Context as Context  # noqa: PLC0414
from ._known import ContextView as ContextView  # noqa: PLC0414
from ._known import Entry as Entry  # noqa: PLC0414
from ._known import Fact as Fact  # noqa: PLC0414
from ._known import FindingSummary as FindingSummary  # noqa: PLC0414
from ._known import Message as Message  # noqa: PLC0414
from ._known import Omission as Omission  # noqa: PLC0414
from ._known import Passage as Passage  # noqa: PLC0414
from ._known import Retraction as Retraction  # noqa: PLC0414
from ._known import Scalar as Scalar  # noqa: PLC0414
from ._known import TaskKind as TaskKind  # noqa: PLC0414
from ._known import ViewRecord as ViewRecord  # noqa: PLC0414
from ._label import Label as Label  # noqa: PLC0414
from ._label import Labelled as Labelled  # noqa: PLC0414
from ._label import Release as Release  # noqa: PLC0414
from ._label import impersonal as impersonal  # noqa: PLC0414
from ._ledger import Grouping as Grouping  # noqa: PLC0414
from ._ledger import Ledger as Ledger  # noqa: PLC0414
from ._ledger import LedgerRow as LedgerRow  # noqa: PLC0414
from ._ledger import Training as Training  # noqa: PLC0414
from ._usage import Usage as Usage  # noqa: PLC0414
from ._usage import total_usage as total_usage  # noqa: PLC0414
from ._written import Account as Account  # noqa: PLC0414
from ._written import AuditEvent as AuditEvent  # noqa: PLC0414
from ._written import Feedback as Feedback  # noqa: PLC0414
from ._written import LedgerSummary as LedgerSummary  # noqa: PLC0414
from ._written import SessionSummary as SessionSummary  # noqa: PLC0414
from ._written import Settlement as Settlement  # noqa: PLC0414

if TYPE_CHECKING:
    import numpy as np

Columns = Mapping[str, Scalar]
"""One row of structured input, by column name."""

Rung = Literal["lexical", "embedding", "encoder", "slm", "llm", "chain"]
"""How much machinery a specialist uses, cheapest first; `chain` is several of them, each asked where the one before
is not sure."""


# --- What is asked -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Document:
    """A long text that a question is about. It is read in this process: at most quotes of it leave, if allowed."""

    text: str = ""
    name: str = "document"
    """By which citations refer to it."""
    label: Label | None = None
    """Sensitivity; None, or less than the request's, takes the request's."""
    impersonal: Label | None = None
    """What that would be without the personal data in it; None for the same."""
    shelf: str = ""
    """The `[knowledge]` key of the shelf that has the text and the label of the document of this name."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What somebody asks the network."""

    text: str
    columns: Columns | None = None
    """Structured input, such as an applicant's row; None when there is only text."""
    document: Document | None = None
    """What the text asks about, to be read from beginning to end; it skips the router."""
    history: tuple[Message, ...] = ()
    """Earlier turns that the caller sent along, oldest first, the present one excluded."""
    label: Label | None = None
    """Sensitivity; None takes the network's default. Personal data and secrets in what is asked raise it."""
    impersonal: Label | None = None
    """What it was before personal data raised it; None for the same. The network says so, not who asks."""
    release: Release | None = None
    """Lowers the label, in spite of personal data, for a reason. A door gives it only from who may."""
    clearance: Label | None = None
    """The most sensitive label the asker may see; None takes the network's default label."""
    session: str | None = None
    """Names a remembered conversation; None remembers nothing."""
    tenant: str = "default"
    key: str = ""
    """Id of the key that it came with; empty without one."""
    specialist: str | None = None
    """Asks this specialist and skips the router."""
    allowed: tuple[str, ...] = ()
    """The only specialists that may be asked, those that write facts for others included; empty for all."""
    max_tokens: int | None = None
    quality: float | None = None
    """Share of the generalist's quality to keep, 0 to 1; None takes the network's."""
    budget: Decimal | None = None
    """Money per 1,000 such requests, in place of a quality: this one may cost a thousandth of it."""


@dataclass(frozen=True, kw_only=True)
class Keep:
    """From which confidence a specialist's answer is kept, in place of its own threshold."""

    confidence: float | None
    """None keeps none."""
    reason: str
    """What that keeps."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """The part of a request that one specialist is asked to do."""

    text: str
    """What is asked; a question that leant on earlier turns stands on its own here."""
    asked: str = ""
    """The whole request in the asker's own words; empty where there is no other wording."""
    columns: Columns | None = None
    label: Label = Label.INTERNAL
    impersonal: Label | None = None
    """What the label would be without the personal data in it; None for the same."""
    clearance: Label = Label.INTERNAL
    """The most sensitive label the asker may see."""
    tenant: str = "default"
    max_tokens: int | None = None
    vector: np.ndarray | None = field(default=None, compare=False, repr=False)  # (D,)
    """The text's encoding when the router already made it: the network has one encoder, so it holds for all."""
    truncated: bool = False
    """`vector` is of the beginning only: the text is longer than the encoder's window."""
    keep: Keep | None = None
    """What the dial says for the specialist that is asked; None where its own threshold counts."""


# --- Who answers: routes and specialists ---------------------------------------------------------


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


# --- What comes back -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Why a finding says what it says: a reason code, a label's score or a cited quote."""

    kind: Literal["reason", "alternative", "quote"]
    name: str
    """The column of a reason, the label of an alternative, the document of a quote or the field that it states."""
    text: str
    """The same in words."""
    weight: float = 0.0
    """Contribution to the log-odds of a reason, probability of an alternative, 0 for a quote."""
    start: int | None = None
    """Of a quote: its place in the task's text, or in the document, so that `text[start:end]` is the quote."""
    end: int | None = None


@dataclass(frozen=True, kw_only=True)
class Field:
    """One value of one field that was looked for in a text, with the words it stands in, or that it is not stated."""

    name: str
    value: Scalar
    """In its type's form (`2024-05-31`, `P30D`); None if it is not stated, or its words have no such form."""
    text: str
    """The quote, word for word; empty if the field is not stated."""
    start: int | None
    end: int | None
    """`start` and `end`: the quote's place in the task's text, in characters; None if the field is not stated."""
    confidence: float
    """Calibrated probability that this is right: the quote, or that there is none."""
    accepted: bool
    reason: str

    @property
    def stated(self) -> bool:
        """Whether the text says something about it."""
        return self.start is not None


@dataclass(frozen=True, kw_only=True)
class Citation:
    """Words of a document that support an answer, and where they stand."""

    document: str
    start: int
    end: int
    """`start` and `end`: characters of the document's text, so that `text[start:end]` of it is the quote."""
    text: str
    """The quote, word for word."""
    label: Label
    shelf: str = ""
    heading: str = ""
    page: int | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call of an engine by one specialist (or the router): a row of the ledger."""

    producer: str
    engine: str
    usage: Usage
    note: str = ""
    """How it came to be asked, or why it gave nothing: a fallback, a hedge, a failed try, a rung that was not sure."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One specialist's result. It answers (`accepted`) or abstains, and says why in words."""

    specialist: str
    value: Scalar | tuple[str, ...]
    """The label or labels, the probability, or the text; kept also when abstaining, None if there is none."""
    text: str  # the value as a person would read it
    confidence: float
    """Calibrated probability that the value is right, 0 to 1."""
    accepted: bool
    reason: str
    in_scope: float | None = None
    """Higher is more like what the specialist was trained on; None when it has no such score."""
    label: Label = Label.INTERNAL
    impersonal: Label | None = None
    """What the label would be without the personal data in what it was made of; None for the same."""
    task: TaskKind | None = None
    """What made the value, and so whether its strings are labels or free text; None counts as free text."""
    evidence: tuple[Evidence, ...] = ()
    fields: tuple[Field, ...] = ()
    """What an `extract` specialist looked for, in the order of its fields; each of several values is an entry."""
    citations: tuple[Citation, ...] = ()
    """What an `answer` specialist's text rests on, in the order of the text."""
    facts: tuple[Fact, ...] = ()
    """Written into the context when the finding is accepted."""
    retracts: tuple[str, ...] = ()
    """Names of facts that it wrote in earlier turns and takes back, whether or not the finding is accepted."""
    steps: tuple[Step, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    """Every crossing of the egress gate that was tried for it, allowed or not."""
    truncated: bool = False
    """Only the beginning of the text was read, by one model at least: it is longer than that one's window."""
    broken: bool = False
    """The text broke off when part of it had been shown already; its end says so."""
    cut: bool = False
    """The text ends where it might be no longer (`max_tokens`), not where its model had ended it."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A governance decision and its reason. Every such decision is one."""

    allowed: bool
    rule: str
    """Stable name of the rule that decided, such as `egress.clearance`."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Data about to go somewhere: what a policy judges."""

    destination: str
    label: Label
    clearance: Label


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a request's life as it happened."""

    name: str
    milliseconds: float
    note: str = ""
    after: float = 0.0
    """Milliseconds from the request's coming in to the stage's beginning."""


Status = Literal["accepted", "abstained", "escalated"]
"""How a request ended: answered here, answered by nobody, or answered by the generalist."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One request's whole life."""

    id: str
    time: float
    """When it was admitted, seconds since the epoch."""
    tenant: str
    session: str | None
    label: Label
    status: Status
    route: Route
    findings: tuple[Finding, ...]
    views: tuple[ViewRecord, ...]
    verdicts: tuple[Verdict, ...]
    stages: tuple[Stage, ...]
    steps: tuple[Step, ...]
    usage: Usage
    """Sum of the steps, with `milliseconds` the time the asker waited."""
    counterfactual_cost: Decimal | None
    """What the configured generalist would have cost; None when there is none or its price is unknown."""
    restated: str = ""
    """What was asked, standing on its own, where it leant on earlier turns; empty where it stood alone."""
    degraded: str = ""
    """What the generalist failed to do, and why, where the answer had to do without; empty where nothing was missed."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the asker gets: the text and the trace behind it."""

    text: str
    trace: Trace

    @property
    def accepted(self) -> bool:
        """True when somebody answered."""
        return self.trace.status != "abstained"


@dataclass(frozen=True, kw_only=True)
class Delta:
    """A piece of the answer's text, ready to be shown."""

    text: str


# --- What engines take and give ------------------------------------------------------------------


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


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A try of an engine that gave no answer, and what it took as far as that is known."""

    reason: str
    usage: Usage = field(default_factory=Usage)
    turned_away: bool = False
    """The provider took nothing for it: it refused before it began."""


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

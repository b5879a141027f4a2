"""The request: its document, functions that a model may call, and the task that one specialist gets of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from coterie.types.context import Message, Scalar
from coterie.types.finding import Option, Verdict
from coterie.types.label import Label, Release
from coterie.types.reason import Reason
from coterie.types.shown import stored
from coterie.types.usage import Usage

if TYPE_CHECKING:
    import numpy as np

MOST_CALLS = 8
"""Most calls in one turn, where several are allowed."""


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function that a model may call. The caller runs its own functions; the network runs an MCP server's."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any]
    """JSON schema of the arguments as given, with its descriptions, for the model."""
    schema: Mapping[str, Any]
    """The normalised schema (`structured.schema`) by which arguments are checked."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The functions that may be called in one turn, and the calls since the question."""

    functions: tuple[Function, ...] = ()
    """The functions; empty where the model may not call, only answer from results."""
    required: bool = False
    """Whether an answer must contain a call."""
    most: int = MOST_CALLS
    """Largest number of calls."""
    since: tuple[Message, ...] = ()
    """Calls and their results since the question, oldest first."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the functions."""
        return tuple(function.name for function in self.functions)


@dataclass(frozen=True, kw_only=True)
class FunctionCall:
    """One call of a function."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class FunctionResult:
    """The result of a function that the network called."""

    text: str
    label: Label
    """Sensitivity of the text: its server's, raised by sensitive content in it."""
    label_without_pii: Label
    """The label without the personal data in it."""
    usage: Usage
    verdicts: tuple[Verdict, ...] = ()
    """Why the call was allowed to leave, and suspicious parts of the result."""


Columns = Mapping[str, Scalar]
"""One row of structured input, by column name."""
ReleaseSlot = Callable[[], AbstractAsyncContextManager[None]]
"""Makes a context that is held while a remote model runs: other requests may use the worker slot meanwhile."""


Rung = Literal["lexical", "embedding", "encoder", "slm", "llm", "chain"]
"""The amount of machinery of a specialist, cheapest first. A `chain` asks its rungs in order until one is confident."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """A long text that comes with a question. It is read in this process; at most quotes of it leave, if allowed."""

    text: str = ""
    name: str = "document"
    """Name in citations; with `index`, the name of the document in the index."""
    label: Label | None = None
    """Sensitivity; None or a lower label than the request's counts as the request's."""
    label_without_pii: Label | None = field(default=None, metadata=stored(aliases=("impersonal",)))
    """The label without the personal data in the text; None if it is the same."""
    index: str = field(default="", metadata=stored(aliases=("shelf",)))
    """The `[knowledge]` key of the index that supplies text and label; empty if `text` is given."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Sampling settings of a model that writes freely. None leaves them to the network."""

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    frequency_penalty: float | None = None
    presence_penalty: float | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """The request of a caller to the network."""

    text: str
    columns: Columns | None = None
    """Structured input, such as an applicant's row; None for text only."""
    document: Document | None = None
    """Document that the question is about. The document reader answers, and the router is skipped."""
    history: tuple[Message, ...] = ()
    """Earlier turns that the client sends along, oldest first, without the present one."""
    label: Label | None = None
    """Sensitivity; None for the network's default. Personal data and secrets raise it at admission."""
    label_without_pii: Label | None = field(default=None, metadata=stored(aliases=("impersonal",)))
    """The label before personal data raised it; None if it is the same. Set by the admission, not by the caller."""
    release: Release | None = None
    """Order to lower the label in spite of personal data. The gateway passes it on for authorised keys only."""
    clearance: Label | None = None
    """The most sensitive label that the principal may see; None for the network's default label."""
    session: str | None = None
    """Name of the remembered conversation; None remembers nothing."""
    remembers: bool = True
    """Whether this turn is added to the session."""
    turns: tuple[str, ...] | None = None
    """Ids of the requests of the session that count as its turns; None for all."""
    envelope: Mapping[str, Any] = field(default_factory=dict)
    """What an API keeps with the question in the session, to show its response again: JSON values."""
    language: str | None = None
    """Language of the text as a BCP 47 tag, such as `de` or `en-GB`; None has it detected at admission."""
    tenant: str = "default"
    key: str = ""
    """Id of the API key of the request; empty without one."""
    specialist: str | None = None
    """Name of the specialist to ask; the router is skipped. None asks the router."""
    allowed: tuple[str, ...] = ()
    """Names of the only specialists that may be asked, writers of facts included; empty for all."""
    max_tokens: int | None = None
    sampling: Sampling = Sampling()
    schema: Mapping[str, Any] | None = None
    """Normalised JSON schema (`structured.schema`) of the answer; None for an answer in words."""
    tools: Tools | None = None
    """Functions that may be called in place of an answer, and results of earlier calls; None for neither."""
    quality: float | None = None
    """Share of the generalist's quality to keep, 0 to 1; None for that of `[policy]`."""
    budget: Decimal | None = None
    """Money per 1,000 such requests, in place of `quality`; this request may cost a thousandth of it."""
    release_slot: ReleaseSlot = field(default=nullcontext, compare=False, repr=False)
    """Context that is held while a remote model runs: a gateway gives the worker slot to other requests then."""


@dataclass(frozen=True, kw_only=True)
class AcceptanceOverride:
    """An acceptance override: replaces the specialist's accept threshold for one task."""

    confidence: float | None
    """Least confidence of an accepted answer; None accepts no answer."""
    reason: Reason
    """The quality that this confidence keeps, for the finding's reason."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """The part of a request that one specialist gets."""

    text: str
    """Text of the part; a follow-up question is self-contained here."""
    asked: str = ""
    """The whole request in the caller's own words; empty if the wording is that of `text`."""
    rewritten: bool = False
    """Whether `text` is a follow-up question with its subject restored; `asked` is the same without it."""
    columns: Columns | None = None
    label: Label = Label.INTERNAL
    label_without_pii: Label | None = field(default=None, metadata=stored(aliases=("impersonal",)))
    """The label without the personal data in the text; None if it is the same."""
    clearance: Label = Label.INTERNAL
    """The most sensitive label that the principal may see."""
    tenant: str = "default"
    language: str | None = None
    """Language of the request as a BCP 47 tag; None if it was not detected."""
    max_tokens: int | None = None
    sampling: Sampling = Sampling()
    schema: Mapping[str, Any] | None = None
    """JSON schema of the answer to the whole request; read by models that write it, not by other specialists."""
    tools: Tools | None = None
    """Functions that may be called; read by models that write, not by other specialists."""
    vector: np.ndarray | None = field(default=None, compare=False, repr=False)  # (D,)
    """Encoding of the text by the network's encoder, if the router made it already."""
    truncated: bool = False
    """Whether `vector` encodes only the beginning, because the text exceeds the encoder's window."""
    acceptance_override: AcceptanceOverride | None = None
    """Acceptance override of the cost-quality policy; None for the specialist's own threshold."""
    labels: tuple[Option, ...] = ()
    """For the generalist: labels of the specialist that abstained; empty if there is no such specialist."""
    distribution: bool = False
    """Whether the finding shall have a probability for each label."""

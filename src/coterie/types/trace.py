"""Where a request goes, and its result: cards of specialists, routes, the answer, and the trace of how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from coterie.types.call import Egress, summarise_egress
from coterie.types.context import AnswerForm, TaskKind, ViewRecord
from coterie.types.finding import Citation, Decision, Finding, Option, Step, Verdict
from coterie.types.label import Label
from coterie.types.reason import Reason
from coterie.types.request import Rung
from coterie.types.shown import html_table, html_text, stored
from coterie.types.usage import Usage

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


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a request, with its time."""

    name: str
    milliseconds: float
    note: str = ""
    after: float = 0.0
    """Milliseconds from the admission of the request to the beginning of the stage."""


_UNSURE = frozenset({"abstain.below_threshold", "abstain.below_override", "abstain.no_threshold"})
Status = Literal["accepted", "abstained", "escalated"]
"""Outcome of a request: answered by specialists, not answered, or answered by the generalist."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The record of one request, from admission to settlement."""

    id: str
    time: float
    """Time of admission, in seconds since the epoch."""
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
    """Sum of the steps; `milliseconds` is the time that the caller waited."""
    counterfactual_cost: Decimal | None
    """Cost of the configured generalist for this exchange, at least; None if there is none or its price is unknown."""
    rewritten: str = field(default="", metadata=stored(aliases=("restated",)))
    """The rewritten query of a follow-up; empty if the request was not rewritten."""
    degraded: Reason | None = None
    """What the generalist should have added and could not, with the reason; None if nothing is missing."""
    decisions: tuple[Decision, ...] = ()
    """Answers to typed questions, if the request asked such."""
    egress: tuple[Egress, ...] = ()
    """What left this machine for the request, or was about to."""

    @property
    def egress_summary(self) -> str:
        """Summary of what left this machine, the same in every interface; `none` for nothing."""
        return summarise_egress(self.egress)

    @property
    def guess(self) -> Finding | None:
        """The most likely label or number of an abstention; None for a text out of scope."""
        if self.status != "abstained":
            return None
        unsure = (finding for finding in self.findings if finding.form != "text" and finding.reason.code in _UNSURE)
        return max(unsure, key=lambda finding: finding.confidence, default=None)


@dataclass(frozen=True, kw_only=True, repr=False)
class Answer:
    """The answer to a request: its text and its trace."""

    text: str
    trace: Trace

    @property
    def status(self) -> Status:
        """The outcome of the request."""
        return self.trace.status

    @property
    def accepted(self) -> bool:
        """Whether the request was answered."""
        return self.trace.status != "abstained"

    @property
    def called(self) -> bool:
        """Whether the text is calls of the request's functions (`Finding.called`)."""
        return any(finding.called for finding in self.findings if finding.accepted)

    @property
    def cut(self) -> bool:
        """Whether a text of the answer was ended by its length limit (`Finding.cut`)."""
        return any(finding.cut for finding in self.findings if finding.accepted)

    @property
    def route(self) -> Route:
        """The specialists that the router chose, and why."""
        return self.trace.route

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The finding of each specialist."""
        return self.trace.findings

    @property
    def guess(self) -> Finding | None:
        """For an abstention, the finding that came nearest to an answer; it is not an answer."""
        return self.trace.guess

    @property
    def citations(self) -> tuple[Citation, ...]:
        """The quotes that the accepted findings rest on."""
        return tuple(citation for finding in self.findings if finding.accepted for citation in finding.citations)

    @property
    def egress(self) -> tuple[Egress, ...]:
        """What left this machine for the request."""
        return tuple(crossing for crossing in self.trace.egress if crossing.sent)

    @property
    def usage(self) -> Usage:
        """The usage of the request: time, tokens, energy, money."""
        return self.trace.usage

    def __repr__(self) -> str:
        return f"Answer({self.text!r}, {self._summary})"

    def _repr_html_(self) -> str:
        header = ["specialist", "value", "confidence", "accepted", "reason"]
        rows = [
            (finding.specialist, finding.text, finding.confidence, finding.accepted, finding.reason)
            for finding in self.findings
        ]
        quotes = [(citation.document, citation.heading, citation.text) for citation in self.citations]
        cited = html_table(["document", "heading", "quote"], quotes) if quotes else ""
        return html_text(self.text) + html_table(header, rows) + cited + html_text(self._summary, tag="small")

    @property
    def _summary(self) -> str:
        route = " -> ".join(self.route.specialists) or "nobody"
        return f"{self.status}, route {route}, egress {self.trace.egress_summary}, {self.usage.milliseconds:.0f} ms"


@dataclass(frozen=True, kw_only=True)
class Delta:
    """A final piece of the answer's text, for streaming."""

    text: str
    kind: Literal["found", "written", "abstained", "called"] = "found"
    """The kind of the piece.

    `written`: by a model, as it goes; `abstained`: the reason why a part of the request is not answered;
    `called`: calls of the request's functions, as JSON in one piece.
    """
    offered: bool = False
    """Whether the model that wrote it could call the request's functions."""


@dataclass(frozen=True, kw_only=True)
class DocumentAnswer:
    """The result of a question about a document that came with the request."""

    finding: Finding
    """The answer, or an abstention with the reason."""
    read: tuple[Finding, ...]
    """Findings of the reader, one per short question."""
    stages: tuple[Stage, ...]
    """Stages of the collaboration: `plan`, `read` and `conclude` of each round."""
    seen: int = 0
    """Number of quotes in the generalist's prompt."""
    degraded: Reason | None = None
    """What the generalist should have added and could not, with the reason."""


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """The answers to all questions of one call, in their order, with the trace."""

    decisions: tuple[Decision, ...]
    trace: Trace

    def __getitem__(self, question: str) -> Decision:
        """Return the answer to the question of this name. Raises `KeyError`."""
        return {decision.question: decision for decision in self.decisions}[question]

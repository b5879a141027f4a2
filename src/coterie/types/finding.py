"""What a specialist returns: findings with evidence, citations, steps and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from coterie.types.context import AnswerForm, Fact, Scalar, TaskKind
from coterie.types.keys import stored
from coterie.types.label import Label
from coterie.types.reason import Reason
from coterie.types.usage import Usage


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One piece of support for a finding: a reason code, a runner-up label or a quote."""

    kind: Literal["reason", "alternative", "quote"]
    name: str
    """Column of a reason, label of an alternative, document of a quote, or field that a quote states."""
    text: str
    """The evidence in words."""
    weight: float = 0.0
    """Contribution of a reason to the log-odds, probability of an alternative, 0 for a quote."""
    start: int | None = None
    """Offset of a quote in the task's text or in the document, in characters: `text[start:end]` is the quote."""
    end: int | None = None


@dataclass(frozen=True, kw_only=True)
class Field:
    """One value of one field of a text, with its quote; or the statement that the text does not state the field."""

    name: str
    value: Scalar
    """Typed value (`2024-05-31`, `P30D`); None if the field is not stated or its quote has no unambiguous value."""
    text: str
    """The quote, verbatim; empty if the field is not stated."""
    start: int | None
    end: int | None
    """`start` and `end`: offsets of the quote in the task's text, in characters; None if the field is not stated."""
    confidence: float
    """Calibrated probability that the quote, or "not stated", is right."""
    accepted: bool
    reason: Reason

    @property
    def stated(self) -> bool:
        """Whether the text states the field."""
        return self.start is not None


@dataclass(frozen=True, kw_only=True)
class Citation:
    """A quote of a document that supports an answer, with its place."""

    document: str
    start: int
    end: int
    """`start` and `end`: offsets in the document's text, in characters."""
    text: str
    """The quote, verbatim."""
    label: Label
    index: str = field(default="", metadata=stored(aliases=("shelf",)))
    heading: str = ""
    page: int | None = None


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """One of several citations that answer the same question differently."""

    citation: int
    """Number of the citation in the text, from 1."""
    dated: str | None
    """Date of its document: `2024`, `2024-05` or `2024-05-31`; None where that is unknown."""
    newest: bool
    """Whether its document is known to be the newest of them."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call of an engine by a specialist, the router or an index: a row of the ledger."""

    producer: str
    engine: str
    usage: Usage
    note: str = ""
    """Circumstance of the call: a fallback, a hedge, a failed attempt, a rung of a chain that was not confident."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one specialist: an answer (`accepted`) or an abstention, with the reason."""

    specialist: str
    value: Scalar | tuple[str, ...]
    """Label or labels, probability, or text. An abstention keeps its value; None if there is none."""
    text: str  # the value in words
    confidence: float
    """Calibrated probability that the value is right, 0 to 1."""
    accepted: bool
    reason: Reason
    in_scope: float | None = None
    """Score of similarity to the training data, higher is more similar; None if the specialist has none."""
    label: Label = Label.INTERNAL
    label_without_pii: Label | None = field(default=None, metadata=stored(aliases=("impersonal",)))
    """The label without the personal data in the sources; None if it is the same."""
    task: TaskKind | None = None
    """Task of the specialist."""
    form: AnswerForm = "text"
    """Form of the value. Strings of the form `text` are content, which a trace keeps only if configured."""
    evidence: tuple[Evidence, ...] = ()
    fields: tuple[Field, ...] = ()
    """Fields of an `extract` specialist, in its order; a field with several values has an entry for each."""
    citations: tuple[Citation, ...] = ()
    """Citations of an `answer` specialist, in the order of its text."""
    contradictions: tuple[Contradiction, ...] = ()
    """Those of the citations that contradict each other; none if they agree."""
    facts: tuple[Fact, ...] = ()
    """Facts to add to the context if the finding is accepted."""
    retracts: tuple[str, ...] = ()
    """Names of the specialist's earlier facts to withdraw, also if the finding is not accepted."""
    steps: tuple[Step, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    """Egress decisions for this finding, allowed or refused."""
    truncated: bool = False
    """Whether a model read only the beginning of the text, because the text exceeds its window."""
    broken: bool = False
    """Whether the stream of the text failed after a part had been shown; the end of the text says so."""
    cut: bool = False
    """Whether the text was ended by `max_tokens` and not by its model."""
    distribution: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Probability of each label, if the task asked for it; no trace keeps it."""
    offered: bool = False
    """Whether its model could call the request's functions."""
    called: bool = False
    """Whether the text is calls of the request's functions: `{"calls": [{"name": ..., "arguments": {...}}]}`."""

    @property
    def known_confidence(self) -> float | None:
        """The confidence; None for a model's own words, which are accepted at 0: their confidence is unknown."""
        return None if self.accepted and self.confidence == 0 else self.confidence


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A governance decision with its rule and reason."""

    allowed: bool
    rule: str
    """Stable name of the rule that decided, such as `egress.clearance`."""
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Data that is about to leave: the input of a `Policy`."""

    destination: str
    label: Label
    clearance: Label

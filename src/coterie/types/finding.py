"""What a specialist returns: findings with evidence, citations, steps and verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from coterie.types.context import AnswerForm, Fact, Scalar, TaskKind
from coterie.types.label import Label
from coterie.types.usage import Usage


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
    """What made the value."""
    form: AnswerForm = "text"
    """What the value is, and so whether its strings are labels or content that a trace must not keep."""
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

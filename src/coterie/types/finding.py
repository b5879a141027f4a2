"""What a specialist returns: findings with evidence, citations, steps and verdicts; decisions on typed questions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from coterie.types.context import AnswerForm, Fact, Scalar, TaskKind
from coterie.types.label import Label
from coterie.types.reason import Reason
from coterie.types.shown import stored
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


QuestionKind = Literal["choice", "predicate", "score"]
"""One of several options, true or false, or one of several ordered levels."""

DecisionMethod = Literal["specialist", "similarity", "likelihood", "model"]
"""How a question was answered.

A trained specialist; zero-shot: similarity of state and option by the encoder, likelihood of each option under a local
model, or the answer of a remote model.
"""

NO, YES = "false", "true"
"""The options of a predicate."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One possible answer."""

    name: str
    description: str = ""
    """When the option is right, in words; empty if there is no description."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A typed question. Its name and, except for a score, the order of its options do not change the answer."""

    kind: QuestionKind
    options: tuple[Option, ...]
    """The options; levels of a score are lowest first; a predicate has `false` and `true`."""
    instructions: str = ""
    """The question in words."""
    name: str = ""
    """Name by which the caller recognises its answer."""

    @classmethod
    def choice(
        cls, options: Iterable[str] | Mapping[str, str | None], instructions: str = "", *, name: str = ""
    ) -> Question:
        """Return a question with one right option; a mapping has their descriptions."""
        return cls(kind="choice", options=_options(options), instructions=instructions, name=name)

    @classmethod
    def predicate(cls, instructions: str, *, yes: str = "", no: str = "", name: str = "") -> Question:
        """Return a question with a probability as its answer; `yes` and `no` describe the two cases."""
        options = (Option(name=NO, description=no), Option(name=YES, description=yes))
        return cls(kind="predicate", options=options, instructions=instructions, name=name)

    @classmethod
    def score(
        cls, levels: Iterable[str] | Mapping[str, str | None], instructions: str = "", *, name: str = ""
    ) -> Question:
        """Return a rating on levels, lowest first; a mapping has their descriptions."""
        return cls(kind="score", options=_options(levels), instructions=instructions, name=name)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the options."""
        return tuple(option.name for option in self.options)


def _options(given: Iterable[str] | Mapping[str, str | None]) -> tuple[Option, ...]:
    pairs = given.items() if isinstance(given, Mapping) else ((name, "") for name in given)
    return tuple(Option(name=name, description=description or "") for name, description in pairs)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The answer to one question: a probability for each option."""

    question: str
    """The question's name."""
    site: str
    """Fingerprint of the question: the same for each call that asks it."""
    kind: QuestionKind
    options: tuple[str, ...]
    """The options in the order of the question."""
    probabilities: tuple[float, ...]
    """One probability per option; their sum is 1."""
    confidence: float
    """Probability that the most probable option is right. Calibrated for a specialist, not for a zero-shot answer."""
    accepted: bool
    """Whether the answer meets the specialist's target risk. A zero-shot answer never does: no outcome is known."""
    reason: Reason
    answered_by: str
    """Name of a specialist, `[models]` key or `encoder`."""
    method: DecisionMethod
    instructions: str = ""
    """The question in words, which a trace keeps only if configured."""

    @property
    def zero_shot(self) -> bool:
        """Whether no specialist was trained for this question."""
        return self.method != "specialist"

    @property
    def choice(self) -> str:
        """The most probable option; of equal ones, the first by name."""
        pairs = zip(self.probabilities, self.options, strict=True)
        return min(pairs, key=lambda pair: (-pair[0], pair[1]))[1]

    @property
    def number(self) -> float:
        """Expected position among the options, from 0: the probability of a predicate, the rating of a score."""
        return sum(index * probability for index, probability in enumerate(self.probabilities))

    @property
    def value(self) -> str | float:
        """The option of a choice, the probability of a predicate, the rating of a score."""
        return self.choice if self.kind == "choice" else self.number

    def probability(self, option: str) -> float:
        """Return the probability of an option. Raises `KeyError` for an unknown option."""
        return dict(zip(self.options, self.probabilities, strict=True))[option]


@dataclass(frozen=True, kw_only=True)
class Deciding:
    """The results for the questions of one call."""

    decisions: tuple[Decision, ...] = ()
    findings: tuple[Finding, ...] = ()
    """Findings of the consulted specialists, without their distributions."""
    steps: tuple[Step, ...] = ()
    """Steps beside those of the findings."""

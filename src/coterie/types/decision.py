"""Typed questions about a state, and the decision that answers a question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from coterie.types.finding import Finding, Step
from coterie.types.reason import Reason

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

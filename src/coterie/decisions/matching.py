"""Which specialist answers a question: the one that the file names, or one whose labels are its options."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from coterie.config.decisions import DecisionsSection, SiteSection
from coterie.text.words import folded
from coterie.types import YES, Finding, Question, Reason, SpecialistCard

_FEWEST = 3
"""Options that a question needs for a match by name: `yes` and `no` are the labels of many jobs."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A specialist for a question."""

    specialist: str
    labels: Mapping[str, str] = field(default_factory=dict)
    """Label by option; empty where the value itself is the answer."""
    event: str = ""
    """Label whose probability answers a predicate."""


def assign(
    question: Question, site: str, cards: Mapping[str, SpecialistCard], section: DecisionsSection
) -> Assignment | None:
    """Return who answers a question, of these specialists; None if nobody was trained for it."""
    named = next((each for each in section.sites.values() if each.question == site), None)
    if named is not None:
        card = cards.get(named.specialist or "")
        return None if card is None else _named(question, named, card)
    return _matching(question, cards) if section.match and question.kind != "predicate" else None


def _named(question: Question, site: SiteSection, card: SpecialistCard) -> Assignment | None:
    if question.kind == "predicate" or not card.options:
        event = site.label or ""
        known = not card.options or any(label.name == event for label in card.options)
        return Assignment(specialist=card.name, event=event) if known else None
    labels = {**_labels_of(question, card), **site.labels}
    chosen = {option: labels[option] for option in question.names if option in labels}
    return Assignment(specialist=card.name, labels=chosen) if len(chosen) == len(question.names) else None


def _matching(question: Question, cards: Mapping[str, SpecialistCard]) -> Assignment | None:
    """The specialist with the fewest labels among which all options are; None for two: either may be meant."""
    if len(question.names) < _FEWEST:
        return None
    found = [
        (len(card.options), card.name, labels)
        for card in cards.values()
        if len(labels := _labels_of(question, card)) == len(question.names)
    ]
    least = [each for each in found if each[0] == min(found)[0]]
    return Assignment(specialist=least[0][1], labels=least[0][2]) if len(least) == 1 else None


def _labels_of(question: Question, card: SpecialistCard) -> dict[str, str]:
    """Label by option, for options that are exactly one label; letter case, hyphens and underscores do not count."""
    exact = {label.name for label in card.options}
    if set(question.names) <= exact:
        return {option: option for option in question.names}
    alike = Counter(folded(name) for name in exact)
    by_fold = {folded(name): name for name in exact if alike[folded(name)] == 1}
    found = {option: by_fold[folded(option)] for option in question.names if folded(option) in by_fold}
    return found if len(found) == len(set(found.values())) else {}


@dataclass(frozen=True, kw_only=True)
class AnswerWeights:
    """Probabilities of a question's options, in its order, and what they are worth."""

    probabilities: tuple[float, ...]
    confidence: float
    accepted: bool
    reason: Reason


def read_finding(question: Question, assignment: Assignment, finding: Finding) -> AnswerWeights | None:
    """Return what a specialist's finding says of a question's options; None if it has no value."""
    if finding.value is None:
        return None
    if isinstance(finding.value, int | float):
        return _of_number(question, float(finding.value), finding)
    known = distribution_of(finding)
    if question.kind == "predicate":
        true = known.get(assignment.event, 0.0)
        return AnswerWeights(
            probabilities=(1.0 - true, true),
            confidence=max(true, 1.0 - true),
            accepted=finding.accepted,
            reason=finding.reason,
        )
    weights = [known.get(assignment.labels[option], 0.0) for option in question.names]
    total = sum(weights)
    chosen = finding.value in assignment.labels.values()
    probabilities = tuple(weight / total for weight in weights) if total > 0 else _even(len(weights))
    reason = finding.reason if chosen else Reason("decision.other_label", guess=finding.text, options=len(weights))
    accepted = finding.accepted and chosen
    return AnswerWeights(probabilities=probabilities, confidence=max(probabilities), accepted=accepted, reason=reason)


def distribution_of(finding: Finding) -> Mapping[str, float]:
    """Return the probability of each label; of a specialist that names some of them only, of those."""
    if finding.distribution:
        return finding.distribution
    named = {each.name: each.weight for each in finding.evidence if each.kind == "alternative"}
    return {**named, str(finding.value): finding.confidence}


def _of_number(question: Question, probability: float, finding: Finding) -> AnswerWeights:
    """The probability of a `score` specialist: of true, or as a place between the lowest level and the highest."""
    levels = question.names if question.kind == "score" else ("", YES)
    place = min(max(probability, 0.0), 1.0) * (len(levels) - 1)
    weights = tuple(max(0.0, 1.0 - abs(place - level)) for level in range(len(levels)))
    return AnswerWeights(
        probabilities=weights, confidence=finding.confidence, accepted=finding.accepted, reason=finding.reason
    )


def _even(size: int) -> tuple[float, ...]:
    return tuple([1.0 / size] * size)

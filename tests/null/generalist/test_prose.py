"""Findings as a person would like to read them."""

import pytest

from coterie.generalist.pack import attributed, guess_of, how_sure, say, topic
from coterie.testing import make_finding
from coterie.types import Citation, Label


def found(name, text, task="classify", *, confidence=0.97, accepted=True, documents=()):
    citations = tuple(
        Citation(document=document, start=0, end=1, text="x", label=Label.PUBLIC) for document in documents
    )
    return make_finding(
        text,
        specialist=name,
        confidence=confidence,
        accepted=accepted,
        task=task,
        form={"classify": "label", "extract": "fields"}.get(task, "text"),
        citations=citations,
    )


def test_one_finding_is_its_own_text():
    """A label stays the label that programs look for."""
    assert say([found("triage", "card_arrival")], named=False) == "card_arrival"


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (found("triage", "card_arrival"), "card arrival (triage, 97% sure)"),
        (found("tags", "late_fee, card_lost"), "late fee, card lost (tags, 97% sure)"),
        (found("clauses", "Governing Law"), "Governing Law (clauses, 97% sure)"),
        (
            found("underwriting", "Probability of default: 0.23.", "score"),
            "Probability of default: 0.23. (underwriting)",
        ),
        (
            found("ask", "12 pounds [1]\nTwice 12 [2]", "answer", documents=("fees.md", "fees.md")),
            "12 pounds [1]\nTwice 12 [2]\n(ask, from fees.md)",
        ),
        (
            found("terms", "governing_law: Delaware\nends: not stated", "extract"),
            "governing law: Delaware; ends: not stated (terms)",
        ),
        (found("reply", "We blocked it.", "generate"), "We blocked it. (reply)"),
    ],
)
def test_each_kind_in_words(finding, text):
    """Labels become words with a probability; other texts stay as they are, with who found them and where."""
    assert attributed(finding) == text


@pytest.mark.parametrize(("confidence", "text"), [(0.5, "50% sure"), (0.994, "99% sure"), (0.999, "over 99% sure")])
def test_how_sure(confidence, text):
    """Nothing is called certain."""
    assert how_sure(confidence) == text


def test_topics():
    """A part is named by its own words, cut between two of them; one without words by what it has."""
    assert topic(" Where is\n it? ") == "On \u201cWhere is it?\u201d"
    assert topic("word " * 40).endswith("word \u2026\u201d")
    assert topic("") == "On the values given"


def test_the_best_guess_is_said_to_be_one():
    """Of several that abstain the surest is shown; with nothing to show, nothing is."""
    weak, strong = (found(n, f"{n}_label", confidence=c, accepted=False) for n, c in (("a", 0.3), ("b", 0.4)))

    assert guess_of([weak, strong]) == "Best guess, not sure: b label (b, 40% sure)"
    assert guess_of([found("a", "", accepted=False), found("c", "sure")]) == ""

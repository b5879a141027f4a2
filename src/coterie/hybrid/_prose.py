"""What was found, as a person would like to read it: written here, without a model, from the findings alone.

One finding is its own text. Several are put one under the other, each with what it is about and who found it. Nothing
is said that no finding says.
"""

from __future__ import annotations

from collections.abc import Sequence

from coterie.types import Finding

_LONGEST_TOPIC = 80  # characters of a part that are repeated before its answer
_CERTAIN = 0.995  # from here on a share would round to 100%


def say(found: Sequence[Finding], *, named: bool) -> str:
    """Accepted findings as text; `named` says who found a single one too."""
    if len(found) == 1 and not named:
        return found[0].text
    return "\n".join(attributed(each) for each in found)


def attributed(finding: Finding) -> str:
    """A finding with who found it and, where that is a probability, how sure it is."""
    text = finding.text.strip()
    if finding.task == "classify":
        return f"{_label_in_words(text)} ({finding.specialist}, {how_sure(finding.confidence)})"
    if finding.task == "extract":
        text = "; ".join(_field_in_words(line) for line in text.splitlines())
    sources = ", ".join(dict.fromkeys(each.document for each in finding.citations))
    by = f"{finding.specialist}, from {sources}" if sources else finding.specialist
    return f"{text}\n({by})" if "\n" in text else f"{text} ({by})"


def topic(text: str) -> str:
    """What a part of a request is about, before its answer: its own words, shortened, or that it is structured."""
    flat = " ".join(text.split())
    if not flat:
        return "On the values given"
    short = flat if len(flat) <= _LONGEST_TOPIC else flat[:_LONGEST_TOPIC].rsplit(" ", 1)[0] + " \u2026"
    return f"On \u201c{short}\u201d"


def guess_of(findings: Sequence[Finding]) -> str:
    """The best of what nobody was sure enough of, said to be that; empty if nobody had anything to say."""
    guesses = [each for each in findings if not each.accepted and each.text.strip() and each.confidence > 0]
    if not guesses:
        return ""
    best = max(guesses, key=lambda each: each.confidence)
    text = _label_in_words(best.text) if best.task == "classify" else best.text.strip()
    return f"Best guess, not sure: {text} ({best.specialist}, {how_sure(best.confidence)})"


def how_sure(confidence: float) -> str:
    """A calibrated probability in words; never more than it says."""
    return "over 99% sure" if confidence >= _CERTAIN else f"{confidence:.0%} sure"


def _field_in_words(line: str) -> str:
    """`governing_law: Delaware` with the field's name in words."""
    name, colon, value = line.partition(": ")
    return f"{name.replace('_', ' ')}{colon}{value}" if name.isidentifier() else line


def _label_in_words(text: str) -> str:
    """`card_arrival` is "card arrival"; text with spaces is left as it is."""
    return ", ".join(each if " " in each else each.replace("_", " ") for each in text.split(", "))

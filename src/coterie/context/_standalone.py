"""Follow-up questions made standalone: "and what is the fee for that?" gets back what it is about.

What it is about is put behind it in brackets: what the last question was found to be about (the label that a classifier
was sure of), or what it names. Put in front, or as a whole, the earlier question would drown the one that is asked
(`docs/log.md`). Pure functions of values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from coterie.types import Context, FindingSummary, Label, Message, impersonal

from ._leaning import leans, subject_of

_REMEMBERED = 8  # questions that are looked back to


class Turn(NamedTuple):
    """One earlier question."""

    question: str
    found: str
    """The label that a classifier was sure of, in words; empty if none was."""
    label: Label
    """Sensitivity of both."""
    impersonal: Label
    """The same without personal data."""


@dataclass(frozen=True, kw_only=True)
class Restated:
    """A question that leant on an earlier one, as it stands on its own."""

    text: str
    label: Label
    """Sensitivity of what it was given back."""
    impersonal: Label
    """The same without personal data."""
    reason: str
    """How it leant."""


def restate(text: str, context: Context) -> Restated | None:
    """The question on its own, or None where it stands alone already or there is nothing to lean on.

    It leans on the newest question that was classified or that stands alone itself, of the last eight.
    """
    reason = leans(text)
    if not reason:
        return None
    for turn in reversed(turns_of(context)[-_REMEMBERED:]):
        about = turn.found or ("" if leans(turn.question) else subject_of(turn.question))
        if about:
            whole = f"{text.strip()} ({about})"
            return Restated(text=whole, label=turn.label, impersonal=turn.impersonal, reason=reason)
    return None


def turns_of(context: Context) -> Sequence[Turn]:
    """The asker's questions, oldest first, each with what was found for it."""
    turns: list[Turn] = []
    for entry in context.entries:
        match entry.content:
            case Message(role="user", text=text):
                turns.append(Turn(text, "", entry.label, impersonal(entry)))
            case FindingSummary(task="classify", accepted=True, text=found) if turns and not turns[-1].found:
                last = turns[-1]
                label, bare = max(last.label, entry.label), max(last.impersonal, impersonal(entry))
                turns[-1] = Turn(last.question, _words(found), label, bare)
    return turns


def _words(found: str) -> str:
    """A label as words: `card_arrival` is "card arrival"."""
    return re.sub(r"[\W_]+", " ", found).strip()

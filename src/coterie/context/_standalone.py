"""Follow-up questions made standalone: "and what is the fee for that?" gets back what it is about.

Who says no more than another time or number asks the earlier question again with that in it (`asked_again`). Otherwise
what it is about is put behind it in brackets: what the last question was found to be about (the label that a classifier
was sure of), or what it names. Put in front, or as a whole, the earlier question would drown the one that is asked
(`docs/log.md`). Pure functions of values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from coterie.types import Context, FindingSummary, Label, Message, impersonal

from ._leaning import DETAIL, leans, subject_of, words_of
from ._moments import asked_again

_REMEMBERED = 8  # questions that are looked back to
_LONGEST_WHOLE = 16  # words of an earlier question that is given back whole


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

    It leans on the newest question that was classified, that stands alone itself or had nothing to lean on, of the last
    eight.
    """
    reason = leans(text)
    if not reason:
        return None
    turn = _topic(turns_of(context)[-_REMEMBERED:])
    if turn is None:
        return None
    return Restated(text=_whole(text, reason, turn), label=turn.label, impersonal=turn.impersonal, reason=reason)


def _whole(text: str, reason: str, turn: Turn) -> str:
    """A question that leans on a turn, as it stands on its own."""
    detail = reason == DETAIL
    again = asked_again(turn.question, text) if detail else ""
    return again or f"{text.strip()} ({_about(turn, detail=detail)})"


def _about(turn: Turn, *, detail: bool) -> str:
    """What a question that leans on an earlier one is about.

    Args:
        turn: The earlier one.
        detail: It says no more than when or how many: then the earlier question drowns nothing, as it is what is
            asked, at another time.
    """
    if detail and len(words_of(turn.question)) <= _LONGEST_WHOLE:
        return turn.question.strip().rstrip(".?!")
    if not turn.found:
        return subject_of(turn.question)
    # One word ("book", "cancel") may be a label of several specialists.
    words = turn.found.split()
    further = subject_of(turn.question).split() if len(words) == 1 else []
    return " ".join([*words, *(word for word in further if word not in words)])


def _topic(turns: Sequence[Turn]) -> Turn | None:
    """The newest question that says what is talked about, as it stands on its own.

    That is one that was classified, that leant on none before it, or that asked the one before it again.
    """
    topic: Turn | None = None
    for turn in turns:
        reason = leans(turn.question) if topic else ""
        if topic is None or not reason:
            topic = turn if turn.found or subject_of(turn.question) else topic
        elif turn.found or (reason == DETAIL and asked_again(topic.question, turn.question)):
            topic = Turn(
                _whole(turn.question, reason, topic),
                turn.found or topic.found,
                max(turn.label, topic.label),
                max(turn.impersonal, topic.impersonal),
            )
    return topic


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

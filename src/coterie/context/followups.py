"""Follow-up questions rewritten as standalone questions: "and what is the fee for that?" regains its topic.

Small models on the encoder decide (`coterie.turns`): whether a turn depends on an earlier question, and which words of
that question it lacks. These words, or the label that a classifier accepted, are appended in brackets. In front of the
question, or as a whole, the earlier question would dominate the current one (`docs/history/log.md`).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from coterie.protocols import TurnModel
from coterie.text.words import marks
from coterie.types import Context, Entry, FindingSummary, Label, Message, Output, label_without_pii

Encode = Callable[[Sequence[str]], Awaitable[Sequence[Output]]]
"""A function that returns vectors and token states of texts."""

_READ = 2_000
"""Characters of a question that are read."""
_LONGEST = 40
"""Longest question in words that may depend on an earlier one; a longer text names its topic itself."""
_REMEMBERED = 8  # questions that are looked back to
_FEW = 4
"""Fewest words of an earlier question that are added, if none is clearly missing."""


class Turn(NamedTuple):
    """An earlier question."""

    question: str
    found: str
    """The label that a classifier accepted, in words; empty if there was none."""
    label: Label
    """Sensitivity of question and label."""
    label_without_pii: Label
    """Sensitivity of question and label without personal data."""


@dataclass(frozen=True, kw_only=True)
class RewrittenQuery:
    """A follow-up question, rewritten as a standalone question."""

    text: str
    label: Label
    """Sensitivity of the added words."""
    label_without_pii: Label
    """Sensitivity of the added words without personal data."""
    reason: str
    """The probability that the question depends on an earlier one, in words."""


async def rewrite_query(text: str, context: Context, *, turns: TurnModel, encode: Encode) -> RewrittenQuery | None:
    """Return the question as a standalone one, or None where it already is one or there is no earlier question.

    It is completed from the newest of the last eight questions, in that one's standalone form.
    """
    if len(text) > _READ or len(text.split()) > _LONGEST:
        return None
    earlier = turns_of(context)
    if not earlier:
        return None
    now, last = await encode([text, earlier[-1].question])
    chance = turns.leans(now, last)
    if chance <= turns.least_leaning or _is_talk(now, turns):
        return None
    topic, output = await _topic(earlier, last, turns, encode)
    about = _about(topic, output, now, text, turns)
    return RewrittenQuery(
        text=_with(text, about),
        label=topic.label,
        label_without_pii=topic.label_without_pii,
        reason=f"it leans on an earlier question ({chance:.2f})",
    )


async def _topic(earlier: Sequence[Turn], last: Output, turns: TurnModel, encode: Encode) -> tuple[Turn, Output]:
    """Return the newest question in its standalone form, with its tokens' states.

    The topic is set by the newest question that was classified, or that is no small talk and depends on no earlier one.
    Each dependent question after it is rewritten in turn: the next one may depend on it, and it may be a question on
    another topic that was mistaken for a follow-up.
    """
    before = [turn.question for turn in earlier[:-1]]
    outputs = [*(await encode(before) if before else ()), last]
    at = len(earlier) - 1
    while at and not earlier[at].found:
        leans = turns.leans(outputs[at], outputs[at - 1]) > turns.least_leaning
        if not (leans or _is_talk(outputs[at], turns)):
            break
        at -= 1
    topic, output = earlier[at], outputs[at]
    for turn, own in zip(earlier[at + 1 :], outputs[at + 1 :], strict=True):
        if not _is_talk(own, turns):
            topic = _standing(turn, topic, _about(topic, output, own, turn.question, turns))
            (output,) = await encode([topic.question])
    return topic, output


def _standing(turn: Turn, topic: Turn, about: str) -> Turn:
    """Return a follow-up with its topic appended, as sensitive as both."""
    label, bare = max(turn.label, topic.label), max(turn.label_without_pii, topic.label_without_pii)
    return Turn(_with(turn.question, about), topic.found, label, bare)


def _with(text: str, about: str) -> str:
    return f"{text.strip()} ({about})"


def _is_talk(output: Output, turns: TurnModel) -> bool:
    return output.vector is not None and bool(turns.talk(np.asarray(output.vector)[None])[0] > 0)


def _about(topic: Turn, output: Output, now: Output, text: str, turns: TurnModel) -> str:
    """Return the topic of a dependent question: the earlier question's label, and the words that are missing."""
    words = topic.found.split()
    if len(words) > 1:
        return topic.found
    # One word ("book", "cancel") may be a label of several specialists.
    all_words, scores = turns.missing(topic.question, output, now, text)
    chosen = [word for word, score in zip(all_words, scores, strict=True) if score > 0]
    if not chosen:
        best = sorted(np.argsort(-np.asarray(scores), kind="stable")[:_FEW])
        chosen = [all_words[at] for at in best]
    if marks(text):  # "and on pier A?" has a letter of its own in place of the earlier one
        chosen = [word for word in chosen if word.casefold() not in marks(topic.question)]
    return " ".join(dict.fromkeys([*words, *chosen])) or topic.question.strip().rstrip(".?!")


def turns_of(context: Context) -> Sequence[Turn]:
    """Return the beginnings of the caller's last questions, oldest first, each with its label."""
    turns: list[Turn] = []
    question_positions = (at for at in range(len(context.entries) - 1, -1, -1) if _is_question(context.entries[at]))
    for entry in context.entries[min(islice(question_positions, _REMEMBERED), default=0) :]:
        match entry.content:
            case Message(role="user", text=text):
                turns.append(Turn(text[:_READ], "", entry.label, label_without_pii(entry)))
            case FindingSummary(form="label", accepted=True, text=found) if turns and not turns[-1].found:
                last = turns[-1]
                label, bare = max(last.label, entry.label), max(last.label_without_pii, label_without_pii(entry))
                turns[-1] = Turn(last.question, _words(found), label, bare)
    return turns


def _is_question(entry: Entry) -> bool:
    return isinstance(entry.content, Message) and entry.content.role == "user"


def _words(match_text: str) -> str:
    """Return a label as words: `card_arrival` is "card arrival"."""
    return re.sub(r"[\W_]+", " ", match_text).strip()

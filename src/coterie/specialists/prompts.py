"""How a prompt with a context is laid out: what is known first, what to do with it last.

Engines remember what they read last: of two prompts that begin alike they read the beginning once. Specialists of one
base model that are shown the same context so read it once between them, if nothing of their own comes before it. What
one adapter read is of no use to another: there is nothing to share between two of those.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from coterie.types import Entry, Fact, FindingSummary, Message, Passage

KNOWN = "What is known:"


def context_first(entries: Sequence[Entry], *, instruction: str, asked: str) -> tuple[Message, ...]:
    """The messages of a prompt: passages, facts and earlier findings; the conversation; then what to do, and with what.

    Args:
        entries: What a view holds, in its order.
        instruction: What is to be done; of the specialist.
        asked: What is asked now.
    """
    passages = [_passage(entry.content) for entry in entries if isinstance(entry.content, Passage)]
    facts = [_fact(entry.content) for entry in entries if isinstance(entry.content, Fact | FindingSummary)]
    known = "\n".join([*passages, *facts])
    said = [entry.content for entry in entries if isinstance(entry.content, Message)]
    last = Message(role="user", text="\n\n".join(part for part in (instruction, asked) if part))
    first = (Message(role="system", text=f"{KNOWN}\n{known}"),) if known else ()
    return (*first, *said, last)


def _passage(passage: Passage) -> str:
    where = " > ".join(part for part in (passage.document, passage.heading) if part)
    return f"[{where}]\n{passage.text}\n"


def _fact(known: Fact | FindingSummary) -> str:
    if isinstance(known, Fact):
        return f"{known.name} = {known.value} ({known.confidence:.2f})"
    return f"{known.specialist}{'' if known.accepted else ' abstained'}: {known.text}"


# --- What a tuned small model is asked and how it answers: the same in training and in use.
#
# The prompt is raw text, without a chat template, and short: an adapter learns the task from its examples, and every
# token of the prompt is read again with each request. An answer begins with a space, so that a byte-pair tokenizer
# cuts it in the same way whether it sees the answer alone or behind the prompt.


@dataclass(frozen=True, kw_only=True)
class Prompting:
    """The prompt of a `classify` specialist on the rung `slm`; stored with the version under `prompt`."""

    instruction: str = ""
    """Comes first, on a line of its own; empty for none."""
    text: str = "Text:"
    """Before the text."""
    answer: str = "Label:"
    """Before the answer: the last thing the model reads."""

    def __post_init__(self) -> None:
        if not self.answer:
            raise ValueError("its prompt ends with nothing")

    def prompt(self, text: str) -> str:
        """The prompt for a text, which is put in one line so that it cannot look like the rest of the prompt."""
        lines = (self.instruction, f"{self.text} {' '.join(text.split())}", self.answer)
        return "\n".join(line for line in lines if line)


def answers(labels: Sequence[str]) -> tuple[str, ...]:
    """What the model says for each label: its words, `card_arrival` as " card arrival", or the label where they clash.

    The end of the turn follows in training, so that a label which begins another is told apart from it.
    """
    words = [re.sub(r"[\W_]+", " ", label).strip() for label in labels]
    if len(set(words)) < len(words) or not all(words):
        words = list(labels)
    return tuple(f" {each}" for each in words)

"""What a tuned small model is asked and how it answers: the same in training and in use.

The prompt is raw text, without a chat template, and short: an adapter learns the task from its examples, and every
token of the prompt is read again with each request. An answer begins with a space, so that a byte-pair tokenizer cuts
it in the same way whether it sees the answer alone or behind the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


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

"""What a prompted classifier says to its model: an instruction, labels to choose from, examples, the text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from coterie.engines import estimate_tokens
from coterie.types import Label, Message, Prompt

from ._demonstrations import Neighbour
from ._naming import find_label, match_label

Form = Literal["schema", "grammar", "free"]
"""How an answer is held to the labels: a JSON Schema (servers), a grammar (`llama`), or by asking nicely."""

NEIGHBOURS = 50
"""Training texts looked at for one prompt: the nearest are shown, all of them say which labels are listed."""
VOTERS = 20
"""How many of them vote on the answer."""
NONE_OF_THESE = "none of these"
DEFAULT_INSTRUCTION = "Label the last message as the messages before it are labelled."

_TOKENS_A_TURN = 8  # what frames a message


@dataclass(frozen=True, kw_only=True)
class FewShot:
    """How a text becomes a prompt, and an answer a label. Stored with the version."""

    instruction: str
    labels: tuple[str, ...]
    form: Form
    shots: int = 8
    """Examples shown, at most."""
    list_all: int = 20
    """Up to so many labels, all of them are listed; else those of the neighbours, and an answer for none of them."""
    listed: int = 12
    """How many then."""
    room: int = 2000
    """Tokens, about, that the examples may take together."""

    def __post_init__(self) -> None:
        if self.form not in {"schema", "grammar", "free"}:
            raise ValueError(f"form is {self.form!r}")
        if not self.labels or min(self.shots, self.room) < 0 or min(self.list_all, self.listed) < 1:
            raise ValueError("labels, shots, room and the numbers of labels listed cannot be empty or negative")

    def choices(self, neighbours: Sequence[Neighbour]) -> tuple[str, ...]:
        """What can be answered, given the training texts nearest to the one that is asked about."""
        if len(self.labels) <= self.list_all:
            return self.labels
        near = tuple(dict.fromkeys(each.label for each in neighbours))[: self.listed]
        return (*near, NONE_OF_THESE) if NONE_OF_THESE not in self.labels else near

    def prompt(self, text: str, neighbours: Sequence[Neighbour], label: Label) -> Prompt:
        """The prompt for a text.

        Args:
            text: What is asked about.
            neighbours: Training texts near it, nearest first.
            label: Sensitivity of the most sensitive thing in it: the text, or the examples.
        """
        choices = self.choices(neighbours)
        messages = [Message(role="system", text=self._told(choices))]
        for each in self._shown(neighbours, choices):
            messages.append(Message(role="user", text=each.text))
            messages.append(Message(role="assistant", text=self._written(each.label)))
        messages.append(Message(role="user", text=text))
        return Prompt(
            messages=tuple(messages),
            label=label,
            json_schema=_schema(choices) if self.form == "schema" else None,
            grammar=_grammar(choices) if self.form == "grammar" else None,
            max_tokens=16 + 2 * max(estimate_tokens(self._written(choice)) for choice in choices),
            logprobs=True,
        )

    def read(self, answer: str, choices: Sequence[str]) -> str | None:
        """Which of the choices an answer names, if it names one."""
        return find_label(answer, choices)

    def refuses(self, answer: str | None) -> bool:
        """It is the answer that none of the labels fits."""
        return answer == NONE_OF_THESE and NONE_OF_THESE not in self.labels

    def describe(self) -> dict[str, object]:
        """What a stored version says of it beside its labels."""
        return {name: value for name, value in asdict(self).items() if name != "labels"}

    @classmethod
    def restore(cls, labels: Sequence[str], described: Mapping[str, Any]) -> Self:
        """From the labels and what `describe` gave. Raises `TypeError` or `ValueError` if it is not that."""
        return cls(labels=tuple(str(label) for label in labels), **described)

    def _shown(self, neighbours: Sequence[Neighbour], choices: Sequence[str]) -> list[Neighbour]:
        """The nearest that fit, the nearest last: models weigh the end of a prompt most (Zhao et al. 2021)."""
        room, shown = self.room, list[Neighbour]()
        for each in neighbours:
            tokens = estimate_tokens(each.text) + estimate_tokens(each.label) + 2 * _TOKENS_A_TURN
            if len(shown) < self.shots and tokens <= room and match_label(each.label, choices) is not None:
                shown.append(each)
                room -= tokens
        return shown[::-1]

    def _told(self, choices: Sequence[str]) -> str:
        how = 'Answer with a JSON object, {"label": ...}, and' if self.form == "schema" else "Answer with"
        listed = "\n".join(f"- {choice}" for choice in choices)
        return f"{self.instruction}\n{how} one of these labels, written as here, and nothing else:\n{listed}"

    def _written(self, label: str) -> str:
        return json.dumps({"label": label}, ensure_ascii=False) if self.form == "schema" else label


def _schema(choices: Sequence[str]) -> dict[str, object]:
    """An object, since servers that are strict take no other root."""
    return {
        "type": "object",
        "properties": {"label": {"type": "string", "enum": list(choices)}},
        "required": ["label"],
        "additionalProperties": False,
    }


def _grammar(choices: Sequence[str]) -> str:
    """GBNF, whose strings are escaped as JSON's are."""
    return "root ::= " + " | ".join(json.dumps(choice) for choice in choices)


def tokens_of(prompt: Prompt) -> int:
    """Tokens of a prompt, estimated."""
    return sum(estimate_tokens(message.text) + _TOKENS_A_TURN for message in prompt.messages)

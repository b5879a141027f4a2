"""Compound requests: a text for one specialist joined with a text for another one, in many ways."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

JOINERS: Mapping[str, Callable[[str, str], str]] = {
    "and": lambda a, b: f"{_open(a)} and {_lower(b)}",
    "comma and": lambda a, b: f"{_open(a)}, and {_lower(b)}",
    "and also": lambda a, b: f"{_open(a)} and also {_lower(b)}",
    "also": lambda a, b: f"{_close(a)} Also {_lower(b)}",
    "plus": lambda a, b: f"{_open(a)} plus {_lower(b)}",
    "then": lambda a, b: f"{_open(a)}, then {_lower(b)}",
    "but": lambda a, b: f"{_open(a)} but {_lower(b)}",
    "as well as": lambda a, b: f"{_open(a)} as well as {_lower(b)}",
    "two sentences": lambda a, b: f"{_close(a)} {_upper(b)}",
    "by the way": lambda a, b: f"{_close(a)} By the way, {_lower(b)}",
    "while you are at it": lambda a, b: f"{_open(a)}, while you're at it {_lower(b)}",
    "another thing": lambda a, b: f"{_close(a)} Another thing: {_lower(b)}",
    "oh and": lambda a, b: f"{_open(a)}... oh and {_lower(b)}",
    "dash": lambda a, b: f"{_open(a)} - {_lower(b)}",
    "semicolon": lambda a, b: f"{_open(a)}; {_lower(b)}",
    "comma": lambda a, b: f"{_open(a)}, {_lower(b)}",
    "new line": lambda a, b: f"{_open(a)}\n{_upper(b)}",
    "first, second": lambda a, b: f"First, {_lower(_open(a))}. Second, {_lower(b)}",
    "numbered": lambda a, b: f"1. {_upper(a)} 2. {_upper(b)}",
    "nothing": lambda a, b: f"{_open(a)} {_lower(b)}",
}
"""How the second text follows the first, by a name for the result file."""


@dataclass(frozen=True, kw_only=True)
class Compound:
    """A request of two parts."""

    text: str
    specialists: tuple[str, str]
    joiner: str


def compounds(texts: Mapping[str, Sequence[str]], count: int, *, seed: int) -> list[Compound]:
    """So many requests of each joiner; the two specialists, their order and their texts are drawn."""
    random_ = random.Random(seed)  # noqa: S311 - reproducible, not secret
    names, joined = sorted(texts), []
    for joiner, join in JOINERS.items():
        for _ in range(count):
            first, second = random_.sample(names, 2)
            text = join(random_.choice(texts[first]).strip(), random_.choice(texts[second]).strip())
            joined.append(Compound(text=text, specialists=(first, second), joiner=joiner))
    return joined


def _open(text: str) -> str:
    """Without the mark at its end."""
    return text.rstrip(" .?!;,")


def _close(text: str) -> str:
    """With a mark at its end."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _lower(text: str) -> str:
    """Going on within a sentence: a word that is no name or abbreviation begins small."""
    word = text.split(maxsplit=1)[0] if text else ""
    return text if word == "I" or word.startswith("I'") or word[1:] != word[1:].lower() else text[:1].lower() + text[1:]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]

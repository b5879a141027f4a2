"""Templates of prompts as values: recognised in a call, and removed from it to get the input.

A template is stored as the runs of words that its calls share, so that another process can read it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np

RUN = 4
"""Number of words of a run."""
_HEAD, _TAIL = 500, 250
"""Words of eight characters that are read at the beginning and the end of a message, around an input."""
_WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
_HELD = 0.5
"""Least share of a template's runs in a prompt of it, since a phrase of users may contain its piece, too."""
_STANDING_IN = frozenset("<_>")
"""Characters of placeholders for personal data; runs with them do not occur in a new prompt."""
_DIGITS = re.compile(r"\d+")

Prompt = Sequence[tuple[str, str]]
"""Messages by role and text."""


def pieces_of(text: str) -> Iterator[tuple[int, str]]:
    """Yield the beginning and the end of a text, with their positions: the middle of long documents is not read."""
    head, tail = 8 * _HEAD, 8 * _TAIL
    if len(text) <= head + tail:
        yield 0, text
    else:
        yield 0, text[:head]
        yield len(text) - tail, text[-tail:]


def words_of(prompt: Prompt) -> list[str]:
    """Return the words of a prompt, the role before each message. All digits are equal."""
    words: list[str] = []
    for role, text in prompt:
        words.append(f"<{role}>")
        for _, piece in pieces_of(text):
            words += _WORD.findall(_DIGITS.sub("0", piece))
    return words


def places_of(prompt: Prompt) -> list[tuple[int, int, int]]:
    """Return the message, start and end of each word of `words_of`."""
    positions: list[tuple[int, int, int]] = []
    for message, (_, text) in enumerate(prompt):
        positions.append((message, 0, 0))
        for at, piece in pieces_of(text):
            positions += [(message, at + word.start(), at + word.end()) for word in _WORD.finditer(piece)]
    return positions


def runs_of(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the runs of words."""
    return zip(*(words[i:] for i in range(RUN)), strict=False)


def covered(prompt: Prompt, inside: np.ndarray) -> list[tuple[int, int, int]]:
    """Return the stretches of messages that runs cover: message, start, end.

    Args:
        prompt: Messages.
        inside: Whether each run is the template's. Shape (R,).
    """
    words = np.zeros(len(inside) + RUN, dtype=bool)
    for i in np.flatnonzero(inside).tolist():
        words[i : i + RUN] = True
    places = places_of(prompt)
    spans: list[tuple[int, int, int]] = []
    previous = -2
    for i in np.flatnonzero(words).tolist():
        message, start, end = places[i]
        if i == previous + 1 and spans and spans[-1][0] == message:
            spans[-1] = (message, spans[-1][1], end)
        else:
            spans.append((message, start, end))
        previous = i
    return spans


def left_over(prompt: Prompt, stretches: Sequence[tuple[int, int, int]]) -> str:
    """Return a prompt without the given stretches."""
    held: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for message, start, end in stretches:
        held[message].append((start, end))
    left = []
    for message, (_, text) in enumerate(prompt):
        at = 0
        for start, end in [*held[message], (len(text), len(text))]:
            left.append(text[at:start].strip())
            at = end
    return "\n".join(piece for piece in left if any(map(str.isalnum, piece)))


@dataclass(frozen=True, kw_only=True)
class Template:
    """The common text of the calls of one wording."""

    piece: str
    """Raw text that distinguishes it from other templates: in most of its calls, in few others."""
    runs: tuple[tuple[str, ...], ...]
    """Runs of words that nearly all its calls hold."""
    _known: frozenset[tuple[str, ...]] = field(init=False, compare=False, repr=False)
    _telling: frozenset[tuple[str, ...]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        known_runs = frozenset(map(tuple, self.runs))
        object.__setattr__(self, "_known", known_runs)
        object.__setattr__(
            self, "_telling", frozenset(run for run in known_runs if _STANDING_IN.isdisjoint(run)) or known_runs
        )

    def held_by(self, runs: AbstractSet[tuple[str, ...]]) -> int:
        """Return how many of the template's runs a prompt holds; 0 if they are too few for one of its calls."""
        held = len(self._telling & runs)
        return held if held >= _HELD * len(self._telling) else 0

    def input_of(self, prompt: Prompt, runs: Sequence[tuple[str, ...]] | None = None) -> str:
        """Return a prompt without the template; the prompt's runs may be given."""
        runs = list(runs_of(words_of(prompt))) if runs is None else runs
        inside = np.asarray([run in self._known for run in runs], dtype=bool)
        return left_over(prompt, covered(prompt, inside))


@dataclass(frozen=True)
class Recogniser:
    """Assigns a prompt to a job: one substring search per template, and the finest of those that match."""

    templates: Sequence[tuple[str, int, Template]]
    """Job, number of the wording, and template."""

    def job_of(self, prompt: Prompt) -> tuple[str, int, str] | None:
        """Return job, wording and input of a prompt; None if no template matches or nothing is left."""
        text = "\n".join(text for _, text in prompt)
        fitting = [template for template in self.templates if template[2].piece and template[2].piece in text]
        runs = list(runs_of(words_of(prompt))) if fitting else []
        distinct = set(runs)
        held = [template[2].held_by(distinct) for template in fitting]
        if not any(held):
            return None
        job, number, template = fitting[int(np.argmax(held))]
        left = template.input_of(prompt, runs)
        return (job, number, left) if left else None

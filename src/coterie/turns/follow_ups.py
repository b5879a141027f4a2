"""The follow-up model: does a turn depend on the questions before it, and which of their words does it lack?

It reads the turn and those questions together, on the reading model's lower layers, with upper layers of its own. It
is made by `scripts/turns/turn_train.py`; `MODEL_CARD.md` has data, figures and languages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from coterie.engines.onnx import PROVENANCE_FILE
from coterie.engines.reading import (
    UPPER_FILES,
    Floats,
    LowerLayers,
    UpperModel,
    bundled_lower,
    check_finite,
    gelu,
    has_lower,
    line,
    of,
)
from coterie.errors import ArtefactRefused
from coterie.runtime.codec import parse_json

BUNDLED_FOLLOW_UPS = Path(__file__).parent / "model"
BEFORE = 3
"""Most questions before a turn that are read with it."""
_MOST_TURN, _MOST_BEFORE = 60, 160
"""Most tokens of a turn and of the questions before it, as in training."""
_KEPT = 64
"""Turns whose reading is kept: whether one depends on others and what it lacks are asked separately."""


_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")


class Word(NamedTuple):
    """A word of a text in lower case, and its start."""

    text: str
    start: int


def words_of(text: str) -> list[Word]:
    """Return the words of a text."""
    return [Word(match[0].lower(), match.start()) for match in _WORD.finditer(text)]


class TurnReading(NamedTuple):
    """What the model says of a turn and the questions before it."""

    leans: float
    """Probability that the turn depends on them."""
    words: tuple[str, ...]
    """Their words in lower case, the newest question's first."""
    lacks: tuple[float, ...]
    """Log-odds that the turn lacks each of these words."""


class FollowUpHeads:
    """The input of the upper layers, and the heads on their states.

    Args:
        arrays: Weights by the names of `scripts/turns/turn_network.py`.

    Raises:
        KeyError: one is missing.
        ValueError: one is not finite.
    """

    def __init__(self, arrays: Mapping[str, Floats]) -> None:
        check_finite(arrays)
        self._side = arrays["side"]
        self._of = {name: [line(arrays, f"{name}.{at}") for at in (0, 2)] for name in ("leans", "lacks")}

    def join(self, turn: Floats, before: Floats) -> Floats:  # (T, D), (N, D) -> (T + N, D)
        """Concatenate both texts, each marked as what it is."""
        return np.concatenate([turn + self._side[0], before + self._side[1]])

    def read(self, turn: Floats, before: Floats) -> tuple[float, Floats]:  # (T, D), (N, D) -> log-odds, (N,)
        """Return the log-odds that the turn depends on what is before it, and that it lacks each token of that."""
        whole = np.concatenate([turn[0], before[0], turn.mean(axis=0), before.max(axis=0)])[None]
        token_states = np.concatenate([before, np.repeat(turn[:1], len(before), axis=0)], axis=1)
        return float(self._say("leans", whole)[0]), self._say("lacks", token_states)

    def _say(self, name: str, x: Floats) -> Floats:  # (N, F) -> (N,)
        inner, outer = self._of[name]
        return np.asarray(of(gelu(of(x, inner)), outer), dtype=np.float64)[:, 0]


class FollowUpModel(UpperModel[FollowUpHeads]):
    """Says whether a turn depends on the questions before it, and which of their words it lacks."""

    name, heads = "Follow-up model", FollowUpHeads

    def __init__(self, files: Mapping[str, bytes], lower: LowerLayers, *, location: str = "these files") -> None:
        super().__init__(files, lower, location=location)
        self._read = lru_cache(_KEPT)(self._new)

    def read(self, text: str, before: Sequence[str]) -> TurnReading:
        """Read a turn with the questions before it, oldest first; of more than `BEFORE` the newest."""
        return self._read(text, tuple(before[-BEFORE:]))

    def _new(self, text: str, before: tuple[str, ...]) -> TurnReading:
        joined = "\n".join(reversed(before))
        earlier_words = words_of(joined)
        if not earlier_words or not words_of(text):
            return TurnReading(0.0, (), ())
        turn = self._lower.question(text, _MOST_TURN)
        earlier, places = self._lower.located(joined, _MOST_BEFORE)
        states = self._above(self._head.join(turn.states, earlier.states))
        leans, tokens = self._head.read(states[: len(turn.ids)], states[len(turn.ids) :])
        words, lacks = [], []
        for word in earlier_words:
            inside = (places[:, 0] < word.start + len(word.text)) & (places[:, 1] > word.start)
            if inside.any():  # it was not cut off
                words.append(word.text)
                lacks.append(float(tokens[inside].mean()))
        return TurnReading(float(1 / (1 + np.exp(-np.clip(leans, -30, 30)))), tuple(words), tuple(lacks))


class FollowUpFacts(NamedTuple):
    """What is known of the model without loading it."""

    languages: frozenset[str]
    least: float
    """Probability from which a turn counts as dependent."""


def has_follow_ups() -> bool:
    """Return whether this installation has the model's files: a checkout without large files has not."""
    return has_lower() and all((BUNDLED_FOLLOW_UPS / name).is_file() for name in UPPER_FILES)


@cache
def follow_up_facts() -> FollowUpFacts:
    """Return what the model's provenance says of it. Raises `ArtefactRefused` if it cannot be read."""
    path = BUNDLED_FOLLOW_UPS / PROVENANCE_FILE
    try:
        about = parse_json(path.read_bytes())
        return FollowUpFacts(frozenset(about["languages"]), float(about["least_leaning"]))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ArtefactRefused(f"{FollowUpModel.name} file {path.name!r} cannot be read: {error}.") from error


@cache
def bundled_follow_ups() -> FollowUpModel:
    """Return the model that ships with the package, loaded once. Raises `ArtefactRefused`."""
    return FollowUpModel.load(BUNDLED_FOLLOW_UPS, bundled_lower())

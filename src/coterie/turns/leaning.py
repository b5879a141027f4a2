"""Whether a turn leans on what was asked before it, and which words of the earlier question it lacks."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

SCALE = 4.0
"""What unit vectors are multiplied by before a head reads them."""
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")


class Word(NamedTuple):
    """A word of a text in small letters, and where it begins."""

    text: str
    start: int


def words_of(text: str) -> list[Word]:
    """The words of a text."""
    return [Word(match[0].lower(), match.start()) for match in _WORD.finditer(text)]


def unit_states(states: np.ndarray) -> np.ndarray:  # (T, D) -> (T, D)
    """The tokens' states, each of one length."""
    return np.asarray(states / np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-9) * SCALE)


def leaning_features(vector: np.ndarray, states: np.ndarray, last: np.ndarray) -> np.ndarray:  # (F,)
    """What the head reads of a turn.

    Args:
        vector: (D,) the turn's.
        states: (T, D) of its tokens.
        last: (D,) the vector of the question before it.
    """
    unit = unit_states(states)
    parts = [vector * SCALE, unit.max(axis=0), unit.min(axis=0), unit[0], unit[-1]]
    return np.concatenate([*parts, [np.log1p(len(states)), vector @ last * SCALE]]).astype(np.float32)


def missing_features(
    words: list[Word], states: np.ndarray, offsets: np.ndarray, now: np.ndarray, said: frozenset[str]
) -> np.ndarray:  # (W, F)
    """What the head reads of each word of an earlier question.

    Args:
        words: Of the earlier question.
        states: (T, D) of its tokens.
        offsets: (T, 2) where they stand in it.
        now: (D,) the vector of the turn that leans on it.
        said: Words of that turn.
    """
    unit = unit_states(states)
    at = np.searchsorted(offsets[:, 0], [word.start for word in words]).clip(0, len(unit) - 1)
    same = np.array([[float(word.text in said)] for word in words], dtype=np.float32)
    turn = np.repeat(now[None] * SCALE, len(words), axis=0)
    return np.hstack([unit[at], turn, unit[at] * now, same * SCALE]).astype(np.float32)

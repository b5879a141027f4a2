"""English words that nobody writes, taken for the known word that is one slip away. English only.

An encoder that has never seen a word reads its syllables, and a letter amiss can make a text like nobody's examples.
Norvig's corrector (2007, "How to write a spelling corrector") with the encoder's own words, the most frequent first:
only what no one could have meant is changed, and the router keeps the change only where it makes the text more like
somebody's examples, so that a name which looks like a slip does no harm.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

_WORD = re.compile(r"(?<![\w'\u2019.@/-])[A-Za-z]{4,20}(?![\w'\u2019@/-])")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SHORTEST = 3  # letters of a word that is put in the place of another
_MOST_SLIPS = 8  # words that are mended; a text with more is in another language


class Spelling:
    """Mends slips by a list of words."""

    def __init__(self, words: Sequence[str]) -> None:
        """`words` are those that are known, in lower case, the most frequent first."""
        self._rank = {word: rank for rank, word in enumerate(words) if word.isascii() and word.isalpha()}
        self._mended = lru_cache(maxsize=4096)(self._look_up)

    def mend(self, text: str) -> str:
        """The text with slips mended; the same text if there are none, or too many."""
        slips: list[str] = []

        def mended(match: re.Match[str]) -> str:
            word = match[0]
            known = self._mended(word.lower())
            if known is None:
                return word
            slips.append(word)
            return known.capitalize() if word[0].isupper() and not word.isupper() else known

        changed = _WORD.sub(mended, text)
        return changed if len(slips) <= _MOST_SLIPS else text

    def _look_up(self, word: str) -> str | None:
        """The most frequent known word one slip away, None for a word that is known or like none."""
        if word in self._rank or self._is_inflected(word):
            return None
        near = [other for other in _one_slip_away(word) if len(other) >= _SHORTEST and other in self._rank]
        return min(near, key=self._rank.__getitem__, default=None)

    def _is_inflected(self, word: str) -> bool:
        """Whether it is a known word with an ending."""
        stems = (
            word.removesuffix(ending) for ending in ("s", "es", "ed", "d", "ing", "er", "ly") if word.endswith(ending)
        )
        return any(stem in self._rank or f"{stem}e" in self._rank for stem in stems if len(stem) >= _SHORTEST)


def _one_slip_away(word: str) -> set[str]:
    """Every string with one letter dropped, doubled up, swapped with its neighbour or mistyped."""
    splits = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    dropped = {a + b[1:] for a, b in splits if b}
    swapped = {a + b[1] + b[0] + b[2:] for a, b in splits if len(b) > 1}
    mistyped = {a + letter + b[1:] for a, b in splits if b for letter in _LETTERS}
    added = {a + letter + b for a, b in splits for letter in _LETTERS}
    return dropped | swapped | mistyped | added

"""What a text is for an index of words: signs that look the same are the same, and scripts without blanks have words.

An index takes for a word what stands between blanks and signs. In Chinese, Japanese and Thai nothing does, so each two
neighbouring letters are one (bigrams, as Lucene's CJKAnalyzer has it). Accents of letters that have small and large
forms, and vowel points of Arabic and Hebrew, are left out, as many leave them out when they ask.
"""

from __future__ import annotations

import re
from unicodedata import normalize

_UNSPACED = re.compile(
    r"[\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uf900-\ufaff\U00020000-\U0003ffff]+"
)
"""Thai, Lao, Burmese, Khmer; kana and Chinese characters."""
_MARKS = re.compile(r"[\u0300-\u036f\u0591-\u05c7\u0640\u064b-\u065f\u0670]")
"""Accents; points of Hebrew and Arabic, and what Arabic words are drawn out with."""
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u2060\ufeff]")
"""Where a word may be broken, and what says how to draw it."""
_NOTE = re.compile(r"(?<=[^\W\d_]{4})[\u00b2\u00b3\u00b9\u2070-\u2079]+|(?<=\d)[\u00b2\u00b3\u00b9\u2070-\u2079]+")
"""Marks of notes; behind a shorter word they are of a unit: m\u00b2, km\u00b3."""

_FRACTION = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215e])")
"""Between a number and the fraction behind it."""


def indexable(text: str) -> str:
    """A text with its words as an index takes them."""
    if text.isascii():
        return text
    plain = normalize("NFKD", _FRACTION.sub(" ", _NOTE.sub(" ", _INVISIBLE.sub("", text))))
    # Other marks are letters' own: they are put together again.
    return _UNSPACED.sub(_pairs, normalize("NFC", _MARKS.sub("", plain)))


def _pairs(match: re.Match[str]) -> str:
    run = match[0]
    pairs = (run[i : i + 2] for i in range(len(run) - 1)) if len(run) > 1 else (run,)
    return f" {' '.join(pairs)} "

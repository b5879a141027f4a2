"""Words that turn a meaning round, by language: `not`, `nicht`, `ne … pas`, `ない`.

A language without a table has no words here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from coterie.text.language import base
from coterie.text.locales import table

_NEGATIONS: Mapping[str, str] = table("negations")
_EXCEPTIONS: Mapping[str, str] = table("exceptions")
_GLUED: Mapping[str, str] = {
    "en": r"n['\u2019]t\b",
    "fr": r"\bn['\u2019](?=\w)",
    "ja": r"ない|なく|なかっ|ません|ずに|不可|禁止",
}
"""Parts of words that deny."""


@cache
def negations(language: str) -> frozenset[str]:
    """The words of a language that deny, in small letters; none if it has no table."""
    return frozenset(_NEGATIONS.get(base(language), "").split())


@cache
def exceptions(language: str) -> frozenset[str]:
    """The words of a language that take something out: `except`, `außer`."""
    return frozenset(_EXCEPTIONS.get(base(language), "").split())


@cache
def negation_pattern(language: str) -> re.Pattern[str]:
    """Every word or part of a word that denies. In French `ne … pas` is one: its `ne` is left out."""
    words = sorted(negations(language) - ({"ne"} if base(language) == "fr" else set()), key=len, reverse=True)
    glued = [] if base(language) == "fr" else [_GLUED[base(language)]] if base(language) in _GLUED else []
    parts = [rf"\b(?:{'|'.join(words)})\b"] if words else []
    return re.compile("|".join([*parts, *glued]) or r"(?!)", re.IGNORECASE)


def count_negations(text: str, language: str) -> int:
    """How often a text denies."""
    return len(negation_pattern(language).findall(text))

"""Words that turn a meaning round, by language: `not`, `nicht`, `ne … pas`, `ない`.

A language without a table has no words here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from coterie.text.language import base

_NEGATIONS: Mapping[str, str] = {
    "en": "not no never none nobody nothing neither nor without cannot unable",
    "de": "nicht nie niemals kein keine keinen keinem keiner keines niemand niemandem nichts weder ohne nirgends",
    "fr": "ne pas non jamais aucun aucune aucuns aucunes personne rien ni sans nullement",
    "es": "no nunca jamás ningún ninguno ninguna ningunos ningunas nadie nada ni sin tampoco",
    "pt": "não nunca jamais nenhum nenhuma nenhuns nenhumas ninguém nada nem sem tampouco",
    "it": "non no mai nessun nessuno nessuna niente nulla né senza neanche nemmeno",
    "nl": "niet nooit geen niemand niets noch zonder nergens",
}
_EXCEPTIONS: Mapping[str, str] = {
    "en": "except unless",
    "de": "außer ausgenommen ausschließlich",
    "fr": "sauf excepté hormis",
    "es": "salvo excepto menos",
    "pt": "salvo exceto excepto",
    "it": "salvo eccetto tranne",
    "nl": "behalve uitgezonderd tenzij",
}
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

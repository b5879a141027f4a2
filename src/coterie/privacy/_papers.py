"""Numbers of passports, identity cards and driving licences.

What authorities print has no one form: nearly every state of the USA has its own for licences. So any token with some
digits counts that stands close to the paper's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ._found import Kind, PersonalData

_NAMES = (
    r"driv(?:er|ing)(?:s?['\u2019]?s?)?\s{1,3}licen[cs]e|(?:my|your|his|her|their|our)\s{1,3}licen[cs]e|dl",
    r"licen[cs]e\s{1,3}(?:number|no\.?|nr\.?|num\.?|\#|id)|driving\s{1,3}permit|passport|(?:identity|id)\s{1,3}card",
    r"carte\s{1,3}(?:nationale\s{1,3})?d['\u2019]identit\u00e9|carta\s{1,3}d['\u2019]identit\u00e0|documento\s{1,3}de\s{1,3}identidad",
    r"f\u00fchrerschein|reisepass|personalausweis|passeport|permis\s{1,3}de\s{1,3}conduire|pasaporte",
    r"(?:carnet|permiso)\s{1,3}de\s{1,3}conducir|passaporto|patente\s{1,3}di\s{1,3}guida|rijbewijs|paspoort",
)
_NAME = f"(?i:{'|'.join(_NAMES)})"
_HINTS = (
    *("licen", "permi", "passport", "passeport", "reisepass", "pasaporte", "passaporto", "paspoort"),
    *("patente", "carnet", "f\u00fchrer", "ausweis", "rijb", "identi"),
)
"""Pieces of those names, one of which every text with a name has, but for those that are pieces of many words."""
_SHORT = re.compile(r"dl(?<![^\W_]dl)|i(?:dentity|d)\s{1,3}card", re.IGNORECASE)
"""These two."""
_NUMBER = (
    r"(?P<number>(?:(?!ID[ -]|NO[ -]|NR[ -])[A-Z]{1,3}[ -]){0,2}(?!(?:ID|NO|NR)[ -])[A-Za-z]{0,8}\d[A-Za-z\d]{0,20}"
    r"(?:-[A-Za-z\d]{1,8}){0,5}(?: \d[A-Z\d]{1,8}){0,5})(?![\w@/])"
)
_BEFORE = re.compile(rf"(?<![^\W_]){_NAME}(?![^\W\d_])(?:[^\d.!;]|\.(?!\s[A-Z][a-z])){{0,40}}?(?<![\w$€£]){_NUMBER}")
_BEHIND = re.compile(rf"(?<![\w$€£.,/-]){_NUMBER}['\")]?,?\s(?:is|was|'s)\s(?:\w{{1,12}}\s){{0,4}}{_NAME}(?![^\W_])")
_AMOUNT = re.compile(r"\s?(?:[$€£%]|(?i:usd|eur|euros?|gbp|chf|dollars?|pounds?|times|people|days|years)\b)")
_SIGNS, _DIGITS = 5, 3
"""Letters and digits, and digits among them, that a number has at least: no year, no house."""


def find_papers(text: str) -> Iterator[PersonalData]:
    """Numbers before and behind the name of such a paper."""
    lower = text.casefold()
    if not (any(hint in lower for hint in _HINTS) or _SHORT.search(lower)):
        return
    for pattern in (_BEFORE, _BEHIND):
        for match in pattern.finditer(text):
            signs = [sign for sign in match["number"] if sign.isalnum()]
            whole = len(signs) >= _SIGNS and sum(sign.isdigit() for sign in signs) >= _DIGITS
            if whole and not _AMOUNT.match(text, match.end("number")):
                start, end = match.span("number")
                yield PersonalData(kind=Kind.NATIONAL_ID, start=start, end=end, score=0.92)

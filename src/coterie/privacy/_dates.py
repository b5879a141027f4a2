"""Dates, and which of them are somebody's birth."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ._context import Words, last_before
from ._found import Kind, PersonalData

_MONTH = (
    r"(?:jan(?:uary|uar|vier)?|feb(?:ruary|ruar)?|f\u00e9vrier|mar(?:ch|s|zo)?|m\u00e4rz|apr(?:il)?|avril|may|mai|june?|juni|juin|"
    r"july?|juli|juillet|aug(?:ust)?|ao\u00fbt|sept?(?:ember)?|septembre|o[ck]t(?:ober)?|octobre|nov(?:ember)?|novembre|de[cz](?:ember)?|"
    r"d\u00e9cembre|enero|febrero|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre|gennaio|febbraio|aprile|"
    r"maggio|giugno|luglio|settembre|ottobre|dicembre)\.?"
)
_TIME = r"(?:[T ]\d{2}:\d{2}(?::\d{2})?)?"
_DATE = re.compile(
    rf"(?<![\w./-])(?:(?:19|20)\d\d([-/.])(?:0?[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01]|[1-9]){_TIME}"
    r"|(?:0?[1-9]|[12]\d|3[01])([-/.])(?:0?[1-9]|[12]\d|3[01])\2(?:(?:19|20)\d\d|\d\d)"
    rf"|(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th|\.|er)?\s(?:of\s|de\s)?{_MONTH},?(?:\s(?:de\s)?(?:19|20)\d\d)?"
    rf"|{_MONTH}\s(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?(?:,?\s(?:19|20)\d\d)?)(?![\w/-])(?!\.\d)",
    re.IGNORECASE,
)
_BIRTH = Words(
    "born, birth, dob, d.o.b, birthday, birthdate, b, geboren, geburtsdatum, geburtstag, geb, n\u00e9, n\u00e9e, "
    "naissance, nacido, nacida, nacimiento, nac\u00ed, "
    "naci\u00f3, nasci, nato, nata, nascita, nascido, nascida, nascimento, geboortedatum, "
    "f\u00f6dd, f\u00f6delsedatum, urodzony, urodzona"
)
_BORN_BEHIND = re.compile(r"\s(?:(?:in|zu)\s[^\W\d_]{2,24}\s)?(?:geboren|geb\.|born)(?![^\W_])", re.IGNORECASE)
"""`am 12.3.1984 in Ulm geboren`."""
_REACH = 40
_DIGIT = re.compile(r"\d")


def date_places(text: str) -> Iterator[tuple[int, int]]:
    """Where days stand in a text, as numbers or with the month's name (English, German, French, Spanish, Italian)."""
    if not _DIGIT.search(text):
        return
    for match in _DATE.finditer(text):
        yield match.start(), match.start() + len(match[0].rstrip(" .,"))


def begins_date(text: str, start: int) -> bool:
    """Whether a day stands at a place of a text."""
    return _DATE.match(text, start) is not None


def find_births(text: str) -> Iterator[PersonalData]:
    """Dates behind words for a birth; between them stand no other date and no end of a paragraph."""
    if not _BIRTH.may_stand_in(text):
        return
    before = 0
    for start, end in date_places(text):
        said = last_before(_BIRTH, text, start, reach=min(_REACH, start - before))
        if (said >= 0 and "\n\n" not in text[said:start]) or _BORN_BEHIND.match(text, end):
            yield PersonalData(kind=Kind.DATE_OF_BIRTH, start=start, end=end, score=0.9)
        before = end

"""Read dates, in ISO 8601: `5. März 2024`, `March 5, 2024`, `5 mars 2024`, `2024年3月5日`, `05.03.2024`.

A date in figures alone is read in the order of the text's language and region. Where that is not known, or differs by
region as in English, it is read only if one order is possible: `31/12/2024`, but not `05/06/2024`. With points the day
comes first in every language that writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import cache
from typing import NamedTuple

from coterie.text.locales import date_order, months
from coterie.text.numerals import narrow, read_kanji

_PIVOT = 70
"""Years of two figures from here on are of the last century, as POSIX reads them."""
_ERAS = {"令和": 2018, "平成": 1988, "昭和": 1925}
_FIRST = r"\d元令平昭\u3007一二三四五六七八九十"
"""What a date that begins with figures begins with, a Japanese era and its numerals too."""
_KANJI_NUMBER = "[0-9\u3007一二三四五六七八九十]{1,4}"


_ANY = re.compile(r"\d|年")
"""What a text with a date has: most sentences have none, and are read no further."""


class Date(NamedTuple):
    """A date in a text: `text[start:end]`."""

    start: int
    end: int
    value: str


@cache
def _forms() -> re.Pattern[str]:
    names = "|".join(sorted(map(re.escape, months()), key=len, reverse=True))
    month = rf"(?P<month>{names})(?![^\W\d_])\.?"
    day = r"(?P<day>\d{1,2})\s?(?:st|nd|rd|th|er|º|°|\.º|\.\u00aa|\.|e)?"
    of = r"(?:\s*(?:day\s+)?(?:of|de|del|di|d'|do)\s+|\s+|\s*[-/]\s*)"
    year = r"(?P<year>\d{4})(?!\d)"
    near = r"(?=\D{2,60}+\d)"  # no name of a month is tried where no figure follows
    forms = (
        rf"(?<![\w.])(?<!\d[,/-]){near}(?:{month})\s*{day}(?:\s*,\s*|\s+){year}",
        rf"(?<![\w.])(?<!\d[,/-]){day}(?:\s+day)?{of}?{month}(?:\s*,)?{of}?{year}",
        rf"(?<![\w./-]){year}[\s,]+{month}\s+{day}(?![\w.])",
        r"(?<![\w./-])(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})(?!\d|[-/.]\d)",
        r"(?<![\w./-])(?P<first>\d{1,2})(?P<mark>[-/])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4}|\d{2})(?!\d|[-/.]\d)",
        r"(?<![\d.])(?P<day>\d{1,2})\.\s?(?P<month>\d{1,2})\.\s?(?P<year>\d{4})(?!\d|\.\d)",
        rf"(?P<era>{'|'.join(_ERAS)})?(?P<year>{_KANJI_NUMBER}|元)年\s?(?P<month>{_KANJI_NUMBER})月\s?(?P<day>{_KANJI_NUMBER})日",
    )
    named, *figured = (re.sub(r"\(\?P(<|=)(\w+)", rf"(?P\g<1>\g<2>{i}", form) for i, form in enumerate(forms))
    # Most places of a text begin neither: they are passed at the cost of one look.
    return re.compile(rf"{named}|(?=[{_FIRST}])(?:{'|'.join(figured)})", re.IGNORECASE)


def find_dates(text: str, language: str | None = None) -> list[Date]:
    """The dates of a text, in order.

    Args:
        text: Any text.
        language: Decides the order of figures; names of months are known in all languages.
    """
    text = narrow(text)
    return list(_find(text, language)) if _ANY.search(text) else []


def _find(text: str, language: str | None) -> Iterator[Date]:
    for match in _forms().finditer(text):
        groups = {name.rstrip("0123456789"): value for name, value in match.groupdict().items() if value is not None}
        value = _figures(groups, language) if "first" in groups else _named(groups)
        if value is not None:
            yield Date(*match.span(), value)


def _named(groups: dict[str, str]) -> str | None:
    """A date whose month is named, or that has its year first, or points."""
    month = groups["month"].casefold()
    day = _small(groups["day"])
    number = months().get(month) or _small(month)
    year = 1 if groups["year"] == "元" else _small(groups["year"])
    year += _ERAS.get(groups.get("era", ""), 0)
    if number > 12 >= day and "mark" not in groups:
        number, day = day, number
    return _iso(year, number, day)


def _small(word: str) -> int:
    return int(word) if word.isdecimal() else read_kanji(word) or 0


def _figures(groups: dict[str, str], language: str | None) -> str | None:
    first, second, year = int(groups["first"]), int(groups["second"]), int(groups["year"])
    order = date_order(language)
    if len(groups["year"]) == 2:
        if order == "ymd":
            return None  # 24/03/05 may be of 2024 or of 2005
        year += 2000 if year < _PIVOT else 1900
    readings = {"dmy": _iso(year, second, first), "mdy": _iso(year, first, second)}
    possible = {value for value in readings.values() if value is not None}
    return possible.pop() if len(possible) == 1 else readings.get(order or "")


def _iso(year: int, month: int, day: int) -> str | None:
    try:
        return date(year, month, day).isoformat() if year >= 1000 else None
    except ValueError:
        return None

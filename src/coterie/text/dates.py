"""Reads dates and durations, in ISO 8601: `5. März 2024`, `2024年3月5日`; `48 Stunden` is `PT48H`.

A date in figures alone is read in the order of the text's language and region. Where that order is unknown, or differs
by region as in English, the date is read only if one order is possible: `31/12/2024`, but not `05/06/2024`. With points
the day comes first in every language that writes them.

Ranges (`30 to 60 days`, `5-10 Tage`), words and figures that contradict each other (`thirty (60) days`), and possible
ordinals (`forty-second`) have no value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from typing import NamedTuple

from coterie.text.language import base
from coterie.text.locales import date_order, months, table
from coterie.text.numerals import FIGURES, find_numerals, first_figures, last_figures, narrow, read_figures, read_kanji

_PIVOT = 70
"""Years of two figures from here on belong to the last century, as POSIX reads them."""
_ERAS = {"令和": 2018, "平成": 1988, "昭和": 1925}
_FIRST = r"\d元令平昭\u3007一二三四五六七八九十"
"""Characters that a numeric date may begin with, also a Japanese era and its numerals."""
_KANJI_NUMBER = "[0-9\u3007一二三四五六七八九十]{1,4}"


_ANY = re.compile(r"\d|年")
"""Characters that every text with a date contains: most sentences have none, and are skipped."""


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
    """Return the dates of a text, in order.

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
    """Return a date with a named month, with its year first, or with points."""
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


_UNITS: Mapping[str, Mapping[str, str]] = table("units_of_time")
_MODIFIERS: Mapping[str, str] = table("modifiers_of_time")
_JAPANESE = (
    ("Y", "年間|年(?=以|未満|前|後)"),
    ("M", "(?:か|ヶ|カ|ヵ|け|個|箇)月(?:間)?"),
    ("W", "週間?"),
    ("D", "日間|日(?=以|未満|前|後)"),
    ("TH", "時間"),
    ("TM", "分間?"),
    ("TS", "秒間?"),
)
_BETWEEN = r"(?:to|or|and|bis|oder|und|à|a|ou|et|o|y|e|tot|of|en)"
_RANGES = re.compile(rf"\d\s*(?:[-\u2013\u2014/]|\b{_BETWEEN}\b)\s*$|[-\u2013/\u301c\uff5e~]\s*$|\d\s+$", re.IGNORECASE)
_JOINED = re.compile(rf"\s*(?:[-\u2013]|{_BETWEEN})?\s*", re.IGNORECASE)
_OF_MONEY = re.compile(r"[$\u20ac\xa3\xa5]\s*$")
"""A currency sign before the figures of an amount: `$ 35,000 second year`."""
_HALF = r"(?!\s+(?:and a half|und ein halb|et demi|y medi|e mei|e mezz|en een half))"
"""No half a unit after the unit."""
_BRACKETED = re.compile(rf"\s*\(\s*(?P<figures>{FIGURES})\s*\)")


class Duration(NamedTuple):
    """A duration in a text: `text[start:end]`."""

    start: int
    end: int
    value: str


@cache
def _units() -> Mapping[str, str]:
    """Return the sign of each unit's word in any language; no word means two units."""
    return {word: sign for units in _UNITS.values() for sign, words in units.items() for word in words.split()}


@cache
def _behind() -> re.Pattern[str]:
    """Return the pattern of what follows the number: adjectives and the unit."""
    adjectives = "|".join(word for words in _MODIFIERS.values() for word in words.split())
    words = "|".join(sorted(_units(), key=len, reverse=True))
    japanese = "|".join(f"(?P<{sign}>{pattern})" for sign, pattern in _JAPANESE)
    return re.compile(
        rf"[\s-]*(?:(?:{adjectives})[\s-]+)*(?:(?P<unit>{words})\b{_HALF}|{japanese}|(?<=\d)\s?(?P<hours>(?-i:h))\b)",
        re.IGNORECASE,
    )


def find_durations(text: str, language: str | None = None) -> list[Duration]:
    """Return the durations of a text, in order.

    Args:
        text: Any text.
        language: Decides how its numbers are read; units and number words are known in all languages.
    """
    text = narrow(text)
    durations = sorted([*_in_figures(text, language), *_in_words(text, language)])
    kept: list[Duration] = []
    for duration in durations:
        if not kept or duration.start >= kept[-1].end:
            kept.append(duration)
    return kept


def _in_figures(text: str, language: str | None) -> Iterator[Duration]:
    for match in re.finditer(rf"(?<![\w.,:])(?<![.,]\s){FIGURES}|(?<=\s){FIGURES}", text):
        if _behind().match(text, match.end()) is None:
            continue
        run = match[0]
        token = first_figures(run)
        token = token if len(token) == len(run) else last_figures(run)
        start = match.end() - len(token)
        value = read_figures(token, language)
        unit = _behind().match(text, match.end())
        if value is not None and unit is not None and not _is_other(text, start, match.start()):
            yield Duration(start, unit.end(), _iso_span(value, _sign(unit)))


def _is_other(text: str, start: int, run: int) -> bool:
    """Return whether the number is the end of a range, of a fraction (`1 1/2 years`), or an amount of money."""
    before = max(0, start - 12), start
    return start > run or any(form.search(text, *before) is not None for form in (_RANGES, _OF_MONEY))


def _in_words(text: str, language: str | None) -> Iterator[Duration]:
    """Yield durations with numbers in words, with or without the same number in brackets after them."""
    numerals = find_numerals(text, language if base(language) in _UNITS or base(language) == "ja" else None)
    if language is not None and base(language) != "en":  # English forms are quoted everywhere
        numerals = sorted({*numerals, *find_numerals(text, "en")})
    for index, numeral in enumerate(numerals):
        value, end = Decimal(numeral.value), numeral.end
        if bracketed := _BRACKETED.match(text, end):
            again = read_figures(bracketed["figures"], language)
            end = bracketed.end()
            if again != value:
                continue
        unit = _behind().match(text, end)
        if unit is not None and value != 1 and (unit["unit"] or "").casefold() == "second":
            continue
        before = numerals[index - 1] if index else None
        if unit is not None and not (before and _joined(text[before.end : numeral.start])):
            yield Duration(numeral.start, unit.end(), _iso_span(value, _sign(unit)))


def _joined(gap: str) -> bool:
    """Return whether the text between two numbers makes them a range: `one or two days`."""
    return _JOINED.fullmatch(gap) is not None


def _sign(unit: re.Match[str]) -> str:
    if unit["unit"]:
        return _units()[unit["unit"].casefold()]
    return "TH" if unit["hours"] else next(sign for sign, _ in _JAPANESE if unit[sign])


def _iso_span(value: Decimal, sign: str) -> str:
    figures = f"{value.normalize():f}"
    return f"P{'T' if len(sign) > 1 else ''}{figures}{sign[-1]}"

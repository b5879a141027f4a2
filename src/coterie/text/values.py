"""Reads typed values in a text: dates and durations, amounts of money, numbers, in the language of the text.

Each value has one form, so that two spellings of it are equal: `5. März 2024` and `2024年3月5日` are `2024-03-05`,
`48 Stunden` is `PT48H` (ISO 8601); `C$500` is `CAD 500`, `1.234 Euro` in German `EUR 1234` (ISO 4217).

There are no guesses: what is ambiguous has no value. A date in figures alone is read in the order of the text's
language and region. Where that order is unknown, or differs by region as in English, the date is read only if one order
is possible: `31/12/2024`, but not `05/06/2024`. With points the day comes first in every language that writes them.
`5.000 €` is 5000 in German and Spanish, and None in a text of unknown language. `$` is the dollar of the text's region,
else of the United States; `kr` needs a language. An amount in brackets that stands alone is negative, as in accounts.

Ranges (`30 to 60 days`, `5-10 €`), words and figures that contradict each other (`thirty (60) days`), and possible
ordinals (`forty-second`) have no value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cache
from typing import NamedTuple

from coterie.text.language import (
    base,
    currency_codes,
    currency_names,
    currency_signs,
    date_order,
    decimal_sign,
    has_own_currencies,
    home_decimal,
    month_names,
    months,
    powers_of_ten,
    table,
    units_of_time,
)
from coterie.text.numerals import (
    FIGURES,
    KANJI_SCALES,
    as_decimal,
    as_plain,
    find_numbers,
    find_numerals,
    first_figures,
    is_ambiguous,
    last_figures,
    narrow,
    read_figures,
    read_kanji,
)
from coterie.text.segmentation import plain
from coterie.types import Scalar

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
    names = "|".join(sorted({name[0] + _beginning_with(name[0]) for name in month_names()}))
    month = rf"(?P<month>{names})(?![^\W\d_])\.?"
    day = r"(?P<day>\d{1,2})\s?(?:st|nd|rd|th|er|º|°|\.º|\.\u00aa|\.|e)?"
    of = r"(?:\s*(?:day\s+)?(?:of|de|del|di|d'|do)\s+|\s+|\s*[-/]\s*)"
    year = r"(?P<year>\d{4})(?!\d)"
    near = r"(?=\D{2,60}+\d)"  # no name of a month is tried where no figure follows
    forms = (
        rf"(?<![\w.])(?<!\d[,/-]){near}(?:{month})\s*{day}(?:\s*,\s*|\s+){year}",
        rf"(?<![\w.])(?<!\d[,/-]){day}(?:\s+day)?{of}?{month}(?:\s*,)?{of}?{year}",
        rf"(?<![\w./-]){year}(?:\.|\s?m\.)?[\s,]+{month}\s+{day}(?!\w|\.\d)",
        rf"(?<![\w./-]){year}\.\s?gada\s{day}\s{month}",
        r"(?<![\w./-])(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})(?!\d|[-/.]\d)",
        r"(?<![\w./-])(?P<first>\d{1,2})(?P<mark>[-/])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4}|\d{2})(?!\d|[-/.]\d)",
        r"(?<![\w./-])(?P<year>\d{4})\.\s(?P<second>\d{1,2})\.\s(?P<first>\d{1,2})(?!\d|\.\d)",
        r"(?<![\d.])(?P<day>\d{1,2})\.\s?(?P<month>\d{1,2})\.\s?(?P<year>\d{4})(?!\d|\.\d)",
        rf"(?P<era>{'|'.join(_ERAS)})?(?P<year>{_KANJI_NUMBER}|元)年\s?(?P<month>{_KANJI_NUMBER})月\s?(?P<day>{_KANJI_NUMBER})[日号號]",
        r"(?<!\d)(?P<year>\d{4})년\s?(?P<month>\d{1,2})월\s?(?P<day>\d{1,2})일",
    )
    named, *figured = (re.sub(r"\(\?P(<|=)(\w+)", rf"(?P\g<1>\g<2>{i}", form) for i, form in enumerate(forms))
    # Most places of a text begin neither: they are passed at the cost of one look.
    return re.compile(rf"{named}|(?=[{_FIRST}])(?:{'|'.join(figured)})", re.IGNORECASE)


def _beginning_with(letter: str) -> str:
    """Return the pattern of the rest of each month's name that begins so: fewer are tried at each word."""
    rests = sorted((name[1:] for name in month_names() if name[0] == letter), key=len, reverse=True)
    return f"(?:{'|'.join(map(re.escape, rests))})"


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
        value = _figures(groups, language) if "first" in groups else _named(groups, language)
        if value is not None:
            yield Date(*match.span(), value)


def _named(groups: dict[str, str], language: str | None) -> str | None:
    """Return a date with a named month, with its year first, or with points."""
    month = groups["month"].lower()
    day = _small(groups["day"])
    number = months(language).get(month) or _small(month)
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
    if "mark" not in groups:  # "2024. 3. 5.", and elsewhere numbers of a list: "in 2024. 3. 5"
        return _iso(year, second, first) if order == "ymd" else None
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
_JAPANESE = {
    "Y": "年間|年(?=以|未満|前|後)",
    "M": "(?:か|ヶ|カ|ヵ|け|個|箇)月(?:間)?",
    "W": "週間?",
    "D": "日間|日(?=以|未満|前|後)",
    "TH": "時間",
    "TM": "分間?",
    "TS": "秒間?",
}
_YEAR_OF_DATE = r"(?<!\d\d\d\d[년年])(?!\s?\d{1,2}\s?[월月])"
"""Not the year of a date."""
_UNSPACED: Mapping[str, Mapping[str, str]] = {
    "ja": _JAPANESE,
    "ko": {
        "Y": rf"년간?{_YEAR_OF_DATE}",
        "M": "(?:개월|달)간?",
        "W": "주(?:일|간)?",
        "D": "일간?",
        "TH": "시간",
        "TM": "분간?(?!의)",
        "TS": "초간?",
    },
    "zh": {
        "Y": rf"年{_YEAR_OF_DATE}",
        "M": "[个個]月",
        "W": "[个個]?(?:星期|礼拜|禮拜)|[周週]",
        "D": "天|[个個]?工作日|日(?=[内內])",
        "TH": "[个個]?(?:小[时時]|[钟鐘][头頭])",
        "TM": "分[钟鐘]",
        "TS": "秒[钟鐘]?",
    },
}
"""Units of languages that write no space behind them; those of Japanese are read in every text."""
_DAY_OF_MONTH = re.compile(r"[월月]\s?$")
_AT_THE_HOUR: Mapping[str, str] = table("at_the_hour")
"""Prepositions with which a number of hours is a time of day: `в 5 часов`."""
_POSSIBLY_TO = re.compile(r"\d\s?(?:[^\W\d_]{1,5}\s|[-\u2013\u2014]\s?)$")
"""A number and one short word before a number: a range in some language (`od 5 do 10`)."""
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
def _units(tag: str) -> Mapping[str, str]:
    """Return the sign of each unit's word: of the languages written by hand, and of this one."""
    by_hand = {word: sign for units in _UNITS.values() for sign, words in units.items() for word in words.split()}
    return {**by_hand, **units_of_time(tag)}


@cache
def _behind(tag: str) -> re.Pattern[str]:
    """Return the pattern of what follows the number: adjectives and the unit."""
    adjectives = "|".join(word for words in _MODIFIERS.values() for word in words.split())
    adjectives += "|de" if tag == "ro" else ""
    words = "|".join(sorted(_units(tag), key=len, reverse=True))
    unspaced = "|".join(f"(?P<{sign}>{pattern})" for sign, pattern in _UNSPACED.get(tag, _JAPANESE).items())
    return re.compile(
        rf"[\s-]*(?:(?:{adjectives})[\s-]+)*(?:(?P<unit>{words})\b{_HALF}|{unspaced}|(?<=\d)\s?(?P<hours>(?-i:h))\b)",
        re.IGNORECASE,
    )


def find_durations(text: str, language: str | None = None) -> list[Duration]:
    """Return the durations of a text, in order.

    Args:
        text: Any text.
        language: Decides how its numbers are read. Number words, and the units of eight languages, are known in all
            texts; those of 22 more in texts of their own language.
    """
    text = narrow(text)
    durations = sorted([*_in_figures(text, language), *_durations_in_words(text, language)])
    kept: list[Duration] = []
    for duration in durations:
        if not kept or duration.start >= kept[-1].end:
            kept.append(duration)
    return kept


def _in_figures(text: str, language: str | None) -> Iterator[Duration]:
    tag = base(language)
    behind = _behind(tag)
    for match in re.finditer(rf"(?<![\w.,:])(?<![.,]\s){FIGURES}|(?<=\s){FIGURES}{_glued(tag)}", text):
        if behind.match(text, match.end()) is None:
            continue
        run = match[0]
        token = first_figures(run)
        token = token if len(token) == len(run) else last_figures(run)
        start = match.end() - len(token)
        value = read_figures(token, language)
        unit = behind.match(text, match.end())
        if value is None or unit is None or _is_other(text, start, match.start()):
            continue
        sign = _sign(unit, tag)
        if not _is_other_of(tag, text, start, sign):
            yield Duration(start, unit.end(), _iso_span(value, sign))


def _glued(tag: str) -> str:
    """Return the pattern of a number that touches the word before it, as in Chinese."""
    return rf"|(?<=[^\W\d_a-zA-Z月年第]){FIGURES}" if tag == "zh" else ""


def _is_other(text: str, start: int, run: int) -> bool:
    """Return whether the number is the end of a range, of a fraction (`1 1/2 years`), or an amount of money."""
    before = max(0, start - 12), start
    return start > run or any(form.search(text, *before) is not None for form in (_RANGES, _OF_MONEY))


def _is_other_of(tag: str, text: str, start: int, sign: str) -> bool:
    """Return whether a number beside a unit is a day of a date, a time of day or the end of a range, by language."""
    before = text[max(0, start - 12) : start]
    if tag in {"ko", "zh"} and _DAY_OF_MONTH.search(before):
        return True
    hour = _AT_THE_HOUR.get(tag) if sign == "TH" else None
    if hour is not None and re.search(rf"(?<!\w)(?:{'|'.join(hour.split())})\s$", before, re.IGNORECASE):
        return True
    return bool(units_of_time(tag)) and _POSSIBLY_TO.search(before) is not None


def _durations_in_words(text: str, language: str | None) -> Iterator[Duration]:
    """Yield durations with numbers in words, with or without the same number in brackets after them."""
    numerals = find_numerals(text, language if base(language) in _UNITS or base(language) == "ja" else None)
    if language is not None and base(language) != "en":  # English forms are quoted everywhere
        numerals = sorted({*numerals, *find_numerals(text, "en")})
    tag = base(language)
    behind = _behind(tag)
    for index, numeral in enumerate(numerals):
        value, end = Decimal(numeral.value), numeral.end
        if bracketed := _BRACKETED.match(text, end):
            again = read_figures(bracketed["figures"], language)
            end = bracketed.end()
            if again != value:
                continue
        unit = behind.match(text, end)
        if unit is not None and value != 1 and (unit["unit"] or "").casefold() == "second":
            continue
        before = numerals[index - 1] if index else None
        if unit is not None and not (before and _joined(text[before.end : numeral.start])):
            yield Duration(numeral.start, unit.end(), _iso_span(value, _sign(unit, tag)))


def _joined(gap: str) -> bool:
    """Return whether the text between two numbers makes them a range: `one or two days`."""
    return _JOINED.fullmatch(gap) is not None


def _sign(unit: re.Match[str], tag: str) -> str:
    if unit["unit"]:
        return _units(tag)[unit["unit"].casefold()]
    return "TH" if unit["hours"] else next(sign for sign in _JAPANESE if unit[sign])


def _iso_span(value: Decimal, sign: str) -> str:
    figures = f"{value.normalize():f}"
    return f"P{'T' if len(sign) > 1 else ''}{figures}{sign[-1]}"


# --- Reads amounts of money, as ISO 4217 code and number: `C$500` is `CAD 500`, `1.234 Euro` in German `EUR 1234`.

_SIGNS: Mapping[str, str] = {sign: code for code, signs in table("currency_signs").items() for sign in signs}
"""Signs that mean one currency in every language."""
_SHARED: Mapping[str, str | None] = {
    "$": None,
    "\u00a5": None,
    "\uffe5": None,
    "kr": None,
    "kr.": None,
    "rs": None,
    "rs.": None,
}
"""Signs that depend on the language or the region."""
_KRONE = {"sv": "SEK", "no": "NOK", "da": "DKK"}
_NEAR = 20
"""Most characters of white space around an amount that stands alone."""
_NO_DOLLAR = frozenset({"es", "pt", "fr"})
"""Languages of several countries with a `$` of their own: the sign has no value without the region."""
_WORDS_TOO = frozenset(
    ["ALL", "TOP", "CUP", "PEN", "MAD", "SOS", "BOB", "BAM", "ANG", "MOP", "TRY", "GEL", "RON", "AMD", "COP", "LAK"]
)
"""Codes that are also words in capitals: they need figures that look like an amount."""
_SMALL_CODES = frozenset(["usd", "eur", "gbp", "jpy", "chf", "cad", "aud"])
"""Codes that are recognised in lower case."""
_SCALES: Mapping[str, Mapping[str, int]] = table("powers_of_ten")
"""Powers of ten by language; those that all languages share are under the empty name."""


class Money(NamedTuple):
    """An amount of money in a text: `text[start:end]`."""

    start: int
    end: int
    currency: str
    amount: Decimal

    @property
    def value(self) -> str:
        """The code and the amount, whole or with at least two decimals: `USD 1500`, `EUR 77.10`."""
        whole = self.amount == self.amount.to_integral_value()
        places = 0 if whole else max(2, -min(int(self.amount.normalize().as_tuple().exponent), 0))
        return f"{self.currency} {self.amount:.{places}f}"


# --- What is looked for --------------------------------------------------------------------------


def _alternatives(words: set[str]) -> str:
    return "|".join(re.escape(word).replace(r"\ ", r"\s") for word in sorted(words, key=len, reverse=True))


@cache
def _patterns(tag: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the patterns of an amount after its currency, and of one before it, in a language with names of its own.

    The tag is empty for the other languages.
    """
    signs = {*_SIGNS, *_SHARED, *map(plain, currency_signs(tag or None))}
    letters = {sign for sign in signs if sign[0].isalpha()}
    codes = "[A-Z]{3}"  # looked up: a choice of 150 is slow at every word
    small = "|".join(_SMALL_CODES)
    scale = _alternatives({*(word for words in _SCALES.values() for word in words), *powers_of_ten(tag)})
    latin = rf"(?:[\s\u00a0]*(?P<scale>{scale})(?![^\W\d_]))?"
    large = f"[{''.join(KANJI_SCALES)}]"
    kanji = rf"(?P<kanji>\s?{large}(?:[\d,.千천]|{large})*)"
    number = rf"(?P<figures>{FIGURES})(?:,[-\u2013\u2014]{{1,2}})?(?:{kanji}|{latin})"
    minus = r"(?:(?P<minus>-|\u2212[\s\u00a0]?))?"  # a hyphen before white space is a dash
    before = (
        rf"(?:(?P<sign>(?<!\w)(?:{_alternatives(letters)})|(?<![\w$])(?:{_alternatives(signs - letters)}))"
        rf"|(?<![\w])(?P<code>{small}|(?-i:{codes})(?=[\s\u00a0\u202f])))"
    )
    names = _alternatives(set(currency_names(tag)))
    ended = "" if tag in _UNSPACED else r"(?!\w)"
    behind = (
        rf"(?:(?P<sign>(?:{_alternatives(signs)})(?![^\W_]))|(?P<code>(?-i:{codes})|{small})(?!\w)|(?P<name>{names}){ended}"
        r"|(?P<yen>円))"
    )
    again = r"(?:[\s\u00a0]?(?P<again>(?-i:[A-Z]{3}))(?![\w$]))?"
    of = r"[\s\u00a0\u202f]*(?:(?:d[e']|di|d\u2019|of|an)\s*)?"
    first = re.compile(
        rf"(?P<open>\()?{minus}{before}[\s\u00a0\u202f]*(?P<inner>[-\u2212(])?{number}{again}", re.IGNORECASE
    )
    second = re.compile(
        rf"(?<![\w.,/])(?P<open>\()?{minus}(?<![\w.,/]){number}(?P<inner>-)?{of}{behind}", re.IGNORECASE
    )
    return first, second


def find_money(text: str, language: str | None = None) -> list[Money]:
    """Return the amounts of money of a text, in order.

    Args:
        text: Any text.
        language: The language of the text, with a region if it is known; None for unknown.
    """
    text = narrow(text)
    forms = _patterns(_own_tag(language)) if _FIGURE.search(text) else ()
    amounts = [*(amount for form in forms for amount in _matched(text, form, language)), *_in_words(text, language)]
    amounts.sort(key=lambda amount: (amount[0], -amount[1]))
    kept: list[Money] = []
    reached = 0
    for start, end, money in amounts:
        if start >= reached:
            reached = end
            kept += [money] if money is not None else []
    return kept


def _own_tag(language: str | None) -> str:
    return tag if has_own_currencies(tag := base(language)) or tag in _UNSPACED else ""


def _matched(text: str, pattern: re.Pattern[str], language: str | None) -> Iterator[tuple[int, int, Money | None]]:
    """Yield the positions of amounts, each with its value if it has one."""
    at, ahead = 0, "again" not in pattern.groupindex
    while (match := pattern.search(text, at)) is not None:
        at = match.end()
        if (match["code"] or "").upper() not in currency_codes() | {""}:
            at = (
                max(match.start("code"), match.start("figures") + len(match["figures"])) if ahead else match.end("code")
            )
            continue
        if match["sign"] and _is_of_other(text, match, language, ahead=ahead):
            at = match.start("sign") if ahead else match.end("sign")
            continue
        run, token = match["figures"], first_figures(match["figures"])
        if len(token) < len(run):  # "in 2024 100 EUR", "EUR 5 2024"
            last = match.end("figures") < match.end() and match.group().rstrip()[-1:] != run[-1:]
            if ahead and last:
                begin = match.end("figures") - len(last_figures(run))
                if begin > match.start("figures") and (again := pattern.match(text, begin)):
                    at = again.end()
                    yield (
                        again.start(),
                        again.end(),
                        None if _is_range(text, again, language) else _money(text, again, language),
                    )
                    continue
            else:
                at = match.start("figures") + len(token)
        yield match.start(), match.end(), None if _is_range(text, match, language) else _money(text, match, language)


_AFTER = frozenset({"de", "fr", "es", "it", "sv", "da", "no", "pl", "cs", "fi", "ru"})
"""Languages that write the currency after the amount."""


def _is_of_other(text: str, match: re.Match[str], language: str | None, *, ahead: bool) -> bool:
    """Return whether a sign between two numbers belongs to the other: the nearer, else by the language's order."""
    sign, end = match.span("sign")
    before, after = text[max(0, sign - 3) : sign], text[end : end + 3]
    if not (before.rstrip()[-1:].isdigit() and after.lstrip()[:1].isdigit()):
        return False
    left, right = len(before) - len(before.rstrip()), len(after) - len(after.lstrip())
    if left != right:
        return ahead is (right < left)
    return not base(language) or ahead is not (base(language) in _AFTER)


_FIGURE = re.compile(r"\d")
_RANGE_BEFORE = re.compile(r"\d\s?[-\u2013\u2014]\s?$|\d\s?[kKmM]?\s?(?:to|bis|à|a|tot)\s$")
_RANGE_BEHIND = re.compile(r"\s?[-\u2013\u2014]\s?\d|[\s\u00a0](?:to|bis|à|a|tot)[\s\u00a0]\d")
_GLUED = re.compile(r"[^\W\d_]|(?<=\d),[-\u2013\u2014]\d|[.,]\d|\d|['\u2019]\d")


def _is_range(text: str, match: re.Match[str], language: str | None) -> bool:
    """Return whether an amount is the end of a range, or is followed by unknown letters."""
    if "again" in match.re.groupindex:
        end = (
            match.end()
            if match["again"] in currency_codes()
            else max(match.end("figures"), match.end("scale"), match.end("kanji"))
        )
        return _GLUED.match(text, end) is not None or _RANGE_BEHIND.match(text, end) is not None
    before = max(0, match.start() - 8), match.start()
    own = units_of_time(base(language))  # a language whose words for ranges are not listed
    return _RANGE_BEFORE.search(text, *before) is not None or bool(own and _POSSIBLY_TO.search(text, *before))


def _money(text: str, match: re.Match[str], language: str | None) -> Money | None:
    """Return the amount of money of a match; None if it has no single value."""
    groups = match.groupdict()
    currency, end = _currency_beside(match, language)
    token = first_figures(groups["figures"])
    amount = None if currency is None else _scaled(match, token, currency, language)
    if currency is None or amount is None:
        return None
    start, end = match.start(), _stripped_end(text, end)
    minus = bool(groups["minus"]) or groups.get("inner") in {"-", "\u2212"}
    opened = bool(groups["open"]) or groups.get("inner") == "("
    if opened and text[end : end + 1] == ")" and _is_alone(text, start, end + 1):
        minus, end = True, end + 1
    elif groups["open"]:
        start += 1
    elif opened:
        return None  # "$ (2) 2nd year": a blank with a footnote, or an amount below zero
    return Money(start, end, currency, -amount if minus else amount)


def _stripped_end(text: str, end: int) -> int:
    while text[end - 1].isspace():
        end -= 1
    return end


def _is_alone(text: str, start: int, end: int) -> bool:
    """Return whether the text contains nothing else: "($5)" after words repeats them and is no loss."""
    return start < _NEAR and len(text) - end < _NEAR and not text[:start].strip() and not text[end:].strip()


def _currency_beside(match: re.Match[str], language: str | None) -> tuple[str | None, int]:
    """Return the currency of a match, and its end; a code after the amount identifies the dollar: "$500 CAD"."""
    groups = match.groupdict()
    if groups["sign"] == "$" and "again" not in groups and base(language) in {"", "en"}:
        return None, match.end()  # English has it in front: "in 2016 $ 5"
    currency, again = _currency(groups, language), groups.get("again") or ""
    if again in currency_codes() - _WORDS_TOO:
        return (again if groups["sign"] in _SHARED or currency == again else None), match.end()
    return currency, match.start("again") if again else match.end()


def _scaled(match: re.Match[str], token: str, currency: str, language: str | None) -> Decimal | None:
    """Return the amount in figures, times the word after it."""
    groups = match.groupdict()
    shared = (groups["sign"] or "").casefold() in _SHARED
    if shared and as_decimal(token, decimal_sign(language) or ".") is None:
        return None  # "$4.047.000" in English is no dollar of the United States
    if groups.get("code") in _WORDS_TOO and token.isdigit() and not groups["scale"]:
        return None
    if groups["kanji"]:
        return _japanese(token, groups["kanji"])
    amount = _amount(token, currency, language)
    if amount is None or not groups["scale"]:
        return amount
    before = match.start("figures") > match.start("sign") >= 0 or match.start("figures") > match.start("code") >= 0
    power = _power(groups["scale"].casefold(), token, language, before=before)
    return None if power is None else amount * Decimal(10) ** power


def _currency(groups: Mapping[str, str | None], language: str | None) -> str | None:
    if code := groups.get("code"):
        return code.upper()
    if name := groups.get("name"):
        return currency_names(_own_tag(language)).get(plain(name))
    if groups.get("yen"):
        return "JPY"
    sign = plain(groups["sign"] or "")
    if sign in _SIGNS or sign in _SHARED:
        return _SIGNS[sign] if sign in _SIGNS else _shared(sign, language)
    return next(code for own, code in currency_signs(base(language)).items() if plain(own) == sign)


def _shared(sign: str, language: str | None) -> str | None:
    """Return the currency of a sign that several countries use."""
    tag = base(language)
    regional = currency_signs(language).get(sign)
    if sign == "$":
        return regional if regional and "-" in (language or "") else None if tag in _NO_DOLLAR else regional or "USD"
    if sign in {"\u00a5", "\uffe5"}:
        return "CNY" if tag == "zh" else "JPY"
    if sign.startswith("kr"):
        return _KRONE.get(tag)
    return "INR" if (language or "").upper().endswith("-IN") else None


def _amount(token: str, currency: str, language: str | None) -> Decimal | None:
    """Return the amount of figures; three after one sign are decimals only if the currency's home agrees."""
    if not is_ambiguous(token):
        return read_figures(token, language)
    home, own = home_decimal(currency), decimal_sign(language)
    if own is None:
        return None if home is None or home in token else as_decimal(token, home)
    return as_decimal(token, own) if own not in token or own == home else None


def _power(scale: str, token: str, language: str | None, *, before: bool) -> int | None:
    """Return the power of ten of a word; None if languages differ (a German `Billion` is an English trillion)."""
    scale = " ".join(scale.split())
    tag = base(language)
    for words in (powers_of_ten(tag), _SCALES[""], _SCALES.get(tag, {})):
        if scale in words:
            return words[scale]
    powers = {words[scale] for words in _SCALES.values() if scale in words}
    if len(powers) > 1 and not tag and (before or "." in token):
        return _SCALES["en"].get(scale)  # "US$ 3.2 billion": the currency before the amount, a point in it
    return powers.pop() if len(powers) == 1 else None


def _japanese(token: str, rest: str) -> Decimal | None:
    """Return the value of `1億2,000万`: figures, each with its place."""
    total = Decimal(0)
    signs = "".join(KANJI_SCALES)
    for figures, sign in re.findall(rf"([\d,.]+|)([{signs}千천]|$)", "".join((token + rest).split())):
        if not figures:
            if sign:
                return None
            continue
        part = read_figures(figures, "ja")
        if part is None:
            return None
        total += part * (1000 if sign in {"千", "천"} else KANJI_SCALES.get(sign, 1))
    return total


_BEHIND_WORDS = r"\s*(?:\(\s*[^)]{1,30}\)\s*)?(?:(?:d[e']|di|d\u2019|of)\s*)?"


@cache
def _behind_words(tag: str) -> re.Pattern[str]:
    names, codes = _alternatives(set(currency_names(tag))), "|".join(sorted(currency_codes() - _WORDS_TOO))
    return re.compile(
        rf"{_BEHIND_WORDS}(?:(?P<name>{names})(?!\w)|(?P<code>(?-i:{codes}))(?!\w)|(?P<sign>[€]))", re.IGNORECASE
    )


def _in_words(text: str, language: str | None) -> Iterator[tuple[int, int, Money | None]]:
    """Yield numbers in words before a currency: `deux mille euros`, `五万円`."""
    for numeral in find_numerals(text, language):
        if (match := _behind_words(_own_tag(language)).match(text, numeral.end)) is not None:
            currency = _currency({"sign": None, **match.groupdict()}, language)
            before = text[max(0, numeral.start - 1) : numeral.start]
            value = (
                None
                if currency is None or before.isdigit()
                else Money(numeral.start, match.end(), currency, Decimal(numeral.value))
            )
            yield numeral.start, match.end(), value


# --- Typed values in a text: dates, numbers, amounts of money, durations, in the language of the text.

TEXT, CHOICE = "text", "choice"
_ISO_DURATION = re.compile(r"P(?=.)(?:\d+(?:\.\d+)?[YMWD])*(?:T(?:\d+(?:\.\d+)?[HMS])+)?")
"""ISO 8601 durations, which are recognised as they are written."""
MANY = "*"
"""Suffix of a type whose field may have several values."""


class TypedValue(NamedTuple):
    """A typed value and its place in a text."""

    start: int
    end: int
    value: Scalar


_READERS: Mapping[str, Callable[[str, str | None], list[TypedValue]]] = {
    "date": lambda text, language: [TypedValue(*date) for date in find_dates(text, language)],
    "duration": lambda text, language: [TypedValue(*duration) for duration in find_durations(text, language)],
    "money": lambda text, language: [
        TypedValue(amount.start, amount.end, amount.value) for amount in find_money(text, language)
    ],
    "number": lambda text, language: [
        TypedValue(number.start, number.end, as_plain(number.value)) for number in find_numbers(text, language)
    ],
}


def is_typed(kind: str) -> bool:
    """Return whether values of a field's type are parsed from its words; those of `text` and `choice` are not."""
    return kind.removesuffix(MANY) in _READERS


def find_values(kind: str, text: str, language: str | None = None) -> list[TypedValue]:
    """Return every value of a type (`date`, `number`, `money` or `duration`) in a text, in its order.

    Args:
        kind: The type.
        text: Any text.
        language: The language of the text, such as `de` or `en-GB`; None for unknown.
    """
    return _READERS[kind](text, language)


def normalise_value(kind: str, quote: str, choices: Sequence[str] = (), *, language: str | None = None) -> Scalar:
    """Return the value that a quote states, in the form of its type; None if it has none.

    Args:
        kind: The field's type, with or without `*`.
        quote: The words; the first of several values counts.
        choices: For a `choice`: the values to choose from, matched in the words whatever their case.
        language: The language of the quote; None for unknown.
    """
    kind = kind.removesuffix(MANY)
    if kind == TEXT:
        return " ".join(quote.split()) or None
    if kind == CHOICE:
        return _choose(quote, choices)
    if kind == "duration" and _ISO_DURATION.fullmatch(quote.strip()):
        return quote.strip()
    values = find_values(kind, quote, language)
    return values[0].value if values else None


def _choose(quote: str, choices: Sequence[str]) -> str | None:
    """Return the choice that is named first; of several at one place, the longest. None if none is named."""
    folded = plain(quote)
    named = []
    for choice in choices:
        words = re.escape(plain(choice))
        if words and (match := re.search(rf"(?<!\w){words}(?!\w)", folded)):
            named.append((match.start(), -len(words), choice))
    return min(named)[2] if named else None


def typed_spans(text: str, language: str | None = None) -> Iterator[tuple[str, TypedValue]]:
    """Yield every typed value of a text with its type."""
    for kind in _READERS:
        for value in find_values(kind, text, language):
            yield kind, value

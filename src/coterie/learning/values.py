"""Typed values in a text: dates, numbers, amounts of money, spans of time, as English texts write them.

What stands in figures is also read as most of Europe writes it: `31.12.2024`, `EUR 1.234,50`. Each value has one form,
so that two ways to write it are equal: a date is `2024-05-31`, a span of time `P30D` (ISO 8601), an amount of money
`USD 1500` or `USD 77.10`. A date with strokes is read month first where both readings are possible, one with points day
first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from coterie.types import Scalar

TEXT, CHOICE = "text", "choice"
MANY = "*"
"""What a type ends with where a field may have several values."""


class TypedValue(NamedTuple):
    """A typed value and where a text writes it."""

    start: int
    end: int
    value: Scalar


def is_typed(kind: str) -> bool:
    """Whether values of a field's type are read from its words: not of `text` and `choice`, whose values are words."""
    return kind.removesuffix(MANY) in _READERS


def find_values(kind: str, text: str) -> list[TypedValue]:
    """Every value of a type (`date`, `number`, `money` or `duration`) that a text writes, in its order."""
    pattern, read = _READERS[kind]
    values = ((match, read(match)) for match in pattern.finditer(text))
    return [TypedValue(*match.span(), value) for match, value in values if value is not None]


def normalise_value(kind: str, quote: str, choices: Sequence[str] = ()) -> Scalar:
    """The value that a quote states, in the form of its type; None if it has none.

    Args:
        kind: The field's type, with or without `*`.
        quote: The words. Of several values in them the first one counts.
        choices: Of a `choice`: the values to choose from, found in the words whatever their case.
    """
    kind = kind.removesuffix(MANY)
    if kind == TEXT:
        return " ".join(quote.split()) or None
    if kind == CHOICE:
        return _choose(quote, choices)
    found = find_values(kind, quote)
    return found[0].value if found else None


def _choose(quote: str, choices: Sequence[str]) -> str | None:
    """The choice that is named first; of several at one place the longest."""
    folded = " ".join(quote.casefold().split())
    named = []
    for choice in choices:
        words = re.escape(" ".join(choice.casefold().split()))
        if words and (match := re.search(rf"(?<!\w){words}(?!\w)", folded)):
            named.append((match.start(), -len(words), choice))
    return min(named)[2] if named else None


# --- Numbers in words ----------------------------------------------------------------------------

_ONES = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen",
)
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS: Mapping[str, int] = {
    **{word: number for number, word in enumerate(_ONES)},
    **{word: 10 * number for number, word in enumerate(_TENS, 2)},
    **{f"{ten}-{one}": 10 * t + o for t, ten in enumerate(_TENS, 2) for o, one in enumerate(_ONES[:10]) if o},
    "hundred": 100,
}
_IN_WORDS = "|".join(sorted(_WORDS, key=len, reverse=True))
_FIGURES = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"


def _number(text: str) -> int | float:
    plain = float(text.replace(",", ""))
    return int(plain) if plain.is_integer() else plain


# --- Dates ---------------------------------------------------------------------------------------

_MONTH_WORDS = (
    r"jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?"
)
_MONTHS = {word[:3]: number for number, word in enumerate(_MONTH_WORDS.split("|"), 1)}
_MONTH = rf"(?P<month>{_MONTH_WORDS})\.?"
_DAY, _YEAR = r"(?P<day>\d{1,2})(?:\s*(?:st|nd|rd|th))?", r"(?P<year>\d{4})"
_DATE_FORMS = (
    rf"\b{_MONTH}\s*{_DAY}\s*,?\s*{_YEAR}\b",
    rf"\b{_DAY}\s+(?:day\s+)?(?:of\s+)?{_MONTH}\s*,?\s*(?:of\s+)?{_YEAR}\b",
    r"\b(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})\b",
    r"\b(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4}|\d{2})\b",
    r"(?<![\d.])(?P<day>\d{1,2})\.\s?(?P<month>\d{1,2})\.\s?(?P<year>\d{4})(?![\d]|\.\d)",
)


def _join(forms: Sequence[str]) -> re.Pattern[str]:
    """One pattern of all forms, the groups of each numbered: a pattern may use a name only once."""
    numbered = (re.sub(r"\(\?P<(\w+)>", rf"(?P<\g<1>{i}>", form) for i, form in enumerate(forms))
    return re.compile("|".join(numbered), re.IGNORECASE)


def _groups(match: re.Match[str]) -> dict[str, str]:
    """What the groups of a joined pattern found, by their names in its forms."""
    return {name[:-1]: value for name, value in match.groupdict().items() if value is not None}


def _date(match: re.Match[str]) -> str | None:
    found = _groups(match)
    month = found["month"].casefold()
    year, day = int(found["year"]), int(found["day"])
    number = int(month) if month.isdigit() else _MONTHS[month[:3]]
    if len(found["year"]) == 2:
        year += 2000 if year < 70 else 1900  # as POSIX reads two figures
    if number > 12 >= day:
        number, day = day, number
    try:
        return date(year, number, day).isoformat()
    except ValueError:
        return None


# --- Spans of time, money, numbers ---------------------------------------------------------------

_DURATION = re.compile(
    rf"\b(?:(?P<words>{_IN_WORDS})|(?P<figures>\d+))\s*(?:\(\s*(?P<again>\d+)\s*\))?[\s-]*"
    r"(?:(?:business|calendar|working|consecutive|full|additional|successive)[\s-]+)*(?P<unit>day|week|month|year)s?\b",
    re.IGNORECASE,
)
_CURRENCIES = {"$": "USD", "us$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "euro": "EUR", "euros": "EUR"}
_CODES = r"\b(?:USD|EUR|GBP|JPY|CHF|CAD|AUD)\b"
_COMMA = r"\d{1,3}(?:[.\u2019 \u00a0]\d{3})+,\d{2}|\d+,\d{2}"
"""Cents behind a comma, as most of Europe writes them: two digits are no thousands, so it can mean nothing else."""
_AMOUNT = rf"(?P<amount>{_FIGURES})(?![\d]|[.,]\d)(?:\s*(?P<scale>thousand|million|billion)\b)?"
_MONEY = _join(
    (
        rf"(?P<unit>US\$|[$€£¥]|{_CODES})\s*{_AMOUNT}",
        rf"(?<![\d.,]){_AMOUNT}\s*(?P<unit>[€£¥]|{_CODES}|euros?\b)",
        rf"(?P<unit>US\$|[$€£¥]|{_CODES})\s*(?P<comma>{_COMMA})(?![\d]|[.,]\d)",
        rf"(?<![\d.,])(?P<comma>{_COMMA})\s*(?P<unit>[€£¥]|{_CODES}|euros?\b)",
    )
)
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_NUMBER = re.compile(rf"(?<![\w.,])-?(?:{_FIGURES})(?![\w]|[.,]\d)")


def _duration(match: re.Match[str]) -> str:
    figures = match["again"] or match["figures"]
    number = int(figures) if figures else _WORDS[match["words"].casefold()]
    return f"P{number}{match['unit'][0].upper()}"


def _money(match: re.Match[str]) -> str:
    found = _groups(match)
    unit = found["unit"].casefold()
    figures = re.sub(r"[^\d,]", "", found["comma"]).replace(",", ".") if "comma" in found else found["amount"]
    amount = Decimal(figures.replace(",", "")) * _SCALES.get(found.get("scale", "").casefold(), 1)
    whole = amount == amount.to_integral_value()
    return f"{_CURRENCIES.get(unit, unit.upper())} {amount:.{0 if whole else max(2, _decimals(amount))}f}"


def _decimals(amount: Decimal) -> int:
    """Places after the point that say something."""
    return -min(int(amount.normalize().as_tuple().exponent), 0)


def _plain_number(match: re.Match[str]) -> int | float:
    return _number(match[0])


_READERS: Mapping[str, tuple[re.Pattern[str], Callable[[re.Match[str]], Scalar]]] = {
    "date": (_join(_DATE_FORMS), _date),
    "duration": (_DURATION, _duration),
    "money": (_MONEY, _money),
    "number": (_NUMBER, _plain_number),
}


def typed_spans(text: str) -> Iterator[tuple[str, TypedValue]]:
    """Every typed value of a text with its type: what a reader of the text takes its bearings from."""
    for kind in _READERS:
        for value in find_values(kind, text):
            yield kind, value

"""Reads amounts of money, as ISO 4217 code and number: `C$500` is `CAD 500`, `1.234 Euro` in German `EUR 1234`.

There are no guesses: an amount that two countries read differently has no value. `5.000 €` is 5000 in German and
Spanish, and None in a text of unknown language. `$` is the dollar of the text's region, else of the United States; `kr`
needs a language. Ranges (`5-10 €`) have no value. An amount in brackets that stands alone is negative, as in accounts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from typing import NamedTuple

from coterie.text.language import base
from coterie.text.locales import currency_codes, currency_names, currency_signs, decimal_sign, home_decimal, table
from coterie.text.numerals import (
    FIGURES,
    KANJI_SCALES,
    as_decimal,
    find_numerals,
    first_figures,
    is_ambiguous,
    last_figures,
    narrow,
    read_figures,
)
from coterie.text.words import plain

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
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the patterns of an amount after its currency, and of one before it."""
    signs = {*_SIGNS, *_SHARED}
    letters = {sign for sign in signs if sign[0].isalpha()}
    codes = "[A-Z]{3}"  # looked up: a choice of 150 is slow at every word
    small = "|".join(_SMALL_CODES)
    scale = _alternatives({word for words in _SCALES.values() for word in words})
    latin = rf"(?:[\s\u00a0]*(?P<scale>{scale})(?![^\W\d_]))?"
    number = rf"(?P<figures>{FIGURES})(?:,[-\u2013\u2014]{{1,2}})?(?:(?P<kanji>[万億兆][\d,.万億兆千]*)|{latin})"
    minus = r"(?:(?P<minus>-|\u2212[\s\u00a0]?))?"  # a hyphen before white space is a dash
    before = (
        rf"(?:(?P<sign>(?<!\w)(?:{_alternatives(letters)})|(?<![\w$])(?:{_alternatives(signs - letters)}))"
        rf"|(?<![\w])(?P<code>{small}|(?-i:{codes})(?=[\s\u00a0\u202f])))"
    )
    names = _alternatives(set(currency_names()))
    behind = (
        rf"(?:(?P<sign>(?:{_alternatives(signs)})(?![^\W_]))|(?P<code>(?-i:{codes})|{small})(?!\w)|(?P<name>{names})(?!\w)"
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
    forms = _patterns() if _FIGURE.search(text) else ()
    amounts = [*(amount for form in forms for amount in _matched(text, form, language)), *_in_words(text, language)]
    amounts.sort(key=lambda amount: (amount[0], -amount[1]))
    kept: list[Money] = []
    reached = 0
    for start, end, money in amounts:
        if start >= reached:
            reached = end
            kept += [money] if money is not None else []
    return kept


def _matched(text: str, pattern: re.Pattern[str], language: str | None) -> Iterator[tuple[int, int, Money | None]]:
    """Yield the positions of amounts, each with its value if it has one."""
    at, ahead = 0, pattern is _patterns()[1]
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
                    yield again.start(), again.end(), None if _is_range(text, again) else _money(text, again, language)
                    continue
            else:
                at = match.start("figures") + len(token)
        yield match.start(), match.end(), None if _is_range(text, match) else _money(text, match, language)


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


def _is_range(text: str, match: re.Match[str]) -> bool:
    """Return whether an amount is the end of a range, or is followed by unknown letters."""
    if "again" in match.re.groupindex:
        end = (
            match.end()
            if match["again"] in currency_codes()
            else max(match.end("figures"), match.end("scale"), match.end("kanji"))
        )
        return _GLUED.match(text, end) is not None or _RANGE_BEHIND.match(text, end) is not None
    return _RANGE_BEFORE.search(text, max(0, match.start() - 8), match.start()) is not None


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
        return currency_names().get(plain(name))
    if groups.get("yen"):
        return "JPY"
    sign = plain(groups["sign"] or "")
    return _SIGNS[sign] if sign in _SIGNS else _shared(sign, language)


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
    if scale in _SCALES[""]:
        return _SCALES[""][scale]
    tag = base(language)
    if scale in _SCALES.get(tag, {}):
        return _SCALES[tag][scale]
    powers = {words[scale] for words in _SCALES.values() if scale in words}
    if len(powers) > 1 and not tag and (before or "." in token):
        return _SCALES["en"].get(scale)  # "US$ 3.2 billion": the currency before the amount, a point in it
    return powers.pop() if len(powers) == 1 else None


def _japanese(token: str, rest: str) -> Decimal | None:
    """Return the value of `1億2,000万`: figures, each with its place."""
    total = Decimal(0)
    for figures, sign in re.findall(r"([\d,.]+|)([万億兆千]|$)", token + rest):
        if not figures:
            if sign:
                return None
            continue
        part = read_figures(figures, "ja")
        if part is None:
            return None
        total += part * (1000 if sign == "千" else KANJI_SCALES.get(sign, 1))
    return total


_BEHIND_WORDS = r"\s*(?:\(\s*[^)]{1,30}\)\s*)?(?:(?:d[e']|di|d\u2019|of)\s*)?"


@cache
def _behind_words() -> re.Pattern[str]:
    names, codes = _alternatives(set(currency_names())), "|".join(sorted(currency_codes() - _WORDS_TOO))
    return re.compile(
        rf"{_BEHIND_WORDS}(?:(?P<name>{names})(?!\w)|(?P<code>(?-i:{codes}))(?!\w)|(?P<sign>[€]))", re.IGNORECASE
    )


def _in_words(text: str, language: str | None) -> Iterator[tuple[int, int, Money | None]]:
    """Yield numbers in words before a currency: `deux mille euros`, `五万円`."""
    for numeral in find_numerals(text, language):
        if (match := _behind_words().match(text, numeral.end)) is not None:
            currency = _currency({"sign": None, **match.groupdict()}, language)
            before = text[max(0, numeral.start - 1) : numeral.start]
            value = (
                None
                if currency is None or before.isdigit()
                else Money(numeral.start, match.end(), currency, Decimal(numeral.value))
            )
            yield numeral.start, match.end(), value

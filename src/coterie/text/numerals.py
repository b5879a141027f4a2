"""Reads numbers in figures and in words by language: `1.234,5`, `one hundred eighty`, `dreißig`, `三十`.

A language spells the numbers below 1000 by a few rules; `_SPELLERS` has them. Their spellings, without spaces and
hyphens, are looked up, so that joined (`einhundertachtzig`) and separate words are equal. Above that, words for a
thousand and a million multiply the number before them. Words that do not form one number are ignored.

`1,234` is 1234 in English and 1.234 in German. With an unknown language it is None.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from functools import cache, lru_cache
from typing import NamedTuple

from coterie.text.language import base, decimal_sign, groups_by_space, table


class Numeral(NamedTuple):
    """A number in words: `text[start:end]`."""

    start: int
    end: int
    value: int


class _Words(NamedTuple):
    small: str
    """The words for 0 to 19, as far as they are one word."""
    ten: str
    """The words for 20 to 90."""
    hundred: str
    scales: Mapping[str, int]
    joins: tuple[str, ...]
    """Words that may occur between the words of one number."""

    @property
    def ones(self) -> list[str]:
        """The words for 0 to 19."""
        return self.small.split()

    @property
    def tens(self) -> list[str]:
        """The words for 20 to 90."""
        return self.ten.split()


_EN, _DE, _FR, _ES, _PT, _IT, _NL = (_Words(**words) for words in table("number_words").values())


# --- The numbers below 1000, each in all its spellings ---------------------------------------------


def _below_hundred_en(n: int) -> list[str]:
    ten, one = divmod(n, 10)
    return [_EN.ones[n]] if n < 20 else [_EN.tens[ten - 2] + (_EN.ones[one] if one else "")]


def _below_hundred_de(n: int) -> list[str]:
    ten, one = divmod(n, 10)
    if n < 20:
        return ["ein", "eins", "eine", "einen", "einem", "einer", "eines"] if n == 1 else [_DE.ones[n]]
    return [(_DE.ones[one] + "und" if one else "") + _DE.tens[ten - 2]]


def _below_hundred_nl(n: int) -> list[str]:
    ten, one = divmod(n, 10)
    return [_NL.ones[n]] if n < 20 else [(_NL.ones[one] + "en" if one else "") + _NL.tens[ten - 2]]


def _below_hundred_fr(n: int) -> list[str]:
    if n == 1:
        return ["un", "une"]
    if n < 20:
        return [_FR.ones[n]]
    ten, one = divmod(n, 10)
    swiss = {7: "septante", 8: "huitante", 9: "nonante"}
    words = [swiss[ten] + ("" if not one else "etun" if one == 1 else _FR.ones[one])] if ten in swiss else []
    if ten < 7:
        return [*words, _FR.tens[ten - 2] + ("" if not one else "etun" if one == 1 else _FR.ones[one])]
    if ten == 7:
        return [*words, "soixante" + ("etonze" if one == 1 else _FR.ones[10 + one])]
    rest = n - 80
    return [*words, "quatrevingt" + ("s" if not rest else _FR.ones[rest]), *(["quatrevingt"] if not rest else [])]


def _below_hundred_es(n: int) -> list[str]:
    if n < 30:
        word = _ES.ones[n]
        return [word, word[:-1], word[:-1] + "a"] if n in {1, 21} else [word]
    ten, one = divmod(n, 10)
    heads = _below_hundred_es(one) if one else [""]
    return [_ES.tens[ten - 2] + ("y" + head if one else "") for head in heads]


def _below_hundred_pt(n: int) -> list[str]:
    brazil = {14: ["quatorze"], 16: ["dezesseis"], 17: ["dezessete"], 19: ["dezenove"], 1: ["uma"], 2: ["duas"]}
    if n < 20:
        return [_PT.ones[n], *brazil.get(n, [])]
    ten, one = divmod(n, 10)
    return [_PT.tens[ten - 2] + ("e" + head if one else "") for head in (_below_hundred_pt(one) if one else [""])]


def _below_hundred_it(n: int) -> list[str]:
    if n < 20:
        return ["uno", "un", "una"] if n == 1 else [_IT.ones[n]]
    ten, one = divmod(n, 10)
    word = _IT.tens[ten - 2]
    if one in {1, 8}:
        return [word[:-1] + _IT.ones[one], *([word[:-1] + "un"] if one == 1 else [])]
    return [word + (_IT.ones[one] if one else ""), *([word + "tré"] if one == 3 else [])]


_HUNDRED = {
    "en": "hundred onehundred ahundred",
    "de": "hundert einhundert",
    "es": "ciento cien",
    "pt": "cento cem",
    "fr": "cent",
}
_HUNDREDS_ES = {5: "quinientos", 7: "setecientos", 9: "novecientos"}
_HUNDREDS_PT = "cento duzentos trezentos quatrocentos quinhentos seiscentos setecentos oitocentos novecentos"
_BELOW: Mapping[str, Callable[[int], list[str]]] = {
    "en": _below_hundred_en,
    "de": _below_hundred_de,
    "fr": _below_hundred_fr,
    "es": _below_hundred_es,
    "pt": _below_hundred_pt,
    "it": _below_hundred_it,
    "nl": _below_hundred_nl,
}
_WORDS: Mapping[str, _Words] = {"en": _EN, "de": _DE, "fr": _FR, "es": _ES, "pt": _PT, "it": _IT, "nl": _NL}


def _hundreds(language: str, hundred: int) -> list[str]:
    """Return the words for 100, 200, ... before what follows them."""
    words = _WORDS[language]
    one = "" if hundred == 1 else words.ones[hundred]
    if hundred == 1 and language in _HUNDRED:
        return _HUNDRED[language].split()
    if language == "fr":
        return [f"{one}cent", f"{one}cents"]
    many = {"es": _HUNDREDS_ES.get(hundred, f"{one}cientos"), "pt": _HUNDREDS_PT.split()[hundred - 1]}.get(language)
    return [one + words.hundred] if many is None else [many, f"{many[:-2]}as"]


def _spell(language: str, n: int) -> Iterator[str]:
    """Yield every spelling of a number below 1000, without spaces and hyphens."""
    hundred, rest = divmod(n, 100)
    if not hundred:
        yield from _BELOW[language](rest)
        return
    joins = {"en": ("", "and"), "de": ("", "und"), "pt": ("e",), "nl": ("", "en")}.get(language, ("",))
    for head in _hundreds(language, hundred):
        if not rest:
            yield head
        else:
            yield from (head + join + tail for join in joins for tail in _BELOW[language](rest))
            if language == "it" and (rest == 8 or rest // 10 == 8):
                yield from (head[:-1] + tail for tail in _BELOW[language](rest))


@cache
def _lexicon(language: str) -> Mapping[str, int]:
    """Return the numbers below 2000 by their spellings; those from 1100 as `fifteen hundred`."""
    lexicon = {_fold(word): n for n in range(1000) for word in _spell(language, n)}
    if language in {"en", "de", "nl"}:
        for n in range(11, 20):
            for rest in range(100):
                tails = [""] if not rest else _BELOW[language](rest)
                lexicon |= {
                    _fold(_WORDS[language].ones[n] + _WORDS[language].hundred + t): 100 * n + rest for t in tails
                }
    return lexicon


@lru_cache(maxsize=32768)
def _fold(word: str) -> str:
    """Return a word in lower case without marks, spaces and hyphens."""
    plain = unicodedata.normalize("NFKD", word.casefold().replace("ö", "oe").replace("ü", "ue"))
    return re.sub(r"[\s\u00ad-]|[\u0300-\u036f]", "", plain).replace("fuenf", "funf").replace("zwoelf", "zwolf")


@cache
def _scales(language: str) -> Mapping[str, int]:
    return {_fold(word): value for word, value in _WORDS[language].scales.items()}


@lru_cache(maxsize=8192)
def _read(word: str, language: str) -> int | None:
    """Return the number of folded words, or None."""
    lexicon = _lexicon(language)
    if word in lexicon:
        return lexicon[word]
    for scale, value in sorted(_scales(language).items(), key=lambda item: (-item[1], -len(item[0]))):
        head, scale_found, tail = word.partition(scale)
        if not scale_found:
            continue
        many = 1 if not head or head in {"a", "et", "y", "e"} else _read(head, language)
        for join in ("", *(_fold(join) for join in _WORDS[language].joins)):
            if tail and not tail.startswith(join):
                continue
            rest = 0 if not tail else _read(tail[len(join) :], language)
            if many is not None and rest is not None and 0 < many < value and rest < value:
                return many * value + rest
    return None


# --- In a text -----------------------------------------------------------------------------------

_WORD = re.compile(r"[^\W\d_]+(?:\u00ad[^\W\d_]+)*")
_HYPHENS = frozenset("-\u2010\u2011")
_MOST = 16
"""Most words of one number."""
_LONGEST_WORD, _LONGEST_PIECE = 80, 20
_LONGEST = 160
"""Most letters of one number."""


@cache
def _pieces(language: str) -> frozenset[str]:
    words = _WORDS[language]
    return _lexicon_words(language) | {_fold(scale) for scale in (*words.scales, *words.joins)}


@lru_cache(maxsize=32768)
def _is_glued(word: str, pieces: frozenset[str]) -> bool:
    """Return whether a word consists of these pieces only. Linear: every position is reached once."""
    if len(word) > _LONGEST_WORD:
        return False
    reached = {0}
    for start in range(len(word)):
        if start in reached:
            reached |= {end for end in range(start + 1, start + _LONGEST_PIECE) if word[start:end] in pieces}
    return len(word) in reached


@cache
def _lexicon_words(language: str) -> frozenset[str]:
    """Return the words of which the numbers below 1000 are composed."""
    small = {_fold(word) for n in range(100) for word in _BELOW[language](n)}
    heads = {_fold(hundred) for n in range(1, 10) for hundred in _hundreds(language, n)}
    return frozenset(small | heads | {_fold(_WORDS[language].hundred), "quatre", "vingt", "vingts", "cents", "cent"})


def find_numerals(text: str, language: str | None = None) -> list[Numeral]:
    """Return the numbers in words of a text, in order, the longest at each place.

    With an unknown language, these are words that are a number in one known language, and no other number in another.
    """
    return list(_numerals(text, base(language)))


@lru_cache(maxsize=16)
def _numerals(text: str, tag: str) -> tuple[Numeral, ...]:
    """Return the numbers in words of a text, cached: money and durations both need them."""
    if tag:
        return tuple(_find(text, tag) if tag in _WORDS else _find_kanji(text) if tag == "ja" else ())
    return tuple(_agreed([_find_kanji(text), *(list(_find(text, numerals)) for numerals in _WORDS)]))


def _agreed(by_language: Iterable[list[Numeral]]) -> list[Numeral]:
    """Return the longest number at each place, if no language reads another number there."""
    best: dict[int, set[Numeral]] = {}
    for numerals in by_language:
        for numeral in numerals:
            same = best.setdefault(numeral.start, set())
            longest = max((other.end for other in same), default=0)
            if numeral.end >= longest:
                best[numeral.start] = {other for other in same if other.end == numeral.end} | {numeral}
    single = [next(iter(numerals)) for _, numerals in sorted(best.items()) if len(numerals) == 1]
    kept: list[Numeral] = []
    for numeral in single:
        if not kept or numeral.start >= kept[-1].end:
            kept.append(numeral)
    return kept


def _find(text: str, language: str) -> Iterator[Numeral]:
    """Yield numbers that begin at possible number words, each as long as possible."""
    words = list(_WORD.finditer(text))
    folded = [_fold(word[0]) for word in words]
    pieces, joins = _pieces(language), {_fold(join) for join in _WORDS[language].joins}
    parts = [word == "a" or _is_glued(word, pieces) for word in folded]
    at = 0
    while at < len(words):
        if not parts[at]:
            at += 1
            continue
        end, after, value, glued = at, at + 1, None, ""
        while end < len(words) and end - at < _MOST and _beside(text, words, at, end, _scales(language)):
            word = folded[end]
            if not parts[end] or (word == "a" and end > at and word not in pieces) or (end == at and word in joins):
                break
            glued, end = glued + word, end + 1
            if word not in joins and len(glued) <= _LONGEST and (read := _read(glued, language)) is not None:
                after, value = end, read
        if value is not None:
            yield Numeral(words[at].start(), words[after - 1].end(), value)
        at = after


def _beside(text: str, words: list[re.Match[str]], first: int, word: int, scales: Mapping[str, int]) -> bool:
    """Return whether a word continues a number: after a space, a hyphen, or a scale and a comma."""
    if word == first:
        return True
    gap = text[words[word - 1].end() : words[word].start()]
    return gap.isspace() or gap in _HYPHENS or (gap == ", " and _fold(words[word - 1][0]) in scales)


_DIGITS = {
    sign: n
    for n, signs in enumerate(
        (
            "\u3007零",
            "一壱",
            "二弐",
            "三参",
            "四",
            "五",
            "六",
            "七",
            "八",
            "九",
        )
    )
    for sign in signs
}
_SMALL = {"十": 10, "拾": 10, "百": 100, "千": 1000}
KANJI_SCALES = {**dict.fromkeys("万萬만", 10**4), **dict.fromkeys("億亿억", 10**8), **dict.fromkeys("兆조", 10**12)}
_KANJI = re.compile(
    f"[{''.join(_DIGITS)}{''.join(_SMALL)}][{''.join(_DIGITS)}{''.join(_SMALL)}{''.join(KANJI_SCALES)}]*"
)


def _find_kanji(text: str) -> list[Numeral]:
    readings = ((match, read_kanji(match[0])) for match in _KANJI.finditer(text))
    return [Numeral(*match.span(), value) for match, value in readings if value is not None]


def read_kanji(word: str) -> int | None:
    """Return the value of Japanese numerals, in place values (`二〇二四`) or in words (`二千二十四`)."""
    if all(sign in _DIGITS for sign in word):
        return int("".join(str(_DIGITS[sign]) for sign in word))
    total = part = digit = 0
    for sign in word:
        if sign in _DIGITS:
            digit = 10 * digit + _DIGITS[sign]
        elif sign in _SMALL:
            part, digit = part + (digit or 1) * _SMALL[sign], 0
        elif sign in KANJI_SCALES:
            total, part, digit = total + (part + digit or 1) * KANJI_SCALES[sign], 0, 0
        else:
            return None
    return total + part + digit


_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"


@cache
def cardinals(language: str) -> Mapping[str, int]:
    """Return the numbers from 0 to 12 by their words, of one word each."""
    spell = _BELOW.get(base(language))
    return {} if spell is None else {word: n for n in range(13) for word in spell(n)}


@cache
def english_ordinals() -> Mapping[str, int]:
    """Return the ordinals of English from 1 to 12 by their words."""
    return {word: n for n, word in enumerate(_ORDINALS.split(), 1)}


# --- Read numbers in figures as a language writes them, or not at all where two readings are possible.

SPACES = " \u00a0\u202f\u2009"
APOSTROPHES = "'\u2019"
_MINUS = "-\u2212\u2013"
FIGURES = rf"(?>\d+(?:[.,{APOSTROPHES}\u00a0\u202f\u2009 ]\d+){{0,12}})"
"""A number with any signs in it; `read_figures` decides which of them belong to it.

No part of it is tried twice, so that long runs of figures have a linear cost.
"""
_WIDE = str.maketrans("\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19\uff0e\uff0c", "0123456789.,")
_CELL = re.compile(rf"([+-]?)({FIGURES})", re.ASCII)
_SINGLE = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")


class Number(NamedTuple):
    """A number in a text: `text[start:end]`."""

    start: int
    end: int
    value: Decimal


def narrow(text: str) -> str:
    """Return the text with full-width figures replaced by half-width ones; positions stay."""
    return text.translate(_WIDE)


def read_figures(token: str, language: str | None = None, *, foreign: bool = True) -> Decimal | None:
    """Read one number in figures, without a sign.

    Args:
        token: The figures with the signs of groups and decimals in them.
        language: The language of the text, with or without a region; None for unknown.
        foreign: Read `3,50` in an English text too, as beside a currency sign, and do not read `12,13` as a list.

    Returns:
        Its value; None if it is no number, or two numbers are possible.
    """
    if is_ambiguous(token):
        decimal = decimal_sign(language)
        return None if decimal is None else _parse(token, decimal)
    if " " in token and not groups_by_space(language) and _BARE.fullmatch(token):
        return None  # "room 12 500": one number, or two
    own = decimal_sign(language)
    read = None if own is None else _parse(token, own)
    if read is not None or (own is not None and not foreign and len(set(re.sub(r"\d", "", token))) < 2):
        return read
    readings = {value for sign in ".," if (value := _parse(token, sign)) is not None}
    if own != "," and _LONG_COMMA.fullmatch(token):
        return None  # "1,2345" is a slip in English
    return readings.pop() if len(readings) == 1 else None


def is_ambiguous(token: str) -> bool:
    """Return whether three digits follow the only sign: a thousand in one language, decimals in another."""
    return _SINGLE.fullmatch(token) is not None


def as_decimal(token: str, decimal: str) -> Decimal | None:
    """Return the number of figures with this decimal sign; None if they are no number."""
    return _parse(token, decimal)


def read_cell(cell: str, decimal: str | None = None) -> int | float | None:
    """Return the finite number that a whole cell is, with this decimal sign; None if it is none.

    Without a sign: None as well where two numbers are possible.
    """
    match = _CELL.fullmatch(cell)
    signs = ".," if decimal is None else decimal
    readings = {value for sign in signs if match and (value := _parse(match[2], sign)) is not None}
    value = readings.pop() if len(readings) == 1 else None
    if match is None or value is None or not math.isfinite(float(value)):
        return None
    return as_plain(-value if match[1] == "-" else value)


def _parse(token: str, decimal: str) -> Decimal | None:
    whole, point, part = token.partition(decimal)
    if point and not part.isdigit():
        return None
    if whole.isdigit():
        return Decimal(f"{whole}.{part}" if part else whole)
    group = "," if decimal == "." else "."
    for sign in (group, *SPACES, *APOSTROPHES):
        thousands = rf"\d{{1,3}}(?:{re.escape(sign)}\d{{3}})+"
        lakhs = rf"\d{{1,2}}(?:{re.escape(sign)}\d{{2}})+{re.escape(sign)}\d{{3}}" if sign == "," else r"(?!)"
        if re.fullmatch(f"{thousands}|{lakhs}", whole) and not whole.startswith("0"):
            digits = whole.replace(sign, "")
            return Decimal(f"{digits}.{part}" if part else digits)
    return None


_LONG_COMMA = re.compile(r"\d+,\d{3,}")
_BARE = re.compile(r"\d{1,3}(?: \d{3})+")
_GROUPED = re.compile(rf"[1-9]\d{{0,2}}(?P<space>[{SPACES}])\d{{3}}(?:(?P=space)\d{{3}})*(?!\d)(?:[.,]\d+)?")
_NUMBER = re.compile(rf"(?<![\w.,])(?<!\d[/:])(?P<sign>[{_MINUS}]?)(?P<figures>{FIGURES})(?!\w|[.,/:]\d)")


def first_figures(token: str) -> str:
    """Return the first number of a run of figures: with spaces between thousands, or up to the first space."""
    grouped = _GROUPED.match(token)
    return grouped[0] if grouped else re.split(f"[{SPACES}]", token, maxsplit=1)[0]


def last_figures(token: str) -> str:
    """Return the number after the last space of a run of figures, if the run does not begin with it."""
    return re.split(f"[{SPACES}]", token)[-1]


def find_numbers(text: str, language: str | None = None) -> list[Number]:
    """Return the numbers in figures of a text, in order, without those that have two possible values."""
    numbers: list[Number] = []
    text = narrow(text)
    at = 0
    while (match := _NUMBER.search(text, at)) is not None:
        token = first_figures(match["figures"])
        start, end = match.start(), match.start("figures") + len(token)
        at = end
        value = read_figures(token, language, foreign=False)
        if value is not None:
            signed = bool(match["sign"]) and not text[max(0, start - 3) : start].rstrip()[-1:].isdigit()
            numbers.append(Number(start if signed else match.start("figures"), end, -value if signed else value))
    return numbers


def as_plain(value: Decimal) -> int | float:
    """Return an int for a whole number, else a float."""
    return int(value) if value == value.to_integral_value() else float(value)

"""Read numbers in figures as a language writes them, or not at all where two readings are possible.

`1,234` is 1234 in English and 1.234 in German. With an unknown language it is neither: it is None.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NamedTuple

from coterie.text.language import base
from coterie.text.locales import decimal_sign, groups_by_space

SPACES = " \u00a0\u202f\u2009"
APOSTROPHES = "'\u2019"
_GROUPS = f".,{SPACES}{APOSTROPHES}"
_MINUS = "-\u2212\u2013"
FIGURES = rf"(?>\d+(?:[.,{APOSTROPHES}\u00a0\u202f\u2009 ]\d+){{0,12}})"
"""A number with whatever signs stand in it; `read_figures` says which of them belong to it.

No part of it is tried twice, so that long runs of figures cost what they are long."""
_WIDE = str.maketrans("\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19\uff0e\uff0c", "0123456789.,")
_SINGLE = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")


class Number(NamedTuple):
    """A number in a text: `text[start:end]`."""

    start: int
    end: int
    value: Decimal


def narrow(text: str) -> str:
    """The text with the figures of half width in place of those of full width; places stay."""
    return text.translate(_WIDE)


def read_figures(token: str, language: str | None = None, *, foreign: bool = True) -> Decimal | None:
    """Read one number in figures, without a sign.

    Args:
        token: The figures with the signs of groups and decimals in them.
        language: The language of the text, with or without a region; None for unknown.
        foreign: Read `3,50` in an English text too, as with the sign of a currency beside it, and `12,13` is no list.

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
    """Whether figures have one sign with three digits behind it: a thousand in one language, decimals in another."""
    return _SINGLE.fullmatch(token) is not None


def as_decimal(token: str, decimal: str) -> Decimal | None:
    """The number that figures are where this is the decimal sign; None if they are none."""
    return _parse(token, decimal)


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
    """The number that a run of figures begins with: thousands parted by spaces, or what stands before a space."""
    grouped = _GROUPED.match(token)
    return grouped[0] if grouped else re.split(f"[{SPACES}]", token, maxsplit=1)[0]


def last_figures(token: str) -> str:
    """The number that a run of figures ends with, if it does not begin with it: what stands behind the last space."""
    return re.split(f"[{SPACES}]", token)[-1]


def find_numbers(text: str, language: str | None = None) -> list[Number]:
    """The numbers in figures of a text, in order; those with two possible values are left out."""
    found: list[Number] = []
    text = narrow(text)
    at = 0
    while (match := _NUMBER.search(text, at)) is not None:
        token = first_figures(match["figures"])
        start, end = match.start(), match.start("figures") + len(token)
        at = end
        value = read_figures(token, language, foreign=False)
        if value is not None:
            signed = bool(match["sign"]) and not text[max(0, start - 3) : start].rstrip()[-1:].isdigit()
            found.append(Number(start if signed else match.start("figures"), end, -value if signed else value))
    return found


def as_plain(value: Decimal) -> int | float:
    """A whole number, or a float."""
    return int(value) if value == value.to_integral_value() else float(value)


def knows(language: str | None) -> bool:
    """Whether it is known how a language writes numbers."""
    return bool(base(language)) and decimal_sign(language) is not None

"""Words near a number that say what it is."""

from __future__ import annotations

import re

BEFORE, AFTER = 60, 30
"""Characters of a text that are looked at before and behind a number."""


def words(names: str) -> re.Pattern[str]:
    """A pattern of any of these words and beginnings of words (`tel, phone*`), whatever their case."""
    parts = (
        re.escape(name.removesuffix("*")) + (r"\w{0,12}" if name.endswith("*") else "") for name in names.split(", ")
    )
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(parts)})(?![^\W_])", re.IGNORECASE)


def near(pattern: re.Pattern[str], text: str, start: int, end: int) -> bool:
    """Whether such a word stands before `text[start:end]` or close behind it."""
    return bool(pattern.search(text[max(0, start - BEFORE) : start]) or pattern.search(text[end : end + AFTER]))


def last_before(pattern: re.Pattern[str], text: str, start: int, reach: int = BEFORE) -> int:
    """Where the last such word before `start` ends, in characters of the text; -1 if there is none in reach."""
    begin = max(0, start - reach)
    ends = [match.end() for match in pattern.finditer(text[begin:start])]
    return begin + ends[-1] if ends else -1


def digits_of(text: str) -> str:
    """The decimal digits in it, in whatever script, as ASCII."""
    return "".join(str(int(sign)) for sign in text if sign.isdecimal())

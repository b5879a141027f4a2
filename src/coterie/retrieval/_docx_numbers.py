"""The numbers that Word writes before paragraphs: no text holds them, every reader sees them and cites by them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_MOST_LEVELS = 9
_ROMAN = (
    *((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl")),
    *((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")),
)
_LONGEST_ROMAN = 10_000
_PLACE = re.compile(r"%([1-9])")


class Level(NamedTuple):
    """How one level of a list is numbered."""

    style: str
    """Word's name of it: `decimal`, `lowerLetter`, `bullet` ..."""
    text: str
    """What is written, `%1` standing for the number of the first level."""
    start: int


class Numbered(NamedTuple):
    """Which list a paragraph belongs to, and its level, from 0."""

    list: str
    level: int


class Numbers:
    """Counts the paragraphs of a document's lists.

    Args:
        levels: By a list's id, its levels.
        same: By a list's id, that of the list whose count it goes on with.
    """

    def __init__(self, levels: Mapping[str, Sequence[Level]], same: Mapping[str, str]) -> None:
        self._levels, self._same = levels, same
        self._counts: defaultdict[str, list[int]] = defaultdict(list)

    def next(self, place: Numbered | None) -> str:
        """What stands before the next paragraph, with a blank; nothing before one of no list or with a bullet."""
        levels = self._levels.get(place.list, ()) if place else ()
        if place is None or not 0 <= place.level < len(levels):
            return ""
        counts = self._counts[self._same.get(place.list, place.list)]
        while len(counts) <= place.level:
            counts.append(levels[len(counts)].start - (len(counts) == place.level))
        counts[place.level] += 1
        del counts[place.level + 1 :]
        level = levels[place.level]
        if level.style in {"bullet", "none"}:
            return ""

        def number(match: re.Match[str]) -> str:
            which = int(match[1]) - 1
            return _written(counts[which], levels[which].style) if which < len(counts) else ""

        text = _PLACE.sub(number, level.text).strip()
        return f"{text} " if text else ""


def _written(number: int, style: str) -> str:
    match style:
        case "lowerLetter" | "upperLetter" if number > 0:
            letters = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
            return letters.upper() if style == "upperLetter" else letters
        case "lowerRoman" | "upperRoman" if 0 < number < _LONGEST_ROMAN:
            roman = ""
            for value, sign in _ROMAN:
                roman += sign * (number // value)
                number %= value
            return roman.upper() if style == "upperRoman" else roman
        case "decimalZero":
            return f"{number:02}"
        case _:
            return str(number)

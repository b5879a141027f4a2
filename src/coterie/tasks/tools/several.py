"""Several orders in one text: the values that it says, those that a call leaves over, and where it comes apart.

Nothing of a language is known here. A value is a number in figures, or a choice that training texts say word for word.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?!\w)")
_WORD = re.compile(r"\S+")
MOST_CUTS = 12
"""Places at which a text is tried to come apart."""
LONGEST = 400
"""Characters of a text that is looked at: orders are short."""


class SaidValue(NamedTuple):
    """A value that a text says."""

    start: int
    end: int
    text: str


def values_said(text: str, choices: Collection[str]) -> list[SaidValue]:
    """The numbers of a text and those of these choices that stand there, in order; none within another."""
    found = [SaidValue(each.start(), each.end(), each[0]) for each in _NUMBER.finditer(text)]
    for choice in sorted(choices, key=len, reverse=True):
        flags = re.NOFLAG if choice.isupper() else re.IGNORECASE  # "A" is a name, and "a" a word
        for each in re.finditer(rf"(?<!\w){re.escape(choice)}(?!\w)", text, flags):
            if not any(each.start() < other.end and other.start < each.end() for other in found):
                found.append(SaidValue(each.start(), each.end(), choice))
    return sorted(found)


def left_over(said: Sequence[SaidValue], used: Collection[object]) -> list[SaidValue]:
    """The values that are none of those that a call has: arguments, and words by which they are said."""
    numbers = {float(each) for each in used if isinstance(each, int | float)}
    texts = [each.casefold() for each in used if isinstance(each, str)]
    return [
        each
        for each in said
        if not (numbers & _readings(each.text) or any(each.text.casefold() in text for text in texts))
    ]


def _readings(text: str) -> set[float]:
    """What a number may be: with commas or full stops as signs of thousands, or one of them before a fraction."""
    if not _NUMBER.fullmatch(text):
        return set()
    forms = {text.replace(",", "").replace(".", ""), text.replace(",", ""), text.replace(".", "").replace(",", ".")}
    return {float(form) for form in forms if form.count(".") <= 1}


class Halves(NamedTuple):
    """A text that is taken apart."""

    first: str
    second: str
    again: str
    """The second half behind the words before the first value."""


def halves(text: str, said: Sequence[SaidValue]) -> Iterator[Halves]:
    """The ways to take a text apart at the beginning of a word between two of its values, the first ones first.

    Of "open hive 4 and hive 6" the second half says "and hive 6" and means "open hive 6": few say the same twice.
    """
    starts = [each.start() for each in _WORD.finditer(text)]
    cuts = [at for at in starts if said[0].end <= at <= said[-1].start]
    for cut in cuts[:MOST_CUTS]:
        behind = [each for each in said if each.start >= cut]
        if any(each.start < cut < each.end for each in said):
            continue
        yield Halves(text[:cut].strip(), text[cut:], text[: said[0].start] + text[behind[0].start :])

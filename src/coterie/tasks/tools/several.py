"""Splits several orders in one text: the values in it, those that a call leaves over, and where to split it.

The method knows no language. A value is a number in figures, or a choice that training texts contain word for word.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?!\w)")
_WORD = re.compile(r"\S+")
MOST_CUTS = 12
"""Most places at which a text is split on trial."""
LONGEST = 400
"""Most characters of a text that is split: orders are short."""


class SaidValue(NamedTuple):
    """A value in a text."""

    start: int
    end: int
    text: str


def values_said(text: str, choices: Collection[str]) -> list[SaidValue]:
    """Return the numbers and the given choices that occur in a text, in order; none within another."""
    values = [SaidValue(match.start(), match.end(), match[0]) for match in _NUMBER.finditer(text)]
    for choice in sorted(choices, key=len, reverse=True):
        flags = re.NOFLAG if choice.isupper() else re.IGNORECASE  # "A" is a name, and "a" a word
        for match in re.finditer(rf"(?<!\w){re.escape(choice)}(?!\w)", text, flags):
            if not any(match.start() < other.end and other.start < match.end() for other in values):
                values.append(SaidValue(match.start(), match.end(), choice))
    return sorted(values)


def left_over(values: Sequence[SaidValue], used: Collection[object]) -> list[SaidValue]:
    """Return the values that a call does not use as arguments or as words that express them."""
    numbers = {float(value) for value in used if isinstance(value, int | float)}
    texts = [text.casefold() for text in used if isinstance(text, str)]
    return [
        value
        for value in values
        if not (numbers & _readings(value.text) or any(value.text.casefold() in text for text in texts))
    ]


def _readings(text: str) -> set[float]:
    """Return the possible values of a number: with commas or full stops as thousands or decimal separators."""
    if not _NUMBER.fullmatch(text):
        return set()
    forms = {text.replace(",", "").replace(".", ""), text.replace(",", ""), text.replace(".", "").replace(",", ".")}
    return {float(form) for form in forms if form.count(".") <= 1}


class Halves(NamedTuple):
    """A text split in two."""

    first: str
    second: str
    again: str
    """The second half after the words before the first value."""


def halves(text: str, values: Sequence[SaidValue]) -> Iterator[Halves]:
    """Yield the ways to split a text at the beginning of a word between two of its values, the first ones first.

    The second half of "open hive 4 and hive 6" is "and hive 6" and means "open hive 6": few people repeat the verb.
    """
    starts = [match.start() for match in _WORD.finditer(text)]
    cuts = [at for at in starts if values[0].end <= at <= values[-1].start]
    for cut in cuts[:MOST_CUTS]:
        behind = [value for value in values if value.start >= cut]
        if any(value.start < cut < value.end for value in values):
            continue
        yield Halves(text[:cut].strip(), text[cut:], text[: values[0].start] + text[behind[0].start :])

"""Typed values in a text: dates, numbers, amounts of money, spans of time, in the language of the text.

Each value has one form, so that two ways to write it are equal: a date is `2024-05-31`, a span of time `P30D` (ISO
8601), an amount of money `USD 1500` or `USD 77.10`. What can be read in two ways has no value (`coterie.text`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from coterie.text.dates import find_dates, find_durations
from coterie.text.money import find_money
from coterie.text.numerals import as_plain, find_numbers
from coterie.text.words import plain
from coterie.types import Scalar

TEXT, CHOICE = "text", "choice"
_ISO_DURATION = re.compile(r"P(?=.)(?:\d+(?:\.\d+)?[YMWD])*(?:T(?:\d+(?:\.\d+)?[HMS])+)?")
"""The form that spans of time have as values: whoever writes one gets it back."""
MANY = "*"
"""What a type ends with where a field may have several values."""


class TypedValue(NamedTuple):
    """A typed value and where a text writes it."""

    start: int
    end: int
    value: Scalar


_READERS: Mapping[str, Callable[[str, str | None], list[TypedValue]]] = {
    "date": lambda text, language: [TypedValue(*each) for each in find_dates(text, language)],
    "duration": lambda text, language: [TypedValue(*each) for each in find_durations(text, language)],
    "money": lambda text, language: [
        TypedValue(each.start, each.end, each.value) for each in find_money(text, language)
    ],
    "number": lambda text, language: [
        TypedValue(each.start, each.end, as_plain(each.value)) for each in find_numbers(text, language)
    ],
}


def is_typed(kind: str) -> bool:
    """Whether values of a field's type are read from its words: not of `text` and `choice`, whose values are words."""
    return kind.removesuffix(MANY) in _READERS


def find_values(kind: str, text: str, language: str | None = None) -> list[TypedValue]:
    """Every value of a type (`date`, `number`, `money` or `duration`) that a text writes, in its order.

    Args:
        kind: The type.
        text: Any text.
        language: The language of the text, such as `de` or `en-GB`; None for unknown.
    """
    return _READERS[kind](text, language)


def normalise_value(kind: str, quote: str, choices: Sequence[str] = (), *, language: str | None = None) -> Scalar:
    """The value that a quote states, in the form of its type; None if it has none.

    Args:
        kind: The field's type, with or without `*`.
        quote: The words. Of several values in them the first one counts.
        choices: Of a `choice`: the values to choose from, found in the words whatever their case.
        language: The language of the quote; None for unknown.
    """
    kind = kind.removesuffix(MANY)
    if kind == TEXT:
        return " ".join(quote.split()) or None
    if kind == CHOICE:
        return _choose(quote, choices)
    if kind == "duration" and _ISO_DURATION.fullmatch(quote.strip()):
        return quote.strip()
    found = find_values(kind, quote, language)
    return found[0].value if found else None


def _choose(quote: str, choices: Sequence[str]) -> str | None:
    """The choice that is named first; of several at one place the longest."""
    folded = plain(quote)
    named = []
    for choice in choices:
        words = re.escape(plain(choice))
        if words and (match := re.search(rf"(?<!\w){words}(?!\w)", folded)):
            named.append((match.start(), -len(words), choice))
    return min(named)[2] if named else None


def typed_spans(text: str, language: str | None = None) -> Iterator[tuple[str, TypedValue]]:
    """Every typed value of a text with its type: what a reader of the text takes its bearings from."""
    for kind in _READERS:
        for value in find_values(kind, text, language):
            yield kind, value

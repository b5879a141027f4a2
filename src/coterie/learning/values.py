"""Typed values in a text: dates, numbers, amounts of money, durations, in the language of the text.

Each value has one form, so that two spellings of it are equal: a date is `2024-05-31`, a duration `P30D` (ISO
8601), an amount of money `USD 1500` or `USD 77.10`. Ambiguous text has no value (`coterie.text`).
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

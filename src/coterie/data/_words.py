"""How data problems are put into words: lines, values and counts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_SHOWN = 3


class Problem(NamedTuple):
    """Something wrong with a file, and what to do about it."""

    what: str
    advice: str = ""


def count(number: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def quote(value: object, *, longest: int = 60) -> str:
    """A value as Python would write it, cut when it is long."""
    text = repr(value)
    return text if len(text) <= longest else text[: longest - 4] + "..." + text[-1]


def lines(numbers: Sequence[int]) -> str:
    """`line 3`, `lines 3 and 7`, `lines 3, 7, 9 and 40 more`."""
    return f"line{'s' if len(numbers) > 1 else ''} {listing(f'{n}' for n in numbers)}"


def listing(names: Iterable[str], *, shown: int = _SHOWN) -> str:
    """`a`, `a and b`, `a, b, c and 4 more`."""
    every = list(names)
    head, rest = every[:shown], len(every) - shown
    if rest > 0:
        return f"{', '.join(head)} and {rest:,} more"
    return " and ".join([", ".join(head[:-1]), head[-1]]) if len(head) > 1 else "".join(head)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant: the same but for case and spaces, or the most similar one."""
    folded = {other.casefold().strip(): other for other in names}
    close = difflib.get_close_matches(name.casefold().strip(), list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else None

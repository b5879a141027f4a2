"""Packing a view into its budget: what is worth most per token goes in first.

How much an entry is worth: a fact it reads 8; the best passage of a search 4, each further one a tenth less, and half
as much with each turn since it was found; a message 2 and a finding 1, a fifth less with each turn. So facts, which are
short and asked for by name, come before passages, passages before an equally long talk, new before old.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from coterie.engines import estimate_tokens
from coterie.types import Entry, Fact, FindingSummary, Message, Passage

from ._wording import text_of

_FACT, _PASSAGE, _MESSAGE, _FINDING = 8.0, 4.0, 2.0, 1.0
_NEXT_PASSAGE, _OLD_PASSAGE, _OLD_TURN = 0.9, 0.5, 0.8
_FRAME = 4  # tokens around an entry in a prompt


def tokens_of(entry: Entry) -> int:
    """About how many tokens an entry takes in a prompt."""
    heading = entry.content.heading if isinstance(entry.content, Passage) else ""
    return estimate_tokens(f"{heading}\n{text_of(entry)}" if heading else text_of(entry)) + _FRAME


def worth(log: Sequence[Entry], *, first_found: int) -> list[float]:
    """What each entry of a log, oldest first, is worth.

    Args:
        log: The session's entries, then the passages found now.
        first_found: Place of the first of these.
    """
    age, values = 1, [0.0] * len(log)
    for place in reversed(range(first_found)):
        values[place] = _value(log[place], age)
        age += isinstance(log[place].content, Message) and log[place].producer == "user"
    values[first_found:] = [_PASSAGE] * (len(log) - first_found)
    ranks: Counter[tuple[str, float]] = Counter()
    for place, entry in enumerate(log):
        if isinstance(entry.content, Passage):
            search = (entry.producer, entry.time)
            values[place] *= _NEXT_PASSAGE ** ranks[search]
            ranks[search] += 1
    return values


def _value(entry: Entry, age: int) -> float:
    """What an entry of the session is worth, so many turns old."""
    match entry.content:
        case Fact():
            return _FACT
        case Passage():
            return float(_PASSAGE * _OLD_PASSAGE**age)
        case FindingSummary():
            return float(_FINDING * _OLD_TURN**age)
        case _:
            return float(_MESSAGE * _OLD_TURN**age)


def pack(values: Sequence[float], sizes: Sequence[int], budget: int | None) -> list[bool]:
    """Which of some things go into a budget: greedily by value per size, of equals the later one first.

    The greedy set or the one most valuable thing that fits, whichever is worth more: together at least half of what
    the best choice would be worth (Dantzig 1957; Kellerer, Pferschy, Pisinger 2004, "Knapsack Problems", 2.1).

    Args:
        values: What each is worth, positive.
        sizes: What each takes, positive. (N,)
        budget: What all may take together; None for no limit.
    """
    if budget is None or sum(sizes) <= budget:
        return [True] * len(values)
    left, taken = budget, [False] * len(values)
    for place in sorted(range(len(values)), key=lambda i: (-values[i] / sizes[i], -i)):
        if sizes[place] <= left:
            taken[place], left = True, left - sizes[place]
    alone = max((i for i, size in enumerate(sizes) if size <= budget), key=lambda i: (values[i], i), default=None)
    if alone is not None and values[alone] > sum(value for value, take in zip(values, taken, strict=True) if take):
        return [place == alone for place in range(len(values))]
    return taken

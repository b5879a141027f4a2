"""A question asked again of another time or number: "open on Sunday?", "and on Monday?" is "open on Monday?".

Rules on words, for English. What is said beside a time or a number of the same kind is kept as it stood.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from ._vocabulary import CLOCK, COUNTS, DAYS, MONTHS, PARTS, RELATIVE_DAYS, UNITS

_TOKEN = re.compile(r"\d+(?:[:.]\d+)?(?:st|nd|rd|th|am|pm)?\b|[^\W_]+(?:['\u2019][^\W_]+)*", re.IGNORECASE)
_PLACE = frozenset(
    {
        "on",
        "at",
        "in",
        "by",
        "for",
        "from",
        "until",
        "till",
        "before",
        "after",
        "since",
        "during",
        "to",
        "under",
        "over",
        "above",
        "below",
    }
)
_BESIDE = frozenset({"the", "about", "around"})
"""May stand between such a word and the time."""
_WHICH = frozenset({"next", "last", "this", "every"})
_HOURS = frozenset({"at", "from", "until", "till", "before", "after", "by"})
"""A number behind one is an hour, unless a unit follows."""
_NAMED = {"day": DAYS, "part": PARTS, "clock": CLOCK}
_YEAR = re.compile(r"\d{4}")
_NOT = frozenset({"not", "no", "except", "but"})
_CORRECTION = re.compile(r"\s*(?:no|nope|sorry)\s*[,.;!]", re.IGNORECASE)
"""Before what is meant instead: "no, Sunday"."""


class Moment(NamedTuple):
    """A time or a number in a text."""

    kind: str
    """`day`, `month`, `part` of a day, `clock`, or `count`."""
    place: int
    """Where the words that lead to it begin ("on the"); where it begins itself if there are none."""
    start: int
    end: int
    relative: bool
    """It takes no word before it: "tomorrow", "next Monday"."""


def asked_again(earlier: str, detail: str) -> str:
    """The earlier question with the times and numbers of another one in the place of its own.

    Args:
        earlier: A question.
        detail: What says no more than when or how many.

    Returns:
        The question; empty if it has nothing of that kind, or several things, so that it is not clear what is replaced.
    """
    whole = earlier.strip()
    said, known = moments(detail), moments(whole)
    corrected = _CORRECTION.match(detail)
    words = {token[0].lower() for token in _TOKEN.finditer(detail, corrected.end() if corrected else 0)}
    if words & _NOT or _unsaid(detail, said) or len({each.kind for each in said}) < len(said):
        return ""
    pairs = [(new, [old for old in known if old.kind == new.kind]) for new in said]
    if any(len(same) > 1 for _, same in pairs) or not any(same for _, same in pairs):
        return ""
    added = "".join(f" {detail[new.place : new.end]}" for new, same in pairs if not same)
    places = [(same[0], new) for new, same in pairs if same]
    for old, new in sorted(places, key=lambda pair: pair[0].start, reverse=True):  # from the end: places stay
        whole = _replaced(whole, old, detail, new)
    body = whole.rstrip("?!. ")
    return f"{body}{added}{whole[len(body) :]}"


def moments(text: str) -> list[Moment]:
    """The times and numbers in a text, in its order."""
    tokens = list(_TOKEN.finditer(text))
    words = [token[0].lower() for token in tokens]
    found: list[Moment] = []
    at = 0
    while at < len(words):
        kind, length = _kind(words, at)
        if kind:
            first = at
            while first and words[first - 1] in _WHICH and kind in {"day", "month", "part"}:
                first -= 1
            lead = first
            while lead and words[lead - 1] in _BESIDE:
                lead -= 1
            lead = lead - 1 if lead and words[lead - 1] in _PLACE else first
            last = tokens[at + length - 1]
            relative = words[at] in RELATIVE_DAYS or first < at
            found.append(Moment(kind, tokens[lead].start(), tokens[first].start(), last.end(), relative))
        at += max(length, 1)
    return found


def _kind(words: Sequence[str], at: int) -> tuple[str, int]:
    """What begins here, and of how many words it is."""
    word = words[at]
    if word in MONTHS:
        return _month(words, at)
    if _is_number(word):
        return _number(words, at)
    return next((kind for kind, named in _NAMED.items() if word in named), ""), 1


def _month(words: Sequence[str], at: int) -> tuple[str, int]:
    after = (*words[at + 1 : at + 2], "")[0]
    if after[:1].isdigit() and not _YEAR.fullmatch(after):
        return "day", 2
    verb = words[at] in {"may", "march"} and not _led(words, at)
    return ("", 1) if verb else ("month", 1)


def _number(words: Sequence[str], at: int) -> tuple[str, int]:
    word, after = words[at], (*words[at + 1 : at + 3], "", "")
    if after[0] in MONTHS or (after[0] == "of" and after[1] in MONTHS):
        return "day", 2 + (after[0] == "of")
    half_of_day = after[0] in {"am", "pm", "o'clock", "oclock"}
    if after[0] in UNITS:
        return "count", 2
    clock = half_of_day or word.endswith(("am", "pm")) or ":" in word or _led(words, at) in _HOURS
    return ("clock" if clock else "count"), 1 + half_of_day


def _led(words: Sequence[str], at: int) -> str:
    """The word that leads to a time; empty if none does."""
    while at and words[at - 1] in _BESIDE:
        at -= 1
    return words[at - 1] if at and words[at - 1] in _PLACE else ""


def _is_number(word: str) -> bool:
    return word in COUNTS or word[:1].isdigit()


def _unsaid(detail: str, said: Sequence[Moment]) -> bool:
    """Whether words for times or numbers are left that are none of these: "an hour later"."""
    inside = set(chain.from_iterable(range(each.start, each.end) for each in said))
    left = (token[0].lower() for token in _TOKEN.finditer(detail) if token.start() not in inside)
    return any(word in UNITS or word in {"later", "earlier", "same", "late", "sooner", "early"} for word in left)


def _replaced(whole: str, old: Moment, detail: str, new: Moment) -> str:
    """The text with one moment in the place of another, with the word before it that fits."""
    leads_old, leads_new = old.place < old.start, new.place < new.start
    begin = old.place if (leads_old and (leads_new or new.relative)) else old.start
    taken = new.place if (leads_old and leads_new) or old.relative else new.start
    return f"{whole[:begin]}{detail[taken : new.end]}{whole[old.end :]}"

"""Whether a question leans on earlier ones: it points at something that it does not name, or leaves it out.

Rules on words, for English: no model is asked. They were written on the development half of `benchmarks/followups`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ._vocabulary import (
    ARTICLES,
    ASKING,
    BE,
    CLAUSE,
    DETERMINERS,
    EMPTY_SUBJECT,
    FUNCTION,
    JUDGEMENTS,
    PEOPLE,
    POINTERS,
    PREPOSITIONS,
    SETTLED,
    TIMES,
)

DETAIL = "it says no more than when or how many"
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_OPENER = re.compile(
    r"^(?:(?:ok(?:ay)?|thanks|thank you|great|hm+|so|oh|well)[,.!]?\s+)*"
    r"(?:and|but|or|also|plus|what about|how about|same for|likewise|what if)\b[\s,]*",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"\bwhat\b.{0,8}\b(?:time|day|date|month|year)\b.*\b(?:is\s+it|today|now)\b", re.IGNORECASE)
"""Asks what time or day it is: this "it" stands for nothing."""
_LONGEST = 16  # words; a longer text says what it is about
_LONGEST_OPENED, _MOST_OPENED = 8, 3  # words, and those that say something, of one that goes on with "and"
_LONGEST_BARE = 6  # words of one that leaves out what it is about: "is there a limit?"
_MOST_BEFORE = 3  # words that say something before a word that points outside the text
_FEW = 4  # words that say something, of a question that is given back with all of them
_LONGEST_DETAIL = 10  # words of one that says no more than when or how many


def leans(text: str) -> str:
    """How a text leans on what was said before, in words; empty if it stands alone."""
    words = words_of(text)
    if not words or len(words) > _LONGEST or _CLOCK.search(text):
        return ""
    if is_detail(words):
        return DETAIL
    content = [is_content(word) for word in words]
    for place, word in enumerate(words):
        if word in POINTERS and _points(words, content, place):
            return f"{word!r} stands for something that it does not name"
    opener = _OPENER.match(text)
    if opener and len(words) <= _LONGEST_OPENED and sum(content) <= _MOST_OPENED:
        return f"it goes on with {opener[0].strip(' ,')!r}"
    bare = len(words) <= _LONGEST_BARE and sum(content) == 1 and _bare(words, content)
    nothing = not any(content) and not POINTERS.intersection(words) and ASKING.intersection(words)
    return "it leaves out what it is about" if bare or nothing else ""


def is_detail(words: Sequence[str]) -> bool:
    """Whether words say no more than when or how many: "at seven instead", "for two hours", "is Monday free?"."""
    about = words[0] in {"what", "how"} and words[1:2] == ["about"]  # else it asks for one: "what day is it?"
    if len(words) > _LONGEST_DETAIL or ASKING.intersection(words[about:]):
        return False
    said = [word for word in words if is_content(word)]
    times = [word for word in said if word in TIMES or word[0].isdigit()]
    return bool(times) and all(word in SETTLED for word in said if word not in times)


def words_of(text: str) -> list[str]:
    """The words of a text in small letters."""
    return [word.lower().replace("\u2019", "'") for word in _WORD.findall(text)]


def is_content(word: str) -> bool:
    """Whether a word says what a text is about."""
    return not (word in FUNCTION or word in POINTERS or word in PEOPLE)


def subject_of(text: str) -> str:
    """What a question that stands alone is about, in its own words.

    What it asks the aspect of, if it does ("the symptoms of ..."), else all words that say something, of many only the
    things it names behind an article or the like.
    """
    words = words_of(text)
    content = [is_content(word) for word in words]
    for place, word in enumerate(words):
        aspect = word in {"of", "for", "related"} and any(content[:place])
        if aspect and sum(content[:place]) <= _MOST_BEFORE and any(content[place + 1 :]):
            return _joined(words[place + 1 :], content[place + 1 :])
    if sum(content) <= _FEW:
        return _joined(words, content)
    named = [place > 0 and each and words[place - 1] in DETERMINERS for place, each in enumerate(content)]
    for place in range(1, len(words)):
        named[place] = named[place] or (named[place - 1] and content[place])
    return _joined(words, named if any(named) else content)


def _joined(words: Sequence[str], wanted: Sequence[bool]) -> str:
    return " ".join(dict.fromkeys(word for word, want in zip(words, wanted, strict=True) if want))


def _points(words: Sequence[str], content: Sequence[bool], place: int) -> bool:
    """Whether a pointer means something outside the text: nothing that it may mean was named before it."""
    last = words[place - 1] if place else ""
    after = words[place + 1] if place + 1 < len(words) else ""
    belongs = last in PREPOSITIONS and place > 1  # "the fee for that" means something else than the fee
    if _named(words[:place], content) > belongs or sum(content[:place]) > _MOST_BEFORE:
        return False
    match words[place]:
        case "there":
            return after not in BE | DETERMINERS and last not in BE
        case "that" | "this" | "these" | "those":
            alone = last in BE and sum(content[place:]) == 1  # "is that rare", not "is that card valid"
            follows = bool(after) and (is_content(after) or after in PEOPLE | DETERMINERS)
            return alone or (not follows and (not place or not content[place - 1] or not after))
        case "one" | "ones":
            return after != "of" and not (after and is_content(after))
        case "it" | "its":
            return belongs or not _means_nothing(words[place + 1 :], content[place + 1 :])
        case _:
            return True


def _means_nothing(after: Sequence[str], content: Sequence[bool]) -> bool:
    """Whether an "it" before these words stands for nothing: "it looks like ...", "does it cost anything to top up"."""
    if after and (after[0] in EMPTY_SUBJECT or (after[0] in JUDGEMENTS and CLAUSE & set(after[1:2]))):
        return True
    return sum(content) > 1 and any(word in CLAUSE for word in after)


def _named(words: Sequence[str], content: Sequence[bool]) -> int:
    """How many things the words name: those that begin behind an article or the like."""
    return sum(word in DETERMINERS and content[place + 1] for place, word in enumerate(words[:-1]))


def _bare(words: Sequence[str], content: Sequence[bool]) -> bool:
    """Whether its one word that says something is a thing's ("the rate", "any fees"), and nobody's in particular."""
    place = content.index(True)
    return place > 0 and words[place - 1] in ARTICLES and not PEOPLE & set(words)

"""Words near a number that say what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator

BEFORE, AFTER = 60, 30
"""Characters of a text that are looked at before and behind a number."""


_WORD = re.compile(r"[^\W_]+")


class ContextWords:
    """Words that say what a number beside them is: looked up in a set, which is faster than a pattern of them all."""

    def __init__(self, names: str) -> None:
        """Take words, beginnings of words and phrases (`tel, phone*, date of birth`); case does not count."""
        self._whole, self._begins, self._phrases = set[str](), list[str](), list[str]()
        for name in names.split(", "):
            if name.endswith("*"):
                self._begins.append(name[:-1])
            elif name.isalnum():
                self._whole.add(name)
            else:
                self._phrases.append(re.escape(name))
        self._rare = [word for word in self._whole if len(word) > 1]
        short = "".join(word for word in self._whole if len(word) == 1)
        self._short = re.compile(rf"[{re.escape(short)}](?<![^\W_].)(?![^\W_])") if short else None
        self._spoken = [name.casefold() for name in names.split(", ") if not name.endswith("*") and not name.isalnum()]
        self._phrase = re.compile(rf"(?<![^\W_])(?:{'|'.join(self._phrases)})(?![^\W_])", re.IGNORECASE)

    def may_stand_in(self, text: str) -> bool:
        """Whether it is worth looking for them: False only where none of them stands in the text."""
        small = text.casefold()
        stands = small.__contains__
        if any(map(stands, self._rare)) or any(map(stands, self._begins)):
            return True
        return any(map(stands, self._spoken)) or bool(self._short and self._short.search(small))

    def ends(self, text: str) -> Iterator[int]:
        """Where such words end in a text."""
        begins = tuple(self._begins)
        for match in _WORD.finditer(text):
            word = match[0].lower()
            if word in self._whole or (begins and word.startswith(begins)):
                yield match.end()
        if self._phrases:
            yield from (match.end() for match in self._phrase.finditer(text))


def near(known: ContextWords, text: str, start: int, end: int) -> bool:
    """Whether such a word stands before `text[start:end]` or close behind it."""
    sides = (text[max(0, start - BEFORE) : start], text[end : end + AFTER])
    return any(True for side in sides for _ in known.ends(side))


def last_before(known: ContextWords, text: str, start: int, reach: int = BEFORE) -> int:
    """Where the last such word before `start` ends, in characters of the text; -1 if there is none in reach."""
    begin = max(0, start - reach)
    return max((begin + end for end in known.ends(text[begin:start])), default=-1)


_ANY_DIGIT = re.compile(r"\d")
_ASCII_DIGITS = "0123456789"


def count_digits(text: str) -> int:
    """How many decimal digits are in a text, of whatever script."""
    return sum(map(text.count, _ASCII_DIGITS)) if text.isascii() else len(_ANY_DIGIT.findall(text))


def digits_between(text: str) -> tuple[int, int] | None:
    """Where the first decimal digit of a text begins and the last one ends; None if there is none."""
    if text.isascii():  # ten looks for a sign are faster than one for any of them
        places = [place for place in map(text.find, _ASCII_DIGITS) if place >= 0]
        return (min(places), max(map(text.rfind, _ASCII_DIGITS)) + 1) if places else None
    places = [match.start() for match in _ANY_DIGIT.finditer(text)]
    return (places[0], places[-1] + 1) if places else None


def digits_of(text: str) -> str:
    """The decimal digits in it, in whatever script, as ASCII."""
    return "".join(str(int(sign)) for sign in text if sign.isdecimal())


def lowered(text: str) -> str:
    """In lower case, each character in its place."""
    small = text.lower()
    if len(small) == len(text):
        return small
    return "".join(low if len(low := character.lower()) == 1 else character for character in text)

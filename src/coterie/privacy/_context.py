"""Words near a number that say what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator

BEFORE, AFTER = 60, 30
"""Characters of a text that are looked at before and behind a number."""


_WORD = re.compile(r"[^\W_]+")


class Words:
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
        self._phrase = re.compile(rf"(?<![^\W_])(?:{'|'.join(self._phrases)})(?![^\W_])", re.IGNORECASE)

    def may_stand_in(self, text: str) -> bool:
        """Whether it is worth looking for them: False only where none of them stands in the text."""
        small = text.lower()
        if any(word in small for word in self._rare) or any(word in small for word in self._begins):
            return True
        return bool((self._short and self._short.search(small)) or (self._phrases and self._phrase.search(text)))

    def ends(self, text: str) -> Iterator[int]:
        """Where such words end in a text."""
        begins = tuple(self._begins)
        for match in _WORD.finditer(text):
            word = match[0].lower()
            if word in self._whole or (begins and word.startswith(begins)):
                yield match.end()
        if self._phrases:
            yield from (match.end() for match in self._phrase.finditer(text))


def near(known: Words, text: str, start: int, end: int) -> bool:
    """Whether such a word stands before `text[start:end]` or close behind it."""
    sides = (text[max(0, start - BEFORE) : start], text[end : end + AFTER])
    return any(True for side in sides for _ in known.ends(side))


def last_before(known: Words, text: str, start: int, reach: int = BEFORE) -> int:
    """Where the last such word before `start` ends, in characters of the text; -1 if there is none in reach."""
    begin = max(0, start - reach)
    return max((begin + end for end in known.ends(text[begin:start])), default=-1)


def digits_of(text: str) -> str:
    """The decimal digits in it, in whatever script, as ASCII."""
    return "".join(str(int(sign)) for sign in text if sign.isdecimal())

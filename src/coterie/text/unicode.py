"""Unicode: look-alike characters, and text that native code and JSON encoders take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import ceil

from coterie.runtime.concurrency import still_wanted

# --- Look-alike characters: one table, for pseudonyms and for erasure.

ALIKE = {"'": "'\u2018\u2019\u02bc\u00b4`", "-": "-\u2010\u2011\u2012\u2013\u2212"}
"""Signs that stand for an apostrophe and for a hyphen in names."""
PLAIN_SIGNS = str.maketrans({sign: plain for plain, alike in ALIKE.items() for sign in alike})
"""For `str.translate`: each of them as the plain sign."""


# --- Valid Unicode.


def valid_text(text: str) -> str:
    """The text with lone surrogates, which no encoding can carry, replaced by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_STRETCH = 50_000
_LONGEST_MARK = 500
_NO_WORD = re.compile(r"\W")


def find_words(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    """What a pattern finds that matches nothing beyond a word or a sign.

    A long text is searched in stretches: one search would keep every other thread from running until its end.
    """
    begin = 0
    while begin < len(text):
        still_wanted()
        cut = _NO_WORD.search(text, begin + _STRETCH)
        end = cut.start() if cut else len(text)
        yield from pattern.findall(text, begin, end)
        begin = end


def find_marks(pattern: re.Pattern[str], text: str, start: int = 0, end: int | None = None) -> Iterator[re.Match[str]]:
    """The matches in a text or a part of it, of a pattern for what is short; looked for in such stretches, too."""
    end = len(text) if end is None else end
    last = start
    for begin in range(start, end, _STRETCH):
        still_wanted()
        for match in pattern.finditer(text, max(begin, last), min(begin + _STRETCH + _LONGEST_MARK, end)):
            if match.start() >= begin + _STRETCH:
                break
            last = match.end()
            yield match


def estimate_tokens(text: str) -> int:
    """Tokens of a text whose tokenizer is not known: four UTF-8 bytes a token, the usual rule of thumb."""
    return ceil(len(valid_text(text).encode()) / 4)

"""Sentences of a text that is still being written.

A full stop ends a sentence only when white space follows, so a sentence is certain one token after its last.
"""

from __future__ import annotations

import re

_DOTTED = "e.g i.e mr mrs ms dr st no vs etc approx a.m p.m inc ltd co"
_ABBREVIATIONS = frozenset(_DOTTED.split())
_END = re.compile(r"[.!?]+[\"'\u2019\u201d)\]]*(?=\s)|\n+")
_CLOSING = "\"'\u2019\u201d)]"


class SentenceSplitter:
    """Cuts a stream into sentences: `feed` it pieces, it gives back each sentence as soon as its end is certain."""

    def __init__(self) -> None:
        self._rest = ""

    @property
    def unfinished(self) -> int:
        """Characters of the sentence whose end has not come yet."""
        return len(self._rest)

    def feed(self, piece: str) -> list[str]:
        """The sentences that this piece makes certain, stripped; none is empty."""
        self._rest += piece
        done, start = [], 0
        for match in _END.finditer(self._rest):
            sentence = self._rest[start : match.end()]
            if match.group().startswith("\n") or ends_sentence(sentence):
                done.append(sentence.strip())
                start = match.end()
        self._rest = self._rest[start:]
        return [sentence for sentence in done if sentence]

    def close(self) -> list[str]:
        """What is left at the end of the stream, finished or not."""
        rest, self._rest = self._rest.strip(), ""
        return [rest] if rest else []


def split_sentences(text: str) -> list[str]:
    """The sentences of a whole text, stripped; none is empty."""
    splitter = SentenceSplitter()
    return [*splitter.feed(text), *splitter.close()]


def ends_sentence(sentence: str) -> bool:
    """Whether its full stop ends a sentence, and not an abbreviation or a list number ("1.")."""
    if not sentence.rstrip(_CLOSING).endswith("."):
        return True
    words = sentence.rstrip(".!?" + _CLOSING).split()
    if not words:
        return False
    last = words[-1].lower().lstrip("(\"'")
    return last not in _ABBREVIATIONS and not (len(words) == 1 and last.isdigit())

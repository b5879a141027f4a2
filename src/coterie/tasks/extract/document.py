"""A long text as sentences and words, each with its place: what is ranked and what is tagged.

Contracts come with hard line breaks inside sentences, headings without a full stop and lists of clauses: a sentence
ends at a blank line, and at `.`, `;` or `:` where the next word begins like a new one. A sentence that is too long to
be one is cut at white space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

_END = re.compile(r"\n[ \t\r\f\v]*\n\s*|(?<=[.;:!?])[\"'\u201d\u2019)]*\s+(?=[\"'\u201c\u2018(\[]*[A-Z0-9])")
_ABBREVIATION = re.compile(
    r"(?:\b(?:inc|corp|co|ltd|llc|no|nos|vs|mr|mrs|ms|dr|st|sec|art|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)"
    r"|\b[a-z](?:\.[a-z])*)\.$",
    re.IGNORECASE,
)
_NUMBERING = re.compile(r"\s*[(\[]?(?:\d+(?:\.\d+)*|[a-z]|[ivx]+)[.)\]]+\s*", re.IGNORECASE)
"""A clause's number is no sentence of its own."""
_WORD = re.compile(r"\w+(?:['\u2019]\w+)?|[^\w\s]")
_LONGEST = 600
"""Characters of a sentence."""


class TextRange(NamedTuple):
    """A stretch of a text, in characters."""

    start: int
    end: int


@dataclass(frozen=True)
class TokenizedText:
    """A text with its sentences and words, cut when they are asked for."""

    text: str

    @cached_property
    def sentences(self) -> list[TextRange]:
        """Every stretch of the text that is not blank, in order."""
        places: list[TextRange] = []
        start = 0
        for match in _END.finditer(self.text):
            blank = "\n" in match[0] and match[0].count("\n") > 1
            if not blank and self._goes_on(start, match.start()):
                continue
            places += _cut(self.text, start, match.end())
            start = match.end()
        return places + _cut(self.text, start, len(self.text))

    def _goes_on(self, start: int, end: int) -> bool:
        """Whether the stop at `end` ends no sentence: that of an abbreviation, or of a clause's number."""
        if _ABBREVIATION.search(self.text, max(start, end - 12), end):
            return True
        return end - start < 16 and bool(_NUMBERING.fullmatch(self.text, start, end))

    def words(self, place: TextRange) -> list[TextRange]:
        """Words and signs of a stretch."""
        return [TextRange(*match.span()) for match in _WORD.finditer(self.text, place.start, place.end)]


def _cut(text: str, start: int, end: int) -> list[TextRange]:
    """A sentence without the white space around it, in pieces if it is too long; nothing if it is blank."""
    piece = text[start:end]
    stripped = piece.strip()
    if not stripped:
        return []
    start += len(piece) - len(piece.lstrip())
    end = start + len(stripped)
    places = []
    while end - start > _LONGEST:
        middle = max(text.rfind(mark, start + _LONGEST // 2, start + _LONGEST) for mark in " \n")
        middle = middle if middle > start else start + _LONGEST
        places.append(TextRange(start, middle))
        start = middle + len(text[middle:end]) - len(text[middle:end].lstrip())
    return [*places, TextRange(start, end)] if end > start else places

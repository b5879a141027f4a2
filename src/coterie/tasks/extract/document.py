"""A long text as sentences and words, each with its place: what is ranked and what is tagged.

Contracts come with hard line breaks inside sentences, headings without a full stop and lists of clauses: a sentence
ends at a blank line, and at `.`, `;` or `:` where the next word begins like a new one. A sentence that is too long to
be one is cut at white space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from coterie.text.language import language_of
from coterie.text.segmentation import Span, sentences

_WORD = re.compile(r"\w+(?:['\u2019]\w+)?|[^\w\s]")
_LONGEST = 600
"""Characters of a sentence."""


TextRange = Span
"""A stretch of a text, in characters."""


@dataclass(frozen=True)
class TokenizedText:
    """A text with its sentences and words, cut when they are asked for."""

    text: str

    language: str = ""
    """That of the text; found out where it is empty."""

    @cached_property
    def spoken(self) -> str:
        """The language of the text; what is not sure counts as English."""
        return self.language or language_of(self.text, "en")

    @cached_property
    def sentences(self) -> list[Span]:
        """Every stretch of the text that is not blank, in order."""
        return sentences(self.text, language=self.spoken, clauses=True, longest=_LONGEST)

    def words(self, place: TextRange) -> list[TextRange]:
        """Words and signs of a stretch."""
        return [TextRange(*match.span()) for match in _WORD.finditer(self.text, place.start, place.end)]

"""A document cut into clauses, each with its place in it.

Boundaries are ends of sentences, semicolons and colons, line breaks, and the marks of a list's items: contracts and
regulations put each obligation into an item of a list. A piece is short enough for an encoder's window, so nothing
of a document is silently cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ._sentences import ends_sentence

LONGEST = 800
"""Characters of a clause; a longer one is cut at a comma or a space. About 200 tokens of English, below the 256 of
the bundled encoder."""
_HEADING = 3  # words of a piece that is the head of what follows it on the line
_NUMBERED = 25  # characters of such a piece if it begins with a number, as "5. Term and Renewal." does
_ITEM = r"\((?:[a-z]{1,2}|[ivx]+|\d{1,2})\)\s"
_CLOSING = "\"'\u2019\u201d)]"
_BOUNDARY = re.compile(
    rf"[.!?]+[{re.escape(_CLOSING)}]*(?=\s)"  # the end of a sentence
    r"|[;:](?=\s)|\n+"
    rf"|(?<=[,;:])\s+(?={_ITEM})|(?<=\sor)\s+(?={_ITEM})|(?<=\sand)\s+(?={_ITEM})"  # before "(b) ..."
)
_NUMBER = re.compile(r"[(\[]?(?:\d+(?:\.\d+)*|[a-z]|[ivx]+)(?!\w)", re.IGNORECASE)
_LONE_MARK = re.compile(r"\s*[(\[]?\w{1,4}[).\]]*\s*")


class Span(NamedTuple):
    """A place in a text: `text[start:end]`."""

    start: int
    end: int


def split_clauses(text: str) -> list[Span]:
    """The clauses of a text, in order, without white space around them; everything else of it is in one of them."""
    spans: list[Span] = []
    start = 0
    for boundary in _BOUNDARY.finditer(text):
        if _divides(text[start : boundary.end()], boundary.group()):
            spans += _pieces(text, start, boundary.end())
            start = boundary.end()
    return [*spans, *_pieces(text, start, len(text))]


def _divides(piece: str, mark: str) -> bool:
    """Whether a boundary is the end of a clause, and not of an abbreviation, a number or a short heading."""
    if mark.startswith("\n"):
        return not _LONE_MARK.fullmatch(piece)  # "(a)" alone on a line belongs to the next one
    if mark[0] in ".!?" and (not ends_sentence(piece) or _NUMBER.fullmatch(_last_word(piece))):
        return False
    words = piece.split()
    return len(words) > _HEADING and not (len(piece) < _NUMBERED and _NUMBER.match(words[0]))


def _last_word(piece: str) -> str:
    words = piece.rstrip(".!?" + _CLOSING).split()
    return words[-1] if words else ""


def _pieces(text: str, start: int, end: int) -> Iterator[Span]:
    """A clause without the space around it, in pieces that are not too long."""
    while True:
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        if end - start <= LONGEST:
            break
        cut = _cut(text, start)
        yield Span(start, cut)
        start = cut
    if start < end:
        yield Span(start, end)


def _cut(text: str, start: int) -> int:
    """Where a piece that is too long is cut: behind the last comma of its second half, else before a space."""
    half, last = start + LONGEST // 2, start + LONGEST
    comma = text.rfind(", ", half, last)
    if comma >= 0:
        return comma + 1
    space = text.rfind(" ", half, last)
    return space if space >= 0 else last

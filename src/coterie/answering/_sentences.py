"""Passages cut into sentences: what is scored, and what is cited."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from coterie.extraction import Document
from coterie.types import Citation, Passage

_ITEM = re.compile(r"\n+(?=[ \t]*(?:[-*+\u2022|#]|\(?\d{1,2}[.)]|\([a-z]{1,4}\))[ \t]*\S)")
"""A line that begins like a list's item, a table's row or a heading begins a sentence."""
_PARAGRAPH = re.compile(r"\n[ \t\r]*\n\s*")
_PAIR = re.compile(r"[^\s:][^:\n.;!?]{0,59}:[ \t]+\S.*")
"""A line with a name and its value, as a row of a CSV file, an address and a price list have them."""
_NEXT = re.compile(r"[.;!?]\s+[A-Z]")
"""A value with this in it is prose."""
_LONGEST_ROW = 600
"""Characters."""
_MARKS = " \t\r\n#*|-+\u2022>_`:"
_FEWEST = 3
"""Letters and digits of what says anything."""


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence of a passage."""

    passage: Passage
    rank: int
    """The passage's place among those found, from 0."""
    start: int
    end: int
    """`start` and `end`: characters of the document's text."""
    text: str

    def cite(self) -> Citation:
        """Where it stands."""
        passage = self.passage
        return Citation(
            document=passage.document,
            start=self.start,
            end=self.end,
            text=self.text,
            label=passage.label,
            shelf=passage.shelf,
            heading=passage.heading,
            page=passage.page,
        )


def cut_passages(passages: Sequence[Passage]) -> list[Sentence]:
    """The sentences of passages, best passage first; what two passages share is there once, under the better one."""
    found: list[Sentence] = []
    taken: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for rank, passage in enumerate(passages):
        places = taken.setdefault((passage.shelf, passage.document), [])
        for start, end in _cut(passage.text):
            at, to = passage.start + start, passage.start + end
            if any(at < other_end and other_start < to for other_start, other_end in places):
                continue
            places.append((at, to))
            text = passage.text[start:end]
            found.append(Sentence(passage=passage, rank=rank, start=at, end=to, text=text))
    return found


@lru_cache(maxsize=4096)
def _cut(text: str) -> tuple[tuple[int, int], ...]:
    """Where sentences stand, without the marks of lists and headings around them.

    Remembered, as one document is asked about again and again.
    """
    places: list[tuple[int, int]] = []
    start = 0
    for end in [*(match.start() for match in _ITEM.finditer(text)), len(text)]:
        for at, to in _sentences(text[start:end]):
            trimmed = _trim(text, start + at, start + to)
            if sum(sign.isalnum() for sign in text[slice(*trimmed)]) >= _FEWEST:
                places.append(trimmed)
        start = end
    return tuple(places)


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """Where the sentences of one item stand. A paragraph of names with values is one: a value says nothing alone."""
    start = 0
    for end, after in [*(match.span() for match in _PARAGRAPH.finditer(text)), (len(text), len(text))]:
        if _is_row(text[start:end]):
            yield start, end
        else:
            yield from ((start + each.start, start + each.end) for each in Document(text[start:end]).sentences)
        start = after


def _is_row(paragraph: str) -> bool:
    """Whether every line is a name with its value."""
    lines = paragraph.strip().split("\n")
    return len(paragraph) <= _LONGEST_ROW and all(
        _PAIR.fullmatch(line.strip(_MARKS)) and not _NEXT.search(line) for line in lines
    )


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start] in _MARKS:
        start += 1
    while end > start and text[end - 1] in " \t\r\n|*_`":
        end -= 1
    return start, end

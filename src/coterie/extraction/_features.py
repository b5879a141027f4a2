"""What a tagger sees of a word: itself, its form, its neighbours, and whether it stands in a typed value.

Features are short strings. They know nothing of the field: one list of a document's words serves all fields.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from coterie.data import typed_spans

from ._document import Document, Place

_ORGANISATION = re.compile(
    r"^(?:inc|incorporated|corp|corporation|ltd|limited|llc|llp|lp|l|co|company|gmbh|ag|sa|plc|bv|nv|trust|bank|partners)$"
)
_QUOTES = frozenset("\"'\u201c\u201d\u2018\u2019")
_EDGES = (300, 1_000, 3_000, 10_000, 30_000)
"""Characters from the beginning, or to the end, that divide the near from the far."""


def word_features(document: Document, sentences: Sequence[Place]) -> tuple[list[Place], list[list[str]]]:
    """The words of neighbouring sentences, and the features of each."""
    text = document.text
    words: list[Place] = []
    first: set[int] = set()
    for sentence in sentences:
        first.add(len(words))
        words += document.words(sentence)
    if not words:
        return [], []
    seen = [text[word.start : word.end] for word in words]
    region = _Region(
        lower=[word.lower() for word in seen],
        forms=[_form(word) for word in seen],
        typed=_typed(text, words),
        where=_whereabouts(words[0].start, len(text)),
        first=frozenset(first),
        last=frozenset({index - 1 for index in first} | {len(words) - 1}),
    )
    return words, [_one(i, region) for i in range(len(words))]


@dataclass(frozen=True, kw_only=True)
class _Region:
    """The words of neighbouring sentences, each list by word."""

    lower: list[str]
    forms: list[str]
    typed: list[str]
    where: str
    first: frozenset[int]
    """Words that open a sentence."""
    last: frozenset[int]
    """Words that close one."""


def _one(i: int, region: _Region) -> list[str]:
    lower, forms, typed, where = region.lower, region.forms, region.typed, region.where
    first, last = region.first, region.last
    word, form = lower[i], forms[i]
    before, after = (lower[i - 1] if i else "^"), (lower[i + 1] if i + 1 < len(lower) else "$")
    before2, after2 = (lower[i - 2] if i > 1 else "^"), (lower[i + 2] if i + 2 < len(lower) else "$")
    form_before, form_after = (forms[i - 1] if i else "^"), (forms[i + 1] if i + 1 < len(forms) else "$")
    found = [
        "w=" + word,
        "f=" + form,
        "-1=" + before,
        "+1=" + after,
        "-2=" + before2,
        "+2=" + after2,
        f"-1,0={before} {word}",
        f"0,+1={word} {after}",
        f"-2,-1={before2} {before}",
        f"+1,+2={after} {after2}",
        f"f-1,0={form_before} {form}",
        f"f0,+1={form} {form_after}",
        "p=" + where,
        f"pf={where} {form}",
        "s3=" + word[-3:],
    ]
    if typed[i] != "-":
        found += ["t=" + typed[i], f"t,-1={typed[i]} {before}"]
    if i and typed[i - 1] != "-":
        found.append("t-1=" + typed[i - 1])
    if i + 1 < len(typed) and typed[i + 1] != "-":
        found.append("t+1=" + typed[i + 1])
    if _ORGANISATION.match(word):
        found.append("org")
    if i + 1 < len(lower) and _ORGANISATION.match(after):
        found.append("org+1")
    if i in first:
        found += ["first", "first=" + word]
    if i in last:
        found += ["last", "last=" + word]
    if i - 1 in last:
        found.append("after-last")
    if i + 1 in first:
        found.append("before-first")
    return found


def _form(word: str) -> str:
    """What kind of word: `Aa`, `AA`, `a`, `9`, a quotation mark, another sign."""
    if word.isdigit():
        return "9" if len(word) < 3 else ("9999" if len(word) == 4 else "999")
    if word in _QUOTES:
        return '"'
    if not word[0].isalnum():
        return word
    if word.isupper():
        return "A" if len(word) == 1 else "AA"
    return "Aa" if word[0].isupper() else "a"


def _typed(text: str, words: Sequence[Place]) -> list[str]:
    """For each word the type of the value that it begins or goes on: `date.B`, `date.I`, `-`."""
    start, end = words[0].start, words[-1].end
    kinds = ["-"] * len(words)
    spans = sorted((start + value.start, start + value.end, kind) for kind, value in typed_spans(text[start:end]))
    spans = [span for span in spans if span[2] != "number"]
    at = 0
    for begins, ends, kind in spans:
        while at < len(words) and words[at].end <= begins:
            at += 1
        i = at
        while i < len(words) and words[i].start < ends:
            kinds[i] = f"{kind}.{'B' if words[i].start <= begins else 'I'}"
            i += 1
    return kinds


def _whereabouts(start: int, length: int) -> str:
    """How near to the beginning or the end of the text."""
    head = sum(start >= edge for edge in _EDGES)
    tail = sum(length - start >= edge for edge in _EDGES)
    return f"{head}" if head < len(_EDGES) else f"-{tail}"

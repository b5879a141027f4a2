"""Do the passages bear out a sentence that a model wrote? A calibrated score from words, with no model.

What counts: whether the sentence's words are those of one or two sentences of the passages, whether it has a number
that they have not or that they say of something else, and whether one of the two denies or narrows what the other
says. It is a probability, unlike the strict word check of `generate`: an answer is put in other words than its source.
It knows English.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log

import numpy as np

from ._bound_numbers import limits, misplaced, numbers
from ._scorer import Line, probability
from ._words import terms

SUPPORT: tuple[str, ...] = (
    "covered",  # share of its content words that the nearest source sentence has
    "covered_two",  # that the two nearest have together
    "pairs",  # share of its pairs of neighbouring words that a source sentence has
    "unknown",  # logarithm of its words that the nearest do not have
    "numbers",  # logarithm of its numbers that the nearest do not have, or say of something else
    "denies",  # it has a "not" that the nearest has not, or the other way round
    "opposed",  # "more", "after", "must" where the nearest says "less", "before", "may"; an "only" too many or too few
    "length",  # logarithm of its words
)
"""What is seen of a sentence and its sources."""

_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|neither|nor|without|cannot|unable)\b|n['\u2019]t\b", re.IGNORECASE
)
_CLAUSE = re.compile(r"[,;:]\s|\s(?=(?:and|but|unless|if|when|until|except)\s)")
_SHARED = 2  # words
_DOUBTFUL = 0.5
"""Highest support of a sentence of one word, with another number, or that turns round what its sources say."""
_BROUGHT = 2
"""Words that a second source must add: one word of some other sentence is not what that sentence says."""
_CLAIM = 2
"""Content words of the shortest sentence that says something: "I am a cat" has the words of any source with a cat."""
_NARROWING = frozenset({"only", "solely", "exclusively", "except", "unless"})
_OPPOSITES = (
    "more less, before after, must may, increase decrease, increases decreases, increased decreased, higher lower, "
    "minimum maximum, always sometimes, all some, free charged, include exclude, includes excludes, with without, "
    "allowed forbidden, above below, first last, earlier later, accept refuse, open closed"
)
_OTHER = {one: two for pair in map(str.split, _OPPOSITES.split(",")) for one, two in (pair, pair[::-1])}


@dataclass(frozen=True, kw_only=True)
class Borne:
    """How well a sentence is borne out, and by what."""

    support: float
    """Calibrated probability that the sources say it."""
    sources: tuple[int, ...]
    """Numbers of the sentences that bear it out, from 0, the nearest first."""


@dataclass(frozen=True, kw_only=True)
class Support:
    """The check, as it was calibrated."""

    line: Line

    def judge(self, sentence: str, sources: Sequence[str]) -> Borne:
        """How well sources bear a sentence out. One of them, word for word, is what they say."""
        said = _plain(sentence)
        same = tuple(row for row, source in enumerate(sources) if said and _plain(source) == said)
        if same:
            return Borne(support=1.0, sources=same[:1])
        features, nearest = support_features(sentence, sources)
        support = probability(float(self.line.of(features)))
        seen = dict(zip(SUPPORT, features.tolist(), strict=True))
        if seen["numbers"] or seen["denies"] or seen["opposed"] or len(set(terms(sentence))) < _CLAIM:
            support = min(support, _DOUBTFUL)  # however alike the words are
        return Borne(support=support, sources=nearest)


def support_features(sentence: str, sources: Sequence[str]) -> tuple[np.ndarray, tuple[int, ...]]:
    """What is seen (len(SUPPORT),), and the numbers of the one or two nearest sources."""
    own = terms(sentence)
    words, couples = set(own), set(pairwise(own))
    seen = [set(terms(source)) for source in sources]
    if not words or not seen:
        return np.array([0.0, 0.0, 0.0, log(2), 0.0, 0.0, 0.0, 0.0]), ()
    first = max(range(len(seen)), key=lambda row: (len(words & seen[row]), -len(seen[row])))
    left = words - seen[first]
    second = max(range(len(seen)), key=lambda row: (len(left & seen[row]), -len(seen[row])))
    nearest = (first, second) if len(left & seen[second]) >= _BROUGHT else (first,)
    together = set().union(*(seen[row] for row in nearest))
    pairs = set().union(*(pairwise(terms(sources[row])) for row in nearest))
    astray = {
        number for number in numbers(sentence) if all(misplaced(number, sentence, sources[row]) for row in nearest)
    }
    found = (
        len(words & seen[first]) / len(words),
        len(words & together) / len(words),
        len(couples & pairs) / max(len(couples), 1),
        log(1 + len(words - together)),
        log(1 + len(astray)),
        bool(_NEGATION.search(sentence)) is not bool(_NEGATION.search(_about(words, sources[first]))),
        _opposes(sentence, sources[first]) or _narrowed(sentence, _about(words, sources[first])),
        log(1 + len(words)),
    )
    return np.array(found, dtype=float), nearest


def _plain(text: str) -> str:
    """A sentence without what is no word of it: white space, its end, the marks around it."""
    return " ".join(text.split()).strip(" .!;:*_-\u2022\"'\u201c\u201d").casefold()


def _about(words: set[str], source: str) -> str:
    """The clauses of a source that a sentence with these words is about: a "not" in another one denies nothing."""
    clauses = _CLAUSE.split(source)
    shared = [len(words.intersection(terms(clause))) for clause in clauses]
    least = min(_SHARED, max(shared))
    return " ".join(clause for clause, count in zip(clauses, shared, strict=True) if count >= least)


def _narrowed(sentence: str, source: str) -> bool:
    """Whether one of the two says "only", or of whom it holds ("under 4"), and the other does not."""
    own, theirs = (set(re.findall(r"\w+", text.casefold())) for text in (sentence, source))
    return _NARROWING.isdisjoint(own) is not _NARROWING.isdisjoint(theirs) or not limits(source) <= numbers(sentence)


def _opposes(sentence: str, source: str) -> bool:
    own, theirs = (set(re.findall(r"\w+", text.casefold())) for text in (sentence, source))
    return any(_OTHER[word] in theirs and word not in theirs for word in own & _OTHER.keys() if _OTHER[word] not in own)

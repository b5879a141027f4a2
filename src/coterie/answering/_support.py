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

from ._bound_numbers import astray, limits, numbers, units
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
_DOUBTFUL = 0.5
"""Highest support of a sentence of one word, with another number, or that turns round what its sources say."""
_BROUGHT = 2
"""Words that a second source must add: one word of some other sentence is not what that sentence says."""
_LEAVE = frozenset({"may", "can", "allowed", "permitted", "free"})
"""With one of these, what a sentence ends with is its condition: "drinks are allowed in bottles that close"."""
_DOES = re.compile(r"\b(we|you)\s+(?:will\s+|must\s+|\w+ly\s+)?(\w+)")
_OF_YOU = {"we": "you", "you": "we"}
_CLAIM = 2
"""Content words of the shortest sentence that says something: "I am a cat" has the words of any source with a cat."""
_NARROWING = frozenset({"only", "solely", "exclusively", "except", "unless", "twice"})
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
    told = {word for word in words if not word[0].isdigit()} - units(sentence)  # numbers are many sentences' own
    first = max(range(len(seen)), key=lambda row: (len(told & seen[row]), len(words & seen[row]), -len(seen[row])))
    left = words - seen[first]
    second = max(range(len(seen)), key=lambda row: (len(left & seen[row]), -len(seen[row])))
    nearest = (first, second) if len(left & seen[second]) >= _BROUGHT else (first,)
    together = set().union(*(seen[row] for row in nearest))
    pairs = set().union(*(pairwise(terms(sources[row])) for row in nearest))
    clause = _about(words, sources[first])
    found = (
        len(words & seen[first]) / len(words),
        len(words & together) / len(words),
        len(couples & pairs) / max(len(couples), 1),
        log(1 + len(words - together)),
        log(1 + len(astray(sentence, [sources[row] for row in nearest]))),
        _denies(sentence, sources[first], clause),
        _opposes(sentence, sources[first]) or _narrowed(sentence, clause) or _mixed(words, sources[first]),
        log(1 + len(words)),
    )
    return np.array(found, dtype=float), nearest


def denials(text: str) -> int:
    """How often it says "not"."""
    return len(_NEGATION.findall(text))


def _plain(text: str) -> str:
    """A sentence without what is no word of it: white space, its end, the marks around it."""
    return " ".join(text.split()).strip(" .!;:*_-\u2022\"'\u201c\u201d").casefold()


def _about(words: set[str], source: str) -> str:
    """The clauses of a source that a sentence with these words is about: what others say is theirs."""
    clauses = _CLAUSE.split(source)
    own = [set(terms(clause)) for clause in clauses]
    most = max(len(words & each) for each in own)
    told = [len(words & each) == most or 2 * len(words & each) >= len(each) > 0 for each in own]
    return " ".join(clause for clause, about in zip(clauses, told, strict=True) if about)


def _denies(sentence: str, source: str, clause: str) -> bool:
    """Whether one of the two says "not" once more, or the sentence says what the source says not to be."""
    if (denials(sentence) - denials(clause)) % 2:
        return True
    (said, unsaid), (theirs, not_theirs) = _sides(sentence), _sides(source)
    return bool(said & (not_theirs - theirs)) or bool(unsaid & (theirs - not_theirs) and not unsaid & not_theirs)


def _sides(text: str) -> tuple[set[str], set[str]]:
    """The words of the clauses without a "not", and those that only clauses with one have."""
    clauses = [(set(terms(each)), bool(_NEGATION.search(each))) for each in _CLAUSE.split(text)]
    said = {word for words, negated in clauses if not negated for word in words}
    return said, {word for words, negated in clauses if negated for word in words} - said


def _narrowed(sentence: str, clause: str) -> bool:
    """Whether only one of the two says "only", or of whom it holds ("under 4"), or where or how something may be."""
    own, theirs = (set(re.findall(r"\w+", text.casefold())) for text in (sentence, clause))
    if _NARROWING.isdisjoint(own) is not _NARROWING.isdisjoint(theirs) or not limits(clause) <= numbers(sentence):
        return True
    said, order = set(terms(sentence)), terms(clause)
    return not _LEAVE.isdisjoint(own) and bool(order) and order[-1] not in said


def _mixed(words: set[str], source: str) -> bool:
    """Whether a clause is told with words of the one behind its semicolon in the place of its number."""
    clauses = [(set(terms(clause)), numbers(clause)) for clause in source.split(";")]
    own, values = max(clauses, key=lambda clause: len(words & clause[0]))
    return bool(values) and not values & words and any(words & (other - own) for other, _ in clauses)


def _opposes(sentence: str, source: str) -> bool:
    """Whether it has the opposite of a word of its source, or says of us what the source says of you."""
    own, theirs = (set(re.findall(r"\w+", text.casefold())) for text in (sentence, source))
    if any(_OTHER[word] in theirs and word not in theirs for word in own & _OTHER.keys() if _OTHER[word] not in own):
        return True
    mine, other = (set(_DOES.findall(text.casefold())) for text in (sentence, source))
    return any((_OF_YOU[who], does) in other and (who, does) not in other for who, does in mine)

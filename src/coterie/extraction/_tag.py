"""Where in a few sentences a field's values stand: a chain model a field over the features of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from coterie.engines import stored_array

from ._chain import TAGS, stretches
from ._document import Document, Place
from ._features import word_features
from ._passages import ReadTags
from ._rank import best_rows

Floats = np.ndarray

RANKED = 6
"""Sentences a field that are read: those that state it are among them for 97 to 99 in 100 contracts (docs/log.md)."""
RANK_FEATURES = 26
"""Features that say how likely it was, before reading, that a word's sentence states the field."""
_LEVELS = 6
_LOWEST, _STEP = -6.0, 2.0


class Region(NamedTuple):
    """Neighbouring sentences that are read together, by number, both included."""

    first: int
    last: int


class Words(NamedTuple):
    """The words of a region with their features."""

    places: list[Place]
    sentence: np.ndarray  # (T,) number of each word's sentence
    opens: np.ndarray  # (T,) whether a word is its sentence's first
    features: np.ndarray  # (K,) numbers of features of all words, one after the other
    starts: np.ndarray  # (T + 1,) where each word's begin


class Candidate(NamedTuple):
    """A stretch of the text that may be a field's value."""

    start: int
    end: int
    evidence: tuple[float, ...]
    """What its confidence is worked out from; see `EVIDENCE`."""


EVIDENCE = ("exactly here", "begins here", "sentence", "lead", "length")


@dataclass(frozen=True, kw_only=True)
class Tagger:
    """Chain models of all fields over one vocabulary of features, and over what an encoder says where there is one."""

    terms: Mapping[str, int]
    """Number of each feature."""
    weights: Floats  # (F, V, 3)
    rank_weights: Floats  # (F, RANK_FEATURES, 3)
    transitions: Floats  # (F, 3, 3)
    odds_weights: Floats | None = None  # (F, 2, 3), of the encoder's log-odds

    def candidates(self, reading: Reading, number: int, scores: Floats) -> list[Candidate]:
        """Stretches that may be values of a field, likeliest first.

        Args:
            reading: The document.
            number: Which field.
            scores: (S,) log-odds of each sentence; -inf where it is not to be read.
        """
        found: list[Candidate] = []
        lead = lead_of(scores)
        for region in regions(scores):
            words = reading.words(region, self.terms)
            if not words.places:
                continue
            emissions = self._emissions(words, number, scores)
            if self.odds_weights is not None and reading.tags is not None:
                odds = reading.tags.of_words(words.places, number)
                emissions = emissions + odds @ self.odds_weights[number].astype(np.float64)
            for each in stretches(emissions, self.transitions[number].astype(np.float64)):
                sentence = float(scores[words.sentence[each.first]])
                start, end = words.places[each.first].start, words.places[each.last].end
                evidence = (
                    log_odds(each.probability),
                    log_odds(each.begins),
                    lowest(sentence),
                    lead,
                    float(np.log1p(each.last - each.first)),
                )
                found.append(Candidate(start, end, evidence))
        return sorted(found, key=lambda each: (-each.evidence[0], each.start))

    def _emissions(self, words: Words, number: int, scores: Floats) -> Floats:  # (T, 3)
        rows = self.weights[number][words.features].astype(np.float64)
        sums = np.add.reduceat(rows, words.starts[:-1], axis=0) if len(rows) else np.zeros((len(words.places), TAGS))
        empty = words.starts[1:] == words.starts[:-1]
        sums[empty] = 0.0  # `reduceat` gives the next word's first row for a word without features
        return np.asarray(sums + rank_features(words, scores) @ self.rank_weights[number].astype(np.float64))

    def store(self) -> tuple[dict[str, object], dict[str, Floats]]:
        """The JSON description and the arrays that restore it."""
        arrays = {"tag.weights": self.weights, "tag.rank": self.rank_weights, "tag.transitions": self.transitions}
        if self.odds_weights is not None:
            arrays["tag.odds"] = self.odds_weights
        return {"terms": sorted(self.terms, key=self.terms.__getitem__)}, arrays

    @classmethod
    def restore(cls, description: Mapping[str, Any], arrays: Mapping[str, Floats], fields: int) -> Tagger:
        """What `store` was asked of. Raises `ValueError` if the parts do not fit each other."""
        terms = description["terms"]
        if not isinstance(terms, list) or len(set(terms)) < len(terms):
            raise ValueError("the features of words are no list of distinct names")
        return cls(
            terms={str(term): number for number, term in enumerate(terms)},
            weights=stored_array(arrays, "tag.weights", fields, len(terms), TAGS),
            rank_weights=stored_array(arrays, "tag.rank", fields, RANK_FEATURES, TAGS),
            transitions=stored_array(arrays, "tag.transitions", fields, TAGS, TAGS),
            odds_weights=stored_array(arrays, "tag.odds", fields, TAGS - 1, TAGS) if "tag.odds" in arrays else None,
        )


@dataclass
class Reading:
    """A document while it is read: what several fields look at is worked out once."""

    document: Document
    tags: ReadTags | None = None
    """What an encoder says of the regions' words, where there is one."""
    _words: dict[Region, Words] = field(default_factory=dict)

    def words(self, region: Region, terms: Mapping[str, int]) -> Words:
        """The words of a region, with the features that are known."""
        if region not in self._words:
            self._words[region] = _words(self.document, region, terms)
        return self._words[region]


def _words(document: Document, region: Region, terms: Mapping[str, int]) -> Words:
    sentences = document.sentences[region.first : region.last + 1]
    places, features = word_features(document, sentences)
    known = [[terms[name] for name in each if name in terms] for each in features]
    begins = np.array([sentence.start for sentence in sentences])
    sentence = np.searchsorted(begins, [place.start for place in places], side="right") - 1 + region.first
    return Words(
        places=places,
        sentence=sentence,
        opens=np.diff(sentence, prepend=region.first - 1) > 0,
        features=np.array([number for each in known for number in each], dtype=np.int64),
        starts=np.concatenate([[0], np.cumsum([len(each) for each in known])]).astype(np.int64),
    )


def regions(scores: Floats) -> list[Region]:
    """The likeliest sentences, joined where they are neighbours, in the text's order."""
    ranked = [row for row in best_rows(scores, RANKED) if np.isfinite(scores[row])]
    found: list[Region] = []
    for row in sorted(ranked):
        if found and row == found[-1].last + 1:
            found[-1] = Region(found[-1].first, row)
        else:
            found.append(Region(row, row))
    return found


def rows_to_read(scores: Floats) -> list[int]:
    """Numbers of the sentences that are read for any field, of scores (S, F), in the text's order."""
    return sorted({row for column in scores.T for row in best_rows(column, RANKED) if np.isfinite(column[row])})


def rank_features(words: Words, scores: Floats) -> Floats:  # (T, RANK_FEATURES)
    """For each word ones and zeros: its sentence's rank and log-odds, once for all and once for a first word."""
    order = {row: rank for rank, row in enumerate(best_rows(scores, RANKED))}
    found = np.zeros((len(words.places), RANK_FEATURES))
    for row in np.unique(words.sentence):
        at = words.sentence == row
        rank = order.get(int(row), RANKED)
        level = int(np.clip((scores[row] - _LOWEST) / _STEP, 0, _LEVELS - 1)) if np.isfinite(scores[row]) else 0
        found[at, rank] = 1
        found[at, RANKED + 1 + level] = 1
        opens = at & words.opens
        found[opens, RANKED + 1 + _LEVELS + rank] = 1
        found[opens, 2 * (RANKED + 1) + _LEVELS + level] = 1
    return found


def lead_of(scores: Floats) -> float:
    """How far the likeliest sentence is ahead of the next."""
    best = np.sort(scores[np.isfinite(scores)])[::-1][:2]
    return float(min(best[0] - best[1], -_LOWEST)) if len(best) == 2 else -_LOWEST


def lowest(score: float) -> float:
    """A sentence's log-odds as evidence: not below what is told apart."""
    return max(float(score), _LOWEST)


def log_odds(probability: float) -> float:
    """Of a probability, within 12 each way."""
    return float(np.clip(np.log(max(probability, 1e-12)) - np.log(max(1 - probability, 1e-12)), -12, 12))


def numbered(features: Sequence[Sequence[str]], at_least: int) -> dict[str, int]:
    """A number for each feature that occurs so often."""
    counts: dict[str, int] = {}
    for each in features:
        for name in each:
            counts[name] = counts.get(name, 0) + 1
    kept = sorted(name for name, count in counts.items() if count >= at_least)
    return {name: number for number, name in enumerate(kept)}

"""Learning where in the likeliest sentences a field's values stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix, hstack, vstack

from coterie.data import Span
from coterie.extraction import (
    RANK_FEATURES,
    TAGS,
    Candidate,
    Reading,
    ReadTags,
    Region,
    Tagger,
    Words,
    numbered,
    rank_features,
    regions,
    word_features,
)

from ._chain import ChainFit, fit_chain
from ._corpus import Corpus, tag_words

_AT_LEAST = 3  # times that a feature of a word occurs
_HERE = 2  # times that it occurs where one field is looked for
_CENT = 0.01  # weights below it are dropped: they move nothing and fill the file

Floats = np.ndarray


class Tagged(NamedTuple):
    """A tagger of all documents, and the candidates of taggers that did not see the document they read."""

    tagger: Tagger
    candidates: list[list[list[Candidate]]]
    """By document and field."""


class _Sequence(NamedTuple):
    """A region as a chain reads it."""

    features: csr_matrix  # (T, V + RANK_FEATURES), and two columns more where an encoder has read it
    tags: np.ndarray  # (T,)


def tag_fields(
    corpus: Corpus, scores: Floats, advance: Callable[[int], None], tags: Sequence[ReadTags] | None = None
) -> Tagged:
    """A chain a field, fitted on the regions that its ranking of unseen documents picks, and those that state it.

    Args:
        corpus: The documents.
        scores: (S, F) of the ranking.
        advance: Told each fit that is done.
        tags: What encoders that did not see a document say of it, where there are any; the chain weighs it too.
    """
    terms = _vocabulary(corpus, scores)
    every: Sequence[ReadTags | None] = tags or [None] * len(corpus.documents)
    readings = [Reading(document, own) for document, own in zip(corpus.documents, every, strict=True)]
    blank = _blank(corpus.fields, terms, tagged=tags is not None)
    candidates: list[list[list[Candidate]]] = [[[] for _ in range(corpus.fields)] for _ in readings]
    for field in range(corpus.fields):
        sequences = [
            _sequences(corpus, reading, scores, terms, field=field, number=n) for n, reading in enumerate(readings)
        ]
        for fold in np.unique(corpus.folds):
            tagger = _with(blank, field, _fit([sequences[n] for n in np.flatnonzero(corpus.folds != fold)]))
            for n in np.flatnonzero(corpus.folds == fold).tolist():
                own = corpus.of_document(scores, n)[:, field]
                candidates[n][field] = tagger.candidates(readings[n], field, own) if len(own) else []
            advance(1)
        blank = _with(blank, field, _fit(sequences))
        advance(1)
    return Tagged(_slim(blank), candidates)


def _picked(corpus: Corpus, field: int, scores: Floats, number: int) -> list[Region]:
    """The regions of a document that a field's chain learns from."""
    own = corpus.of_document(scores, number)[:, field]
    if not len(own):
        return []
    stated = np.flatnonzero(corpus.of_document(corpus.states, number)[:, field])
    found = regions(own)
    for row in stated.tolist():
        if not any(region.first <= row <= region.last for region in found):
            found.append(Region(row, row))
    return found


def _vocabulary(corpus: Corpus, scores: Floats) -> dict[str, int]:
    def features() -> list[Sequence[str]]:
        every: list[Sequence[str]] = []
        for number, document in enumerate(corpus.documents):
            picked = {region for field in range(corpus.fields) for region in _picked(corpus, field, scores, number)}
            for region in sorted(picked):
                every += word_features(document, document.sentences[region.first : region.last + 1])[1]
        return every

    return numbered(features(), _AT_LEAST if len(corpus.documents) >= 100 else 1)


def _sequences(
    corpus: Corpus, reading: Reading, scores: Floats, terms: Mapping[str, int], *, field: int, number: int
) -> list[_Sequence]:
    own = corpus.of_document(scores, number)[:, field]
    found = []
    for region in _picked(corpus, field, scores, number):
        words = reading.words(region, terms)
        if words.places:
            odds = reading.tags.of_words(words.places, field) if reading.tags else np.zeros((len(words.places), 0))
            found.append(_sequence(words, own, corpus.spans[number][field], len(terms), odds))
    return found


def _sequence(words: Words, scores: Floats, spans: Sequence[Span], width: int, odds: Floats) -> _Sequence:
    ones = np.ones(len(words.features), dtype=np.float32)
    own = csr_matrix((ones, words.features, words.starts), shape=(len(words.places), width))
    ranks = csr_matrix(rank_features(words, scores).astype(np.float32))
    said = csr_matrix(odds.astype(np.float32))
    return _Sequence(hstack([own, ranks, said]).tocsr(), tag_words(words.places, spans))


def _fit(sequences: Sequence[Sequence[_Sequence]]) -> ChainFit:
    """A chain over the features that occur here often enough; the others weigh nothing."""
    every = [each for document in sequences for each in document]
    features = vstack([each.features for each in every]).tocsr()
    kept = np.flatnonzero(np.bincount(features.indices, minlength=features.shape[1]) >= _HERE)
    fit = fit_chain(
        features[:, kept], np.concatenate([each.tags for each in every]), [len(each.tags) for each in every]
    )
    weights = np.zeros((features.shape[1], TAGS), dtype=np.float32)
    weights[kept] = fit.weights
    return ChainFit(weights, fit.transitions)


def _blank(fields: int, terms: Mapping[str, int], *, tagged: bool) -> Tagger:
    return Tagger(
        terms=terms,
        weights=np.zeros((fields, len(terms), TAGS), dtype=np.float32),
        rank_weights=np.zeros((fields, RANK_FEATURES, TAGS), dtype=np.float32),
        transitions=np.zeros((fields, TAGS, TAGS), dtype=np.float32),
        odds_weights=np.zeros((fields, TAGS - 1, TAGS), dtype=np.float32) if tagged else None,
    )


def _with(tagger: Tagger, field: int, fit: ChainFit) -> Tagger:
    """The tagger with one field's chain, in place."""
    width = len(tagger.terms)
    tagger.weights[field] = fit.weights[:width]
    tagger.rank_weights[field] = fit.weights[width : width + RANK_FEATURES]
    if tagger.odds_weights is not None:
        tagger.odds_weights[field] = fit.weights[width + RANK_FEATURES :]
    tagger.transitions[field] = fit.transitions
    return tagger


def _slim(tagger: Tagger) -> Tagger:
    """Without features that say nothing, in half precision."""
    kept = np.flatnonzero(np.abs(tagger.weights).max(axis=(0, 2)) >= _CENT)
    names = sorted(tagger.terms, key=tagger.terms.__getitem__)
    return Tagger(
        terms={names[number]: place for place, number in enumerate(kept)},
        weights=tagger.weights[:, kept].astype(np.float16),
        rank_weights=tagger.rank_weights,
        transitions=tagger.transitions,
        odds_weights=tagger.odds_weights,
    )

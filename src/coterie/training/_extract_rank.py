"""Learning which sentences state a field, and what that says of sentences it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression

from coterie.engines import Sparse, fit_ngrams
from coterie.extraction import PLACES, Document, Ranker, place_features, shortlist

from ._corpus import Corpus

_NGRAMS = {"unit": "word", "shortest": 1, "longest": 2, "at_most": 30_000}
_UNSTATED = 40  # sentences a document that are shown as stating nothing
_C, _VECTOR_C = 10.0, 1.0
_UNLIKELY = -6.0  # log-odds of a field that the training documents do not state

Floats = np.ndarray


class Ranked(NamedTuple):
    """A ranker of all documents, and the scores of rankers that did not see the document they score."""

    ranker: Ranker
    scores: Floats  # (S, F); -inf where a sentence is not looked at again


@dataclass(frozen=True)
class _Linear:
    """A line a field."""

    weights: Floats  # (D, F)
    bias: Floats  # (F,)

    def scores(self, features: csr_matrix | Floats) -> Floats:
        return np.asarray(features @ self.weights + self.bias)


def rank_by_words(corpus: Corpus, advance: Callable[[int], None]) -> Ranked:
    """The ranker that looks at words and places."""
    texts = [document.text[place.start : place.end] for document in corpus.documents for place in document.sentences]
    ngrams = fit_ngrams(texts, at_least=3 if len(texts) >= 5_000 else 1, **_NGRAMS)  # type: ignore[arg-type]
    features = _matrix([ngrams.encode(text) for text in texts], len(ngrams.terms), corpus.documents)
    shown = _shown(corpus)
    scores = np.zeros((len(texts), corpus.fields))
    for fold in np.unique(corpus.folds):
        held = corpus.folds[corpus.owners] == fold
        scores[held] = _fit(features, corpus, shown & ~held, _C).scores(features[held])
        advance(1)
    line = _fit(features, corpus, shown, _C)
    advance(1)
    ranker = Ranker(ngrams=ngrams, weights=line.weights.astype(np.float16), bias=line.bias.astype(np.float32))
    return Ranked(ranker, scores)


def shortlisted(corpus: Corpus, scores: Floats) -> np.ndarray:  # (K,)
    """Numbers of the sentences that are looked at again."""
    rows = [
        np.array(shortlist(corpus.of_document(scores, number)), dtype=np.int64) + corpus.ends[number]
        for number in range(len(corpus.documents))
        if corpus.ends[number + 1] > corpus.ends[number]
    ]
    return np.concatenate(rows)


def rank_by_vectors(corpus: Corpus, words: Ranked, rows: np.ndarray, vectors: Floats) -> Ranked:
    """The ranker that also looks at encodings.

    Args:
        corpus: The documents.
        words: Its first look.
        rows: (K,) sentences that are looked at again.
        vectors: (K, D) their encodings.
    """
    everything = np.ones(len(rows), dtype=bool)
    folds = corpus.folds[corpus.owners[rows]]
    states, first = corpus.states[rows], words.scores[rows]
    second = np.zeros_like(first)
    for fold in np.unique(folds):
        second[folds == fold] = _fit_rows(vectors, states, folds != fold, _VECTOR_C).scores(vectors[folds == fold])
    line = _fit_rows(vectors, states, everything, _VECTOR_C)
    shares, shift = _pool(first, second, states)
    ranker = replace(
        words.ranker,
        vectors=line.weights.astype(np.float32),
        vector_bias=(line.bias + shift / np.maximum(shares[1], 1e-3)).astype(np.float32),
        shares=shares.astype(np.float32),
    )
    scores = np.full_like(words.scores, -np.inf)
    scores[rows] = shares[0] * first + shares[1] * second + shift
    return Ranked(ranker, scores)


def _pool(first: Floats, second: Floats, states: np.ndarray) -> tuple[Floats, Floats]:
    """Shares of the two scores of each field (2, F) and a shift (F,), by logistic regression on unseen documents."""
    shares, shift = np.ones((2, first.shape[1])) * 0.5, np.zeros(first.shape[1])
    for number in range(first.shape[1]):
        if states[:, number].any() and not states[:, number].all():
            both = np.column_stack([first[:, number], second[:, number]])
            model = LogisticRegression(C=10.0).fit(both, states[:, number])
            shares[:, number] = np.maximum(model.coef_[0], 1e-3)
            shift[number] = model.intercept_[0]
    return shares, shift


def _fit(features: csr_matrix, corpus: Corpus, rows: np.ndarray, strength: float) -> _Linear:
    return _fit_rows(features, corpus.states, rows, strength)


def _fit_rows(features: csr_matrix | Floats, states: np.ndarray, rows: np.ndarray, strength: float) -> _Linear:
    """Logistic regression, one field against the rest, on some rows."""
    weights, bias = np.zeros((features.shape[1], states.shape[1])), np.full(states.shape[1], _UNLIKELY)
    some, stated = features[rows], states[rows]
    for number in range(states.shape[1]):
        if stated[:, number].any() and not stated[:, number].all():
            model = LogisticRegression(C=strength, solver="liblinear", random_state=0).fit(some, stated[:, number])
            weights[:, number], bias[number] = model.coef_[0], model.intercept_[0]
    return _Linear(weights, bias)


def _shown(corpus: Corpus) -> np.ndarray:  # (S,)
    """Sentences to learn from: all that state something, and of each document some that do not."""
    random = np.random.default_rng(corpus.seed)
    shown = np.asarray(corpus.states.any(axis=1))
    for number in range(len(corpus.documents)):
        rows = np.arange(corpus.ends[number], corpus.ends[number + 1])
        shown[random.permutation(rows)[:_UNSTATED]] = True
    return shown


def _matrix(encoded: Sequence[Sparse], width: int, documents: Sequence[Document]) -> csr_matrix:  # (S, G + PLACES)
    starts = np.concatenate([[0], np.cumsum([len(each.indices) for each in encoded])])
    indices = np.concatenate([each.indices for each in encoded])
    values = np.concatenate([each.values for each in encoded])
    words = csr_matrix((values, indices, starts), shape=(len(encoded), width))
    places = csr_matrix(np.vstack([place_features(document).reshape(-1, PLACES) for document in documents]))
    return hstack([words, places]).tocsr().astype(np.float64)

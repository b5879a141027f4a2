"""Learns where in the likeliest sentences a field's values are.

The weigher's probability of a candidate is not yet a confidence: the statement is the best of several candidates, so
it is overconfident, and agreement with other candidates counts more than how likely its place is (docs/history/log.md).
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, hstack, vstack
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from coterie.engines.linear import Sparse, fit_ngrams
from coterie.learning.calibration import multinomial, softmax
from coterie.learning.dataset import Dataset, FieldSpan, Row
from coterie.protocols import Engine
from coterie.specialists.parts import Acceptance
from coterie.tasks.extract.extractor import (
    OUTCOMES,
    SIGNS,
    Calibrator,
    FieldModel,
    FieldStatement,
    Quoting,
    QuotingModel,
    Statement,
    Weigher,
    options,
    shortlist,
    words_of,
)
from coterie.tasks.extract.model import as_fields
from coterie.tasks.extract.rows import is_right
from coterie.tasks.extract.tagging import (
    EVIDENCE,
    PLACES,
    RANK_FEATURES,
    TAGS,
    CandidateSpan,
    ChainFit,
    Ranker,
    ReadTags,
    Region,
    RegionWords,
    TaggedDocument,
    Tagger,
    TextRange,
    TokenizedText,
    fit_chain,
    numbered,
    place_features,
    rank_features,
    regions,
    word_features,
)
from coterie.text.language import language_of
from coterie.text.values import CHOICE, MANY, TEXT, normalise_value
from coterie.types import Finding, Reason, Rung

# --- What a field is, learnt from what the data says of it: the choices it has, and which value of a quote is meant.

_C_EXTRACT_FIELDS = 1.0
_FEWEST = 10  # values in quotes from which a chooser is learnt; with less, the first one is taken


def field_models(rows: Sequence[Row], types: Mapping[str, str]) -> tuple[FieldModel, ...]:
    """Return the fields of these types, as the rows state them."""
    return tuple(_model(rows, name, kind) for name, kind in types.items())


def spans_of(row: Row, name: str) -> tuple[FieldSpan, ...]:
    """Return where a row states a field; nothing where it does not."""
    return row.fields[name].spans if name in row.fields else ()


def _model(rows: Sequence[Row], name: str, kind: str) -> FieldModel:
    plain = kind.removesuffix(MANY)
    if plain == TEXT:
        return FieldModel(name=name, type=kind)
    if plain == CHOICE:
        choices = _choices(rows, name)
        return FieldModel(name=name, type=kind, choices=choices, telling=_telling(rows, name, choices))
    return FieldModel(name=name, type=kind, chooser=_chooser(rows, name, plain))


def _choices(rows: Iterable[Row], name: str) -> tuple[str, ...]:
    """Return every value that a field has in the data, the most frequent first."""
    counts = Counter(str(span.value) for row in rows for span in spans_of(row, name) if span.value is not None)
    return tuple(sorted(counts, key=lambda value: (-counts[value], value)))


def _telling(rows: Iterable[Row], name: str, choices: Sequence[str]) -> dict[str, str] | None:
    """Return words that occur in quotes of one value only, where quotes do not name their value ("was approved").

    A word of a single quote tells nothing. None where all quotes name their values: no word is needed.
    """
    stated = [(row.text[span.start : span.end], span.value) for row in rows for span in spans_of(row, name)]
    quotes = [(quote, str(value)) for quote, value in stated if value is not None]
    if all(normalise_value(CHOICE, quote, choices) is not None for quote, _ in quotes):
        return None
    values_of: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for quote, value in quotes:
        for word in words_of(quote):
            values_of[word][value] += 1
    return {word: min(values) for word, values in sorted(values_of.items()) if len(values) == 1 < values.total()}


def _chooser(rows: Iterable[Row], name: str, kind: str) -> dict[str, float] | None:
    """Return weights of the context of the intended value; None if there is too little to learn from."""
    seen = [
        (option.features, option.value == span.value)
        for row in rows
        for span in spans_of(row, name)
        if span.value is not None
        for option in options(kind, row.text[span.start : span.end], language_of(row.text, "en"))
    ]
    meant = np.array([pair[1] for pair in seen], dtype=bool)
    if len(seen) < _FEWEST or meant.all() or not meant.any():
        return None
    counts = Counter(name for features, _ in seen for name in features)
    terms = {term: number for number, term in enumerate(sorted(t for t, n in counts.items() if n > 1))}
    known_terms = [sorted({terms[term] for term in features if term in terms}) for features, _ in seen]
    starts = np.concatenate([[0], np.cumsum([len(numbers) for numbers in known_terms])])
    indices = np.array([number for numbers in known_terms for number in numbers], dtype=np.int64)
    matrix = csr_matrix((np.ones(len(indices)), indices, starts), shape=(len(seen), len(terms)))
    model = LogisticRegression(C=_C_EXTRACT_FIELDS, solver="liblinear", fit_intercept=False, random_state=0).fit(
        matrix, meant
    )
    return {term: round(float(model.coef_[0][number]), 4) for term, number in terms.items()}


# --- The texts of an `extract` job, cut once, with what they state by sentence and by word.

Ints = np.ndarray
Bools = np.ndarray


@dataclass(frozen=True)
class Corpus:
    """Documents with the places of their fields."""

    documents: Sequence[TokenizedText]
    spans: Sequence[Sequence[tuple[FieldSpan, ...]]]
    """For each document and field the places where the field is stated; none where it is not."""
    folds: Ints  # (N,)
    seed: int

    @classmethod
    def of(cls, data: Dataset, fields: Sequence[str], folds: Ints, seed: int) -> Corpus:
        """Return the documents of a data set."""
        return cls(
            documents=[TokenizedText(row.text) for row in data.rows],
            spans=[[spans_of(row, name) for name in fields] for row in data.rows],
            folds=folds,
            seed=seed,
        )

    @property
    def fields(self) -> int:
        """The number of fields."""
        return len(self.spans[0])

    @cached_property
    def ends(self) -> Ints:  # (N + 1,)
        """The start of each document's sentences among those of all."""
        return np.concatenate([[0], np.cumsum([len(document.sentences) for document in self.documents])]).astype(
            np.int64
        )

    @cached_property
    def owners(self) -> Ints:  # (S,)
        """The document of each sentence."""
        return np.repeat(np.arange(len(self.documents)), np.diff(self.ends))

    @cached_property
    def states(self) -> Bools:  # (S, F)
        """Whether each sentence states a field, or a part of its value."""
        flags = np.zeros((int(self.ends[-1]), self.fields), dtype=bool)
        for number, document in enumerate(self.documents):
            starts = np.array([sentence.start for sentence in document.sentences])
            ends = np.array([sentence.end for sentence in document.sentences])
            for name, spans in enumerate(self.spans[number]):
                for span in spans:
                    flags[self.ends[number] : self.ends[number + 1], name] |= (starts < span.end) & (ends > span.start)
        return flags

    def of_document(self, scores: np.ndarray, number: int) -> np.ndarray:  # (S,)
        """Return the rows of one document's sentences."""
        return scores[self.ends[number] : self.ends[number + 1]]


def tag_words(places: Sequence[TextRange], spans: Sequence[FieldSpan]) -> Ints:  # (T,)
    """Return the tag of each word: 1 where a stated value begins, 2 where it continues, 0 outside."""
    starts = np.array([span.start for span in places])
    ends = np.array([span.end for span in places])
    tags = np.zeros(len(places), dtype=np.int64)
    for span in spans:
        inside = np.flatnonzero((starts < span.end) & (ends > span.start))
        if len(inside) and not tags[inside].any():
            tags[inside] = 2
            tags[inside[0]] = 1
    return tags


_AT_LEAST = 3  # times that a feature of a word occurs
_HERE = 2  # times that it occurs where one field is looked for
_CENT = 0.01  # weights below it are dropped: they move nothing and fill the file

Floats = np.ndarray


class Tagged(NamedTuple):
    """A tagger of all documents, and the candidates of taggers that did not see the document they read."""

    tagger: Tagger
    candidates: list[list[list[CandidateSpan]]]
    """Candidates by document and field."""


class _Sequence(NamedTuple):
    features: csr_matrix  # (T, V + RANK_FEATURES), and two columns more where an encoder has read it
    tags: np.ndarray  # (T,)


def tag_fields(
    corpus: Corpus, scores: Floats, advance: Callable[[int], None], tags: Sequence[ReadTags] | None = None
) -> Tagged:
    """Fit a chain per field on the regions that its ranking of unseen documents picks, and those that state it.

    Args:
        corpus: The documents.
        scores: (S, F) of the ranking.
        advance: Called after each fit.
        tags: Tags by encoders that did not see a document, where there are any; the chain weighs them too.
    """
    terms = _vocabulary(corpus, scores)
    every: Sequence[ReadTags | None] = tags or [None] * len(corpus.documents)
    readings = [TaggedDocument(document, own) for document, own in zip(corpus.documents, every, strict=True)]
    blank = _blank(corpus.fields, terms, tagged=tags is not None)
    candidates: list[list[list[CandidateSpan]]] = [[[] for _ in range(corpus.fields)] for _ in readings]
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
    """Return the regions of a document that a field's chain learns from."""
    own = corpus.of_document(scores, number)[:, field]
    if not len(own):
        return []
    stated = np.flatnonzero(corpus.of_document(corpus.states, number)[:, field])
    found_regions = regions(own)
    for row in stated.tolist():
        if not any(region.first <= row <= region.last for region in found_regions):
            found_regions.append(Region(row, row))
    return found_regions


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
    corpus: Corpus, reading: TaggedDocument, scores: Floats, terms: Mapping[str, int], *, field: int, number: int
) -> list[_Sequence]:
    own = corpus.of_document(scores, number)[:, field]
    sequences = []
    for region in _picked(corpus, field, scores, number):
        words = reading.words(region, terms)
        if words.places:
            odds = reading.tags.of_words(words.places, field) if reading.tags else np.zeros((len(words.places), 0))
            sequences.append(_sequence(words, own, corpus.spans[number][field], len(terms), odds))
    return sequences


def _sequence(words: RegionWords, scores: Floats, spans: Sequence[FieldSpan], width: int, odds: Floats) -> _Sequence:
    ones = np.ones(len(words.features), dtype=np.float32)
    own = csr_matrix((ones, words.features, words.starts), shape=(len(words.places), width))
    ranks = csr_matrix(rank_features(words, scores).astype(np.float32))
    odds_matrix = csr_matrix(odds.astype(np.float32))
    return _Sequence(hstack([own, ranks, odds_matrix]).tocsr(), tag_words(words.places, spans))


def _fit(sequences: Sequence[Sequence[_Sequence]]) -> ChainFit:
    """Fit a chain over the features that occur often enough; the others have weight 0."""
    every = [sequence for document in sequences for sequence in document]
    features = vstack([sequence.features for sequence in every]).tocsr()
    kept = np.flatnonzero(np.bincount(features.indices, minlength=features.shape[1]) >= _HERE)
    fit = fit_chain(
        features[:, kept],
        np.concatenate([sequence.tags for sequence in every]),
        [len(sequence.tags) for sequence in every],
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
    width = len(tagger.terms)
    tagger.weights[field] = fit.weights[:width]
    tagger.rank_weights[field] = fit.weights[width : width + RANK_FEATURES]
    if tagger.odds_weights is not None:
        tagger.odds_weights[field] = fit.weights[width + RANK_FEATURES :]
    tagger.transitions[field] = fit.transitions
    return tagger


def _slim(tagger: Tagger) -> Tagger:
    """Return the tagger without features of negligible weight, in half precision."""
    kept = np.flatnonzero(np.abs(tagger.weights).max(axis=(0, 2)) >= _CENT)
    names = sorted(tagger.terms, key=tagger.terms.__getitem__)
    return Tagger(
        terms={names[number]: index for index, number in enumerate(kept)},
        weights=tagger.weights[:, kept].astype(np.float16),
        rank_weights=tagger.rank_weights,
        transitions=tagger.transitions,
        odds_weights=tagger.odds_weights,
    )


# --- Learning which sentences state a field, and what that says of sentences it has not seen.

_NGRAMS = {"unit": "word", "shortest": 1, "longest": 2, "at_most": 30_000}
_UNSTATED = 40  # sentences a document that are shown as stating nothing
_C, _VECTOR_C = 10.0, 1.0
_UNLIKELY = -6.0  # log-odds of a field that the training documents do not state


class Ranked(NamedTuple):
    """A ranker of all documents, and the scores of rankers that did not see the document they score."""

    ranker: Ranker
    scores: Floats  # (S, F); -inf where a sentence is not looked at again


@dataclass(frozen=True)
class _Linear:
    weights: Floats  # (D, F)
    bias: Floats  # (F,)

    def scores(self, features: csr_matrix | Floats) -> Floats:
        return np.asarray(features @ self.weights + self.bias)


def rank_by_words(corpus: Corpus, advance: Callable[[int], None]) -> Ranked:
    """Return the ranker that uses words and places."""
    texts = [
        document.text[sentence.start : sentence.end] for document in corpus.documents for sentence in document.sentences
    ]
    ngrams = fit_ngrams(texts, at_least=3 if len(texts) >= 5_000 else 1, **_NGRAMS)  # type: ignore[arg-type]
    features = _matrix([ngrams.encode(text) for text in texts], len(ngrams.terms), corpus.documents)
    shown = _shown(corpus)
    scores = np.zeros((len(texts), corpus.fields))
    for fold in np.unique(corpus.folds):
        held = corpus.folds[corpus.owners] == fold
        scores[held] = _fit_extract_rank(features, corpus, shown & ~held, _C).scores(features[held])
        advance(1)
    line = _fit_extract_rank(features, corpus, shown, _C)
    advance(1)
    ranker = Ranker(ngrams=ngrams, weights=line.weights.astype(np.float16), bias=line.bias.astype(np.float32))
    return Ranked(ranker, scores)


def shortlisted(corpus: Corpus, scores: Floats) -> np.ndarray:  # (K,)
    """Return numbers of the sentences that get a second look."""
    rows = [
        np.array(shortlist(corpus.of_document(scores, number)), dtype=np.int64) + corpus.ends[number]
        for number in range(len(corpus.documents))
        if corpus.ends[number + 1] > corpus.ends[number]
    ]
    return np.concatenate(rows)


def rank_by_vectors(corpus: Corpus, words: Ranked, rows: np.ndarray, vectors: Floats) -> Ranked:
    """Return the ranker that also uses encodings.

    Args:
        corpus: The documents.
        words: The ranking of the first look.
        rows: (K,) sentences that get a second look.
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
    """Return shares of the two scores per field (2, F) and a shift (F,), by logistic regression on unseen documents."""
    shares, shift = np.ones((2, first.shape[1])) * 0.5, np.zeros(first.shape[1])
    for number in range(first.shape[1]):
        if states[:, number].any() and not states[:, number].all():
            both = np.column_stack([first[:, number], second[:, number]])
            model = LogisticRegression(C=10.0).fit(both, states[:, number])
            shares[:, number] = np.maximum(model.coef_[0], 1e-3)
            shift[number] = model.intercept_[0]
    return shares, shift


def _fit_extract_rank(features: csr_matrix, corpus: Corpus, rows: np.ndarray, strength: float) -> _Linear:
    return _fit_rows(features, corpus.states, rows, strength)


def _fit_rows(features: csr_matrix | Floats, states: np.ndarray, rows: np.ndarray, strength: float) -> _Linear:
    """Fit a logistic regression, one field against the rest, on some rows."""
    weights, bias = np.zeros((features.shape[1], states.shape[1])), np.full(states.shape[1], _UNLIKELY)
    some, stated = features[rows], states[rows]
    for number in range(states.shape[1]):
        if stated[:, number].any() and not stated[:, number].all():
            model = LogisticRegression(C=strength, solver="liblinear", random_state=0).fit(some, stated[:, number])
            weights[:, number], bias[number] = model.coef_[0], model.intercept_[0]
    return _Linear(weights, bias)


def _shown(corpus: Corpus) -> np.ndarray:  # (S,)
    """Return sentences to learn from: all that state a field, and of each document some that do not."""
    random = np.random.default_rng(corpus.seed)
    shown = np.asarray(corpus.states.any(axis=1))
    for number in range(len(corpus.documents)):
        rows = np.arange(corpus.ends[number], corpus.ends[number + 1])
        shown[random.permutation(rows)[:_UNSTATED]] = True
    return shown


def _matrix(encoded: Sequence[Sparse], width: int, documents: Sequence[TokenizedText]) -> csr_matrix:  # (S, G + PLACES)
    starts = np.concatenate([[0], np.cumsum([len(encoding.indices) for encoding in encoded])])
    indices = np.concatenate([encoding.indices for encoding in encoded])
    values = np.concatenate([encoding.values for encoding in encoded])
    words = csr_matrix((values, indices, starts), shape=(len(encoded), width))
    places = csr_matrix(np.vstack([place_features(document).reshape(-1, PLACES) for document in documents]))
    return hstack([words, places]).tocsr().astype(np.float64)


# --- How likely candidates are: from those of texts that the models have not seen.

RIGHT, NOT_STATED, WRONG = range(len(OUTCOMES))
_LOOKED_AT = 3  # candidates a text of a field with one value
_LOOKED_AT_MANY = 20
_C_EXTRACT_WEIGH = 1.0
_RARE = -4.0  # logit of an outcome that never occurs
_LEVELS = np.linspace(0.2, 0.8, 25)

Judge = Callable[[int, int, CandidateSpan], bool]
"""Whether a candidate of a document and field is right."""


def fit_weigher(
    candidates: Sequence[Sequence[Sequence[CandidateSpan]]],
    stated: np.ndarray,
    many: Sequence[bool],
    right: Judge,
    wanted: np.ndarray,
) -> Weigher:
    """Fit the weigher of all fields.

    Args:
        candidates: By document and field, likeliest first.
        stated: (N, F) whether each document states each field.
        many: For each field, whether it may have several values.
        right: Returns whether a candidate is right.
        wanted: (N, F) number of values stated.
    """
    fits = [
        _fit_extract_weigh(
            [candidate[field] for candidate in candidates],
            stated[:, field],
            field,
            right,
            many=several,
            wanted=int(wanted[:, field].sum()),
        )
        for field, several in enumerate(many)
    ]
    center, scale, weights, bias, least = (np.stack(parts) for parts in zip(*fits, strict=True))
    return Weigher(center=center, scale=scale, weights=weights, bias=bias, least=least)


def _fit_extract_weigh(
    documents: Sequence[Sequence[CandidateSpan]],
    stated: np.ndarray,
    field: int,
    right: Judge,
    *,
    many: bool,
    wanted: int,
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return center, scale, weights, bias and least probability of one field."""
    looked_at = _LOOKED_AT_MANY if many else _LOOKED_AT
    seen = [(number, candidate) for number, document in enumerate(documents) for candidate in document[:looked_at]]
    evidence = np.array([candidate.evidence for _, candidate in seen]).reshape(-1, len(EVIDENCE))
    outcome = np.array(
        [_outcome(number, candidate, field, stated, right) for number, candidate in seen], dtype=np.int64
    )
    center = evidence.mean(axis=0) if seen else np.zeros(len(EVIDENCE))
    scale = np.maximum(evidence.std(axis=0), 1e-6) if seen else np.ones(len(EVIDENCE))
    weights, bias = multinomial(
        (evidence - center) / scale, outcome, len(OUTCOMES), strength=_C_EXTRACT_WEIGH, absent=_RARE, rounds=1000
    )
    chances = softmax((evidence - center) / scale @ weights + bias)
    least = _best_level(chances[:, RIGHT], outcome == RIGHT, wanted) if many else 0.5
    return np.asarray(center), np.asarray(scale), weights, bias, np.asarray(least)


def _outcome(number: int, candidate: CandidateSpan, field: int, stated: np.ndarray, right: Judge) -> int:
    if not stated[number]:
        return NOT_STATED
    return RIGHT if right(number, field, candidate) else WRONG


def _best_level(chances: Floats, right: np.ndarray, wanted: int) -> float:
    """Return the probability from which to keep candidates, for the best F1 on unseen texts."""
    kept = chances[None] >= _LEVELS[:, None]  # (L, C)
    f1 = 2 * (kept & right).sum(axis=1) / np.maximum(kept.sum(axis=1) + wanted, 1)
    return float(_LEVELS[int(f1.argmax())])


# --- What readers that had not seen a text found there, and what statements about its fields that comes to.

# --- How sure to be of what is said of a field: from statements about texts that their readers had not seen.

Said = Sequence[Sequence[Statement]]
"""The statements about a text, by field."""


@dataclass(frozen=True)
class Unseen:
    """Texts with the candidates found in them."""

    rows: Sequence[Row]
    candidates: Sequence[Sequence[Sequence[CandidateSpan]]]
    """Candidates by row and field."""
    models: Mapping[int, Sequence[FieldModel]]
    """The models by fold, made from the other folds' rows."""
    folds: np.ndarray  # (N,)

    @property
    def fields(self) -> int:
        """The number of fields."""
        return len(self._models(0))

    def take(self, numbers: np.ndarray) -> Unseen:  # (M,) of N
        """Return some of the texts."""
        rows = [self.rows[number] for number in numbers]
        return Unseen(rows, [self.candidates[number] for number in numbers], self.models, self.folds[numbers])

    def fit_weigher(self) -> Weigher:
        """Fit the weigher of these texts' candidates."""
        models = self._models(0)
        counts = np.array([[len(spans_of(row, model.name)) for model in models] for row in self.rows], dtype=np.int64)
        many = np.array([model.many for model in models])
        wanted = np.where(many, counts, np.minimum(counts, 1))
        return fit_weigher(self.candidates, counts > 0, many.tolist(), self.right, wanted)

    def said(self, weigher: Weigher) -> list[Said]:
        """Return each text's statements from its candidates."""
        return [
            [
                weigher.decide(field, model, own, TokenizedText(row.text))
                for field, (own, model) in enumerate(zip(candidates, self._models(number), strict=True))
            ]
            for number, (row, candidates) in enumerate(zip(self.rows, self.candidates, strict=True))
        ]

    def right(self, number: int, field: int, candidate: CandidateSpan | Statement) -> bool:
        """Return whether a candidate or a statement is right."""
        row, model = self.rows[number], self._models(number)[field]
        statement = FieldStatement(candidate.start, candidate.end, 0.0)
        (stated,) = as_fields([model], [[statement]], [never()], row.text, language_of(row.text, "en"))
        return is_right(stated, row.text, spans_of(row, model.name))

    def finding(self, number: int, statements_by_field: Said, calibrator: Calibrator) -> Finding:
        """Return a text's statements as a finding without accepted fields."""
        models = self._models(number)
        statements = [
            [calibrator.believe(field, statement) for statement in own] for field, own in enumerate(statements_by_field)
        ]
        text = self.rows[number].text
        fields = as_fields(models, statements, [never()] * len(models), text, language_of(text, "en"))
        return Finding(
            specialist="",
            value=None,
            text="",
            confidence=0.0,
            accepted=False,
            reason=Reason("note.not_judged"),
            task="extract",
            fields=fields,
        )

    def _models(self, number: int) -> Sequence[FieldModel]:
        return self.models[int(self.folds[number])]


def never() -> Acceptance:
    """Return an acceptance that accepts nothing."""
    return Acceptance(temperature=1.0, threshold=None, target_risk=0.5, scope_threshold=None)


_SHARED, _OWN = 10.0, 5.0
"""Penalties of squared weights, for those that fields share and for those of one field: few texts move little."""
_KINDS = 2  # a value, and that there is none


class JudgedStatements(NamedTuple):
    """Statements, and their correctness."""

    fields: np.ndarray  # (K,)
    stated: np.ndarray  # (K,) 1 for a value, 0 for none
    signs: Floats  # (K, S)
    right: np.ndarray  # (K,)


class Believed(NamedTuple):
    """A calibrator of all texts, and cross-fitted findings of each text."""

    calibrator: Calibrator
    findings: list[Finding]
    """A finding per text, without accepted fields."""


def calibrate(unseen: Unseen, parts: np.ndarray) -> Believed:
    """Return a calibrator, and unbiased confidences for the choice of thresholds.

    The statements about a part of the texts come from a weigher of the others. The calibrator learns from all of
    them; the confidences of a part come from a calibrator of the others.

    Args:
        unseen: Texts with their candidates.
        parts: (N,) the part of each text. A single part has no others, and learns from itself.
    """
    statements = _said_by_others(unseen, parts)
    judged = {part: _judge(unseen, statements, np.flatnonzero(parts == part)) for part in np.unique(parts).tolist()}
    findings: list[Finding | None] = [None] * len(parts)
    for part, own in judged.items():
        others = [judgement for other, judgement in judged.items() if other != part] or [own]
        without = fit_calibrator(_joined(others), unseen.fields)
        for number in np.flatnonzero(parts == part).tolist():
            findings[number] = unseen.finding(number, statements[number], without)
    kept_findings = [finding for finding in findings if finding is not None]
    return Believed(fit_calibrator(_joined(list(judged.values())), unseen.fields), kept_findings)


def fit_calibrator(judged: JudgedStatements, fields: int) -> Calibrator:
    """Fit a logistic regression around the weigher's log-odds, per kind of statement, with weights all fields share.

    Minimises the log loss plus the squared weights, with the weigher's own log-odds as an offset: without a statement
    of a field it has the weights that all share, and without any statement it equals the weigher. Signs are measured
    in their standard deviations.

    Args:
        judged: Statements about texts that readers and weigher had not seen.
        fields: How many fields there are.
    """
    straight = Calibrator.straight(fields)
    if not len(judged.right):
        return straight
    center, scale = judged.signs.mean(axis=0), np.maximum(judged.signs.std(axis=0), 1e-6)
    unit = np.column_stack([(judged.signs - center) / scale, np.ones(len(judged.right))])  # (K, S + 1)
    blocks = np.zeros((len(unit), fields + 1, _KINDS, unit.shape[1]))
    rows = np.arange(len(unit))
    blocks[rows, 0, judged.stated] = unit
    blocks[rows, 1 + judged.fields, judged.stated] = unit
    costs = np.full(blocks.shape[1:], _OWN)
    costs[0] = _SHARED
    moved = _fit_weigher(blocks.reshape(len(unit), -1), judged, costs.ravel()).reshape(costs.shape)
    moved = moved[:1] + moved[1:]  # (F, 2, S + 1)
    weights = moved[:, :, :-1] / scale
    bias = moved[:, :, -1] - weights @ center
    return Calibrator(weights=straight.weights + weights, bias=straight.bias + bias)


def _fit_weigher(features: Floats, judged: JudgedStatements, costs: Floats) -> Floats:
    """Return what is added to the weigher's log-odds, as weights of the features."""
    offset, right = judged.signs[:, SIGNS.index("chance")], judged.right.astype(float)

    def loss(weights: Floats) -> tuple[float, Floats]:
        margin = offset + features @ weights
        miss = expit(margin) - right
        total = (np.logaddexp(0, margin) - right * margin).sum() + 0.5 * (costs * weights**2).sum()
        return float(total), features.T @ miss + costs * weights

    return np.asarray(minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B").x)


def _said_by_others(unseen: Unseen, parts: np.ndarray) -> list[Said]:
    statements: dict[int, Said] = {}
    for part in np.unique(parts):
        own, others = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
        weigher = unseen.take(others if len(others) else own).fit_weigher()
        statements |= dict(zip(own.tolist(), unseen.take(own).said(weigher), strict=True))
    return [statements[number] for number in range(len(parts))]


def _judge(unseen: Unseen, statements: Sequence[Said], numbers: np.ndarray) -> JudgedStatements:
    """Return the statements about some texts from which a fit can learn."""
    judged = [
        (field, int(statement.stated), statement.signs, unseen.right(number, field, statement))
        for number in numbers.tolist()
        for field, own in enumerate(statements[number])
        for statement in own
        if statement.signs
    ]
    fields, stated, signs, right = zip(*judged, strict=True) if judged else ((), (), (), ())
    return JudgedStatements(
        np.array(fields, dtype=np.int64),
        np.array(stated, dtype=np.int64),
        np.array(signs, dtype=np.float64).reshape(-1, len(SIGNS)),
        np.array(right, dtype=bool),
    )


def _joined(parts: Sequence[JudgedStatements]) -> JudgedStatements:
    return JudgedStatements(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


@dataclass(frozen=True, kw_only=True)
class FieldReader:
    """The parts that rank and read texts, and the candidates that similar ones found in unseen texts."""

    rung: Rung
    ranker: Ranker
    candidates: Mapping[int, Sequence[Sequence[CandidateSpan]]]
    """Candidates by the number of each unseen text, and by field."""
    tagger: Tagger | None = None
    quoting: Quoting | None = None
    encoder: Engine | None = None
    model: QuotingModel | None = None
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    """Files of a version beside description and arrays."""
    about: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """Further entries of its description."""
    notes: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """Notes on this rung for the report."""

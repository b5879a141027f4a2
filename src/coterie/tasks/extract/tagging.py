"""Finds the sentences of a text that may state a field, and the field's values in them.

Sentences are ranked by a linear score per field, from n-grams, place and encoding. Values are found by a chain model
per field over the features of words: Lafferty, McCallum and Pereira 2001, "Conditional Random Fields". Decoding is by
posterior: the probability that a value stands exactly from here to there, under all taggings of the sequence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from coterie.engines.linear import NgramFeatures, stored_array
from coterie.text.language import language_of
from coterie.text.segmentation import Span, sentences
from coterie.text.values import typed_spans

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

# --- A long text as sentences and words, each with its place: what is ranked and what is tagged.
#
# Contracts come with hard line breaks inside sentences, headings without a full stop and lists of clauses: a sentence
# ends at a blank line, and at `.`, `;` or `:` where the next word begins like a new one. A sentence that is too long to
# be one is cut at white space.

_NUMBER = re.compile(r"(?<!\d)(?<!\d[.,])(?:\d{1,3}(?:[.,]\d{3})+(?:[.,]\d+)?|\d+[.,]\d+)(?![.,]?\d)")
_DIGITS = 40
"""Characters around a span that are searched for the rest of a number."""
_WORD = re.compile(r"\w+(?:['\u2019]\w+)?|[^\w\s]")
_LONGEST_SENTENCE = 600
"""Most characters of a sentence."""


TextRange = Span
"""A span of a text, in characters."""


@dataclass(frozen=True)
class TokenizedText:
    """A text with its sentences and words, which are cut on first use."""

    text: str

    language: str = ""
    """The language of the text; detected where it is empty."""

    @cached_property
    def spoken(self) -> str:
        """The language of the text; English if the detection is uncertain."""
        return self.language or language_of(self.text, "en")

    @cached_property
    def sentences(self) -> list[Span]:
        """All non-blank spans of the text, in order."""
        return sentences(self.text, language=self.spoken, clauses=True, longest=_LONGEST_SENTENCE)

    def whole(self, span: TextRange) -> TextRange:
        """Extend a span to the whole of a number that it cuts: never the 7 of 7.5, nor the 200 of 1,200."""
        start, end = span
        for number in _NUMBER.finditer(self.text, max(0, start - _DIGITS), end + _DIGITS):
            if number.start() < end < number.end() or number.start() < start < number.end():
                start, end = min(start, number.start()), max(end, number.end())
        return TextRange(start, end)

    def words(self, span: TextRange) -> list[TextRange]:
        """Return the words and signs of a span."""
        return [TextRange(*match.span()) for match in _WORD.finditer(self.text, span.start, span.end)]


PLACES = 24
"""Number of features of a sentence's place."""
_HEADS = (150, 400, 1_000, 2_500, 6_000, 15_000, 40_000)
_TAILS = (300, 1_000, 3_000, 8_000)
_NEAR = 3  # sentences at the beginning that are told apart

Floats = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Ranker:
    """Scores each sentence of a document for each field."""

    ngrams: NgramFeatures
    weights: Floats  # (G + PLACES, F), of the n-grams and then the places
    bias: Floats  # (F,)
    vectors: Floats | None = None  # (D, F), of a sentence's encoding
    vector_bias: Floats | None = None  # (F,)
    shares: Floats | None = None  # (2, F), of the first score and of the encoding's

    def scores(self, document: TokenizedText) -> Floats:  # (S, F)
        """Return log-odds of each sentence from words and place."""
        places = place_features(document)  # (S, PLACES)
        total = places @ self.weights[len(self.ngrams.terms) :].astype(np.float32) + self.bias
        for row, sentence in enumerate(document.sentences):
            indices, values = self.ngrams.encode(document.text[sentence.start : sentence.end])
            total[row] += values @ self.weights[indices].astype(np.float32)
        return np.asarray(total, dtype=np.float64)

    def with_vectors(self, scores: Floats, vectors: Floats) -> Floats:  # (K, F), (K, D) -> (K, F)
        """Return scores of sentences whose encodings are known."""
        if self.vectors is None or self.vector_bias is None or self.shares is None:
            return scores
        return np.asarray(self.shares[0] * scores + self.shares[1] * (vectors @ self.vectors + self.vector_bias))

    def store(self) -> tuple[dict[str, object], dict[str, Floats]]:
        """Return the JSON description and the arrays that restore it."""
        arrays = {"rank.idf": self.ngrams.idf, "rank.weights": self.weights, "rank.bias": self.bias}
        if self.vectors is not None and self.vector_bias is not None and self.shares is not None:
            arrays |= {
                "rank.vectors": self.vectors,
                "rank.vector_bias": self.vector_bias,
                "rank.shares": self.shares,
            }
        return {"ngrams": self.ngrams.describe()}, arrays

    @classmethod
    def restore(cls, description: Mapping[str, Any], arrays: Mapping[str, Floats], fields: int) -> Ranker:
        """Restore the result of `store`. Raises `ValueError` if the parts do not fit each other."""
        ngrams = NgramFeatures.restore(description["ngrams"], arrays, "rank.idf")
        vectors = stored_array(arrays, "rank.vectors", None, fields) if "rank.vectors" in arrays else None
        return cls(
            ngrams=ngrams,
            weights=stored_array(arrays, "rank.weights", len(ngrams.terms) + PLACES, fields),
            bias=stored_array(arrays, "rank.bias", fields),
            vectors=vectors,
            vector_bias=None if vectors is None else stored_array(arrays, "rank.vector_bias", fields),
            shares=None if vectors is None else stored_array(arrays, "rank.shares", 2, fields),
        )


def place_features(document: TokenizedText) -> Floats:  # (S, PLACES)
    """Return ones and zeros: how far each sentence is from the beginning and the end, how long it is."""
    sentences, length = document.sentences, len(document.text)
    features = np.zeros((len(sentences), PLACES), dtype=np.float32)
    heads, tails = len(_HEADS) + 1, len(_TAILS) + 1
    for row, sentence in enumerate(sentences):
        features[row, sum(sentence.start >= edge for edge in _HEADS)] = 1
        features[row, heads + sum(length - sentence.end >= edge for edge in _TAILS)] = 1
        features[row, heads + tails + min(4, (sentence.end - sentence.start) // 80)] = 1
        if row < _NEAR:
            features[row, heads + tails + 5 + row] = 1
    return features


def best_rows(scores: Sequence[float] | Floats, most: int) -> list[int]:  # (S,)
    """Return numbers of the highest scores, best first."""
    return [int(row) for row in np.argsort(-np.asarray(scores), kind="stable")[:most]]


# --- Finds a field's values in a few sentences: a chain model per field over the features of words.

O, B, I = 0, 1, 2  # noqa: E741 - the field's letters
TAGS = 3
FORBIDDEN = -1e4
"""Score of a forbidden transition: an I that continues nothing."""


class TagSpan(NamedTuple):
    """A value's place in a sequence, first and last word included, and its probability."""

    first: int
    last: int
    probability: float
    """Probability that a value stands exactly here."""
    begins: float
    """Probability that a value begins here, whatever its end."""


def stretches(emissions: Floats, transitions: Floats, *, least: float = 0.05) -> list[TagSpan]:
    """Return spans of values in a sequence: the likeliest end of each likely beginning, none nested, best first.

    Args:
        emissions: (T, 3) score of each tag at each word.
        transitions: (3, 3) score of one tag after another.
        least: Beginnings less likely than this are skipped, except the likeliest.
    """
    chain = _Chain.of(emissions, transitions)
    begins = np.exp(np.minimum(chain.forward[:, B] + chain.backward[:, B] - chain.total, 0.0))
    taken = np.zeros(len(emissions), dtype=bool)
    stretches_: list[TagSpan] = []
    for first in np.argsort(-begins, kind="stable").tolist():
        if taken[first] or (stretches_ and begins[first] < least):
            break
        stretch = _longest(first, chain, float(begins[first]))
        if not taken[stretch.first : stretch.last + 1].any():
            taken[stretch.first : stretch.last + 1] = True
            stretches_.append(stretch)
    return sorted(stretches_, key=lambda stretch: -stretch.probability)


class _Chain(NamedTuple):
    emissions: Floats  # (T, 3)
    transitions: Floats  # (3, 3)
    forward: Floats  # (T, 3), own emission included
    backward: Floats  # (T, 3), own emission not
    total: float
    """Logarithm of the sum over all taggings."""

    @classmethod
    def of(cls, emissions: Floats, transitions: Floats) -> _Chain:
        return cls(emissions, transitions, *_messages(emissions, transitions))


def _longest(first: int, chain: _Chain, begins: float) -> TagSpan:
    """Return the likeliest end of a value that begins at `first`."""
    emissions, transitions, forward, backward, total = chain
    inside = emissions[first + 1 :, I].copy()
    inside += np.where(np.arange(len(inside)) == 0, transitions[B, I], transitions[I, I])
    scores = forward[first, B] + np.concatenate([[0.0], np.cumsum(inside)])  # of ending at first, first + 1 ...
    last = np.arange(first, len(emissions))
    after = np.zeros(len(last))
    ends_as = np.where(last == first, B, I)
    if len(last) > 1:
        follow = emissions[last[:-1] + 1][:, [O, B]] + backward[last[:-1] + 1][:, [O, B]]
        after[:-1] = np.logaddexp.reduce(transitions[ends_as[:-1]][:, [O, B]] + follow, axis=1)
    best = int((scores + after).argmax())
    return TagSpan(first, first + best, float(np.exp(min(scores[best] + after[best] - total, 0.0))), begins)


def _messages(emissions: Floats, transitions: Floats) -> tuple[Floats, Floats, float]:
    """Return forward scores (own emission included), backward scores (own emission not), and the log of the sum."""
    steps = len(emissions)
    forward = np.empty((steps, TAGS))
    backward = np.zeros((steps, TAGS))
    forward[0] = emissions[0] + np.array([0.0, 0.0, FORBIDDEN])
    for t in range(1, steps):
        forward[t] = np.logaddexp.reduce(forward[t - 1][:, None] + transitions, axis=0) + emissions[t]
    for t in range(steps - 2, -1, -1):
        backward[t] = np.logaddexp.reduce(transitions + (emissions[t + 1] + backward[t + 1])[None], axis=1)
    return forward, backward, float(np.logaddexp.reduce(forward[-1]))


# --- Fitting a chain model: the conditional likelihood of all tag sequences at once, by L-BFGS.
#
# Words lie step by step, the longest sequence first, a column each: at every step those sequences that go on are the
# first columns of what the last step left, so a step is one product for all of them, in place. Messages are
# probabilities, scaled at each step (Rabiner 1989, section V.A).

Ints = np.ndarray

PENALTY = 0.3  # of the squared weights; 0.1 and 1 do no better on held-back contracts
_ROUNDS = 40
_TINY = 1e-300


class ChainFit(NamedTuple):
    """A fitted chain."""

    weights: Floats  # (V, K)
    transitions: Floats  # (K, K)


@dataclass(frozen=True)
class _Steps:
    """The positions of each step of each sequence among all words."""

    order: Ints  # (N,)
    """The words step by step: first that of each sequence, then the second of those that have one."""
    ends: list[int]
    """The end of each step in this order."""

    @classmethod
    def of(cls, lengths: Sequence[int]) -> _Steps:
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        longest = np.argsort(-np.asarray(lengths), kind="stable")
        ranked, begins = np.asarray(lengths)[longest], starts[longest]
        rows = [begins[: np.count_nonzero(ranked > step)] + step for step in range(int(ranked[0]))]
        return cls(np.concatenate(rows), np.cumsum([len(row) for row in rows]).tolist())

    @cached_property
    def moves(self) -> list[tuple[slice, slice]]:
        """For each step but the first, its words and those before them."""
        begins = [0, *self.ends]
        return [
            (slice(begin, end), slice(before, before + end - begin))
            for before, begin, end in zip(begins, self.ends, self.ends[1:], strict=False)
        ]

    @cached_property
    def before(self) -> Ints:
        """For each word after the first step, the position of the word before it in the order."""
        return np.concatenate([np.arange(0), *(np.arange(last.start, last.stop) for _, last in self.moves)])


def fit_chain(
    features: csr_matrix,
    tags: Ints,
    lengths: Sequence[int],
    *,
    kinds: int = 1,
    penalty: float = PENALTY,
    rounds: int = _ROUNDS,
) -> ChainFit:
    """Fit the chain of highest penalised likelihood.

    Args:
        features: (N, V) of all words, sequence after sequence.
        tags: (N,) 0 outside, then for each kind of value one that begins it and one that continues it: 1, 2, then 3, 4.
        lengths: Words of each sequence; they sum to N.
        kinds: Number of kinds of value that the tags distinguish; K = 1 + 2 * kinds.
        penalty: Penalty of the squared weights.
        rounds: Most rounds of L-BFGS.
    """
    from scipy.optimize import minimize  # noqa: PLC0415 - training alone needs it

    steps, columns, size = _Steps.of(lengths), features.shape[1], 1 + 2 * kinds
    observed = np.asarray(features.T @ np.eye(size)[tags])  # (V, K)
    pairs = _count_pairs(tags, lengths, size)
    transposed = features.T.tocsr()

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights, moves = flat[: columns * size].reshape(columns, size), flat[columns * size :].reshape(size, size)
        emissions = np.asarray(features @ weights)
        logarithm, marginals, moved = _expectations(emissions, _allowed(moves), steps)
        score = float((emissions[np.arange(len(tags)), tags]).sum() + (pairs * moves).sum())
        gradient = np.concatenate([(np.asarray(transposed @ marginals) - observed).ravel(), (moved - pairs).ravel()])
        return (
            logarithm - score + penalty / 2 * float(flat @ flat),
            gradient + penalty * flat,
        )

    start = np.zeros(columns * size + size * size)
    best = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": rounds, "maxcor": 6}).x
    weights, moves = best[: columns * size].reshape(columns, size), best[columns * size :].reshape(size, size)
    return ChainFit(weights.astype(np.float32), _allowed(moves).astype(np.float32))


def _allowed(moves: Floats) -> Floats:
    """Return transitions with the forbidden ones excluded: continuing a kind after anything but that kind."""
    allowed = moves.copy()
    for goes_on in range(2, len(moves), 2):
        others = np.ones(len(moves), dtype=bool)
        others[goes_on - 1 : goes_on + 1] = False
        allowed[others, goes_on] = FORBIDDEN
    return allowed


def _count_pairs(tags: Ints, lengths: Sequence[int], size: int = TAGS) -> Floats:  # (K, K)
    pairs = np.zeros((size, size))
    inner = np.ones(len(tags) - 1, dtype=bool)
    inner[np.cumsum(lengths)[:-1] - 1] = False
    np.add.at(pairs, (tags[:-1][inner], tags[1:][inner]), 1)
    return pairs


def _expectations(emissions: Floats, moves: Floats, steps: _Steps) -> tuple[float, Floats, Floats]:
    """Return the sum of log partition functions, marginals of tags (N, K) and expected transition counts (K, K)."""
    size = len(moves)
    opens = np.ones((size, 1))
    opens[2::2] = 0.0  # nothing goes on at the beginning
    peaks = emissions.max(axis=1)
    scaled = np.ascontiguousarray(np.exp(emissions - peaks[:, None])[steps.order].T)  # (K, N)
    moving, totals = np.exp(moves), np.empty(len(emissions))
    forward, backward, ahead = np.empty_like(scaled), np.ones_like(scaled), np.empty_like(scaled)
    first = slice(0, steps.ends[0])
    np.multiply(opens, scaled[:, first], out=forward[:, first])
    _scale(forward[:, first], totals[first])
    onward = np.ascontiguousarray(moving.T)
    for now, last in steps.moves:
        message = np.matmul(onward, forward[:, last])
        np.multiply(message, scaled[:, now], out=forward[:, now])
        _scale(forward[:, now], totals[now])
    for now, last in reversed(steps.moves):
        np.multiply(scaled[:, now], backward[:, now], out=ahead[:, now])
        backward[:, last] = message = np.matmul(moving, ahead[:, now])
        _scale(backward[:, last], np.empty(message.shape[1]))
    before, behind = forward[:, steps.before], ahead[:, steps.ends[0] :]
    likely = np.maximum((before * (moving @ behind)).sum(axis=0), _TINY)
    marginals = forward * backward
    _scale(marginals, np.empty(len(emissions)))
    placed = np.empty_like(emissions)
    placed[steps.order] = marginals.T
    return float(peaks.sum() + np.log(totals).sum()), placed, (before @ (behind / likely).T) * moving


def _scale(message: Floats, totals: Floats) -> None:
    """Divide each column by its sum, and store the sums in `totals`."""
    np.add.reduce(message, axis=0, out=totals)
    np.maximum(totals, _TINY, out=totals)
    np.divide(message, totals, out=message)


def numbered(features: Sequence[Sequence[str]], at_least: int) -> dict[str, int]:
    """Return a number for each feature that occurs at least so often."""
    counts: dict[str, int] = {}
    for feature in features:
        for name in feature:
            counts[name] = counts.get(name, 0) + 1
    kept = sorted(name for name, count in counts.items() if count >= at_least)
    return {name: number for number, name in enumerate(kept)}


# --- What a tagger sees of a word: itself, its form, its neighbours, and whether it stands in a typed value.
#
# Features are short strings. They know nothing of the field: one list of a document's words serves all fields.

# --- Where in a few sentences a field's values stand: a chain model a field over the features of words.

_ORGANISATION = re.compile(
    r"^(?:inc|incorporated|corp|corporation|ltd|limited|llc|llp|lp|l|co|company|gmbh|ag|sa|plc|bv|nv|trust|bank|partners)$"
)
_QUOTES = frozenset("\"'\u201c\u201d\u2018\u2019")
_EDGES = (300, 1_000, 3_000, 10_000, 30_000)
"""Bounds, in characters from the beginning or to the end, of the position features."""


def word_features(document: TokenizedText, sentences: Sequence[TextRange]) -> tuple[list[TextRange], list[list[str]]]:
    """Return the words of neighbouring sentences, and the features of each."""
    text = document.text
    words: list[TextRange] = []
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
        typed=_typed(document, words),
        where=_whereabouts(words[0].start, len(text)),
        first=frozenset(first),
        last=frozenset({index - 1 for index in first} | {len(words) - 1}),
    )
    return words, [_one(i, region) for i in range(len(words))]


@dataclass(frozen=True, kw_only=True)
class _Region:
    """The words of neighbouring sentences, each list indexed by word."""

    lower: list[str]
    forms: list[str]
    typed: list[str]
    where: str
    first: frozenset[int]
    """Words that begin a sentence."""
    last: frozenset[int]
    """Words that end a sentence."""


def _one(i: int, region: _Region) -> list[str]:
    lower, forms, typed, where = region.lower, region.forms, region.typed, region.where
    first, last = region.first, region.last
    word, form = lower[i], forms[i]
    before, after = (lower[i - 1] if i else "^"), (lower[i + 1] if i + 1 < len(lower) else "$")
    before2, after2 = (lower[i - 2] if i > 1 else "^"), (lower[i + 2] if i + 2 < len(lower) else "$")
    form_before, form_after = (forms[i - 1] if i else "^"), (forms[i + 1] if i + 1 < len(forms) else "$")
    features = [
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
        features += ["t=" + typed[i], f"t,-1={typed[i]} {before}"]
    if i and typed[i - 1] != "-":
        features.append("t-1=" + typed[i - 1])
    if i + 1 < len(typed) and typed[i + 1] != "-":
        features.append("t+1=" + typed[i + 1])
    if _ORGANISATION.match(word):
        features.append("org")
    if i + 1 < len(lower) and _ORGANISATION.match(after):
        features.append("org+1")
    if i in first:
        features += ["first", "first=" + word]
    if i in last:
        features += ["last", "last=" + word]
    if i - 1 in last:
        features.append("after-last")
    if i + 1 in first:
        features.append("before-first")
    return features


def _form(word: str) -> str:
    """Return the form of a word: `Aa`, `AA`, `a`, `9`, a quotation mark, another sign."""
    if word.isdigit():
        return "9" if len(word) < 3 else ("9999" if len(word) == 4 else "999")
    if word in _QUOTES:
        return '"'
    if not word[0].isalnum():
        return word
    if word.isupper():
        return "A" if len(word) == 1 else "AA"
    return "Aa" if word[0].isupper() else "a"


def _typed(document: TokenizedText, words: Sequence[TextRange]) -> list[str]:
    """Return for each word the type of the value that it begins or continues: `date.B`, `date.I`, `-`."""
    start, end = words[0].start, words[-1].end
    kinds = ["-"] * len(words)
    spans = sorted(
        (start + value.start, start + value.end, kind)
        for kind, value in typed_spans(document.text[start:end], document.spoken)
    )
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
    """Return how near a position is to the beginning or the end of the text."""
    head = sum(start >= edge for edge in _EDGES)
    tail = sum(length - start >= edge for edge in _EDGES)
    return f"{head}" if head < len(_EDGES) else f"-{tail}"


# --- What an encoder reads of a long text: the sentences that are likely for any field, neighbours together.

_LONGEST = 1_000
"""Most characters of a passage, unless one sentence has more."""
_SUREST = 10.0
"""Log-odds of a tag against `outside` are clipped here: an encoder with many weights is overconfident."""


def passages(document: TokenizedText, rows: Sequence[int]) -> list[TextRange]:
    """Return sentences of these numbers, in order, joined where they are neighbours and short enough."""
    ranges: list[TextRange] = []
    before = -1
    for row in rows:
        sentence = document.sentences[row]
        if ranges and row == before + 1 and sentence.end - ranges[-1].start <= _LONGEST:
            ranges[-1] = TextRange(ranges[-1].start, sentence.end)
        else:
            ranges.append(sentence)
        before = row
    return ranges


@dataclass(frozen=True)
class ReadTags:
    """An encoder's tags of the tokens of a document's passages, in the text's order."""

    starts: np.ndarray  # (T,) the character at which each token begins
    odds: Floats  # (T, F, 2) log-odds of `begins` and `goes on` against `outside`

    @classmethod
    def of(
        cls, places: Sequence[TextRange], offsets: Sequence[np.ndarray], logits: Sequence[Floats], fields: int
    ) -> Self:
        """Create the tags from a tagger's outputs.

        Args:
            places: The passages.
            offsets: For each of them (T, 2), relative to its beginning.
            logits: For each of them (T, F * 3).
            fields: Number of fields.
        """
        starts = [np.zeros(0), *(span.start + offset[:, 0] for span, offset in zip(places, offsets, strict=True))]
        scores = np.concatenate([np.zeros((0, fields * TAGS)), *logits]).reshape(-1, fields, TAGS)
        odds = scores[:, :, 1:] - scores[:, :, :1]
        return cls(np.concatenate(starts).astype(np.int64), np.clip(odds, -_SUREST, _SUREST))

    def of_words(self, words: Sequence[TextRange], field: int) -> Floats:  # (W, 2)
        """Return the log-odds of each word's first token, for one field."""
        if not len(self.starts):
            return np.full((len(words), TAGS - 1), -_SUREST)
        return np.asarray(self.odds[first_tokens(self.starts, words), field])


def first_tokens(starts: np.ndarray, words: Sequence[TextRange]) -> np.ndarray:  # (T,) -> (W,)
    """Return for each word the number of the token that it begins in."""
    rows = np.searchsorted(starts, [word.start for word in words], side="right") - 1
    return np.asarray(np.maximum(rows, 0))


RANKED = 6
"""Sentences per field that are read: for 97 to 99% they contain those that state it (docs/history/log.md)."""
RANK_FEATURES = 26
"""Number of features for how likely a word's sentence stated the field before reading."""
_LEVELS = 6
_LOWEST, _STEP = -6.0, 2.0


class Region(NamedTuple):
    """Neighbouring sentences that are read together, by number, both included."""

    first: int
    last: int


class RegionWords(NamedTuple):
    """The words of a region with their features."""

    places: list[TextRange]
    sentence: np.ndarray  # (T,) number of each word's sentence
    opens: np.ndarray  # (T,) whether a word is its sentence's first
    features: np.ndarray  # (K,) numbers of features of all words, one after the other
    starts: np.ndarray  # (T + 1,) where each word's begin


class CandidateSpan(NamedTuple):
    """A span of the text that may be a field's value."""

    start: int
    end: int
    evidence: tuple[float, ...]
    """The evidence for its confidence; see `EVIDENCE`."""


EVIDENCE = ("exactly here", "begins here", "sentence", "lead", "length")


@dataclass(frozen=True, kw_only=True)
class Tagger:
    """Chain models of all fields over one vocabulary of features, and over an encoder's tags where there are any."""

    terms: Mapping[str, int]
    """Number of each feature."""
    weights: Floats  # (F, V, 3)
    rank_weights: Floats  # (F, RANK_FEATURES, 3)
    transitions: Floats  # (F, 3, 3)
    odds_weights: Floats | None = None  # (F, 2, 3), of the encoder's log-odds

    def candidates(self, reading: TaggedDocument, number: int, scores: Floats) -> list[CandidateSpan]:
        """Return spans that may be values of a field, likeliest first.

        Args:
            reading: The document.
            number: The number of the field.
            scores: (S,) log-odds of each sentence; -inf where it is not to be read.
        """
        spans: list[CandidateSpan] = []
        lead = lead_of(scores)
        for region in regions(scores):
            words = reading.words(region, self.terms)
            if not words.places:
                continue
            emissions = self._emissions(words, number, scores)
            if self.odds_weights is not None and reading.tags is not None:
                odds = reading.tags.of_words(words.places, number)
                emissions = emissions + odds @ self.odds_weights[number].astype(np.float64)
            for stretch in stretches(emissions, self.transitions[number].astype(np.float64)):
                sentence = float(scores[words.sentence[stretch.first]])
                span = TextRange(words.places[stretch.first].start, words.places[stretch.last].end)
                start, end = reading.document.whole(span)
                evidence = (
                    log_odds(stretch.probability),
                    log_odds(stretch.begins),
                    lowest(sentence),
                    lead,
                    float(np.log1p(stretch.last - stretch.first)),
                )
                spans.append(CandidateSpan(start, end, evidence))
        return sorted(spans, key=lambda candidate: (-candidate.evidence[0], candidate.start))

    def _emissions(self, words: RegionWords, number: int, scores: Floats) -> Floats:  # (T, 3)
        rows = self.weights[number][words.features].astype(np.float64)
        sums = np.add.reduceat(rows, words.starts[:-1], axis=0) if len(rows) else np.zeros((len(words.places), TAGS))
        empty = words.starts[1:] == words.starts[:-1]
        sums[empty] = 0.0  # `reduceat` gives the next word's first row for a word without features
        return np.asarray(sums + rank_features(words, scores) @ self.rank_weights[number].astype(np.float64))

    def store(self) -> tuple[dict[str, object], dict[str, Floats]]:
        """Return the JSON description and the arrays that restore it."""
        arrays = {"tag.weights": self.weights, "tag.rank": self.rank_weights, "tag.transitions": self.transitions}
        if self.odds_weights is not None:
            arrays["tag.odds"] = self.odds_weights
        return {"terms": sorted(self.terms, key=self.terms.__getitem__)}, arrays

    @classmethod
    def restore(cls, description: Mapping[str, Any], arrays: Mapping[str, Floats], fields: int) -> Tagger:
        """Restore the result of `store`. Raises `ValueError` if the parts do not fit each other."""
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
class TaggedDocument:
    """A document while it is read: results that several fields need are computed once."""

    document: TokenizedText
    tags: ReadTags | None = None
    """An encoder's tags of the regions' words, where there are any."""
    _words: dict[Region, RegionWords] = field(default_factory=dict)

    def words(self, region: Region, terms: Mapping[str, int]) -> RegionWords:
        """Return the words of a region, with their known features."""
        if region not in self._words:
            self._words[region] = _words(self.document, region, terms)
        return self._words[region]


def _words(document: TokenizedText, region: Region, terms: Mapping[str, int]) -> RegionWords:
    sentences = document.sentences[region.first : region.last + 1]
    places, features = word_features(document, sentences)
    known_terms = [[terms[name] for name in feature if name in terms] for feature in features]
    begins = np.array([sentence.start for sentence in sentences])
    sentence = np.searchsorted(begins, [span.start for span in places], side="right") - 1 + region.first
    return RegionWords(
        places=places,
        sentence=sentence,
        opens=np.diff(sentence, prepend=region.first - 1) > 0,
        features=np.array([number for numbers in known_terms for number in numbers], dtype=np.int64),
        starts=np.concatenate([[0], np.cumsum([len(numbers) for numbers in known_terms])]).astype(np.int64),
    )


def regions(scores: Floats) -> list[Region]:  # (S,)
    """Return the likeliest sentences, joined where they are neighbours, in the text's order."""
    ranked = [row for row in best_rows(scores, RANKED) if np.isfinite(scores[row])]
    regions_: list[Region] = []
    for row in sorted(ranked):
        if regions_ and row == regions_[-1].last + 1:
            regions_[-1] = Region(regions_[-1].first, row)
        else:
            regions_.append(Region(row, row))
    return regions_


def rows_to_read(scores: Floats) -> list[int]:
    """Return numbers of the sentences to read for any field, from scores (S, F), in the text's order."""
    return sorted({row for column in scores.T for row in best_rows(column, RANKED) if np.isfinite(column[row])})


def rank_features(words: RegionWords, scores: Floats) -> Floats:  # (T, RANK_FEATURES)
    """Return for each word ones and zeros: its sentence's rank and log-odds, twice for a first word."""
    order = {row: rank for rank, row in enumerate(best_rows(scores, RANKED))}
    ranks = np.zeros((len(words.places), RANK_FEATURES))
    for row in np.unique(words.sentence):
        at = words.sentence == row
        rank = order.get(int(row), RANKED)
        level = int(np.clip((scores[row] - _LOWEST) / _STEP, 0, _LEVELS - 1)) if np.isfinite(scores[row]) else 0
        ranks[at, rank] = 1
        ranks[at, RANKED + 1 + level] = 1
        opens = at & words.opens
        ranks[opens, RANKED + 1 + _LEVELS + rank] = 1
        ranks[opens, 2 * (RANKED + 1) + _LEVELS + level] = 1
    return ranks


def lead_of(scores: Floats) -> float:  # (S,)
    """Return how far the likeliest sentence is ahead of the next."""
    best = np.sort(scores[np.isfinite(scores)])[::-1][:2]
    return float(min(best[0] - best[1], -_LOWEST)) if len(best) == 2 else -_LOWEST


def lowest(score: float) -> float:
    """Return a sentence's log-odds as evidence, clipped from below."""
    return max(float(score), _LOWEST)


def log_odds(probability: float) -> float:
    """Return the log-odds of a probability, within 12 each way."""
    return float(np.clip(np.log(max(probability, 1e-12)) - np.log(max(1 - probability, 1e-12)), -12, 12))

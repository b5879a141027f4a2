"""Fits text heads: n-grams and encodings, combined on rows that neither model saw.

Two models are trained: a linear support vector machine on TF-IDF of word and character n-grams, and a kernel ridge
regression on the frozen encoder's vectors (`_kernel`). Out-of-fold logits of both give the shares of a log-linear
pool; the folds' models are then replaced by one model of all rows. `lexical` is the first model alone, `embedding` the
pool of both: the n-grams capture what the encoder misses (amounts, rare words, exact wording).

One fit runs after the other: liblinear draws from one stream of random numbers for the whole process, so two at a time
would give other weights every time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coterie.config.specialists import SpecialistSection
from coterie.engines.linear import NgramBlock, NgramFeatures, TextHead, fit_ngrams, known_words, whole_share, words_in
from coterie.engines.onnx import OnnxEncoder
from coterie.learning.calibration import fit_pool
from coterie.learning.fitting import (
    Apart,
    KernelFit,
    TextExamples,
    expected_gain,
    fit_kernel,
    fit_neighbours,
    hold_out_copies,
    made_of_patterns,
    nearest_out_of_fold,
)
from coterie.learning.job import Job, Progress, Silent
from coterie.learning.measure import Encoded
from coterie.learning.scope import Neighbours
from coterie.routing.profile import hint_texts
from coterie.types import Rung

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.svm import LinearSVC


# Chosen by cross-validation on the training rows of BANKING77, CLINC150 and HEADLINES; see docs/history/log.md.
_WORDS = {"unit": "word", "shortest": 1, "longest": 2, "at_most": 20_000}
_CHARACTERS = {"unit": "char", "shortest": 2, "longest": 5, "at_most": 30_000}
_UNUSUAL = 0.1
"""Share of held-out texts that have fewer known words than is usual."""
_SVM_C = 0.3
_SVM_TOLERANCE = 1e-2  # tighter changes nothing but the time
_UNLIKELY = -1.0  # logit of a label that the rows do not have: unlikely, not impossible


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A fitted linear model: logits = features @ weights + bias."""

    weights: np.ndarray  # (F, L) float32
    bias: np.ndarray  # (L,) float32

    def logits(self, features: np.ndarray | csr_matrix) -> np.ndarray:  # (N, F) -> (N, L)
        """Return the logits of each row."""
        return np.asarray(features @ self.weights + self.bias)


@dataclass(frozen=True, kw_only=True)
class TextFit:
    """The result of fitting a rung, before it is calibrated and measured."""

    rung: Rung
    head: TextHead
    logits: np.ndarray  # (R, L), out of fold
    shares: np.ndarray  # (models,) of the pool
    seconds: float
    rows: np.ndarray  # (R,) the rows that have logits
    compared: Neighbours | None = None
    """The training texts, where there are encodings."""
    nearest: np.ndarray | None = None  # (R,)
    """Similarity of each row to the training texts without the row itself."""
    apart: Apart | None = None
    """Predictions for each row without its near copies, where the rows are made from a few patterns.

    For a fine-tuned encoder these are the only predictions: it is not trained again with the copies.
    """
    gain: float = 0.0
    """Expected gain in accuracy of the model of all rows over the models that gave these logits."""
    encoder: OnnxEncoder | None = None
    """The rung's own encoder."""
    tuned_on: int | None = None
    """Tokens of a text that its fine-tuning read."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files of the rung's own encoder."""
    notes: Mapping[str, object] = field(default_factory=dict)
    """Notes on this rung for the report."""


def fit_text(job: Job[SpecialistSection], examples: TextExamples, encoded: Encoded) -> list[TextFit]:
    """Return a fit for each rung that is measured, cheapest first; the others build on `lexical`."""
    start = time.perf_counter()
    everything, cut = np.arange(len(examples.texts)), examples.cut()
    job.progress.start(f"{job.name}: lexical", len(np.unique(cut.folds)) + 1)
    features = ngram_features(examples.texts)
    matrix = ngram_matrix(features, examples.texts)
    held = lexical_out_of_fold(features, matrix, cut, job.progress)
    # Beside models of less, those of less.
    whole = held if cut is examples else lexical_out_of_fold(features, matrix, examples, Silent())
    linear = fit_lexical(matrix, examples, everything)
    usual = usual_share(known_out_of_fold(features, examples)) if exclusive(examples) else None
    job.progress.advance(1)
    job.progress.finish("")
    apart = _without_copies(job, examples, encoded.vectors, features, matrix, held=whole)
    lexical = TextFit(
        rung="lexical",
        head=build_head(linear, None, np.ones(1), features, usual=usual),
        logits=held,
        shares=np.ones(1),
        seconds=time.perf_counter() - start,
        rows=everything,
        apart=apart and Apart(apart.logits, None),
    )
    fits = [lexical]
    if "embedding" in job.measured_rungs:
        fits.append(_fit_embedding(job, cut, encoded, lexical, Lexical(linear, features, usual), apart=apart))
    if "encoder" in job.measured_rungs:
        held_back = _HeldBack(examples, whole) if apart is None else apart
        tuned = _fit_encoder(job, held_back, lexical, Lexical(linear, features, usual))
        fits.append(replace(tuned, gain=0.0 if apart else _expected_gain(job, examples, encoded.vectors)))
    return fits


def _expected_gain(job: Job[SpecialistSection], examples: TextExamples, vectors: np.ndarray) -> float:
    words = label_words(job, examples)
    return expected_gain(job, examples, vectors, job.encoder.encode(words) if words else None)


class _HeldBack(NamedTuple):
    """How rows are held back, whole folds at once."""

    examples: TextExamples
    """The examples, with near copies in one fold where a few patterns made them."""
    logits: np.ndarray  # (N, L)
    """Logits of the n-grams for each row in that split."""


def _without_copies(
    job: Job[SpecialistSection],
    examples: TextExamples,
    vectors: np.ndarray,
    features: Sequence[NgramFeatures],
    matrix: csr_matrix,
    *,
    held: np.ndarray,
) -> _HeldBack | None:
    """Return the rows without their near copies, if a few patterns made them.

    Records are compared by their fields.
    """
    if not examples.named or job.train.of_records:
        return None
    apart = hold_out_copies(examples, vectors, job.group_numbers(np.arange(len(vectors))))
    if apart is None:
        return None
    logits = lexical_out_of_fold(features, matrix, apart, Silent())
    return _HeldBack(apart, logits) if made_of_patterns(held, logits) else None


class Lexical(NamedTuple):
    """The model of n-grams, of all rows."""

    linear: Linear
    features: Sequence[NgramFeatures]
    usual: float | None
    """The usual share of known words, as in `build_head`."""


def _fit_embedding(
    job: Job[SpecialistSection],
    examples: TextExamples,
    encoded: Encoded,
    lexical: TextFit,
    parts: Lexical,
    *,
    apart: _HeldBack | None,
) -> TextFit:
    start = time.perf_counter()
    job.progress.start(f"{job.name}: embedding", len(np.unique(examples.folds)))
    words = label_words(job, examples)
    names = job.encoder.encode(words) if words else None
    kernel = fit_kernel(encoded.vectors, examples, job.progress.advance, names=names)
    job.progress.finish("")
    shares, logits = _pool([lexical.logits, kernel.out_of_fold], examples)
    compared = fit_neighbours(encoded.vectors, examples)
    return TextFit(
        rung="embedding",
        head=build_head(parts.linear, kernel, shares, parts.features, usual=parts.usual),
        logits=logits,
        shares=shares,
        seconds=time.perf_counter() - start + lexical.seconds + encoded.seconds,
        rows=lexical.rows,
        compared=compared,
        nearest=nearest_out_of_fold(compared, encoded.vectors, examples),
        apart=_embedding_apart(encoded.vectors, apart, shares, compared) if apart else None,
    )


def _embedding_apart(vectors: np.ndarray, apart: _HeldBack, shares: np.ndarray, compared: Neighbours) -> Apart:
    """Return the pool's predictions for each row without its near copies."""
    logits = shares[0] * apart.logits + shares[1] * fit_kernel(vectors, apart.examples).out_of_fold
    return Apart(logits, nearest_out_of_fold(compared, vectors, apart.examples))


def _fit_encoder(job: Job[SpecialistSection], held_back: _HeldBack, lexical: TextFit, parts: Lexical) -> TextFit:
    # Imported here: it needs torch, which nothing else does.
    from coterie.tasks.classify.fit_tuned import fit_tuned  # noqa: PLC0415

    start = time.perf_counter()
    examples = held_back.examples
    assert job.base is not None, "found before anything is trained"  # noqa: S101
    tuned = fit_tuned(job, job.base, examples, label_words(job, examples))
    members = [held_back.logits[tuned.rows], tuned.kernel_logits, tuned.head_logits]
    shares, logits = (_pool_few if examples.few else _pool)(members, examples.take(tuned.rows))
    head = build_head(parts.linear, tuned.kernel, shares, parts.features, usual=parts.usual)
    projection = (tuned.head.weights * np.float32(shares[2])).astype(np.float16)
    return TextFit(
        rung="encoder",
        head=replace(head, projection=projection, bias=head.bias + tuned.head.bias * np.float32(shares[2])),
        logits=logits,
        shares=shares,
        seconds=time.perf_counter() - start + lexical.seconds,
        rows=tuned.rows,
        compared=tuned.compared,
        nearest=tuned.nearest,
        apart=Apart(logits, tuned.nearest) if lexical.apart else None,
        encoder=tuned.encoder,
        tuned_on=tuned.longest,
        files=tuned.files,
        notes={"base": {"name": job.base.name, "sha256": job.base.sha256}, "int8": tuned.int8},
    )


def label_words(job: Job[SpecialistSection], examples: TextExamples) -> list[str]:
    """Return the labels' names as texts, where they may help: none if a label has enough examples, or no words."""
    if not (examples.named and examples.few):
        return []
    words = hint_texts("", job.train.label_names)
    return words if len(words) == examples.labels else []


def _pool(logits: list[np.ndarray], examples: TextExamples) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of the models in a log-linear pool, and the pool's logits."""
    shares = fit_pool(logits, examples.targets(np.mean(logits, axis=0)))
    return shares, np.tensordot(shares, np.stack(logits), axes=1)


def _pool_few(logits: list[np.ndarray], examples: TextExamples) -> tuple[np.ndarray, np.ndarray]:
    """Return the same with equal shares for all models after the first: few rows cannot tell them apart.

    A pool fitted to those took one of the two on BANKING77 with 10 rows a label, .850; their average has .861.
    """
    first, *others = logits
    even = np.array([1.0 / other.std(axis=1).mean() for other in others]) / len(others)
    shares, pooled = _pool([first, np.tensordot(even, np.stack(others), axes=1)], examples)
    return np.array([shares[0], *(shares[1] * even)]), pooled


def ngram_features(texts: Sequence[str]) -> tuple[NgramFeatures, ...]:
    """Return word and character n-grams of the texts; n-grams that occur once are kept only if there is little text."""
    at_least = 2 if len(texts) >= 500 else 1
    return tuple(fit_ngrams(texts, at_least=at_least, **kind) for kind in (_WORDS, _CHARACTERS))  # type: ignore[arg-type]


def ngram_matrix(features: Sequence[NgramFeatures], texts: Sequence[str]) -> csr_matrix:  # (N, sum of F)
    """Return the features of each text, one family beside the other."""
    # Double precision is what liblinear takes; anything else is copied for every fit.
    from scipy.sparse import hstack  # noqa: PLC0415 - training alone needs it

    return hstack([_one_matrix(family, texts) for family in features]).tocsr().astype(np.float64)


def _one_matrix(features: NgramFeatures, texts: Sequence[str]) -> csr_matrix:  # (N, F)
    from scipy.sparse import csr_matrix  # noqa: PLC0415 - training alone needs it

    rows = [features.encode(text) for text in texts]
    starts = np.concatenate([[0], np.cumsum([len(row.indices) for row in rows])])
    indices = np.concatenate([row.indices for row in rows])
    values = np.concatenate([row.values for row in rows])
    return csr_matrix((values, indices, starts), shape=(len(rows), len(features.terms)))


def fit_lexical(features: csr_matrix, examples: TextExamples, rows: np.ndarray) -> Linear:  # (N, F), ..., (M,) of N
    """Fit a linear SVM, one against the rest (Joachims 1998), on the given rows."""
    from sklearn.svm import LinearSVC  # noqa: PLC0415 - training alone needs it

    return _linear(LinearSVC(C=_SVM_C, tol=_SVM_TOLERANCE, random_state=examples.seed), features, examples, rows)


def _linear(model: LinearSVC, features: csr_matrix, examples: TextExamples, rows: np.ndarray) -> Linear:
    """Fit, and convert scikit-learn's coefficients to one shape, with a column for every label."""
    hot = examples.hot[rows]
    if examples.several or not examples.one_each:
        return _independent(model, features[rows], hot)
    present = np.flatnonzero(hot.any(axis=0))
    weights = np.zeros((features.shape[1], examples.labels), dtype=np.float32)
    bias = np.full(examples.labels, _UNLIKELY, dtype=np.float32)
    if len(present) < 2 or not features.shape[1]:
        bias[present] = -_UNLIKELY if len(present) == 1 else 0.0
        return Linear(weights=weights, bias=bias)
    model.fit(features[rows], hot.argmax(axis=1))
    coefficients, intercept = model.coef_, model.intercept_
    if len(present) == 2:  # scikit-learn gives the second class only
        coefficients, intercept = np.vstack([-coefficients, coefficients]), np.concatenate([-intercept, intercept])
    weights[:, present], bias[present] = coefficients.T, intercept
    return Linear(weights=weights, bias=bias)


def _independent(model: LinearSVC, features: csr_matrix, hot: np.ndarray) -> Linear:
    """Fit one yes-or-no model per label; a label without a row of each kind gets a constant."""
    weights = np.zeros((features.shape[1], hot.shape[1]), dtype=np.float32)
    bias = np.where(hot.mean(axis=0) > 0.5, -_UNLIKELY, _UNLIKELY).astype(np.float32)
    learnable = np.flatnonzero((hot.min(axis=0) == 0) & (hot.max(axis=0) == 1))
    for label in learnable if features.shape[1] else ():
        model.fit(features, hot[:, label])
        weights[:, label], bias[label] = model.coef_[0], model.intercept_[0]
    return Linear(weights=weights, bias=bias)


def lexical_out_of_fold(
    features: Sequence[NgramFeatures], matrix: csr_matrix, examples: TextExamples, progress: Progress
) -> np.ndarray:
    """Return logits (N, L) of every row from a model that did not see the row's fold, nor its words."""
    logits = np.zeros((len(examples.texts), examples.labels), dtype=np.float32)
    shares = None
    if exclusive(examples):
        of_each = known_out_of_fold(features, examples)
        usual = usual_share(of_each)
        shares = np.array([[whole_share(share, usual)] for share in of_each.tolist()], dtype=np.float32)
    for fold in np.unique(examples.folds):
        held = examples.folds == fold
        model = fit_lexical(matrix, examples, np.flatnonzero(~held))
        logits[held] = model.logits(matrix[held])
        if shares is not None:
            logits[held] = shares[held] * logits[held] + (1 - shares[held]) * model.bias.mean()
        progress.advance(1)
    return logits


def exclusive(examples: TextExamples) -> bool:
    """Return whether a text has one label, so that only differences of logits count."""
    return examples.one_each and not examples.several


def known_out_of_fold(features: Sequence[NgramFeatures], examples: TextExamples) -> np.ndarray:  # (N,)
    """Return for each text the share of its words that another fold has, as `TextHead` counts them in new texts."""
    words = [words_in(text) for text in examples.texts]
    seen: dict[str, set[int]] = {}
    for fold, own in zip(examples.folds.tolist(), words, strict=True):
        for word in own.spaced + own.pairs:
            seen.setdefault(word, set()).add(fold)
    elsewhere = {word for word, folds in seen.items() if len(folds) > 1}
    spaced, pairs = (terms & elsewhere for terms in known_words(features))
    return np.array([own.share(spaced, pairs) for own in words])


def usual_share(shares: np.ndarray) -> float:  # (N,)
    """Return the share of known words that nine in ten held-out texts have; n-grams of such a text count whole.

    A model of few rows knows fewer words of any text: what a low share says depends on the model.
    """
    return float(np.quantile(shares, _UNUSUAL)) if len(shares) else 1.0


def build_head(
    lexical: Linear,
    kernel: KernelFit | None,
    shares: np.ndarray,
    features: Sequence[NgramFeatures],
    *,
    usual: float | None,
) -> TextHead:
    """Build one head from the models, each weighted by its share in the pool.

    The n-grams of a text with fewer known words than the `usual` share count less; None where labels are independent.

    Weights are stored in half precision: its 11 bits are enough given the noise of a fit, and halve the file.
    """
    weights = lexical.weights * np.float32(shares[0])
    ends = np.cumsum([len(family.terms) for family in features])
    blocks = tuple(
        NgramBlock(features=family, weights=piece.astype(np.float16))
        for family, piece in zip(features, np.split(weights, ends[:-1]), strict=True)
    )
    bias, lexical_bias = lexical.bias * np.float32(shares[0]), None
    if usual is not None:
        bias, lexical_bias = np.zeros_like(bias), bias
    ngrams = TextHead(
        blocks=blocks, kernel=None, bias=bias, lexical_bias=lexical_bias, usual_share=1.0 if usual is None else usual
    )
    if kernel is None:
        return ngrams
    scaled = (kernel.block.weights * np.float32(shares[1])).astype(np.float16)
    bias = bias + np.float32(kernel.bias * shares[1])
    return replace(ngrams, kernel=replace(kernel.block, weights=scaled), bias=bias)

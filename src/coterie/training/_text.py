"""Fitting text heads: n-grams and encodings, combined on rows that neither saw.

Two models are trained: a linear support vector machine on TF-IDF of word and character n-grams, and a kernel ridge
regression on the frozen encoder's vectors (`_kernel`). Out-of-fold logits of both give the shares of a log-linear
pool; the folds' models are then replaced by one model of all rows. `lexical` is the first alone, `embedding` the pool
of both: what the encoder misses (amounts, rare words, exact wording) the n-grams see.

One fit after the other: liblinear draws from one stream of random numbers for the whole process, so two at a time
would give other weights every time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.svm import LinearSVC

from coterie.calibration import fit_pool
from coterie.engines import NgramBlock, NgramFeatures, TextHead, fit_ngrams
from coterie.types import Rung

from ._examples import TextExamples
from ._job import Job
from ._kernel import KernelFit, fit_kernel
from ._measure import Encoded
from ._progress import Progress

# Chosen by cross-validation on the training rows of BANKING77, CLINC150 and HEADLINES; see docs/log.md.
_WORDS = {"unit": "word", "shortest": 1, "longest": 2, "at_most": 20_000}
_CHARACTERS = {"unit": "char", "shortest": 2, "longest": 5, "at_most": 30_000}
_SVM_C = 0.3
_SVM_TOLERANCE = 1e-2  # tighter changes nothing but the time
_UNLIKELY = -1.0  # logit of a label that the rows do not have: unlikely, not impossible


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A fitted linear model: logits = features @ weights + bias."""

    weights: np.ndarray  # (F, L) float32
    bias: np.ndarray  # (L,) float32

    def logits(self, features: np.ndarray | csr_matrix) -> np.ndarray:  # (N, F) -> (N, L)
        """Logits of each row."""
        return np.asarray(features @ self.weights + self.bias)


@dataclass(frozen=True, kw_only=True)
class TextFit:
    """What fitting a rung gave, before it is calibrated and measured."""

    rung: Rung
    head: TextHead
    logits: np.ndarray  # (N, L), out of fold
    shares: np.ndarray  # (models,) of the pool
    seconds: float


def fit_text(job: Job, examples: TextExamples, encoded: Encoded) -> list[TextFit]:
    """A fit for each rung that is measured, cheapest first; `embedding` builds on `lexical`."""
    start = time.perf_counter()
    job.progress.start(f"{job.name}: lexical", len(np.unique(examples.folds)) + 1)
    features = ngram_features(examples.texts)
    matrix = ngram_matrix(features, examples.texts)
    held = lexical_out_of_fold(matrix, examples, job.progress)
    lexical = fit_lexical(matrix, examples, np.arange(len(examples.texts)))
    job.progress.advance(1)
    job.progress.finish("")
    head = build_head(lexical, None, np.ones(1), features)
    seconds = time.perf_counter() - start
    fits = [TextFit(rung="lexical", head=head, logits=held, shares=np.ones(1), seconds=seconds)]
    if "embedding" in job.measured_rungs:
        kernel = _fit_kernel(job, examples, encoded.vectors)
        logits = [held, kernel.out_of_fold]
        shares = fit_pool(logits, examples.targets(np.mean(logits, axis=0)))
        fits.append(
            TextFit(
                rung="embedding",
                head=build_head(lexical, kernel, shares, features),
                logits=np.tensordot(shares, np.stack(logits), axes=1),
                shares=shares,
                seconds=time.perf_counter() - start + encoded.seconds,
            )
        )
    return fits


def _fit_kernel(job: Job, examples: TextExamples, vectors: np.ndarray) -> KernelFit:
    job.progress.start(f"{job.name}: embedding", len(np.unique(examples.folds)))
    fitted = fit_kernel(vectors, examples, job.progress)
    job.progress.finish("")
    return fitted


def ngram_features(texts: Sequence[str]) -> tuple[NgramFeatures, ...]:
    """Word and character n-grams of the texts; those that occur once are kept only when there is little text."""
    at_least = 2 if len(texts) >= 500 else 1
    return tuple(fit_ngrams(texts, at_least=at_least, **kind) for kind in (_WORDS, _CHARACTERS))  # type: ignore[arg-type]


def ngram_matrix(features: Sequence[NgramFeatures], texts: Sequence[str]) -> csr_matrix:  # (N, sum of F)
    """The features of each text, one family beside the other."""
    # Double precision is what liblinear takes; anything else is copied for every fit.
    return hstack([_one_matrix(family, texts) for family in features]).tocsr().astype(np.float64)


def _one_matrix(features: NgramFeatures, texts: Sequence[str]) -> csr_matrix:  # (N, F)
    rows = [features.encode(text) for text in texts]
    starts = np.concatenate([[0], np.cumsum([len(row.indices) for row in rows])])
    indices = np.concatenate([row.indices for row in rows])
    values = np.concatenate([row.values for row in rows])
    return csr_matrix((values, indices, starts), shape=(len(rows), len(features.terms)))


def fit_lexical(features: csr_matrix, examples: TextExamples, rows: np.ndarray) -> Linear:
    """A linear SVM, one against the rest (Joachims 1998), on the given rows."""
    return _linear(LinearSVC(C=_SVM_C, tol=_SVM_TOLERANCE, random_state=examples.seed), features, examples, rows)


def _linear(model: LinearSVC, features: csr_matrix, examples: TextExamples, rows: np.ndarray) -> Linear:
    """Fit and bring scikit-learn's coefficients into one shape, with a column for every label."""
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
    """One yes-or-no model a label; a label without a row of each kind gets a constant."""
    weights = np.zeros((features.shape[1], hot.shape[1]), dtype=np.float32)
    bias = np.where(hot.mean(axis=0) > 0.5, -_UNLIKELY, _UNLIKELY).astype(np.float32)
    learnable = np.flatnonzero((hot.min(axis=0) == 0) & (hot.max(axis=0) == 1))
    for label in learnable if features.shape[1] else ():
        model.fit(features, hot[:, label])
        weights[:, label], bias[label] = model.coef_[0], model.intercept_[0]
    return Linear(weights=weights, bias=bias)


def lexical_out_of_fold(features: csr_matrix, examples: TextExamples, progress: Progress) -> np.ndarray:
    """Logits (N, L) of every row from a model that did not see the row's fold."""
    logits = np.zeros((len(examples.texts), examples.labels), dtype=np.float32)
    for fold in np.unique(examples.folds):
        held = examples.folds == fold
        logits[held] = fit_lexical(features, examples, np.flatnonzero(~held)).logits(features[held])
        progress.advance(1)
    return logits


def build_head(
    lexical: Linear, kernel: KernelFit | None, shares: np.ndarray, features: Sequence[NgramFeatures]
) -> TextHead:
    """One head from the models, each weighted by its share in the pool.

    Weights are stored in half precision: its 11 bits are plenty beside the noise of a fit, and halve the file.
    """
    weights = lexical.weights * np.float32(shares[0])
    ends = np.cumsum([len(family.terms) for family in features])
    blocks = tuple(
        NgramBlock(features=family, weights=piece.astype(np.float16))
        for family, piece in zip(features, np.split(weights, ends[:-1]), strict=True)
    )
    bias = lexical.bias * np.float32(shares[0])
    if kernel is None:
        return TextHead(blocks=blocks, kernel=None, bias=bias)
    scaled = (kernel.block.weights * np.float32(shares[1])).astype(np.float16)
    bias = bias + np.float32(kernel.bias * shares[1])
    return TextHead(blocks=blocks, kernel=replace(kernel.block, weights=scaled), bias=bias)

"""Kernel ridge regression on encodings, with landmarks instead of all rows.

A Gaussian kernel over unit vectors, restricted to the span of M training rows (Nystroem; Williams & Seeger 2001)
and fitted by least squares to one-hot targets (kernel ridge; Saunders et al. 1998). It beat logistic regression on
the same vectors by a point on BANKING77 and trains in seconds; out-of-fold predictions cost one Cholesky a fold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from coterie.engines import KernelBlock

from ._examples import ALWAYS_SEEN, TextExamples, in_turn

MOST_LANDMARKS = 1_500
GAMMA = 0.5
RIDGES = (0.03, 0.1, 0.3)  # the one with the best out-of-fold accuracy is taken
_JITTER = 1e-3


class KernelFit(NamedTuple):
    """A fitted block and what it said of rows it had not seen."""

    block: KernelBlock
    bias: float
    out_of_fold: np.ndarray  # (N, L), bias included
    ridge: float

    def logits(self, vectors: np.ndarray) -> np.ndarray:  # (N, D) -> (N, L)
        """What it says of other texts, bias included."""
        return self.block.logits(vectors) + self.bias


def fit_kernel(
    vectors: np.ndarray,
    examples: TextExamples,
    progress: Callable[[int], None] = lambda _: None,
    *,
    names: np.ndarray | None = None,
    landmarks: np.ndarray | None = None,
) -> KernelFit:
    """Fit on all rows, with out-of-fold logits for calibration; the ridge is chosen by those.

    Args:
        vectors: (N, D) unit vectors.
        examples: Targets and folds.
        progress: Told of each fold.
        names: (L, D) encodings of the labels' names, as one more example of each label. They are kept if the
            rows are named better with them, out of fold.
        landmarks: (M,) rows to take; by default rows of every label.
    """
    plain = _fit(vectors, examples, progress, landmarks)
    if names is None:
        return plain
    named = _fit(np.vstack([vectors, names]), examples.extended(np.eye(examples.labels)), lambda _: None)
    return max(plain, named, key=lambda fit: _right(fit.out_of_fold, examples))


def _fit(
    vectors: np.ndarray,
    examples: TextExamples,
    progress: Callable[[int], None],
    landmarks: np.ndarray | None = None,
) -> KernelFit:
    stored = vectors[in_turn(examples, MOST_LANDMARKS) if landmarks is None else landmarks].astype(np.float16)
    seen = stored.astype(np.float64)  # (M, D), as the head will see them
    factor = np.linalg.cholesky(_kernel(seen, seen) + _JITTER * np.eye(len(seen)))
    features = solve_triangular(factor, _kernel(vectors, seen).T, lower=True).T  # (N, M)
    targets, bias = _coded(examples)
    gram, moment = features.T @ features, features.T @ targets
    held = _out_of_fold(_Sums(features, targets, gram, moment), examples.folds, progress)
    rows = examples.folds != ALWAYS_SEEN
    known = examples.take(np.flatnonzero(rows))
    ridge = max(RIDGES, key=lambda ridge: _right(held[ridge][rows] + bias, known))
    solved = _solve(gram, moment, ridge)
    weights = solve_triangular(factor.T, solved, lower=False)  # (M, L)
    block = KernelBlock(landmarks=stored, weights=weights.astype(np.float32), gamma=GAMMA)
    return KernelFit(block=block, bias=bias, out_of_fold=held[ridge][rows] + bias, ridge=ridge)


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:  # (N, D), (M, D) -> (N, M)
    """exp(-gamma |a - b|^2) of unit vectors."""
    return np.asarray(np.exp(2.0 * GAMMA * (a @ b.T - 1.0)))


def _coded(examples: TextExamples) -> tuple[np.ndarray, float]:  # (N, L), and what is added to predictions
    """Targets such that far from every landmark, where the kernel gives 0, no label is likely."""
    if examples.several:
        return 2.0 * examples.hot, -1.0
    labels = examples.hot.sum(axis=1, keepdims=True)
    return examples.hot - (1.0 - examples.hot) * labels / np.maximum(examples.labels - labels, 1.0), 0.0


class _Sums(NamedTuple):
    """A least-squares problem and its sums over all rows."""

    features: np.ndarray  # (N, M)
    targets: np.ndarray  # (N, L)
    gram: np.ndarray  # (M, M)
    moment: np.ndarray  # (M, L)


def _out_of_fold(sums: _Sums, folds: np.ndarray, progress: Callable[[int], None]) -> dict[float, np.ndarray]:
    """Logits (N, L) for each ridge; a fold is taken out of the sums instead of summing the rest anew."""
    held = {ridge: np.zeros(sums.targets.shape) for ridge in RIDGES}
    for fold in np.unique(folds[folds != ALWAYS_SEEN]):
        rows = folds == fold
        own = sums.features[rows]
        rest, rest_moment = sums.gram - own.T @ own, sums.moment - own.T @ sums.targets[rows]
        for ridge in RIDGES:
            held[ridge][rows] = own @ _solve(rest, rest_moment, ridge)
        progress(1)
    return held


def _solve(gram: np.ndarray, moment: np.ndarray, ridge: float) -> np.ndarray:
    return np.asarray(cho_solve(cho_factor(gram + ridge * np.eye(len(gram)), lower=True), moment))


def _right(logits: np.ndarray, examples: TextExamples) -> float:
    """Share of right answers."""
    if examples.several:
        return float(((logits > 0) == examples.hot).mean())
    return float(examples.hot[np.arange(len(logits)), logits.argmax(axis=1)].mean())

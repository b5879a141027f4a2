"""Fitting the in-scope score of an `embedding` classifier, without a single example that is out of scope."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from coterie.specialists import Scope

from ._examples import TextExamples

_LEAST_SPREAD = 1e-6


class ScopeFit(NamedTuple):
    """A fitted scope, and what it said of the training rows as if each were new."""

    scope: Scope
    scores: np.ndarray  # (N,)


def fit_scope(vectors: np.ndarray, logits: np.ndarray, examples: TextExamples) -> ScopeFit:
    """Centroids of the labels, and what is usual for rows that are not part of what they are compared with.

    Args:
        vectors: (N, D) unit vectors.
        logits: (N, L) out of fold, divided by the temperature.
        examples: Labels of the rows.
    """
    sums = examples.hot.T @ vectors  # (L, D)
    lengths = np.maximum(np.linalg.norm(sums, axis=1), np.finfo(np.float32).tiny)
    centroids = (sums / lengths[:, None]).astype(np.float16).astype(np.float32)  # as they are stored
    signs = np.column_stack([logits.max(axis=1), _nearest(vectors, sums, lengths, examples.hot)])  # (N, 2)
    usual = np.column_stack([signs.mean(axis=0), np.maximum(signs.std(axis=0), _LEAST_SPREAD)])
    scope = Scope(centroids=centroids, usual=usual)
    return ScopeFit(scope, scope.standardised(signs))


def _nearest(vectors: np.ndarray, sums: np.ndarray, lengths: np.ndarray, hot: np.ndarray) -> np.ndarray:  # (N,)
    """Each row's largest cosine to a label's centroid, itself left out of its own labels'."""
    dots = vectors @ sums.T  # (N, L)
    rest = np.maximum(lengths**2 - 2.0 * dots + 1.0, 0.0)  # |sum - x|^2 of unit vectors x
    without = np.where(rest > _LEAST_SPREAD, (dots - 1.0) / np.sqrt(np.maximum(rest, _LEAST_SPREAD)), -1.0)
    return np.asarray(np.where(hot > 0, without, dots / lengths).max(axis=1))

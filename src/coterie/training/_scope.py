"""Fitting the in-scope score of a classifier that has encodings, without a single example that is out of scope."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from coterie.specialists import Scope

_LEAST_SPREAD = 1e-6


class ScopeFit(NamedTuple):
    """A fitted scope, and what it said of the training rows as if each were new."""

    scope: Scope
    scores: np.ndarray  # (N,)


def fit_scope(centres: np.ndarray, nearest: np.ndarray, logits: np.ndarray) -> ScopeFit:
    """What is usual for rows that are not part of what they are compared with.

    Args:
        centres: (L, D) the labels' centroids.
        nearest: (N,) each row's largest cosine to a centroid that it is no part of.
        logits: (N, L) out of fold, divided by the temperature.
    """
    signs = np.column_stack([logits.max(axis=1), nearest])  # (N, 2)
    usual = np.column_stack([signs.mean(axis=0), np.maximum(signs.std(axis=0), _LEAST_SPREAD)])
    scope = Scope(centroids=centres.astype(np.float16).astype(np.float32), usual=usual)  # as they are stored
    return ScopeFit(scope, scope.standardised(signs))


def centroids(vectors: np.ndarray, hot: np.ndarray) -> np.ndarray:  # (N, D), (N, L) -> (L, D)
    """The mean of each label's vectors, of unit length."""
    sums, lengths = _sums(vectors, hot)
    return np.asarray(sums / lengths[:, None])


def nearest_other(vectors: np.ndarray, hot: np.ndarray) -> np.ndarray:  # (N, D), (N, L) -> (N,)
    """Each row's largest cosine to a label's centroid, itself left out of its own labels'."""
    sums, lengths = _sums(vectors, hot)
    dots = vectors @ sums.T  # (N, L)
    rest = np.maximum(lengths**2 - 2.0 * dots + 1.0, 0.0)  # |sum - x|^2 of unit vectors x
    without = np.where(rest > _LEAST_SPREAD, (dots - 1.0) / np.sqrt(np.maximum(rest, _LEAST_SPREAD)), -1.0)
    return np.asarray(np.where(hot > 0, without, dots / lengths).max(axis=1))


def _sums(vectors: np.ndarray, hot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # (L, D), (L,)
    sums = hot.T @ vectors
    return sums, np.maximum(np.linalg.norm(sums, axis=1), np.finfo(np.float32).tiny)

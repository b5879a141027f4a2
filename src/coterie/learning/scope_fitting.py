"""Fitting the in-scope score of a specialist that has encodings, without any out-of-scope example."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from coterie.learning.calibration import max_logit, scope_threshold
from coterie.learning.examples import TextExamples, in_turn
from coterie.learning.kernel import Apart
from coterie.learning.scope import Neighbours, ScopeScore

AXES = 64
"""Number of axes. From 48 to 128 no difference could be measured (docs/history/log.md)."""
MOST_ROWS = 20_000
"""Most training texts that are kept, labels in turn: 2.5 MB, and a product of 0.3 ms."""
FALSE_REJECTION = 0.02  # share of in-scope rows that the score may reject
MOST_REJECTED = 0.2
"""Share of rows without their near copies that the threshold may reject before the set counts as made of patterns.

It was 2 to 19% for texts that people wrote, in 25 sets, and 24 to 94% for texts made from a few patterns
(docs/history/log.md).
"""
REJECTED_APART = 0.05
"""Share of rows without their near copies that the threshold may reject.

Such rows lack all texts with similar wording, so the last of them are far out.
"""
_LEAST_SPREAD = 1e-6
_BLOCK = 1_024  # rows compared at once


class ScopeFit(NamedTuple):
    """A fitted scope, and its scores of the training rows as if each were new."""

    scope: ScopeScore
    scores: np.ndarray  # (N,)


def made_of_patterns(logits: np.ndarray, apart: np.ndarray) -> bool:  # (N, L), (N, L)
    """Return whether out-of-fold logits depend on near copies: without them a text looks unlike the training texts."""
    least = scope_threshold(max_logit(logits), false_rejection=FALSE_REJECTION)
    return bool(np.mean(max_logit(apart) < least) > MOST_REJECTED)


class ScopeLine(NamedTuple):
    """The score from which a text counts as in scope, and how that score is computed."""

    scope: ScopeScore | None
    """The in-scope score; None for the largest logit alone."""
    least: float
    scores: np.ndarray  # (N,)
    """Scores of the rows that the threshold was chosen by."""


def draw_line(
    neighbours: Neighbours | None, nearest: np.ndarray | None, logits: np.ndarray, apart: Apart | None
) -> ScopeLine:
    """Return the threshold that rejects few of the rows; if rows are near copies, few of them without the others.

    Args:
        neighbours: The training texts, if there are encodings.
        nearest: (N,) as in `fit_scope`, if there are neighbours.
        logits: (N, L) out-of-fold logits, divided by the temperature.
        apart: The same two without each row's near copies, if those count instead.
    """
    if apart is not None:
        nearest, logits = apart.nearest, apart.logits
    scope, scores = None, max_logit(logits)
    if neighbours is not None and nearest is not None:
        scope, scores = fit_scope(neighbours, nearest, logits)
    false_rejection = FALSE_REJECTION if apart is None else REJECTED_APART
    return ScopeLine(scope, scope_threshold(scores, false_rejection=false_rejection), scores)


def fit_scope(neighbours: Neighbours, nearest: np.ndarray, logits: np.ndarray) -> ScopeFit:
    """Fit the mean and deviation of each signal on rows that are not part of what they are compared with.

    Args:
        neighbours: The training texts.
        nearest: (N,) each row's nearness to the texts without the row.
        logits: (N, L) out-of-fold logits, divided by the temperature.
    """
    signs = np.column_stack([logits.max(axis=1), nearest])  # (N, 2)
    usual = np.column_stack([signs.mean(axis=0), np.maximum(signs.std(axis=0), _LEAST_SPREAD)])
    scope = ScopeScore(nearness=(neighbours,), usual=usual)
    return ScopeFit(scope, scope.standardised(signs))


def fit_neighbours(vectors: np.ndarray, examples: TextExamples) -> Neighbours:  # (N, D)
    """Return the training texts along the axes in which the labels' means differ most, and then the texts."""
    axes = _axes(vectors, examples.hot).astype(np.float16)
    kept = vectors[in_turn(examples, MOST_ROWS)]
    return Neighbours(axes=axes, rows=(kept @ axes.astype(np.float32)).astype(np.float16))


def nearest_out_of_fold(neighbours: Neighbours, vectors: np.ndarray, examples: TextExamples) -> np.ndarray:  # (N,)
    """Return each row's nearness to the texts of other folds, as if it were new."""
    along = (vectors @ neighbours.axes.astype(np.float32)).astype(np.float16)  # (N, A)
    nearest = np.empty(len(vectors))
    kept = in_turn(examples, MOST_ROWS)
    for fold in np.unique(examples.folds):
        held = np.flatnonzero(examples.folds == fold)
        others = Neighbours(axes=neighbours.axes, rows=along[kept[examples.folds[kept] != fold]])
        for start in range(0, len(held), _BLOCK):
            rows = held[start : start + _BLOCK]
            nearest[rows] = others.nearest(along[rows].astype(np.float32))
    return nearest


def _axes(vectors: np.ndarray, hot: np.ndarray) -> np.ndarray:  # (N, D), (N, L) -> (D, A)
    """Return the principal axes of the labels' means, followed by those of the remaining variation of the texts."""
    centred = vectors - vectors.mean(axis=0)
    means = hot.T @ centred / np.maximum(hot.sum(axis=0), 1.0)[:, None]  # (L, D)
    first = principal_axes(means.T @ means)[:, :AXES]
    left = centred - centred @ first @ first.T
    more = principal_axes(left.T @ left)[:, : AXES - first.shape[1]]
    return np.hstack([first, more])


def principal_axes(scatter: np.ndarray) -> np.ndarray:  # (D, D) -> (D, A)
    """Return the axes with any variation, the largest first."""
    lengths, axes = np.linalg.eigh(scatter)
    there = lengths > _LEAST_SPREAD * max(lengths[-1], _LEAST_SPREAD)
    return np.asarray(axes[:, there][:, ::-1])

"""Fitting the scope of an extractor."""

from __future__ import annotations

import numpy as np

from coterie.learning.calibration import scope_threshold
from coterie.learning.examples import TextExamples
from coterie.learning.kernel import hold_out_copies
from coterie.learning.scope import Neighbours
from coterie.learning.scope_fitting import (
    AXES,
    FALSE_REJECTION,
    REJECTED_APART,
    ScopeLine,
    fit_scope,
    nearest_out_of_fold,
    principal_axes,
)


def fit_extract_scope(
    signs: np.ndarray, vectors: np.ndarray, folds: np.ndarray, groups: np.ndarray, *, seed: int
) -> ScopeLine:
    """The line that rejects few of the training texts, as if each were new.

    Texts of one kind have much in common: the axes are those of the texts as they are, not of how they differ.

    Args:
        signs: (N,) `likeliest` of each, by a ranker that did not see it.
        vectors: (N, D) encodings of the texts.
        folds: (N,) parts of the texts.
        groups: (N,) a number for the group of each.
        seed: Of the copies' folds.
    """
    axes = principal_axes(vectors.T @ vectors)[:, :AXES].astype(np.float16)
    neighbours = Neighbours(axes=axes, rows=(vectors @ axes.astype(np.float32)).astype(np.float16))
    hot = np.ones((len(signs), 1))
    examples = TextExamples(texts=[""] * len(signs), hot=hot, several=False, folds=folds, seed=seed)
    apart = hold_out_copies(examples, vectors, groups)
    fitted = fit_scope(neighbours, nearest_out_of_fold(neighbours, vectors, apart or examples), signs[:, None])
    false_rejection = FALSE_REJECTION if apart is None else REJECTED_APART
    least = scope_threshold(fitted.scores, false_rejection=false_rejection)
    return ScopeLine(fitted.scope, least, fitted.scores)

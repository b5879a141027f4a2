"""How much more often a model of all rows is right than models of some, where a label has few.

A fine-tuned encoder is calibrated on rows held back a third or so at a time. With all rows it is right more often. How
much, models say that are fitted in no time: over so short a stretch accuracy grows by the logarithm of the rows. Most
of it the model of all rows says by itself: it is surer of new texts, since the kernel model beside its head grows with
the examples of a label. The rest has to be added.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ._examples import FOLDS, TextExamples, deal_folds
from ._job import Job
from ._kernel import fit_kernel

PARTS_OF_FEW = 3
"""Parts that few rows are held back in when a model takes minutes."""
UNSAID = 0.3
"""Share of the gain that confidence does not grow by itself. With all rows it was higher on new texts than out of fold
by .033, .033, .024 and .033 where gains of .039, .039, .044 and .048 were expected (docs/log.md)."""
_DEALS = 4  # ways to deal the rows, over which the luck of one evens out


def expected_gain(job: Job, examples: TextExamples, vectors: np.ndarray, names: np.ndarray | None) -> float:
    """Accuracy that is gained from what is known when few parts are held back in turn to all; 0 where rows are many.

    Args:
        job: What is trained.
        examples: Its rows.
        vectors: (N, D) their encodings by an encoder that was not tuned on them.
        names: (L, D) those of the labels' names, where these are examples too.
    """
    if examples.pieces is None or examples.several:
        return 0.0
    curve = np.mean([_curve(job, examples, vectors, names, examples.seed + deal) for deal in range(_DEALS)], axis=0)
    (few, right_of_few), (more, right_of_more) = curve
    if more <= few:
        return 0.0
    slope = (right_of_more - right_of_few) / np.log(more / few)
    return max(0.0, float(slope * np.log(1.0 / few)))


def hold_back_in_parts(folds: np.ndarray, most: int) -> np.ndarray:  # (N,) -> (N,)
    """Folds put together to at most so many parts."""
    return np.asarray(folds % min(most, len(np.unique(folds))))


def _curve(
    job: Job, examples: TextExamples, vectors: np.ndarray, names: np.ndarray | None, seed: int
) -> list[tuple[float, float]]:
    """Share of the rows that a model knows, and of those held back that it names right; in few parts and in folds."""
    folds = deal_folds(job.train, FOLDS, seed)
    curve = []
    for dealt in (hold_back_in_parts(folds, PARTS_OF_FEW), folds):
        again = replace(examples, folds=dealt, pieces=None)
        said = fit_kernel(vectors, again, names=names).out_of_fold.argmax(axis=1)
        sizes = np.bincount(dealt)[dealt]
        right = examples.hot[np.arange(len(said)), said]
        curve.append((1.0 - float(sizes.mean()) / len(dealt), float(right.mean())))
    return curve

"""Kernel ridge regression on encodings, with landmarks instead of all rows.

A Gaussian kernel over unit vectors, restricted to the span of M training rows (Nystroem; Williams & Seeger 2001)
and fitted by least squares to one-hot targets (kernel ridge; Saunders et al. 1998). It beat logistic regression on
the same vectors by a point on BANKING77 and trains in seconds; out-of-fold predictions cost one Cholesky a fold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from coterie.config.specialists import SpecialistSection
from coterie.engines.linear import KernelBlock
from coterie.learning.examples import ALWAYS_SEEN, FOLDS, TextExamples, deal_folds, in_turn
from coterie.learning.job import Job

MOST_LANDMARKS = 1_500
GAMMA = 0.5
RIDGES = (0.03, 0.1, 0.3)  # the one with the best out-of-fold accuracy is taken
_JITTER = 1e-3
_FEW_TO_A_LANDMARK = 1.5
"""Rows a landmark up to which one fit of all rows gives the out-of-fold logits; beyond it, a fit a fold is cheaper."""


class KernelFit(NamedTuple):
    """A fitted block, and its logits for rows that it had not seen."""

    block: KernelBlock
    bias: float
    out_of_fold: np.ndarray  # (N, L), bias included
    ridge: float

    def logits(self, vectors: np.ndarray) -> np.ndarray:  # (N, D) -> (N, L)
        """Return the logits for other texts, bias included."""
        return self.block.logits(vectors) + self.bias


def fit_kernel(
    vectors: np.ndarray,
    examples: TextExamples,
    progress: Callable[[int], None] = lambda _: None,
    *,
    names: np.ndarray | None = None,
    landmarks: np.ndarray | None = None,
) -> KernelFit:
    """Fit on all rows, with out-of-fold logits for calibration, which also choose the ridge.

    Args:
        vectors: (N, D) unit vectors.
        examples: Targets and folds.
        progress: Called after each fold.
        names: (L, D) encodings of the labels' names, as one more example of each label. They are kept if the
            rows are named better with them, out of fold.
        landmarks: (M,) rows to use as landmarks; by default rows of every label.
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
    from scipy.linalg import solve_triangular  # noqa: PLC0415 - training alone needs it

    stored = vectors[in_turn(examples, MOST_LANDMARKS) if landmarks is None else landmarks].astype(np.float16)
    seen = stored.astype(np.float64)  # (M, D), as the head will see them
    factor = np.linalg.cholesky(_kernel(seen, seen) + _JITTER * np.eye(len(seen)))
    features = solve_triangular(factor, _kernel(vectors, seen).T, lower=True).T  # (N, M)
    targets, bias = _coded(examples)
    gram, moment = features.T @ features, features.T @ targets
    held = _out_of_fold(_Sums(features, targets, gram, moment), examples.folds, progress)
    rows = examples.folds != ALWAYS_SEEN
    known_examples = examples.take(np.flatnonzero(rows))
    ridge = max(RIDGES, key=lambda ridge: _right(held[ridge][rows] + bias, known_examples))
    solved = _solve(gram, moment, ridge)
    weights = solve_triangular(factor.T, solved, lower=False)  # (M, L)
    block = KernelBlock(landmarks=stored, weights=weights.astype(np.float32), gamma=GAMMA)
    return KernelFit(block=block, bias=bias, out_of_fold=held[ridge][rows] + bias, ridge=ridge)


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:  # (N, D), (M, D) -> (N, M)
    """Return exp(-gamma |a - b|^2) of unit vectors."""
    return np.asarray(np.exp(2.0 * GAMMA * (a @ b.T - 1.0)))


def _coded(examples: TextExamples) -> tuple[np.ndarray, float]:  # (N, L), and what is added to predictions
    """Return targets for which no label is likely far from every landmark, where the kernel gives 0."""
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
    """Return logits (N, L) for each ridge; each fold is subtracted from the sums instead of summing the rest anew."""
    if len(sums.features) <= _FEW_TO_A_LANDMARK * sums.features.shape[1]:
        held = {ridge: _left_out(sums, folds, ridge) for ridge in RIDGES}
        progress(len(np.unique(folds[folds != ALWAYS_SEEN])))
        return held
    held = {ridge: np.zeros(sums.targets.shape) for ridge in RIDGES}
    for fold in np.unique(folds[folds != ALWAYS_SEEN]):
        rows = folds == fold
        own = sums.features[rows]
        rest, rest_moment = sums.gram - own.T @ own, sums.moment - own.T @ sums.targets[rows]
        for ridge in RIDGES:
            held[ridge][rows] = own @ _solve(rest, rest_moment, ridge)
        progress(1)
    return held


def _left_out(sums: _Sums, folds: np.ndarray, ridge: float) -> np.ndarray:
    """Return logits (N, L) of each row without its fold, from one fit: (I - H)^-1 of the fold times its residuals.

    H is the fold's block of the hat matrix. The numbers are the same as with a fit for each fold, at the cost of
    one fit if there are about as many rows as landmarks.
    """
    from scipy.linalg import solve_triangular  # noqa: PLC0415 - training alone needs it

    factor = np.linalg.cholesky(sums.gram + ridge * np.eye(len(sums.gram)))
    half = solve_triangular(factor, sums.features.T, lower=True)  # (M, N)
    apart = sums.targets - half.T @ (half @ sums.targets)  # (N, L)
    held = np.zeros(sums.targets.shape)
    for fold in np.unique(folds[folds != ALWAYS_SEEN]):
        rows = np.flatnonzero(folds == fold)
        own = half[:, rows]
        held[rows] = sums.targets[rows] - np.linalg.solve(np.eye(len(rows)) - own.T @ own, apart[rows])
    return held


def _solve(gram: np.ndarray, moment: np.ndarray, ridge: float) -> np.ndarray:
    from scipy.linalg import cho_factor, cho_solve  # noqa: PLC0415 - training alone needs it

    return np.asarray(cho_solve(cho_factor(gram + ridge * np.eye(len(gram)), lower=True), moment))


def _right(logits: np.ndarray, examples: TextExamples) -> float:
    if examples.several:
        return float(((logits > 0) == examples.hot).mean())
    return float(examples.hot[np.arange(len(logits)), logits.argmax(axis=1)].mean())


# --- How much more often a model of all rows is right than models of some, where a label has few.
#
# A fine-tuned encoder is calibrated on rows held back a third or so at a time. With all rows it is right more often.
# How much, models say that are fitted in no time: over so short a stretch accuracy grows by the logarithm of the
# rows. Most of it the model of all rows says by itself: it is surer of new texts, since the kernel model beside its
# head grows with the examples of a label. The rest has to be added.

PARTS_OF_FEW = 3
"""Number of parts that few rows are held back in, for a model that takes minutes."""
UNSAID = 0.3
"""Share of the gain by which confidence does not grow by itself.

With all rows confidence was higher on new texts than out of fold by .033, .033, .024 and .033 where gains of
.039, .039, .044 and .048 were expected (docs/history/log.md).
"""
_DEALS = 4  # ways to deal the rows, over which the luck of one evens out


def expected_gain(
    job: Job[SpecialistSection], examples: TextExamples, vectors: np.ndarray, names: np.ndarray | None
) -> float:
    """Return the expected gain in accuracy from the few parts held back in turn to all rows; 0 with many rows.

    Args:
        job: The job.
        examples: The job's rows.
        vectors: (N, D) encodings of the rows by an encoder that was not tuned on them.
        names: (L, D) encodings of the labels' names, if the names are examples too.
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
    """Combine folds into at most `most` parts."""
    return np.asarray(folds % min(most, len(np.unique(folds))))


def _curve(
    job: Job[SpecialistSection], examples: TextExamples, vectors: np.ndarray, names: np.ndarray | None, seed: int
) -> list[tuple[float, float]]:
    """Return the share of rows that a model knows, and its accuracy on those held back; in few parts and in folds."""
    folds = deal_folds(job.train, FOLDS, seed)
    curve = []
    for dealt in (hold_back_in_parts(folds, PARTS_OF_FEW), folds):
        again = replace(examples, folds=dealt, pieces=None)
        predicted = fit_kernel(vectors, again, names=names).out_of_fold.argmax(axis=1)
        sizes = np.bincount(dealt)[dealt]
        right = examples.hot[np.arange(len(predicted)), predicted]
        curve.append((1.0 - float(sizes.mean()) / len(dealt), float(right.mean())))
    return curve


# --- Texts that are near copies of each other, as those are that were made from a few patterns.
#
# Dealt to folds at random, such a text has its copies among those that a model learns from, so what the model says of
# it is what it says of more copies. People write in other words. Here the copies of a text are held out with it.

ALIKE = 0.85
"""Cosine from which two texts are near copies."""
MOST_TEXTS = 4_000
"""Most texts that are examined: more would be trained on twice, and nobody writes as many from a few patterns."""

_FEWEST_COPIED = 0.1
"""Share of texts with a near copy below which nothing is fitted again: the other texts dominate the figures then."""
_MOST_OF_LABEL, _MOST_LONELY = 0.75, 0.2
"""Largest share of a label's texts held out together, and share of all texts for which it may be exceeded."""


class Apart(NamedTuple):
    """Outputs for each text of models that knew neither the text nor its near copies."""

    logits: np.ndarray  # (N, L)
    nearest: np.ndarray | None  # (N,)
    """Nearness of each text to the other texts, if there are encodings."""


def hold_out_copies(examples: TextExamples, vectors: np.ndarray, groups: np.ndarray) -> TextExamples | None:
    """Return the same texts with near copies in one fold; None if that would say nothing.

    It says nothing with too many texts, with hardly any copies, or if all texts of a label (five or more) are
    copies of one text: held out together, no model knows the label. The same holds if most of a label's texts are
    held out together and only a few texts of other labels bear its name by mistake; this is tolerated for a part
    of all texts.

    Args:
        examples: Of a classifier with one label a text.
        vectors: (N, D) encodings of the texts.
        groups: (N,) a number for the group of each text; texts of one group stay together as well.
    """
    if examples.several or len(vectors) > MOST_TEXTS:
        return None
    kinds = _kinds(vectors, groups)
    if np.mean(np.bincount(kinds)[kinds] > 1) < _FEWEST_COPIED:
        return None
    folds = _deal(kinds, examples.seed)
    of_label = (folds[rows > 0] for rows in examples.hot.T)
    largest = [(len(own), int(np.bincount(own).max())) for own in of_label if len(own) >= FOLDS]
    lonely = sum(most for whole, most in largest if most > _MOST_OF_LABEL * whole)
    provable = all(most < whole for whole, most in largest) and lonely <= _MOST_LONELY * len(folds)
    return replace(examples, folds=folds, pieces=None) if provable else None


def _kinds(vectors: np.ndarray, groups: np.ndarray) -> np.ndarray:  # (N, D), (N,) -> (N,)
    """Return a number for each text; texts that are linked by near copies or groups have the same number."""
    from scipy.sparse import csr_matrix  # noqa: PLC0415 - training alone needs it
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415 - training alone needs it

    linked = (vectors @ vectors.T >= ALIKE) | (groups[:, None] == groups)
    return np.asarray(connected_components(csr_matrix(linked), directed=False)[1])


def _deal(kinds: np.ndarray, seed: int) -> np.ndarray:  # (N,) -> (N,)
    """Return the fold of each text, that of its kind; the largest kinds first, each to the smallest fold."""
    sizes = np.bincount(kinds)
    order = np.random.default_rng(seed).permutation(len(sizes))
    filled = np.zeros(FOLDS, dtype=np.int64)
    fold_of = np.zeros(len(sizes), dtype=np.int64)
    for kind in order[np.argsort(-sizes[order], kind="stable")]:
        fold_of[kind] = filled.argmin()
        filled[fold_of[kind]] += sizes[kind]
    return np.asarray(fold_of[kinds])

"""Fitting on encodings: the examples of a text head, kernel ridge regression, and the in-scope score.

A Gaussian kernel over unit vectors, restricted to the span of M training rows (Nystroem; Williams & Seeger 2001)
and fitted by least squares to one-hot targets (kernel ridge; Saunders et al. 1998). It beat logistic regression on
the same vectors by a point on BANKING77 and trains in seconds; out-of-fold predictions cost one Cholesky a fold. The
in-scope score is fitted without any out-of-scope example.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from coterie.config.specialists import SpecialistSection
from coterie.engines.linear import KernelBlock
from coterie.errors import DataError
from coterie.learning.calibration import max_logit, scope_threshold
from coterie.learning.dataset import Dataset
from coterie.learning.job import Job
from coterie.learning.scope import Neighbours, ScopeScore
from coterie.learning.splits import folds

ALWAYS_SEEN = -1
"""Fold of rows that are never held out, because nobody will ask about them."""
FOLDS = 5
"""Folds into which rows are dealt, each held out once."""
_MOST_PIECES, _ROWS_IN_ALL = 4, 4_000
"""Most pieces that a fold is cut into; fewer if rows times pieces would exceed the second number."""
_FEW_OF_A_LABEL = 10
"""Rows a label up to which folds are cut: a fold has two rows a label then, too few for a run of one source."""
NAMES_HELP = 50
"""Rows a label below which the label's name serves as an example: 2 points better at 5 a label, 1 at 10.

The figures are in docs/history/log.md.
"""


@dataclass(frozen=True, kw_only=True)
class TextExamples:
    """Training examples of a text head."""

    texts: Sequence[str]
    hot: np.ndarray  # (N, L) of 0 and 1: each row's labels
    several: bool
    """Whether labels hold together; otherwise exactly one is given and any of a row's labels is right."""
    folds: np.ndarray  # (N,)
    seed: int
    named: bool = True
    """Whether the labels are words with a meaning."""
    pieces: np.ndarray | None = None  # (N,)
    """Smaller folds, for models that are fitted in no time; None if there are none."""

    @property
    def labels(self) -> int:
        """Number of labels."""
        return int(self.hot.shape[1])

    @property
    def one_each(self) -> bool:
        """Whether every row has exactly one label."""
        return bool((self.hot.sum(axis=1) == 1).all())

    def take(self, rows: np.ndarray) -> TextExamples:  # (M,) of N
        """Return some of the rows."""
        texts = [self.texts[row] for row in rows]
        pieces = None if self.pieces is None else self.pieces[rows]
        return replace(self, texts=texts, hot=self.hot[rows], folds=self.folds[rows], pieces=pieces)

    def cut(self) -> TextExamples:
        """Return the same rows with the pieces as folds, if there are any."""
        return self if self.pieces is None else replace(self, folds=self.pieces, pieces=None)

    def extended(self, hot: np.ndarray, texts: Sequence[str] = ()) -> TextExamples:
        """Return the examples with more rows, which are never held out."""
        folds = np.concatenate([self.folds, np.full(len(hot), ALWAYS_SEEN)])
        more = list(texts) or [""] * len(hot)
        return replace(self, texts=[*self.texts, *more], hot=np.vstack([self.hot, hot]), folds=folds)

    @property
    def few(self) -> bool:
        """Whether there are so few rows that the labels' names help."""
        return len(self.texts) < NAMES_HELP * self.labels

    def targets(self, logits: np.ndarray) -> np.ndarray:  # (N, L) -> (N,) or (N, L)
        """Return the targets of calibration: a row's label, of several right ones the likeliest; or all together."""
        if self.several:
            return self.hot
        return np.asarray(np.where(self.hot > 0, logits, -np.inf).argmax(axis=1))


def in_turn(examples: TextExamples, most: int) -> np.ndarray:  # (M,)
    """Return at most `most` rows in random order, labels in turn, so that rare labels are included; sorted."""
    order = np.random.default_rng(examples.seed).permutation(len(examples.texts))
    first = examples.hot.argmax(axis=1)
    seen = np.zeros(examples.labels, dtype=np.int64)
    rounds = np.empty(len(order), dtype=np.int64)
    for index, row in enumerate(order):
        rounds[index] = seen[first[row]]
        seen[first[row]] += 1
    return np.sort(order[np.argsort(rounds, kind="stable")][:most])


def text_examples(
    data: Dataset,
    labels: Sequence[str],
    folds: np.ndarray,
    *,
    seed: int,
    several: bool = False,
    named: bool = True,
) -> TextExamples:
    """Return rows as texts, targets and folds."""
    position = {label: index for index, label in enumerate(labels)}
    hot = np.zeros((len(data), len(labels)))
    for index, row in enumerate(data.rows):
        hot[index, [position[label] for label in row.labels]] = 1.0
    return TextExamples(texts=data.texts, hot=hot, several=several, folds=folds, seed=seed, named=named)


def deal_folds(data: Dataset, most: int, seed: int, *, in_order: bool = False) -> np.ndarray:  # (N,)
    """Return the fold of each row: `most` folds, or as many as there are groups; `in_order` as in `folds`.

    Raises:
        DataError: there are fewer than two.
    """
    for k in range(most, 2, -1):
        try:
            return folds(data, k, seed, in_order=in_order)
        except DataError:
            continue
    return folds(data, 2, seed, in_order=in_order)


def cut_folds(data: Dataset, folds: np.ndarray, seed: int) -> np.ndarray | None:  # (N,) -> (N,)
    """Cut the folds into pieces if there are few rows a label; else return None.

    A model that knows four examples of each label is less sure than one that knows all five, and right at another
    rate for the same confidence; a model of nineteen in twenty rows is closer to it.

    Args:
        data: The rows.
        folds: (N,) folds as they were dealt.
        seed: Seed of the random order.
    """
    pieces = min(_MOST_PIECES, _ROWS_IN_ALL // len(data))
    if pieces < 2 or len(data) > _FEW_OF_A_LABEL * len(data.label_names):
        return None
    cut = folds.copy()
    for fold in np.unique(folds):
        rows = np.flatnonzero(folds == fold)
        # What belongs together stays so: a fold of one unit is not cut.
        with suppress(DataError):
            cut[rows] = fold + FOLDS * deal_folds(data.take(rows.tolist()), pieces, seed)
    return cut


# --- Kernel ridge regression on encodings, with landmarks instead of all rows.

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


# --- Fitting the in-scope score of a specialist that has encodings, without any out-of-scope example.

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

"""Training examples of a text head."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from coterie.errors import DataError
from coterie.learning.dataset import Dataset
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

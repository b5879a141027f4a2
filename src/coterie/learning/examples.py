"""What a text head is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from coterie.errors import DataError
from coterie.learning.dataset import Dataset
from coterie.learning.splits import folds

ALWAYS_SEEN = -1
"""The fold of rows that are never held out: nobody will ask about them."""
FOLDS = 5
"""Parts that rows are dealt into, each held out once."""
_MOST_PIECES, _ROWS_IN_ALL = 4, 4_000
"""Pieces that a fold is cut into at most; fewer where rows times pieces would be more than this."""
_FEW_OF_A_LABEL = 10
"""Rows a label up to which folds are cut. Of so few a fold has two, which are no run of one source any more."""
NAMES_HELP = 50
"""Rows a label below which its name is an example. It adds 2 points at 5 a label, 1 at 10 (docs/history/log.md)."""


@dataclass(frozen=True, kw_only=True)
class TextExamples:
    """What a text head is trained on."""

    texts: Sequence[str]
    hot: np.ndarray  # (N, L) of 0 and 1: each row's labels
    several: bool
    """Labels hold together; otherwise exactly one is given and any of a row's is right."""
    folds: np.ndarray  # (N,)
    seed: int
    named: bool = True
    """The labels are words that say what they mean."""
    pieces: np.ndarray | None = None  # (N,)
    """The folds cut smaller, for models that are fitted in no time; None where they are not."""

    @property
    def labels(self) -> int:
        """How many there are."""
        return int(self.hot.shape[1])

    @property
    def one_each(self) -> bool:
        """Every row has exactly one label."""
        return bool((self.hot.sum(axis=1) == 1).all())

    def take(self, rows: np.ndarray) -> TextExamples:  # (M,) of N
        """Some of the rows."""
        texts = [self.texts[row] for row in rows]
        pieces = None if self.pieces is None else self.pieces[rows]
        return replace(self, texts=texts, hot=self.hot[rows], folds=self.folds[rows], pieces=pieces)

    def cut(self) -> TextExamples:
        """The same rows with the pieces as folds, where there are any."""
        return self if self.pieces is None else replace(self, folds=self.pieces, pieces=None)

    def extended(self, hot: np.ndarray, texts: Sequence[str] = ()) -> TextExamples:
        """With more rows, which are never held out."""
        folds = np.concatenate([self.folds, np.full(len(hot), ALWAYS_SEEN)])
        more = list(texts) or [""] * len(hot)
        return replace(self, texts=[*self.texts, *more], hot=np.vstack([self.hot, hot]), folds=folds)

    @property
    def few(self) -> bool:
        """So few that the labels' names help."""
        return len(self.texts) < NAMES_HELP * self.labels

    def targets(self, logits: np.ndarray) -> np.ndarray:  # (N, L) -> (N,) or (N, L)
        """What calibration aims at: a row's label, of several right ones the likeliest; all that hold together."""
        if self.several:
            return self.hot
        return np.asarray(np.where(self.hot > 0, logits, -np.inf).argmax(axis=1))


def in_turn(examples: TextExamples, most: int) -> np.ndarray:  # (M,)
    """At most so many rows in random order, labels in turn, so that rare labels are among them too; sorted."""
    order = np.random.default_rng(examples.seed).permutation(len(examples.texts))
    first = examples.hot.argmax(axis=1)
    seen = np.zeros(examples.labels, dtype=np.int64)
    rounds = np.empty(len(order), dtype=np.int64)
    for place, row in enumerate(order):
        rounds[place] = seen[first[row]]
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
    """Rows as texts, targets and folds."""
    position = {label: index for index, label in enumerate(labels)}
    hot = np.zeros((len(data), len(labels)))
    for index, row in enumerate(data.rows):
        hot[index, [position[label] for label in row.labels]] = 1.0
    return TextExamples(texts=data.texts, hot=hot, several=several, folds=folds, seed=seed, named=named)


def deal_folds(data: Dataset, most: int, seed: int, *, in_order: bool = False) -> np.ndarray:  # (N,)
    """The fold of each row: `most` folds, or as many as there are groups to deal out; `in_order` as in `folds`.

    Raises:
        DataError: there are not even two.
    """
    for k in range(most, 2, -1):
        try:
            return folds(data, k, seed, in_order=in_order)
        except DataError:
            continue
    return folds(data, 2, seed, in_order=in_order)


def cut_folds(data: Dataset, folds: np.ndarray, seed: int) -> np.ndarray | None:  # (N,) -> (N,)
    """The folds cut into pieces where there are few rows a label, else None.

    A model that knows four examples of each label is less sure than that of all five, and right at another rate where
    it says the same; one of nineteen in twenty rows is more like it.

    Args:
        data: The rows.
        folds: (N,) as they were dealt.
        seed: Decides what is dealt at random.
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

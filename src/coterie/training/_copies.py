"""Texts that are near copies of each other, as those are that were made from a few patterns.

Dealt to folds at random, such a text has its copies among those that a model learns from, so what the model says of
it is what it says of more copies. People write in other words. Here the copies of a text are held out with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from ._examples import FOLDS, TextExamples

ALIKE = 0.85
"""Cosine from which two texts are near copies."""
MOST_TEXTS = 4_000
"""More are not looked at: they would be trained on twice, and nobody makes as many from a few patterns by hand."""


class Apart(NamedTuple):
    """What was said of each text by models that knew neither it nor its near copies."""

    logits: np.ndarray  # (N, L)
    nearest: np.ndarray | None  # (N,)
    """Its nearness to the other texts, where there are encodings."""


def hold_out_copies(examples: TextExamples, vectors: np.ndarray, groups: np.ndarray) -> TextExamples | None:
    """The same texts, with near copies in one fold; None where that would say nothing.

    That is where there are too many texts, or all of a label (of five texts or more) are copies of one: held out
    together, nobody knows it.

    Args:
        examples: Of a classifier with one label a text.
        vectors: (N, D) encodings of the texts.
        groups: (N,) a number for the group of each text; what has one group stays together as well.
    """
    if examples.several or len(vectors) > MOST_TEXTS:
        return None
    kinds = _kinds(vectors, groups)
    folds = _deal(kinds, examples.seed)
    of_label = (folds[rows > 0] for rows in examples.hot.T)
    known = all(len(np.unique(own)) > 1 for own in of_label if len(own) >= FOLDS)
    return replace(examples, folds=folds, pieces=None) if known else None


def _kinds(vectors: np.ndarray, groups: np.ndarray) -> np.ndarray:  # (N, D), (N,) -> (N,)
    """A number for each text; those that are linked by near copies or groups have the same."""
    linked = (vectors @ vectors.T >= ALIKE) | (groups[:, None] == groups)
    return np.asarray(connected_components(csr_matrix(linked), directed=False)[1])


def _deal(kinds: np.ndarray, seed: int) -> np.ndarray:  # (N,) -> (N,)
    """A fold for each text, that of its kind; the largest kinds first, each to the fold with the fewest texts."""
    sizes = np.bincount(kinds)
    order = np.random.default_rng(seed).permutation(len(sizes))
    filled = np.zeros(FOLDS, dtype=np.int64)
    fold_of = np.zeros(len(sizes), dtype=np.int64)
    for kind in order[np.argsort(-sizes[order], kind="stable")]:
        fold_of[kind] = filled.argmin()
        filled[fold_of[kind]] += sizes[kind]
    return np.asarray(fold_of[kinds])

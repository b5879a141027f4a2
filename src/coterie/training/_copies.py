"""Texts that are near copies of each other, as those are that were made from a few patterns.

Dealt to folds at random, such a text has its copies among those that a model learns from, so what the model says of
it is what it says of more copies. People write in other words. Here the copies of a text are held out with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from coterie.calibration import max_logit, scope_threshold

from ._examples import TextExamples

ALIKE = 0.85
"""Cosine from which two texts are near copies."""
MOST_TEXTS = 4_000
"""More are not looked at: they would be trained on twice, and nobody makes as many from a few patterns by hand."""
FOLDS = 5
MOST_REJECTED = 0.2
"""Share of rows that may look, without their near copies, less like the others than 98% of them do. Of texts that
people wrote it was 2 to 19% in 25 sets, of those made from a few patterns 24 to 94% (docs/log.md)."""
_LEAST_LIKE = 0.02


class Apart(NamedTuple):
    """What was said of each text by models that knew neither it nor its near copies."""

    logits: np.ndarray  # (N, L)
    nearest: np.ndarray | None  # (N,)
    """Its nearness to the other texts, where there are encodings."""


def made_of_patterns(logits: np.ndarray, apart: np.ndarray) -> bool:  # (N, L), (N, L)
    """Whether what is said out of fold is said of copies: without them a text looks like nothing that is known."""
    least = scope_threshold(max_logit(logits), false_rejection=_LEAST_LIKE)
    return bool(np.mean(max_logit(apart) < least) > MOST_REJECTED)


def hold_out_copies(examples: TextExamples, vectors: np.ndarray, groups: Sequence[str | None]) -> TextExamples | None:
    """The same texts, with near copies in one fold; None where that would say nothing.

    That is where there are too many texts, or all of a label (of five texts or more) are copies of one: held out
    together, nobody knows it.

    Args:
        examples: Of a classifier with one label a text.
        vectors: (N, D) encodings of the texts.
        groups: Of each text; what has one group stays together as well.
    """
    if examples.several or len(vectors) > MOST_TEXTS:
        return None
    kinds = _kinds(vectors, groups)
    folds = _deal(kinds, examples.seed)
    of_label = (folds[rows > 0] for rows in examples.hot.T)
    known = all(len(np.unique(own)) > 1 for own in of_label if len(own) >= FOLDS)
    return replace(examples, folds=folds) if known else None


def _kinds(vectors: np.ndarray, groups: Sequence[str | None]) -> np.ndarray:  # (N, D) -> (N,)
    """A number for each text; those that are linked by near copies or groups have the same."""
    alike = csr_matrix(vectors @ vectors.T >= ALIKE)
    numbers: dict[str, int] = {}
    places = [(i, numbers.setdefault(group, len(numbers))) for i, group in enumerate(groups) if group is not None]
    if places:
        rows, columns = np.array(places).T
        member = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(groups), len(numbers)))
        alike = alike + (member @ member.T > 0)
    return np.asarray(connected_components(alike, directed=False)[1])


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

"""The figures that say how good answers, confidences and abstentions are: pure functions of arrays.

A figure that the rows cannot give, such as the accuracy of no rows, is nan.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

Floats = np.ndarray
Ints = np.ndarray

_NAN = float("nan")


class RiskCoverage(NamedTuple):
    """What share of wrong answers goes with what share of answers, by threshold from high to low."""

    threshold: Floats  # (V,) distinct confidences
    coverage: Floats  # (V,)
    risk: Floats  # (V,)


def accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Share of rows whose prediction is the truth: (N,), (N,)."""
    return _mean(np.asarray(truth) == np.asarray(predicted))


def macro_f1(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Mean over labels of the harmonic mean of precision and recall: (N,), (N,).

    The labels are all that occur in either array, as in scikit-learn. A prediction of None, or a negative one
    among numbers, is no label: the row counts as missed.
    """
    true, guess, labels = _codes(np.asarray(truth), np.asarray(predicted))
    if not labels:
        return _NAN
    hits = np.bincount(true[true == guess], minlength=labels)
    present = np.bincount(true, minlength=labels) + np.bincount(guess[guess >= 0], minlength=labels)
    occurs = present > 0
    return float((2 * hits[occurs] / present[occurs]).mean())


def multilabel_f1(truth: ArrayLike, predicted: ArrayLike, *, macro: bool) -> float:
    """F1 of label sets as (N, L) arrays of 0 and 1: over all pairs, or (`macro`) the mean over labels that occur."""
    true, guess = np.asarray(truth, dtype=bool), np.asarray(predicted, dtype=bool)
    axis = 0 if macro else None
    hits, present = (true & guess).sum(axis=axis), true.sum(axis=axis) + guess.sum(axis=axis)
    occurs = present > 0
    return _mean(2 * np.atleast_1d(hits)[np.atleast_1d(occurs)] / np.atleast_1d(present)[np.atleast_1d(occurs)])


def exact_match(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Share of rows whose whole label set is right: (N, L), (N, L)."""
    return _mean((np.asarray(truth, dtype=bool) == np.asarray(predicted, dtype=bool)).all(axis=1))


def ece(confidence: ArrayLike, correct: ArrayLike, *, bins: int = 15, equal_mass: bool = False) -> float:
    """Expected calibration error: the mean distance of confidence and accuracy, bin by bin, weighted by rows.

    Naeini, Cooper and Hauskrecht 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning"; bins of
    equal width as in Guo et al. 2017, or of equal numbers of rows.

    Args:
        confidence: (N,) probability that the answer is right.
        correct: (N,) whether it was.
        bins: Number of bins.
        equal_mass: Bins hold equally many rows; else they are equally wide.
    """
    score, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    if not len(score):
        return _NAN
    if equal_mass:
        order = np.argsort(score, kind="stable")
        place = np.empty(len(score), dtype=np.int64)
        place[order] = np.arange(len(score)) * bins // len(score)
    else:
        place = np.clip(np.ceil(score * bins).astype(np.int64) - 1, 0, bins - 1)  # bins are (a, b]
    gap = np.bincount(place, weights=score - right, minlength=bins)
    return float(np.abs(gap).sum() / len(score))


def brier(probability: ArrayLike, outcome: ArrayLike) -> float:
    """Mean squared distance of probability and outcome, 0 or 1 (Brier 1950)."""
    return _mean((np.asarray(probability, dtype=float) - np.asarray(outcome, dtype=float)) ** 2)


def auroc(score: ArrayLike, positive: ArrayLike) -> float:
    """Probability that a positive row scores higher than a negative one, ties counting half: (N,), (N,).

    By the ranks of Mann and Whitney 1947. nan without rows of both kinds.
    """
    scores, yes = np.asarray(score, dtype=float), np.asarray(positive, dtype=bool)
    n_yes, n_no = int(yes.sum()), int((~yes).sum())
    if not n_yes or not n_no:
        return _NAN
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2  # mean rank of each distinct score, from 1
    return float((rank[place][yes].sum() - n_yes * (n_yes + 1) / 2) / (n_yes * n_no))


def coverage(accepted: ArrayLike) -> float:
    """Share of rows whose answer was accepted: (N,)."""
    return _mean(np.asarray(accepted, dtype=bool))


def accepted_accuracy(correct: ArrayLike, accepted: ArrayLike) -> float:
    """Share of right answers among accepted ones: (N,), (N,). nan when none was accepted."""
    return _mean(np.asarray(correct, dtype=bool)[np.asarray(accepted, dtype=bool)])


def risk_coverage(confidence: ArrayLike, correct: ArrayLike) -> RiskCoverage:
    """The risk-coverage curve of El-Yaniv and Wiener 2010: what each threshold would accept and get wrong."""
    scores, right = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=bool)
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)])
    accepted = last + 1
    return RiskCoverage(ranked[last], accepted / max(1, len(ranked)), np.cumsum(~right[order])[last] / accepted)


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else _NAN


def _codes(truth: np.ndarray, predicted: np.ndarray) -> tuple[Ints, Ints, int]:
    """Both arrays as label numbers, -1 for no label, and the number of labels."""
    if truth.dtype.kind in "iu" and predicted.dtype.kind in "iu":
        return truth, predicted, int(max(truth.max(initial=-1), predicted.max(initial=-1))) + 1
    numbers: dict[object, int] = {}
    coded = [
        np.array(
            [-1 if label is None else numbers.setdefault(label, len(numbers)) for label in labels.tolist()],
            dtype=np.int64,
        )
        for labels in (truth, predicted)
    ]
    return coded[0], coded[1], len(numbers)

"""Figures from judged rows: one row's, the difference of two, and the curves of a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from coterie.evaluation import (
    Case,
    Evaluation,
    Interval,
    auroc,
    bootstrap_interval,
    bootstrap_mean,
    multilabel_f1,
    risk_coverage,
    unseen,
)
from coterie.training import Figure

_DRAWS = 400  # of the bootstrap of a measure that is no mean
_POINTS = 400  # of a curve that is drawn
_BINS = 10  # of the reliability diagram
_FEWEST = 10  # answers of a bin that is drawn


def figure(measure: str, evaluation: Evaluation, cases: Sequence[Case]) -> Figure:
    """A measure of an evaluation with its interval, worked out from the cases where the evaluation has none."""
    value = getattr(evaluation, measure)
    if value is None:
        return Figure(float("nan"), Interval(float("nan"), float("nan")))
    if measure in evaluation.intervals:
        return Figure(value, evaluation.intervals[measure])
    truth, guess = label_sets(cases)
    return Figure(value, unseen(bootstrap_interval(_macro_f1, truth, guess, seed=0, n=_DRAWS), len(cases)))


def _macro_f1(truth: np.ndarray, guess: np.ndarray) -> float:
    return multilabel_f1(truth, guess, macro=True)


def label_sets(cases: Sequence[Case]) -> tuple[np.ndarray, np.ndarray]:
    """Right and found labels as (N, L) arrays of booleans."""
    found = [case.value if isinstance(case.value, tuple) else () for case in cases]
    names = sorted({name for case in cases for name in case.row.labels}.union(*found))
    truth = np.array([[name in case.row.labels for name in names] for case in cases])
    guess = np.array([[name in labels for name in names] for labels in found])
    return truth, guess


def difference(measure: str, first: Sequence[Case], second: Sequence[Case]) -> Figure:
    """First minus second on the same rows, by the paired bootstrap.

    Args:
        measure: `auc`, or anything else for the share of right values.
        first: Cases of the same rows ...
        second: ... in the same order.
    """
    if measure != "auc":
        gain = right(first).astype(float) - right(second)
        return Figure(float(gain.mean()), bootstrap_mean(gain, seed=0))
    truth = np.array([case.row.labels[0] == "1" for case in first])
    arrays = (probabilities(first), probabilities(second), truth)
    return Figure(_auc_gain(*arrays), bootstrap_interval(_auc_gain, *arrays, seed=0, n=_DRAWS))


def _auc_gain(first: np.ndarray, second: np.ndarray, truth: np.ndarray) -> float:
    return auroc(first, truth) - auroc(second, truth)


def right(cases: Sequence[Case]) -> np.ndarray:  # (N,)
    """Whether each is right."""
    return np.array([case.correct for case in cases], dtype=bool)


def probabilities(cases: Sequence[Case]) -> np.ndarray:  # (N,)
    """Of the outcome of a score; one half where nothing was said."""
    said = {"1": 1.0, "0": -1.0}
    return np.array([0.5 + said.get(str(case.value), 0.0) * (case.confidence - 0.5) for case in cases])


# --- Curves --------------------------------------------------------------------------------------


class Curve(NamedTuple):
    """The error among accepted answers by the share accepted."""

    coverage: np.ndarray  # (K,)
    risk: np.ndarray  # (K,)


def risk_curve(cases: Sequence[Case]) -> Curve:
    """The risk-coverage curve of the confidence, thinned to what can be drawn."""
    curve = risk_coverage([case.confidence for case in cases], right(cases))
    kept = np.unique(np.linspace(0, len(curve.coverage) - 1, _POINTS).round().astype(np.int64))
    return Curve(curve.coverage[kept], curve.risk[kept])


class Bin(NamedTuple):
    """Answers of about the same confidence."""

    confidence: float
    accuracy: float
    rows: int


def reliability(cases: Sequence[Case]) -> list[Bin]:
    """Mean confidence and share of right answers in ten bins of equal width; a bin of few answers says nothing."""
    confidence, correct = np.array([case.confidence for case in cases]), right(cases)
    place = np.clip(np.ceil(confidence * _BINS) - 1, 0, _BINS - 1)  # bins are (a, b]
    groups = [place == number for number in range(_BINS)]
    return [
        Bin(
            confidence=float(confidence[group].mean()),
            accuracy=float(correct[group].mean()),
            rows=int(group.sum()),
        )
        for group in groups
        if group.sum() >= _FEWEST
    ]

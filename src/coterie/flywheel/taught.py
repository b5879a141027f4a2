"""What the label that a teacher gave to a text is worth beside a few examples.

A teacher is wrong in the same way again and again: it says `card_arrival` to most texts of another intent, or a name
that is none of the labels. Its answers are read as an observation of the true label, made through an unknown table of
confusions (Dawid and Skene, *Maximum Likelihood Estimation of Observer Error-Rates*, JRSS C 1979), and the text says
something about its label too (Raykar et al., *Learning From Crowds*, JMLR 2010). Both are fitted by turns: from
labels by nearness to the examples comes the table, from the table and the texts come better labels. The examples are
what tells which label is which, so there must be one of each. An answer that is no label is an observation like others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ROUNDS = 4
_SHARPNESS = 20.0
"""Of the softmax of cosines with the examples, with which the first round begins."""
_AS_NAMED, _OTHERWISE = 2.0, 0.1
"""Texts of a label to which the teacher is taken to have said that label, and each other answer, beforehand."""
_EXAMPLE = 5.0
"""Texts that an example counts as much as."""
_SPREAD = 3.0
"""Variance of the weights of the linear model."""


def true_labels(
    examples: np.ndarray, labels: Sequence[int], texts: np.ndarray, said: Sequence[int], count: int
) -> np.ndarray:  # (S, D), (S,), (T, D), (T,) -> (T, L)
    """Return how likely each label is for each text, from what it says and what the teacher said.

    Args:
        examples: Unit vectors of the examples. Shape (S, D).
        labels: Their labels, each of `range(count)` at least once.
        texts: Unit vectors of the texts that the teacher labelled. Shape (T, D).
        said: What the teacher said to each: a label, or a number from `count` on for each answer that is none.
        count: Labels, L.
    """
    given, heard = np.asarray(labels), np.asarray(said)
    centres = np.stack([examples[given == label].mean(axis=0) for label in range(count)])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    by_text = _softmax(_SHARPNESS * texts @ centres.T)
    usual = np.full((count, max(count, int(heard.max()) + 1)), _OTHERWISE)  # (L, answers)
    usual[np.arange(count), np.arange(count)] += _AS_NAMED
    rows, weights = np.vstack([examples, texts]), np.ones(len(examples) + len(texts))
    weights[: len(examples)] = _EXAMPLE
    likely, fitted = by_text, np.zeros((rows.shape[1] + 1, count))
    for _ in range(ROUNDS):
        table = usual.copy()
        np.add.at(table.T, heard, likely)
        table /= table.sum(axis=1, keepdims=True)
        likely = by_text * table[:, heard].T
        likely /= likely.sum(axis=1, keepdims=True)
        fitted = _fit(rows, np.vstack([np.eye(count)[given], likely]), weights, fitted)
        by_text = _softmax(texts @ fitted[:-1] + fitted[-1])
    return likely


def _softmax(logits: np.ndarray) -> np.ndarray:  # (N, L) -> (N, L)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _fit(rows: np.ndarray, targets: np.ndarray, weights: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Logistic regression on shares of labels: (N, D), (N, L), (N,), (D + 1, L) -> (D + 1, L), the biases last."""
    from scipy.optimize import minimize  # noqa: PLC0415 - serving needs none of it

    with_one = np.hstack([rows, np.ones((len(rows), 1))])

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(start.shape)
        shares = _softmax(with_one @ w)
        value = -float(weights @ (targets * np.log(shares + 1e-12)).sum(axis=1)) + float((w[:-1] ** 2).sum()) / (
            2 * _SPREAD
        )
        slope = with_one.T @ ((shares - targets) * weights[:, None])
        slope[:-1] += w[:-1] / _SPREAD
        return value, slope.ravel()

    return np.asarray(minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 60}).x).reshape(
        start.shape
    )

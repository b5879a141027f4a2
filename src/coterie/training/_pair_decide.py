"""Fitting decisions: from what the clauses of a document scored to the label of a pair.

A multinomial logistic regression on the summaries of out-of-fold scores (stacking; Wolpert 1992). Its weights are a
part that all hypotheses share and a part of each one's own, both regularised (Daumé 2007, "Frustratingly Easy Domain
Adaptation"): a hypothesis with few rows decides like the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, hstack
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from coterie.engines import COUNT_IN_OPEN, COUNT_IN_SUMMARY

_STRENGTHS = (0.01, 0.03, 0.1, 0.5)  # inverse regularisation; the one with the least out-of-fold log loss is taken
_OWN_BIAS = 2.0  # a hypothesis's own constant is regularised less than its weights
_ABSENT = -6.0  # logit of a label that the rows do not have
_LEAST_SPREAD, _LEAST_COUNT_SPREAD = 0.02, 0.5
"""Features are scaled by their spread, of scores and of the logarithm of the number of clauses: documents of one length
must not make a longer one look strange."""
_MOST_OPEN = 20_000  # rows to fit the open decision on


@dataclass(frozen=True, kw_only=True, eq=False)
class Decision:
    """Weights a hypothesis, and what weights like them said of rows they had not seen."""

    weights: np.ndarray  # (H, P, L)
    bias: np.ndarray  # (H, L)
    held: np.ndarray  # (R, L)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """Standardised features with the part that hypotheses share and the part of each."""

    mean: np.ndarray  # (P,)
    spread: np.ndarray  # (P,)
    design: csr_matrix  # (R, P + H (P + 1)); without own parts (R, P)


def fit_decision(
    summaries: np.ndarray, hypothesis: np.ndarray, label: np.ndarray, folds: np.ndarray, sizes: tuple[int, int]
) -> Decision:
    """The decision of each known hypothesis.

    Args:
        summaries: (R, P) of out-of-fold scores.
        hypothesis: (R,) which one.
        label: (R,) the right one.
        folds: (R,) by document.
        sizes: Known hypotheses and labels.
    """
    hypotheses, labels = sizes
    width = summaries.shape[1]
    if not len(summaries):
        return Decision(weights=np.zeros((0, width, labels)), bias=np.zeros((0, labels)), held=np.zeros((0, labels)))
    rows = _rows(summaries, COUNT_IN_SUMMARY, hypothesis, hypotheses)
    strength, held = _held_out(rows.design, label, folds, labels)
    coefficients, intercept = _logistic(rows.design, label, labels, strength)
    shared, own = coefficients[:width], coefficients[width:].reshape(hypotheses, width + 1, labels)
    weights = (shared + own[:, :width]) / rows.spread[:, None]
    bias = intercept + _OWN_BIAS * own[:, width] - np.einsum("p,hpl->hl", rows.mean, weights)
    return Decision(weights=weights, bias=bias, held=held)


def fit_open(features: np.ndarray, label: np.ndarray, folds: np.ndarray, labels: int, seed: int) -> Decision:
    """The decision of any other hypothesis: one for all, judged on hypotheses that it has not seen.

    Args:
        features: (R, Q)
        label: (R,)
        folds: (R,) by hypothesis.
        labels: How many.
        seed: Decides which of very many rows are fitted on.
    """
    kept = np.random.default_rng(seed).permutation(len(features))[:_MOST_OPEN]
    rows = _rows(features, COUNT_IN_OPEN, None, 0)
    design, truth = rows.design, label
    coefficients, intercept = _logistic(design[kept], truth[kept], labels, _STRENGTHS[-1])
    held = np.tile(intercept, (len(label), 1))
    for fold in np.unique(folds) if len(np.unique(folds)) > 1 else ():
        seen, own = kept[folds[kept] != fold], folds == fold
        fitted, constant = _logistic(design[seen], truth[seen], labels, _STRENGTHS[-1])
        held[own] = design[own] @ fitted + constant
    weights = coefficients / rows.spread[:, None]
    return Decision(weights=weights[None], bias=(intercept - rows.mean @ weights)[None], held=held)


def _rows(features: np.ndarray, count: int, hypothesis: np.ndarray | None, hypotheses: int) -> _Rows:
    mean, spread = features.mean(axis=0), np.maximum(features.std(axis=0), _LEAST_SPREAD)
    spread[count] = max(spread[count], _LEAST_COUNT_SPREAD)
    scaled = (features - mean) / spread
    if hypothesis is None:
        return _Rows(mean=mean, spread=spread, design=csr_matrix(scaled))
    n, width = scaled.shape
    own = np.hstack([scaled, np.full((n, 1), _OWN_BIAS)])
    columns = hypothesis[:, None] * (width + 1) + np.arange(width + 1)
    starts = np.arange(0, n * (width + 1) + 1, width + 1)
    crossed = csr_matrix((own.ravel(), columns.ravel(), starts), shape=(n, hypotheses * (width + 1)))
    return _Rows(mean=mean, spread=spread, design=hstack([csr_matrix(scaled), crossed]).tocsr())


def _held_out(
    design: csr_matrix, label: np.ndarray, folds: np.ndarray, labels: int
) -> tuple[float, np.ndarray]:  # and (R, L)
    """The strength with the least log loss on rows not seen, and its logits of them."""
    tried = {}
    for strength in _STRENGTHS:
        logits = np.zeros((len(label), labels))
        for fold in np.unique(folds):
            own = folds == fold
            coefficients, intercept = _logistic(design[~own], label[~own], labels, strength)
            logits[own] = design[own] @ coefficients + intercept
        loss = float(np.mean(logsumexp(logits, axis=1) - logits[np.arange(len(label)), label]))
        tried[strength] = loss, logits
    best = min(tried, key=lambda strength: tried[strength][0])
    return best, tried[best][1]


def _logistic(
    design: csr_matrix, label: np.ndarray, labels: int, strength: float
) -> tuple[np.ndarray, np.ndarray]:  # (columns, L), (L,)
    """A multinomial logistic regression with a column for every label, also those that the rows do not have."""
    weights, bias = np.zeros((design.shape[1], labels)), np.full(labels, _ABSENT)
    present = np.unique(label)
    if len(present) < 2:
        bias[present] = 0.0
        return weights, bias
    model = LogisticRegression(C=strength, max_iter=300).fit(design, label)
    if len(present) == 2:  # scikit-learn gives the log-odds of the second label
        weights[:, present[1]], bias[present] = model.coef_[0], [0.0, model.intercept_[0]]
    else:
        weights[:, present], bias[present] = model.coef_.T, model.intercept_
    return weights, bias

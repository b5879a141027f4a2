"""How likely candidates are: from those of texts that the models have not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from coterie.extraction import EVIDENCE, OUTCOMES, Candidate, Weigher

RIGHT, NOT_STATED, WRONG = range(len(OUTCOMES))
_LOOKED_AT = 3  # candidates a text of a field with one value
_LOOKED_AT_MANY = 20
_C = 1.0
_RARE = -4.0  # logit of an outcome that never occurs
_LEVELS = np.linspace(0.2, 0.8, 25)

Floats = np.ndarray
Judge = Callable[[int, int, Candidate], bool]
"""Whether a candidate of a document and field is right."""


def fit_weigher(
    candidates: Sequence[Sequence[Sequence[Candidate]]],
    stated: np.ndarray,
    many: Sequence[bool],
    right: Judge,
    wanted: np.ndarray,
) -> Weigher:
    """The weigher of all fields.

    Args:
        candidates: By document and field, likeliest first.
        stated: (N, F) whether each document states each field.
        many: For each field, whether it may have several values.
        right: Says what is right.
        wanted: (N, F) number of values stated.
    """
    fits = [
        _fit(
            [each[field] for each in candidates],
            stated[:, field],
            field,
            right,
            many=several,
            wanted=int(wanted[:, field].sum()),
        )
        for field, several in enumerate(many)
    ]
    center, scale, weights, bias, least = (np.stack(parts) for parts in zip(*fits, strict=True))
    return Weigher(center=center, scale=scale, weights=weights, bias=bias, least=least)


def _fit(
    documents: Sequence[Sequence[Candidate]],
    stated: np.ndarray,
    field: int,
    right: Judge,
    *,
    many: bool,
    wanted: int,
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Center, scale, weights, bias and least probability of one field."""
    looked_at = _LOOKED_AT_MANY if many else _LOOKED_AT
    seen = [(number, each) for number, document in enumerate(documents) for each in document[:looked_at]]
    evidence = np.array([each.evidence for _, each in seen]).reshape(-1, len(EVIDENCE))
    outcome = np.array([_outcome(number, each, field, stated, right) for number, each in seen], dtype=np.int64)
    center = evidence.mean(axis=0) if seen else np.zeros(len(EVIDENCE))
    scale = np.maximum(evidence.std(axis=0), 1e-6) if seen else np.ones(len(EVIDENCE))
    weights, bias = _logistic((evidence - center) / scale, outcome)
    logits = (evidence - center) / scale @ weights + bias
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    least = _best_level(chances[:, RIGHT], outcome == RIGHT, wanted) if many else 0.5
    return np.asarray(center), np.asarray(scale), weights, bias, np.asarray(least)


def _outcome(number: int, candidate: Candidate, field: int, stated: np.ndarray, right: Judge) -> int:
    if not stated[number]:
        return NOT_STATED
    return RIGHT if right(number, field, candidate) else WRONG


def _logistic(evidence: Floats, outcome: np.ndarray) -> tuple[Floats, Floats]:
    """Weights (E, 3) and bias (3,); what never occurs is unlikely, not impossible."""
    weights, bias = np.zeros((evidence.shape[1], len(OUTCOMES))), np.full(len(OUTCOMES), _RARE)
    there = np.unique(outcome)
    if len(there) < 2:
        bias[there] = 0.0
        return weights, bias
    model = LogisticRegression(C=_C, max_iter=1000).fit(evidence, outcome)
    if len(there) == 2:  # scikit-learn gives the second class only
        weights[:, there[1]], bias[there] = model.coef_[0], [0.0, model.intercept_[0]]
    else:
        weights[:, there], bias[there] = model.coef_.T, model.intercept_
    return weights, bias


def _best_level(chances: Floats, right: np.ndarray, wanted: int) -> float:
    """The probability from which to keep candidates, for the best F1 on unseen texts."""
    kept = chances[None] >= _LEVELS[:, None]  # (L, C)
    f1 = 2 * (kept & right).sum(axis=1) / np.maximum(kept.sum(axis=1) + wanted, 1)
    return float(_LEVELS[int(f1.argmax())])

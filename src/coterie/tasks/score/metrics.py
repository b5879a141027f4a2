"""Evaluates probabilities against outcomes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coterie.learning.dataset import Row
from coterie.learning.evaluation import (
    Case,
    Evaluation,
    Figures,
    Measured,
    Value,
    area_under,
    judge_labels,
    label_cases,
    label_of,
)
from coterie.learning.metrics import bootstrap_mean, brier
from coterie.types import Finding


def judge(rows: Sequence[Row], findings: Sequence[Finding], *, seed: int = 0) -> Evaluation:
    """Return figures over the rows; the predicted label is `1` from a probability of one half."""
    more = _score_figures(rows, findings, seed)
    return judge_labels(rows, findings, seed=seed, value_of=outcome_of, more=more, by_label=False)


def cases(rows: Sequence[Row], findings: Sequence[Finding]) -> list[Case]:
    """Return a case for every row, with the predicted outcome."""
    return label_cases(rows, findings, value_of=outcome_of)


def outcome_of(finding: Finding) -> Value:
    """Return the outcome that a probability predicts."""
    if isinstance(finding.value, int | float):
        return "1" if finding.value >= 0.5 else "0"
    return label_of(finding)


def _score_figures(rows: Sequence[Row], findings: Sequence[Finding], seed: int) -> Figures:
    """Return how well a probability ranks and predicts outcomes."""
    pairs = [
        (float(finding.value), row.labels == ("1",))
        for row, finding in zip(rows, findings, strict=True)
        if row.labels and isinstance(finding.value, int | float)
    ]
    probability = np.array([pair[0] for pair in pairs], dtype=float)
    outcome = np.array([pair[1] for pair in pairs], dtype=bool)
    interval = bootstrap_mean((probability - outcome) ** 2, seed=seed)
    return {"auc": area_under(probability, outcome, seed), "brier": Measured(brier(probability, outcome), interval)}

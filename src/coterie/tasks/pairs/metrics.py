"""Evaluates labels of pairs against the right ones."""

from __future__ import annotations

from collections.abc import Sequence

from coterie.learning.dataset import Row
from coterie.learning.evaluation import Case, Evaluation, judge_labels, label_cases
from coterie.types import Finding


def judge(rows: Sequence[Row], findings: Sequence[Finding], *, seed: int = 0) -> Evaluation:
    """Return figures over the rows, and by label."""
    return judge_labels(rows, findings, seed=seed)


def cases(rows: Sequence[Row], findings: Sequence[Finding]) -> list[Case]:
    """Return a case for every row that has a label, with the predicted label."""
    return label_cases(rows, findings)

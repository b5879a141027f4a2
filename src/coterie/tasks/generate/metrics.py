"""Evaluates written texts against the replies of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from coterie.learning.dataset import Row
from coterie.learning.evaluation import DRAWS, Evaluation, Measured, evaluation_of, share
from coterie.learning.metrics import best_f1, bootstrap_interval, ece
from coterie.tasks.generate.section import ALIKE
from coterie.text.words import plain
from coterie.types import Finding


def judge(rows: Sequence[Row], findings: Sequence[Finding], *, alike: float = ALIKE, seed: int = 0) -> Evaluation:
    """Return the similarity of written texts to the replies of the data, and whether their confidence is calibrated."""
    replied = [(row.labels, finding) for row, finding in zip(rows, findings, strict=True) if row.labels]
    likeness = np.array([best_f1(finding.text, labels) for labels, finding in replied])
    same = np.array([plain(finding.text) in map(plain, labels) for labels, finding in replied], dtype=bool)
    right = likeness >= alike
    accepted = np.array([finding.accepted for _, finding in replied], dtype=bool)
    confidence = np.array([finding.confidence for _, finding in replied], dtype=float)
    figures = {
        "accuracy": share(right, seed),
        "coverage": share(accepted, seed),
        "accepted_accuracy": share(right[accepted], seed),
        "ece": Measured(ece(confidence, right), bootstrap_interval(ece, confidence, right, seed=seed, n=DRAWS)),
        "token_f1": share(likeness, seed),
        "exact_match": share(same, seed),
    }
    return replace(evaluation_of(figures, n=len(rows), labelled=len(replied)), right=tuple(right.tolist()))

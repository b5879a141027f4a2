"""From rows and what was found on them to the figures of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from coterie.learning.dataset import Row
from coterie.learning.evaluation import Confusion, Evaluation
from coterie.learning.metrics import (
    Interval,
    Slice,
    auc_interval,
    auroc,
    bootstrap_interval,
    ece,
    macro_f1,
    multilabel_f1,
    score_interval,
    slice_labels,
    unseen,
)
from coterie.types import Finding

_CONFUSIONS, _CONFUSED_ROWS = 20, 3
DRAWS = 400
"""Bootstrap draws of a figure that is no mean."""

Bools = np.ndarray
Floats = np.ndarray
Value = str | tuple[str, ...] | None
"""What a finding says as a label or labels; None when it says nothing."""


class Measured(NamedTuple):
    """A figure and its 95% interval, if it has one."""

    value: float
    interval: Interval | None = None


Figures = Mapping[str, Measured]
"""By the name that an evaluation gives them."""


class Case(NamedTuple):
    """A row with a label, and what was found on it."""

    row: Row
    value: Value
    confidence: float
    accepted: bool
    correct: bool


def label_of(finding: Finding) -> Value:
    """The label or labels that a finding names, also when it abstains."""
    return finding.value if finding.value is None or isinstance(finding.value, tuple) else str(finding.value)


def judge_labels(
    rows: Sequence[Row],
    findings: Sequence[Finding],
    *,
    seed: int = 0,
    value_of: Callable[[Finding], Value] = label_of,
    more: Figures = MappingProxyType({}),
    by_label: bool = True,
) -> Evaluation:
    """What findings, one a row, say of the specialist that made them.

    A finding on a row of several labels is right if its label is one of them, or if its labels are the same ones.

    Args:
        rows: A row without labels is one on which it should abstain.
        findings: One a row.
        seed: Of the bootstrap intervals.
        value_of: The label or labels that a finding names.
        more: Figures of the task's own.
        by_label: Also count by label.
    """
    values = [value_of(finding) for finding in findings]
    cases = label_cases(rows, findings, value_of=value_of)
    figures = {
        **_answer_figures(cases, seed),
        **_label_figures(cases, seed),
        **_joint_figures(rows, findings, values, seed),
        **_scope_figures(rows, findings, seed),
        **more,
    }
    return replace(
        evaluation_of(figures, n=len(rows), labelled=len(cases)),
        confusions=_confusions(cases, [at for at, row in enumerate(rows) if row.labels]),
        right=tuple(case.correct for case in cases),
        slices=_slices(cases) if by_label else {},
        truncated=sum(finding.truncated for finding in findings),
    )


def label_cases(
    rows: Sequence[Row], findings: Sequence[Finding], *, value_of: Callable[[Finding], Value] = label_of
) -> list[Case]:
    """Each row that has a label with what was found on it, in order."""
    return [
        Case(row, value, finding.confidence, finding.accepted, is_right(row, value))
        for row, finding in zip(rows, findings, strict=True)
        if row.labels
        for value in [value_of(finding)]
    ]


def evaluation_of(figures: Figures, *, n: int, labelled: int) -> Evaluation:
    """Figures by the names of an evaluation's fields, or of its own; one that is no number is left out."""
    values: dict[str, Any] = {name: each.value for name, each in figures.items() if not math.isnan(each.value)}
    named = {each.name for each in fields(Evaluation)}
    known = {name: value for name, value in values.items() if name in named}
    others = {name: value for name, value in values.items() if name not in named}
    intervals = {
        name: each.interval
        for name, each in figures.items()
        if each.interval is not None and not math.isnan(each.interval.low)
    }
    return replace(nothing_measured(n, labelled), intervals=intervals, others=others, **known)


def nothing_measured(n: int, labelled: int) -> Evaluation:
    """An evaluation without figures."""
    return Evaluation(
        n=n,
        labelled=labelled,
        accuracy=None,
        macro_f1=None,
        coverage=None,
        accepted_accuracy=None,
        ece=None,
        joint_accuracy=None,
    )


# --- What was said, and whether it is right ------------------------------------------------------


def is_right(row: Row, value: Value) -> bool:
    """Whether a label is one of a row's, or labels are the same ones."""
    return set(value) == set(row.labels) if isinstance(value, tuple) else value in row.labels


# --- Figures -------------------------------------------------------------------------------------


def share(values: Bools, seed: int) -> Measured:
    """The mean of what rows score, with its interval."""
    return Measured(float(values.mean()) if values.size else math.nan, score_interval(values, seed=seed))


def _answer_figures(cases: Sequence[Case], seed: int) -> Figures:
    """How often it is right, how often it answers, and whether its confidence is true."""
    right = np.array([case.correct for case in cases], dtype=bool)
    kept = np.array([case.accepted for case in cases], dtype=bool)
    confidence = np.array([case.confidence for case in cases], dtype=float)
    return {
        "accuracy": share(right, seed),
        "coverage": share(kept, seed),
        "accepted_accuracy": share(right[kept], seed),
        "ece": Measured(ece(confidence, right), bootstrap_interval(ece, confidence, right, seed=seed, n=DRAWS)),
    }


def _label_figures(cases: Sequence[Case], seed: int) -> Figures:
    """F1 by label; over sets of labels where rows or findings have several."""
    if any(isinstance(case.value, tuple) for case in cases):
        truth, guess = _sets(cases)
        micro, macro = multilabel_f1(truth, guess, macro=False), multilabel_f1(truth, guess, macro=True)
        return {"micro_f1": Measured(micro), "macro_f1": Measured(macro)}
    # Of a row's several labels, the one that was found stands for the row.
    true = [str(case.value) if case.correct else case.row.labels[0] for case in cases]
    numbers = {label: i for i, label in enumerate(dict.fromkeys([*true, *(str(c.value) for c in cases)]))}
    truth = np.array([numbers[label] for label in true], dtype=np.int64)
    guess = np.array([-1 if case.value is None else numbers[str(case.value)] for case in cases], dtype=np.int64)
    interval = bootstrap_interval(macro_f1, truth, guess, seed=seed, n=DRAWS)
    return {"macro_f1": Measured(macro_f1(truth, guess), unseen(interval, len(cases)))}


def _sets(cases: Sequence[Case]) -> tuple[Bools, Bools]:
    """Right and found labels as (N, L) arrays of booleans."""
    found = [_said(case.value) for case in cases]
    numbers = {
        label: i for i, label in enumerate(sorted({name for case in cases for name in case.row.labels}.union(*found)))
    }
    truth, guess = (np.zeros((len(cases), len(numbers)), dtype=bool) for _ in range(2))
    for i, (case, labels) in enumerate(zip(cases, found, strict=True)):
        truth[i, [numbers[label] for label in case.row.labels]] = True
        guess[i, [numbers[label] for label in labels]] = True
    return truth, guess


def _slices(cases: Sequence[Case]) -> dict[str, Slice]:
    """By label. Where any one of a row's labels would be right, the row stands under its first, whatever was found."""
    several = any(isinstance(case.value, tuple) for case in cases)
    truth = [case.row.labels if several else case.row.labels[:1] for case in cases]
    found = [case.row.labels[:1] if case.correct and not several else _said(case.value) for case in cases]
    return slice_labels(truth, found)


def _said(value: Value) -> tuple[str, ...]:
    if isinstance(value, tuple):
        return value
    return () if value is None else (value,)


def _joint_figures(rows: Sequence[Row], findings: Sequence[Finding], values: Sequence[Value], seed: int) -> Figures:
    """Over all rows: an accepted right value, or silence where there is nothing to say."""
    joint = [
        finding.accepted and is_right(row, value) if row.labels else not finding.accepted or value == ()
        for row, finding, value in zip(rows, findings, values, strict=True)
    ]
    return {"joint_accuracy": share(np.array(joint, dtype=bool), seed)}


def _scope_figures(rows: Sequence[Row], findings: Sequence[Finding], seed: int) -> Figures:
    """How well rows without a label are told from those with one."""
    inside = np.array([bool(row.labels) for row in rows], dtype=bool)
    if inside.all():
        return {}
    scored = all(finding.in_scope is not None for finding in findings)
    scores = [finding.in_scope if scored else finding.confidence for finding in findings]
    silent = np.array([not finding.accepted for finding in findings], dtype=bool)
    area = area_under(np.array(scores, dtype=float), inside, seed)
    return {"oos_auroc": area, "oos_recall": share(silent[~inside], seed)}


def area_under(scores: Floats, positive: Bools, seed: int) -> Measured:  # (N,), (N,)
    """The area under the ROC curve, with its interval."""
    return Measured(auroc(scores, positive), auc_interval(scores, positive, seed=seed, n=DRAWS))


def _confusions(cases: Sequence[Case], numbers: Sequence[int]) -> tuple[Confusion, ...]:
    """Which label is taken for which, most frequent first; sets of labels are not paired up."""
    wrong: dict[tuple[str, str | None], list[int]] = {}
    for case, number in zip(cases, numbers, strict=True):
        if not case.correct and not isinstance(case.value, tuple):
            wrong.setdefault((case.row.labels[0], case.value), []).append(number)
    ranked = sorted(wrong.items(), key=lambda item: (-len(item[1]), item[0][0], str(item[0][1])))[:_CONFUSIONS]
    return tuple(
        Confusion(label=label, predicted=value, count=len(found), rows=tuple(found[:_CONFUSED_ROWS]))
        for (label, value), found in ranked
    )

"""From rows and what was found on them to the figures of an evaluation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from coterie.learning.dataset import Row
from coterie.learning.evaluation import Confusion, Evaluation
from coterie.learning.metrics import (
    Interval,
    Slice,
    auc_interval,
    auroc,
    best_f1,
    bootstrap_interval,
    bootstrap_mean,
    brier,
    ece,
    macro_f1,
    multilabel_f1,
    score_interval,
    slice_labels,
    unseen,
)
from coterie.tasks.answer.metrics import judge_answers
from coterie.tasks.extract.metrics import field_cases, judge_fields
from coterie.types import Finding, TaskKind

_CONFUSIONS = 20
ALIKE = 0.8
"""Token F1 from which a written text counts as right."""
_DRAWS = 400
"""Bootstrap draws of a figure that is no mean."""

Bools = np.ndarray
Floats = np.ndarray
Value = str | tuple[str, ...] | None
"""What a finding says as a label or labels; None when it says nothing."""


class _Figure(NamedTuple):
    value: float
    interval: Interval | None = None


_Figures = Mapping[str, _Figure]


class Case(NamedTuple):
    """A row with a label, and what was found on it."""

    row: Row
    value: Value
    confidence: float
    accepted: bool
    correct: bool


def judge(
    rows: Sequence[Row], findings: Sequence[Finding], *, task: TaskKind, seed: int = 0, alike: float = ALIKE
) -> Evaluation:
    """What findings, one a row, say of the specialist that made them.

    A finding on a row of several labels is right if its label is one of them, or if its labels are the same
    ones. Of a score, the predicted label is `1` from a probability of one half. A written text is right if its token
    F1 with one of the row's labels, which are replies, is at least `alike`.
    """
    if task == "extract":
        return _judge_extract(rows, findings, seed)
    if task == "generate":
        return _judge_texts(rows, findings, seed, alike)
    if task == "answer":
        return _judge_answer(rows, findings, seed)
    values = [_value(finding, task) for finding in findings]
    cases = judge_rows(rows, findings, task=task)
    figures = {
        **_answer_figures(cases, seed),
        **_label_figures(cases, seed),
        **_joint_figures(rows, findings, values, seed),
        **_scope_figures(rows, findings, seed),
        **(_score_figures(rows, findings, seed) if task == "score" else {}),
    }
    return replace(
        _evaluation(figures, n=len(rows), labelled=len(cases)),
        confusions=_confusions(cases),
        right=tuple(case.correct for case in cases),
        slices=_slices(cases) if task == "classify" else {},
        truncated=sum(finding.truncated for finding in findings),
    )


def _judge_extract(rows: Sequence[Row], findings: Sequence[Finding], seed: int) -> Evaluation:
    """Figures over everything that was said of a field; both F1 are means over fields."""
    said = field_cases(rows, findings)
    report = judge_fields(rows, said, seed=seed)
    right = np.array([case.correct for case in said], dtype=bool)
    accepted = np.array([case.field.accepted for case in said], dtype=bool)
    shares = {
        "accuracy": _share(right, seed),
        "coverage": _share(accepted, seed),
        "accepted_accuracy": _share(right[accepted], seed),
        "ece": _Figure(ece([case.field.confidence for case in said], right)),
        **{name: _Figure(value, report.intervals[name]) for name, value in report.figures.items()},
    }
    labelled = sum(bool(row.labels) for row in rows)
    return replace(_evaluation(shares, n=len(rows), labelled=labelled), fields=report.fields)


def _judge_texts(rows: Sequence[Row], findings: Sequence[Finding], seed: int, alike: float) -> Evaluation:
    """How like the replies that should be the written ones are, and whether the confidence that they are is true."""
    replied = [(row.labels, finding) for row, finding in zip(rows, findings, strict=True) if row.labels]
    likeness = np.array([best_f1(finding.text, labels) for labels, finding in replied])
    same = np.array([_plain(finding.text) in map(_plain, labels) for labels, finding in replied], dtype=bool)
    right = likeness >= alike
    accepted = np.array([finding.accepted for _, finding in replied], dtype=bool)
    confidence = np.array([finding.confidence for _, finding in replied], dtype=float)
    figures = {
        "accuracy": _share(right, seed),
        "coverage": _share(accepted, seed),
        "accepted_accuracy": _share(right[accepted], seed),
        "ece": _Figure(ece(confidence, right), bootstrap_interval(ece, confidence, right, seed=seed, n=_DRAWS)),
        "token_f1": _share(likeness, seed),
        "exact_match": _share(same, seed),
    }
    return replace(_evaluation(figures, n=len(rows), labelled=len(replied)), right=tuple(right.tolist()))


def _plain(text: str) -> str:
    """A text without case and without what spaces it has."""
    return " ".join(text.casefold().split())


def _judge_answer(rows: Sequence[Row], findings: Sequence[Finding], seed: int) -> Evaluation:
    """Figures over questions."""
    judged = judge_answers(rows, findings, seed=seed)
    empty = _nothing(len(rows), sum(bool(row.labels or row.evidence) for row in rows))
    known: dict[str, Any] = dict(judged.figures)
    return replace(empty, intervals=judged.intervals, right=judged.right, **known)


def _field_rows(rows: Sequence[Row], findings: Sequence[Finding]) -> list[Case]:
    """A case a text and field, whatever number of values was found: right if all of them are."""
    cases = []
    for row, finding in zip(rows, findings, strict=True):
        for name in dict.fromkeys(each.name for each in finding.fields):
            own = [case for case in field_cases([row], [finding]) if case.field.name == name]
            cases.append(
                Case(
                    row,
                    None,
                    min(case.field.confidence for case in own),
                    all(case.field.accepted for case in own),
                    all(case.correct for case in own),
                )
            )
    return cases


def judge_rows(rows: Sequence[Row], findings: Sequence[Finding], *, task: TaskKind) -> list[Case]:
    """Each row that has a label with what was found on it, in order; of an `extract` each field of each row."""
    if task == "extract":
        return _field_rows(rows, findings)
    if task == "answer":
        right = judge_answers(rows, findings).right
        return [
            Case(row, None, finding.confidence, finding.accepted, correct)
            for row, finding, correct in zip(rows, findings, right, strict=True)
        ]
    return [
        Case(row, value, finding.confidence, finding.accepted, _is_right(row, value))
        for row, finding in zip(rows, findings, strict=True)
        if row.labels
        for value in [_value(finding, task)]
    ]


def _evaluation(figures: _Figures, *, n: int, labelled: int) -> Evaluation:
    """Figures by the names of an evaluation's fields; one that is no number is None."""
    known: dict[str, Any] = {name: each.value for name, each in figures.items() if not math.isnan(each.value)}
    intervals = {
        name: each.interval
        for name, each in figures.items()
        if each.interval is not None and not math.isnan(each.interval.low)
    }
    return replace(_nothing(n, labelled), intervals=intervals, **known)


def _nothing(n: int, labelled: int) -> Evaluation:
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


def _value(finding: Finding, task: TaskKind) -> Value:
    """The label or labels a finding names, also when it abstains."""
    value = finding.value
    if value is None or isinstance(value, tuple):
        return value
    if task == "score" and isinstance(value, int | float):
        return "1" if value >= 0.5 else "0"
    return str(value)


def _is_right(row: Row, value: Value) -> bool:
    return set(value) == set(row.labels) if isinstance(value, tuple) else value in row.labels


# --- Figures -------------------------------------------------------------------------------------


def _share(values: Bools, seed: int) -> _Figure:
    return _Figure(float(values.mean()) if values.size else math.nan, score_interval(values, seed=seed))


def _answer_figures(cases: Sequence[Case], seed: int) -> _Figures:
    """How often it is right, how often it answers, and whether its confidence is true."""
    right = np.array([case.correct for case in cases], dtype=bool)
    kept = np.array([case.accepted for case in cases], dtype=bool)
    confidence = np.array([case.confidence for case in cases], dtype=float)
    return {
        "accuracy": _share(right, seed),
        "coverage": _share(kept, seed),
        "accepted_accuracy": _share(right[kept], seed),
        "ece": _Figure(ece(confidence, right), bootstrap_interval(ece, confidence, right, seed=seed, n=_DRAWS)),
    }


def _label_figures(cases: Sequence[Case], seed: int) -> _Figures:
    """F1 by label; over sets of labels where rows or findings have several."""
    if any(isinstance(case.value, tuple) for case in cases):
        truth, guess = _sets(cases)
        micro, macro = multilabel_f1(truth, guess, macro=False), multilabel_f1(truth, guess, macro=True)
        return {"micro_f1": _Figure(micro), "macro_f1": _Figure(macro)}
    # Of a row's several labels, the one that was found stands for the row.
    true = [str(case.value) if case.correct else case.row.labels[0] for case in cases]
    numbers = {label: i for i, label in enumerate(dict.fromkeys([*true, *(str(c.value) for c in cases)]))}
    truth = np.array([numbers[label] for label in true], dtype=np.int64)
    guess = np.array([-1 if case.value is None else numbers[str(case.value)] for case in cases], dtype=np.int64)
    interval = bootstrap_interval(macro_f1, truth, guess, seed=seed, n=_DRAWS)
    return {"macro_f1": _Figure(macro_f1(truth, guess), unseen(interval, len(cases)))}


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
    """The labels that a value names."""
    if isinstance(value, tuple):
        return value
    return () if value is None else (value,)


def _joint_figures(rows: Sequence[Row], findings: Sequence[Finding], values: Sequence[Value], seed: int) -> _Figures:
    """Over all rows: an accepted right value, or silence where there is nothing to say."""
    joint = [
        finding.accepted and _is_right(row, value) if row.labels else not finding.accepted or value == ()
        for row, finding, value in zip(rows, findings, values, strict=True)
    ]
    return {"joint_accuracy": _share(np.array(joint, dtype=bool), seed)}


def _scope_figures(rows: Sequence[Row], findings: Sequence[Finding], seed: int) -> _Figures:
    """How well rows without a label are told from those with one."""
    inside = np.array([bool(row.labels) for row in rows], dtype=bool)
    if inside.all():
        return {}
    scored = all(finding.in_scope is not None for finding in findings)
    scores = [finding.in_scope if scored else finding.confidence for finding in findings]
    silent = np.array([not finding.accepted for finding in findings], dtype=bool)
    area = _area(np.array(scores, dtype=float), inside, seed)
    return {"oos_auroc": area, "oos_recall": _share(silent[~inside], seed)}


def _score_figures(rows: Sequence[Row], findings: Sequence[Finding], seed: int) -> _Figures:
    """How well a probability ranks and predicts outcomes."""
    pairs = [
        (float(finding.value), row.labels == ("1",))
        for row, finding in zip(rows, findings, strict=True)
        if row.labels and isinstance(finding.value, int | float)
    ]
    probability = np.array([pair[0] for pair in pairs], dtype=float)
    outcome = np.array([pair[1] for pair in pairs], dtype=bool)
    interval = bootstrap_mean((probability - outcome) ** 2, seed=seed)
    return {"auc": _area(probability, outcome, seed), "brier": _Figure(brier(probability, outcome), interval)}


def _area(scores: Floats, positive: Bools, seed: int) -> _Figure:
    return _Figure(auroc(scores, positive), auc_interval(scores, positive, seed=seed, n=_DRAWS))


def _confusions(cases: Sequence[Case]) -> tuple[Confusion, ...]:
    """Which label is taken for which, most frequent first; sets of labels are not paired up."""
    wrong = Counter(
        (case.row.labels[0], case.value) for case in cases if not case.correct and not isinstance(case.value, tuple)
    )
    ranked = sorted(wrong.items(), key=lambda item: (-item[1], item[0][0], str(item[0][1])))[:_CONFUSIONS]
    return tuple(Confusion(label=label, predicted=value, count=count) for (label, value), count in ranked)
